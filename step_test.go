package pyworkflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// workflow makes a workflow without input and result of f.
func workflow(f func(ctx context.Context) error) *pyworkflow.Workflow[struct{}, struct{}] {
	return pyworkflow.DefineFunc("w", func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
}

// What recording a step takes is not its own.
func TestStepsDurationIsThatOfItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runtime{slow: time.Minute}
		exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "rest", func(context.Context) (int, error) { <-time.After(5 * time.Second); return 1, nil })
			return err
		}), "")
		if len(r.events) != 1 || r.events[0].Message != "step rest#1 completed in 5s" {
			t.Errorf("events %+v", r.events)
		}
	})
}

func TestStepsAreRecordedAndReused(t *testing.T) {
	r := &runtime{}
	var executed []string
	step := func(ctx context.Context, name string, n int, opts ...pyworkflow.StepOption) int {
		got, err := pyworkflow.Step(ctx, name, func(context.Context) (int, error) {
			executed = append(executed, fmt.Sprintf("%s=%d", name, n))
			return n, nil
		}, opts...)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
		step(ctx, "fetch", 1)
		step(ctx, "fetch", 2)
		step(ctx, "store", 3)
		step(ctx, "item", 4, pyworkflow.StepKey("blue"))
		return errors.New("not yet")
	}), "")
	wantKeys := []string{"fetch#1", "fetch#2", "store#1", "item:blue"}
	for i, s := range r.steps {
		if s.Key != wantKeys[i] || s.Status != schedules.RunCompleted || s.Attempt != 1 || s.EndedAt.IsZero() {
			t.Errorf("step %+v", s)
		}
	}
	executed = nil
	o := exec(t, t.Context(), r, workflow(func(ctx context.Context) error { // reordered, one added
		got := []int{step(ctx, "item", 10, pyworkflow.StepKey("blue")), step(ctx, "new", 11), step(ctx, "store", 12), step(ctx, "fetch", 13), step(ctx, "fetch", 14),
			step(ctx, "fetch", 15), step(ctx, "item", 16, pyworkflow.StepKey("blue"))}
		if want := []int{4, 11, 3, 1, 2, 15, 4}; !slices.Equal(got, want) {
			t.Errorf("results %v; want %v", got, want)
		}
		return nil
	}), "")
	if o.Kind != schedules.OutcomeCompleted {
		t.Errorf("outcome %+v", o.Error)
	}
	if want := []string{"new=11", "fetch=15"}; !slices.Equal(executed, want) {
		t.Errorf("executed %v; want %v", executed, want)
	}
}

func TestStepRetries(t *testing.T) {
	boom := errors.New("boom")
	fixed := pyworkflow.StepBackoff(pyworkflow.Fixed(time.Second))
	for _, tc := range []struct {
		name     string
		failures int
		err      error
		opts     []pyworkflow.StepOption
		calls    int
		took     time.Duration
		ok       bool
		noRetry  bool // of the run
	}{
		{name: "default", failures: 99, err: boom, opts: []pyworkflow.StepOption{fixed}, calls: 4, took: 3 * time.Second},
		{name: "in the end", failures: 3, err: boom, opts: []pyworkflow.StepOption{fixed}, calls: 4, took: 3 * time.Second, ok: true},
		{name: "none", failures: 99, err: boom, opts: []pyworkflow.StepOption{pyworkflow.StepRetries(0)}, calls: 1},
		{name: "one", failures: 99, err: boom, opts: []pyworkflow.StepOption{fixed, pyworkflow.StepRetries(1)}, calls: 2, took: time.Second},
		{name: "do not retry", failures: 99, err: pyworkflow.NoRetry(boom), opts: []pyworkflow.StepOption{fixed}, calls: 1, noRetry: true},
		{name: "retry after", failures: 1, err: pyworkflow.RetryAfter(boom, time.Minute), opts: []pyworkflow.StepOption{fixed}, calls: 2, took: time.Minute, ok: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &runtime{}
				calls, began := 0, time.Now()
				o := exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
					_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) {
						if calls++; calls <= tc.failures {
							return 0, tc.err
						}
						return calls, nil
					}, tc.opts...)
					if !tc.ok {
						var failed *pyworkflow.StepError
						if !errors.As(err, &failed) || failed.Key != "fetch#1" || failed.Attempt != tc.calls || !errors.Is(err, boom) {
							t.Errorf("error %v", err)
						}
					}
					return err
				}), "")
				if took := time.Since(began); calls != tc.calls || took != tc.took {
					t.Errorf("%d calls in %s; want %d in %s", calls, took, tc.calls, tc.took)
				}
				if (o.Kind == schedules.OutcomeCompleted) != tc.ok || o.NoRetry != tc.noRetry {
					t.Errorf("outcome %+v %+v", o, o.Error)
				}
				want := schedules.RunCompleted
				if !tc.ok {
					want = schedules.RunFailed
				}
				if s := r.steps[0]; s.Status != want || s.Attempt != tc.calls || (s.Error == nil) != tc.ok {
					t.Errorf("step %+v", s)
				}
			})
		})
	}
}

func TestStepDefaultBackoffHasJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) { return 0, errors.New("boom") })
			return err
		}), "")
		if took := time.Since(began); took < 7*time.Second || took > 8400*time.Millisecond {
			t.Errorf("took %s; want 1 s + 2 s + 4 s and up to a fifth more", took)
		}
	})
}

func TestStepRecordsEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runtime{}
		calls := 0
		exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) {
				if calls++; calls == 1 {
					panic("ouch")
				}
				return 1, nil
			})
			return err
		}), "")
		want := []string{"fetch#1 running 1", "fetch#1 retrying 2", "fetch#1 running 2", "fetch#1 completed 2"}
		if !slices.Equal(r.writes, want) {
			t.Errorf("writes %q; want %q", r.writes, want)
		}
		if len(r.events) != 2 || !strings.Contains(r.events[0].Message, "step fetch#1 failed: panic: ouch; attempt 2 in ") {
			t.Errorf("events %+v", r.events)
		}
	})
}

func TestStepGoesOnCountingAfterALostWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runtime{steps: []schedules.Step{{Name: "fetch", Key: "fetch#1", Status: schedules.RunRetrying, Attempt: 4},
			{Name: "store", Key: "store#1", Status: schedules.RunFailed, Attempt: 4}}}
		calls := map[string]int{}
		exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
			for _, name := range []string{"fetch", "store"} {
				_, _ = pyworkflow.Step(ctx, name, func(context.Context) (int, error) {
					calls[name]++
					return 0, errors.New("boom")
				})
			}
			return nil
		}), "")
		if calls["fetch"] != 1 || calls["store"] != 4 {
			t.Errorf("calls %v; want 1 of fetch, whose fourth attempt was lost, and 4 of store, which had failed in another attempt of the run", calls)
		}
	})
}

func TestStepPanicCarriesItsStackToTheRun(t *testing.T) {
	o := exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
		_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) { panic(errors.New("ouch")) }, pyworkflow.StepRetries(0))
		return err
	}), "")
	if o.Error == nil || o.Error.Kind != schedules.ErrorPanic || o.Error.Message != `step "fetch#1": panic: ouch` || !strings.Contains(o.Error.Stack, "step_test.go") {
		t.Errorf("error %+v", o.Error)
	}
}

func TestStepTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runtime{}
		o := exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
			calls := 0
			_, err := pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (int, error) {
				if calls++; calls == 1 {
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), pyworkflow.ErrTimeout) {
						t.Errorf("cause %v", context.Cause(ctx))
					}
					return 1, nil // too late: it does not count
				}
				return 2, nil
			}, pyworkflow.StepTimeout(5*time.Second))
			return err
		}), "")
		if o.Kind != schedules.OutcomeCompleted || len(r.writes) != 4 {
			t.Errorf("outcome %+v, writes %q", o, r.writes)
		}
		if len(r.events) == 0 || !strings.Contains(r.events[0].Message, "took longer than its time limit of 5s") {
			t.Errorf("events %+v", r.events)
		}
		o = exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}, pyworkflow.StepTimeout(5*time.Second), pyworkflow.StepRetries(0))
			if !errors.Is(err, pyworkflow.ErrTimeout) {
				t.Errorf("error %v", err)
			}
			return err
		}), "")
		if o.Error.Kind != schedules.ErrorFailed || o.Error.Message != `step "fetch#1": took longer than its time limit of 5s` {
			t.Errorf("error %+v", o.Error)
		}
	})
}

func TestConcurrentStepsOfOneNameFailTheRun(t *testing.T) {
	both := func(ctx context.Context, first, second []pyworkflow.StepOption) {
		var wg sync.WaitGroup
		for _, opts := range [][]pyworkflow.StepOption{first, second} {
			wg.Go(func() {
				_, _ = pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (int, error) {
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
					return 1, nil
				}, opts...)
			})
		}
		wg.Wait()
	}
	key := func(k string) []pyworkflow.StepOption { return []pyworkflow.StepOption{pyworkflow.StepKey(k)} }
	for _, tc := range []struct {
		name          string
		first, second []pyworkflow.StepOption
		want          string
	}{
		{"no keys", nil, nil, `concurrent calls of one step: step "fetch" was called while another call of it was executing; give each call a StepKey of its own`},
		{"one key twice", key("a"), key("a"), `concurrent calls of one step: step "fetch" was called while another call of it was executing; give each call its own StepKey, not "a"`},
		{"two keys", key("a"), key("b"), ""},
		{"one key", nil, key("b"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
					both(ctx, tc.first, tc.second)
					return nil // the run fails all the same
				}), "")
				switch {
				case tc.want == "" && o.Kind != schedules.OutcomeCompleted:
					t.Errorf("error %+v", o.Error)
				case tc.want != "" && (o.Error == nil || o.Error.Message != tc.want || !o.NoRetry):
					t.Errorf("outcome %+v, error %+v; want %q", o, o.Error, tc.want)
				}
			})
		})
	}
}

func TestStepMisuse(t *testing.T) {
	r := &runtime{steps: []schedules.Step{{Name: "a:b", Key: "a:b:c", Status: schedules.RunCompleted, Result: []byte(`1`)},
		{Name: "old", Key: "old#1", Status: schedules.RunCompleted, Result: []byte(`"text"`)}}}
	one := func(context.Context) (int, error) { return 1, nil }
	for _, tc := range []struct {
		name, step, want string
		opts             []pyworkflow.StepOption
	}{
		{"no name", "", "is no step name", nil},
		{"long name", strings.Repeat("x", 201), "is no step name", nil},
		{"empty key", "s", "StepKey is empty", []pyworkflow.StepOption{pyworkflow.StepKey("")}},
		{"negative backoff", "s", "backoff has a negative part", []pyworkflow.StepOption{pyworkflow.StepBackoff(pyworkflow.Fixed(-1))}},
		{"another step's key", "a", `its key "a:b:c" was recorded by step "a:b"`, []pyworkflow.StepOption{pyworkflow.StepKey("b:c")}},
		{"recorded as another type", "old", "its recorded result does not fit int", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
				_, err := pyworkflow.Step(ctx, tc.step, one, tc.opts...)
				return err
			}), "")
			if o.Error == nil || !strings.Contains(o.Error.Message, tc.want) || !o.NoRetry {
				t.Errorf("outcome %+v, error %+v; want %q", o, o.Error, tc.want)
			}
		})
	}
}

