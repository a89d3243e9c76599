package schedules

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// maxDescription is the length from which on a description helps less than the expression itself.
const maxDescription = 160

// Describe says in words when the spec ticks, such as "Every day at 09:00 Europe/Berlin". What is too intricate for words is
// named by its expression.
func (t *Timing) Describe() string {
	s := &t.spec
	var text string
	switch {
	case t.interval > 0 && s.IntervalFrom == FromStart:
		text = "every " + elapsedWords(t.IntervalDuration()) + ", on a fixed grid"
	case t.interval > 0:
		text = "every " + elapsedWords(t.IntervalDuration()) + ", counted from the end of the last run"
	default:
		text = t.describeClocks()
	}
	if !s.StartAt.IsZero() {
		text += ", from " + describeInstant(s.StartAt)
	}
	if !s.EndAt.IsZero() {
		text += ", until " + describeInstant(s.EndAt)
	}
	if s.Jitter > 0 {
		text += ", delayed by up to " + s.Jitter.String()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// elapsedWords writes an interval the way one says it after "every": "minute", "5 minutes", "1 hour 30 minutes".
func elapsedWords(d time.Duration) string {
	var parts []string
	for _, unit := range [...]struct {
		name string
		size time.Duration
	}{{"day", day}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := int(d / unit.size); n > 0 {
			parts = append(parts, counted(n, unit.name))
			d %= unit.size
		}
	}
	switch text := strings.Join(parts, " "); {
	case text == "1 day":
		return "24 hours" // of elapsed time, not "every day"
	case len(parts) == 1:
		return strings.TrimPrefix(text, "1 ")
	default:
		return text
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func describeInstant(at time.Time) string {
	layout := "2006-01-02 15:04"
	if at.Second() != 0 || at.Nanosecond() != 0 {
		layout = "2006-01-02 15:04:05.999"
	}
	return at.UTC().Format(layout) + " UTC"
}

func (t *Timing) describeClocks() string {
	parts := make([]string, 0, len(t.clocks))
	uniform := true
	for _, c := range t.clocks {
		parts = append(parts, c.describe())
		uniform = uniform && c.hour == allBits(&hourField) && c.allDays() &&
			(t.spec.Timezone == "UTC" || c.minute == allBits(&minuteField) || everyNth(c.minute, &minuteField) > 1)
	}
	text := strings.Join(parts, "; ")
	switch {
	case len(text) <= maxDescription:
	case t.spec.Cron != "":
		text = "by cron " + quote(t.spec.Cron)
	case len(t.clocks) == 1:
		text = "by calendar " + quote(t.spec.Calendar[0].String())
	default:
		text = "by " + strconv.Itoa(len(t.clocks)) + " calendars"
	}
	switch {
	case uniform && len(t.clocks) == 1:
		return text // the same in every zone
	case len(text) > 3 && text[len(text)-3] == ':': // a time of day
		return text + " " + t.spec.Timezone
	default:
		return text + ", " + t.spec.Timezone + " time"
	}
}

// describe says when the clock matches, without the zone.
func (c *wallclock) describe() string {
	days := c.describeDays()
	if times := c.describeTimes(); times != "" {
		return days + " at " + times
	}
	often := c.describeOften()
	if c.allDays() {
		return often
	}
	return often + ", " + days
}

// describeTimes lists the times of day if they are few; it returns "" if they are many.
func (c *wallclock) describeTimes() string {
	if bits.OnesCount64(c.hour)*bits.OnesCount64(c.minute)*bits.OnesCount64(c.second) > 6 {
		return ""
	}
	var times []string
	for hour := range each(c.hour) {
		for minute := range each(c.minute) {
			for second := range each(c.second) {
				times = append(times, c.timeOfDay(hour, minute, second))
			}
		}
	}
	return joined(times, "and")
}

func (c *wallclock) timeOfDay(hour, minute, second int) string {
	if c.second == 1 {
		return fmt.Sprintf("%02d:%02d", hour, minute)
	}
	return fmt.Sprintf("%02d:%02d:%02d", hour, minute, second)
}

// describeOften says how often it is within the day, when that is often.
func (c *wallclock) describeOften() string {
	onceAnHour := bits.OnesCount64(c.minute)*bits.OnesCount64(c.second) == 1
	if onceAnHour {
		minute, second := bits.TrailingZeros64(c.minute), bits.TrailingZeros64(c.second)
		first, last, step := progression(c.hour)
		switch {
		case c.hour == allBits(&hourField) && minute == 0 && second == 0:
			return "every hour"
		case c.hour == allBits(&hourField) && second == 0:
			return fmt.Sprintf("every hour at minute %d", minute)
		case c.hour == allBits(&hourField):
			return fmt.Sprintf("every hour at minute %d, second %d", minute, second)
		case step > 0:
			return "every " + strings.TrimPrefix(counted(step, "hour"), "1 ") + " from " +
				c.timeOfDay(first, minute, second) + " to " + c.timeOfDay(last, minute, second)
		}
	}

	var text string
	switch {
	case c.second == 1:
		text = often(c.minute, &minuteField)
	case c.minute == allBits(&minuteField):
		text = often(c.second, &secondField)
		if bits.OnesCount64(c.second) == 1 {
			text = "every minute " + text
		}
	default:
		text = often(c.second, &secondField) + " of " + plural(c.minute, "minute")
	}
	first, last, step := progression(c.hour)
	switch {
	case c.hour == allBits(&hourField):
		if c.second == 1 && strings.HasPrefix(text, "at ") {
			text += " of every hour"
		}
		return text
	case step == 1 || first == last:
		return text + fmt.Sprintf(" from %02d:00 to %02d:59", first, last)
	default:
		return text + " in " + plural(c.hour, "hour")
	}
}

// often says "every minute", "every 5 minutes", "at minutes 3 and 7".
func often(set uint64, f *field) string {
	switch step := everyNth(set, f); {
	case set == allBits(f):
		return "every " + f.name
	case step > 0:
		return "every " + counted(step, f.name)
	default:
		return "at " + plural(set, f.name)
	}
}

// everyNth returns n if the set holds each nth value of the field, counted through without a break; else 0.
func everyNth(set uint64, f *field) int {
	first, _, step := progression(set)
	width := f.max - f.min + 1
	if first == f.min && step > 0 && width%step == 0 && bits.OnesCount64(set) == width/step {
		return step
	}
	return 0
}

func (c *wallclock) allDays() bool {
	return c.years == nil && c.month == allBits(&monthField) && (c.anyDate() && c.anyWeekday() || c.either && (c.anyDate() || c.anyWeekday()))
}

func (c *wallclock) anyDate() bool    { return c.dayOfMonth == allBits(&dayOfMonthField) }
func (c *wallclock) anyWeekday() bool { return c.dayOfWeek == allBits(&dayOfWeekField) }

// describeDays says on which days: "every day", "on day 1 and 15 of every month", "Monday to Friday in June".
func (c *wallclock) describeDays() string {
	anyDate, anyWeekday := c.anyDate(), c.anyWeekday()
	if c.either && (anyDate || anyWeekday) {
		anyDate, anyWeekday = true, true
	}
	months := "every month"
	if c.month != allBits(&monthField) {
		months = valueList(c.month, monthName, "and")
	}
	var text string
	switch {
	case anyDate && anyWeekday:
		text = "every day"
	case anyDate:
		text = weekdays(c.dayOfWeek, "and")
		if bits.OnesCount64(c.dayOfWeek) == 1 {
			text = "every " + text
		}
	default:
		text = "on " + c.describeDates() + " of " + months
		months = "every month"
		switch {
		case anyWeekday:
		case c.either:
			text += " and on every " + weekdays(c.dayOfWeek, "and")
			if c.month != allBits(&monthField) {
				text += " in the same months"
			}
		default:
			text += " if it is a " + weekdays(c.dayOfWeek, "or")
		}
	}
	if months != "every month" {
		text += " in " + months
	}
	if c.years != nil {
		text += " in " + c.years.describe()
	}
	return text
}

func (c *wallclock) describeDates() string {
	switch {
	case c.dayOfMonth == 0:
		return "the last day"
	case c.lastDay:
		return "day " + numberList(c.dayOfMonth, ",") + " and the last day"
	default:
		return "day " + numberList(c.dayOfMonth, "and")
	}
}

// weekdays lists days of the week, Monday first.
func weekdays(set uint64, conjunction string) string {
	if set&1 != 0 {
		set = set&^1 | 1<<sunday7
	}
	return valueList(set, weekdayName, conjunction)
}

func weekdayName(d int) string { return time.Weekday(d % sunday7).String() }
func monthName(m int) string   { return time.Month(m).String() }

func (s *yearSet) describe() string {
	var years []string
	for year := minYear; year <= maxYear; year++ {
		if !s.has(year) {
			continue
		}
		last := year
		for s.has(last + 1) {
			last++
		}
		text := strconv.Itoa(year)
		if last > year {
			text += " to " + strconv.Itoa(last)
		}
		years = append(years, text)
		year = last
	}
	return joined(years, "and")
}

// plural says "minute 5" or "minutes 5, 10 to 20 and 30".
func plural(set uint64, noun string) string {
	if bits.OnesCount64(set) > 1 {
		noun += "s"
	}
	return noun + " " + numberList(set, "and")
}

// numberList lists the values of a set; many with the same distance as "a to b in steps of n".
func numberList(set uint64, conjunction string) string {
	if first, last, step := progression(set); step > 1 && bits.OnesCount64(set) > 4 {
		return fmt.Sprintf("%d to %d in steps of %d", first, last, step)
	}
	return valueList(set, strconv.Itoa, conjunction)
}

// valueList lists the values of a set by name; three and more in a row as "a to b".
func valueList(set uint64, name func(int) string, conjunction string) string {
	var parts []string
	for set != 0 {
		first := bits.TrailingZeros64(set)
		length := bits.TrailingZeros64(^(set >> first))
		set &^= (1<<length - 1) << first
		if length > 2 {
			parts = append(parts, name(first)+" to "+name(first+length-1))
			continue
		}
		for i := range length {
			parts = append(parts, name(first+i))
		}
	}
	return joined(parts, conjunction)
}

// joined writes "a, b and c".
func joined(parts []string, conjunction string) string {
	last := len(parts) - 1
	if last < 1 || conjunction == "," {
		return strings.Join(parts, ", ")
	}
	return strings.Join(parts[:last], ", ") + " " + conjunction + " " + parts[last]
}

// progression returns the first and the last value of a set and their distance, if all are equally far apart and there are at
// least two; else step is 0.
func progression(set uint64) (first, last, step int) {
	first, last = bits.TrailingZeros64(set), bits.Len64(set)-1
	previous := first
	for v := range each(set &^ (1 << first)) {
		if step != 0 && v-previous != step {
			return first, last, 0
		}
		step, previous = v-previous, v
	}
	return first, last, step
}

// each yields the values of a set.
func each(set uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for ; set != 0; set &= set - 1 {
			if !yield(bits.TrailingZeros64(set)) {
				return
			}
		}
	}
}

// allBits is the set of all values of a field.
func allBits(f *field) uint64 { return (1<<(f.max-f.min+1) - 1) << f.min }
