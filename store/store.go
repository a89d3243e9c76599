// Package store is the contract between what decides (package schedules) and what keeps: one interface, its errors and
// its documentation. Two implementations pass the same tests (package storetest): redisstore and sqlitestore.
//
// A store commits what it is given, atomically, or refuses; it never decides. Everything of one schedule lies in one
// shard, so that one transaction reaches the record, its due timers, its runs, its fates and its outbox. A run without
// a schedule lies in the shard its id names.
//
// Guarding: a schedules.Change is written only if the schedule's revision is still the one it was computed on; a
// schedules.RunChange only if the run's revision is. What a worker reports about a run (claim, heartbeat, step, event)
// is fenced by the run's dispatch. A call repeated because its answer was lost (the network broke after the server
// acted) must come out as if it had been made once.
//
// Timers: three sorted indexes per shard hold everything that is timed. Ticks: the next regular tick of each active schedule (Progress.NextDue).
// Timers: schedules that are due for another decision (Change.More, the end of a run with WakeOnEnd, a safety look for
// schedules in which something waits) and runs with something to do (RunProgress.Due). Leases: running runs, by RunProgress.Lease.
//
// Time: the store's clock rules (section 3 of the rules). Now reads it; between reads it is carried on by the process's monotonic clock.
// A Change or RunChange whose Now is more than MaxClockLead ahead of the store's clock is refused with ErrClock.
//
// All methods are safe for concurrent use. Errors other than the sentinels mean that the store could not be reached or
// failed, wrapped as "verb noun id: cause"; what was asked for may then have happened or not.
package store

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The sentinel errors of the contract; test with errors.Is.
var (
	// ErrNotFound: no such schedule, run or backfill.
	ErrNotFound = errors.New("not found")
	// ErrExists: the id is taken.
	ErrExists = errors.New("already exists")
	// ErrConflict: the revision has moved since it was read. Read again and decide again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrStale: the dispatch is not the run's current one, or is claimed by another, or the run has ended. The report is refused for good.
	ErrStale = errors.New("not the current dispatch")
	// ErrClock: the change claims to be made later than the store's clock allows.
	ErrClock = errors.New("ahead of the store's clock")
	// ErrReadOnly: the store can be read but not written (a read-only folder, a replica).
	ErrReadOnly = errors.New("store is read-only")
	// ErrUnreadable: a record was damaged, by another hand or a fault, and cannot be read. Trying again changes nothing.
	ErrUnreadable = errors.New("record cannot be read")
	// ErrFormat: a record was written by a newer version of the program.
	ErrFormat = errors.New("written by a newer version of the program")
)

// MaxClockLead is how far ahead of the store's clock a change's Now may be.
const MaxClockLead = 100 * time.Millisecond

// SafetyLook is how long after a commit that leaves ticks waiting the schedule is looked at again in any case.
const SafetyLook = time.Minute

// Store is the whole contract. Consumers declare the few methods they use; only the composition in cli and the tests name the union.
type Store interface {
	Clock
	Schedules
	Timers
	Runs
	Outbox
	Leases
	Registry
	Retention
	Audit
	Views

	// Describe names the store for people, without secrets: "redis localhost:6379/0" or "./workflow_data".
	Describe() string
	// Ping reports whether the store answers, and can be written.
	Ping(ctx context.Context) error
	// Inspect looks at the store itself: settings that endanger what is promised, rights, clock, latency, room, and whether records of a newer version of
	// the program are among the first so many (0: none) of each kind. Its work is bounded; it changes nothing that lasts. An error: the store does not answer.
	Inspect(ctx context.Context, records int) ([]Finding, error)
	// Close frees connections; calls after it fail. Closing twice is harmless.
	Close() error
}

// Clock is the store's clock.
type Clock interface {
	// Now reads the store's clock: whole milliseconds, UTC.
	Now(ctx context.Context) (time.Time, error)
	// Estimate is the store's clock as last seen (by any call that reads it) carried on by the process's monotonic clock, never ahead
	// of it but by drift. It does no I/O. Before any reading it is the host's clock.
	Estimate() time.Time
}

// Loaded is one answer of Load.
type Loaded struct {
	State schedules.State
	Err   error // ErrNotFound, ErrFormat, ErrUnreadable
}

