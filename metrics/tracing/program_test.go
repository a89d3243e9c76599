package tracing_test

import (
	"context"
	"errors"
	"os"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli"
)

const (
	programEnv = "TRACING_TEST_PROGRAM" // makes the test binary the program
	hangEnv    = "TRACING_TEST_HANG"    // its first run of "dies" hangs in the middle
)

// program is the command line with the workflows of these tests.
func program() int {
	return cli.Main(func(app *pyworkflow.App) error {
		return app.Register(
			pyworkflow.DefineFunc("retries", retries, pyworkflow.MaxRetries(1), pyworkflow.RetryBackoff(pyworkflow.Fixed(50*time.Millisecond)),
				pyworkflow.Schedule(pyworkflow.Every("1h"), pyworkflow.IntervalFrom(pyworkflow.FromStart))),
			pyworkflow.DefineFunc("dies", dies))
	})
}

// retries fails once; then it has a step, in which user code has a span of its own, and one beside it.
func retries(ctx context.Context) (string, error) {
	mine := otel.Tracer("user code")
	_, beside := mine.Start(ctx, "beside")
	beside.End()
	pyworkflow.Logger(ctx).Info("on its way")
	if pyworkflow.RunInfo(ctx).Attempt == 1 {
		return "", errors.New("once it fails")
	}
	return pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (string, error) {
		_, inside := mine.Start(ctx, "inside")
		defer inside.End()
		return "got it", nil
	})
}

// dies makes one step and hangs, where it is told to.
func dies(ctx context.Context) (string, error) {
	got, err := pyworkflow.Step(ctx, "first", func(context.Context) (string, error) { return "done", nil })
	if err == nil && os.Getenv(hangEnv) != "" {
		<-ctx.Done()
	}
	return got, err
}