func TestStepResultIsWhatJSONCarries(t *testing.T) {
	type result struct {
		Kept int
		lost int
	}
	r := &runtime{}
	for range 2 { // first executed, then recorded
		exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
			got, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (result, error) { return result{1, 2}, nil })
			if err != nil || got != (result{Kept: 1}) {
				t.Errorf("result %+v, error %v", got, err)
			}
			return nil
		}), "")
	}
	o := exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
		_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (error, error) { return errors.New("no JSON"), nil })
		return err
	}), "")
	if o.Error == nil || !strings.Contains(o.Error.Message, "does not come back from JSON") {
		t.Errorf("error %+v", o.Error)
	}
	o = exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
		_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) ([]byte, error) { return make([]byte, pyworkflow.MaxResult), nil })
		if !errors.Is(err, pyworkflow.ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		return err
	}), "")
	if !o.NoRetry {
		t.Errorf("outcome %+v", o)
	}
}

func TestNoStepBeginsAfterCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		r := &runtime{}
		var executed []string
		o := exec(t, ctx, r, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "inflight", func(context.Context) (int, error) {
				cancel(pyworkflow.ErrCancelled)
				return 1, nil
			})
			if err != nil {
				t.Errorf("a step that succeeds all the same: %v", err)
			}
			_, err = pyworkflow.Step(ctx, "next", func(context.Context) (int, error) {
				executed = append(executed, "next")
				return 1, nil
			})
			if !errors.Is(err, pyworkflow.ErrCancelled) {
				t.Errorf("error %v", err)
			}
			_, _ = pyworkflow.Step(context.WithoutCancel(ctx), "cleanup", func(context.Context) (int, error) {
				executed = append(executed, "cleanup")
				return 1, nil
			})
			return err
		}), "")
		if o.Kind != schedules.OutcomeFailed || !slices.Equal(executed, []string{"cleanup"}) {
			t.Errorf("outcome %+v, executed %v", o, executed)
		}
		if r.steps[0].Status != schedules.RunCompleted {
			t.Errorf("step %+v", r.steps[0])
		}
	})
}

func TestCancellationEndsTheWaitBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(pyworkflow.ErrShutdown) })
		began := time.Now()
		r := &runtime{}
		o := exec(t, ctx, r, workflow(func(ctx context.Context) error {
			_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) { return 0, pyworkflow.RetryAfter(errors.New("boom"), time.Hour) })
			return err
		}), "")
		if o.Kind != schedules.OutcomeHandedBack || time.Since(began) != time.Second || r.steps[0].Status != schedules.RunRetrying {
			t.Errorf("outcome %+v after %s, step %+v", o, time.Since(began), r.steps[0])
		}
	})
}

func TestAttemptCutShortIsNotAFailedOne(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &runtime{}
	exec(t, ctx, r, workflow(func(ctx context.Context) error {
		_, err := pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (int, error) {
			cancel(pyworkflow.ErrShutdown)
			return 0, ctx.Err()
		})
		if !errors.Is(err, pyworkflow.ErrShutdown) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		return err
	}), "")
	if want := []string{"fetch#1 running 1"}; !slices.Equal(r.writes, want) {
		t.Errorf("writes %q; want %q", r.writes, want)
	}
}

func TestStepThatCannotBeRecordedIsNotExecuted(t *testing.T) {
	r := &runtime{refuse: pyworkflow.ErrLeaseLost}
	executed := false
	exec(t, t.Context(), r, workflow(func(ctx context.Context) error {
		_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) {
			executed = true
			return 0, nil
		})
		if !errors.Is(err, pyworkflow.ErrLeaseLost) || !strings.Contains(err.Error(), `record step "fetch#1"`) {
			t.Errorf("error %v", err)
		}
		return err
	}), "")
	if executed {
		t.Error("the step was executed")
	}
}

func TestStepAfterTheRunsCodeHasReturned(t *testing.T) {
	var late context.Context
	exec(t, t.Context(), &runtime{}, workflow(func(ctx context.Context) error {
		late = ctx
		return nil
	}), "")
	_, err := pyworkflow.Step(late, "fetch", func(context.Context) (int, error) { return 0, nil })
	if err == nil || !strings.Contains(err.Error(), "has returned before") {
		t.Errorf("error %v", err)
	}
}
