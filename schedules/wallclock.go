package schedules

import "math/bits"

const (
	minYear = 1970 // of a calendar's year field
	maxYear = 9999

	secondsPerDay = 86400
)

// wallclock is a set of readings of a clock on the wall, in no zone: the times that a cron expression or a calendar names.
// A reading is counted in seconds as if the clock ran on UTC. It is immutable.
type wallclock struct {
	second, minute, hour uint64 // bit n stands for the value n; never empty
	dayOfMonth           uint64
	lastDay              bool // the month's last day belongs to dayOfMonth, too
	month, dayOfWeek     uint64
	either               bool     // a day matches by dayOfMonth or dayOfWeek, not only by both
	years                *yearSet // nil: every year
	kinds                uint16   // the kinds of year (see yearKind) that have a matching day
}

// yearSet is a set of years from minYear to maxYear.
type yearSet [(maxYear-minYear)/64 + 1]uint64

func (s *yearSet) add(year int) { s[(year-minYear)/64] |= 1 << ((year - minYear) % 64) }
func (s *yearSet) has(year int) bool {
	return year >= minYear && s[(year-minYear)/64]>>((year-minYear)%64)&1 != 0
}

// settle notes which kinds of year have a matching day. It reports whether any year has one.
func (c *wallclock) settle() bool {
	c.kinds = 0
	for kind := range 14 {
		for month := 1; month <= 12; month++ {
			first, length := monthOfKind(kind, month)
			if c.days(month, first, length) != 0 {
				c.kinds |= 1 << kind
			}
		}
	}
	if c.years == nil {
		return c.kinds != 0 // the calendar's cycle has every kind
	}
	for year := minYear; year <= maxYear; year++ {
		if c.hasYear(year) {
			return true
		}
	}
	return false
}

// next returns the first reading of the set that is not before r.
func (c *wallclock) next(r int64) (int64, bool) {
	from := floorDiv(r, secondsPerDay)
	date, ok := c.nextDay(from)
	if ok && date == from {
		if s, ok := c.timeFrom(int(r - from*secondsPerDay)); ok {
			return date*secondsPerDay + int64(s), true
		}
		date, ok = c.nextDay(from + 1)
	}
	if !ok {
		return 0, false
	}
	h, m, s := bits.TrailingZeros64(c.hour), bits.TrailingZeros64(c.minute), bits.TrailingZeros64(c.second)
	return date*secondsPerDay + int64(h*3600+m*60+s), true
}

// timeFrom returns the first time of day of the set, in seconds since midnight, that is not before s.
func (c *wallclock) timeFrom(s int) (int, bool) {
	hour, minute, second := s/3600, s/60%60, s%60
	if c.hour>>hour&1 != 0 {
		if c.minute>>minute&1 != 0 {
			if left := c.second >> second; left != 0 {
				return s + bits.TrailingZeros64(left), true
			}
		}
		if left := c.minute >> (minute + 1); left != 0 {
			minute += 1 + bits.TrailingZeros64(left)
			return hour*3600 + minute*60 + bits.TrailingZeros64(c.second), true
		}
	}
	if left := c.hour >> (hour + 1); left != 0 {
		hour += 1 + bits.TrailingZeros64(left)
		return hour*3600 + bits.TrailingZeros64(c.minute)*60 + bits.TrailingZeros64(c.second), true
	}
	return 0, false
}

// nextDay returns the first matching day that is not before the given one; days count from 1970-01-01.
func (c *wallclock) nextDay(from int64) (int64, bool) {
	year, month, skip := civil(from)
	for ; year <= maxYear; year++ {
		if c.hasYear(year) {
			kind := yearKind(year)
			for ; month <= 12; month++ {
				first, length := monthOfKind(kind, month)
				if days := c.days(month, first, length) >> skip; days != 0 {
					return dayNumber(year, month, skip+bits.TrailingZeros32(days)), true
				}
				skip = 0
			}
		}
		month, skip = 1, 0
	}
	return 0, false
}

func (c *wallclock) hasYear(year int) bool {
	return (c.years == nil || c.years.has(year)) && c.kinds>>yearKind(year)&1 != 0
}

// days returns the matching days of a month as bits 1 to 31, given the weekday of its first day (0 is Sunday) and its length.
func (c *wallclock) days(month, first, length int) uint32 {
	if c.month>>month&1 == 0 {
		return 0
	}
	byDate := uint32(c.dayOfMonth)
	if c.lastDay {
		byDate |= 1 << length
	}
	week := (c.dayOfWeek>>first | c.dayOfWeek<<(7-first)) & 0x7f                // bit n: the weekday of day n+1
	byWeekday := uint32((week | week<<7 | week<<14 | week<<21 | week<<28) << 1) // the week repeated, from day 1
	exist := uint32(1)<<(length+1) - 2
	if c.either {
		return (byDate | byWeekday) & exist
	}
	return byDate & byWeekday & exist
}

// A year is of one of 14 kinds, by the weekday of its first day and whether it is a leap year.
func yearKind(year int) int {
	kind := int(floorMod(dayNumber(year, 1, 1)+4, 7)) // 1970-01-01 was a Thursday
	if isLeap(year) {
		kind += 7
	}
	return kind
}

var daysBefore = [...]int{0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

// monthOfKind returns the weekday of the first day of a month and the month's length in a kind of year.
func monthOfKind(kind, month int) (first, length int) {
	before, length := daysBefore[month], daysBefore[month+1]-daysBefore[month]
	if kind >= 7 {
		if month > 2 {
			before++
		}
		if month == 2 {
			length++
		}
	}
	return (kind + before) % 7, length
}

func isLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// dayNumber returns the days from 1970-01-01 to a date of the Gregorian calendar; civil is its inverse.
// Both count in years that begin in March, so that the leap day is the last.
func dayNumber(year, month, d int) int64 {
	y, m := int64(year), int64(month)
	if m <= 2 {
		y, m = y-1, m+12
	}
	return y*365 + floorDiv(y, 4) - floorDiv(y, 100) + floorDiv(y, 400) + (153*(m-3)+2)/5 + int64(d) - 1 - 719468
}

func civil(date int64) (year, month, d int) {
	date += 719468
	era := floorDiv(date, 146097)
	doe := date - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	m := (5*doy + 2) / 153
	d = int(doy-(153*m+2)/5) + 1
	year, month = int(yoe+era*400), int(m)+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }
