package workflowtest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/workflowtest"
)

// misuses are tests that must fail, with what they must say. TestMisuse has each executed by a process of its own.
var misuses = map[string]struct {
	do   func(t *testing.T, w *workflowtest.World)
	opts []workflowtest.Option
	want []string
}{
	"a stub nobody asks for": {
		do: func(_ *testing.T, w *workflowtest.World) {
			w.StubStep("daily_report", "fech", workflowtest.Return(1))
			w.Wait(w.Start("daily_report", nil))
		},
		want: []string{`StubStep: step "fech" of workflow "daily_report" was never executed; executed were: add, fetch`,
			"runs of no schedule\n", "of daily_report: attempt 1, completed\n"},
	},
	"a stub of the wrong type": {
		do: func(_ *testing.T, w *workflowtest.World) {
			w.StubStep("daily_report", "fetch", workflowtest.Return("three"))
			workflowtest.Result[report](w, w.Start("daily_report", nil))
		},
		want: []string{`failed: step "fetch#1": its result []int does not come back from JSON`, "cannot unmarshal string"},
	},
	"a crash that never comes": {
		do:   func(_ *testing.T, w *workflowtest.World) { w.CrashAfterStep("daily_report", "fetch") },
		want: []string{`CrashAfterStep: step "fetch" of workflow "daily_report" was never executed; none of its steps was`},
	},
	"no such workflow": {
		do:   func(_ *testing.T, w *workflowtest.World) { w.StubStep("dialy_report", "fetch", nil) },
		want: []string{`StubStep: no workflow "dialy_report": did you mean daily_report?`},
	},
	"a failed run": {
		do: func(_ *testing.T, w *workflowtest.World) {
			w.StubStep("daily_report", "fetch", workflowtest.Fail(errors.New("source is down")))
			w.Advance(24 * time.Hour)
			workflowtest.Result[report](w, w.Runs("auto_daily_report")[0].RunID)
		},
		want: []string{`of daily_report failed: step "fetch#1" failed 4 times: source is down`, "it is 2000-01-02 00:00:00; what has happened:",
			"schedule auto_daily_report, active, next tick 2000-01-02 09:00:00", "2000-01-01 09:00:00  schedule started", "step fetch#1: attempt 4, failed: source is down"},
	},
	"a wait for nothing": {
		do:   func(_ *testing.T, w *workflowtest.World) { w.Wait("run_0123456789abcdef012345") },
		want: []string{"run run_0123456789abcdef012345 is waiting to start, or no run at all, and 720h have passed"},
	},
	"a schedule that is not there": {
		do:   func(_ *testing.T, w *workflowtest.World) { w.Trigger("auto_weekly") },
		want: []string{"trigger auto_weekly: "},
	},
	"time that goes back": {
		do:   func(_ *testing.T, w *workflowtest.World) { w.AdvanceTo(w.Now().Add(-time.Hour)) },
		want: []string{"AdvanceTo(1999-12-31T23:00:00.001Z): it is 2000-01-01T00:00:00Z already"},
	},
	"a time before the clock's": {
		do:   func(t *testing.T, _ *workflowtest.World) { t.Error("was called") },
		opts: []workflowtest.Option{workflowtest.WithNow(time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC))},
		want: []string{"WithNow(1999-12-31T00:00:00Z): the clock of a test begins at 2000-01-01T00:00:00Z; give that or later"},
	},
}

const misuseVar = "WORKFLOWTEST_MISUSE"

func TestMisuse(t *testing.T) {
	if name := os.Getenv(misuseVar); name != "" {
		m := misuses[name]
		workflowtest.Run(t, registers(reportWorkflow(nine("UTC"))), m.do, m.opts...)
		return
	}
	for name, m := range misuses {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMisuse$", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), misuseVar+"="+name)
			out, err := cmd.CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.ExitCode() != 1 || strings.Contains(string(out), "panic") || strings.Contains(string(out), "was called") {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range m.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
		})
	}
}

// A run that nothing would ever move does not keep the test waiting.
func TestWaitsAreBounded(t *testing.T) {
	forever := pyworkflow.DefineFunc("forever", func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}, pyworkflow.Timeout(time.Minute))
	workflowtest.Run(t, registers(forever), func(t *testing.T, w *workflowtest.World) {
		run := w.Wait(w.Start("forever", nil))
		if run.Status != "failed" || w.Now().Sub(run.StartedAt.Time) > time.Minute+2*time.Second {
			t.Errorf("%s at %s", run.Status, w.Now())
		}
	})
}
