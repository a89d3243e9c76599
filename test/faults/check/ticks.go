package check

import (
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// state is what is known of a schedule for a time.
type state int

const (
	unknown state = iota // an act was going on that may or may not have changed it
	ticking              // its ticks come due
	still                // paused or deleted: none does
)

// segment is a stretch of time in which a schedule's state is known or known not to be. Both ends are exclusive for ticks that must be, inclusive for those
// that may be.
type segment struct {
	from, to time.Time
	state    state
	every    time.Duration // the grid in force; 0: not known
}

// ends is the spec's end_at as far as the driver said, else as the record says.
func ends(s *schedule, d Definition) time.Time {
	if !d.End.IsZero() {
		return d.End
	}
	return s.Rec.Spec.EndAt
}

// segments follows the acts on an incarnation from its creation to the rest.
func (j *judge) segments(s *schedule, d Definition) []segment {
	born, dead := j.life(s)
	now := segment{from: born, state: ticking, every: d.Every}
	var out []segment
	jitter := max(d.Jitter, time.Duration(s.Rec.Spec.Jitter))
	turn := func(began, ended time.Time, to state, every time.Duration) {
		began = began.Add(-jitter) // what the jitter still holds back has not come due
		if began.Before(now.from) {
			began = now.from
		}
		now.to = began
		out = append(out, now, segment{from: began, to: ended, every: 0})
		now = segment{from: ended, state: to, every: every}
	}
	busy := born // until when acts go on
	made := j.made(s.Rec.ID, born)
	for _, a := range j.acts[s.Rec.ID] {
		if a.Ended.Before(born) || a.Began.After(dead) || a.What == ActDelete && a.Began.Before(made) { // the delete was of the one before
			continue
		}
		to, every := now.state, now.every
		switch {
		case a.What == ActPause || a.What == ActDelete:
			to = still
		case a.What == ActResume:
			to = ticking
		case a.What == ActUpdate && (a.Overlap == "" || a.Spec || a.Every != 0):
			every = a.Every // zero: not known any more
		default:
			continue
		}
		if a.Err != "" || a.Began.Before(busy) || j.lossy(a.Began, a.Ended) {
			if to = unknown; every != now.every {
				every = 0
			}
		}
		turn(a.Began, a.Ended, to, every)
		if a.Ended.After(busy) {
			busy = a.Ended
		}
	}
	now.to = j.Rest.Add(-restSlack - jitter)
	if dead.Before(now.to) {
		now.to = dead
	}
	out = append(out, now)
	if end := ends(s, d); !end.IsZero() {
		for i := range out {
			if out[i].to.After(end) {
				out[i].to = end
			}
		}
	}
	return out
}

// made is when the act began that created the incarnation. The record tells its birth in whole milliseconds, in one of which the one before may have been deleted.
func (j *judge) made(id string, born time.Time) time.Time {
	made := born
	for _, a := range j.acts[id] {
		if a.What == ActCreate && a.Err == "" && a.Began.After(made) && !a.Began.Truncate(time.Millisecond).After(born) && !a.Ended.Before(born) {
			made = a.Began
		}
	}
	return made
}

// ticks checks that every nominal time of an incarnation that came due has exactly one fate, and none that did not has one.
func (j *judge) ticks(s *schedule) {
	regular := map[int64]int{}
	var nominals []time.Time
	for i := range s.Fates {
		f := &s.Fates[i]
		j.report.Fates[string(f.Fate)]++
		if !f.Tick.Trigger.Regular() {
			continue
		}
		j.report.Ticks++
		ms := f.nominal().UnixMilli()
		if regular[ms]++; regular[ms] == 2 {
			j.find(f.nominal(), KindDoubled, "schedule %s: tick %s has two fates", s.ref(), clock(f.nominal()))
		}
		if regular[ms] == 1 {
			nominals = append(nominals, f.nominal())
		}
	}
	d, known := j.definition(s)
	switch {
	case !known || !s.Tally.HistoryFrom.IsZero() || j.Stepped && !d.Exact:
	case len(d.Expect) > 0:
		j.expected(s, d.Expect, regular, nominals)
	case d.Every == 0:
	case d.Kind == KindCompletion:
		j.chain(s, d, nominals)
	case d.Exact && j.Stepped:
		j.stepped(s, d, nominals)
	default:
		j.grid(s, d, regular, nominals)
	}
}

// base is an instant of the grid, and the first one at which a tick must be.
func base(s *schedule, d Definition) (origin, first time.Time) {
	origin, first = time.Unix(0, 0).UTC(), s.Rec.Created.Add(time.Millisecond) // a wall-clock spec ticks after now
	start := s.Rec.Spec.StartAt
	if d.Kind == KindStart {
		origin, first = s.Rec.Created.Time, s.Rec.Created.Time
		if !start.IsZero() {
			origin = start
		}
	}
	if start.After(first) {
		first = start
	}
	return origin, first
}

// on reports whether t is origin + k × every.
func on(t, origin time.Time, every time.Duration) bool { return every > 0 && t.Sub(origin)%every == 0 }

// onOrAfter gives the first grid instant at or after t.
func onOrAfter(t, origin time.Time, every time.Duration) time.Time {
	if rest := t.Sub(origin) % every; rest > 0 {
		return t.Add(every - rest)
	} else if rest < 0 {
		return t.Add(-rest)
	}
	return t
}

// grid checks the ticks of an even spec against plain arithmetic.
func (j *judge) grid(s *schedule, d Definition, has map[int64]int, nominals []time.Time) {
	origin, first := base(s, d)
	segs := j.segments(s, d)
	for i, seg := range segs {
		if seg.state != ticking || seg.every == 0 {
			continue
		}
		from := seg.from.Add(time.Millisecond)
		if i == 0 || from.Before(first) {
			from = first
		}
		for t := onOrAfter(from, origin, seg.every); t.Before(seg.to); t = t.Add(seg.every) {
			if has[t.UnixMilli()] == 0 {
				j.find(t, KindLost, "schedule %s (%s every %s): tick %s has no fate", s.ref(), d.Kind, seg.every, clock(t))
			}
		}
	}
	for _, t := range nominals {
		j.stray(s, d, segs, origin, t)
	}
}

// stray checks that a tick may have come due at all.
func (j *judge) stray(s *schedule, d Definition, segs []segment, origin, t time.Time) {
	if end := ends(s, d); d.Exact && !end.IsZero() && !t.Before(end) {
		j.find(t, KindStray, "schedule %s: tick %s is at or after end_at %s", s.ref(), clock(t), clock(end))
	}
	if t.Before(s.Rec.Created.Time) {
		j.find(t, KindStray, "schedule %s: tick %s is before its creation at %s", s.ref(), clock(t), clock(s.Rec.Created.Time))
		return
	}
	grids := true // only known ones were in force around t
	fits, stopped := false, false
	for i, seg := range segs {
		last := i == len(segs)-1
		if t.Before(seg.from) || t.After(seg.to) && !last {
			continue
		}
		stopped = stopped || seg.state == still && t.After(seg.from.Add(time.Millisecond)) && (last || t.Before(seg.to.Add(-time.Millisecond)))
		if seg.every == 0 { // the act itself: the grid before it, or the one after
			before, after := segs[max(i-1, 0)].every, segs[min(i+1, len(segs)-1)].every
			grids = grids && before != 0 && after != 0
			fits = fits || on(t, origin, before) || on(t, origin, after)
			continue
		}
		fits = fits || on(t, origin, seg.every)
	}
	switch {
	case grids && !fits:
		j.find(t, KindStray, "schedule %s (%s every %s): tick %s is off the grid of %s", s.ref(), d.Kind, d.Every, clock(t), clock(origin))
	case stopped:
		j.find(t, KindStray, "schedule %s: tick %s came due while the schedule was paused or deleted", s.ref(), clock(t))
	}
}

// stepped checks an even spec whose store's clock stepped: no holes between the first and the last tick, and the last as late as the clock at the end.
func (j *judge) stepped(s *schedule, d Definition, nominals []time.Time) {
	origin, first := base(s, d)
	at := onOrAfter(first, origin, d.Every)
	for _, t := range nominals {
		for ; at.Before(t); at = at.Add(d.Every) {
			j.find(at, KindLost, "schedule %s (%s every %s): tick %s has no fate", s.ref(), d.Kind, d.Every, clock(at))
		}
		if !on(t, origin, d.Every) {
			j.find(t, KindStray, "schedule %s (%s every %s): tick %s is off the grid of %s", s.ref(), d.Kind, d.Every, clock(t), clock(origin))
			continue
		}
		at = t.Add(d.Every)
	}
	segs := j.segments(s, d)
	for last := segs[0].to; at.Before(last); at = at.Add(d.Every) {
		j.find(at, KindLost, "schedule %s (%s every %s): tick %s has no fate", s.ref(), d.Kind, d.Every, clock(at))
	}
}

// expected checks the ticks against a list written by hand.
func (j *judge) expected(s *schedule, want []time.Time, has map[int64]int, nominals []time.Time) {
	for _, t := range want {
		if has[t.UnixMilli()] == 0 {
			j.find(t, KindLost, "schedule %s: tick %s has no fate", s.ref(), t.UTC().Format(time.RFC3339))
		}
	}
	for _, t := range nominals {
		if !slices.ContainsFunc(want, t.Equal) {
			j.find(t, KindStray, "schedule %s: tick %s was not to be", s.ref(), t.UTC().Format(time.RFC3339))
		}
	}
}

// chain checks the ticks of an interval from completion: each is the first anchor + k × interval after the one before, the anchor being the start or the
// end of one of the latest regular runs, the first tick, or the instant of a resume.
func (j *judge) chain(s *schedule, d Definition, nominals []time.Time) {
	first := s.Rec.Created.Time
	if start := s.Rec.Spec.StartAt; !start.IsZero() {
		first = start
	}
	segs := j.segments(s, d)
	if len(nominals) == 0 {
		if segs[0].state == ticking && first.Before(segs[0].to) && !first.Before(segs[0].from) {
			j.find(first, KindLost, "schedule %s (%s every %s): its first tick %s has no fate", s.ref(), d.Kind, d.Every, clock(first))
		}
		return
	}
	if slices.ContainsFunc(segs, func(g segment) bool { return g.every != d.Every && g.every != 0 }) || j.rewritten(s) || j.trimmed(s) {
		return // where its ticks are counted from is anybody's guess
	}
	if s.Rec.Spec.StartAt.IsZero() && !nominals[0].Equal(first) {
		j.find(first, KindLost, "schedule %s (%s every %s): its first tick %s has no fate", s.ref(), d.Kind, d.Every, clock(first))
	}
	for i := 1; i < len(nominals); i++ {
		prev, next := nominals[i-1], nominals[i]
		if !j.follows(s, d, first, prev, next) {
			j.find(next, KindLost, "schedule %s (%s every %s): after tick %s came %s, which no run's start or end, first tick or resume accounts for",
				s.ref(), d.Kind, d.Every, clock(prev), clock(next))
		}
	}
	last := nominals[len(nominals)-1]
	next := j.after(s, d, first, last)
	seg := segs[len(segs)-1]
	if len(segs) == 1 && next.Before(seg.to) {
		j.find(next, KindLost, "schedule %s (%s every %s): tick %s, which follows %s, has no fate", s.ref(), d.Kind, d.Every, clock(next), clock(last))
	}
}

// rewritten reports whether an act changed the spec of the incarnation.
func (j *judge) rewritten(s *schedule) bool {
	from, to := j.life(s)
	return slices.ContainsFunc(j.acts[s.Rec.ID], func(a Act) bool {
		return a.What == ActUpdate && (a.Overlap == "" || a.Spec || a.Every != 0) && !a.Ended.Before(from) && !a.Began.After(to)
	})
}

// anchors gives what the tick t after prev may be counted from by the runs: the starts and ends of the two latest regular runs that were started before t,
// for ticks up to prev. Where the store's clock stepped nobody knows which were the latest: all may be.
func (j *judge) anchors(s *schedule, prev, t time.Time) []time.Time {
	var out []time.Time
	seen := 0
	for _, r := range slices.Backward(s.Runs) {
		if !r.Fix.Trigger.Regular() || !j.Stepped && (!r.Fix.Created.Before(t) || r.Fix.Nominal.After(prev)) {
			continue
		}
		out = append(out, r.Fix.Created.Time)
		if !r.Mut.Ended.IsZero() {
			out = append(out, r.Mut.Ended.Time)
		}
		if seen++; seen == 2 && !j.Stepped {
			break
		}
	}
	return out
}

// follows reports whether next is the first anchor + k × interval after prev for one of the anchors there may be.
func (j *judge) follows(s *schedule, d Definition, first, prev, next time.Time) bool {
	for _, a := range append(j.anchors(s, prev, next), first) {
		if on(next, a, d.Every) && a.Before(next) && (!next.Add(-d.Every).After(prev) || next.Add(-d.Every).Equal(a)) {
			return true
		}
	}
	for _, a := range j.acts[s.Rec.ID] {
		if a.What != ActResume || a.Ended.Before(s.Rec.Created.Time) || a.Began.After(next) {
			continue
		}
		from, to := a.Began.Add(d.Every-time.Millisecond), a.Ended.Add(d.Every) // times are stored in whole milliseconds
		if next.Sub(from) >= d.Every {                                          // no run was started since
			later := next.Sub(from).Truncate(d.Every)
			from, to = from.Add(later), to.Add(later)
		}
		if !next.Before(from) && !next.After(to) {
			return true
		}
	}
	return false
}

// after gives the tick that is to follow the last one, nothing having happened since.
func (j *judge) after(s *schedule, d Definition, first, last time.Time) time.Time {
	anchor := first
	for _, r := range slices.Backward(s.Runs) {
		if !r.Fix.Trigger.Regular() || r.Fix.Nominal.After(last) {
			continue
		}
		if anchor = r.Fix.Created.Time; r.Mut.Status.Ended() {
			anchor = r.Mut.Ended.Time
		}
		break
	}
	next := onOrAfter(last.Add(time.Millisecond), anchor, d.Every)
	if !next.After(anchor) {
		next = anchor.Add(d.Every)
	}
	return next
}

// due gives when a tick was due at the latest.
func due(s *schedule, t time.Time) time.Time { return t.Add(time.Duration(s.Rec.Spec.Jitter)) }

// onTime reports whether a fate was decided when its tick came due: not after it waited.
func onTime(f *fate) bool {
	return f.Tick.Trigger == schedules.TriggerSchedule && f.Waited == 0 && f.Fate != schedules.FateDropped && f.Fate != schedules.FateMissed
}
