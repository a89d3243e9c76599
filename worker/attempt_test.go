package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

func square(_ context.Context, n int) (int, error) { return n * n, nil }

func TestRunIsExecuted(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{ID: "w1"}, pyworkflow.Define("square", square))
		id := w.submit("square", "7", nil)
		run := w.ended(id)
		if run.Status != schedules.RunCompleted || string(run.Result) != "49" || run.Worker != "w1" || run.Attempt != 1 || run.Dispatch != 1 ||
			run.StartedAt.IsZero() || run.EndedAt.IsZero() {
			t.Errorf("run %+v", run)
		}
		w.end(r)
		if got := w.events(id); !slices.Contains(got, "claimed: attempt 1 begins on worker w1") || got[len(got)-1] != "ended: completed" {
			t.Errorf("events %q", got)
		}
	})
}

func TestFailedAttemptIsRetried(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("flaky", func(ctx context.Context) (int, error) {
			if n := pyworkflow.RunInfo(ctx).Attempt; n < 3 {
				return 0, fmt.Errorf("attempt %d fails", n)
			}
			return 1, nil
		}, pyworkflow.MaxRetries(2), pyworkflow.RetryBackoff(pyworkflow.Fixed(10*time.Second))),
			pyworkflow.DefineFunc("stubborn", func(context.Context) (int, error) {
				return 0, pyworkflow.NoRetry(errors.New("never"))
			}, pyworkflow.MaxRetries(2)),
			pyworkflow.DefineFunc("patient", func(ctx context.Context) (int, error) {
				if pyworkflow.RunInfo(ctx).Attempt == 1 {
					return 0, pyworkflow.RetryAfter(errors.New("later"), time.Minute)
				}
				return 1, nil
			}, pyworkflow.MaxRetries(1)))
		began := time.Now()
		id, never, later := w.submit("flaky", "", nil), w.submit("stubborn", "", nil), w.submit("patient", "", nil)
		if run := w.status(id, schedules.RunRetrying); run.Attempt != 2 || run.Error == nil || run.Error.Message != "attempt 1 fails" {
			t.Errorf("run %+v", run)
		}
		run := w.ended(id)
		if took := run.EndedAt.Sub(began); run.Status != schedules.RunCompleted || run.Attempt != 3 || took < 20*time.Second || took > 21*time.Second {
			t.Errorf("after %s: run %+v", took, run)
		}
		if run := w.ended(never); run.Status != schedules.RunFailed || run.Attempt != 1 || run.Error.Message != "never" {
			t.Errorf("run %+v", run)
		}
		if run := w.ended(later); run.Status != schedules.RunCompleted || run.EndedAt.Sub(began) < time.Minute {
			t.Errorf("run %+v", run)
		}
		w.end(r)
	})
}

func TestOptionsOfTheRunRule(t *testing.T) {
	inWorld(t, func(w *world) {
		calls := 0
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("fails", func(context.Context) (int, error) {
			calls++
			return 0, errors.New("boom")
		}, pyworkflow.MaxRetries(5)))
		w.ended(w.submit("fails", "", &schedules.RunOptions{MaxRetries: 1}))
		w.end(r)
		if calls != 2 {
			t.Errorf("%d attempts; want 2, as the run says", calls)
		}
	})
}

func TestPanicFailsTheAttemptAndTheWorkerLivesOn(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.Define("square", square),
			pyworkflow.DefineFunc("panics", func(context.Context) (int, error) { panic("ouch") }),
			pyworkflow.DefineFunc("exits", func(context.Context) (int, error) {
				runtime.Goexit()
				return 0, nil
			}))
		run := w.ended(w.submit("panics", "", nil))
		if run.Status != schedules.RunFailed || run.Error.Kind != schedules.ErrorPanic || run.Error.Message != "panic: ouch" ||
			!strings.Contains(run.Error.Stack, "TestPanicFailsTheAttemptAndTheWorkerLivesOn") {
			t.Errorf("run %+v, error %+v", run, run.Error)
		}
		run = w.ended(w.submit("exits", "", nil))
		if run.Status != schedules.RunFailed || !strings.Contains(run.Error.Message, "runtime.Goexit") {
			t.Errorf("run %+v, error %+v", run, run.Error)
		}
		if run := w.ended(w.submit("square", "2", nil)); run.Status != schedules.RunCompleted {
			t.Errorf("run %+v", run)
		}
		w.end(r)
	})
}

