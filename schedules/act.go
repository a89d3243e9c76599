package schedules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The sentinel errors of acts; test with errors.Is.
var (
	// ErrVersion: the record is not of the expected version.
	ErrVersion = errors.New("not of the expected version")
	// ErrDeclared: the schedule is declared in code, which would bring it back.
	ErrDeclared = errors.New("declared in code: pause it, or take it out of the code")
	// ErrDeleted: the schedule is deleted.
	ErrDeleted = errors.New("deleted")
)

// CreateRequest asks for a new schedule.
type CreateRequest struct {
	ID          string
	Incarnation string // random; two creations under one id differ in it
	Workflow    string
	Definition
	Origin   string      // set for a declared schedule
	Declared *Definition // set for a declared schedule
	Note     string
}

// Create makes a new schedule. Its first tick is the first at or after now; for an interval without start_at it is now itself.
func Create(req CreateRequest, now time.Time) (Change, error) {
	if err := ValidateID(req.ID); err != nil {
		return Change{}, err
	}
	if err := ValidateWorkflow(req.Workflow); err != nil {
		return Change{}, err
	}
	def, t, err := normalize(req.Definition)
	if err != nil {
		return Change{}, err
	}
	declared := req.Declared
	if declared != nil {
		norm, _, err := normalize(*declared)
		if err != nil {
			return Change{}, err
		}
		declared = &norm
	}
	now = now.UTC().Truncate(time.Millisecond)
	s := Schedule{Record: Record{
		ID: req.ID, Incarnation: req.Incarnation, Workflow: req.Workflow, Definition: def, Origin: req.Origin, Declared: declared, Note: req.Note,
		Status: StatusActive, CreatedAt: now, UpdatedAt: now, Version: 1,
	}}
	s.DecidedUntil = now.Add(-time.Millisecond)
	d, err := newDraft(State{Schedule: s, Timing: t}, now)
	if err != nil {
		return Change{}, err
	}
	first := d.after(time.Time{})
	if end := def.Spec.EndAt; !end.IsZero() && !end.After(now) {
		return Change{}, &FieldError{Field: "end_at", Value: stamp(end), Problem: "is not later than now (" + stamp(now) + "), so no tick is to come"}
	}
	if first.IsZero() {
		return Change{}, &FieldError{Field: specField(&def.Spec), Value: specValue(&def.Spec), Problem: "has no tick at or after now (" + stamp(now) + "); give a spec with ticks to come"}
	}
	d.setNext(first)
	return d.done(), nil
}

// TriggerRequest asks for a run now.
type TriggerRequest struct {
	Nonce   string          // random, or KeyNonce of an idempotency key; tells triggers of one millisecond apart
	Overlap OverlapPolicy   // empty: the schedule's
	Input   json.RawMessage // nil: the schedule's
}

// TriggerResult says what became of a trigger.
type TriggerResult struct {
	Outcome   FateKind // FateStarted, FateBuffered or FateSkipped
	RunID     string   // the run it started, or will become; empty when skipped
	Reason    string   // when buffered or skipped
	BlockedBy string   // the run that was in the way
}

// KeyNonce is the nonce of a trigger with an idempotency key: its tick can be found by it.
func KeyNonce(key string) string { return "key-" + hash20("trigger", key) }

// TriggerAgain says what became at first of a trigger whose tick has this fate now: a tick that waited counts as buffered, whether it was started or dropped since.
func TriggerAgain(ref Ref, f Fate) TriggerResult {
	r := TriggerResult{Outcome: f.Fate, RunID: f.RunID, Reason: f.Reason, BlockedBy: f.BlockedBy}
	if f.Fate == FateDropped || f.Fate == FateStarted && f.Reason != "" {
		r.Outcome, r.Reason, r.RunID = FateBuffered, ReasonOverlap, TickRunID(ref, f.Tick)
	}
	return r
}

