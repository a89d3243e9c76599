package pyworkflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Workflow is a named function that runs on workers. It is made by Define or DefineFunc, usually in a package-level variable, and handed to
// App.Register; it starts runs with typed input (Start) and waits for their typed results (Handle.Wait). It never changes and is safe for
// concurrent use.
type Workflow[In, Out any] struct{ def *definition }

// Define makes a workflow of a function. Input and output travel as JSON: In is decoded from the input (the zero value for none or null, unknown
// object fields are ignored), Out is encoded, at most MaxResult bytes unless App.SetLimits says otherwise. Mistakes in name and options are reported by App.Register.
func Define[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error), opts ...Option) *Workflow[In, Out] {
	return define(callerPackage(1), name, fn, opts)
}

// DefineFunc is Define for a function without input.
func DefineFunc[Out any](name string, fn func(ctx context.Context) (Out, error), opts ...Option) *Workflow[struct{}, Out] {
	var withInput func(context.Context, struct{}) (Out, error)
	if fn != nil {
		withInput = func(ctx context.Context, _ struct{}) (Out, error) { return fn(ctx) }
	}
	return define(callerPackage(1), name, withInput, opts)
}

func define[In, Out any](pkg, name string, fn func(context.Context, In) (Out, error), opts []Option) *Workflow[In, Out] {
	d := &definition{
		name: name,
		pkg:  pkg,
		options: schedules.RunOptions{MaxRecoveries: schedules.DefaultMaxRecoveries, Queue: schedules.DefaultQueue,
			Backoff: Exponential(defaultWait, defaultMaxWait)},
		checkInput: func(input json.RawMessage) error {
			_, err := decodeInput[In](input)
			return err
		},
	}
	if fn == nil {
		d.fail(errors.New("its function is nil"))
	} else {
		d.call = func(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
			in, err := decodeInput[In](input)
			if err != nil {
				return nil, err
			}
			out, err := fn(ctx, in)
			if err != nil {
				return nil, err
			}
			return encodeResult(out)
		}
	}
	d.fail(carriable[In]("input"))
	d.fail(carriable[Out]("result"))
	for _, o := range opts {
		if o != nil {
			o.applyWorkflow(d)
		}
	}
	return &Workflow[In, Out]{def: d}
}

// carriable reports a type that JSON can never carry.
func carriable[T any](what string) error {
	var zero T
	if _, err := json.Marshal(zero); err != nil {
		var unsupported *json.UnsupportedTypeError
		if errors.As(err, &unsupported) {
			return fmt.Errorf("its %s type %s cannot travel as JSON: %s", what, reflect.TypeFor[T](), unsupported.Type)
		}
	}
	return nil
}

func (w *Workflow[In, Out]) definition() *definition {
	if w == nil {
		return nil
	}
	return w.def
}

// Name is the workflow's name.
func (w *Workflow[In, Out]) Name() string { return w.def.name }

// definition is a Workflow without its types.
type definition struct {
	name       string
	doc        string
	pkg        string // path of the package that defines it
	options    schedules.RunOptions
	declared   []*declaration
	call       func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)
	checkInput func(json.RawMessage) error
	err        error // the first mistake
}

// fail keeps the first mistake for Register to report.
func (d *definition) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// check reports what is wrong with the definition.
func (d *definition) check(limits schedules.Limits) error {
	if !namePattern.MatchString(d.name) {
		return errors.New("is no workflow name; " + nameRule)
	}
	if d.err != nil {
		return d.err
	}
	if err := schedules.ValidateQueue(d.options.Queue); err != nil {
		return err
	}
	if err := limits.CheckNote("doc", d.doc); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, s := range d.declared {
		id := s.id(d.name)
		if seen[id] {
			return fmt.Errorf("two schedules have the id %s; tell them apart with Named", id)
		}
		seen[id] = true
		err := limits.CheckInput(s.def.Input)
		if err == nil {
			err = s.check(d)
		}
		if err != nil {
			return fmt.Errorf("schedule %s: %w", id, err)
		}
	}
	return nil
}

func (d *definition) info() WorkflowInfo {
	return WorkflowInfo{Name: d.name, Doc: d.doc, Options: d.options, Schedules: d.schedules(), Origin: moduleOf(d.pkg)}
}

func (d *definition) schedules() []DeclaredSchedule {
	out := make([]DeclaredSchedule, 0, len(d.declared))
	for _, s := range d.declared {
		out = append(out, DeclaredSchedule{ID: s.id(d.name), Workflow: d.name, Definition: s.def, Origin: moduleOf(d.pkg)})
	}
	return out
}