func TestBadInputFailsWithoutRetry(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.Define("square", square, pyworkflow.MaxRetries(5)))
		run := w.ended(w.submit("square", `"seven"`, nil))
		if run.Status != schedules.RunFailed || run.Attempt != 1 || run.Error.Kind != schedules.ErrorInput || !strings.Contains(run.Error.Message, `"seven"`) {
			t.Errorf("run %+v, error %+v", run, run.Error)
		}
		w.end(r)
	})
}

func TestTimeoutIsAFailedAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		var cause error
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("slow", func(ctx context.Context) (int, error) {
			if pyworkflow.RunInfo(ctx).Attempt == 2 {
				return 2, nil
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, ctx.Err()
		}, pyworkflow.Timeout(5*time.Second), pyworkflow.MaxRetries(1)))
		began := time.Now()
		id := w.submit("slow", "", nil)
		run := w.status(id, schedules.RunRetrying)
		if run.Error.Kind != schedules.ErrorTimeout || run.Error.Message != "took longer than its time limit of 5s" || time.Since(began) > 6*time.Second {
			t.Errorf("after %s: error %+v", time.Since(began), run.Error)
		}
		if !errors.Is(cause, pyworkflow.ErrTimeout) {
			t.Errorf("cause %v", cause)
		}
		if run := w.ended(id); run.Status != schedules.RunCompleted || run.Attempt != 2 {
			t.Errorf("run %+v", run)
		}
		w.end(r)
	})
}

// deaf is a workflow that ignores its context until it is let go.
func deaf(letGo <-chan struct{}, opts ...pyworkflow.Option) *pyworkflow.Workflow[struct{}, int] {
	return pyworkflow.DefineFunc("deaf", func(context.Context) (int, error) {
		<-letGo
		return 1, nil
	}, opts...)
}

func TestDeafCodeIsLeftBehindAfterItsTimeout(t *testing.T) {
	inWorld(t, func(w *world) {
		letGo := make(chan struct{})
		r := w.start(worker.Config{Concurrency: 1}, deaf(letGo, pyworkflow.Timeout(5*time.Second)), pyworkflow.Define("square", square))
		began := time.Now()
		run := w.ended(w.submit("deaf", "", nil))
		if took := time.Since(began); run.Status != schedules.RunFailed || run.Error.Kind != schedules.ErrorTimeout || took < 5*time.Second+worker.Patience || took > 6*time.Second+worker.Patience {
			t.Errorf("after %s: run %+v, error %+v", took, run, run.Error)
		}
		if run := w.ended(w.submit("square", "2", nil)); run.Status != schedules.RunCompleted {
			t.Errorf("the slot is not free: run %+v", run)
		}
		if s := r.Stats(); s.Abandoned != 1 || s.Running != 0 || s.Capacity != 1 {
			t.Errorf("stats %+v", s)
		}
		if !w.log.has("code ignores its cancelled context") {
			t.Error("no warning")
		}
		close(letGo)
		for r.Stats().Abandoned > 0 {
			sleep(time.Millisecond)
		}
		if run := w.run(run.ID); run.Status != schedules.RunFailed {
			t.Errorf("an ended run changed: %+v", run)
		}
		w.end(r)
	})
}

func TestCancelIsSeenWithinASecond(t *testing.T) {
	inWorld(t, func(w *world) {
		var cause error
		var seen time.Time
		wait := func(result error) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				<-ctx.Done()
				cause, seen = context.Cause(ctx), time.Now()
				return 1, result
			}
		}
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("obedient", wait(context.Canceled), pyworkflow.MaxRetries(3)), pyworkflow.DefineFunc("busy", wait(nil)))
		id := w.submit("obedient", "", nil)
		w.status(id, schedules.RunRunning)
		asked := time.Now()
		w.cancel(id, "not needed", time.Minute)
		run := w.ended(id)
		if run.Status != schedules.RunCancelled || run.Attempt != 1 || seen.Sub(asked) > time.Second {
			t.Errorf("seen after %s: run %+v", seen.Sub(asked), run)
		}
		if !errors.Is(cause, pyworkflow.ErrCancelled) || !strings.Contains(cause.Error(), "not needed") {
			t.Errorf("cause %v", cause)
		}
		id = w.submit("busy", "", nil)
		w.status(id, schedules.RunRunning)
		w.cancel(id, "", time.Minute)
		if run := w.ended(id); run.Status != schedules.RunCompleted || string(run.Result) != "1" {
			t.Errorf("a result all the same: run %+v", run)
		}
		w.end(r)
	})
}

