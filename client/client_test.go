package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

// world is a client of a store whose clock the test moves.
type world struct {
	*client.Client
	t     *testing.T
	store store.Store
	now   time.Time
}

var start = time.Date(2026, 3, 2, 10, 0, 30, 0, time.UTC)

// worlds runs a test on both stores.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) {
		w := &world{t: t, now: start}
		st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true, Clock: func() time.Time { return w.now }})
		w.open(st, err)
		test(t, w)
	})
	t.Run("redis", func(t *testing.T) {
		w := &world{t: t, now: start}
		st, err := redisstore.New(redistest.Shared(t).Client(t), redisstore.Config{Namespace: redistest.Namespace(t), Clock: func() time.Time { return w.now }})
		w.open(st, err)
		test(t, w)
	})
}

func (w *world) open(st store.Store, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = st.Close() })
	w.store = st
	if w.Client, err = client.New(client.Config{Store: st, App: minuteApp()}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(id string, spec schedules.Spec, change ...func(*client.CreateRequest)) client.Schedule {
	w.t.Helper()
	req := client.CreateRequest{ID: id, Workflow: "minute_task", Definition: schedules.Definition{Spec: spec}}
	for _, f := range change {
		f(&req)
	}
	s, err := w.CreateSchedule(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// end ends a run as a worker would.
func (w *world) end(id string, status schedules.RunStatus) {
	w.t.Helper()
	e, err := engine.New(engine.Config{Store: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.store.GetRun(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Claim(w.t.Context(), id, r.Dispatch, store.Claim{Worker: "host-2:7:abcd", Token: "t" + id}); err != nil {
		w.t.Fatal(err)
	}
	_, err = e.ChangeRun(w.t.Context(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		o := schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage(`{"ok":true}`)}
		if status == schedules.RunFailed {
			o = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Message: "broken", Kind: schedules.ErrorFailed}}
		}
		return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	e.Decide(w.t.Context(), r.Ref()) // what a keeper does
}

var daily = schedules.Spec{Cron: "0 9 * * *"}

func TestErrorsHaveCodes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("taken", daily)
		declared := w.declare("kept", daily)
		if _, err := w.Delete(ctx, w.create("gone", daily).ScheduleID); err != nil {
			t.Fatal(err)
		}
		text := func(err error) string {
			if err == nil {
				return ""
			}
			return err.Error()
		}
		create := func(change func(*client.CreateRequest)) error {
			req := client.CreateRequest{ID: "new", Workflow: "minute_task", Definition: schedules.Definition{Spec: daily}}
			change(&req)
			_, err := w.CreateSchedule(ctx, req)
			return err
		}
		_, update := w.UpdateSchedule(ctx, "taken", schedules.Patch{ExpectVersion: 9, Note: new(string)})
		_, deleteDeclared := w.Delete(ctx, declared)
		_, triggerGone := w.Trigger(ctx, "gone", client.TriggerRequest{})
		_, deleteGone := w.Delete(ctx, "gone")
		_, planGone := w.PlanBackfill(ctx, "gone", client.BackfillRequest{Start: start.Add(-time.Hour)})
		_, show := w.GetSchedule(ctx, "nope")
		_, run := w.GetRun(ctx, "run_000000000000000000000f")
		_, noRun := w.GetRun(ctx, "nonsense")
		_, backfill := w.GetBackfill(ctx, "nonsense")
		_, workflow := w.GetWorkflow(ctx, "nonsense")
		_, badRun := w.StartRun(ctx, "minute_tsk", nil, pyworkflow.StartOptions{})
		_, badInput := w.StartRun(ctx, "minute_task", json.RawMessage("{"), pyworkflow.StartOptions{})
		for _, c := range []struct {
			name string
			err  error
			code client.Code
			exit int
			http int
			says string
		}{
			{"id taken", create(func(r *client.CreateRequest) { r.ID = "taken" }), client.CodeConflict, 4, 409, `schedule "taken" already exists`},
			{"bad id", create(func(r *client.CreateRequest) { r.ID = "-" }), client.CodeInvalid, 2, 400, `id "-"`},
			{"bad spec", create(func(r *client.CreateRequest) { r.Spec = schedules.Spec{} }), client.CodeInvalid, 2, 400, "cron, interval, calendar"},
			{"no tick left", create(func(r *client.CreateRequest) { r.Spec.EndAt = start }), client.CodeInvalid, 2, 400, "no tick"},
			{"unknown workflow", create(func(r *client.CreateRequest) { r.Workflow = "minute_tsk" }), client.CodeInvalid, 2, 400, "did you mean minute_task?"},
			{"no workflow", create(func(r *client.CreateRequest) { r.Workflow = "" }), client.CodeInvalid, 2, 400, "workflow: is missing"},
			{"version", update, client.CodeConflict, 4, 409, "is of version 1, not 9"},
			{"declared", deleteDeclared, client.CodeConflict, 4, 409, "declared in code: pause it"},
			{"deleted", triggerGone, client.CodeNotFound, 3, 404, `schedule "gone" was deleted`},
			{"deleted twice", deleteGone, client.CodeNotFound, 3, 404, `schedule "gone" was deleted`},
			{"deleted, planned", planGone, client.CodeNotFound, 3, 404, `schedule "gone" was deleted`},
			{"no schedule", show, client.CodeNotFound, 3, 404, `no schedule "nope" in ` + w.Describe()},
			{"no run", run, client.CodeNotFound, 3, 404, `no run "run_`},
			{"not a run's id", noRun, client.CodeNotFound, 3, 404, `no run "nonsense"`},
			{"not a backfill's id", backfill, client.CodeNotFound, 3, 404, `no backfill "nonsense"`},
			{"no workflow of the name", workflow, client.CodeNotFound, 3, 404, `no workflow "nonsense"`},
			{"run of an unknown workflow", badRun, client.CodeInvalid, 2, 400, "did you mean minute_task?"},
			{"input that is no JSON", badInput, client.CodeInvalid, 2, 400, "is not JSON"},
			{"timeout", context.DeadlineExceeded, client.CodeUnavailable, 1, 503, ""},
			{"anything else", errors.New("x"), client.CodeFailed, 1, 500, ""},
			{"nothing", nil, client.CodeOK, 0, 200, ""},
		} {
			got := client.CodeOf(c.err)
			if got != c.code || got.Exit() != c.exit || got.HTTPStatus() != c.http || !strings.Contains(text(c.err), c.says) || strings.Contains(text(c.err), "\n") {
				t.Errorf("%s: %q has code %s, exit %d, status %d", c.name, text(c.err), got, got.Exit(), got.HTTPStatus())
			}
		}
	})
}

// declare activates a schedule of minute_task and returns its id.
func (w *world) declare(name string, spec schedules.Spec) string {
	w.t.Helper()
	app := pyworkflow.NewApp()
	def := pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "", nil }, pyworkflow.Schedule(spec, pyworkflow.Named(name)))
	if err := app.Register(def); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Activate(w.t.Context(), app, client.ActivateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return "auto_minute_task_" + name
}

func TestActivate(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		app := func(specs map[string]schedules.Spec) *pyworkflow.App {
			var opts []pyworkflow.Option
			for name, spec := range specs {
				opts = append(opts, pyworkflow.Schedule(spec, pyworkflow.Named(name)))
			}
			a := pyworkflow.NewApp()
			if err := a.Register(pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "", nil }, opts...)); err != nil {
				t.Fatal(err)
			}
			return a
		}
		activate := func(a *pyworkflow.App, opts client.ActivateOptions, want client.Activation) {
			t.Helper()
			got, err := w.Activate(ctx, a, opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range [][2][]string{{got.Created, want.Created}, {got.Updated, want.Updated}, {got.Unchanged, want.Unchanged}, {got.Overridden, want.Overridden}, {got.Orphaned, want.Orphaned}} {
				if !slices.Equal(l[0], l[1]) {
					t.Errorf("got %+v, want %+v", got, want)
					return
				}
			}
		}
		const a, b = "auto_minute_task_a", "auto_minute_task_b"
		w.create("by_hand", daily)
		two := app(map[string]schedules.Spec{"a": daily, "b": daily})
		activate(two, client.ActivateOptions{DryRun: true}, client.Activation{Created: []string{a, b}})
		if _, err := w.GetSchedule(ctx, a); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("a dry run wrote: %v", err)
		}
		activate(two, client.ActivateOptions{}, client.Activation{Created: []string{a, b}})
		activate(two, client.ActivateOptions{}, client.Activation{Unchanged: []string{a, b}})
		if ws, err := w.store.Workflows(ctx); err != nil || len(ws) != 1 || ws[0].Name != "minute_task" {
			t.Errorf("announced %v, %v", ws, err)
		}

		// What people change stays while its declaration does not change.
		overlap := schedules.OverlapAllowAll
		if _, err := w.UpdateSchedule(ctx, a, schedules.Patch{Overlap: &overlap}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Pause(ctx, a, nil); err != nil {
			t.Fatal(err)
		}
		weekly := schedules.Spec{Cron: "@weekly"}
		changed := app(map[string]schedules.Spec{"a": weekly, "b": daily})
		activate(changed, client.ActivateOptions{DryRun: true}, client.Activation{Updated: []string{a}, Unchanged: []string{b}, Overridden: []string{a}})
		activate(changed, client.ActivateOptions{}, client.Activation{Updated: []string{a}, Unchanged: []string{b}, Overridden: []string{a}})
		got, err := w.GetSchedule(ctx, a)
		if err != nil || got.Spec.Cron != "@weekly" || got.OverlapPolicy != overlap || got.Status != schedules.StatusPaused || !slices.Equal(got.Overridden, []string{"overlap_policy"}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if s, err := w.Reset(ctx, a); err != nil || s.OverlapPolicy != schedules.OverlapSkip || len(s.Overridden) != 0 {
			t.Errorf("got %+v, %v", s, err)
		}

		// What left the code is reported, and removed by Prune only; schedules made by hand never.
		less := app(map[string]schedules.Spec{"a": weekly})
		activate(less, client.ActivateOptions{LeaveOrphans: true}, client.Activation{Unchanged: []string{a}})
		if orphans, err := w.Orphans(ctx, less); err != nil || !slices.Equal(orphans, []string{b}) {
			t.Errorf("orphans are %q, %v", orphans, err)
		}
		activate(less, client.ActivateOptions{}, client.Activation{Unchanged: []string{a}, Orphaned: []string{b}})
		activate(less, client.ActivateOptions{Prune: true, DryRun: true}, client.Activation{Unchanged: []string{a}, Orphaned: []string{b}})
		activate(less, client.ActivateOptions{Prune: true}, client.Activation{Unchanged: []string{a}, Orphaned: []string{b}})
		activate(less, client.ActivateOptions{}, client.Activation{Unchanged: []string{a}})
		activate(two, client.ActivateOptions{}, client.Activation{Created: []string{b}, Updated: []string{a}})
		if s, err := w.GetSchedule(ctx, "by_hand"); err != nil || s.Status != schedules.StatusActive {
			t.Errorf("by hand: %v, %v", s.Status, err)
		}
	})
}

