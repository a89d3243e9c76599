package lab_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/examples/lab"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// attempt executes one attempt of a lab workflow.
func attempt(ctx context.Context, t *testing.T, workflow, input string, n int, steps ...schedules.Step) schedules.Outcome {
	t.Helper()
	app := pyworkflow.NewApp()
	if err := lab.Register(app); err != nil {
		t.Fatal(err)
	}
	o, err := app.Execute(ctx, pyworkflow.Execution{Steps: steps, Run: schedules.Run{ID: "run_1", Workflow: workflow,
		Input: json.RawMessage(input), RunProgress: schedules.RunProgress{Attempt: n}}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEcho(t *testing.T) {
	o := attempt(t.Context(), t, "lab_echo", `{"hello":"world"}`, 3)
	if want := `{"input":{"hello":"world"},"run_id":"run_1","schedule_id":null,"nominal_time":null,"attempt":3}`; string(o.Result) != want {
		t.Errorf("result %s; want %s", o.Result, want)
	}
	if o := attempt(t.Context(), t, "lab_echo", "", 1); !strings.HasPrefix(string(o.Result), `{"input":null,`) {
		t.Errorf("result %s, error %+v", o.Result, o.Error)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for input, want := range map[string]time.Duration{`{"for":"3s"}`: 3 * time.Second, "": 5 * time.Second, `{"for":"1m","ignore_cancel":true}`: time.Minute} {
			ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Second, pyworkflow.ErrCancelled)
			began := time.Now()
			o := attempt(ctx, t, "lab_sleep", input, 1)
			cancel()
			if took := time.Since(began); took != want || o.Kind != schedules.OutcomeCompleted {
				t.Errorf("%s: %s, %+v", input, took, o.Error)
			}
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, pyworkflow.ErrCancelled)
		defer cancel()
		began := time.Now()
		if o := attempt(ctx, t, "lab_sleep", "", 1); time.Since(began) != time.Second || o.Error == nil || o.Error.Message != "asked to cancel" {
			t.Errorf("cancelled: %+v", o)
		}
	})
	if o := attempt(t.Context(), t, "lab_sleep", `{"for":"5"}`, 1); o.Error == nil || o.Error.Kind != schedules.ErrorInput {
		t.Errorf("a duration without a unit: %+v", o)
	}
}

func TestFlaky(t *testing.T) {
	for n, fails := range map[int]bool{1: true, 2: true, 3: false} {
		if o := attempt(t.Context(), t, "lab_flaky", `{"failures":2}`, n); (o.Error != nil) != fails || o.NoRetry {
			t.Errorf("attempt %d: %+v", n, o)
		}
	}
	app := pyworkflow.NewApp()
	if err := lab.Register(app); err != nil {
		t.Fatal(err)
	}
	if w, _ := app.Workflow("lab_flaky"); w.Options.MaxRetries != 5 || w.Options.Backoff.Wait(4, 1) != time.Second {
		t.Errorf("options %+v", w.Options)
	}
	if n := len(app.Schedules()); n != 0 {
		t.Errorf("%d schedules", n)
	}
}

func TestPanic(t *testing.T) {
	if o := attempt(t.Context(), t, "lab_panic", "", 1); o.Error == nil || o.Error.Kind != schedules.ErrorPanic || o.Error.Stack == "" {
		t.Errorf("outcome %+v", o)
	}
}

func TestSteps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	input, err := json.Marshal(map[string]any{"steps": 3, "step_for": "1ms", "log": file})
	if err != nil {
		t.Fatal(err)
	}
	o := attempt(t.Context(), t, "lab_steps", string(input), 1)
	if string(o.Result) != `{"steps":3}` {
		t.Errorf("outcome %+v, error %+v", o, o.Error)
	}
	recorded := schedules.Step{Name: "step_1", Key: "step_1#1", Status: schedules.RunCompleted, Result: []byte("1")}
	attempt(t.Context(), t, "lab_steps", string(input), 2, recorded)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "run_1 step_1 1\nrun_1 step_2 1\nrun_1 step_3 1\nrun_1 step_2 2\nrun_1 step_3 2\n"; string(got) != want {
		t.Errorf("file:\n%swant:\n%s", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if o := attempt(context.Background(), t, "lab_steps", "", 1); string(o.Result) != `{"steps":5}` || time.Since(began) != 5*time.Second {
			t.Errorf("without input: %+v after %s", o, time.Since(began))
		}
		if o := attempt(context.Background(), t, "lab_steps", `{"log":"/no/such/folder/log"}`, 1); o.Error == nil || o.Error.Kind != schedules.ErrorFailed {
			t.Errorf("a file that cannot be written: %+v", o)
		}
	})
}
