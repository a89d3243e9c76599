package schedules

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// IntervalFrom says what each tick of an interval is counted from.
type IntervalFrom string

// The choices of IntervalFrom. The empty one means FromCompletion.
const (
	FromCompletion IntervalFrom = "completion" // the end of the most recently started regular run
	FromStart      IntervalFrom = "start"      // the first tick: a fixed grid, whatever the runs do
)

// Spec says when a schedule ticks. Exactly one of Cron, Interval and Calendar is given. The zero value is not valid.
// A Spec is plain data; Compile checks it.
type Spec struct {
	Cron         string       // five fields, six with leading seconds, or a macro such as @daily
	Interval     string       // whole numbers and units, such as "30s", "1h30m", "1d12h"; from 1s to 100 years
	IntervalFrom IntervalFrom // only for an interval
	Calendar     []Calendar   // a tick when any of them matches
	Timezone     string       // IANA name; empty means UTC
	StartAt      time.Time    // first possible tick, inclusive; zero: none
	EndAt        time.Time    // no tick at or after it; zero: none
	Jitter       Duration     // up to how much the start of a tick may be delayed
}

// specJSON is a Spec in JSON; absent is null.
type specJSON struct {
	Cron         *string       `json:"cron"`
	Interval     *string       `json:"interval"`
	Calendar     []Calendar    `json:"calendar"`
	IntervalFrom *IntervalFrom `json:"interval_from"`
	Timezone     *string       `json:"timezone"`
	StartAt      *string       `json:"start_at"`
	EndAt        *string       `json:"end_at"`
	Jitter       *Duration     `json:"jitter"`
}

const specFieldNames = "cron, interval, calendar, interval_from, timezone, start_at, end_at and jitter"

// MarshalJSON writes an object with the keys cron, interval, calendar, interval_from, timezone, start_at, end_at and jitter.
// What is absent is null; defaults of timezone and interval_from are filled in; times are RFC 3339 in UTC.
func (s Spec) MarshalJSON() ([]byte, error) {
	s = s.withDefaults()
	out := specJSON{Cron: given(s.Cron), Interval: given(s.Interval), IntervalFrom: given(s.IntervalFrom),
		Timezone: given(s.Timezone), Jitter: given(s.Jitter)}
	if len(s.Calendar) > 0 {
		out.Calendar = s.Calendar
	}
	if !s.StartAt.IsZero() {
		out.StartAt = given(s.StartAt.UTC().Format(time.RFC3339Nano))
	}
	if !s.EndAt.IsZero() {
		out.EndAt = given(s.EndAt.UTC().Format(time.RFC3339Nano))
	}
	return json.Marshal(out)
}

// given returns nil for the zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// UnmarshalJSON reads what MarshalJSON writes. Keys may be missing; unknown and repeated keys are refused with a *FieldError.
func (s *Spec) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var read Spec
	err := eachMember(data, "spec", func(name string, value json.RawMessage) error {
		var target any
		switch name {
		case "cron":
			target = &read.Cron
		case "interval":
			target = &read.Interval
		case "calendar":
			target = &read.Calendar
		case "interval_from":
			target = &read.IntervalFrom
		case "timezone":
			target = &read.Timezone
		case "start_at":
			target = (*instant)(&read.StartAt)
		case "end_at":
			target = (*instant)(&read.EndAt)
		case "jitter":
			target = &read.Jitter
		default:
			return &FieldError{Field: "spec", Value: name, Problem: "is no field of it; the fields are " + specFieldNames}
		}
		return readMember(name, value, target)
	})
	if err != nil {
		return err
	}
	*s = read
	return nil
}

// readMember reads one member of the spec's object. Errors name that member.
func readMember(name string, value json.RawMessage, target any) error {
	err := json.Unmarshal(value, target)
	var bad *FieldError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &bad):
		problem := "is no JSON string; write one"
		if name == "calendar" {
			problem = "is no JSON list of objects; write one such as [{\"day_of_month\": 1}]"
		}
		return &FieldError{Field: name, Value: string(value), Problem: problem}
	case name != "calendar":
		bad.Field = name
	}
	return bad
}

// instant is a time that reads from JSON as RFC 3339 only.
type instant time.Time

func (t *instant) UnmarshalText(text []byte) error {
	v, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return &FieldError{Field: "time", Value: string(text), Problem: "is no RFC 3339 time; write one such as 2026-03-01T09:00:00Z"}
	}
	*t = instant(v.UTC())
	return nil
}

