package schedules

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// FuzzNext: the next time is after t, is the first (no time in between has a next one before it), is a whole millisecond, and
// in its zone the clocks show a matching reading, or it is the end of a gap.
func FuzzNext(f *testing.F) {
	for _, c := range readConformance(f) {
		s := map[string]string{}
		for flag, value := range pairs(c.Args) {
			s[flag] = value
		}
		if after, err := time.Parse(time.RFC3339, s["--after"]); err == nil {
			f.Add(s["--cron"], s["--interval"], s["--calendar"], s["--timezone"], after.Unix(), uint32(after.Nanosecond()), uint32(40000))
		}
	}
	for _, zone := range oddZones {
		f.Add("30 2 * * *", "", "", zone, int64(1774746000), uint32(0), uint32(3600))
		f.Add("30 * * * *", "", "", zone, int64(1761440000), uint32(999999999), uint32(86400))
		f.Add("", "", "hour=* minute=*/20 day_of_month=1,last", zone, int64(1325239200), uint32(1), uint32(1))
	}
	f.Fuzz(func(t *testing.T, cron, interval, calendar, zone string, sec int64, nsec, within uint32) {
		s := Spec{Cron: cron, Interval: interval, Timezone: zone}
		if calendar != "" {
			c, err := ParseCalendar(calendar)
			if err != nil {
				return
			}
			s.Calendar = []Calendar{c}
		}
		timing, err := Compile(s)
		if err != nil {
			return
		}
		after := time.Unix(sec, int64(nsec%1e9))
		next, ok := timing.Next(after)
		if !ok {
			if !next.IsZero() {
				t.Fatalf("none, but %s", next)
			}
			return
		}
		if next.Location() != time.UTC || next.Nanosecond()%1e6 != 0 || next.Year() > 9999 {
			t.Fatalf("%s is not in UTC and whole milliseconds", next)
		}
		if sec > maxSecond || sec < minSecond {
			return
		}
		if !next.After(after) {
			t.Fatalf("%s is not after %s", next, after)
		}
		if timing.IsInterval() {
			if got := next.Sub(after.Truncate(time.Millisecond)); got != timing.IntervalDuration() && after.Year() < 9700 && after.Year() > 0 {
				t.Fatalf("%s is %s after %s", next, got, after)
			}
			return
		}
		if between := after.Add(time.Duration(within) * time.Second); between.Before(next) {
			if again, ok := timing.Next(between); !ok || !again.Equal(next) {
				t.Fatalf("after %s it is %s, but after %s it is %s", after, next, between, again)
			}
		}
		if just := next.Add(-time.Nanosecond); just.After(after) {
			if again, ok := timing.Next(just); !ok || !again.Equal(next) {
				t.Fatalf("after %s it is %s, but after %s it is %s", after, next, just, again)
			}
		}
		checkShown(t, timing, next)
	})
}

// checkShown checks that a tick is at a matching reading or, for named times, at the end of a gap with one in it.
func checkShown(t *testing.T, timing *Timing, tick time.Time) {
	t.Helper()
	loc, err := time.LoadLocation(timing.Spec().Timezone)
	if err != nil {
		t.Fatal(err)
	}
	sec := tick.Unix()
	reading := func(sec int64) int64 {
		_, offset := time.Unix(sec, 0).In(loc).Zone()
		return sec + int64(offset)
	}
	shown, before := reading(sec), reading(sec-1)
	first := shown
	if !timing.elapsed && before < shown {
		first = before + 1
	}
	for _, c := range timing.clocks {
		if match, ok := c.next(first); ok && match <= shown {
			return
		}
	}
	t.Fatalf("%+v: at %s the clocks show nothing that matches", timing.Spec(), tick)
}

// FuzzParse: whatever is given, Compile says what is wrong on one line, or makes a Timing that works and comes back from JSON.
func FuzzParse(f *testing.F) {
	for _, c := range readConformance(f) {
		s := map[string]string{}
		for flag, value := range pairs(c.Args) {
			s[flag] = value
		}
		f.Add(s["--cron"], s["--interval"], s["--calendar"], s["--timezone"], s["--jitter"])
	}
	f.Add("0 0 ? * fri-sun/2", "", "", "", "1d")
	f.Add("", "1d2h3m4s", "", "Local", "5")
	f.Add("0 0 L * 5#2", "", "year=*/4 day_of_month=last", "../UTC", "-1s")
	f.Fuzz(func(t *testing.T, cron, interval, calendar, zone, jitter string) {
		s := Spec{Cron: cron, Interval: interval, Timezone: zone}
		if calendar != "" {
			c, err := ParseCalendar(calendar)
			if err != nil {
				checkLine(t, err)
				c = Calendar{Hour: Field(calendar)}
			}
			s.Calendar = []Calendar{c}
		}
		var err error
		if s.Jitter, err = ParseDuration(jitter); err != nil {
			checkLine(t, err)
		}
		timing, err := Compile(s)
		if err != nil {
			checkLine(t, err)
			return
		}
		timing.Next(at("2026-05-04T09:00:00Z"))
		if text := timing.Describe(); text == "" || strings.Contains(text, "\n") {
			t.Fatalf("described as %q", text)
		}
		data, err := json.Marshal(timing.Spec())
		if err != nil {
			t.Fatal(err)
		}
		var back Spec
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again, err := Compile(back)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if data2, err := json.Marshal(again.Spec()); err != nil || string(data2) != string(data) {
			t.Fatalf("%s comes back as %s, %v", data, data2, err)
		}
	})
}

func checkLine(t *testing.T, err error) {
	t.Helper()
	var bad *FieldError
	if !errors.As(err, &bad) || bad.Field == "" || bad.Problem == "" || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1500 {
		t.Fatalf("%#v is not one line about a field", err)
	}
}
