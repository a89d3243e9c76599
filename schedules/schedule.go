package schedules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Status is where a schedule stands.
type Status string

// The statuses of a schedule.
const (
	StatusActive   Status = "active"   // its ticks come due
	StatusPaused   Status = "paused"   // no regular tick comes due until it is resumed
	StatusFinished Status = "finished" // no regular tick is left; an update may revive it
	StatusDeleted  Status = "deleted"  // kept as a record; listed only when asked for
)

// OverlapPolicy says what becomes of a tick that comes due while a run of the same schedule is active.
type OverlapPolicy string

// The overlap policies. The empty policy means OverlapSkip.
const (
	OverlapSkip        OverlapPolicy = "skip"         // nothing starts
	OverlapBufferOne   OverlapPolicy = "buffer_one"   // one tick waits for the end of the active run
	OverlapBufferAll   OverlapPolicy = "buffer_all"   // every tick waits its turn, up to the buffer limit
	OverlapCancelOther OverlapPolicy = "cancel_other" // active runs are asked to cancel, the newest tick follows them
	OverlapAllowAll    OverlapPolicy = "allow_all"    // every tick starts at once
)

// Catchup says what becomes of ticks that are more than LateAfter late but within the catchup window.
type Catchup string

// The catchup settings. The empty setting means CatchupOne.
const (
	CatchupOne  Catchup = "one"  // one run, for the latest of them
	CatchupAll  Catchup = "all"  // each in order
	CatchupNone Catchup = "none" // all are missed
)

// Defaults and limits of section 4 to 6 of the rules.
const (
	LateAfter            = 10 * time.Second // a tick up to this late simply starts
	BatchLimit           = 100              // ticks decided, waiting ticks dropped or runs cancelled in one change
	DefaultBufferLimit   = 1000
	DefaultCancelGrace   = Duration(30 * time.Second)
	DefaultCatchupWindow = Duration(24 * time.Hour)
	DefaultQueue         = "default"
	DefaultMaxRuns       = 1000 // runs one backfill may make unless the caller raises it
	MaxWaitingBackfills  = 100  // backfills of one schedule that may be unfinished at a time
	SkipsBeforeWarning   = 3    // ticks skipped behind one run before a warning names it
)

// Ref names one incarnation of a schedule. Each creation under an id is a new incarnation.
type Ref struct {
	ID          string `json:"id"`
	Incarnation string `json:"inc"`
}

// String gives "id@incarnation"; neither part contains an at sign.
func (r Ref) String() string { return r.ID + "@" + r.Incarnation }

// Definition is what people (or a declaration in code) set about a schedule. Durations and limits left zero take
// their defaults when a schedule is created.
type Definition struct {
	Spec          Spec            `json:"spec"`
	Overlap       OverlapPolicy   `json:"overlap"`
	BufferLimit   int             `json:"buffer_limit"`
	CancelGrace   Duration        `json:"cancel_grace"`
	Catchup       Catchup         `json:"catchup"`
	CatchupWindow Duration        `json:"catchup_window"`
	Queue         string          `json:"queue,omitempty"` // empty: the workflow's own queue
	Input         json.RawMessage `json:"input,omitempty"` // empty: null
}