// TriggerNow decides a manual tick. The regular timing is untouched; it works on paused and finished schedules.
func TriggerNow(st State, now time.Time, req TriggerRequest) (Change, TriggerResult, error) {
	policy, input := req.Overlap, req.Input
	if policy == "" {
		policy = st.Schedule.Overlap
	}
	if err := validateOverlap(policy); err != nil {
		return Change{}, TriggerResult{}, err
	}
	if input == nil {
		input = st.Schedule.Input
	} else if !json.Valid(input) {
		return Change{}, TriggerResult{}, badInput(input)
	}
	if st.Schedule.Status == StatusDeleted {
		return Change{}, TriggerResult{}, ErrDeleted
	}
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, TriggerResult{}, err
	}
	if policy != OverlapCancelOther {
		d.release()
	}
	d.overlap(Tick{Trigger: TriggerManual, Nominal: d.now, Nonce: req.Nonce}, policy, input)
	f := d.c.Fates[len(d.c.Fates)-1]
	return d.done(), TriggerResult{Outcome: f.Fate, RunID: f.RunID, Reason: f.Reason, BlockedBy: f.BlockedBy}, nil
}

// people marks the change as one of a person's.
func (d *draft) people(note *string) {
	d.s.Version++
	d.s.UpdatedAt = d.now
	if note != nil {
		d.s.Note = *note
	}
}

// Pause holds regular ticks back until Resume; active runs, manual and backfill ticks go on. Pausing a paused schedule changes its note, if one is
// given, and nothing else. No change is an empty Change.
func Pause(st State, now time.Time, note *string) (Change, error) {
	return pauseOrResume(st, now, note, StatusPaused)
}

// Resume lets regular ticks come due again. A next tick that is still ahead is kept; else it is the first after now. What waited starts; nothing else that
// is past does.
func Resume(st State, now time.Time, note *string) (Change, error) {
	return pauseOrResume(st, now, note, StatusActive)
}

func pauseOrResume(st State, now time.Time, note *string, to Status) (Change, error) {
	from := st.Schedule.Status
	if from == StatusDeleted {
		return Change{}, ErrDeleted
	}
	turn := from != to && !(to == StatusActive && from == StatusFinished)
	if !turn && (note == nil || *note == st.Schedule.Note) {
		return Change{}, nil
	}
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, err
	}
	d.people(note)
	if !turn {
		return d.done(), nil
	}
	d.s.Status = to
	if to == StatusActive {
		d.resume()
	}
	d.release()
	d.runBackfill()
	return d.done(), nil
}

func (d *draft) resume() {
	s := d.s
	if s.NextDue.IsZero() || !s.NextDue.After(d.now) {
		if d.counts() { // the next tick is one interval from now
			if s.AnchorStart = d.now; !s.AnchorEnd.IsZero() || s.AnchorRunID == "" {
				s.AnchorEnd = d.now
			}
		}
		s.DecidedUntil = later(s.DecidedUntil, d.now)
		d.setNext(d.after(d.now))
	}
}

// Patch changes some fields of a schedule; nil leaves a field as it is.
type Patch struct {
	ExpectVersion int64 // zero: any
	Spec          *Spec
	Overlap       *OverlapPolicy
	BufferLimit   *int
	CancelGrace   *Duration
	Catchup       *Catchup
	CatchupWindow *Duration
	Queue         *string
	Input         *json.RawMessage
	Note          *string
	Origin        *string // who keeps it from now on, see Record.Origin
}

