// Package stephook carries, in the context of a run, the function that package workflowtest puts in the place of steps. It is nothing a program can
// reach: outside tests no context has one.
package stephook

import (
	"context"
	"encoding/json"
)

// Call is one attempt of a step.
type Call struct {
	RunID    string
	Workflow string
	Step     string // its name
	Key      string
}

// Func is asked before every attempt of a step. Where it says false the step's own function is called; else result (JSON, like a step's) or err is what that
// function would have returned.
type Func func(ctx context.Context, c Call) (result json.RawMessage, stands bool, err error)

type key struct{}

// With gives a context whose runs ask f.
func With(ctx context.Context, f Func) context.Context { return context.WithValue(ctx, key{}, f) }

// Ask asks the function that ctx carries; false when it carries none.
func Ask(ctx context.Context, c Call) (result json.RawMessage, stands bool, err error) {
	f, ok := ctx.Value(key{}).(Func)
	if !ok {
		return nil, false, nil
	}
	return f(ctx, c)
}
