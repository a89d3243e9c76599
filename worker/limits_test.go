package worker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// A result at its limit is kept whole, one byte more fails the run for good: of a run and of a step.
func TestResultsAtTheirLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		retries := pyworkflow.MaxRetries(3)
		r := w.start(worker.Config{}, pyworkflow.Define("result", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n-2), nil }, retries),
			pyworkflow.Define("step", func(ctx context.Context, n int) (int, error) {
				s, err := pyworkflow.Step(ctx, "s", func(context.Context) (string, error) { return strings.Repeat("x", n-2), nil })
				return len(s), err
			}, retries))
		at := w.ended(w.submit("result", "1048576", nil))
		if at.Status != schedules.RunCompleted || len(at.Result) != pyworkflow.MaxResult {
			t.Errorf("at the limit: %s, %d bytes, %+v", at.Status, len(at.Result), at.Error)
		}
		id := w.submit("step", "1048576", nil)
		if run := w.ended(id); run.Status != schedules.RunCompleted || string(run.Result) != "1048574" {
			t.Errorf("step at the limit: %s %s %+v", run.Status, run.Result, run.Error)
		}
		if steps, err := w.store.Steps(context.Background(), id); err != nil || len(steps) != 1 || len(steps[0].Result) != pyworkflow.MaxResult {
			t.Errorf("step at the limit is recorded as %d steps, %v", len(steps), err)
		}
		for _, workflow := range []string{"result", "step"} {
			over := w.ended(w.submit(workflow, "1048577", nil))
			if over.Status != schedules.RunFailed || over.Attempt != 1 || !strings.Contains(over.Error.Message, "1048577 bytes of JSON, at most 1048576 are kept") {
				t.Errorf("%s over the limit: %s, attempt %d, %+v", workflow, over.Status, over.Attempt, over.Error)
			}
		}
		w.end(r)
	})
}