// Record is the part of a schedule that changes only by people's acts and by activation.
type Record struct {
	ID          string `json:"id"`
	Incarnation string `json:"inc"`
	Workflow    string `json:"workflow"`
	Definition
	Origin    string      `json:"origin,omitempty"`   // module path of the code that declared it, or file:NAME of the file that keeps it; empty: made by hand
	Declared  *Definition `json:"declared,omitempty"` // the declaration last activated
	Note      string      `json:"note,omitempty"`
	Status    Status      `json:"status"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
	Version   int64       `json:"version"` // counts people's changes, from 1
}

// Ref names this incarnation.
func (r *Record) Ref() Ref { return Ref{ID: r.ID, Incarnation: r.Incarnation} }

// Progress is the part of a schedule that changes by decisions.
type Progress struct {
	DecidedUntil time.Time `json:"decided,omitzero"`      // every nominal time up to here is decided, and never again
	NextNominal  time.Time `json:"next,omitzero"`         // the next regular tick; zero: none
	NextDue      time.Time `json:"due,omitzero"`          // NextNominal plus jitter
	AnchorStart  time.Time `json:"anchor_start,omitzero"` // when the most recent regular or catch-up run became active
	LastRunAt    time.Time `json:"last_run_at,omitzero"`  // when the most recent run of any kind became active
	LastRunID    string    `json:"last_run_id,omitempty"`
	NextSeq      int64     `json:"seq,omitempty"`         // the sequence number the next waiting tick gets
	DropBelow    int64     `json:"drop_below,omitempty"`  // waiting ticks with a lower sequence number are to be dropped
	DropReason   string    `json:"drop_reason,omitempty"` // why
	BlockedBy    string    `json:"blocked_by,omitempty"`  // the run behind which ticks were skipped last
	SkipsBehind  int       `json:"skips_behind,omitempty"`
	Backfills    []string  `json:"backfills,omitempty"`     // ids of unfinished backfills, the first is in progress
	CancelActive bool      `json:"cancel_active,omitempty"` // active runs are being asked to cancel, in batches
	CatchUpStart time.Time `json:"catch_start,omitzero"`    // the anchor (AnchorStart, AnchorEnd as they were) that ticks
	CatchUpEnd   time.Time `json:"catch_end,omitzero"`      // of an unfinished batch are counted from; both zero: none
}

// Tally is the part of a schedule that the end of a run changes too, without a decision: by the steps written at
// RunEnd and nothing else.
type Tally struct {
	Total      int64 `json:"total"` // runs started; = Successful + Failed + Cancelled + Active, always
	Successful int64 `json:"successful"`
	Failed     int64 `json:"failed"`
	Cancelled  int64 `json:"cancelled"`
	Skipped    int64 `json:"skipped"` // regular ticks skipped or dropped
	Missed     int64 `json:"missed"`  // regular ticks missed

	Active         int64 `json:"active"`          // runs active now, of every trigger
	ActiveBackfill int64 `json:"active_backfill"` // those of them that belong to a backfill
	WaitingRegular int64 `json:"waiting_regular"` // waiting regular and catch-up ticks
	WaitingManual  int64 `json:"waiting_manual"`  // waiting manual ticks

	AnchorRunID   string    `json:"anchor_run,omitempty"`   // the most recently started regular or catch-up run
	AnchorEnd     time.Time `json:"anchor_end,omitzero"`    // when it ended; zero while it is active
	LastSuccessID string    `json:"last_success,omitempty"` // the latest run that completed
	WakeOnEnd     bool      `json:"wake_on_end,omitempty"`  // the end of a run makes the schedule due at once
	HeadWanted    int       `json:"head_wanted,omitempty"`  // how many waiting ticks and active runs the next decision needs to see
	HistoryFrom   time.Time `json:"history_from,omitzero"`  // fates before this nominal time were trimmed; zero: none were
}

// Waiting counts the ticks that wait: buffered_runs.
func (t *Tally) Waiting() int64 { return t.WaitingRegular + t.WaitingManual }

// Schedule is one incarnation of a schedule, whole.
type Schedule struct {
	Record
	Progress
	Tally
	Revision int64 `json:"revision"` // rises with every commit and with every end of a run
	Format   int   `json:"-"`        // the store's own: of the stored record, where it is above the one of new records; carried, never looked at
}

// NextRunTime is the instant the next regular tick is due; zero unless the schedule is active and has one.
func (s *Schedule) NextRunTime() time.Time {
	if s.Status != StatusActive {
		return time.Time{}
	}
	return s.NextDue
}

// WaitingTick is a tick that waits for a run to end.
type WaitingTick struct {
	Seq     int64           `json:"seq"`
	Tick    Tick            `json:"tick"`
	Input   json.RawMessage `json:"input,omitempty"`
	Since   time.Time       `json:"since"`
	Blocker string          `json:"blocker,omitempty"`
}

// ActiveRun is what a decision sees of an active run.
type ActiveRun struct {
	ID              string
	CancelRequested bool
	Backfill        bool // it belongs to a backfill
}

// State is all a decision sees of a schedule. Heads are in order and hold at most HeadWanted (at least one) entries;
// Active holds at most HeadWanted (at least one) active runs; those that are neither asked to cancel nor of a backfill come first.
type State struct {
	Schedule Schedule
	Regular  []WaitingTick
	Manual   []WaitingTick
	Active   []ActiveRun
	Backfill *Backfill   // the first of Schedule.Backfills
	Options  *RunOptions // of the workflow, as announced; nil: not known, workers apply their own
	Timing   *Timing     // Schedule.Spec compiled, if the caller keeps it; nil: it is compiled anew
}

// BackfillStatus is where a backfill stands.
type BackfillStatus string

// The statuses of a backfill.
const (
	BackfillRunning    BackfillStatus = "running"
	BackfillCancelling BackfillStatus = "cancelling" // what has not started is being dropped
	BackfillCancelled  BackfillStatus = "cancelled"
	BackfillCompleted  BackfillStatus = "completed"
)

// Span is a stretch of consecutive nominal times, both ends included.
type Span struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// Backfill is one asked-for range of past ticks with its own frozen spec and input.
type Backfill struct {
	ID        string          `json:"id"` // "bf_" + hex
	Schedule  Ref             `json:"schedule"`
	Spec      Spec            `json:"spec"`
	Base      time.Time       `json:"base,omitzero"` // the grid point an interval is counted from
	Workflow  string          `json:"workflow"`
	Queue     string          `json:"queue,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	Start     time.Time       `json:"start"`
	End       time.Time       `json:"end"`
	Parallel  int             `json:"parallel"`
	Spans     []Span          `json:"spans"` // the nominal times it covers
	Count     int64           `json:"count"`
	CreatedAt time.Time       `json:"created_at"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Status    BackfillStatus  `json:"status"`
	Cursor    time.Time       `json:"cursor,omitzero"` // the last nominal time started or dropped
	Started   int64           `json:"started"`
	Dropped   int64           `json:"dropped"`
	Format    int             `json:"-"` // as Schedule.Format

	BackfillTally
}

// BackfillTally is the part of a backfill that the end of one of its runs changes.
type BackfillTally struct {
	Active     int64 `json:"active"`
	Successful int64 `json:"successful"`
	Failed     int64 `json:"failed"`
	Cancelled  int64 `json:"cancelled"`
}

// CancelRequest asks an active run of the schedule to cancel.
type CancelRequest struct {
	RunID    string
	Reason   string
	Deadline time.Time // when it is declared cancelled if it has not ended
}

// Change is one decision, to be written all or nothing if the schedule's revision is still Expect.
type Change struct {
	Expect   int64     // the revision the decision was made on; 0: the schedule is created, its id must be free
	Now      time.Time // the time the decision was made for
	Schedule Schedule  // as it shall be, whole; its Revision is Expect+1

	Fates       []Fate // rows to add, or to put in the place of the row with the same key
	Start       []Run  // runs to create, active from now on, each with an outbox entry
	Cancel      []CancelRequest
	PushRegular []WaitingTick // behind the waiting regular ticks
	PushManual  []WaitingTick // behind the waiting manual ticks
	PopRegular  int           // off the head of the waiting regular ticks, before any push
	PopManual   int           // off the head of the waiting manual ticks, before any push
	Backfills   []Backfill    // to write, new or changed

	More     bool      // there is more to decide now: the schedule stays due
	Warnings []Warning // for the log; not stored
}

// Warning is something a person should hear of.
type Warning struct {
	Kind     WarningKind
	Schedule Ref
	RunID    string    // for WarnBlocked
	Count    int       // ticks skipped behind the run, or ticks missed
	From, To time.Time // nominal times, for WarnWindow; To is exclusive
}

// WarningKind says what a Warning is about.
type WarningKind string

// The kinds of warning.
const (
	WarnBlocked WarningKind = "blocked" // three or more ticks were skipped behind one run
	WarnWindow  WarningKind = "window"  // ticks beyond the catchup window were missed
)

// hash20 gives 20 hex digits that depend on all parts; no part contains a NUL.
func hash20(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// Placement is the byte that decides where everything of one schedule, or of one run without a schedule, is kept. A run
// of a schedule carries its schedule's placement, so that one transaction can reach both.
func (r Ref) Placement() byte {
	sum := sha256.Sum256([]byte(r.ID))
	return sum[0]
}

// IDPlacement reads the placement out of the id of a run or of a backfill: the two hex digits after "run_" or "bf_". It is false for anything
// that is neither.
func IDPlacement(id string) (byte, bool) {
	hexPart, ok := strings.CutPrefix(id, "run_")
	if !ok {
		if hexPart, ok = strings.CutPrefix(id, "bf_"); !ok {
			return 0, false
		}
	}
	raw, err := hex.DecodeString(hexPart)
	if err != nil || len(raw) != 11 || strings.ToLower(hexPart) != hexPart {
		return 0, false
	}
	return raw[0], true
}

// BackfillID is the id of a backfill; nonce is random.
func BackfillID(ref Ref, nonce string) string {
	return "bf_" + hex.EncodeToString([]byte{ref.Placement()}) + hash20(ref.ID, ref.Incarnation, "backfill", nonce)
}

// TickRunID is the id of the one run a tick may have: it depends on the incarnation and the tick only.
func TickRunID(ref Ref, tick Tick) string {
	return "run_" + hex.EncodeToString([]byte{ref.Placement()}) + hash20(ref.ID, ref.Incarnation, tick.Key())
}

// FreeRunID is the id of a run without a schedule; seed is random, or, for an idempotent start, the workflow and the caller's key.
func FreeRunID(seed ...string) string {
	id := hash20(seed...)
	return "run_" + hash20("placement", id)[:2] + id
}
