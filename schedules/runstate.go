package schedules

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// NewRun makes a run without a schedule, on its way to a worker. Opts may be nil: the workers' own are used.
func NewRun(id, workflow, queue string, input json.RawMessage, opts *RunOptions, now time.Time) Run {
	return newRun(Run{ID: id, Workflow: workflow, Queue: queue, Trigger: TriggerManual, Input: input, Options: opts}, now)
}

func newRun(r Run, now time.Time) Run {
	if r.Queue == "" && r.Options != nil {
		r.Queue = r.Options.Queue
	}
	if r.Queue == "" {
		r.Queue = DefaultQueue
	}
	r.CreatedAt = now
	r.RunProgress = RunProgress{Status: RunPending, Attempt: 1, Dispatch: 1, Sent: true, Due: now.Add(LookAfter)}
	return r
}

// OutcomeKind says how an attempt came to its end.
type OutcomeKind int

// The ways an attempt ends.
const (
	OutcomeCompleted  OutcomeKind = iota // it returned a result
	OutcomeFailed                        // it returned an error, panicked or took too long
	OutcomeHandedBack                    // its worker stops or lost touch with the store: it goes on elsewhere, no failed attempt
)

// Outcome is how an attempt came to its end.
type Outcome struct {
	Kind       OutcomeKind
	Unbegun    bool            // OutcomeHandedBack: no code was called, in this attempt or before
	Result     json.RawMessage // OutcomeCompleted
	Error      *RunError       // OutcomeFailed
	NoRetry    bool            // the error says: do not retry
	RetryAfter time.Duration   // the error says: retry after; zero: the backoff says
}

// FirstClaim reports whether a run as its claim was answered has never been claimed before: its lease counts from its start.
func FirstClaim(r Run) bool { return r.StartedAt.Equal(r.Lease.Add(-Lease)) }

// EndAttempt decides what the end of the current attempt makes of a running run. opts are the executing worker's, used where the
// run carries none. jitter is a random number in [0, 1).
func EndAttempt(r Run, o Outcome, opts RunOptions, now time.Time, jitter float64) RunChange {
	if r.Damage != "" {
		return FailDamaged(r, now)
	}
	if r.Options != nil {
		opts = *r.Options
	}
	if o.Unbegun {
		r.StartedAt = time.Time{}
	}
	switch {
	case o.Kind == OutcomeCompleted:
		r.Result, r.Error = o.Result, nil
		return endRun(r, RunCompleted, now, "completed")
	case !r.CancelAt.IsZero():
		return cancelRun(r, now)
	case o.Kind == OutcomeHandedBack:
		return sendRun(r, now, "handed back")
	case !o.NoRetry && r.Attempt <= opts.MaxRetries:
		wait := o.RetryAfter
		if wait <= 0 {
			wait = opts.Backoff.Wait(r.Attempt, jitter)
		}
		c := toWorker(r, now)
		c.Run.Status, c.Run.Error = RunRetrying, o.Error
		c.Run.Attempt++
		c.Run.Sent, c.Run.Due = false, now.Add(wait).Truncate(time.Millisecond)
		c.Events = []Event{{At: now, Kind: "retry", Level: "warn",
			Message: fmt.Sprintf("attempt %d failed: %s; next attempt in %s", r.Attempt, errText(o.Error), Duration(wait.Round(time.Millisecond)))}}
		return c
	default:
		r.Error = o.Error
		return endRun(r, RunFailed, now, "failed: "+errText(o.Error))
	}
}

// errText is what a line of the run's log says of an error.
func errText(e *RunError) string {
	if e == nil {
		return "no error given"
	}
	return Cut(e.Message, DefaultLimits().LogLine)
}

// Wait is the pause after the failed attempt with this number (from 1).
func (b Backoff) Wait(attempt int, jitter float64) time.Duration {
	wait, limit, factor := float64(b.Initial), float64(b.Max), b.Factor
	if wait <= 0 {
		wait = float64(time.Second)
	}
	if limit <= 0 {
		limit = float64(time.Hour)
	}
	if factor > 1 {
		wait *= math.Pow(factor, float64(attempt-1))
	}
	return time.Duration(min(wait*(1+b.Jitter*jitter), limit)).Truncate(time.Millisecond)
}

// LoseRun decides what becomes of a running run whose worker let its lease run out for certain.
func LoseRun(r Run, now time.Time) RunChange {
	if r.Damage != "" {
		return FailDamaged(r, now)
	}
	limit := DefaultMaxRecoveries
	if r.Options != nil {
		limit = r.Options.MaxRecoveries
	}
	if !r.CancelAt.IsZero() {
		return cancelRun(r, now)
	}
	if r.Recoveries >= limit {
		r.Error = &RunError{Kind: ErrorWorkerLost, Message: fmt.Sprintf("worker lost: %s stopped renewing its lease; the run was recovered %d times before", r.Worker, r.Recoveries)}
		return endRun(r, RunFailed, now, r.Error.Message)
	}
	r.Recoveries++
	return sendRun(r, now, fmt.Sprintf("worker %s lost; recovery %d", r.Worker, r.Recoveries))
}

