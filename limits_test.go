package pyworkflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// limited executes a workflow without input under limits.
func limited[Out any](t *testing.T, l pyworkflow.Limits, fn func(context.Context) (Out, error)) (schedules.Outcome, []schedules.Event) {
	t.Helper()
	app := pyworkflow.NewApp()
	if err := app.SetLimits(l); err != nil {
		t.Fatal(err)
	}
	if err := app.Register(pyworkflow.DefineFunc("w", fn)); err != nil {
		t.Fatal(err)
	}
	var events []schedules.Event
	o, err := app.Execute(t.Context(), pyworkflow.Execution{Run: schedules.Run{ID: "run_1", Workflow: "w"}, Emit: func(e schedules.Event) { events = append(events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	return o, events
}

func TestResultAtItsLimit(t *testing.T) {
	for _, over := range []int{0, 1} {
		text := strings.Repeat("x", 98+over) // and two quotes
		run, _ := limited(t, pyworkflow.Limits{Result: 100}, func(context.Context) (string, error) { return text, nil })
		step, _ := limited(t, pyworkflow.Limits{StepResult: 100}, func(ctx context.Context) (int, error) {
			_, err := pyworkflow.Step(ctx, "s", func(context.Context) (string, error) { return text, nil })
			return 0, err
		})
		for what, o := range map[string]schedules.Outcome{"run": run, "step": step} {
			if over == 0 && o.Kind != schedules.OutcomeCompleted {
				t.Errorf("%s at the limit: %+v %+v", what, o, o.Error)
			}
			if over == 1 && (o.Kind != schedules.OutcomeFailed || !o.NoRetry || !strings.Contains(o.Error.Message, "101 bytes of JSON, at most 100 are kept")) {
				t.Errorf("%s over the limit: %+v %+v", what, o, o.Error)
			}
		}
	}
}

func TestStepsAtTheirLimit(t *testing.T) {
	for _, n := range []int{5, 6} {
		called := 0
		o, _ := limited(t, pyworkflow.Limits{Steps: 5}, func(ctx context.Context) (int, error) {
			for range n {
				_, _ = pyworkflow.Step(ctx, "s", func(context.Context) (int, error) { called++; return 1, nil }) // its error does not save the run
			}
			return called, nil
		})
		switch {
		case n == 5 && (o.Kind != schedules.OutcomeCompleted || called != 5):
			t.Errorf("at the limit: %+v %+v, %d called", o, o.Error, called)
		case n == 6 && (o.Kind != schedules.OutcomeFailed || !o.NoRetry || called != 5 || !strings.HasPrefix(o.Error.Message, `too many steps: step "s#6" would be one more than the 5`)):
			t.Errorf("over the limit: %+v %+v, %d called", o, o.Error, called)
		}
	}
}

func TestRecordedStepsDoNotCountTwice(t *testing.T) {
	app := pyworkflow.NewApp()
	if err := app.SetLimits(pyworkflow.Limits{Steps: 1}); err != nil {
		t.Fatal(err)
	}
	err := app.Register(pyworkflow.DefineFunc("w", func(ctx context.Context) (int, error) {
		return pyworkflow.Step(ctx, "s", func(context.Context) (int, error) { return 0, errors.New("called again") })
	}))
	if err != nil {
		t.Fatal(err)
	}
	steps := []schedules.Step{{Name: "s", Key: "s#1", Status: schedules.RunCompleted, Result: []byte("7")}}
	o, err := app.Execute(t.Context(), pyworkflow.Execution{Run: schedules.Run{ID: "run_1", Workflow: "w"}, Steps: steps})
	if err != nil || string(o.Result) != "7" {
		t.Errorf("%+v %v", o, err)
	}
}

func TestErrorsAndLinesAreCutVisibly(t *testing.T) {
	l := pyworkflow.Limits{Message: 100, Stack: 50, LogLine: 20}
	at, _ := limited(t, l, func(context.Context) (int, error) { return 0, errors.New(strings.Repeat("x", 100)) })
	if at.Error.Message != strings.Repeat("x", 100) {
		t.Errorf("message %q", at.Error.Message)
	}
	over, events := limited(t, l, func(ctx context.Context) (int, error) {
		args := make([]any, 0, 300)
		for i := range 150 {
			args = append(args, fmt.Sprint("k", i), strings.Repeat("v", 30))
		}
		pyworkflow.Logger(ctx).Info(strings.Repeat("l", 21), args...)
		panic(strings.Repeat("x", 200))
	})
	if want := "panic: " + strings.Repeat("x", 93) + "… [cut: 207 bytes in all]"; over.Error.Message != want {
		t.Errorf("message %q", over.Error.Message)
	}
	if !strings.Contains(over.Error.Stack, "… [cut: ") || len(over.Error.Stack) > 100 {
		t.Errorf("stack %q", over.Error.Stack)
	}
	if len(events) != 1 {
		t.Fatalf("events %+v", events)
	}
	e := events[0]
	if e.Message != strings.Repeat("l", 20)+"… [cut: 21 bytes in all] … [50 values left out]" || len(e.Attrs) != 100 {
		t.Errorf("message %q, %d values", e.Message, len(e.Attrs))
	}
	for k, v := range e.Attrs {
		if v != strings.Repeat("v", 20)+"… [cut: 30 bytes in all]" {
			t.Errorf("%s = %q", k, v)
		}
	}
}

func TestStepKeysAreBounded(t *testing.T) {
	long := strings.Repeat("k", 201)
	o, _ := limited(t, pyworkflow.Limits{}, func(ctx context.Context) (int, error) {
		return pyworkflow.Step(ctx, "s", func(context.Context) (int, error) { return 1, nil }, pyworkflow.StepKey(long))
	})
	if o.Error == nil || !o.NoRetry || !strings.Contains(o.Error.Message, "has 201 bytes, but at most 200 are taken") {
		t.Errorf("%+v %+v", o, o.Error)
	}
}

func TestSetLimits(t *testing.T) {
	app := pyworkflow.NewApp()
	if app.Limits() != schedules.DefaultLimits() {
		t.Errorf("a new App has %+v", app.Limits())
	}
	for _, bad := range []pyworkflow.Limits{{Input: -1}, {Result: schedules.MaxSize + 1}, {Steps: schedules.MaxSteps + 1}} {
		if err := app.SetLimits(bad); !errors.Is(err, pyworkflow.ErrInvalid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if app.Limits() != schedules.DefaultLimits() {
		t.Errorf("refused limits are set: %+v", app.Limits())
	}
	if err := app.SetLimits(pyworkflow.Limits{Input: 10, Note: 5}); err != nil {
		t.Fatal(err)
	}
	want := schedules.DefaultLimits()
	want.Input, want.Note = 10, 5
	if app.Limits() != want {
		t.Errorf("%+v", app.Limits())
	}
	in := func(s string) pyworkflow.Registrable {
		return pyworkflow.Define("w", func(context.Context, string) (int, error) { return 0, nil },
			pyworkflow.Schedule(pyworkflow.Cron("@daily"), pyworkflow.Input(s)))
	}
	if err := app.Register(in(strings.Repeat("x", 9))); !errors.Is(err, pyworkflow.ErrInvalid) || !strings.Contains(err.Error(), "input: has 11 bytes of JSON, but at most 10") {
		t.Errorf("declared input over the limit: %v", err)
	}
	if err := app.Register(in(strings.Repeat("x", 8))); err != nil {
		t.Errorf("declared input at the limit: %v", err)
	}
	if err := pyworkflow.NewApp().Register(pyworkflow.DefineFunc("w", func(context.Context) (int, error) { return 0, nil },
		pyworkflow.Doc(strings.Repeat("d", 5000)))); !errors.Is(err, pyworkflow.ErrInvalid) {
		t.Errorf("long doc: %v", err)
	}
}