// Schedules reads and commits schedules.
type Schedules interface {
	// Resolve gives the current incarnation under an id, deleted or not: ErrNotFound when the id was never used.
	Resolve(ctx context.Context, id string) (schedules.Ref, error)
	// Load reads what a decision needs of each, and the store's clock. Answers are in the order of refs. State.Options is left nil.
	Load(ctx context.Context, refs ...schedules.Ref) ([]Loaded, time.Time, error)
	// Commit writes each change atomically by itself, or refuses it: nil, ErrConflict, ErrExists (create of an id whose current incarnation is not
	// deleted), ErrClock, ErrNotFound, in the order given. A change with Expect 0 creates the incarnation and makes it the id's current one.
	// A run of Change.Start that exists already is left as it is. A CancelRequest for a run that has ended or was asked before changes nothing; else it sets
	// CancelAt (= Change.Now), CancelDeadline, CancelReason, Due (the deadline while running, else Change.Now) and raises the run's revision. Wakes listeners when the next tick or anything due changed.
	Commit(ctx context.Context, changes ...schedules.Change) []error
	// ListSchedules lists current incarnations by id, ascending, or in the order the filter names.
	ListSchedules(ctx context.Context, f ScheduleFilter, p Page) ([]schedules.Schedule, string, error)
	// ActiveRuns lists ids of active runs, at most limit.
	ActiveRuns(ctx context.Context, ref schedules.Ref, limit int) ([]string, error)
	// WaitingTicks lists waiting ticks in the order they will start, at most limit.
	WaitingTicks(ctx context.Context, ref schedules.Ref, limit int) ([]schedules.WaitingTick, error)
	// ListFates lists the history, newest nominal time first.
	ListFates(ctx context.Context, ref schedules.Ref, f FateFilter, p Page) ([]schedules.Fate, string, error)
	// Backfill reads one backfill by its id (the id carries its placement).
	Backfill(ctx context.Context, id string) (schedules.Backfill, error)
	// ListBackfills lists backfills, newest first; of one schedule id when it is given.
	ListBackfills(ctx context.Context, scheduleID string, p Page) ([]schedules.Backfill, string, error)
}

// Page asks for part of a list. A cursor is what the call before returned; "" starts. Limit ≤ 0 means 100; a call returns at most 1,000
// entries. A call with filters looks at a bounded number of records, so it may return fewer entries than Limit, even none, with a cursor to go on.
type Page struct {
	Cursor string
	Limit  int
}

// BadCursor is the error for a cursor that no call has returned. It is about the caller's input.
func BadCursor(cursor string) error {
	return &schedules.FieldError{Field: "cursor", Value: cursor, Problem: "is not one that a list has given; leave it out to start anew"}
}

// ScheduleFilter narrows ListSchedules; zero fields do not. Deleted schedules are listed only for Status deleted.
type ScheduleFilter struct {
	Workflow string
	Status   schedules.Status
	Origin   string
	Overlap  schedules.OverlapPolicy
	Search   string // part of the id, in small or capital letters
	Sort     string // the order: SortID or SortNext; empty: SortID
}

// Finder gives what reports whether an id has what is searched for in it.
func (f *ScheduleFilter) Finder() func(id string) bool {
	part := strings.ToLower(f.Search)
	return func(id string) bool { return part == "" || strings.Contains(strings.ToLower(id), part) }
}

// The orders of ListSchedules.
const (
	SortID   = "id"
	SortNext = "next" // the soonest next tick first; only schedules that have one: active ones. Those of one instant stand in any order
)

// FateFilter narrows ListFates; zero fields do not.
type FateFilter struct {
	Start, End time.Time // nominal times in [Start, End)
	Fate       schedules.FateKind
}

// DueSchedule is an entry of the ticks index.
type DueSchedule struct {
	Ref schedules.Ref
	Due time.Time
}

// Timer is an entry of the timers index: either a schedule or a run.
type Timer struct {
	Ref   schedules.Ref // zero when RunID is given
	RunID string
	Due   time.Time
}

// LeaseEntry is an entry of the leases index: a running run and until when its worker holds it.
type LeaseEntry struct {
	RunID string
	Until time.Time
}

// Timers reads the due indexes. A shard is 0 ≤ shard < Shards(). All reads are ordered by time, oldest first, at most limit entries, due at or before until.
type Timers interface {
	Shards() int
	DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]DueSchedule, error)
	DueTimers(ctx context.Context, shard int, until time.Time, limit int) ([]Timer, error)
	ExpiredLeases(ctx context.Context, shard int, until time.Time, limit int) ([]LeaseEntry, error)
	// Listen calls wake for every change made by any process that makes something due sooner than its poll would see, until ctx ends; it
	// reconnects by itself. A wake may be lost: polls are the safety net. Shard -1: all shards. wake must not block.
	Listen(ctx context.Context, wake func(Wake)) error
}

// Wake says what changed.
type Wake struct {
	Shard  int
	Ticks  bool // the ticks index
	Timers bool // the timers index or the outbox
}

