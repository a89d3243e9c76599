package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

func message(r schedules.Run) store.Message {
	return store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue}
}

func one(msgs ...store.Message) []store.Message { return msgs }

// clone makes a second app with the same workflow, as a second process would have.
func clone(t *testing.T, defs ...pyworkflow.Registrable) *pyworkflow.App {
	t.Helper()
	app := pyworkflow.NewApp()
	if err := app.Register(defs...); err != nil {
		t.Fatal(err)
	}
	return app
}

// journal is a workflow of n steps of 1 s each that notes which it executes, and why its context was cancelled.
type journal struct {
	mu     sync.Mutex
	steps  []string
	causes []error
}

func (j *journal) workflow(n int) *pyworkflow.Workflow[struct{}, int] {
	return pyworkflow.DefineFunc("steps", func(ctx context.Context) (int, error) {
		sum := 0
		for i := range n {
			got, err := pyworkflow.Step(ctx, fmt.Sprintf("s%d", i), func(ctx context.Context) (int, error) {
				j.mu.Lock()
				j.steps = append(j.steps, fmt.Sprintf("s%d", i))
				j.mu.Unlock()
				select {
				case <-time.After(time.Second):
					return i, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			})
			if err != nil {
				j.mu.Lock()
				j.causes = append(j.causes, context.Cause(ctx))
				j.mu.Unlock()
				return 0, err
			}
			sum += got
		}
		return sum, nil
	})
}

func TestHeartbeatsAreOneCallASecond(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.Define("slow", func(_ context.Context, n int) (int, error) {
			sleep(10*time.Second + 500*time.Millisecond)
			return n, nil
		}))
		var ids []string
		for n := range 8 {
			ids = append(ids, w.submit("slow", fmt.Sprint(n), nil))
		}
		for _, id := range ids {
			run := w.status(id, schedules.RunRunning)
			if left := time.Until(run.Lease); left > schedules.Lease || left < schedules.Lease-2*time.Second {
				t.Errorf("lease of %s ends in %s", id, left)
			}
		}
		sleep(9 * time.Second)
		if run := w.run(ids[0]); time.Until(run.Lease) < schedules.Lease-2*time.Second {
			t.Errorf("lease is not renewed: ends in %s", time.Until(run.Lease))
		}
		for _, id := range ids {
			w.ended(id)
		}
		if beats, asks := w.store.beats.Load(), w.store.asks.Load(); beats < 9 || beats > 11 || asks != 8*beats {
			t.Errorf("%d calls about %d runs; want 10 about 80", beats, asks)
		}
		sleep(10 * time.Second)
		if beats := w.store.beats.Load(); beats > 11 {
			t.Errorf("%d calls although nothing runs", beats)
		}
		w.end(r)
	})
}

func TestShortOutageHarmsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		j := &journal{}
		r := w.start(worker.Config{}, j.workflow(5))
		id := w.submit("steps", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(1500 * time.Millisecond)
		w.store.away.Store(true)
		sleep(8 * time.Second)
		w.store.away.Store(false)
		run := w.ended(id)
		if run.Status != schedules.RunCompleted || string(run.Result) != "10" || run.Dispatch != 1 || run.Recoveries != 0 || len(j.steps) != 5 {
			t.Errorf("steps %v, run %+v", j.steps, run)
		}
		if !w.log.has("store does not answer heartbeats") || !w.log.has("store answers again") {
			t.Error("the outage is not logged")
		}
		w.end(r)
	})
}

func TestLongOutageLosesTheLeaseAndTheRunIsHandedBack(t *testing.T) {
	inWorld(t, func(w *world) {
		var causes []error
		var lostAt time.Time
		attempts := 0
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("waits", func(ctx context.Context) (int, error) {
			if attempts++; attempts == 2 {
				return 2, nil
			}
			<-ctx.Done()
			causes, lostAt = append(causes, context.Cause(ctx)), time.Now()
			return 0, ctx.Err()
		}))
		id := w.submit("waits", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(5 * time.Second)
		away := time.Now()
		w.store.away.Store(true)
		sleep(time.Minute)
		w.store.away.Store(false)
		run := w.ended(id)
		if run.Status != schedules.RunCompleted || run.Attempt != 1 || run.Dispatch != 2 || run.Recoveries != 0 || run.Error != nil {
			t.Errorf("run %+v", run)
		}
		if len(causes) != 1 || !errors.Is(causes[0], pyworkflow.ErrLeaseLost) {
			t.Errorf("causes %v", causes)
		}
		if took := lostAt.Sub(away); took < 8*time.Second || took > 11*time.Second {
			t.Errorf("lease given up after %s; want about 10 s after the last renewal", took)
		}
		w.end(r)
	})
}

func TestOutcomeIsNotLostToAnOutage(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Second, 12 * time.Second} { // within the lease, and beyond it within the sweeper's doubt
		t.Run(outage.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				executed := 0
				r := w.start(worker.Config{}, pyworkflow.DefineFunc("pays", func(context.Context) (int, error) {
					executed++
					sleep(2 * time.Second)
					return 1, nil
				}))
				id := w.submit("pays", "", nil)
				w.status(id, schedules.RunRunning)
				w.store.away.Store(true)
				sleep(outage)
				w.store.away.Store(false)
				run := w.ended(id)
				if run.Status != schedules.RunCompleted || executed != 1 || run.Dispatch != 1 {
					t.Errorf("executed %d times: run %+v", executed, run)
				}
				w.end(r)
			})
		})
	}
}

