package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

// step moves the clock, and decides what has come due of a schedule as a beat would.
func (w *world) step(d time.Duration, ids ...string) {
	w.t.Helper()
	w.now = w.now.Add(d)
	for _, id := range ids {
		s, err := w.GetSchedule(w.t.Context(), id)
		if err == nil {
			_, err = w.RunDue(w.t.Context(), s.Schedule)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// last is the run that a schedule started last.
func (w *world) last(id string) string {
	w.t.Helper()
	s, err := w.GetSchedule(w.t.Context(), id)
	if err != nil || s.LastRunID == "" {
		w.t.Fatalf("schedule %s has no run: %v", id, err)
	}
	return string(s.LastRunID)
}

func TestTriggerWithAKey(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily)
		w.create("other", daily)
		trigger := func(id, key string, overlap schedules.OverlapPolicy) client.TriggerResult {
			t.Helper()
			r, err := w.Trigger(ctx, id, client.TriggerRequest{IdempotencyKey: key, Overlap: overlap})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		same := func(what string, got, want client.TriggerResult) {
			t.Helper()
			got.BlockedBy, want.BlockedBy = "", "" // who was in the way is not part of the answer
			if got != want {
				t.Errorf("%s: got %+v, want %+v", what, got, want)
			}
		}
		started := trigger("s", "a", "")
		buffered := trigger("s", "b", schedules.OverlapBufferOne)
		skipped := trigger("s", "c", schedules.OverlapSkip)
		if started.Outcome != schedules.FateStarted || buffered.Outcome != schedules.FateBuffered || skipped.Outcome != schedules.FateSkipped {
			t.Fatalf("%+v, %+v, %+v", started, buffered, skipped)
		}
		all := func(what string, total int64) {
			t.Helper()
			same(what+", started", trigger("s", "a", schedules.OverlapAllowAll), started)
			same(what+", buffered", trigger("s", "b", schedules.OverlapAllowAll), buffered)
			same(what+", skipped", trigger("s", "c", schedules.OverlapAllowAll), skipped)
			s, err := w.GetSchedule(ctx, "s")
			if err != nil || s.TotalRuns != total {
				t.Errorf("%s: %d runs were started, want %d, %v", what, s.TotalRuns, total, err)
			}
		}
		all("at once", 1)
		w.now = w.now.Add(time.Hour)
		all("an hour later", 1)
		w.end(string(started.RunID), schedules.RunFailed)
		all("after its end", 2) // which released the one that waited
		if r, err := w.GetRun(ctx, string(buffered.RunID)); err != nil || r.Status != schedules.RunPending {
			t.Errorf("the run that was buffered: %+v, %v", r, err)
		}
		if r := trigger("other", "a", ""); r.RunID == started.RunID || r.Outcome != schedules.FateStarted {
			t.Errorf("of another schedule: %+v", r)
		}

		// One that waits and is dropped stays buffered for those who repeat the call.
		dropped := trigger("s", "d", schedules.OverlapBufferAll)
		trigger("s", "e", schedules.OverlapCancelOther)
		same("dropped", trigger("s", "d", ""), dropped)

		if _, err := w.Delete(ctx, "other"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Trigger(ctx, "other", client.TriggerRequest{IdempotencyKey: "a"}); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("of a deleted schedule: %v", err)
		}
		w.create("other", daily)
		if r := trigger("other", "a", ""); r.Outcome != schedules.FateStarted {
			t.Errorf("of a schedule made anew: %+v", r)
		}
		_, err := w.Trigger(ctx, "s", client.TriggerRequest{IdempotencyKey: strings.Repeat("k", 100_000)})
		var bad *schedules.FieldError
		if !errors.As(err, &bad) || bad.Field != "idempotency_key" {
			t.Errorf("a key that is too long: %v", err)
		}
	})
}

// Callers that race with one key start one run, whoever wins.
func TestTriggersThatRaceWithAKey(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily, func(r *client.CreateRequest) { r.Overlap = schedules.OverlapAllowAll })
		const callers = 8
		var wg sync.WaitGroup
		results := make([]client.TriggerResult, callers)
		errs := make([]error, callers)
		for i := range callers {
			wg.Go(func() { results[i], errs[i] = w.Trigger(ctx, "s", client.TriggerRequest{IdempotencyKey: "once"}) })
		}
		wg.Wait()
		for i := range callers {
			if errs[i] != nil || results[i] != results[0] || results[i].Outcome != schedules.FateStarted {
				t.Errorf("%+v, %v; another got %+v", results[i], errs[i], results[0])
			}
		}
		if s, err := w.GetSchedule(ctx, "s"); err != nil || s.TotalRuns != 1 {
			t.Errorf("%d runs, %v", s.TotalRuns, err)
		}
	})
}

func TestRunAgain(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily, func(r *client.CreateRequest) { r.Input, r.Queue = json.RawMessage(`{"n":7}`), "slow" })
		first, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		w.end(string(first.RunID), schedules.RunFailed)
		id, err := w.RunAgain(ctx, string(first.RunID))
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.GetRun(ctx, id)
		if err != nil || r.ScheduleID != "" || r.Workflow != "minute_task" || r.Queue != "slow" || string(r.Input) != `{"n":7}` || r.Status != schedules.RunPending {
			t.Errorf("%+v, %v", r, err)
		}
		if again, err := w.RunAgain(ctx, id); err != nil || again == id {
			t.Errorf("%s, %v", again, err)
		}
		if s, err := w.GetSchedule(ctx, "s"); err != nil || s.TotalRuns != 1 || s.ActiveRuns != 0 {
			t.Errorf("the schedule took part: %+v, %v", s, err)
		}
		if _, err := w.RunAgain(ctx, schedules.FreeRunID("none")); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("of no run: %v", err)
		}
	})
}

func TestListSchedulesByFilters(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for i := range 9 {
			w.create(fmt.Sprintf("report-%d", i), schedules.Spec{Cron: fmt.Sprintf("%d 11 * * *", 50-i)}, func(r *client.CreateRequest) {
				if i%3 == 0 {
					r.Overlap = schedules.OverlapAllowAll
				}
			})
		}
		list := func(f client.ScheduleFilter, limit int) []string {
			t.Helper()
			var ids []string
			p := client.PageRequest{Limit: limit}
			for {
				got, err := w.ListSchedules(ctx, f, p)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range got.Items {
					ids = append(ids, strings.TrimPrefix(s.ScheduleID, "report-"))
				}
				if got.NextCursor == "" {
					return ids
				}
				p.Cursor = string(got.NextCursor)
			}
		}
		for _, c := range []struct {
			f    client.ScheduleFilter
			want string
		}{
			{client.ScheduleFilter{Sort: "next"}, "8 7 6 5 4 3 2 1 0"},
			{client.ScheduleFilter{Sort: "id"}, "0 1 2 3 4 5 6 7 8"},
			{client.ScheduleFilter{Overlap: schedules.OverlapAllowAll}, "0 3 6"},
			{client.ScheduleFilter{Overlap: schedules.OverlapAllowAll, Sort: "next"}, "6 3 0"},
			{client.ScheduleFilter{Search: "PORT-4"}, "4"},
		} {
			for _, limit := range []int{2, 100} {
				if got := strings.Join(list(c.f, limit), " "); got != c.want {
					t.Errorf("%+v by %d: got %s, want %s", c.f, limit, got, c.want)
				}
			}
		}
		for field, f := range map[string]client.ScheduleFilter{"sort": {Sort: "name"}, "overlap": {Overlap: "queue"}, "status": {Status: "asleep"}} {
			_, err := w.ListSchedules(ctx, f, client.PageRequest{})
			var bad *schedules.FieldError
			if !errors.As(err, &bad) || bad.Field != field {
				t.Errorf("%+v: %v", f, err)
			}
		}
	})
}