// Update changes a schedule. Only a change of what its spec says recomputes the next tick: the first after now on the same anchor or grid. No change is an
// empty Change.
func Update(st State, now time.Time, p Patch) (Change, error) {
	old := &st.Schedule
	switch {
	case old.Status == StatusDeleted:
		return Change{}, ErrDeleted
	case p.ExpectVersion != 0 && p.ExpectVersion != old.Version:
		return Change{}, fmt.Errorf("schedule %s is of version %d, not %d; read it again: %w", old.ID, old.Version, p.ExpectVersion, ErrVersion)
	}
	def := old.Definition
	set(&def.Spec, p.Spec)
	set(&def.Overlap, p.Overlap)
	set(&def.BufferLimit, p.BufferLimit)
	set(&def.CancelGrace, p.CancelGrace)
	set(&def.Catchup, p.Catchup)
	set(&def.CatchupWindow, p.CatchupWindow)
	set(&def.Queue, p.Queue)
	set(&def.Input, p.Input)
	def, _, err := normalize(def)
	if err != nil {
		return Change{}, err
	}
	if sameDefinition(def, old.Definition) && (p.Note == nil || *p.Note == old.Note) && (p.Origin == nil || *p.Origin == old.Origin) {
		return Change{}, nil
	}
	d, err := redefine(st, now, def)
	if err != nil {
		return Change{}, err
	}
	set(&d.s.Origin, p.Origin)
	d.people(p.Note)
	return d.done(), nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// redefine gives the schedule a new definition, already normal.
func redefine(st State, now time.Time, def Definition) (*draft, error) {
	timed := !def.Spec.Equal(st.Schedule.Spec)
	st.Schedule.Definition = def
	if timed {
		st.Timing = nil
	}
	d, err := newDraft(st, now)
	if err != nil {
		return nil, err
	}
	if s := d.s; timed {
		s.CatchUpStart, s.CatchUpEnd = time.Time{}, time.Time{}
		s.DecidedUntil = later(s.DecidedUntil, d.now)
		d.setNext(d.after(d.now))
		if s.Status == StatusFinished && !s.NextNominal.IsZero() {
			s.Status = StatusActive
		}
	}
	d.runBackfill() // another policy may let more of it start
	return d, nil
}

// Delete marks the schedule deleted: the record is kept, what waits is dropped, active runs go on. A declared schedule is refused (ErrDeclared) unless
// undeclared says that it left the code. Deleting a deleted schedule is an empty Change.
func Delete(st State, now time.Time, undeclared bool) (Change, error) {
	if st.Schedule.Status == StatusDeleted {
		return Change{}, nil
	}
	if st.Schedule.Declared != nil && !undeclared {
		return Change{}, fmt.Errorf("schedule %s is %w", st.Schedule.ID, ErrDeclared)
	}
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, err
	}
	d.people(nil)
	s := d.s
	s.Status = StatusDeleted
	s.NextNominal, s.NextDue = time.Time{}, time.Time{}
	if s.Waiting() > 0 {
		s.DropBelow, s.DropReason = s.NextSeq, ReasonDeleted
		d.c.More = !d.drop()
	}
	d.runBackfill()
	return d.done(), nil
}

// Reset returns what people changed of a declared schedule to its declaration.
func Reset(st State, now time.Time) (Change, error) {
	s := &st.Schedule
	switch {
	case s.Status == StatusDeleted:
		return Change{}, ErrDeleted
	case s.Declared == nil:
		return Change{}, &FieldError{Field: "id", Value: s.ID, Problem: "is not declared in code, so there is nothing to return to; use update"}
	case sameDefinition(*s.Declared, s.Definition):
		return Change{}, nil
	}
	d, err := redefine(st, now, *s.Declared)
	if err != nil {
		return Change{}, err
	}
	d.people(nil)
	return d.done(), nil
}

// Activate brings a declared schedule up to its declaration: only fields whose declaration changed since the last activation are written. It is false when there is
// nothing to write.
func Activate(st State, now time.Time, decl Definition) (Change, bool, error) {
	decl, _, err := normalize(decl)
	if err != nil {
		return Change{}, false, err
	}
	s := &st.Schedule
	if s.Status == StatusDeleted {
		return Change{}, false, ErrDeleted
	}
	def := s.Definition
	if s.Declared != nil {
		if sameDefinition(decl, *s.Declared) {
			return Change{}, false, nil
		}
		for _, f := range parts {
			if !f.same(&decl, s.Declared) {
				f.copy(&def, &decl)
			}
		}
		if def, _, err = normalize(def); err != nil { // what people set no longer fits what the code says now: the code wins
			def = decl
		}
	}
	d, err := redefine(st, now, def)
	if err != nil {
		return Change{}, false, err
	}
	d.s.Declared, d.s.UpdatedAt = &decl, d.now
	return d.done(), true, nil
}