// ReturnRun decides what becomes of a pending run that reached a worker which lacks its workflow: it comes back after 1 s, doubling to 30 s; after 1 s again and
// again while elsewhere says that another live worker has the workflow, since a queue gives it to any of its workers.
func ReturnRun(r Run, worker string, elsewhere bool, now time.Time) RunChange {
	if r.Damage != "" {
		return FailDamaged(r, now)
	}
	if !r.CancelAt.IsZero() {
		return cancelRun(r, now)
	}
	if elsewhere {
		r.Returns = 0
	}
	wait := time.Second << min(r.Returns, 5)
	c := toWorker(r, now)
	c.Run.Returns++
	c.Run.Sent, c.Run.Due = false, now.Add(min(wait, 30*time.Second))
	c.Events = []Event{{At: now, Kind: "returned", Level: "warn", Message: fmt.Sprintf("worker %s does not have workflow %q", worker, r.Workflow)}}
	return c
}

// RequestCancel decides what a cancel request makes of a run: a run no worker holds ends at once, a held one gets a deadline. Whether its lease has run out
// is not to be told from one look, since the store's clock may have stepped: that is LoseRun's to end. It is false when there is nothing to change: the run has
// ended, or was asked before (the first request's deadline stands).
func RequestCancel(r Run, reason string, grace Duration, now time.Time) (RunChange, bool) {
	if r.Status.Ended() || !r.CancelAt.IsZero() {
		return RunChange{}, false
	}
	if r.Damage != "" {
		return FailDamaged(r, now), true
	}
	if grace <= 0 {
		grace = DefaultCancelGrace
	}
	r.CancelAt, r.CancelReason, r.CancelDeadline = now, reason, now.Add(time.Duration(grace))
	if r.Status != RunRunning {
		return cancelRun(r, now), true
	}
	r.Due = r.CancelDeadline
	c := change(r, now)
	c.Events = []Event{{At: now, Kind: "cancel", Message: "asked to cancel" + because(reason)}}
	return c, true
}

// RunDue decides what a run needs whose Due has come; gone says that the transport does not have the message of its current dispatch. It is false
// when nothing is to be changed.
func RunDue(r Run, gone bool, now time.Time) (RunChange, bool) {
	switch {
	case r.Damage != "" && !r.Status.Ended():
		return FailDamaged(r, now), true
	case r.Status.Ended() || r.Due.IsZero() || r.Due.After(now):
		return RunChange{}, false
	case !r.CancelAt.IsZero() && r.Status == RunRunning && !now.Before(r.CancelDeadline) && r.LeaseOut(now):
		// An outage or a step of the store's clock may have used up the grace before the worker could hear of the request: it renews its lease and hears of it, or
		// the lease is found to be lost.
		r.Due = now.Add(graceLook)
		return change(r, now), true
	case !r.CancelAt.IsZero() && (r.Status != RunRunning || !now.Before(r.CancelDeadline)):
		return cancelRun(r, now), true
	case r.Status == RunRunning:
		r.Due = r.CancelDeadline
		return change(r, now), true
	case r.Status == RunRetrying || !r.Sent:
		r.Status, r.Sent, r.Due = RunPending, true, now.Add(LookAfter)
		c := change(r, now)
		c.Send = true
		return c, true
	case gone:
		return sendRun(r, now, "its message was gone; sent anew"), true
	default: // on its way: look again, the less often the longer it waits
		r.Due = now.Add(min(max(LookAfter, now.Sub(r.CreatedAt)), 5*time.Minute)).Truncate(time.Millisecond)
		return change(r, now), true
	}
}

// graceLook is how long a worker whose lease has run out at the end of a cancel grace has until the next look.
const graceLook = time.Second

// LeaseOut reports whether a running run's lease has run out by the store's clock. It is lost only if it is not renewed LeaseDoubt later, by the clock of who
// looks: LoseRun.
func (r *Run) LeaseOut(now time.Time) bool { return r.Status == RunRunning && now.After(r.Lease) }

// NeedsLook reports whether RunDue wants to know if the transport still has the run's message.
func (r *Run) NeedsLook() bool {
	return r.Status == RunPending && r.Sent && r.CancelAt.IsZero()
}

func change(r Run, now time.Time) RunChange {
	c := RunChange{Expect: r.Revision, Now: now, Run: r}
	c.Run.Revision++
	return c
}

// toWorker gives the run its next dispatch: whatever the old one still reports is refused.
func toWorker(r Run, now time.Time) RunChange {
	if r.Status == RunRunning { // a worker had the workflow
		r.Returns = 0
	}
	r.Status, r.Token, r.Lease = RunPending, "", time.Time{}
	r.Dispatch++
	return change(r, now)
}

func sendRun(r Run, now time.Time, why string) RunChange {
	c := toWorker(r, now)
	c.Run.Sent, c.Run.Due, c.Send = true, now.Add(LookAfter), true
	c.Events = []Event{{At: now, Kind: "sent", Level: "warn", Message: why}}
	return c
}

// FailDamaged ends a run whose stored record cannot be read: nobody knows what it was to do.
func FailDamaged(r Run, now time.Time) RunChange {
	r.Error = &RunError{Kind: ErrorRecord, Message: "the run's record cannot be read: " + Cut(r.Damage, DefaultLimits().LogLine)}
	return endRun(r, RunFailed, now, "failed: "+r.Error.Message)
}

func cancelRun(r Run, now time.Time) RunChange {
	r.Error = &RunError{Kind: ErrorCancelled, Message: "cancelled" + because(r.CancelReason)}
	return endRun(r, RunCancelled, now, r.Error.Message)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func endRun(r Run, status RunStatus, now time.Time, message string) RunChange {
	r.Status, r.EndedAt, r.Lease, r.Due, r.Token = status, now, time.Time{}, time.Time{}, ""
	c := change(r, now)
	level := "info"
	if status != RunCompleted {
		level = "error"
	}
	c.Events = []Event{{At: now, Kind: "ended", Level: level, Message: message}}
	return c
}
