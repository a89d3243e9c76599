package schedules

import (
	"encoding/json"
	"slices"
	"time"
)

// Decide settles what is due for a schedule now: what is to be dropped or cancelled, the waiting tick whose turn has come, regular ticks,
// the backfill in progress. It is false when there is nothing to do. At most BatchLimit ticks are decided at a time; Change.More says that more are due.
func Decide(st State, now time.Time) (Change, bool) { return Settle(st, now, "") }

// Settle decides what must be decided before an act: all that is due before it, as a beat would. It is false when the state is settled. A reason
// (ReasonPaused, ReasonDeleted) makes the regular ticks that came due missed with it.
func Settle(st State, now time.Time, reason string) (Change, bool) {
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, false
	}
	if !d.housekeeping() {
		return d.done(), true
	}
	if st.Schedule.Overlap == OverlapCancelOther {
		d.decideTicks(reason) // a tick due now supersedes what waits
		d.release()
	} else {
		d.release()
		d.decideTicks(reason)
	}
	d.runBackfill()
	c := d.done()
	return c, d.touched
}

// draft is a Change in the making.
type draft struct {
	st      State
	t       *Timing
	now     time.Time
	c       Change
	s       *Schedule // = &c.Schedule
	regular []WaitingTick
	manual  []WaitingTick
	active  []ActiveRun
	bf      *Backfill // the backfill in progress, a copy
	touched bool
}

func newDraft(st State, now time.Time) (*draft, error) {
	d := &draft{st: st, t: st.Timing, now: now.UTC().Truncate(time.Millisecond), regular: st.Regular, manual: st.Manual, active: slices.Clone(st.Active)}
	if d.t == nil {
		t, err := Compile(st.Schedule.Spec)
		if err != nil {
			return nil, err
		}
		d.t = t
	}
	d.c = Change{Expect: st.Schedule.Revision, Now: d.now, Schedule: st.Schedule}
	d.s = &d.c.Schedule
	d.s.Revision++
	if st.Backfill != nil {
		bf := *st.Backfill
		d.bf = &bf
	}
	d.followAnchor()
	return d, nil
}

// done completes the change with what follows from the rest.
func (d *draft) done() Change {
	d.followAnchor()
	s := d.s
	if s.Status == StatusActive && s.NextNominal.IsZero() {
		s.Status = StatusFinished
	}
	s.WakeOnEnd = s.Waiting() > 0 || len(s.Backfills) > 0 || (d.counts() && (s.Status == StatusActive || s.Status == StatusPaused))
	s.HeadWanted = 0
	if s.Overlap == OverlapCancelOther || s.CancelActive || d.doomed() || s.Status == StatusDeleted {
		s.HeadWanted = BatchLimit
	}
	return d.c
}

// counts reports whether the next tick is counted from the end of runs.
func (d *draft) counts() bool {
	return d.t.IsInterval() && d.s.Spec.IntervalFrom != FromStart
}

// base is the first point of an interval's grid.
func (s *Schedule) base() time.Time {
	if !s.Spec.StartAt.IsZero() {
		return s.Spec.StartAt
	}
	return s.CreatedAt
}

// anchors gives what the next tick of a completion interval is counted from (section 2): the start and the end of the most recently
// started regular run, both zero before there was any; end is zero while it is active.
func (s *Schedule) anchors() (start, end time.Time) {
	if !s.CatchUpStart.IsZero() {
		return s.CatchUpStart, s.CatchUpEnd
	}
	return s.AnchorStart, s.AnchorEnd
}

// after gives the first nominal time after both t and everything decided.
func (d *draft) after(t time.Time) time.Time {
	return nextNominal(d.s, d.t, later(t, d.s.DecidedUntil))
}

