package metrics_test

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/metrics"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// BenchmarkOneRun is what counting a run from its tick to its end costs.
func BenchmarkOneRun(b *testing.B) {
	m, err := metrics.New(metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	pending, done := run(schedules.RunPending), run(schedules.RunCompleted)
	c := schedules.Change{Now: noon, Schedule: schedules.Schedule{Record: schedules.Record{ID: "s", Workflow: "flow"}}, Fates: []schedules.Fate{
		{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: noon}, DecidedAt: noon, Fate: schedules.FateStarted}}}
	msgs := []store.Message{{RunID: "run_1", Dispatch: 1, Queue: "default"}}
	written := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		m.Decided(c)
		m.Created(b.Context(), []schedules.Run{pending})
		m.Dispatched(msgs, msgs, written, written)
		m.Claimed(pending)
		m.Moved(pending, schedules.RunChange{Run: done})
		m.RunChanged(schedules.RunChange{Run: done})
		m.Attempted(done, schedules.Outcome{}, time.Second, true)
	}
}
