package schedules

import (
	"math"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// maxShift is more than any zone is ever away from UTC, in seconds.
	maxShift = 26 * 3600

	// The Gregorian calendar, and with it every daylight saving rule, repeats after 400 years. What zones did one by one,
	// irregularly, is over by cycleStart; from cycleEnd on a zone does what it did 400 years before.
	cycle      = 146097 * 86400
	cycleStart = 4102444800 // 2100-01-01
	cycleEnd   = cycleStart + cycle

	minSecond = -62135596800 // 0001-01-01T00:00:00Z
	maxSecond = 253402300799 // 9999-12-31T23:59:59Z
)

// zone is a time zone as the table of its changes of offset. It is immutable.
// Seconds are Unix seconds; a reading is what the zone's clocks show, as if it were UTC: instant + offset.
type zone struct {
	shifts []shift
	cyclic bool // the rules go on past the table
}

// shift says that from the second `at` on the zone is `offset` seconds ahead of UTC. The first shift is at the beginning of time.
type shift struct{ at, offset int64 }

// span returns the offset at t and a stretch [start, end) around t throughout which it holds.
func (z *zone) span(t int64) (offset, start, end int64) {
	var later int64
	if z.cyclic && t >= cycleEnd {
		later = ((t-cycleEnd)/cycle + 1) * cycle
		t -= later
	}
	lo, hi := 0, len(z.shifts)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if z.shifts[mid].at <= t {
			lo = mid
		} else {
			hi = mid
		}
	}
	offset, start, end = z.shifts[lo].offset, z.shifts[lo].at, math.MaxInt64
	switch {
	case hi < len(z.shifts):
		end = z.shifts[hi].at
	case z.cyclic:
		end = cycleEnd
	}
	if later > 0 {
		start, end = max(start, cycleStart)+later, end+later
	}
	return offset, start, end
}

// reached returns the furthest reading the clocks have shown up to and including the second t.
// It is ahead of the reading at t when they were put back not long ago.
func (z *zone) reached(t int64) int64 {
	offset, start, _ := z.span(t)
	furthest := t + offset
	for start > t-2*maxShift {
		before := start - 1
		offset, start, _ = z.span(before)
		furthest = max(furthest, before+offset)
	}
	return furthest
}

// first returns the first second at which the clocks have reached the reading: the second at which they show it, the first
// one when they show it twice, the end of the gap when they skip it.
func (z *zone) first(reading int64) int64 {
	t := reading - maxShift
	for {
		offset, _, end := z.span(t)
		t = max(t, reading-offset)
		if t < end {
			return t
		}
		t = end
	}
}

// zones caches the tables of zones by name: building one costs a fraction of a millisecond. Only names that exist get in.
var zones sync.Map // string → *zone

var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

// loadZone returns the zone of an IANA name. The host's own zone, under any name, is refused.
func loadZone(name string) (*zone, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*zone), nil
	}
	loc, ok := loadLocation(name)
	if !ok {
		problem := "is no time zone; write an IANA name such as Europe/Berlin or UTC"
		if near := respell(name); near != name {
			if _, ok := loadLocation(near); ok {
				problem = "is no time zone; did you mean " + near + "?"
			}
		}
		return nil, &FieldError{Field: "timezone", Value: name, Problem: problem}
	}
	z, _ := zones.LoadOrStore(name, newZone(loc))
	return z.(*zone), nil
}

func loadLocation(name string) (*time.Location, bool) {
	area, _, _ := strings.Cut(name, "/")
	switch area {
	case "Local", "localtime", "posixrules", "posix", "right", "Factory":
		return nil, false
	}
	if !zoneName.MatchString(name) {
		return nil, false
	}
	loc, err := time.LoadLocation(name)
	return loc, err == nil
}

// respell guesses how a zone's name is really spelt: "america/new york" is America/New_York, "utc" is UTC.
func respell(name string) string {
	name = strings.ReplaceAll(strings.TrimSpace(name), " ", "_")
	if !strings.Contains(name, "/") {
		return strings.ToUpper(name)
	}
	b := []byte(strings.ToLower(name))
	for i := range b {
		if (i == 0 || b[i-1] == '/' || b[i-1] == '_' || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// newZone makes the table of a location by walking from change to change.
func newZone(loc *time.Location) *zone {
	sec := int64(minSecond - 2*maxShift)
	_, offset := time.Unix(sec, 0).In(loc).Zone()
	z := &zone{shifts: []shift{{math.MinInt64, int64(offset)}}}
	last := z.shifts[0]
	for {
		_, end := time.Unix(sec, 0).In(loc).ZoneBounds()
		if end.IsZero() {
			break
		}
		next := end.Unix()
		if next <= sec { // past the changes of a year, its bound is 365 days after New Year: short of a leap year's end
			next = time.Date(time.Unix(sec, 0).UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		}
		if sec = next; sec >= cycleEnd {
			break
		}
		if _, offset := time.Unix(sec, 0).In(loc).Zone(); int64(offset) != last.offset {
			last = shift{sec, int64(offset)}
			z.shifts = append(z.shifts, last)
		}
	}
	z.cyclic = last.at >= cycleStart
	return z
}
