package schedules

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// BackfillRequest asks for runs of past nominal times.
type BackfillRequest struct {
	Nonce    string    // random
	Start    time.Time // inclusive
	End      time.Time // exclusive; zero: now
	Parallel int       // runs at a time; zero: 1
	MaxRuns  int       // zero: DefaultMaxRuns
	// Has, when given, leaves out the nominal times for which it is true: those that have a run. The next regular tick, which its jitter holds back, is left
	// out, too: it will have one.
	Has func(nominal time.Time) bool
}

// ErrBackfills: as many backfills of the schedule are unfinished as may be.
var ErrBackfills = errors.New("too many unfinished backfills")

// PlanBackfill works out what a backfill would do, its nominal times in order; it changes nothing. The range is bounded by the spec's start_at and
// end_at, not by the schedule's creation.
func PlanBackfill(st State, now time.Time, req BackfillRequest) (Backfill, []time.Time, error) {
	s := &st.Schedule
	if s.Status == StatusDeleted {
		return Backfill{}, nil, ErrDeleted
	}
	now = now.UTC().Truncate(time.Millisecond)
	if req.End.IsZero() {
		req.End = now
	}
	if req.Parallel == 0 {
		req.Parallel = 1
	}
	if req.MaxRuns == 0 {
		req.MaxRuns = DefaultMaxRuns
	}
	switch {
	case req.Start.IsZero():
		return Backfill{}, nil, &FieldError{Field: "start", Value: "", Problem: "is required; give the first nominal time of the range, like 2026-01-15T00:00:00Z"}
	case !req.End.After(req.Start):
		return Backfill{}, nil, &FieldError{Field: "end", Value: stamp(req.End), Problem: "must be later than start " + stamp(req.Start)}
	case req.End.After(now):
		return Backfill{}, nil, &FieldError{Field: "end", Value: stamp(req.End), Problem: "must not be later than now (" + stamp(now) + "); what is to come runs by itself"}
	case req.Parallel < 1:
		return Backfill{}, nil, &FieldError{Field: "parallel", Value: strconv.Itoa(req.Parallel), Problem: "must be at least 1"}
	case req.MaxRuns < 1:
		return Backfill{}, nil, &FieldError{Field: "max_runs", Value: strconv.Itoa(req.MaxRuns), Problem: "must be at least 1"}
	case req.Has != nil && req.Start.Before(s.HistoryFrom):
		return Backfill{}, nil, &FieldError{Field: "start", Value: stamp(req.Start), Problem: "is older than the kept history, so what is missing can't be told; start at " + stamp(s.HistoryFrom) + " or later, or run all of it without missing_only"}
	}
	t := st.Timing
	if t == nil {
		var err error
		if t, err = Compile(s.Spec); err != nil {
			return Backfill{}, nil, err
		}
	}
	bf := Backfill{
		ID: BackfillID(s.Ref(), req.Nonce), Schedule: s.Ref(), Spec: s.Spec, Workflow: s.Workflow, Queue: s.Queue, Input: s.Input,
		Start: req.Start.UTC(), End: req.End.UTC(), Parallel: req.Parallel, CreatedAt: now, Status: BackfillRunning,
	}
	if t.IsInterval() {
		bf.Base = s.base()
	}
	var times []time.Time
	open := false // the last tick seen was taken into the last span
	for n := range t.Between(bf.Base, bf.Start, bf.End) {
		if req.Has != nil && (req.Has(n) || s.Status == StatusActive && n.Equal(s.NextNominal)) {
			open = false
			continue
		}
		if len(times) == req.MaxRuns {
			return Backfill{}, nil, &FieldError{Field: "max_runs", Value: strconv.Itoa(req.MaxRuns), Problem: "the range holds more runs than that; take a shorter range, or raise max_runs"}
		}
		if !open {
			bf.Spans = append(bf.Spans, Span{First: n})
			open = true
		}
		bf.Spans[len(bf.Spans)-1].Last = n
		times = append(times, n)
	}
	bf.Count = int64(len(times))
	return bf, times, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// AddBackfill puts a planned backfill behind the schedule's unfinished ones; the first of them is in progress.
func AddBackfill(st State, now time.Time, bf Backfill) (Change, error) {
	if st.Schedule.Status == StatusDeleted {
		return Change{}, ErrDeleted
	}
	if len(st.Schedule.Backfills) >= MaxWaitingBackfills {
		return Change{}, fmt.Errorf("schedule %s has %d of them; wait for some to end, or cancel some: %w", st.Schedule.ID, MaxWaitingBackfills, ErrBackfills)
	}
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, err
	}
	d.s.Backfills = append(d.s.Backfills[:len(d.s.Backfills):len(d.s.Backfills)], bf.ID)
	if len(d.s.Backfills) == 1 {
		d.bf = &bf
		d.runBackfill()
	}
	d.keep(bf)
	return d.done(), nil
}

