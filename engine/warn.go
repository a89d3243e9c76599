package engine

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// warnings gathers what one call has to tell people, so that an outage decided in many batches is told once.
type warnings []schedules.Warning

func (ws *warnings) add(more []schedules.Warning) {
	for _, w := range more {
		told := slices.IndexFunc(*ws, func(o schedules.Warning) bool {
			return w.Kind == schedules.WarnWindow && o.Kind == w.Kind && o.Schedule == w.Schedule
		})
		if told < 0 {
			*ws = append(*ws, w)
			continue
		}
		(*ws)[told].Count += w.Count
		(*ws)[told].To = w.To
	}
}

// backfillCommand runs the missed ticks.
func backfillCommand(w schedules.Warning) string {
	c := "pyworkflow schedules backfill " + w.Schedule.ID + " --start " + w.From.Format(time.RFC3339Nano) + " --end " + w.To.Format(time.RFC3339Nano)
	if w.Count > schedules.DefaultMaxRuns {
		c += " --max-runs " + strconv.Itoa(w.Count)
	}
	return c
}

func (e *Engine) warn(ctx context.Context, ws warnings) {
	for _, w := range ws {
		switch w.Kind {
		case schedules.WarnBlocked:
			attrs := []any{"schedule_id", w.Schedule.ID, "run_id", w.RunID, "skipped", w.Count}
			if run, err := e.cfg.Store.GetRun(ctx, w.RunID); err == nil {
				attrs = append(attrs, "run_status", string(run.Status), "run_age", e.cfg.Store.Estimate().Sub(run.CreatedAt).Round(time.Second).String(), "worker", run.Worker)
			}
			e.cfg.Log.Warn("ticks are skipped behind one run", attrs...)
		case schedules.WarnWindow:
			e.cfg.Log.Warn("ticks older than the catchup window were missed; to run them: "+backfillCommand(w), "schedule_id", w.Schedule.ID, "missed", w.Count)
		}
	}
}
