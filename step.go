package pyworkflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/stephook"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// DefaultStepRetries is how many times a step whose attempt failed is tried again when nothing is said: after 1 s, 2 s and 4 s.
const DefaultStepRetries = 3

// StepOption sets something about one call of Step.
type StepOption interface {
	applyStep(o *stepOptions)
}

type stepOptions struct {
	key     string
	retries int
	backoff Backoff
	timeout time.Duration
	err     error
}

type stepOption func(*stepOptions)

func (f stepOption) applyStep(o *stepOptions) { f(o) }

// StepKey tells this call of the step from its other calls, whatever their order: needed when calls of one name run concurrently, useful when steps
// are called in a loop over things that have ids. A key is used once per step name and run: a further call with it gets the recorded result.
func StepKey(key string) StepOption {
	return stepOption(func(o *stepOptions) {
		if key == "" {
			o.err = errors.New("StepKey is empty")
		}
		o.key = key
	})
}

// StepRetries is how many times the step is tried again after a failed attempt; default DefaultStepRetries.
func StepRetries(n int) StepOption {
	return stepOption(func(o *stepOptions) { o.retries = n })
}

// StepBackoff is how long to wait between attempts; default Exponential(time.Second, 5*time.Minute).
func StepBackoff(b Backoff) StepOption {
	return stepOption(func(o *stepOptions) {
		if err := checkBackoff(b); err != nil {
			o.err = err
		}
		o.backoff = b
	})
}

// StepTimeout limits how long one attempt of the step may take; default no limit but the run's. fn's context is cancelled with the cause ErrTimeout, and
// the attempt counts as failed, whatever fn returns. Step waits until fn has returned.
func StepTimeout(limit time.Duration) StepOption {
	return stepOption(func(o *stepOptions) { o.timeout = limit })
}

// Step executes a named part of a workflow and records its result, so that a run which is executed again, after a failure or on another worker, gets the
// recorded result and does not call fn.
//
// The result is found by its key: the name and the how-manieth call of that name in the run ("fetch#1"), or the name and StepKey ("fetch:42"). Steps may be
// added, removed and reordered between deploys, as far as that leaves the keys alone. Concurrent calls of one name need StepKey each, else the run fails
// and names the step. The result travels as JSON, at most MaxResult bytes unless App.SetLimits says otherwise, also the first time: what JSON does not carry is not returned either.
//
// A failed attempt, an error or a panic, is tried again (StepRetries, StepBackoff, NoRetry, RetryAfter); the last one's error is returned as a *StepError. When
// ctx is cancelled, no attempt is begun any more and the error wraps the cause.
//
// A step that was in flight when its worker died may be executed once more. Outside a run, Step just calls fn.
func Step[T any](ctx context.Context, name string, fn func(ctx context.Context) (T, error), opts ...StepOption) (T, error) {
	x := from(ctx)
	if x == nil {
		return fn(ctx)
	}
	var result T
	o := stepOptions{retries: DefaultStepRetries, backoff: Exponential(defaultWait, defaultMaxWait)}
	for _, opt := range opts {
		opt.applyStep(&o)
	}
	call, err := x.beginStep(name, o)
	if err != nil {
		return result, err
	}
	defer x.endStep(call)
	if raw, ok := call.recorded(); ok {
		if err := json.Unmarshal(raw, &result); err != nil {
			return result, NoRetry(fmt.Errorf("step %q: its recorded result does not fit %T: %w", call.key, result, err))
		}
		return result, nil
	}
	err = x.execStep(ctx, call, o, func(ctx context.Context) (json.RawMessage, error) {
		raw, stands, err := stephook.Ask(ctx, stephook.Call{RunID: x.e.Run.ID, Workflow: x.e.Run.Workflow, Step: name, Key: call.key})
		if !stands {
			var v T
			if v, err = fn(ctx); err == nil {
				raw, err = encodeResult(v)
			}
		}
		if err == nil {
			err = checkResult(raw, x.limits.StepResult)
		}
		if err != nil {
			return nil, err
		}
		var back T // as a later execution would get it
		if err := json.Unmarshal(raw, &back); err != nil {
			return nil, NoRetry(fmt.Errorf("its result %T does not come back from JSON: %w", back, err))
		}
		result = back
		return raw, nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return result, nil
}

// stepCall is one call of Step in a run.
type stepCall struct {
	name string
	key  string
	mark string // what must not be in flight twice: the name, or the caller's own key
	was  schedules.Step
}

// recorded gives the result if the step has completed before.
func (c *stepCall) recorded() (json.RawMessage, bool) {
	return c.was.Result, c.was.Status == schedules.RunCompleted
}

// beginStep gives the call its key.
func (x *execution) beginStep(name string, o stepOptions) (*stepCall, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return nil, fmt.Errorf("step %q: the run's code has returned before", name)
	case name == "" || len(name) > x.limits.Key:
		return nil, NoRetry(fmt.Errorf("step %q: is no step name; write 1 to %d bytes", shorten(name, 60), x.limits.Key))
	case len(o.key) > x.limits.Key:
		return nil, NoRetry(fmt.Errorf("step %q: StepKey %q has %d bytes, but at most %d are taken; shorten it", name, shorten(o.key, 60), len(o.key), x.limits.Key))
	case o.err != nil:
		return nil, NoRetry(fmt.Errorf("step %q: %w", name, o.err))
	case x.fatal != nil:
		return nil, x.fatal
	}
	c := &stepCall{name: name}
	if o.key != "" {
		c.key = name + ":" + o.key
		c.mark = c.key
	} else {
		x.calls[name]++
		c.key = fmt.Sprintf("%s#%d", name, x.calls[name])
		c.mark = name + "#"
	}
	if x.flying[c.mark] {
		remedy := "give each call a StepKey of its own"
		if o.key != "" {
			remedy = "give each call its own StepKey, not " + fmt.Sprintf("%q", o.key)
		}
		return nil, x.fail(fmt.Errorf("%w: step %q was called while another call of it was executing; %s", ErrStepConflict, name, remedy))
	}
	was, known := x.steps[c.key]
	if !known && len(x.steps) >= x.limits.Steps {
		return nil, x.fail(fmt.Errorf("%w: step %q would be one more than the %d that a run may record (max_steps); do more in each step, or split the run into several",
			ErrTooManySteps, c.key, x.limits.Steps))
	}
	x.flying[c.mark] = true
	c.was = was
	if !known {
		x.steps[c.key] = schedules.Step{Name: name, Key: c.key} // counted from now on
	}
	if c.was.Key != "" && c.was.Name != name {
		delete(x.flying, c.mark)
		return nil, NoRetry(fmt.Errorf("step %q: its key %q was recorded by step %q; use another StepKey", name, c.key, c.was.Name))
	}
	return c, nil
}

// fail ends the run with an error that no retry would help, whatever its code makes of it; x.mu is held.
func (x *execution) fail(err error) error {
	x.fatal = NoRetry(err)
	x.cancel(x.fatal)
	return x.fatal
}

func (x *execution) endStep(c *stepCall) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.flying, c.mark)
}