// Equal reports whether two specs, as Timing.Spec returns them, say the same: same ticks, due at the same instants.
func (s Spec) Equal(o Spec) bool {
	return s.Cron == o.Cron && s.Interval == o.Interval && s.IntervalFrom == o.IntervalFrom && slices.Equal(s.Calendar, o.Calendar) &&
		s.Timezone == o.Timezone && s.StartAt.Equal(o.StartAt) && s.EndAt.Equal(o.EndAt) && s.Jitter == o.Jitter
}

// withDefaults returns the spec with its defaults filled in.
func (s Spec) withDefaults() Spec {
	if s.Timezone == "" {
		s.Timezone = "UTC"
	}
	if s.Interval != "" && s.IntervalFrom == "" {
		s.IntervalFrom = FromCompletion
	}
	return s
}

// Compile checks a spec and makes a Timing of it. Errors are *FieldError. That the spec has a tick left is not checked here:
// see Timing.Next.
func Compile(s Spec) (*Timing, error) {
	s = s.withDefaults()
	if err := s.checkKind(); err != nil {
		return nil, err
	}
	t := &Timing{start: minSecond * 1000, end: maxSecond*1000 + 1000}
	if err := t.compileKind(&s); err != nil {
		return nil, err
	}
	zone, err := loadZone(s.Timezone)
	if err != nil {
		return nil, err
	}
	t.zone = zone
	if t.start, err = bound("start_at", &s.StartAt, t.start); err != nil {
		return nil, err
	}
	if t.end, err = bound("end_at", &s.EndAt, t.end); err != nil {
		return nil, err
	}
	if t.start >= t.end {
		return nil, &FieldError{Field: "end_at", Value: s.EndAt.Format(time.RFC3339Nano),
			Problem: "must be later than start_at " + s.StartAt.Format(time.RFC3339Nano)}
	}
	if s.Jitter < 0 {
		return nil, &FieldError{Field: "jitter", Value: s.Jitter.String(), Problem: "is negative; write a duration such as 30s"}
	}
	s.Jitter = Duration(time.Duration(s.Jitter).Truncate(time.Millisecond))
	t.spec = s
	return t, nil
}

// checkKind checks that exactly one of cron, interval and calendar is given, and that interval_from goes with it.
func (s *Spec) checkKind() error {
	var kinds []string
	if s.Cron != "" {
		kinds = append(kinds, "cron")
	}
	if s.Interval != "" {
		kinds = append(kinds, "interval")
	}
	if len(s.Calendar) > 0 {
		kinds = append(kinds, "calendar")
	}
	switch len(kinds) {
	case 0:
		return &FieldError{Field: "cron, interval, calendar", Problem: "none is given; give exactly one of them"}
	case 1:
	default:
		return &FieldError{Field: strings.Join(kinds, ", "), Problem: "exclude each other; give exactly one of cron, interval and calendar"}
	}
	switch s.IntervalFrom {
	case "", FromCompletion, FromStart:
	default:
		return &FieldError{Field: "interval_from", Value: string(s.IntervalFrom), Problem: "is unknown; write completion or start"}
	}
	if s.Interval == "" && s.IntervalFrom != "" {
		return &FieldError{Field: "interval_from", Value: string(s.IntervalFrom), Problem: "goes with an interval only; leave it out with " + kinds[0]}
	}
	return nil
}

// compileKind compiles cron, interval or calendar, and normalizes it.
func (t *Timing) compileKind(s *Spec) error {
	switch {
	case s.Cron != "":
		clock, elapsed, err := parseCron(s.Cron)
		if err != nil {
			return err
		}
		s.Cron = strings.Join(strings.Fields(s.Cron), " ")
		t.clocks, t.elapsed = []*wallclock{clock}, elapsed
	case s.Interval != "":
		interval, err := parseInterval(s.Interval)
		if err != nil {
			return err
		}
		t.interval = interval.Milliseconds()
	default:
		s.Calendar = slices.Clone(s.Calendar)
		for i, c := range s.Calendar {
			s.Calendar[i] = c.normal()
			clock, err := parseCalendar(s.Calendar[i])
			if err != nil {
				return err
			}
			t.clocks = append(t.clocks, clock)
		}
	}
	return nil
}

// bound rounds a bound up to the millisecond, in place, and returns it in Unix milliseconds; without one it returns none.
func bound(field string, at *time.Time, none int64) (int64, error) {
	if at.IsZero() {
		return none, nil
	}
	if sec := at.Unix(); sec < minSecond || sec >= maxSecond {
		return 0, &FieldError{Field: field, Value: at.Format(time.RFC3339Nano), Problem: "is out of range; write a year from 1 to 9999"}
	}
	ms := ceilMilli(*at)
	*at = time.UnixMilli(ms).UTC()
	return ms, nil
}