func TestBlockedBy(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily)
		first, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := w.GetSchedule(ctx, "s"); err != nil || s.BlockedBy != "" || !slices.Equal(s.ActiveRunIDs, []string{string(first.RunID)}) {
			t.Errorf("nothing waits, blocked by %q, %v", s.Blocked(), err)
		}
		if _, err := w.Trigger(ctx, "s", client.TriggerRequest{Overlap: schedules.OverlapBufferOne}); err != nil {
			t.Fatal(err)
		}
		blocked := func(want string) {
			t.Helper()
			s, err := w.GetSchedule(ctx, "s")
			if err != nil || s.BlockedBy != first.RunID || s.Blocked() != string(first.RunID)+want {
				t.Errorf("got %q, %v; want …%s", s.Blocked(), err, want)
			}
		}
		w.now = w.now.Add(3 * time.Hour)
		if _, err := w.Now(ctx); err != nil { // the clock is read
			t.Fatal(err)
		}
		blocked(` (pending 3h: no live worker has workflow "minute_task")`)
		announce := func(p store.Process) {
			p.ID, p.Workflows = "host-2:7:abcd", []string{"minute_task"}
			if err := w.store.AnnounceProcess(ctx, p, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		announce(store.Process{Worker: true, Queues: []string{"other"}})
		blocked(` (pending 3h: no live worker with workflow "minute_task" serves queue "default")`)
		announce(store.Process{Worker: true, Queues: []string{"default"}})
		blocked(` (pending 3h)`)
		if _, err := w.store.Claim(ctx, string(first.RunID), 1, store.Claim{Worker: "host-2:7:abcd", Token: "t"}); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(90 * time.Second)
		if _, err := w.Now(ctx); err != nil {
			t.Fatal(err)
		}
		blocked(` (running 90s on host-2)`)
	})
}