// Overridden names the fields of a declared schedule that people changed, as they are called in JSON.
func Overridden(s *Schedule) []string {
	var names []string
	if s.Declared == nil {
		return names
	}
	for _, f := range parts {
		if !f.same(&s.Definition, s.Declared) {
			names = append(names, f.name(&s.Definition))
		}
	}
	return names
}

// part is one thing a declaration can say and a person can change by itself.
type part struct {
	name func(d *Definition) string
	same func(a, b *Definition) bool
	copy func(to, from *Definition)
}

// of makes a part of a single field.
func of[T comparable](name string, at func(d *Definition) *T) part {
	return part{
		name: func(*Definition) string { return name },
		same: func(a, b *Definition) bool { return *at(a) == *at(b) },
		copy: func(to, from *Definition) { *at(to) = *at(from) },
	}
}

// parts are all of them. Which ticks there are (cron, interval and what it is counted from, calendar) is one part.
var parts = []part{
	{
		name: func(d *Definition) string { return specField(&d.Spec) },
		same: func(a, b *Definition) bool {
			return a.Spec.Cron == b.Spec.Cron && a.Spec.Interval == b.Spec.Interval && a.Spec.IntervalFrom == b.Spec.IntervalFrom &&
				slices.Equal(a.Spec.Calendar, b.Spec.Calendar)
		},
		copy: func(to, from *Definition) {
			to.Spec.Cron, to.Spec.Interval, to.Spec.IntervalFrom, to.Spec.Calendar = from.Spec.Cron, from.Spec.Interval, from.Spec.IntervalFrom, from.Spec.Calendar
		},
	},
	of("timezone", func(d *Definition) *string { return &d.Spec.Timezone }),
	{
		name: func(*Definition) string { return "start_at" },
		same: func(a, b *Definition) bool { return a.Spec.StartAt.Equal(b.Spec.StartAt) },
		copy: func(to, from *Definition) { to.Spec.StartAt = from.Spec.StartAt },
	},
	{
		name: func(*Definition) string { return "end_at" },
		same: func(a, b *Definition) bool { return a.Spec.EndAt.Equal(b.Spec.EndAt) },
		copy: func(to, from *Definition) { to.Spec.EndAt = from.Spec.EndAt },
	},
	of("jitter", func(d *Definition) *Duration { return &d.Spec.Jitter }),
	of("overlap_policy", func(d *Definition) *OverlapPolicy { return &d.Overlap }),
	of("buffer_limit", func(d *Definition) *int { return &d.BufferLimit }),
	of("cancel_grace", func(d *Definition) *Duration { return &d.CancelGrace }),
	of("catchup", func(d *Definition) *Catchup { return &d.Catchup }),
	of("catchup_window", func(d *Definition) *Duration { return &d.CatchupWindow }),
	of("queue", func(d *Definition) *string { return &d.Queue }),
	{
		name: func(*Definition) string { return "input" },
		same: func(a, b *Definition) bool { return bytes.Equal(a.Input, b.Input) },
		copy: func(to, from *Definition) { to.Input = from.Input },
	},
}

func sameDefinition(a, b Definition) bool {
	for _, f := range parts {
		if !f.same(&a, &b) {
			return false
		}
	}
	return true
}

// specField names the field that says which ticks there are.
func specField(s *Spec) string {
	switch {
	case s.Interval != "":
		return "interval"
	case len(s.Calendar) > 0:
		return "calendar"
	default:
		return "cron"
	}
}

