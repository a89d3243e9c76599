package schedules

import (
	"iter"
	"math"
	"slices"
	"time"
)

// Timing is a compiled Spec. It is immutable and safe for concurrent use. Make one with Compile; the zero value is of no use.
type Timing struct {
	spec       Spec
	zone       *zone
	start, end int64        // the bounds [start, end) in Unix milliseconds
	interval   int64        // in milliseconds; 0 when clocks tell the times
	clocks     []*wallclock // any of them
	elapsed    bool         // clocks mean every instant that shows a reading of theirs, not each of the times they name once
}

// Spec returns the spec with its defaults filled in, bounds and jitter in whole milliseconds, times in UTC.
func (t *Timing) Spec() Spec {
	s := t.spec
	s.Calendar = slices.Clone(s.Calendar)
	return s
}

// IsInterval reports whether the spec is an interval.
func (t *Timing) IsInterval() bool { return t.interval > 0 }

// IntervalDuration returns the interval; 0 when the spec is none.
func (t *Timing) IntervalDuration() time.Duration {
	return time.Duration(t.interval) * time.Millisecond
}

// StartAt returns the first possible tick, in UTC; zero when there is no such bound.
func (t *Timing) StartAt() time.Time { return t.spec.StartAt }

// EndAt returns the end, exclusive, in UTC; zero when there is none.
func (t *Timing) EndAt() time.Time { return t.spec.EndAt }

// Next returns the first nominal time strictly after the given instant, in UTC and whole milliseconds; false when there is none.
// An interval is counted from start_at; without one, after counts as its creation, so the answer is one interval later.
func (t *Timing) Next(after time.Time) (time.Time, bool) {
	if t.interval > 0 {
		return t.NextFrom(t.spec.StartAt, after, false)
	}
	ms, ok := t.nextClock(max(floorMilli(after), t.start-1))
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// NextFrom is Next for an interval whose grid is anchored elsewhere: the first base + k × interval strictly after the given
// instant and within the bounds. k starts at 0; it may be negative when both says that the grid extends both ways.
// A zero base counts as after itself. For cron and calendars base does not matter.
func (t *Timing) NextFrom(base, after time.Time, both bool) (time.Time, bool) {
	if t.interval == 0 {
		return t.Next(after)
	}
	from := floorMilli(after)
	anchor := from
	if !base.IsZero() {
		anchor = floorMilli(base)
	}
	from = max(from, t.start-1)
	k := floorDiv(from-anchor, t.interval) + 1
	if !both {
		k = max(k, 0)
	}
	ms := anchor + k*t.interval
	if ms >= t.end {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// Between yields the nominal times in [start, end), in order. For an interval base is a grid point, and the grid extends both
// ways; a zero base means start_at, or start without one.
func (t *Timing) Between(base, start, end time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		from := ceilMilli(start)
		if base.IsZero() {
			base = t.spec.StartAt
		}
		if base.IsZero() {
			base = time.UnixMilli(from)
		}
		for after := time.UnixMilli(from - 1); ; {
			next, ok := t.NextFrom(base, after, true)
			if !ok || !next.Before(end) || !yield(next) {
				return
			}
			after = next
		}
	}
}

// nextClock returns the first tick after the given millisecond that clocks tell.
func (t *Timing) nextClock(after int64) (int64, bool) {
	sec := floorDiv(after, 1000)
	var ok bool
	if t.elapsed {
		sec, ok = t.nextShown(sec)
	} else {
		sec, ok = t.nextNamed(sec)
	}
	return sec * 1000, ok && sec <= maxSecond && sec*1000 < t.end
}

// nextNamed returns the first second after the given one at which a named time falls due. A named time falls due when the
// clocks first reach it. So those that are over are the ones up to the furthest reading so far, and the first named time beyond
// it is next: whatever the clocks skipped or repeated.
func (t *Timing) nextNamed(after int64) (int64, bool) {
	reading := int64(math.MaxInt64)
	from := t.zone.reached(after) + 1
	for _, c := range t.clocks {
		if r, ok := c.next(from); ok {
			reading = min(reading, r)
		}
	}
	if reading == math.MaxInt64 {
		return 0, false
	}
	return t.zone.first(reading), true
}

// nextShown returns the first second after the given one at which the clocks show a reading of the set.
func (t *Timing) nextShown(after int64) (int64, bool) {
	from := after + 1
	for from <= maxSecond {
		offset, _, end := t.zone.span(from)
		reading, ok := t.clocks[0].next(from + offset)
		if !ok {
			return 0, false
		}
		if sec := reading - offset; sec < end {
			return sec, true
		}
		// A change of offset comes first. Readings from here up to that one are not in the set. Two shifts from now on, the
		// clocks can't show anything earlier than what they show now, so the way there may be skipped.
		if end >= from+2*maxShift {
			end = max(end, reading-maxShift)
		}
		from = end
	}
	return 0, false
}

// floorMilli returns t in Unix milliseconds, rounded down, and kept within the years 1 to 9999.
func floorMilli(t time.Time) int64 {
	sec := t.Unix()
	switch {
	case sec < minSecond:
		return minSecond*1000 - 1
	case sec > maxSecond:
		return maxSecond*1000 + 999
	}
	return sec*1000 + int64(t.Nanosecond())/int64(time.Millisecond)
}

// ceilMilli is floorMilli, rounded up.
func ceilMilli(t time.Time) int64 {
	ms := floorMilli(t)
	if time.Duration(t.Nanosecond())%time.Millisecond != 0 {
		ms++
	}
	return ms
}
