package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// What every release must go on with: records of each kind, in each state that is not passing, as they were written by the release that wrote the format
// first. The files of a released format never change; those of a new one are written by -update.

// past is when the golden records were written. Stores are opened with a clock that stands there.
var past = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// made is a store with the golden records, and what the test moves it with.
type made struct {
	t   *testing.T
	st  store.Store
	eng *engine.Engine
	now *time.Time
}

func newMade(t *testing.T, open func(clock func() time.Time) store.Store) *made {
	t.Helper()
	now := past
	m := &made{t: t, now: &now, st: open(func() time.Time { return now })}
	t.Cleanup(func() { m.ok(m.st.Close()) })
	var err error
	m.eng, err = engine.New(engine.Config{Store: m.st})
	m.ok(err)
	return m
}

func (m *made) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *made) ctx() context.Context { return m.t.Context() }

func (m *made) create(id string, def schedules.Definition) schedules.Ref {
	m.t.Helper()
	m.createAs(id, "first", def)
	return schedules.Ref{ID: id, Incarnation: "first"}
}

func (m *made) createAs(id, incarnation string, def schedules.Definition) {
	m.t.Helper()
	def.Input = json.RawMessage(`{"of":"` + id + `"}`)
	c, err := schedules.Create(schedules.CreateRequest{ID: id, Incarnation: incarnation, Workflow: "flow", Definition: def, Note: "note of " + id}, *m.now)
	m.ok(err)
	m.ok(m.eng.Create(m.ctx(), c))
}

func (m *made) decide(ref schedules.Ref) schedules.Schedule {
	m.t.Helper()
	d := m.eng.Decide(m.ctx(), ref)[0]
	m.ok(d.Err)
	return d.Schedule
}

func (m *made) act(ref schedules.Ref, act func(st schedules.State, now time.Time) (schedules.Change, error)) schedules.Schedule {
	m.t.Helper()
	s, err := m.eng.Act(m.ctx(), ref, "", act)
	m.ok(err)
	return s
}

// claimed gives a run, claimed by a worker when it is pending.
func (m *made) claimed(id string) schedules.Run {
	m.t.Helper()
	r, err := m.st.GetRun(m.ctx(), id)
	m.ok(err)
	if r.Status == schedules.RunPending {
		r, err = m.st.Claim(m.ctx(), id, r.Dispatch, store.Claim{Worker: "host:1:a", Token: "token"})
		m.ok(err)
	}
	return r
}

func (m *made) change(id string, next func(r schedules.Run, now time.Time) (schedules.RunChange, bool)) schedules.Run {
	m.t.Helper()
	r, err := m.eng.ChangeRun(m.ctx(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		c, ok := next(r, now)
		return c, ok, nil
	})
	m.ok(err)
	return r
}

func (m *made) end(id string, o schedules.Outcome, opts schedules.RunOptions) schedules.Run {
	m.t.Helper()
	m.claimed(id)
	return m.change(id, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
		return schedules.EndAttempt(r, o, opts, now, 0), true
	})
}

var (
	completed = schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage(`{"rows":7}`)}
	broken    = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Message: "it broke", Kind: schedules.ErrorFailed}}
	grid      = schedules.Spec{Interval: "1m", IntervalFrom: schedules.FromStart}
)

func pause(st schedules.State, now time.Time) (schedules.Change, error) {
	return schedules.Pause(st, now, new("quiet"))
}

func remove(st schedules.State, now time.Time) (schedules.Change, error) {
	return schedules.Delete(st, now, false)
}

func trigger(st schedules.State, now time.Time) (schedules.Change, error) {
	c, _, err := schedules.TriggerNow(st, now, schedules.TriggerRequest{Nonce: fmt.Sprint(now.UnixMilli()), Input: json.RawMessage(`{"by":"hand"}`)})
	return c, err
}

