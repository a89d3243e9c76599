package schedules

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestNextBounds(t *testing.T) {
	daily := func(start, end string) Spec {
		s := Spec{Cron: "0 9 * * *"}
		if start != "" {
			s.StartAt = at(start)
		}
		if end != "" {
			s.EndAt = at(end)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		spec  Spec
		after string
		want  []string
	}{
		{"start_at is inclusive", daily("2026-03-01T09:00:00Z", "2026-03-02T00:00:00Z"), "2026-01-01T00:00:00Z", []string{"2026-03-01 09:00:00"}},
		{"start_at, a nanosecond late", daily("2026-03-01T09:00:00.000000001Z", "2026-03-03T00:00:00Z"), "2026-01-01T00:00:00Z", []string{"2026-03-02 09:00:00"}},
		{"end_at is exclusive", daily("", "2026-03-01T09:00:00Z"), "2026-02-28T00:00:00Z", []string{"2026-02-28 09:00:00"}},
		{"end_at, a nanosecond late", daily("", "2026-03-01T09:00:00.000000001Z"), "2026-02-28T10:00:00Z", []string{"2026-03-01 09:00:00"}},
		{"after end_at", daily("", "2026-03-01T09:00:00Z"), "2027-02-28T00:00:00Z", nil},
		{"no tick between the bounds", daily("2026-03-01T09:00:00.5Z", "2026-03-02T09:00:00Z"), "2026-01-01T00:00:00Z", nil},
		{"strictly after", daily("", "2026-03-02T00:00:00Z"), "2026-03-01T09:00:00Z", nil},
		{"a nanosecond before", daily("", "2026-03-02T00:00:00Z"), "2026-03-01T08:59:59.999999999Z", []string{"2026-03-01 09:00:00"}},
		{"a nanosecond after", daily("", "2026-03-02T00:00:00Z"), "2026-03-01T09:00:00.000000001Z", nil},
		{"the last day there is", Spec{Cron: "0 9 31 12 *"}, "9998-12-31T09:00:00Z", []string{"9999-12-31 09:00:00"}},
		{"the last second there is", Spec{Cron: "* * * * * *"}, "9999-12-31T23:59:58Z", []string{"9999-12-31 23:59:59"}},
		{"the last hour, west", Spec{Cron: "0 22 * * *", Timezone: "America/New_York"}, "9999-12-31T00:00:00Z", []string{"9999-12-31 03:00:00"}},
		{"before 1970", Spec{Cron: "0 9 * * *", EndAt: at("1903-03-02T00:00:00Z")}, "1903-03-01T08:00:00.25Z", []string{"1903-03-01 09:00:00"}},
		{"in a century past the table of shifts", Spec{Cron: "30 2 * * *", Timezone: "America/New_York", EndAt: at("3026-03-13T00:00:00Z")},
			"3026-03-11T12:00:00Z", []string{"3026-03-12 07:00:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ticks(t, c.spec, c.after, len(c.want)+1); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

// Next answers at once, whatever it is asked.
func TestNextExtremes(t *testing.T) {
	specs := []Spec{
		{Cron: "* * * * * *"}, {Cron: "0 0 29 2 *"}, {Cron: "59 59 * 29 2 *"}, {Cron: "0 0 31 2 6"}, {Interval: "1s"}, {Interval: "36525d"},
		{Interval: "1s", StartAt: at("0001-01-02T00:00:00Z")}, {Interval: "1d", StartAt: at("9999-12-31T00:00:00Z")},
		{Calendar: []Calendar{{Year: "9999"}}}, {Calendar: []Calendar{{Year: "1970"}}},
		{Calendar: []Calendar{{DayOfMonth: "29", Month: "2", DayOfWeek: "mon", Year: "1970-9999"}}},
		{Cron: "0 0 1 1 *", StartAt: at("9999-12-30T00:00:00Z")},
	}
	afters := []time.Time{{}, time.Unix(0, 0), time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0), time.Unix(math.MaxInt64, 999999999),
		time.Unix(minSecond-1, 0), time.Unix(maxSecond, 999999999), time.Unix(maxSecond+1, 0), time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64),
		time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, s := range specs {
		for _, zone := range oddZones {
			s.Timezone = zone
			timing := compile(t, s)
			for _, after := range afters {
				begin := time.Now()
				next, ok := timing.Next(after)
				if took := time.Since(begin); took > time.Second {
					t.Errorf("%+v after %v took %s", s, after, took)
				}
				if first, _ := timing.Next(time.Unix(minSecond-1, 0)); after.Unix() < minSecond && s.Interval == "" && !next.Equal(first) {
					t.Errorf("%+v after %v: %v, want the first of all, %v", s, after, next, first)
				}
				switch {
				case !ok && !next.IsZero():
					t.Errorf("%+v after %v: none, but %v", s, after, next)
				case ok && (next.Unix() <= after.Unix() || next.Year() < 1 || next.Year() > 9999 || next.Location() != time.UTC):
					t.Errorf("%+v after %v: %v", s, after, next)
				}
			}
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	after := at("2026-05-04T09:00:00Z")
	for _, s := range []Spec{{Cron: "*/5 * * * *", Timezone: "Europe/Berlin"}, {Cron: "0 9 * * 1-5", Timezone: "America/New_York"},
		{Interval: "5m"}, {Calendar: []Calendar{{DayOfMonth: "1,last"}, {Hour: "5"}}}} {
		timing := compile(t, s)
		if n := testing.AllocsPerRun(100, func() { timing.Next(after) }); n > 0 {
			t.Errorf("%+v: %g allocations", s, n)
		}
	}
}

// What conformance says of the odd places, said of more of them.
func TestDaylightSaving(t *testing.T) {
	for _, c := range []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{"every minute through the gap", "*/30 * * * *", "America/New_York", "2026-03-08T06:00:00Z", []string{"2026-03-08 06:30:00", "2026-03-08 07:00:00", "2026-03-08 07:30:00"}},
		{"every minute through the fold", "*/30 * * * *", "America/New_York", "2026-11-01T05:00:00Z", []string{"2026-11-01 05:30:00", "2026-11-01 06:00:00", "2026-11-01 06:30:00", "2026-11-01 07:00:00"}},
		{"@hourly skips nothing", "@hourly", "America/New_York", "2026-03-08T06:00:00Z", []string{"2026-03-08 07:00:00", "2026-03-08 08:00:00"}},
		{"@daily in a zone without that midnight", "@daily", "America/Havana", "2026-03-07T12:00:00Z", []string{"2026-03-08 05:00:00", "2026-03-09 04:00:00"}},
		{"midnight twice", "0 0 * * *", "America/Havana", "2025-11-01T12:00:00Z", []string{"2025-11-02 04:00:00", "2025-11-03 05:00:00"}},
		{"*/1 names hours", "30 */1 * * *", "America/New_York", "2026-11-01T05:00:00Z", []string{"2026-11-01 05:30:00", "2026-11-01 07:30:00"}},
		{"a list with a star names hours", "30 *,5 * * *", "America/New_York", "2026-11-01T05:00:00Z", []string{"2026-11-01 05:30:00", "2026-11-01 07:30:00"}},
		{"named seconds in the fold", "*/30 30 1 * * *", "America/New_York", "2026-11-01T05:00:00Z", []string{"2026-11-01 05:30:00", "2026-11-01 05:30:30", "2026-11-02 06:30:00"}},
		{"in the fold's second pass", "30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", []string{"2026-11-02 06:30:00"}},
		{"elapsed, in the fold's second pass", "30 * * * *", "America/New_York", "2026-11-01T06:10:00Z", []string{"2026-11-01 06:30:00", "2026-11-01 07:30:00"}},
		{"late in the second pass of a two-hour fold", "15 1,2 * * *", "Antarctica/Troll", "2024-10-27T02:05:00Z", []string{"2024-10-28 01:15:00"}},
		{"late in the second pass of a day", "0 * 30 9 *", "Pacific/Kwajalein", "1969-10-01T10:00:00Z", []string{"1969-10-01 11:00:00", "1970-09-30 12:00:00"}},
		{"named, late in the second pass of a day", "30 23 30 9 *", "Pacific/Kwajalein", "1969-10-01T10:00:00Z", []string{"1970-10-01 11:30:00"}},
		{"elapsed, back to the day before", "15 * 18 2 *", "America/Sao_Paulo", "2017-02-19T01:30:00Z", []string{"2017-02-19 02:15:00", "2018-02-18 03:15:00"}},
		{"only on the day of the gap", "30 2 8 3 *", "America/New_York", "2025-05-01T00:00:00Z", []string{"2026-03-08 07:00:00", "2027-03-08 07:30:00"}},
		{"a weekday that never was", "0 12 * * fri", "Pacific/Apia", "2011-12-24T00:00:00Z", []string{"2011-12-30 10:00:00", "2012-01-05 22:00:00"}},
		{"a day that came twice", "0 12 * * *", "Pacific/Kwajalein", "1969-09-29T12:00:00Z", []string{"1969-09-30 01:00:00", "1969-10-02 00:00:00"}},
		{"Kwajalein skips 21 August 1993", "0 12 21 8 *", "Pacific/Kwajalein", "1993-01-01T00:00:00Z", []string{"1993-08-21 12:00:00", "1994-08-21 00:00:00"}},
		{"Casablanca's Ramadan", "30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z", []string{"2026-02-15 01:30:00", "2026-02-16 02:30:00"}},
		{"local mean time has seconds", "0 0 * * *", "Europe/Amsterdam", "1930-01-01T12:00:00Z", []string{"1930-01-01 23:40:28"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ticks(t, Spec{Cron: c.cron, Timezone: c.zone}, c.after, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}