func TestDeafCodeIsDeclaredCancelled(t *testing.T) {
	inWorld(t, func(w *world) {
		letGo := make(chan struct{})
		r := w.start(worker.Config{Concurrency: 1}, deaf(letGo), pyworkflow.Define("square", square))
		id := w.submit("deaf", "", nil)
		w.status(id, schedules.RunRunning)
		asked := time.Now()
		w.cancel(id, "", 30*time.Second)
		if run := w.ended(id); run.Status != schedules.RunCancelled || run.EndedAt.Sub(asked) < 30*time.Second || run.EndedAt.Sub(asked) > 31*time.Second {
			t.Errorf("after %s: run %+v", run.EndedAt.Sub(asked), run)
		}
		next := w.submit("square", "2", nil)
		if run := w.ended(next); run.StartedAt.Sub(asked) > 32*time.Second {
			t.Errorf("the slot was freed only after %s", run.StartedAt.Sub(asked))
		}
		close(letGo)
		w.end(r)
		if run := w.run(id); run.Status != schedules.RunCancelled {
			t.Errorf("an ended run changed: %+v", run)
		}
	})
}

func TestUnknownWorkflowGoesBack(t *testing.T) {
	inWorld(t, func(w *world) {
		ignorant := w.start(worker.Config{ID: "ignorant"}, pyworkflow.DefineFunc("other", func(context.Context) (int, error) { return 0, nil }))
		id := w.submit("square", "3", nil)
		run := w.until(id, "returned", func(r schedules.Run) bool { return r.Returns > 0 })
		if run.Status != schedules.RunPending || run.Attempt != 1 || !run.StartedAt.IsZero() || run.Worker != "" {
			t.Errorf("run %+v", run)
		}
		w.until(id, "returned often", func(r schedules.Run) bool { return r.Returns >= 4 })
		if took := time.Since(run.CreatedAt); took < 7*time.Second {
			t.Errorf("four returns in %s; want 1 s, 2 s and 4 s between them", took)
		}
		w.end(ignorant)
		knowing := w.start(worker.Config{ID: "knowing"}, pyworkflow.Define("square", square))
		if run := w.ended(id); run.Status != schedules.RunCompleted || run.Worker != "knowing" || run.Attempt != 1 || run.Recoveries != 0 {
			t.Errorf("run %+v", run)
		}
		w.end(knowing)
		if got := w.events(id); !slices.Contains(got, `returned: worker ignorant does not have workflow "square"`) {
			t.Errorf("events %q", got)
		}
	})
}

func TestUnknownWorkflowComesBackSoonWhileAnotherHasIt(t *testing.T) {
	inWorld(t, func(w *world) {
		other := store.Process{ID: "other", Worker: true, Workflows: []string{"square"}} // whose queue this one's fake transport never asks
		if err := w.store.AnnounceProcess(context.Background(), other, time.Hour); err != nil {
			t.Fatal(err)
		}
		ignorant := w.start(worker.Config{ID: "ignorant"}, pyworkflow.DefineFunc("other", func(context.Context) (int, error) { return 0, nil }))
		id := w.submit("square", "3", nil)
		first := w.until(id, "returned", func(r schedules.Run) bool { return r.Returns > 0 })
		run := w.until(id, "returned often", func(r schedules.Run) bool { return r.Dispatch >= first.Dispatch+5 })
		if took := time.Since(run.CreatedAt); run.Returns != 1 || took > 8*time.Second {
			t.Errorf("six returns in %s, the last counted %d; want one a second", took, run.Returns)
		}
		w.end(ignorant)
	})
}

