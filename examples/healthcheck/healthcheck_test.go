package healthcheck_test

import (
	"encoding/json"
	"testing"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/examples/healthcheck"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func TestHealthCheck(t *testing.T) {
	app := pyworkflow.NewApp()
	if err := healthcheck.Register(app); err != nil {
		t.Fatal(err)
	}
	declared := app.Schedules()
	if len(declared) != 1 || declared[0].ID != "auto_minute_health_check" || declared[0].Definition.Spec.Cron != "* * * * *" ||
		declared[0].Definition.Overlap != pyworkflow.OverlapSkip {
		t.Errorf("schedules %+v", declared)
	}
	var said []string
	var keys []string
	o, err := app.Execute(t.Context(), pyworkflow.Execution{Run: schedules.Run{ID: "run_1", Workflow: "minute_health_check"},
		Emit: func(e schedules.Event) {
			if e.Kind == "log" {
				said = append(said, e.Message)
			} else {
				keys = append(keys, e.Message)
			}
		}})
	if err != nil || o.Kind != schedules.OutcomeCompleted {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	var report healthcheck.Report
	if err := json.Unmarshal(o.Result, &report); err != nil || report.Timestamp.IsZero() || len(report.Status) != 3 {
		t.Errorf("report %s, %v", o.Result, err)
	}
	if len(said) != 1 || said[0] != "Health check" || len(keys) != 2 {
		t.Errorf("said %q, steps %q", said, keys)
	}
}