// CancelBackfill drops what has not started of a backfill of this schedule; runs that are active go on. A backfill that has ended is not changed.
func CancelBackfill(st State, now time.Time, bf Backfill) (Change, error) {
	if bf.Status != BackfillRunning {
		return Change{}, nil
	}
	d, err := newDraft(st, now)
	if err != nil {
		return Change{}, err
	}
	bf.Status = BackfillCancelling
	if d.bf == nil || d.bf.ID != bf.ID { // it has started nothing: it goes first, so that it is done with at once
		rest := []string{bf.ID}
		for _, id := range d.s.Backfills {
			if id != bf.ID {
				rest = append(rest, id)
			}
		}
		d.s.Backfills = rest
	}
	d.bf = &bf
	d.runBackfill()
	d.keep(bf)
	return d.done(), nil
}

// keep has the backfill written even if nothing of it started or was dropped.
func (d *draft) keep(bf Backfill) {
	if len(d.c.Backfills) == 0 {
		d.c.Backfills = append(d.c.Backfills, bf)
	}
}

// runBackfill goes on with the backfill in progress: starts its next ticks as far as the policy and its parallel limit let it, or drops what is left of a cancelled
// one, and passes to the next when it has ended.
func (d *draft) runBackfill() {
	s, bf := d.s, d.bf
	if len(s.Backfills) == 0 || bf == nil {
		return
	}
	before := *bf
	reason := ReasonCancelled
	if s.Status == StatusDeleted {
		reason = ReasonDeleted
		if bf.Status == BackfillRunning {
			bf.Status = BackfillCancelling
		}
	}
	left := func() bool { return bf.Started+bf.Dropped < bf.Count }
	next := d.backfillTimes()
	for done := 0; left() && (bf.Status == BackfillCancelling || d.mayBackfill()); done++ {
		if done == BatchLimit {
			d.c.More = true
			break
		}
		n := next()
		tick := Tick{Trigger: TriggerBackfill, Nominal: n, Backfill: bf.ID}
		bf.Cursor = n
		if bf.Status == BackfillCancelling {
			bf.Dropped++
			d.fate(tick, Fate{Fate: FateDropped, Reason: reason})
		} else {
			bf.Started++
			bf.Active++
			d.start(tick, bf.Input, Fate{})
			d.c.Start[len(d.c.Start)-1].Queue = d.queue(bf.Queue)
		}
	}
	if !left() && bf.Active == 0 {
		bf.EndedAt = d.now
		if bf.Status == BackfillCancelling {
			bf.Status = BackfillCancelled
		} else {
			bf.Status = BackfillCompleted
		}
		if s.Backfills = s.Backfills[1:]; len(s.Backfills) > 0 {
			d.c.More = true // the next one
		}
	}
	if bf.Status != before.Status || bf.Started != before.Started || bf.Dropped != before.Dropped {
		d.touched = true
		d.c.Backfills = append(d.c.Backfills, *bf)
	}
}

// mayBackfill reports whether another run of the backfill may start now: under allow_all the parallel limit is the only one; else no other run may be
// active, and regular ticks that wait go first.
func (d *draft) mayBackfill() bool {
	s := d.s
	if s.ActiveBackfill >= int64(d.bf.Parallel) {
		return false
	}
	if s.Overlap == OverlapAllowAll {
		return true
	}
	ahead := s.WaitingManual
	if s.Status != StatusPaused {
		ahead += s.WaitingRegular
	}
	return s.Active == s.ActiveBackfill && ahead == 0
}

// backfillTimes walks the backfill's nominal times behind its cursor.
func (d *draft) backfillTimes() func() time.Time {
	bf := d.bf
	spans, at := bf.Spans, bf.Cursor
	var timing *Timing
	return func() time.Time {
		for len(spans) > 0 && !at.Before(spans[0].Last) {
			spans = spans[1:]
		}
		switch {
		case len(spans) == 0: // not reached: Count says how many there are
			return at
		case at.Before(spans[0].First):
			at = spans[0].First
			return at
		}
		if timing == nil {
			var err error
			if timing, err = Compile(bf.Spec); err != nil { // not reached: it compiled when the backfill was planned
				return at
			}
		}
		if timing.IsInterval() {
			at, _ = timing.NextFrom(bf.Base, at, true)
		} else {
			at, _ = timing.Next(at)
		}
		return at
	}
}

// queue is the queue a run goes to: the one given, the workflow's, or the default one.
func (d *draft) queue(given string) string {
	switch {
	case given != "":
		return given
	case d.st.Options != nil && d.st.Options.Queue != "":
		return d.st.Options.Queue
	default:
		return DefaultQueue
	}
}