// execStep makes attempts until one succeeds, none is left or ctx is cancelled, and records them.
func (x *execution) execStep(ctx context.Context, c *stepCall, o stepOptions, fn func(context.Context) (json.RawMessage, error)) (failed error) {
	s := schedules.Step{Name: c.name, Key: c.key, Attempt: 1, StartedAt: x.e.Now()}
	if c.was.Status == schedules.RunRunning || c.was.Status == schedules.RunRetrying { // its worker died, or its attempt of the run ended: go on counting
		s.Attempt, s.StartedAt = c.was.Attempt, c.was.StartedAt
	}
	if x.e.Around != nil {
		inner, ended := x.e.Around(ctx, s)
		ctx = inner
		defer func() { ended(s, failed) }()
	}
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("step %q: %w", c.key, context.Cause(ctx))
		}
		s.Status = schedules.RunRunning
		if err := x.record(ctx, s); err != nil {
			return err
		}
		began := time.Now()
		raw, err := attemptStep(ctx, o.timeout, fn)
		took := since(began) // without what recording it takes
		s.EndedAt = x.e.Now()
		if err == nil {
			s.Status, s.Result, s.Error = schedules.RunCompleted, raw, nil
			if err := x.record(ctx, s); err != nil {
				return err
			}
			x.event("info", fmt.Sprintf("step %s completed in %s", c.key, took))
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("step %q: %w", c.key, errors.Join(context.Cause(ctx), err))
		}
		s.Error = runError(err, x.limits)
		never, wait := advice(err)
		if never || s.Attempt > o.retries {
			s.Status = schedules.RunFailed
			if err := x.record(ctx, s); err != nil {
				return err
			}
			x.event("error", fmt.Sprintf("step %s failed: %s", c.key, s.Error.Message))
			return &StepError{Name: c.name, Key: c.key, Attempt: s.Attempt, Err: err}
		}
		if wait <= 0 {
			wait = o.backoff.Wait(s.Attempt, rand.Float64())
		}
		x.event("warn", fmt.Sprintf("step %s failed: %s; attempt %d in %s", c.key, s.Error.Message, s.Attempt+1, schedules.Duration(wait)))
		s.Status, s.EndedAt = schedules.RunRetrying, time.Time{}
		s.Attempt++
		if err := x.record(ctx, s); err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// attemptStep calls fn once, under its time limit.
func attemptStep(ctx context.Context, limit time.Duration, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	outer := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w of %s", ErrTimeout, schedules.Duration(limit)))
		defer cancel()
	}
	var raw json.RawMessage
	err := protect(func() (err error) {
		raw, err = fn(ctx)
		return err
	})
	if ctx.Err() != nil && outer.Err() == nil {
		return nil, context.Cause(ctx)
	}
	return raw, err
}

// record hands the step to the runtime. It is not cut short by the run's cancellation: what was done shall be known.
func (x *execution) record(ctx context.Context, s schedules.Step) error {
	x.mu.Lock()
	x.steps[s.Key] = s
	x.mu.Unlock()
	if x.e.Record == nil {
		return nil
	}
	if err := x.e.Record(context.WithoutCancel(ctx), s); err != nil {
		return fmt.Errorf("record step %q: %w", s.Key, err)
	}
	return nil
}

func (x *execution) event(level, message string) {
	if x.e.Emit != nil {
		x.e.Emit(schedules.Event{At: x.e.Now(), Kind: "step", Level: level, Message: message})
	}
}

func since(t time.Time) schedules.Duration {
	d := time.Since(t)
	if d > time.Second {
		return schedules.Duration(d.Round(10 * time.Millisecond))
	}
	return schedules.Duration(d.Round(10 * time.Microsecond))
}