func TestStripsAndTimeline(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", schedules.Spec{Cron: "* * * * *"})
		w.create("idle", daily)
		for i := range 6 {
			w.step(time.Minute, "s")
			id := w.last("s")
			switch i {
			case 2:
				w.end(id, schedules.RunFailed)
			case 5:
				w.step(time.Minute, "s") // skipped: the run is in the way
			default:
				if _, err := w.store.Claim(ctx, id, 1, store.Claim{Worker: "host-2:7:abcd", Token: "t" + id}); err != nil {
					t.Fatal(err)
				}
				w.now = w.now.Add(time.Duration(i+1) * time.Second)
				w.end(id, schedules.RunCompleted)
			}
		}
		strips, err := w.Strips(ctx, []string{"s", "none", "idle"}, 5)
		if err != nil || len(strips) != 2 {
			t.Fatalf("%+v, %v", strips, err)
		}
		var got []string
		for _, tick := range strips["s"].Ticks {
			got = append(got, fmt.Sprintf("%d %s %s %s", tick.NominalTime.Minute(), tick.Fate, tick.RunStatus, tick.Took.Duration))
		}
		want := []string{"3 started failed 1ms", "4 started completed 4s", "5 started completed 5s", "6 started pending 0s", "7 skipped  0s"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		s := strips["s"]
		if s.SuccessRate == nil || *s.SuccessRate != 2.0/3 || time.Duration(s.P50.Duration) != 4*time.Second || time.Duration(s.P95.Duration) != 5*time.Second {
			t.Errorf("rate %v, p50 %s, p95 %s", s.SuccessRate, s.P50.Duration, s.P95.Duration)
		}
		if idle := strips["idle"]; len(idle.Ticks) != 0 || idle.SuccessRate != nil || idle.P50.Duration != 0 {
			t.Errorf("a schedule without ticks: %+v", idle)
		}
		if b, err := json.Marshal(strips["idle"]); err != nil || string(b) != `{"ticks":[],"success_rate":null,"p50":null,"p95":null}` {
			t.Errorf("%s, %v", b, err)
		}

		line, err := w.Timeline(ctx, "s", 3)
		if err != nil || len(line) != 3 {
			t.Fatalf("%+v, %v", line, err)
		}
		if l := line[0]; l.Fate.Fate != schedules.FateSkipped || l.Status != "" || l.Reason != "overlap" || string(l.BlockedBy) != w.last("s") {
			t.Errorf("newest: %+v", l)
		}
		if l := line[1]; l.Status != schedules.RunPending || !l.Started.IsZero() || l.Attempt != 1 {
			t.Errorf("active: %+v", l)
		}
		if l := line[2]; l.Status != schedules.RunCompleted || l.Ended.Sub(l.Started.Time) != 5*time.Second || l.Worker != "host-2:7:abcd" {
			t.Errorf("ended: %+v", l)
		}
		if _, err := w.Timeline(ctx, "none", 3); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("of no schedule: %v", err)
		}
		if line, err := w.Timeline(ctx, "idle", 0); err != nil || len(line) != 0 {
			t.Errorf("%+v, %v", line, err)
		}
	})
}

func TestRevisionsTellChanges(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily)
		w.create("still", daily)
		var last map[string]int64
		changed := func(what string, want bool) {
			t.Helper()
			got, err := w.Revisions(ctx, []string{"s", "none", "still"})
			if err != nil || len(got) != 2 {
				t.Fatalf("%v, %v", got, err)
			}
			if last != nil && ((got["s"] != last["s"]) != want || got["still"] != last["still"]) {
				t.Errorf("%s: %v after %v", what, got, last)
			}
			if got["s"] >= 1<<53 {
				t.Errorf("%d does not fit a JSON number", got["s"])
			}
			last = got
		}
		changed("new", true)
		changed("nothing", false)
		res, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		changed("triggered", true)
		w.end(string(res.RunID), schedules.RunCompleted)
		changed("ended", true)
		if _, err := w.Delete(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		changed("deleted", true)
		w.create("s", daily)
		changed("made anew", true)
	})
}