func TestOutdatedMessagesAreDropped(t *testing.T) {
	inWorld(t, func(w *world) {
		var executed atomic.Int64
		app := pyworkflow.NewApp()
		slow := pyworkflow.DefineFunc("slow", func(ctx context.Context) (int, error) {
			executed.Add(1)
			sleep(2 * time.Second)
			return 1, nil
		})
		if err := app.Register(slow); err != nil {
			t.Fatal(err)
		}
		a, b := w.start(worker.Config{App: app}), w.start(worker.Config{App: clone(t, slow)})
		id := w.submit("slow", "", nil)
		run := w.status(id, schedules.RunRunning)
		m := message(run)
		for range 3 { // again, to both, while it runs and when it has ended
			for _, r := range []*running{a, b} {
				if _, err := r.tr.Dispatch(w.ctx, one(m)); err != nil {
					t.Error(err)
				}
			}
			sleep(time.Second)
		}
		gone := m
		gone.RunID = schedules.FreeRunID("nobody's")
		future := m
		future.Dispatch = 7
		if _, err := a.tr.Dispatch(w.ctx, one(gone, future)); err != nil {
			t.Error(err)
		}
		w.ended(id)
		w.end(a)
		w.end(b)
		if n := executed.Load(); n != 1 {
			t.Errorf("executed %d times", n)
		}
	})
}

func TestLostAnswersAreAskedForAgain(t *testing.T) {
	for mute := range 7 {
		t.Run(fmt.Sprint(mute), func(t *testing.T) {
			inWorld(t, func(w *world) {
				var executed atomic.Int64
				r := w.start(worker.Config{}, pyworkflow.DefineFunc("w", func(ctx context.Context) (int, error) {
					return pyworkflow.Step(ctx, "s", func(context.Context) (int, error) { return int(executed.Add(1)), nil })
				}))
				w.store.mute.Store(int64(mute))
				run := w.ended(w.submit("w", "", nil))
				if run.Status != schedules.RunCompleted || run.Attempt != 1 || run.Dispatch != 1 || run.Recoveries != 0 || executed.Load() != 1 {
					t.Errorf("executed %d times: run %+v", executed.Load(), run)
				}
				w.end(r)
			})
		})
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		var now, most atomic.Int64
		r := w.start(worker.Config{Concurrency: 3}, pyworkflow.Define("slow", func(_ context.Context, n int) (int, error) {
			most.Store(max(most.Load(), now.Add(1)))
			sleep(time.Second)
			now.Add(-1)
			return n, nil
		}))
		began := time.Now()
		var ids []string
		for n := range 12 {
			ids = append(ids, w.submit("slow", fmt.Sprint(n), nil))
		}
		for _, id := range ids {
			w.ended(id)
		}
		if most.Load() != 3 || time.Since(began) > 5*time.Second {
			t.Errorf("%d at a time, %s in all", most.Load(), time.Since(began))
		}
		w.end(r)
	})
}

func TestLastResultOfTheSchedule(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("count", func(ctx context.Context) (int, error) {
			last, ok, err := pyworkflow.LastResult[int](ctx)
			if err != nil || ok != (last > 0) {
				return 0, fmt.Errorf("last result %d, %v: %w", last, ok, err)
			}
			return last + 1, nil
		}))
		c, err := schedules.Create(schedules.CreateRequest{ID: "counting", Incarnation: "1", Workflow: "count",
			Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 0 1 6 *"}}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.eng.Create(w.ctx, c); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			var id string
			_, err := w.eng.Act(w.ctx, c.Schedule.Ref(), "", func(st schedules.State, now time.Time) (schedules.Change, error) {
				change, result, err := schedules.TriggerNow(st, now, schedules.TriggerRequest{Nonce: fmt.Sprint(n)})
				if id = result.RunID; err == nil && result.Outcome != schedules.FateStarted {
					err = fmt.Errorf("trigger %d: %+v", n, result)
				}
				return change, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if run := w.ended(id); string(run.Result) != fmt.Sprint(n+1) || run.Nominal.IsZero() {
				t.Errorf("run %d: %+v, error %+v", n, run, run.Error)
			}
		}
		if run := w.ended(w.submit("count", "", nil)); string(run.Result) != "1" {
			t.Errorf("a run without a schedule has a last result: %+v", run)
		}
		w.end(r)
	})
}

func TestLogLinesAreEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("talks", func(ctx context.Context) (int, error) {
			pyworkflow.Logger(ctx).Info("half way", "percent", 50)
			sleep(time.Second)
			return pyworkflow.Step(ctx, "rest", func(context.Context) (int, error) { return 1, nil })
		}))
		id := w.submit("talks", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(500 * time.Millisecond)
		if got := w.events(id); !slices.Contains(got, "log: half way") {
			t.Errorf("events of a running run %q", got)
		}
		w.ended(id)
		got := w.events(id)
		step := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "step: step rest#1 completed in ") })
		if end := slices.Index(got, "ended: completed"); step < 0 || step > end {
			t.Errorf("events %q", got)
		}
		w.end(r)
		if !w.log.has(`msg="half way"`) || !w.log.has("percent=50") {
			t.Error("the process's log lacks the line")
		}
	})
}

