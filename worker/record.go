package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	pyworkflow "github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/internal/failpoint"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// recordedSteps reads the steps of earlier dispatches, while the lease is held.
func (w *Worker) recordedSteps(ctx context.Context, h *held) ([]schedules.Step, error) {
	if h.run.Dispatch == 1 {
		return nil, nil
	}
	var steps []schedules.Step
	err := w.insist(ctx, h, func(ctx context.Context) (err error) {
		steps, err = w.cfg.Store.Steps(ctx, h.run.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read steps of run %s: %w", h.run.ID, err)
	}
	return steps, nil
}

// recordStep writes a step. While the store is away it tries again as long as the lease is held; ctx may outlive the attempt's.
func (w *Worker) recordStep(ctx context.Context, h *held, s schedules.Step) error {
	failpoint.Reach(failpoint.StepDone)
	err := w.insist(ctx, h, func(ctx context.Context) error { return w.cfg.Store.RecordStep(ctx, h.run.ID, h.run.Dispatch, s) })
	failpoint.Reach(failpoint.Recorded)
	if errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFormat) {
		h.lose()
		return fmt.Errorf("%w: %w", pyworkflow.ErrLeaseLost, err)
	}
	return err
}

// insist calls f until it succeeds, fails for good, ctx ends, the lease is lost, or the attempt is over.
func (w *Worker) insist(ctx context.Context, h *held, f func(context.Context) error) error {
	for try := 0; ; try++ {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := f(call)
		cancel()
		if err == nil || errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFormat) ||
			errors.Is(err, store.ErrUnreadable) {
			return err
		}
		cause := context.Cause(h.ctx)
		switch {
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		case errors.Is(cause, pyworkflow.ErrLeaseLost):
			return errors.Join(cause, err)
		case isClosed(h.over) || !pause(try, h.over):
			return fmt.Errorf("%w: the attempt is over: %w", pyworkflow.ErrLeaseLost, err)
		}
	}
}

// lastResult reads the result of the schedule's last success.
func (w *Worker) lastResult(ctx context.Context, run schedules.Run) (json.RawMessage, bool, error) {
	if run.ScheduleID == "" {
		return nil, false, nil
	}
	loaded, _, err := w.cfg.Store.Load(ctx, run.Ref())
	if err == nil {
		err = loaded[0].Err
	}
	if err != nil {
		return nil, false, fmt.Errorf("read last result of schedule %s: %w", run.ScheduleID, err)
	}
	id := loaded[0].State.Schedule.LastSuccessID
	if id == "" {
		return nil, false, nil
	}
	last, err := w.cfg.Store.GetRun(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read last result of schedule %s: %w", run.ScheduleID, err)
	}
	return last.Result, true, nil
}
