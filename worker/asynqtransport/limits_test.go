package asynqtransport_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// An input, a step and a result at their limits go to a worker and come back whole; one byte more fails the run for good.
func TestAtTheLimits(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	def := pyworkflow.Define("w", func(ctx context.Context, in string) (string, error) {
		return pyworkflow.Step(ctx, "s", func(context.Context) (string, error) {
			return strings.TrimSuffix(in, "+") + strings.Repeat("y", strings.Count(in, "+")*2), nil
		})
	}, pyworkflow.MaxRetries(3))
	s := newStranger(t, server, ns, def)
	tr, _ := open(t, server, ns)
	newHost(t, server, ns, "host", time.Second, def)
	s.keep(tr)
	text := `"` + strings.Repeat("x", pyworkflow.MaxResult-2) + `"`
	at := s.ended(s.start(text))
	if at.Status != schedules.RunCompleted || string(at.Result) != text || string(at.Input) != text || len(at.Steps) != 1 || string(at.Steps[0].Result) != text {
		t.Errorf("at the limit: %s %+v", at.Status, at.Error)
	}
	over := s.ended(s.start(text[:len(text)-2] + `+"`))
	if over.Status != schedules.RunFailed || over.Attempt != 1 || !strings.Contains(over.Error.Message, "1048577 bytes of JSON, at most 1048576 are kept") {
		t.Errorf("over the limit: %s, attempt %d, %+v", over.Status, over.Attempt, over.Error)
	}
}
