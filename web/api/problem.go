package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

// CodeRefused says that who asks may not: without the token, from another site, or for a change where nothing may be changed.
const CodeRefused client.Code = "refused"

const problemType = "application/problem+json"

// Problem is what an error looks like: problem details of RFC 9457, with a code that programs can go by.
type Problem struct {
	Type   string      `json:"type" doc:"Always about:blank: the code says what kind of problem it is."`
	Title  string      `json:"title" doc:"The HTTP status in words."`
	Status int         `json:"status" doc:"The HTTP status."`
	Detail string      `json:"detail" doc:"One line: what was wrong, with which value, and what to do."`
	Code   client.Code `json:"code" doc:"What kind of problem it is."`
	Field  string      `json:"field,omitempty" doc:"The field or parameter that is wrong; several are separated by a comma."`

	// Of a trigger that the overlap policy skipped.
	Outcome schedules.FateKind `json:"outcome,omitempty" doc:"Of a trigger: skipped."`
	Reason  string             `json:"reason,omitempty" doc:"Of a trigger: why it was skipped."`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem details.
func (p *Problem) ContentType(string) string { return problemType }

// complete fills in what follows from the rest.
func (p *Problem) complete() *Problem {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	p.Detail = oneLine(p.Detail)
	return p
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// WriteProblem answers with a problem. Type and Title are filled in.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p.complete()) // texts and numbers always encode
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(b.Bytes()) // who asked may be gone
}

// problemOf is the problem that an error is.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p.complete()
	}
	code := client.CodeOf(err)
	p = &Problem{Status: code.HTTPStatus(), Code: code, Detail: err.Error()}
	var field *schedules.FieldError
	var workflow *client.UnknownWorkflowError
	var missing *client.NotFoundError
	var exists *client.ExistsError
	switch {
	case errors.As(err, &field):
		p.Field, p.Detail = field.Field, field.Error()
	case errors.As(err, &workflow):
		p.Field = "workflow"
	case errors.As(err, &missing) && !missing.Deleted:
		p.Detail += fmt.Sprintf("; GET %s/%ss lists those there are", Prefix, missing.Kind)
	case errors.As(err, &exists):
		p.Field = "schedule_id"
		p.Detail = fmt.Sprintf("schedule_id %q: %v; choose another, or make it what you ask for with PUT %s/schedules/%s", exists.ID, exists, Prefix, exists.ID)
	case errors.Is(err, schedules.ErrVersion):
		p.Status, p.Field = http.StatusPreconditionFailed, "If-Match"
		p.Detail = "If-Match: " + strings.TrimSuffix(err.Error(), ": "+schedules.ErrVersion.Error())
	case errors.Is(err, live.ErrFull), errors.Is(err, live.ErrClosed):
		p.Status, p.Code = http.StatusServiceUnavailable, client.CodeUnavailable
	case errors.Is(err, context.Canceled):
		p.Status, p.Code, p.Detail = http.StatusServiceUnavailable, client.CodeUnavailable, "interrupted: the server ends, or nobody waits for the answer any more"
	}
	return p.complete()
}

// asSent names a field that a request's body calls otherwise than the domain and the parameters do.
func (p *Problem) asSent(op huma.Operation, err error) {
	var field *schedules.FieldError
	if op.Method == http.MethodGet || !errors.As(err, &field) {
		return
	}
	named := *field
	switch {
	case field.Field == "overlap":
		named.Field = "overlap_policy"
	case field.Field == "id" && op.OperationID == "create-schedule":
		named.Field = "schedule_id"
	default:
		return
	}
	p.Field, p.Detail = named.Field, named.Error()
}

// problemFor is the problem that an error is, when it is of that kind.
func problemFor[E error](err error) *Problem {
	var kind E
	if !errors.As(err, &kind) {
		return nil
	}
	return problemOf(err)
}
