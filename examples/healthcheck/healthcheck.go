// Package healthcheck is an example: a workflow that checks services every minute, in two steps.
//
//	pyworkflow --module ./examples/healthcheck scheduler run
package healthcheck

import (
	"context"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
)

// MinuteHealthCheck runs every minute. A tick that comes due while the run before is still active is skipped.
var MinuteHealthCheck = pyworkflow.DefineFunc("minute_health_check", minuteHealthCheck,
	pyworkflow.Doc("Runs every minute to check system health."),
	pyworkflow.Timeout(time.Minute),
	pyworkflow.Schedule(pyworkflow.Cron("* * * * *"), pyworkflow.Overlap(pyworkflow.OverlapSkip)))

// Register hands the package's workflows to the program.
func Register(app *pyworkflow.App) error { return app.Register(MinuteHealthCheck) }

// Report is what a health check returns.
type Report struct {
	Timestamp time.Time         `json:"timestamp"`
	Status    map[string]string `json:"status"`
}

func minuteHealthCheck(ctx context.Context) (Report, error) {
	status, err := pyworkflow.Step(ctx, "check_services", checkServices)
	if err != nil {
		return Report{}, err
	}
	_, err = pyworkflow.Step(ctx, "record_metrics", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, recordMetrics(ctx, status)
	})
	if err != nil {
		return Report{}, err
	}
	return Report{Timestamp: time.Now().UTC(), Status: status}, nil
}

// checkServices would ask the services how they are.
func checkServices(context.Context) (map[string]string, error) {
	return map[string]string{"api": "healthy", "db": "healthy", "cache": "healthy"}, nil
}

// recordMetrics would hand the status to a monitoring system.
func recordMetrics(ctx context.Context, status map[string]string) error {
	pyworkflow.Logger(ctx).Info("Health check", "api", status["api"], "db", status["db"], "cache", status["cache"])
	return nil
}