func TestClaimWaitsForTheStore(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{}, pyworkflow.Define("square", square))
		run := schedules.NewRun(schedules.FreeRunID("x"), "square", "", []byte("3"), nil, time.Now())
		if _, _, err := w.store.CreateRun(w.ctx, run); err != nil {
			t.Fatal(err)
		}
		w.store.away.Store(true)
		if _, err := r.tr.Dispatch(w.ctx, one(message(run))); err != nil {
			t.Fatal(err)
		}
		sleep(5 * time.Second)
		if !w.log.has("claim waits for the store") {
			t.Error("the wait is not logged")
		}
		w.store.away.Store(false)
		if run := w.ended(run.ID); run.Status != schedules.RunCompleted || run.Dispatch != 1 {
			t.Errorf("run %+v", run)
		}
		w.end(r)
	})
}

func TestLostWorkersRunGoesOnElsewhere(t *testing.T) {
	inWorld(t, func(w *world) {
		j := &journal{}
		id := w.submit("steps", "", nil)
		// A worker that claimed the run, recorded two steps and died in the middle of the third.
		run, err := w.store.Claim(w.ctx, id, 1, store.Claim{Worker: "dead", Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s := schedules.Step{Name: fmt.Sprintf("s%d", i), Key: fmt.Sprintf("s%d#1", i), Status: schedules.RunCompleted, Attempt: 1, Result: []byte(fmt.Sprint(i))}
			if i == 2 {
				s.Status, s.Result = schedules.RunRunning, nil
			}
			if err := w.store.RecordStep(w.ctx, id, 1, s); err != nil {
				t.Fatal(err)
			}
		}
		died := time.Now()
		r := w.start(worker.Config{ID: "alive"}, j.workflow(5))
		run = w.until(id, "recovered", func(r schedules.Run) bool { return r.Status == schedules.RunRunning && r.Worker == "alive" })
		if took := time.Since(died); took > 20*time.Second || took < schedules.Lease || run.Recoveries != 1 || run.Attempt != 1 || run.Dispatch != 2 {
			t.Errorf("after %s: run %+v", took, run)
		}
		if run = w.ended(id); run.Status != schedules.RunCompleted || string(run.Result) != "10" {
			t.Errorf("run %+v", run)
		}
		if want := []string{"s2", "s3", "s4"}; !slices.Equal(j.steps, want) {
			t.Errorf("executed %v; want %v", j.steps, want)
		}
		w.end(r)
	})
}

func TestWorkerTakenForDeadIsFencedOut(t *testing.T) {
	inWorld(t, func(w *world) {
		j := &journal{}
		r := w.start(worker.Config{}, j.workflow(5))
		id := w.submit("steps", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(1500 * time.Millisecond)
		// Somebody takes the worker for dead: the run goes to another, which is the same here.
		w.changeRun(id, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
			return schedules.LoseRun(r, now), true
		})
		run := w.ended(id)
		if run.Status != schedules.RunCompleted || run.Recoveries != 1 || string(run.Result) != "10" {
			t.Errorf("run %+v", run)
		}
		if len(j.causes) != 1 || !errors.Is(j.causes[0], pyworkflow.ErrLeaseLost) {
			t.Errorf("causes %v", j.causes)
		}
		if n := len(j.steps); n < 5 || n > 6 {
			t.Errorf("executed %v: one step may be in flight twice", j.steps)
		}
		w.end(r)
	})
}

func TestRefusedStepEndsTheAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		var second error
		executed := false
		r := w.start(worker.Config{Concurrency: 1}, pyworkflow.DefineFunc("fenced", func(ctx context.Context) (int, error) {
			if pyworkflow.RunInfo(ctx).RunID == "" || executed {
				return 1, nil
			}
			executed = true
			close(begun)
			<-goOn
			_, second = pyworkflow.Step(ctx, "pay", func(context.Context) (int, error) {
				t.Error("a step was executed under an outdated dispatch")
				return 1, nil
			})
			if !errors.Is(context.Cause(ctx), pyworkflow.ErrLeaseLost) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return 0, second
		}))
		id := w.submit("fenced", "", nil)
		<-begun
		w.changeRun(id, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
			return schedules.LoseRun(r, now), true
		})
		close(goOn) // before any heartbeat could tell
		if run := w.ended(id); run.Status != schedules.RunCompleted || run.Dispatch != 2 {
			t.Errorf("run %+v", run)
		}
		if !errors.Is(second, pyworkflow.ErrLeaseLost) || !errors.Is(second, store.ErrStale) {
			t.Errorf("step ended with %v", second)
		}
		w.end(r)
	})
}

func TestTooManyRecoveriesFailTheRun(t *testing.T) {
	inWorld(t, func(w *world) {
		id := w.submit("steps", "", &schedules.RunOptions{MaxRecoveries: 1})
		for dispatch := 1; dispatch <= 2; dispatch++ {
			w.until(id, "pending", func(r schedules.Run) bool { return r.Status == schedules.RunPending && r.Dispatch == dispatch })
			if _, err := w.store.Claim(w.ctx, id, dispatch, store.Claim{Worker: "dead", Token: fmt.Sprint(dispatch)}); err != nil {
				t.Fatal(err)
			}
		}
		if run := w.ended(id); run.Status != schedules.RunFailed || run.Error.Kind != schedules.ErrorWorkerLost {
			t.Errorf("run %+v, error %+v", run, run.Error)
		}
	})
}

func TestAClaimAnsweredLateBeginsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		begun := 0
		w.store.late.Store(int64(12 * time.Second)) // longer than the lease that the claim brought
		r := w.start(worker.Config{}, pyworkflow.DefineFunc("waits", func(context.Context) (int, error) {
			begun++
			return begun, nil
		}))
		run := w.ended(w.submit("waits", "", nil))
		if run.Status != schedules.RunCompleted || begun != 1 || run.Dispatch < 2 || run.Attempt != 1 {
			t.Errorf("begun %d times: %+v", begun, run)
		}
		w.end(r)
	})
}