func TestBackfillMissingOnly(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", schedules.Spec{Cron: "0 * * * *"})
		at := func(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }
		first, err := w.Backfill(ctx, "s", client.BackfillRequest{Start: at(2), End: at(4)})
		if err != nil || first.Count != 2 || len(first.RunIDs) != 2 {
			t.Fatalf("%+v, %v", first, err)
		}
		plan, err := w.PlanBackfill(ctx, "s", client.BackfillRequest{Start: at(1), End: at(6), MissingOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, n := range plan.NominalTimes {
			got = append(got, n.Hour())
		}
		if want := []int{1, 4, 5}; !slices.Equal(got, want) || plan.Count != 3 { // 2 runs, 3 is the backfill's to start
			t.Errorf("got hours %v, want %v", got, want)
		}
		nothing, err := w.Backfill(ctx, "s", client.BackfillRequest{Start: at(2), End: at(4), MissingOnly: true})
		if err != nil || nothing.Count != 0 || nothing.BackfillID != "" {
			t.Errorf("%+v, %v", nothing, err)
		}
		text, err := json.Marshal(nothing)
		if err != nil || string(text) != `{"backfill_id":null,"run_ids":[],"count":0}` {
			t.Errorf("%s, %v", text, err)
		}
		for _, id := range first.RunIDs {
			w.end(id, schedules.RunCompleted)
		}
		var last client.Backfill
		bf, err := w.AwaitBackfill(ctx, string(first.BackfillID), func(b client.Backfill) { last = b })
		if err != nil || bf.Successful != 2 || !bf.Ended() || last.Successful != 2 {
			t.Errorf("%+v, %v, told %+v", bf, err, last)
		}
		if bf, err = w.CancelBackfill(ctx, string(first.BackfillID)); err != nil || bf.Status != schedules.BackfillCompleted {
			t.Errorf("cancelling what has ended: %v, %v", bf.Status, err)
		}
	})
}

func TestRunsAreStartedOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		opts := pyworkflow.StartOptions{IdempotencyKey: "k", Queue: "q"}
		first, err := w.StartRun(ctx, "minute_task", json.RawMessage(`1`), opts)
		if err != nil {
			t.Fatal(err)
		}
		second, err := w.StartRun(ctx, "minute_task", json.RawMessage(`2`), opts)
		if err != nil || second != first {
			t.Errorf("second start: %s, %v; want %s", second, err, first)
		}
		other, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
		if err != nil || other == first {
			t.Errorf("start without key: %s, %v", other, err)
		}
		if r, err := w.GetRun(ctx, first); err != nil || string(r.Input) != "1" || r.Queue != "q" {
			t.Errorf("%+v, %v", r, err)
		}
		w.end(first, schedules.RunFailed)
		_, err = w.AwaitRun(ctx, first)
		var failed *pyworkflow.RunError
		if !errors.As(err, &failed) || failed.Message != "broken" || failed.RunID != first {
			t.Errorf("got %v", err)
		}
		w.end(other, schedules.RunCompleted)
		if result, err := w.AwaitRun(ctx, other); err != nil || string(result) != `{"ok":true}` {
			t.Errorf("%s, %v", result, err)
		}
		impatient, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		third, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.AwaitRun(impatient, third); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if r, err := w.CancelRun(ctx, third, "enough"); err != nil || r.Status != schedules.RunCancelled {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := w.CancelRun(ctx, other, "too late"); err != nil || r.Status != schedules.RunCompleted {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestCreateMany(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		var reqs []client.CreateRequest
		for i := range 600 {
			reqs = append(reqs, client.CreateRequest{ID: fmt.Sprintf("many_%03d", i), Workflow: "minute_task", Definition: schedules.Definition{Spec: schedules.Spec{Interval: "1h"}}})
		}
		reqs[7].ID = "many_006"
		reqs[300].Spec.Interval = "30"
		reqs[301].Workflow = "minute_taks"
		reqs[302].Workflow, reqs[302].Force = "to_come", true
		reqs[599].ID = ""
		made := w.CreateSchedules(ctx, reqs...)
		for i, m := range made {
			var exists *client.ExistsError
			var field *schedules.FieldError
			var unknown *client.UnknownWorkflowError
			switch i {
			case 7:
				if !errors.As(m.Err, &exists) {
					t.Errorf("an id that is taken: %v", m.Err)
				}
			case 300:
				if !errors.As(m.Err, &field) {
					t.Errorf("a bad interval: %v", m.Err)
				}
			case 301:
				if !errors.As(m.Err, &unknown) {
					t.Errorf("an unknown workflow: %v", m.Err)
				}
			default:
				if m.Err != nil || reqs[i].ID != "" && m.Schedule.ScheduleID != reqs[i].ID || m.Schedule.ScheduleID == "" {
					t.Fatalf("schedule %d: %q, %v", i, m.Schedule.ScheduleID, m.Err)
				}
				if got, err := w.GetSchedule(ctx, m.Schedule.ScheduleID); err != nil || got.ScheduleID != m.Schedule.ScheduleID || !got.NextRunTime.Equal(m.Schedule.NextRunTime.Time) {
					t.Fatalf("schedule %d: %v", i, err)
				}
			}
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		for _, m := range w.CreateSchedules(gone, client.CreateRequest{Workflow: "minute_task", Definition: schedules.Definition{Spec: schedules.Spec{Interval: "1h"}}}) {
			if m.Err == nil {
				t.Error("created after the context had ended")
			}
		}
	})
}

// A run whose lease has run out ends by a cancel unless its worker renews the lease meanwhile: the store's clock may just have stepped.
func TestCancelOfARunWhoseLeaseIsOut(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		claim := func() string {
			id, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.Claim(ctx, id, 1, store.Claim{Worker: "host-2:1", Token: "t"}); err != nil {
				t.Fatal(err)
			}
			return id
		}
		dead, slow := claim(), claim()
		w.now = w.now.Add(time.Hour)
		if r, err := w.CancelRun(ctx, dead, "enough"); err != nil || r.Status != schedules.RunCancelled {
			t.Errorf("nobody renews the lease: %v, %v", r.Status, err)
		}
		renewed := make(chan error, 1)
		go func() {
			for {
				r, err := w.store.GetRun(ctx, slow)
				if err == nil && r.CancelAt.IsZero() { // the request comes first, then the watch
					continue
				}
				if err == nil {
					_, err = w.store.Heartbeat(ctx, []store.Heartbeat{{RunID: slow, Dispatch: 1}})
				}
				renewed <- err
				return
			}
		}()
		r, err := w.CancelRun(ctx, slow, "enough")
		if err := errors.Join(err, <-renewed); err != nil || r.Status != schedules.RunRunning {
			t.Errorf("the lease is renewed: %v, %v", r.Status, err)
		}
	})
}