func TestLongRunWithoutATimeLimitIsWarnedAbout(t *testing.T) {
	inWorld(t, func(w *world) {
		nap := func(d time.Duration) func(context.Context) (int, error) {
			return func(context.Context) (int, error) { sleep(d); return 1, nil }
		}
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("long", nap(65*time.Minute)), pyworkflow.DefineFunc("bounded", nap(65*time.Minute), pyworkflow.Timeout(2*time.Hour)))
		w.unkept.Store(true)
		id, bounded := w.submit("long", "", nil), w.submit("bounded", "", nil)
		sleep(66 * time.Minute)
		if run := w.ended(id); run.Status != schedules.RunCompleted {
			t.Errorf("run %+v", run)
		}
		isLong := func(s string) bool { return strings.HasPrefix(s, "long: run without a time limit lasts long") }
		if n := count(w.events(id), isLong); n != 1 {
			t.Errorf("%d warnings about the long run", n)
		}
		if n := count(w.events(bounded), isLong); n != 0 {
			t.Errorf("%d warnings about the one with a time limit", n)
		}
		w.end(r)
	})
}

func TestObserverIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		o := &observer{}
		letGo := make(chan struct{})
		r := w.start(worker.Config{Observer: o}, pyworkflow.Define("square", square), deaf(letGo, pyworkflow.Timeout(time.Second)))
		w.ended(w.submit("square", "2", nil))
		w.ended(w.submit("deaf", "", nil))
		close(letGo)
		w.end(r)
		want := []string{"claimed square", "attempted square completed true", "claimed deaf", "abandoned deaf", "attempted deaf failed true"}
		if !slices.Equal(o.told, want) {
			t.Errorf("told %q; want %q", o.told, want)
		}
	})
}

type observer struct {
	mu   sync.Mutex
	told []string
}

func (o *observer) tell(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, s)
}

func (o *observer) Claimed(r schedules.Run)   { o.tell("claimed " + r.Workflow) }
func (o *observer) Abandoned(r schedules.Run) { o.tell("abandoned " + r.Workflow) }
func (o *observer) Attempted(r schedules.Run, _ schedules.Outcome, _ time.Duration, recorded bool) {
	o.tell(fmt.Sprintf("attempted %s %s %v", r.Workflow, r.Status, recorded))
}

func TestEndsTellsTheApp(t *testing.T) {
	inWorld(t, func(w *world) {
		app := pyworkflow.NewApp()
		var mu sync.Mutex
		told := map[string]schedules.RunStatus{}
		app.OnRunEnd(func(_ context.Context, e pyworkflow.RunEnded) {
			sleep(time.Second) // Close waits for it
			mu.Lock()
			defer mu.Unlock()
			told[e.RunID] = e.Status
		})
		ends := worker.NewEnds(app, nil)
		w.ends = ends.RunChanged
		r := w.start(worker.Config{App: app}, pyworkflow.Define("square", square))
		id, failed := w.submit("square", "2", nil), w.submit("square", `"x"`, nil)
		unknown := w.submit("unknown", "", nil)
		w.ended(id)
		w.ended(failed)
		w.cancel(unknown, "", 0) // ended by whoever asks, not by a worker
		w.end(r)
		ends.Close(time.Minute)
		ends.Close(0)
		want := map[string]schedules.RunStatus{id: schedules.RunCompleted, failed: schedules.RunFailed, unknown: schedules.RunCancelled}
		if a, b := toJSON(told), toJSON(want); a != b {
			t.Errorf("told %s; want %s", a, b)
		}
	})
}

func TestEndsCloseDoesNotWaitForever(t *testing.T) {
	inWorld(t, func(w *world) {
		app := pyworkflow.NewApp()
		returned := make(chan error, 1)
		app.OnRunEnd(func(ctx context.Context, _ pyworkflow.RunEnded) {
			<-ctx.Done()
			returned <- ctx.Err()
		})
		ends := worker.NewEnds(app, nil)
		ends.RunChanged(schedules.RunChange{Run: schedules.Run{RunProgress: schedules.RunProgress{Status: schedules.RunCompleted}}})
		began := time.Now()
		ends.Close(5 * time.Second)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("waited %s", took)
		}
		if err := <-returned; !errors.Is(err, context.Canceled) {
			t.Errorf("context ended with %v", err)
		}
	})
}

