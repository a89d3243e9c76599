package pyworkflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Execution is one attempt of a run, as a runtime hands it to the workflow's code. For runtimes; all functions may be nil and are called
// concurrently.
type Execution struct {
	Run   schedules.Run
	Steps []schedules.Step // recorded so far

	// Record writes a step. Its error ends the step and should come with the cancellation of the run's context.
	Record func(ctx context.Context, s schedules.Step) error
	// LastResult gives the result of the schedule's previous successful run; false when there is none.
	LastResult func(ctx context.Context) (json.RawMessage, bool, error)
	// Around is asked for the context that a step's code is called with, derived from ctx, before its first attempt, and told how the step ended: with the error
	// that Step returns. A step whose result was recorded earlier is not called.
	Around func(ctx context.Context, s schedules.Step) (_ context.Context, ended func(s schedules.Step, err error))
	// Now is the clock for the times of steps; nil: the host's.
	Now func() time.Time
	// Emit adds to the run's events. It must not block.
	Emit func(e schedules.Event)
	// Log is where the run's log lines go besides its events; nil discards.
	Log *slog.Logger
}

// execution is what Step and its kin find in the context of a run.
type execution struct {
	e      Execution
	logger *slog.Logger
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	steps  map[string]schedules.Step
	calls  map[string]int  // calls of a name so far, without those with a StepKey
	flying map[string]bool // names and keys with a call in flight
	fatal  error           // fails the run, whatever its code returns
	ended  bool
	limits schedules.Limits
}

// ErrUnknownWorkflow: the App has no workflow of that name.
var ErrUnknownWorkflow = errors.New("unknown workflow")

// Execute calls the workflow's code once and says how the attempt ended. For runtimes.
//
// The cause ctx was cancelled for decides: after ErrTimeout the attempt has failed, whatever the code returned; after ErrShutdown or ErrLeaseLost an
// error means that the run is to be handed back; a result counts although ctx was cancelled. Input that does not fit fails the run without
// retry. A panic becomes a failure with its stack. If the code ends its goroutine (runtime.Goexit) Execute does not return. The error is
// ErrUnknownWorkflow or nil.
func (a *App) Execute(ctx context.Context, e Execution) (schedules.Outcome, error) {
	d, ok := a.find(e.Run.Workflow)
	if !ok {
		return schedules.Outcome{}, fmt.Errorf("execute run %s: %w %q", e.Run.ID, ErrUnknownWorkflow, e.Run.Workflow)
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if e.Now == nil {
		e.Now = func() time.Time { return time.Now().UTC() }
	}
	limits := a.Limits()
	if emit := e.Emit; emit != nil {
		e.Emit = func(ev schedules.Event) { emit(limits.CutEvent(ev)) }
	}
	x := &execution{e: e, logger: newRunLogger(e), cancel: cancel, steps: make(map[string]schedules.Step, len(e.Steps)),
		calls: make(map[string]int), flying: make(map[string]bool), limits: limits}
	for _, s := range e.Steps {
		x.steps[s.Key] = s
	}
	var result json.RawMessage
	err := protect(func() (err error) {
		result, err = d.call(context.WithValue(inner, contextKey{}, x), e.Run.Input)
		if err == nil {
			err = checkResult(result, x.limits.Result)
		}
		return err
	})
	x.mu.Lock()
	x.ended = true
	if x.fatal != nil {
		err = x.fatal
	}
	x.mu.Unlock()
	return outcome(ctx, x.limits, result, err), nil
}

// outcome says how an attempt ended whose code returned result and err.
func outcome(ctx context.Context, limits schedules.Limits, result json.RawMessage, err error) schedules.Outcome {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrTimeout):
		return schedules.Outcome{Kind: schedules.OutcomeFailed, Error: TimeoutError(cause)}
	case err == nil:
		return schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: result}
	case errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrLeaseLost):
		return schedules.Outcome{Kind: schedules.OutcomeHandedBack}
	}
	never, after := advice(err)
	out := schedules.Outcome{Kind: schedules.OutcomeFailed, Error: runError(err, limits), NoRetry: never, RetryAfter: after}
	if out.Error.Kind == schedules.ErrorTimeout { // a step's, which the workflow passes on
		out.Error.Kind = schedules.ErrorFailed
	}
	if bad := (*inputError)(nil); errors.As(err, &bad) {
		out.Error.Kind, out.NoRetry = schedules.ErrorInput, true
	}
	return out
}

// TimeoutError describes an attempt that took too long; cause wraps ErrTimeout. For runtimes.
func TimeoutError(cause error) *schedules.RunError {
	return &schedules.RunError{Kind: schedules.ErrorTimeout, Message: cause.Error()}
}

// runError puts an error of a workflow or a step into a record, cut to the limits.
func runError(err error, limits schedules.Limits) *schedules.RunError {
	e := schedules.RunError{Kind: schedules.ErrorFailed, Message: err.Error()}
	var panicked *PanicError
	switch {
	case errors.As(err, &panicked):
		e.Kind, e.Stack = schedules.ErrorPanic, panicked.Stack
	case errors.Is(err, ErrTimeout):
		e.Kind = schedules.ErrorTimeout
	}
	return limits.CutError(e)
}