func TestWaitTriggered(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("s", daily, func(r *client.CreateRequest) { r.Overlap = schedules.OverlapBufferOne })
		first, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil || second.Outcome != schedules.FateBuffered {
			t.Fatalf("%+v, %v", second, err)
		}
		w.end(string(first.RunID), schedules.RunCompleted) // the second starts
		third, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil || third.Outcome != schedules.FateBuffered {
			t.Fatalf("%+v, %v", third, err)
		}
		if _, err := w.Delete(ctx, "s"); err != nil { // the third is dropped
			t.Fatal(err)
		}
		var dropped *client.DroppedError
		if _, err := w.WaitTriggered(ctx, "s", string(third.RunID)); !errors.As(err, &dropped) || dropped.Reason != schedules.ReasonDeleted {
			t.Errorf("got %v", err)
		}
		w.end(string(second.RunID), schedules.RunCompleted)
		if r, err := w.WaitTriggered(ctx, "s", string(second.RunID)); err != nil || r.Status != schedules.RunCompleted {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestProcessesOfOneProcessAreOne(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, p := range []store.Process{
			{ID: "h:1:a", Host: "h", PID: 1, Worker: true, Queues: []string{"default"}, Capacity: 3, StartedAt: start},
			{ID: "h:1:b", Host: "h", PID: 1, Beat: true, Shards: []int{0, 1}, StartedAt: start.Add(time.Second), Version: "v1"},
			{ID: "h:2:c", Host: "h", PID: 2, Beat: true},
		} {
			if err := w.store.AnnounceProcess(t.Context(), p, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		got, err := w.Processes(t.Context())
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		if p := got[0]; !slices.Equal(p.Roles, []string{"worker", "beat"}) || !slices.Equal(p.Shards, []int{0, 1}) || p.Capacity != 3 || p.Version != "v1" || !p.StartedAt.Equal(start) {
			t.Errorf("%+v", p)
		}
	})
}

func TestPagesAreFilled(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			w.create(id, daily)
		}
		for _, id := range []string{"a", "c"} {
			if _, err := w.Pause(t.Context(), id, nil); err != nil {
				t.Fatal(err)
			}
		}
		active := client.ScheduleFilter{Status: schedules.StatusActive}
		var ids []string
		req := client.PageRequest{Limit: 2}
		for {
			page, err := w.ListSchedules(t.Context(), active, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Items {
				ids = append(ids, s.ScheduleID)
			}
			if page.NextCursor == "" {
				break
			}
			if len(page.Items) != 2 {
				t.Errorf("a page of %d with a cursor", len(page.Items))
			}
			req.Cursor = string(page.NextCursor)
		}
		if want := []string{"b", "d", "e"}; !slices.Equal(ids, want) {
			t.Errorf("got %v, want %v", ids, want)
		}
	})
}

