package metrics

import (
	"context"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

var (
	_ engine.Witness      = (*Metrics)(nil)
	_ worker.Observer     = (*Metrics)(nil)
	_ worker.StepObserver = (*Metrics)(nil)
)

// Decided counts fates.
func (m *Metrics) Decided(c schedules.Change) {
	workflow := m.workflows.label(c.Schedule.Workflow)
	for _, f := range c.Fates {
		m.ticks.WithLabelValues(workflow, string(f.Fate)).Inc()
		if m.scheduleTicks != nil {
			m.scheduleTicks.WithLabelValues(m.schedules.label(c.Schedule.ID), string(f.Fate)).Inc()
		}
		if fresh(f) && c.Schedule.Spec.Jitter == 0 {
			m.lateness.WithLabelValues(workflow).Observe(seconds(f.DecidedAt.Sub(f.Tick.Nominal)))
		}
	}
	for _, w := range c.Warnings {
		if w.Kind == schedules.WarnBlocked {
			m.blocked.WithLabelValues(workflow).Inc()
		}
	}
}

// fresh reports whether a fate is the first of a regular tick that was seen in time to start or wait or be skipped.
func fresh(f schedules.Fate) bool {
	if !f.Tick.Trigger.Regular() {
		return false
	}
	switch f.Fate {
	case schedules.FateBuffered, schedules.FateSkipped:
		return true
	default:
		return f.Fate == schedules.FateStarted && f.Reason == "" // a reason: it waited before
	}
}

// RunChanged counts ends.
func (m *Metrics) RunChanged(c schedules.RunChange) {
	r := &c.Run
	if !r.Status.Ended() {
		return
	}
	workflow := m.workflows.label(r.Workflow)
	m.ended.WithLabelValues(workflow, m.queues.label(r.Queue), string(r.Status)).Inc()
	if m.scheduleEnded != nil && r.ScheduleID != "" {
		m.scheduleEnded.WithLabelValues(m.schedules.label(r.ScheduleID), string(r.Status)).Inc()
	}
	if !r.StartedAt.IsZero() {
		m.runTime.WithLabelValues(workflow).Observe(seconds(r.EndedAt.Sub(r.StartedAt)))
	}
}

// Created counts runs.
func (m *Metrics) Created(_ context.Context, runs []schedules.Run) {
	for i := range runs {
		m.Know(runs[i].Workflow, runs[i].Queue)
		m.created.WithLabelValues(m.workflows.label(runs[i].Workflow), m.queues.label(runs[i].Queue), string(runs[i].Trigger)).Inc()
	}
}

// Moved counts what befell a run before its end.
func (m *Metrics) Moved(before schedules.Run, c schedules.RunChange) {
	r := &c.Run
	workflow := m.workflows.label(r.Workflow)
	switch {
	case r.Recoveries > before.Recoveries, r.Status.Ended() && r.Error != nil && r.Error.Kind == schedules.ErrorWorkerLost:
		m.recoveries.WithLabelValues(workflow).Inc()
	case r.Status == schedules.RunRetrying && before.Status == schedules.RunRunning:
		m.retries.WithLabelValues(workflow).Inc()
	case r.Returns > before.Returns:
		m.returned.WithLabelValues(workflow).Inc()
	case c.Send && before.Status == schedules.RunPending && r.Dispatch > before.Dispatch:
		m.resent.WithLabelValues(workflow).Inc()
	}
}

// Dispatched counts messages.
func (m *Metrics) Dispatched(msgs, sent []store.Message, written, _ time.Time) {
	lag := seconds(time.Since(written))
	failed := make(map[string]int, 1)
	for _, msg := range msgs {
		failed[msg.Queue]++
	}
	for _, msg := range sent {
		queue := m.queues.label(msg.Queue)
		failed[msg.Queue]--
		if written.IsZero() {
			m.swept.WithLabelValues(queue).Inc()
		} else {
			m.dispatchLag.WithLabelValues(queue).Observe(lag)
		}
	}
	for queue, n := range failed {
		if n > 0 {
			m.unsent.WithLabelValues(m.queues.label(queue)).Add(float64(n))
		}
	}
}

// Claimed counts how long the run was on its way, if this is its first attempt.
func (m *Metrics) Claimed(r schedules.Run) {
	m.Know(r.Workflow, r.Queue)
	if r.Attempt != 1 || r.Dispatch != 1 {
		return
	}
	m.queueTime.WithLabelValues(m.queues.label(r.Queue)).Observe(seconds(r.StartedAt.Sub(r.CreatedAt)))
	if r.Trigger.Regular() {
		m.startLateness.WithLabelValues(m.workflows.label(r.Workflow)).Observe(seconds(r.StartedAt.Sub(r.Nominal)))
	}
}

// Attempted counts attempts.
func (m *Metrics) Attempted(r schedules.Run, o schedules.Outcome, _ time.Duration, recorded bool) {
	outcome := "refused"
	switch {
	case !recorded:
	case o.Kind == schedules.OutcomeCompleted:
		outcome = "completed"
	case r.Status == schedules.RunCancelled:
		outcome = "cancelled"
	case o.Kind == schedules.OutcomeFailed:
		outcome = "failed"
	default:
		outcome = "handed_back"
	}
	m.attempts.WithLabelValues(m.workflows.label(r.Workflow), outcome).Inc()
}

// Abandoned counts code that was left behind.
func (m *Metrics) Abandoned(r schedules.Run) {
	m.abandoned.WithLabelValues(m.workflows.label(r.Workflow)).Inc()
}

// Stepped counts steps.
func (m *Metrics) Stepped(r schedules.Run, _ schedules.Step, took time.Duration, err error) {
	status := "completed"
	if err != nil {
		status = "failed"
	}
	m.stepTime.WithLabelValues(m.workflows.label(r.Workflow), status).Observe(took.Seconds())
}

// seconds is never negative: two clocks may differ a little.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }
