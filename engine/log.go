package engine

import (
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// The keys of what log lines are about.
const (
	keyRun      = "run_id"
	keyWorkflow = "workflow"
	keySchedule = "schedule_id"
	keyAttempt  = "attempt"
	keyDispatch = "dispatch"
)

// RunAttrs are what a log line about a run carries, for any of slog's methods: run_id, workflow, schedule_id where it has one, attempt, dispatch.
func RunAttrs(r schedules.Run) []any {
	attrs := []any{keyRun, r.ID, keyWorkflow, r.Workflow}
	if r.ScheduleID != "" {
		attrs = append(attrs, keySchedule, r.ScheduleID)
	}
	return append(attrs, keyAttempt, r.Attempt, keyDispatch, r.Dispatch)
}

// MessageAttrs are what a log line about a message carries when its run is not at hand: run_id, dispatch.
func MessageAttrs(m store.Message) []any { return []any{keyRun, m.RunID, keyDispatch, m.Dispatch} }