// keys gives the keys of an object in their order.
func keys(t *testing.T, v any) []string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	var out []string
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, key.(string))
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestJSON holds the field names against the command line's manual, in its words.
func TestJSON(t *testing.T) {
	word := regexp.MustCompile(`[a-z_]+`)
	fields := func(text string) []string { return word.FindAllString(text, -1) }
	schedule := fields(`schedule_id, workflow, origin, status, spec, overlap_policy, buffer_limit, cancel_grace, catchup, catchup_window, queue, input, note, overridden,
		created_at, updated_at, version, last_run_at, last_run_id, next_run_time, active_runs, active_run_ids, buffered_runs, blocked_by, total_runs, successful_runs,
		failed_runs, cancelled_runs, skipped_runs, missed_runs`)
	for _, c := range []struct {
		name string
		v    any
		want []string
	}{
		{"schedule", client.Schedule{}, schedule},
		{"show", client.ScheduleDetail{}, append(slices.Clone(schedule), "next_ticks", "recent_fates")},
		{"run", client.Run{}, fields(`run_id, schedule_id, workflow, queue, status, trigger, nominal_time, created_at, started_at, ended_at, attempt, dispatch, recoveries, worker,
			input, result, error, steps`)},
		{"step", client.Step{}, fields(`name, key, status, attempt, started_at, ended_at, result, error`)},
		{"error", client.Failure{}, fields(`message, kind, stack`)},
		{"fate", client.Fate{}, fields(`nominal_time, trigger, decided_at, fate, reason, waited, blocked_by, run_id`)},
		{"trigger", client.TriggerResult{}, fields(`outcome, run_id, reason`)},
		{"backfill", client.BackfillResult{}, fields(`backfill_id, run_ids, count`)},
		{"plan", client.BackfillPlan{}, fields(`nominal_times, count`)},
		{"activation", client.Activation{}, fields(`created, updated, unchanged, overridden, orphaned`)},
		{"tick", client.Tick{}, fields(`nominal_time, local_time`)},
		{"list", client.Page[client.Run]{}, fields(`items, next_cursor`)},
	} {
		if got := keys(t, c.v); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{client.Time{}, "null"},
		{client.Time{Time: time.Date(2026, 3, 8, 8, 0, 0, 12e6, time.FixedZone("", 3600))}, `"2026-03-08T07:00:00.012Z"`},
		{client.Text(""), "null"},
		{client.Text("x"), `"x"`},
		{client.Duration{}, "null"},
		{client.Duration{Duration: schedules.Duration(5 * time.Minute)}, `"5m"`},
	} {
		if got, err := json.Marshal(c.v); err != nil || string(got) != c.want {
			t.Errorf("got %s, %v; want %s", got, err, c.want)
		}
	}
}