// Runs keeps runs, their steps and their events.
type Runs interface {
	// CreateRun writes a new run without a schedule, with its outbox entry. If the id exists, it returns the run as it is and false.
	CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error)
	// GetRun reads a run: ErrNotFound. Of one whose record is damaged it gives what can be read, with Damage; as much as its end needs.
	GetRun(ctx context.Context, id string) (schedules.Run, error)
	// ListRuns lists runs by creation, newest first.
	ListRuns(ctx context.Context, f RunFilter, p Page) ([]schedules.Run, string, error)
	// Claim makes a worker the holder of a pending run's dispatch: status running, lease of schedules.Lease from now, StartedAt at the first, Due cleared. ErrStale
	// unless the run is pending with that dispatch and not asked to cancel; a repeated claim with the same token succeeds again. ErrNotFound.
	Claim(ctx context.Context, id string, dispatch int, c Claim) (schedules.Run, error)
	// Heartbeat renews the leases of runs held under their dispatches, and answers in order.
	Heartbeat(ctx context.Context, beats []Heartbeat) ([]HeartbeatAnswer, error)
	// CommitRun writes a transition if the run's revision is still Expect: ErrConflict, ErrNotFound, ErrClock. The end of a run takes its
	// effects (schedules.RunEnd) on the schedule in the same transaction, even on a deleted one.
	CommitRun(ctx context.Context, c schedules.RunChange) error
	// RecordStep writes a step, by key, if the dispatch is the run's current one and the run is running: ErrStale.
	RecordStep(ctx context.Context, id string, dispatch int, step schedules.Step) error
	// Steps reads the steps of a run in the order they were first recorded. ErrUnreadable, with those that can be read, when one is damaged.
	Steps(ctx context.Context, id string) ([]schedules.Step, error)
	// AppendEvents adds to a run's log, which keeps the newest 1,000. No fence: a log line may come late.
	AppendEvents(ctx context.Context, id string, events ...schedules.Event) error
	// Events reads a run's log after a position (0: from the start), oldest first, at most limit; next is the position to go on from.
	Events(ctx context.Context, id string, after int64, limit int) (events []schedules.Event, next int64, err error)
}

// RunFilter narrows ListRuns; zero fields do not.
type RunFilter struct {
	ScheduleID string // every incarnation of the id
	Workflow   string
	Status     schedules.RunStatus
	Since      time.Time // created at or after
}

// Claim says who claims.
type Claim struct {
	Worker string
	Token  string // unique per claim
}

// Heartbeat renews one run's lease.
type Heartbeat struct {
	RunID    string
	Dispatch int
}

// HeartbeatAnswer is what became of one Heartbeat.
type HeartbeatAnswer struct {
	Lost         bool // the dispatch is no longer the run's current one, or the run has ended: stop
	Cancel       bool // the run is asked to cancel
	CancelReason string
}

// Message is what travels to a worker: a run and the dispatch it is sent under. The record of the run is authoritative.
type Message struct {
	RunID    string `json:"run_id"`
	Dispatch int    `json:"dispatch"`
	Queue    string `json:"queue"`
	// Workflow is the run's, where the sender knows it: a hint that spares the worker a look. Its record is authoritative. Outboxes do not keep it.
	Workflow string `json:"workflow,omitempty"`
}

// MessageState is what a transport knows of a message.
type MessageState int

// The states of a message.
const (
	MessageGone   MessageState = iota // not known, or put aside for good: dispatch anew
	MessageQueued                     // waits for a worker
	MessageActive                     // a worker has received it, or had when it died
)

// String names the state.
func (s MessageState) String() string {
	switch s {
	case MessageQueued:
		return "queued"
	case MessageActive:
		return "active"
	default:
		return "gone"
	}
}

// Outbox keeps messages that are to be handed to the transport until they are struck off.
type Outbox interface {
	// Unsent reads messages written at or before until, oldest first.
	Unsent(ctx context.Context, shard int, until time.Time, limit int) ([]Message, error)
	// StrikeOff removes messages that were handed over; unknown ones are ignored.
	StrikeOff(ctx context.Context, msgs ...Message) error
}

// Leases are named locks with an expiry. They spare wasted work; nothing rests on them.
type Leases interface {
	// HoldLeases renews those of names the holder has and takes those that are free, for ttl; it returns the ones now held, in the order given.
	HoldLeases(ctx context.Context, holder string, ttl time.Duration, names ...string) ([]string, error)
	// ReleaseLeases gives up those the holder has.
	ReleaseLeases(ctx context.Context, holder string, names ...string) error
	// LeaseHolders gives the holder of each name, "" where it is free.
	LeaseHolders(ctx context.Context, names ...string) ([]string, error)
}

