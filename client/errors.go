package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// NotFoundError says that there is no such thing. It wraps store.ErrNotFound.
type NotFoundError struct {
	Kind    string // schedule, run, backfill, workflow or queue
	ID      string
	Where   string // the store it was looked for in
	Deleted bool   // a schedule that is kept as a record only
}

// Error is one line: what was looked for, and where.
func (e *NotFoundError) Error() string {
	if e.Deleted {
		return fmt.Sprintf("%s %q was deleted", e.Kind, e.ID)
	}
	if e.Where == "" {
		return fmt.Sprintf("no %s %q", e.Kind, e.ID)
	}
	return fmt.Sprintf("no %s %q in %s", e.Kind, e.ID, e.Where)
}

// Unwrap returns store.ErrNotFound.
func (e *NotFoundError) Unwrap() error { return store.ErrNotFound }

// UnknownWorkflowError says that a workflow is neither in this program nor announced by a worker or an activation.
type UnknownWorkflowError struct {
	Name    string
	Nearest []string // names it may have been meant to be, the closest first
	None    bool     // no workflow is known at all
}

// Error is one line: the name, and the names it may have been meant to be.
func (e *UnknownWorkflowError) Error() string {
	text := fmt.Sprintf("workflow %q is neither in this program nor announced by a worker or an activation", e.Name)
	switch {
	case len(e.Nearest) > 0:
		text += "; did you mean " + strings.Join(e.Nearest, " or ") + "?"
	case e.None:
		text += "; no workflow is known here yet"
	}
	return text
}

// ExistsError says that a schedule's id is taken. It wraps store.ErrExists.
type ExistsError struct{ ID string }

// Error is one line.
func (e *ExistsError) Error() string { return fmt.Sprintf("schedule %q already exists", e.ID) }

// Unwrap returns store.ErrExists.
func (e *ExistsError) Unwrap() error { return store.ErrExists }

// WorkflowMismatchError says that EnsureSchedule found a schedule of another workflow under the id. A schedule's workflow never changes.
type WorkflowMismatchError struct{ ID, Has, Want string }

// Error is one line.
func (e *WorkflowMismatchError) Error() string {
	return fmt.Sprintf("schedule %q runs workflow %q, not %q; delete it first, or choose another id", e.ID, e.Has, e.Want)
}

// Unwrap returns store.ErrExists.
func (e *WorkflowMismatchError) Unwrap() error { return store.ErrExists }

// DroppedError says that a tick that waited was dropped before its run could start.
type DroppedError struct{ ScheduleID, RunID, Reason string }

// Error is one line.
func (e *DroppedError) Error() string {
	return fmt.Sprintf("run %s of schedule %s never started: its tick was dropped (%s)", e.RunID, e.ScheduleID, e.Reason)
}

// Code says what kind of error an error is.
type Code string

// The codes.
const (
	CodeOK          Code = "ok"
	CodeInvalid     Code = "invalid"     // wrong usage or input
	CodeNotFound    Code = "not_found"   // no such id
	CodeConflict    Code = "conflict"    // taken, changed meanwhile, or not allowed as things stand
	CodeSkipped     Code = "skipped"     // a trigger that the overlap policy skipped
	CodeUnavailable Code = "unavailable" // the store does not answer in time
	CodeFailed      Code = "failed"      // anything else
)

// CodeOf is the one switch from errors to codes. Nil is CodeOK.
func CodeOf(err error) Code {
	var field *schedules.FieldError
	var workflow *UnknownWorkflowError
	var coded interface{ Code() Code }
	switch {
	case err == nil:
		return CodeOK
	case errors.As(err, &coded):
		return coded.Code()
	case errors.As(err, &field), errors.As(err, &workflow):
		return CodeInvalid
	case errors.Is(err, store.ErrNotFound):
		return CodeNotFound
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict), errors.Is(err, schedules.ErrVersion), errors.Is(err, schedules.ErrDeclared), errors.Is(err, ErrNoQueues):
		return CodeConflict
	case errors.Is(err, schedules.ErrDeleted):
		return CodeNotFound
	case errors.Is(err, context.DeadlineExceeded):
		return CodeUnavailable
	default:
		return CodeFailed
	}
}

// Exit is the exit code of a command that ends with it.
func (c Code) Exit() int {
	switch c {
	case CodeOK:
		return 0
	case CodeInvalid:
		return 2
	case CodeNotFound:
		return 3
	case CodeConflict, CodeSkipped:
		return 4
	default:
		return 1
	}
}

// HTTPStatus is the status of a request that ends with it.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeOK:
		return http.StatusOK
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict, CodeSkipped:
		return http.StatusConflict
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
