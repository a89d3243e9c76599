package healthcheck_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/examples/healthcheck"
	"github.com/pyworkflow-go/pyworkflow/workflowtest"
)

func TestHealthCheck(t *testing.T) {
	workflowtest.Run(t, healthcheck.Register, func(t *testing.T, w *workflowtest.World) {
		w.StubStep("minute_health_check", "check_services", workflowtest.Return(map[string]string{"api": "down"}))
		w.CrashAfterStep("minute_health_check", "check_services") // the first run goes on in another process
		w.Advance(5 * time.Minute)
		runs := w.Runs("auto_minute_health_check")
		if len(runs) != 5 || runs[0].Recoveries != 1 || w.Executed("minute_health_check", "check_services") != 5 {
			t.Fatalf("%d runs, the first recovered %d times", len(runs), runs[0].Recoveries)
		}
		for _, run := range runs {
			report := workflowtest.Result[healthcheck.Report](w, run.RunID)
			said := slices.ContainsFunc(w.Events(run.RunID), func(e client.Event) bool { return e.Message == "Health check" && e.Attrs["api"] == "down" })
			if report.Status["api"] != "down" || report.Timestamp.Before(run.NominalTime.Time) || !said {
				t.Errorf("run of %s: %+v", run.NominalTime, report)
			}
		}
	})
}
