package pyworkflow

import (
	"errors"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The causes for which the context of a run is cancelled; test with errors.Is(context.Cause(ctx), …).
var (
	// ErrCancelled: somebody asked the run to cancel. A run that returns an error after that ends cancelled; one that returns a result
	// all the same ends completed.
	ErrCancelled = errors.New("asked to cancel")
	// ErrTimeout: the attempt, or the step, took longer than its time limit. It counts as a failed attempt, whatever it returns.
	ErrTimeout = errors.New("took longer than its time limit")
	// ErrShutdown: the worker shuts down and its drain time has passed. The run goes on elsewhere; no failed attempt is counted.
	ErrShutdown = errors.New("worker shuts down")
	// ErrLeaseLost: the worker could not tell the store in time that it still executes the run, or another worker has it by now.
	ErrLeaseLost = errors.New("lease lost")
)

var (
	// ErrInvalid is wrapped by every error of Register: a workflow or a schedule is not defined as it must be.
	ErrInvalid = errors.New("invalid definition")
	// ErrStepConflict is wrapped by the error of a run that called one step name concurrently without StepKey.
	ErrStepConflict = errors.New("concurrent calls of one step")
	// ErrTooLarge is wrapped when a result is larger as JSON than the App's limits allow.
	ErrTooLarge = errors.New("result is too large")
	// ErrTooManySteps is wrapped by the error of a run that called more steps than the App's limits allow.
	ErrTooManySteps = errors.New("too many steps")
)

// RunError is how a run ended that has no result; waiting for a run returns it. Find it in a chain with errors.As. It matches ErrCancelled
// when the run was cancelled, and ErrTimeout when its last attempt took too long.
type RunError struct {
	RunID    string
	Workflow string
	Status   schedules.RunStatus // schedules.RunFailed or schedules.RunCancelled
	Kind     string              // one of the kinds of schedules.RunError
	Message  string
	Stack    string // of a panic
}

// NewRunError describes the end of a failed or cancelled run. For runtimes.
func NewRunError(r schedules.Run) *RunError {
	e := &RunError{RunID: r.ID, Workflow: r.Workflow, Status: r.Status}
	if r.Error != nil {
		e.Kind, e.Message, e.Stack = r.Error.Kind, r.Error.Message, r.Error.Stack
	}
	return e
}

// Error is one line: the run, its workflow, how it ended and why.
func (e *RunError) Error() string {
	s := fmt.Sprintf("run %s of %s %s", e.RunID, e.Workflow, e.Status)
	if e.Message != "" && e.Message != string(e.Status) {
		s += ": " + e.Message
	}
	return s
}

// Is matches ErrCancelled and ErrTimeout.
func (e *RunError) Is(target error) bool {
	return target == ErrCancelled && e.Status == schedules.RunCancelled || target == ErrTimeout && e.Kind == schedules.ErrorTimeout
}

// StepError is the error of a step that failed for good, as Step returns it. It unwraps to the last attempt's error.
type StepError struct {
	Name    string
	Key     string
	Attempt int // the last one, from 1
	Err     error
}

// Error is one line: the step, its attempts and the last one's error.
func (e *StepError) Error() string {
	if e.Attempt > 1 {
		return fmt.Sprintf("step %q failed %d times: %v", e.Key, e.Attempt, e.Err)
	}
	return fmt.Sprintf("step %q: %v", e.Key, e.Err)
}

// Unwrap gives the last attempt's error.
func (e *StepError) Unwrap() error { return e.Err }

// PanicError is a panic of a workflow or a step, turned into an error.
type PanicError struct {
	Value any
	Stack string
}

// Error gives the panic's value; the stack is apart.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// NoRetry marks an error so that neither the step nor the run that fails with it is tried again. Its text is unchanged; a nil error stays nil.
func NoRetry(err error) error {
	if err == nil {
		return nil
	}
	return &retryAdvice{err: err, never: true}
}

// RetryAfter marks an error so that the step or the run that fails with it is tried again after d, not after its backoff. It does not raise
// the number of retries. Its text is unchanged; a nil error stays nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAdvice{err: err, after: d}
}

// retryAdvice is what an error says about trying again.
type retryAdvice struct {
	err   error
	never bool
	after time.Duration
}

func (e *retryAdvice) Error() string { return e.err.Error() }
func (e *retryAdvice) Unwrap() error { return e.err }

// advice finds what an error says about trying again. Where several say something, "do not retry" wins, then the outermost.
func advice(err error) (never bool, after time.Duration) {
	for a := (*retryAdvice)(nil); errors.As(err, &a); err = a.err {
		if a.never {
			return true, 0
		}
		if after == 0 {
			after = a.after
		}
	}
	return false, after
}
