package schedules

import (
	"testing"
	"time"
)

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct {
		name string
		spec Spec
	}{
		{"cron_minute_utc", Spec{Cron: "* * * * *"}},
		{"cron_minute_berlin", Spec{Cron: "* * * * *", Timezone: "Europe/Berlin"}},
		{"cron_daily_new_york", Spec{Cron: "30 2 * * *", Timezone: "America/New_York"}},
		{"cron_weekdays_apia", Spec{Cron: "*/5 9-17 * * 1-5", Timezone: "Pacific/Apia"}},
		{"cron_leap_day", Spec{Cron: "0 0 29 2 *"}},
		{"calendar", Spec{Calendar: []Calendar{{DayOfMonth: "1,last", Hour: "6"}}, Timezone: "Europe/Berlin"}},
		{"calendar_rare", Spec{Calendar: []Calendar{{DayOfMonth: "29", Month: "2", DayOfWeek: "mon"}}}},
		{"interval", Spec{Interval: "5m"}},
		{"interval_grid", Spec{Interval: "5m", StartAt: at("2020-01-01T00:00:00Z")}},
	} {
		b.Run(c.name, func(b *testing.B) {
			timing := compile(b, c.spec)
			start := at("2026-05-04T09:00:00Z")
			b.ReportAllocs()
			for after := start; b.Loop(); {
				next, ok := timing.Next(after)
				if after = next; !ok {
					after = start
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compile(b, Spec{Cron: "30 2 * * 1-5", Timezone: "America/New_York"})
	}
}

func BenchmarkJitterDelay(b *testing.B) {
	nominal := at("2026-05-04T09:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		JitterDelay(Duration(time.Minute), "sched_0123456789ab", nominal, time.Time{})
	}
}

// BenchmarkDecide is a tick that starts, for each kind of spec: what a beat computes for a fire.
func BenchmarkDecide(b *testing.B) {
	created := midnight
	for _, bm := range []struct {
		name string
		spec Spec
	}{
		{"cron", Spec{Cron: "*/5 * * * * *", Timezone: "America/New_York"}},
		{"interval", Spec{Interval: "5s"}},
		{"calendar", Spec{Calendar: []Calendar{{Second: "*/5", Minute: "*", Hour: "*"}}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			c, err := Create(CreateRequest{ID: "s", Incarnation: "0123456789ab", Workflow: "w", Definition: Definition{Spec: bm.spec, Overlap: OverlapAllowAll}}, created)
			if err != nil {
				b.Fatal(err)
			}
			t, err := Compile(c.Schedule.Spec)
			if err != nil {
				b.Fatal(err)
			}
			st := State{Schedule: c.Schedule, Timing: t}
			now := c.Schedule.NextDue
			b.ReportAllocs()
			for b.Loop() {
				if c, ok := Decide(st, now); !ok || len(c.Start) != 1 {
					b.Fatalf("nothing starts: %+v", c)
				}
			}
		})
	}
}