// fill writes the records.
func (m *made) fill() {
	buffered := m.create("buffered", schedules.Definition{Spec: grid, Overlap: schedules.OverlapBufferAll, Catchup: schedules.CatchupAll})
	first := m.claimed(m.decide(buffered).LastRunID)
	m.ok(m.st.RecordStep(m.ctx(), first.ID, 1, schedules.Step{Name: "fetch", Key: "fetch#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: past, EndedAt: past, Result: json.RawMessage(`[1]`)}))
	m.ok(m.st.AppendEvents(m.ctx(), first.ID, schedules.Event{At: past, Kind: "log", Level: "info", Message: "half way"}))
	failing := m.create("failing", schedules.Definition{Spec: schedules.Spec{Cron: "* * * * *", Timezone: "Europe/Berlin"}, Queue: "slow"})
	done := m.create("done", schedules.Definition{Spec: schedules.Spec{Calendar: []schedules.Calendar{{Minute: "*", Hour: "*"}}}, Overlap: schedules.OverlapAllowAll})
	asked := m.create("asked", schedules.Definition{Spec: grid, Overlap: schedules.OverlapCancelOther})
	filled := m.create("filled", schedules.Definition{Spec: schedules.Spec{Cron: "0 * * * *", Jitter: schedules.Duration(time.Minute)}})
	m.act(m.create("paused", schedules.Definition{Spec: grid}), pause)
	m.act(m.create("gone", schedules.Definition{Spec: grid}), remove)
	m.act(m.create("anew", schedules.Definition{Spec: schedules.Spec{Interval: "1h"}}), remove)
	m.createAs("anew", "second", schedules.Definition{Spec: schedules.Spec{Interval: "2h"}})
	m.claimed(m.decide(asked).LastRunID)

	*m.now = past.Add(3 * time.Minute)
	_, err := m.st.Heartbeat(m.ctx(), []store.Heartbeat{{RunID: first.ID, Dispatch: 1}})
	m.ok(err)
	m.decide(buffered)
	m.act(buffered, trigger)
	m.end(m.decide(failing).LastRunID, broken, schedules.RunOptions{MaxRetries: 1, Backoff: schedules.Backoff{Initial: schedules.Duration(time.Minute)}})
	m.end(m.decide(done).LastRunID, completed, schedules.RunOptions{})
	m.decide(asked)
	m.act(filled, func(st schedules.State, now time.Time) (schedules.Change, error) {
		bf, _, err := schedules.PlanBackfill(st, now, schedules.BackfillRequest{Nonce: "n", Start: past.Add(-3 * time.Hour), End: past})
		if err != nil {
			return schedules.Change{}, err
		}
		return schedules.AddBackfill(st, now, bf)
	})
	free := schedules.NewRun(schedules.FreeRunID("golden"), "flow", "", json.RawMessage(`{"free":true}`), &schedules.RunOptions{MaxRetries: 2}, *m.now)
	_, _, err = m.eng.CreateRun(m.ctx(), free)
	m.ok(err)
	m.ok(m.st.AnnounceProcess(m.ctx(), store.Process{ID: "host:1:a", Host: "host", PID: 1, StartedAt: past, Worker: true, Queues: []string{"default"}, Version: "1"}, time.Hour))
	m.ok(m.st.PublishWorkflows(m.ctx(), store.Workflow{Name: "flow", Doc: "A flow.", Options: schedules.RunOptions{MaxRetries: 2, Queue: "default"}}))
	_, err = m.st.HoldLeases(m.ctx(), "host:1:a", time.Minute, "beat/0")
	m.ok(err)
}

// goOn reads all of it and carries on.
func (m *made) goOn() {
	t := m.t
	*m.now = past.Add(3 * time.Minute)
	var list []string
	for s, err := range store.All(func(p store.Page) ([]schedules.Schedule, string, error) {
		return m.st.ListSchedules(m.ctx(), store.ScheduleFilter{}, p)
	}) {
		m.ok(err)
		list = append(list, fmt.Sprintf("%s %s %d/%d/%d", s.ID, s.Status, s.Total, s.Active, s.Waiting()))
		if note := map[bool]string{true: "quiet", false: "note of " + s.ID}[s.ID == "paused"]; s.Note != note || string(s.Input) != `{"of":"`+s.ID+`"}` {
			t.Errorf("%s has note %q, input %s", s.ID, s.Note, s.Input)
		}
	}
	want := []string{"anew active 0/0/0", "asked active 1/1/1", "buffered active 1/1/4", "done active 1/0/0", "failing active 1/1/0", "filled active 1/1/0", "paused paused 1/1/0"}
	if !slices.Equal(list, want) {
		t.Errorf("schedules:\n%s\nwant:\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	deleted, _, err := m.st.ListSchedules(m.ctx(), store.ScheduleFilter{Status: schedules.StatusDeleted}, store.Page{})
	if err != nil || len(deleted) != 1 || deleted[0].ID != "gone" {
		t.Errorf("deleted: %d, %v", len(deleted), err)
	}
	m.others()

	// The run in progress ends, the first tick that waits starts, and so on: all in order, and the manual one last.
	buffered := schedules.Ref{ID: "buffered", Incarnation: "first"}
	for left := int64(4); ; left-- {
		s := m.decide(buffered)
		if s.Waiting() != left || s.Active != min(1, left+1) {
			t.Fatalf("buffered has %d active and %d waiting, want 1 and %d", s.Active, s.Waiting(), left)
		}
		r := m.end(s.LastRunID, completed, schedules.RunOptions{})
		if r.Status != schedules.RunCompleted || left == 0 && string(r.Input) != `{"by":"hand"}` {
			t.Errorf("run with %d waiting is %s, input %s", left, r.Status, r.Input)
		}
		if left == 0 {
			break
		}
	}
	fates, _, err := m.st.ListFates(m.ctx(), buffered, store.FateFilter{Fate: schedules.FateStarted}, store.Page{})
	if err != nil || len(fates) != 5 {
		t.Errorf("buffered has %d started ticks, %v", len(fates), err)
	}
	// The failed attempt is due again, and ends well.
	*m.now = past.Add(4*time.Minute + time.Second)
	failing := m.decide(schedules.Ref{ID: "failing", Incarnation: "first"})
	r := m.change(failing.LastRunID, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
		return schedules.RunDue(r, false, now)
	})
	if r.Status != schedules.RunPending || r.Attempt != 2 || r.Queue != "slow" {
		t.Errorf("the retry is %s, attempt %d, queue %s", r.Status, r.Attempt, r.Queue)
	}
	m.end(r.ID, completed, schedules.RunOptions{})
	// The cancelled run is declared so at its deadline, since its worker still renews its lease, and the tick that waited for it starts.
	asked := schedules.Ref{ID: "asked", Incarnation: "first"}
	active, err := m.st.ActiveRuns(m.ctx(), asked, 10)
	m.ok(err)
	if answers, err := m.st.Heartbeat(m.ctx(), []store.Heartbeat{{RunID: active[0], Dispatch: 1}}); err != nil || !answers[0].Cancel {
		t.Errorf("its heartbeat: %+v, %v", answers, err)
	}
	if r := m.change(active[0], func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
		return schedules.RunDue(r, false, now)
	}); r.Status != schedules.RunCancelled {
		t.Errorf("the run asked to cancel is %s", r.Status)
	}
	if s := m.decide(asked); s.Cancelled != 1 || s.Total != 2 {
		t.Errorf("asked: %d cancelled of %d", s.Cancelled, s.Total)
	}
	// The backfill goes through.
	filled := schedules.Ref{ID: "filled", Incarnation: "first"}
	for s := m.decide(filled); s.Active > 0; s = m.decide(filled) {
		m.end(s.LastRunID, completed, schedules.RunOptions{})
	}
	all, _, err := m.st.ListBackfills(m.ctx(), "filled", store.Page{})
	if err != nil || len(all) != 1 || all[0].Status != schedules.BackfillCompleted || all[0].Successful != 3 {
		t.Errorf("backfills: %+v, %v", all, err)
	}
	// Acts.
	paused := schedules.Ref{ID: "paused", Incarnation: "first"}
	m.end(m.decide(paused).LastRunID, completed, schedules.RunOptions{})
	if s := m.act(paused, trigger); s.Total != 2 || s.Active != 1 {
		t.Errorf("paused: %d runs after a trigger", s.Total)
	}
	if s := m.act(schedules.Ref{ID: "anew", Incarnation: "second"}, remove); s.Status != schedules.StatusDeleted {
		t.Errorf("anew is %s", s.Status)
	}
	for shard := range m.st.Shards() {
		_, err := m.st.Trim(m.ctx(), shard, store.DefaultLimits())
		m.ok(err)
	}
}

// others looks at what belongs to no schedule, and at a run's parts.
func (m *made) others() {
	t := m.t
	free, err := m.st.GetRun(m.ctx(), schedules.FreeRunID("golden"))
	if err != nil || free.Options == nil || free.Options.MaxRetries != 2 || string(free.Input) != `{"free":true}` {
		t.Errorf("the run without a schedule: %+v, %v", free, err)
	}
	m.end(free.ID, completed, schedules.RunOptions{})
	loaded, _, err := m.st.Load(m.ctx(), schedules.Ref{ID: "buffered", Incarnation: "first"})
	m.ok(err)
	m.ok(loaded[0].Err)
	steps, err := m.st.Steps(m.ctx(), loaded[0].State.Schedule.LastRunID)
	if err != nil || len(steps) != 1 || steps[0].Key != "fetch#1" || string(steps[0].Result) != "[1]" {
		t.Errorf("steps: %+v, %v", steps, err)
	}
	events, _, err := m.st.Events(m.ctx(), loaded[0].State.Schedule.LastRunID, 0, 10)
	if err != nil || len(events) != 1 || events[0].Message != "half way" {
		t.Errorf("log: %+v, %v", events, err)
	}
	unsent := 0
	for shard := range m.st.Shards() {
		msgs, err := m.st.Unsent(m.ctx(), shard, *m.now, 100)
		m.ok(err)
		unsent += len(msgs)
	}
	if unsent < 5 {
		t.Errorf("%d messages in the outbox", unsent)
	}
	ps, err := m.st.Processes(m.ctx())
	ws, err2 := m.st.Workflows(m.ctx())
	if err != nil || err2 != nil || len(ps) != 1 || len(ws) != 1 || ws[0].Options.MaxRetries != 2 {
		t.Errorf("processes %+v %v, workflows %+v %v", ps, err, ws, err2)
	}
}