// Process is a live worker or beat, as it announces itself.
type Process struct {
	ID        string    `json:"id"` // host:pid:random
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	Seen      time.Time `json:"seen"`                // set by the store
	Worker    bool      `json:"worker"`              // it executes runs
	Beat      bool      `json:"beat"`                // it decides ticks
	Local     bool      `json:"local"`               // it executes runs of the local runtime
	Queues    []string  `json:"queues,omitempty"`    // it serves
	Workflows []string  `json:"workflows,omitempty"` // it can execute
	Running   []string  `json:"running,omitempty"`   // run ids, at most 100
	Capacity  int       `json:"capacity,omitempty"`  // runs at a time
	Shards    []int     `json:"shards,omitempty"`    // whose ticks it decides
	Version   string    `json:"version,omitempty"`
}

// Workflow is what is known of a workflow across processes.
type Workflow struct {
	Name    string               `json:"name"`
	Doc     string               `json:"doc,omitempty"`
	Options schedules.RunOptions `json:"options"`
	Seen    time.Time            `json:"seen"` // last announced; set by the store
}

// Registry knows live processes and announced workflows.
type Registry interface {
	// AnnounceProcess makes the process known as live for ttl.
	AnnounceProcess(ctx context.Context, p Process, ttl time.Duration) error
	// WithdrawProcess forgets it at once.
	WithdrawProcess(ctx context.Context, id string) error
	// Processes lists the live ones, by id.
	Processes(ctx context.Context) ([]Process, error)
	// PublishWorkflows makes workflows known, or their options newer.
	PublishWorkflows(ctx context.Context, ws ...Workflow) error
	// Workflows lists all published, by name.
	Workflows(ctx context.Context) ([]Workflow, error)
}

// Limits of section 7 of the rules: what retention keeps.
type Limits struct {
	RunAge     time.Duration // runs older than this go …
	RunCount   int           // … and runs beyond the newest so many of a schedule …
	RunKeep    int           // … but the last so many and the last success stay
	FateAge    time.Duration
	FateCount  int
	FreeRunAge time.Duration // runs without a schedule
}

// DefaultLimits are those of the rules.
func DefaultLimits() Limits {
	return Limits{RunAge: 7 * 24 * time.Hour, RunCount: 1000, RunKeep: 20, FateAge: 30 * 24 * time.Hour, FateCount: 10_000, FreeRunAge: 7 * 24 * time.Hour}
}

// Retention removes what is older than it needs to be.
type Retention interface {
	// Trim removes a bounded batch of a shard's old runs, fates, ended backfills and deleted schedules with nothing left, never active runs or counters. It
	// goes round the shard's schedules in turn; more is true while there is known to be more to remove now. Trimming fates sets Tally.HistoryFrom without
	// raising the revision, and no later commit takes it back. RunKeep and the last success do not hold for a deleted schedule; its record goes last, once it
	// was deleted (UpdatedAt) longer ago than RunAge.
	Trim(ctx context.Context, shard int, l Limits) (more bool, err error)
}

// Index names an index of records: what a due time, a lease or a place among the active is found by.
type Index string

// The indexes that an audit compares with the records they are made from.
const (
	IndexTicks  Index = "ticks"  // a schedule's next tick: Schedule.NextRunTime
	IndexTimers Index = "timers" // a run's Due; of a schedule in which something waits, a time no later than SafetyLook from now
	IndexLeases Index = "leases" // the lease of a running run
	IndexActive Index = "active" // the active runs of a schedule
	IndexRuns   Index = "runs"   // the active runs of all
)

// Mend is an index entry that did not fit its record and was written anew from it.
type Mend struct {
	Ref   schedules.Ref // of a schedule; zero when RunID is given
	RunID string
	Index Index
	// Was and Is are the entry's time before and after; zero: no entry. In the indexes of active runs, which are not ordered by time, anything but zero says
	// that there is one.
	Was, Is time.Time
}

// Audited is what one step of an audit came to.
type Audited struct {
	Looked int    // records compared
	Mended []Mend // what did not fit
	Round  bool   // the shard's round has ended; the next call begins anew
}

// Audit compares records with the index entries made from them, and writes those anew that differ, each record's in one transaction with the comparison. Commits
// keep the two together: what differs was damaged from outside (by hand, a partial restore) or by a bug. Records and revisions stay as they are, but that a running run
// whose lease is gone gets one that has run out. Records of a newer format are left alone.
type Audit interface {
	// Audit goes on with a shard's round through its schedules and active runs by at most limit records.
	Audit(ctx context.Context, shard, limit int) (Audited, error)
	// Reindex does the same for those named by Ref or RunID; of one that has no record, entries are removed. Due is not used.
	Reindex(ctx context.Context, of ...Timer) ([]Mend, error)
}

// All walks every page of a list call.
func All[T any](list func(Page) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := Page{Limit: 500}
		for {
			items, next, err := list(p)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, it := range items {
				if !yield(it, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			p.Cursor = next
		}
	}
}
