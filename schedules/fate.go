package schedules

import (
	"strconv"
	"time"
)

// Trigger says what made a run, or what kind of tick a fate is about.
type Trigger string

// The triggers.
const (
	TriggerSchedule Trigger = "schedule" // a regular tick
	TriggerCatchup  Trigger = "catchup"  // a regular tick that starts late, after an outage
	TriggerManual   Trigger = "manual"   // somebody asked for it
	TriggerBackfill Trigger = "backfill" // a past nominal time somebody asked for
)

// Regular reports whether the tick came from the spec by itself: late or not.
func (t Trigger) Regular() bool { return t == TriggerSchedule || t == TriggerCatchup }

// Tick is one nominal time of one schedule.
type Tick struct {
	Trigger  Trigger   `json:"trigger"`
	Nominal  time.Time `json:"nominal"`            // whole milliseconds, UTC
	Nonce    string    `json:"nonce,omitempty"`    // tells manual ticks of one millisecond apart
	Backfill string    `json:"backfill,omitempty"` // the backfill's id
}

// Key identifies the tick within its incarnation. A regular tick is identified by its nominal time alone, late or not.
func (t Tick) Key() string {
	ms := strconv.FormatInt(t.Nominal.UnixMilli(), 10)
	switch t.Trigger {
	case TriggerManual:
		return "m" + ms + "-" + t.Nonce
	case TriggerBackfill:
		return "b" + ms + "-" + t.Backfill
	default:
		return "r" + ms
	}
}

// FateKind is what became of a tick.
type FateKind string

// The fates. A buffered tick later is started or dropped.
const (
	FateStarted  FateKind = "started"
	FateBuffered FateKind = "buffered"
	FateDropped  FateKind = "dropped"
	FateSkipped  FateKind = "skipped"
	FateMissed   FateKind = "missed"
)

// The reasons a fate may carry. A tick that started on time carries none.
const (
	ReasonOverlap    = "overlap"     // a run was in the way
	ReasonBufferFull = "buffer_full" // no more ticks may wait
	ReasonSuperseded = "superseded"  // a newer tick took its place (cancel_other)
	ReasonCatchup    = "catchup"     // nothing polled when it was due, and the catchup setting leaves it out
	ReasonWindow     = "window"      // nothing polled until it was older than the catchup window
	ReasonPaused     = "paused"      // it was due but undecided when the schedule was paused
	ReasonDeleted    = "deleted"     // it was due or waiting when the schedule was deleted
	ReasonCancelled  = "cancelled"   // its backfill was cancelled
)

// Fate is one row of a schedule's history: what became of one tick, and why.
type Fate struct {
	Tick      Tick      `json:"tick"`
	DecidedAt time.Time `json:"at"`
	Fate      FateKind  `json:"fate"`
	Reason    string    `json:"reason,omitempty"`
	Waited    Duration  `json:"waited,omitempty"`     // how long it waited before it started or was dropped
	BlockedBy string    `json:"blocked_by,omitempty"` // the run that was in the way
	RunID     string    `json:"run_id,omitempty"`     // its run, for started; the run it will become, for buffered
}