// nextNominal gives the first nominal time after t. Ticks of a completion interval that came due before the run's end are counted from
// its start, later ones from its end.
func nextNominal(s *Schedule, timing *Timing, t time.Time) time.Time {
	var next time.Time
	if !timing.IsInterval() {
		next, _ = timing.Next(t)
		return next
	}
	start, end := s.anchors()
	if s.Spec.IntervalFrom == FromStart || start.IsZero() {
		next, _ = timing.NextFrom(s.base(), t, false)
		return next
	}
	next, _ = timing.NextFrom(start, later(t, start), false) // k ≥ 1
	if end.IsZero() || !next.IsZero() && !next.Add(JitterDelay(s.Spec.Jitter, s.ID, next, next.Add(timing.IntervalDuration()))).After(end) {
		return next
	}
	next, _ = timing.NextFrom(end, later(t, end), false)
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// setNext makes n the next tick.
func (d *draft) setNext(n time.Time) {
	d.s.NextNominal, d.s.NextDue = n, d.due(n)
}

// due is the instant a nominal time is due: with its jitter, never past the next nominal time, for which an interval's runs are taken to last no time: what
// they do must not move a delay.
func (d *draft) due(n time.Time) time.Time { return dueAt(d.s, d.t, n) }

func dueAt(s *Schedule, t *Timing, n time.Time) time.Time {
	if n.IsZero() || s.Spec.Jitter == 0 || (t.IsInterval() && s.Spec.StartAt.IsZero() && n.Equal(s.CreatedAt)) {
		return n
	}
	next := n.Add(t.IntervalDuration())
	if !t.IsInterval() {
		next, _ = t.Next(n)
	}
	return n.Add(JitterDelay(s.Spec.Jitter, s.ID, n, next))
}

// followAnchor recomputes the next tick of a completion interval, whose anchor moves when a run starts or ends.
func (d *draft) followAnchor() {
	if !d.counts() || !d.s.CatchUpStart.IsZero() || (d.s.Status != StatusActive && d.s.Status != StatusPaused) {
		return
	}
	if n := d.after(time.Time{}); !n.Equal(d.s.NextNominal) {
		d.setNext(n)
		d.touched = true
	}
}

// doomed reports whether waiting ticks that are to be dropped may be left.
func (d *draft) doomed() bool { return d.s.DropBelow > 0 && d.s.Waiting() > 0 }

// housekeeping drops waiting ticks that are to go and asks active runs to cancel, a batch at a time. It is false when there is more of that to
// do first.
func (d *draft) housekeeping() bool {
	if d.s.DropBelow > 0 && !d.drop() {
		d.c.More = true
		return false
	}
	if d.s.CancelActive && !d.cancelActive() {
		d.c.More = true
		return false
	}
	return true
}

// drop takes doomed ticks off the heads of the queues; false when some may be left behind what was read.
func (d *draft) drop() bool {
	d.touched = true
	room := BatchLimit
	take := func(head *[]WaitingTick, pop *int, waiting *int64) bool {
		for len(*head) > 0 && room > 0 && (*head)[0].Seq < d.s.DropBelow {
			w := (*head)[0]
			*head = (*head)[1:]
			*pop++
			*waiting--
			room--
			if w.Tick.Trigger.Regular() {
				d.s.Skipped++
			}
			d.fate(w.Tick, Fate{Fate: FateDropped, Reason: d.s.DropReason, Waited: d.since(w.Since), BlockedBy: w.Blocker})
		}
		return *waiting == 0 || len(*head) > 0 && (*head)[0].Seq >= d.s.DropBelow
	}
	r := take(&d.regular, &d.c.PopRegular, &d.s.WaitingRegular)
	m := take(&d.manual, &d.c.PopManual, &d.s.WaitingManual)
	if !r || !m {
		return false
	}
	d.s.DropBelow, d.s.DropReason = 0, ""
	return true
}

// cancelActive asks the active runs it sees to cancel; false when some may be left that it does not see. Runs of a backfill are left alone: each of its
// ticks becomes a run, and what comes due meanwhile waits for it (section 6).
func (d *draft) cancelActive() bool {
	d.touched = true
	for i, a := range d.active {
		if a.CancelRequested || a.Backfill {
			return d.endCancelActive() // those left to ask come first
		}
		d.active[i].CancelRequested = true
		d.c.Cancel = append(d.c.Cancel, CancelRequest{RunID: a.ID, Reason: "a newer tick takes its place", Deadline: d.now.Add(time.Duration(d.s.CancelGrace))})
	}
	if int64(len(d.active)) < d.s.Active {
		return false
	}
	return d.endCancelActive()
}

func (d *draft) endCancelActive() bool {
	d.s.CancelActive = false
	return true
}

func (d *draft) since(t time.Time) Duration { return Duration(max(0, d.now.Sub(t))) }

func (d *draft) fate(t Tick, f Fate) {
	d.touched = true
	f.Tick, f.DecidedAt = t, d.now
	d.c.Fates = append(d.c.Fates, f)
}

// release starts the waiting tick whose turn it is. Regular ticks are held while the schedule is paused.
func (d *draft) release() {
	if d.s.Active > 0 || d.s.Status == StatusDeleted || d.doomed() {
		return
	}
	takeRegular := len(d.regular) > 0 && d.s.Status != StatusPaused
	takeManual := len(d.manual) > 0
	if takeRegular && takeManual {
		takeRegular = d.regular[0].Seq < d.manual[0].Seq
		takeManual = !takeRegular
	}
	var w WaitingTick
	switch {
	case takeRegular:
		w, d.regular = d.regular[0], d.regular[1:]
		d.c.PopRegular++
		d.s.WaitingRegular--
	case takeManual:
		w, d.manual = d.manual[0], d.manual[1:]
		d.c.PopManual++
		d.s.WaitingManual--
	default:
		return
	}
	d.start(w.Tick, w.Input, Fate{Reason: ReasonOverlap, Waited: d.since(w.Since), BlockedBy: w.Blocker})
}

// start makes the tick's run active.
func (d *draft) start(t Tick, input json.RawMessage, f Fate) string {
	s := d.s
	run := newRun(Run{
		ID: TickRunID(s.Ref(), t), ScheduleID: s.ID, Incarnation: s.Incarnation, BackfillID: t.Backfill, Workflow: s.Workflow, Queue: d.queue(s.Queue),
		Trigger: t.Trigger, Nominal: t.Nominal, Input: input, Options: d.st.Options,
	}, d.now)
	d.c.Start = append(d.c.Start, run)
	s.Total++
	s.Active++
	s.LastRunAt, s.LastRunID = d.now, run.ID
	if t.Trigger != TriggerManual || s.Active == 1 { // a trigger may start beside the run that regular ticks are skipped for
		s.BlockedBy, s.SkipsBehind = "", 0
	}
	if t.Trigger.Regular() {
		s.AnchorRunID, s.AnchorStart, s.AnchorEnd = run.ID, d.now, time.Time{}
	}
	if t.Trigger == TriggerBackfill {
		s.ActiveBackfill++
	}
	d.active = append(d.active, ActiveRun{ID: run.ID, Backfill: t.Trigger == TriggerBackfill})
	f.Fate, f.RunID = FateStarted, run.ID
	d.fate(t, f)
	return run.ID
}

// blocker names an active run.
func (d *draft) blocker() string {
	if len(d.active) == 0 {
		return ""
	}
	return d.active[0].ID
}

// wait puts the tick into its queue.
func (d *draft) wait(t Tick, input json.RawMessage) string {
	s := d.s
	w := WaitingTick{Seq: s.NextSeq, Tick: t, Input: input, Since: d.now, Blocker: d.blocker()}
	s.NextSeq++
	id := TickRunID(s.Ref(), t)
	if t.Trigger == TriggerManual {
		d.c.PushManual = append(d.c.PushManual, w)
		s.WaitingManual++
	} else {
		d.c.PushRegular = append(d.c.PushRegular, w)
		s.WaitingRegular++
	}
	d.fate(t, Fate{Fate: FateBuffered, Reason: ReasonOverlap, BlockedBy: w.Blocker, RunID: id})
	return id
}

func (d *draft) skip(t Tick, reason string) {
	s, by := d.s, ""
	if reason != ReasonSuperseded {
		by = d.blocker()
	}
	d.fate(t, Fate{Fate: FateSkipped, Reason: reason, BlockedBy: by})
	if !t.Trigger.Regular() {
		return
	}
	s.Skipped++
	if by == "" {
		return
	}
	if s.BlockedBy != by {
		s.BlockedBy, s.SkipsBehind = by, 0
	}
	if s.SkipsBehind++; s.SkipsBehind == SkipsBeforeWarning {
		d.c.Warnings = append(d.c.Warnings, Warning{Kind: WarnBlocked, Schedule: s.Ref(), RunID: by, Count: s.SkipsBehind})
	}
}

// overlap lets the policy decide about a tick that wants to start now (section 4). It gives the id of the tick's run, if it has or will have one.
func (d *draft) overlap(t Tick, policy OverlapPolicy, input json.RawMessage) (runID string) {
	s := d.s
	if policy == OverlapCancelOther && s.Waiting() > 0 {
		s.DropBelow, s.DropReason = s.NextSeq, ReasonSuperseded
		if !d.drop() { // the rest goes first; then the active runs are asked to cancel
			s.CancelActive, d.c.More = s.Active > 0, true
			return d.wait(t, input)
		}
	}
	if policy == OverlapAllowAll || s.Active == 0 {
		return d.start(t, input, Fate{})
	}
	switch policy {
	case OverlapBufferOne:
		if s.Waiting() > 0 {
			d.skip(t, ReasonBufferFull)
			return ""
		}
	case OverlapBufferAll:
		if s.Waiting() >= int64(s.BufferLimit) {
			d.skip(t, ReasonBufferFull)
			return ""
		}
	case OverlapCancelOther:
		s.CancelActive = true
		if !d.cancelActive() {
			d.c.More = true
		}
	default: // skip
		if behindBackfill := t.Trigger.Regular() && s.Active == s.ActiveBackfill; !behindBackfill || s.Waiting() > 0 {
			d.skip(t, ReasonOverlap)
			return ""
		}
	}
	return d.wait(t, input)
}

// dueTick is a regular tick that has come due.
type dueTick struct {
	nominal time.Time
	late    time.Duration
}

// decideTicks decides the regular ticks that have come due, at most BatchLimit. With a reason they are missed with it; without, section 5 rules.
func (d *draft) decideTicks(reason string) {
	s := d.s
	if s.Status != StatusActive || s.NextDue.IsZero() || s.NextDue.After(d.now) {
		return
	}
	d.touched = true
	start, end := s.anchors()
	var due []dueTick
	for len(due) < BatchLimit && !s.NextDue.IsZero() && !s.NextDue.After(d.now) {
		due = append(due, dueTick{s.NextNominal, d.now.Sub(s.NextDue)})
		s.DecidedUntil = s.NextNominal
		d.setNext(d.after(s.NextNominal))
	}
	more := !s.NextDue.IsZero() && !s.NextDue.After(d.now)
	if reason != "" {
		for _, t := range due {
			d.miss(t, reason)
		}
	} else {
		d.catchUp(due, more)
	}
	s.CatchUpStart, s.CatchUpEnd = time.Time{}, time.Time{}
	if d.c.More = d.c.More || more; more && d.counts() { // a run started in this batch must not move the rest of it
		if s.CatchUpStart, s.CatchUpEnd = start, end; start.IsZero() {
			s.CatchUpStart = s.base()
		}
	}
}

func (d *draft) miss(t dueTick, reason string) {
	d.s.Missed++
	d.fate(Tick{Trigger: TriggerSchedule, Nominal: t.nominal}, Fate{Fate: FateMissed, Reason: reason})
}

// catchUp sorts ticks by how late they are and lets the policy decide about those that may start. more says that later ticks are due, too.
func (d *draft) catchUp(due []dueTick, more bool) {
	s := d.s
	var starters []Tick
	var window []dueTick
	for i, t := range due {
		last := i == len(due)-1 && !more
		switch {
		case t.late <= LateAfter:
			starters = append(starters, Tick{Trigger: TriggerSchedule, Nominal: t.nominal})
		case t.late > time.Duration(s.CatchupWindow):
			window = append(window, t)
			d.miss(t, ReasonWindow)
		case s.Catchup == CatchupAll || s.Catchup == CatchupOne && last:
			starters = append(starters, Tick{Trigger: TriggerCatchup, Nominal: t.nominal})
		default:
			d.miss(t, ReasonCatchup)
		}
	}
	if n := len(window); n > 0 {
		d.c.Warnings = append(d.c.Warnings, Warning{Kind: WarnWindow, Schedule: s.Ref(), Count: n, From: window[0].nominal, To: window[n-1].nominal.Add(time.Millisecond)})
	}
	for i, t := range starters {
		if s.Overlap == OverlapCancelOther && (more || i < len(starters)-1) {
			d.skip(t, ReasonSuperseded)
			continue
		}
		d.overlap(t, s.Overlap, s.Input)
	}
}
