package storetest

import (
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Create gives the change that creates an active schedule of workflow "flow" whose next tick is a minute after now.
func Create(id, incarnation string, now time.Time) schedules.Change {
	return schedules.Change{
		Now: now,
		Schedule: schedules.Schedule{
			Record: schedules.Record{
				ID: id, Incarnation: incarnation, Workflow: "flow",
				Definition: schedules.Definition{
					Spec:        schedules.Spec{Cron: "* * * * *"},
					Overlap:     schedules.OverlapSkip,
					BufferLimit: schedules.DefaultBufferLimit, CancelGrace: schedules.DefaultCancelGrace,
					Catchup: schedules.CatchupOne, CatchupWindow: schedules.DefaultCatchupWindow,
					Input: json.RawMessage(`{"n":1}`),
				},
				Status: schedules.StatusActive, CreatedAt: now, UpdatedAt: now, Version: 1,
			},
			Progress: schedules.Progress{DecidedUntil: now, NextNominal: now.Add(time.Minute), NextDue: now.Add(time.Minute)},
			Revision: 1,
		},
	}
}

// Next gives the change that leaves a schedule as it was read, made at now.
func Next(s schedules.Schedule, now time.Time) schedules.Change {
	expect := s.Revision
	s.Revision++
	return schedules.Change{Expect: expect, Now: now, Schedule: s}
}

// Start adds to a change the start of a tick's run, its counters included, and gives the run.
func Start(c *schedules.Change, tick schedules.Tick) schedules.Run {
	s := &c.Schedule
	run := schedules.Run{
		ID: schedules.TickRunID(s.Ref(), tick), ScheduleID: s.ID, Incarnation: s.Incarnation, BackfillID: tick.Backfill,
		Workflow: s.Workflow, Queue: schedules.DefaultQueue, Trigger: tick.Trigger, Nominal: tick.Nominal, Input: s.Input, CreatedAt: c.Now,
		RunProgress: schedules.RunProgress{Status: schedules.RunPending, Attempt: 1, Dispatch: 1, Due: c.Now.Add(schedules.LookAfter), Revision: 1},
	}
	s.Total++
	s.Active++
	s.LastRunAt, s.LastRunID = c.Now, run.ID
	switch {
	case tick.Trigger == schedules.TriggerBackfill:
		s.ActiveBackfill++
	case tick.Trigger.Regular():
		s.AnchorRunID, s.AnchorStart, s.AnchorEnd = run.ID, c.Now, time.Time{}
	}
	c.Start = append(c.Start, run)
	c.Fates = append(c.Fates, schedules.Fate{Tick: tick, DecidedAt: c.Now, Fate: schedules.FateStarted, RunID: run.ID})
	return run
}

// FreeRun gives a pending run without a schedule; its id depends on workflow and seed.
func FreeRun(workflow, seed string, now time.Time) schedules.Run {
	return schedules.Run{
		ID: schedules.FreeRunID(workflow, seed), Workflow: workflow, Queue: schedules.DefaultQueue, Trigger: schedules.TriggerManual,
		Input: json.RawMessage(`{"seed":true}`), CreatedAt: now,
		RunProgress: schedules.RunProgress{Status: schedules.RunPending, Attempt: 1, Dispatch: 1, Due: now.Add(schedules.LookAfter), Revision: 1},
	}
}

// End gives the change that ends a run as it was read.
func End(run schedules.Run, status schedules.RunStatus, now time.Time) schedules.RunChange {
	c := Transition(run, now)
	c.Run.Status, c.Run.EndedAt = status, now
	c.Run.Lease, c.Run.Due = time.Time{}, time.Time{}
	switch status {
	case schedules.RunCompleted:
		c.Run.Result = json.RawMessage(`"done"`)
	case schedules.RunFailed:
		c.Run.Error = &schedules.RunError{Message: "it broke", Kind: schedules.ErrorFailed}
	default:
		c.Run.Error = &schedules.RunError{Message: "cancelled", Kind: schedules.ErrorCancelled}
	}
	return c
}

// Transition gives the change that leaves a run as it was read, made at now.
func Transition(run schedules.Run, now time.Time) schedules.RunChange {
	expect := run.Revision
	run.Revision++
	return schedules.RunChange{Expect: expect, Now: now, Run: run}
}

// Waiting gives waiting ticks of the trigger, numbered from seq, one a second from first.
func Waiting(trigger schedules.Trigger, seq int64, first time.Time, n int) []schedules.WaitingTick {
	ticks := make([]schedules.WaitingTick, n)
	for i := range ticks {
		ticks[i] = schedules.WaitingTick{
			Seq: seq + int64(i), Since: first, Blocker: "run_blocker",
			Tick: schedules.Tick{Trigger: trigger, Nominal: first.Add(time.Duration(i) * time.Second)},
		}
		if trigger == schedules.TriggerManual {
			ticks[i].Tick.Nonce = "n"
			ticks[i].Input = json.RawMessage(`{"manual":true}`)
		}
	}
	return ticks
}

// NewBackfill gives a running backfill of a schedule over the hour before now.
func NewBackfill(ref schedules.Ref, nonce string, now time.Time) schedules.Backfill {
	first, last := now.Add(-time.Hour), now.Add(-time.Minute)
	return schedules.Backfill{
		ID: schedules.BackfillID(ref, nonce), Schedule: ref, Spec: schedules.Spec{Cron: "* * * * *"}, Workflow: "flow",
		Input: json.RawMessage(`{"old":1}`), Start: first, End: now, Parallel: 1, Spans: []schedules.Span{{First: first, Last: last}},
		Count: 60, CreatedAt: now, Status: schedules.BackfillRunning,
	}
}