func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func count(list []string, f func(string) bool) int {
	n := 0
	for _, s := range list {
		if f(s) {
			n++
		}
	}
	return n
}

// After short runs more are claimed than there are slots; at no time does more code run than that, and what finds no slot for long goes back.
func TestRunsAreClaimedAheadWhileTheyAreShort(t *testing.T) {
	inWorld(t, func(w *world) {
		var now, most atomic.Int64
		r := w.start(worker.Config{Concurrency: 3}, pyworkflow.Define("nap", func(_ context.Context, seconds int) (int, error) {
			most.Store(max(most.Load(), now.Add(1)))
			sleep(time.Duration(seconds) * time.Second)
			now.Add(-1)
			return seconds, nil
		}))
		for range 5 {
			w.ended(w.submit("nap", "0", nil))
		}
		var ids []string
		for range 9 {
			ids = append(ids, w.submit("nap", "3", nil))
		}
		synctest.Wait()
		running := 0
		for _, id := range ids {
			if w.run(id).Status == schedules.RunRunning {
				running++
			}
		}
		if running != 8 { // three slots and five short runs
			t.Errorf("%d are claimed", running)
		}
		if s := r.Stats(); s.Running != 3 {
			t.Errorf("%d of %d slots are said to be taken", s.Running, s.Capacity)
		}
		sleep(worker.AheadPatience + 10*time.Millisecond)
		back := 0
		for _, id := range ids {
			if r := w.run(id); r.Status == schedules.RunPending {
				back++
				if !r.StartedAt.IsZero() {
					t.Errorf("run %s has not begun, and started at %v", id, r.StartedAt)
				}
			}
		}
		if back != 6 {
			t.Errorf("%d wait for a slot unclaimed", back)
		}
		for _, id := range ids {
			if run := w.ended(id); run.Status != schedules.RunCompleted || run.Attempt != 1 || run.Recoveries != 0 {
				t.Errorf("%+v", run)
			}
		}
		if most.Load() != 3 {
			t.Errorf("%d at a time", most.Load())
		}
		w.end(r)
	})
}

// parcels is a transport that hands over all messages of a parcel together.
type parcels struct {
	worker.Transport
	in chan []store.Message
}

func (p parcels) Serve(ctx context.Context, _ map[string]int, _ int, handle worker.Handler) error {
	var row worker.Row
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case msgs := <-p.in:
			for _, m := range msgs {
				handlers.Go(func() {
					ctx, ended := row.Visit(ctx)
					defer ended()
					_ = handle(ctx, m)
				})
			}
		}
	}
}

// Of many messages that come together no more are claimed ahead than runs were short.
func TestNoMoreIsClaimedAheadThanRunsWereShort(t *testing.T) {
	inWorld(t, func(w *world) {
		app := pyworkflow.NewApp()
		if err := app.Register(pyworkflow.Define("nap", func(_ context.Context, seconds int) (int, error) {
			sleep(time.Duration(seconds) * time.Second)
			return seconds, nil
		})); err != nil {
			t.Fatal(err)
		}
		tr := parcels{localtransport.New(), make(chan []store.Message)}
		wk, err := worker.New(worker.Config{App: app, Store: w.store, Engine: w.eng, Transport: tr, Local: true, Concurrency: 2})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- wk.Run(ctx) }()
		send := func(n int, seconds string) (ids []string) {
			var msgs []store.Message
			for range n {
				id := w.submit("nap", seconds, nil)
				ids, msgs = append(ids, id), append(msgs, store.Message{RunID: id, Dispatch: 1, Workflow: "nap"})
			}
			tr.in <- msgs
			return ids
		}
		w.ended(send(1, "0")[0])
		claimed := 0
		ids := send(20, "3")
		synctest.Wait()
		for _, id := range ids {
			if w.run(id).Status == schedules.RunRunning {
				claimed++
			}
		}
		if claimed != 3 { // two slots and a short run
			t.Errorf("%d are claimed", claimed)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
