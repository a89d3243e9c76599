package schedules

import (
	"encoding/json"
	"time"
)

// RunStatus is where a run stands.
type RunStatus string

// The statuses of a run. A run is active until it has ended; what has ended never changes.
const (
	RunPending   RunStatus = "pending"   // on its way to a worker
	RunRunning   RunStatus = "running"   // a worker has claimed its current dispatch
	RunRetrying  RunStatus = "retrying"  // an attempt failed, the next one waits for its time
	RunCompleted RunStatus = "completed" // ended with a result
	RunFailed    RunStatus = "failed"    // ended with an error
	RunCancelled RunStatus = "cancelled" // ended because somebody asked for it
)

// Ended reports whether the status is final.
func (s RunStatus) Ended() bool { return s == RunCompleted || s == RunFailed || s == RunCancelled }

// The kinds of RunError.
const (
	ErrorFailed     = "error"       // the workflow returned an error
	ErrorPanic      = "panic"       // the workflow panicked
	ErrorTimeout    = "timeout"     // the attempt took longer than its time limit
	ErrorWorkerLost = "worker_lost" // its workers died more often than max_recoveries allows
	ErrorCancelled  = "cancelled"   // it was asked to cancel
	ErrorInput      = "input"       // its input does not fit the workflow
	ErrorRecord     = "record"      // its stored record cannot be read
)

// RunError says why an attempt or a step failed.
type RunError struct {
	Message string `json:"message"`
	Kind    string `json:"kind"`
	Stack   string `json:"stack,omitempty"`
}

// Backoff says how long to wait between attempts.
type Backoff struct {
	Initial Duration `json:"initial"`          // before the second attempt; zero: 1 s
	Factor  float64  `json:"factor,omitempty"` // each wait is this times the one before; below 1: 1, a fixed wait
	Max     Duration `json:"max,omitempty"`    // no wait is longer; zero: 1 h
	Jitter  float64  `json:"jitter,omitempty"` // a wait is lengthened by up to this part of itself
}

// RunOptions are the workflow's settings that rule a run, copied into it when it is created.
type RunOptions struct {
	MaxRetries    int      `json:"max_retries"`
	Backoff       Backoff  `json:"backoff"`
	Timeout       Duration `json:"timeout,omitempty"` // per attempt; zero: none
	MaxRecoveries int      `json:"max_recoveries"`
	Queue         string   `json:"queue,omitempty"` // empty: default
}

// Numbers of section 7 of the rules.
const (
	DefaultMaxRecoveries = 3
	Lease                = 10 * time.Second // a worker holds a run this long after its last heartbeat
	LeaseDoubt           = 3 * time.Second  // and this long more, by the sweeper's own clock
	LookAfter            = 10 * time.Second // a run pending this long is looked for in the transport
)

// Run is one execution of a workflow, whole but for its steps and events.
type Run struct {
	// Fixed when it is created.
	ID          string          `json:"id"`
	ScheduleID  string          `json:"schedule,omitempty"` // empty: it belongs to no schedule
	Incarnation string          `json:"inc,omitempty"`
	BackfillID  string          `json:"backfill,omitempty"`
	Workflow    string          `json:"workflow"`
	Queue       string          `json:"queue"`
	Trigger     Trigger         `json:"trigger"`
	Nominal     time.Time       `json:"nominal,omitzero"` // zero: it belongs to no schedule
	Input       json.RawMessage `json:"input,omitempty"`
	Options     *RunOptions     `json:"options,omitempty"` // nil: the executing worker's own
	CreatedAt   time.Time       `json:"created_at"`
	Format      int             `json:"-"` // as Schedule.Format
	Damage      string          `json:"-"` // what of the stored record cannot be read, for people; such a run can only end. Empty: nothing

	RunProgress
}

// RunProgress is the part of a run that changes until it has ended.
type RunProgress struct {
	Status     RunStatus `json:"status"`
	Attempt    int       `json:"attempt"`  // 1 + failed attempts
	Dispatch   int       `json:"dispatch"` // the current way to a worker, from 1; every report is fenced by it
	Sent       bool      `json:"sent,omitempty"`
	Recoveries int       `json:"recoveries,omitempty"`
	Returns    int       `json:"returns,omitempty"` // times in a row a worker without the workflow gave it back
	Worker     string    `json:"worker,omitempty"`  // who claimed it last
	Token      string    `json:"token,omitempty"`   // the claim's own mark, so that a repeated claim is seen as one
	StartedAt  time.Time `json:"started_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Lease      time.Time `json:"lease,omitzero"` // until when the worker holds it; running only
	Due        time.Time `json:"due,omitzero"`   // when the keeper looks at it: the next send, a look for its task, the cancel deadline; zero: never

	CancelAt       time.Time `json:"cancel_at,omitzero"` // when it was first asked to cancel
	CancelDeadline time.Time `json:"cancel_deadline,omitzero"`
	CancelReason   string    `json:"cancel_reason,omitempty"`

	Result   json.RawMessage `json:"result,omitempty"`
	Error    *RunError       `json:"error,omitempty"` // of the last failed attempt, or why it ended
	Revision int64           `json:"revision"`        // rises with claim, cancel request and every RunChange
}

// Ref names the incarnation the run belongs to; zero when it belongs to none.
func (r *Run) Ref() Ref { return Ref{ID: r.ScheduleID, Incarnation: r.Incarnation} }

// Step is a recorded part of a run.
type Step struct {
	Name      string          `json:"name"`
	Key       string          `json:"key"`     // name and call number ("fetch#1"), or name and the caller's own ("fetch:item-7")
	Status    RunStatus       `json:"status"`  // RunRunning, RunRetrying, RunCompleted or RunFailed
	Attempt   int             `json:"attempt"` // 1 + failed attempts
	StartedAt time.Time       `json:"started_at"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *RunError       `json:"error,omitempty"`
}

// Event is one line of a run's log.
type Event struct {
	At      time.Time      `json:"at"`
	Kind    string         `json:"kind"` // created, claimed, step, retry, lost, cancel, ended, log, …
	Level   string         `json:"level,omitempty"`
	Message string         `json:"message"`
	Attrs   map[string]any `json:"attrs,omitempty"`
}

// RunChange is one transition of a run, to be written if its revision is still Expect.
type RunChange struct {
	Expect int64 // the revision the transition was computed on
	Now    time.Time
	Run    Run  // as it shall be, whole; its Revision is Expect+1
	Send   bool // an outbox entry for Run.Dispatch is written with it
	Events []Event
}

// RunEnd is what the end of a run does to its schedule and backfill, besides leaving the active set: fixed arithmetic,
// applied by the store in the transaction that ends the run. If the run is the schedule's AnchorRunID its AnchorEnd becomes At; the
// revision rises; and if WakeOnEnd is set the schedule is made due at once.
type RunEnd struct {
	At         time.Time
	Successful int64 // added to the tallies of the schedule and of the run's backfill
	Failed     int64
	Cancelled  int64
	Backfill   bool // ActiveBackfill falls by one, too
	Success    bool // LastSuccessID becomes this run
}

// Ends gives what the change does to the run's schedule; false when it does not end the run or the run has no schedule.
func (c *RunChange) Ends() (RunEnd, bool) {
	if !c.Run.Status.Ended() || c.Run.ScheduleID == "" {
		return RunEnd{}, false
	}
	e := RunEnd{At: c.Run.EndedAt, Backfill: c.Run.BackfillID != ""}
	switch c.Run.Status {
	case RunCompleted:
		e.Successful, e.Success = 1, true
	case RunFailed:
		e.Failed = 1
	default:
		e.Cancelled = 1
	}
	return e, true
}