func specValue(s *Spec) string {
	switch {
	case s.Interval != "":
		return s.Interval
	case len(s.Calendar) > 0:
		return s.Calendar[0].String()
	default:
		return s.Cron
	}
}

// Normalize checks a definition and fills in its defaults. Errors are of type *FieldError.
func Normalize(def Definition) (Definition, error) {
	def, _, err := normalize(def)
	return def, err
}

func normalize(def Definition) (Definition, *Timing, error) {
	t, err := Compile(def.Spec)
	if err != nil {
		return def, nil, err
	}
	def.Spec = t.Spec()
	if def.Overlap == "" {
		def.Overlap = OverlapSkip
	}
	if err := validateOverlap(def.Overlap); err != nil {
		return def, nil, err
	}
	if def.BufferLimit == 0 {
		def.BufferLimit = DefaultBufferLimit
	}
	if def.BufferLimit < 1 || def.BufferLimit > MaxBufferLimit {
		return def, nil, &FieldError{Field: "buffer_limit", Value: strconv.Itoa(def.BufferLimit), Problem: "must be from 1 to " + strconv.Itoa(MaxBufferLimit)}
	}
	if def.CancelGrace == 0 {
		def.CancelGrace = DefaultCancelGrace
	}
	if def.CancelGrace < 0 {
		return def, nil, &FieldError{Field: "cancel_grace", Value: def.CancelGrace.String(), Problem: "must be longer than zero, like 30s"}
	}
	switch def.Catchup {
	case "":
		def.Catchup = CatchupOne
	case CatchupOne, CatchupAll, CatchupNone:
	default:
		return def, nil, &FieldError{Field: "catchup", Value: string(def.Catchup), Problem: "must be one, all or none"}
	}
	if def.CatchupWindow == 0 {
		def.CatchupWindow = DefaultCatchupWindow
	}
	if time.Duration(def.CatchupWindow) < LateAfter {
		return def, nil, &FieldError{Field: "catchup_window", Value: def.CatchupWindow.String(), Problem: "must be at least 10s"}
	}
	if def.Queue != "" {
		if err := ValidateQueue(def.Queue); err != nil {
			return def, nil, err
		}
	}
	if len(def.Input) == 0 {
		def.Input = nil
	} else {
		var compact bytes.Buffer
		if err := json.Compact(&compact, def.Input); err != nil {
			return def, nil, badInput(def.Input)
		}
		def.Input = compact.Bytes()
	}
	return def, t, nil
}

// DueTick is a regular tick to come.
type DueTick struct {
	Nominal time.Time
	Due     time.Time // Nominal plus jitter
}

// TicksBefore gives the regular ticks of an active schedule that will be due before a time, in order, from the one that is next, at most n; runs are taken to last no time. It is
// empty for a schedule that is not active.
func TicksBefore(s *Schedule, until time.Time, n int) []DueTick {
	next := DueTick{s.NextNominal, s.NextDue}
	if s.NextRunTime().IsZero() || !next.Due.Before(until) || n < 1 {
		return nil
	}
	out := []DueTick{next}
	t, err := Compile(s.Spec)
	if err != nil {
		return out
	}
	for len(out) < n {
		next.Nominal = nextNominal(s, t, next.Nominal)
		if next.Due = dueAt(s, t, next.Nominal); next.Nominal.IsZero() || !next.Due.Before(until) {
			break
		}
		out = append(out, next)
	}
	return out
}

// NextTicks previews nominal times after a time, at most n, from where the schedule stands; runs are taken to last no time.
func NextTicks(s *Schedule, after time.Time, n int) []time.Time {
	t, err := Compile(s.Spec)
	if err != nil {
		return nil
	}
	var out []time.Time
	for len(out) < n {
		if after = nextNominal(s, t, after); after.IsZero() {
			break
		}
		out = append(out, after)
	}
	return out
}
