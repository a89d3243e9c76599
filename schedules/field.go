package schedules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

// field is what is known of one field of a cron expression or a calendar.
type field struct {
	name     string
	min, max int
	names    []string // names of the values from min on, at full length; the first three letters do as well
}

const sunday7 = 7 // the other number of Sunday, as in cron

var (
	secondField     = field{name: "second", min: 0, max: 59}
	minuteField     = field{name: "minute", min: 0, max: 59}
	hourField       = field{name: "hour", min: 0, max: 23}
	dayOfMonthField = field{name: "day_of_month", min: 1, max: 31}
	monthField      = field{name: "month", min: 1, max: 12, names: []string{"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december"}}
	dayOfWeekField = field{name: "day_of_week", min: 0, max: 6, names: []string{"sunday", "monday", "tuesday", "wednesday",
		"thursday", "friday", "saturday"}}
	yearField = field{name: "year", min: minYear, max: maxYear}

	// clockFields are the fields in the order of a cron expression that leads with seconds.
	clockFields = [6]*field{&secondField, &minuteField, &hourField, &dayOfMonthField, &monthField, &dayOfWeekField}
)

// span is a run of values: from low to high in steps. On the day of the week high may be 7.
type span struct{ low, high, step int }

// parse reads a list of values, ranges and steps. It refuses all that cron's own readers guess at.
func (f *field) parse(text string) ([]span, error) {
	var spans []span
	for element := range strings.SplitSeq(text, ",") {
		s, err := f.parseElement(element)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func (f *field) parseElement(element string) (span, error) {
	values, step, stepped := strings.Cut(element, "/")
	low, high, ranged := strings.Cut(values, "-")
	s := span{high: f.max, step: 1}
	var err error
	switch {
	case element == "":
		return s, fmt.Errorf("%s has an empty element; write values between the commas", f.name)
	case values == "*":
		s.low = f.min
	case ranged:
		if s.low, err = f.value(low); err != nil {
			return s, err
		}
		if s.high, err = f.value(high); err != nil {
			return s, err
		}
		if f.isDayOfWeek() && s.high == 0 && s.low > 0 && !isDigits(low) && !isDigits(high) {
			s.high = sunday7 // fri-sun
		}
		if s.low > s.high {
			return s, fmt.Errorf("%s %s runs backward; write a list of two ranges, such as %s", f.name, quote(values), f.forward(s))
		}
	default:
		if s.low, err = f.value(values); err != nil {
			return s, err
		}
		if !stepped || s.low > f.max {
			s.high = s.low
		}
	}
	if stepped {
		width := f.max - f.min + 1
		n, ok := number(step)
		switch {
		case !ok || n == 0:
			return s, fmt.Errorf("%s %s has no good step; write a whole number from 1 to %d after the slash", f.name, quote(element), width)
		case n > width:
			return s, fmt.Errorf("%s %s has a step wider than the field; write one from 1 to %d", f.name, quote(element), width)
		}
		s.step = n
	}
	return s, nil
}

// value reads one number or name.
func (f *field) value(text string) (int, error) {
	if text == "" {
		return 0, fmt.Errorf("%s has a range or step without its value; write %s", f.name, f.values())
	}
	if n, ok := number(text); ok {
		if n >= f.min && n <= f.max || f.isDayOfWeek() && n == sunday7 {
			return n, nil
		}
		return 0, fmt.Errorf("%s %d is out of range; write %s", f.name, n, f.values())
	}
	for i, name := range f.names {
		if lower := strings.ToLower(text); lower == name || lower == name[:3] {
			return f.min + i, nil
		}
	}
	return 0, fmt.Errorf("%s %s is not known; write %s", f.name, quote(text), f.values())
}

func (f *field) isDayOfWeek() bool { return f.name == dayOfWeekField.name }

// values says what the field takes.
func (f *field) values() string {
	s := fmt.Sprintf("%d to %d", f.min, f.max)
	switch {
	case f.isDayOfWeek():
		s = "0 to 7 (0 and 7 are Sunday)"
	case f.name == dayOfMonthField.name:
		return s
	}
	if f.names != nil {
		s += " or a name such as " + f.names[1][:3]
	}
	return s
}

// forward writes a backward range as two forward ones.
func (f *field) forward(s span) string {
	return fmt.Sprintf("%d-%d,%d-%d", s.low, f.max, f.min, s.high)
}

// number reads a plain decimal number.
func number(text string) (int, bool) {
	if !isDigits(text) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// plain writes spans the way cron's reader takes them, with Sunday as 0.
func (f *field) plain(spans []span) string {
	parts := make([]string, 0, len(spans))
	for _, s := range spans {
		if s.high <= f.max {
			parts = append(parts, fmt.Sprintf("%d-%d/%d", s.low, s.high, s.step))
			continue
		}
		for v := s.low; v <= s.high; v += s.step {
			parts = append(parts, strconv.Itoa(v%sunday7))
		}
	}
	return strings.Join(parts, ",")
}

// readFields has cron's reader turn the six fields second to day_of_week into sets of values.
func readFields(fields [6][]span) (*wallclock, error) {
	texts := make([]string, len(fields))
	for i, spans := range fields {
		texts[i] = clockFields[i].plain(spans)
	}
	schedule, err := sixFields.Parse(strings.Join(texts, " "))
	if err != nil {
		return nil, err
	}
	s, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("is not understood: %T", schedule)
	}
	const values = 1<<60 - 1 // without the bit that stands for a star
	return &wallclock{
		second: s.Second & values, minute: s.Minute & values, hour: s.Hour & values,
		dayOfMonth: s.Dom & values, month: s.Month & values, dayOfWeek: s.Dow & values,
	}, nil
}

var sixFields = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
