package pyworkflow

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

type contextKey struct{}

// from finds the execution a context belongs to; nil outside a run.
func from(ctx context.Context) *execution {
	x, _ := ctx.Value(contextKey{}).(*execution)
	return x
}

// Info says which run is executing. The zero value stands for no run.
type Info struct {
	RunID      string
	ScheduleID string // empty: the run belongs to no schedule
	Workflow   string
	Queue      string
	Trigger    schedules.Trigger
	Nominal    time.Time // the instant the spec names, in UTC; zero: the run belongs to no schedule
	Attempt    int       // from 1
	CreatedAt  time.Time
}

// RunInfo says which run ctx belongs to; the zero Info outside a run.
func RunInfo(ctx context.Context) Info {
	x := from(ctx)
	if x == nil {
		return Info{}
	}
	r := &x.e.Run
	return Info{RunID: r.ID, ScheduleID: r.ScheduleID, Workflow: r.Workflow, Queue: r.Queue, Trigger: r.Trigger, Nominal: r.Nominal,
		Attempt: r.Attempt, CreatedAt: r.CreatedAt}
}

// LastResult gives the result of the schedule's previous successful run, decoded into T. It is false when there is none: outside a run, in a run
// without a schedule, and before the first success.
func LastResult[T any](ctx context.Context) (T, bool, error) {
	var out T
	x := from(ctx)
	if x == nil || x.e.LastResult == nil {
		return out, false, nil
	}
	raw, ok, err := x.e.LastResult(ctx)
	if err != nil || !ok {
		return out, false, err
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			return out, false, fmt.Errorf("decode last result of schedule %s: %w", x.e.Run.ScheduleID, err)
		}
	}
	return out, true, nil
}

// Logger gives a logger whose lines carry run_id, workflow, schedule_id and attempt. They go to the process's log and, from level info on, to the run's own
// events, where "runs logs" shows them. Outside a run it is slog.Default().
func Logger(ctx context.Context) *slog.Logger {
	x := from(ctx)
	if x == nil {
		return slog.Default()
	}
	return x.logger
}