func TestUpcoming(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) { // it is 10:00:30
		ctx := t.Context()
		w.create("minutely", schedules.Spec{Cron: "* * * * *"})
		w.create("quarters", schedules.Spec{Cron: "*/15 * * * *"})
		w.create("tomorrow", daily)
		w.create("paused", schedules.Spec{Cron: "* * * * *"})
		if _, err := w.Pause(ctx, "paused", nil); err != nil {
			t.Fatal(err)
		}
		u, err := w.Upcoming(ctx, time.Time{}, 10*time.Minute, 4)
		if err != nil || !u.Complete || !slices.Equal(u.Counts, []int64{10, 11, 11, 10}) || !u.From.Equal(start) {
			t.Errorf("%+v, %v", u, err)
		}
		if len(u.Next) != 20 || u.Next[0].ScheduleID != "minutely" || !u.Next[0].NominalTime.Equal(start.Add(30*time.Second)) || u.Next[0].Workflow != "minute_task" {
			t.Errorf("next: %+v", u.Next)
		}
		for i, n := range u.Next[1:] {
			if n.DueAt.Before(u.Next[i].DueAt.Time) {
				t.Errorf("%v comes after %v", n, u.Next[i])
			}
		}
		later, err := w.Upcoming(ctx, start.Add(10*time.Minute), 10*time.Minute, 1)
		if err != nil || !slices.Equal(later.Counts, []int64{11}) || !later.Next[0].DueAt.Equal(start.Add(10*time.Minute+30*time.Second)) {
			t.Errorf("%+v, %v", later, err)
		}
		for _, bad := range []struct {
			width time.Duration
			n     int
			field string
		}{{0, 1, "width"}, {-time.Second, 1, "width"}, {time.Minute, 0, "count"}, {time.Minute, 1441, "count"}} {
			_, err := w.Upcoming(ctx, time.Time{}, bad.width, bad.n)
			var field *schedules.FieldError
			if !errors.As(err, &field) || field.Field != bad.field {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// With more schedules than are looked at one by one, the next tick of each is counted.
func TestUpcomingOfVeryMany(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const n = 2001
		var changes []schedules.Change
		for i := range n {
			c, err := schedules.Create(schedules.CreateRequest{ID: fmt.Sprintf("s%04d", i), Incarnation: "inc1", Workflow: "minute_task",
				Definition: schedules.Definition{Spec: schedules.Spec{Cron: fmt.Sprintf("%d * * * *", i%2)}}}, w.now)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, c)
		}
		if err := errors.Join(w.store.Commit(t.Context(), changes...)...); err != nil {
			t.Fatal(err)
		}
		u, err := w.Upcoming(t.Context(), time.Time{}, time.Hour, 2) // until 12:00:30
		if err != nil || u.Complete || !slices.Equal(u.Counts, []int64{n, 0}) || len(u.Next) != 20 {
			t.Errorf("%+v, %v", u, err)
		}
		for _, next := range u.Next {
			if !next.DueAt.Equal(start.Add(30 * time.Second)) {
				t.Errorf("%+v", next)
			}
		}
		if u, err = w.Upcoming(t.Context(), time.Time{}, 25*time.Second, 2); err != nil || !u.Complete || !slices.Equal(u.Counts, []int64{0, 1000}) {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

func TestOverview(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		empty, err := w.Overview(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(empty)
		if err != nil || strings.Contains(string(b), ":null") || !strings.Contains(string(b), `"schedules":{"active":0,"deleted":0,"finished":0,"paused":0}`) {
			t.Errorf("of nothing: %s, %v", b, err)
		}
		w.create("s", schedules.Spec{Cron: "0 * * * *"}, func(r *client.CreateRequest) { r.Catchup = schedules.CatchupNone })
		w.create("paused", daily)
		if _, err := w.Pause(ctx, "paused", nil); err != nil {
			t.Fatal(err)
		}
		old, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.end(old, schedules.RunFailed)
		w.step(25*time.Hour, "s") // the ticks of the outage are missed
		for _, status := range []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, ""} {
			r, err := w.Trigger(ctx, "s", client.TriggerRequest{Input: json.RawMessage(`{"big":1}`)})
			if err != nil {
				t.Fatal(err)
			}
			if status == "" {
				if _, err := w.store.Claim(ctx, string(r.RunID), 1, store.Claim{Worker: "w", Token: "t"}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			w.end(string(r.RunID), status)
		}
		free, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.CancelRun(ctx, free, "test"); err != nil {
			t.Fatal(err)
		}
		if err := w.store.AnnounceProcess(ctx, store.Process{ID: "h:1:x", Host: "h", PID: 1, Worker: true}, time.Hour); err != nil {
			t.Fatal(err)
		}
		o, err := w.Overview(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !o.Now.Equal(w.now) || o.Store != w.store.Describe() || o.Schedules["active"] != 1 || o.Schedules["paused"] != 1 || o.ActiveRuns != 1 {
			t.Errorf("%+v", o)
		}
		if o.Completed != 1 || o.Failed != 1 || o.Cancelled != 1 || o.Missed != 25 {
			t.Errorf("completed %d, failed %d, cancelled %d, missed %d", o.Completed, o.Failed, o.Cancelled, o.Missed)
		}
		if len(o.Running) != 1 || o.Running[0].Status != schedules.RunRunning || string(o.Running[0].Input) != "null" {
			t.Errorf("running: %+v", o.Running)
		}
		if len(o.FailedRuns) != 1 || o.FailedRuns[0].Error.Message != "broken" {
			t.Errorf("failed: %+v", o.FailedRuns)
		}
		if len(o.MissedTicks) != 20 || o.MissedTicks[0].ScheduleID != "s" || o.MissedTicks[0].Reason != schedules.ReasonCatchup || !o.MissedTicks[0].DecidedAt.Equal(w.now) {
			t.Errorf("missed: %+v", o.MissedTicks)
		}
		if len(o.Processes) != 1 || len(o.Queues) != 0 {
			t.Errorf("processes %+v, queues %+v", o.Processes, o.Queues)
		}
	})
}

func TestQueues(t *testing.T) {
	server := redistest.Shared(t)
	namespace := redistest.Namespace(t)
	rdb := server.Client(t)
	st, err := redisstore.New(rdb, redisstore.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	carrier, err := asynqtransport.New(asynqtransport.Config{Client: rdb, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Store: st, Queues: carrier})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := carrier.Dispatch(ctx, []store.Message{{RunID: "run_1", Dispatch: 1, Queue: "sent"}, {RunID: "run_2", Dispatch: 1, Queue: "sent"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p := store.Process{ID: fmt.Sprintf("h:%d:x", i), Host: "h", PID: i, Worker: true, Queues: []string{"served", "sent"}[:i+1]}
		if err := st.AnnounceProcess(ctx, p, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sent", "served"} {
		if err := c.PauseQueue(ctx, name); err != nil {
			t.Errorf("pause %s: %v", name, err)
		}
	}
	if err := c.ResumeQueue(ctx, "sent"); err != nil {
		t.Error(err)
	}
	got, err := c.Queues(ctx)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if q := got[0]; q.Name != "sent" || q.Waiting != 2 || q.Workers != 1 || q.Paused || q.Oldest.Duration <= 0 {
		t.Errorf("%+v", q)
	}
	if q := got[1]; q.Name != "served" || q.Waiting != 0 || !q.Paused || q.Workers != 2 || q.Oldest.Duration != 0 {
		t.Errorf("%+v", q)
	}
	for what, act := range map[string]func(context.Context, string) error{"pause": c.PauseQueue, "resume": c.ResumeQueue} {
		if err := act(ctx, "nobodys"); client.CodeOf(err) != client.CodeNotFound || !strings.Contains(err.Error(), `no queue "nobodys"`) {
			t.Errorf("%s an unknown queue: %v", what, err)
		}
		if err := act(ctx, "a b"); client.CodeOf(err) != client.CodeInvalid {
			t.Errorf("%s what is no name: %v", what, err)
		}
	}
	local, err := client.New(client.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := local.Queues(ctx); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := local.PauseQueue(ctx, "sent"); !errors.Is(err, client.ErrNoQueues) || client.CodeOf(err) != client.CodeConflict {
		t.Errorf("%v", err)
	}
}
