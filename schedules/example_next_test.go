package schedules_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The next run time of a spec, strictly after an instant.
func ExampleTiming_Next() {
	timing, err := schedules.Compile(schedules.Spec{Cron: "30 2 * * *", Timezone: "America/New_York"})
	if err != nil {
		fmt.Println(err)
		return
	}
	after := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	for range 2 {
		next, ok := timing.Next(after)
		if !ok {
			break
		}
		fmt.Println(next)
		after = next
	}
	// On 8 March New York's clocks skip 02:30; it fires at the first instant after the gap.
	// Output:
	// 2026-03-08 07:00:00 +0000 UTC
	// 2026-03-09 06:30:00 +0000 UTC
}

// The ticks of a range, as a backfill uses them.
func ExampleTiming_Between() {
	timing, err := schedules.Compile(schedules.Spec{
		Calendar: []schedules.Calendar{{DayOfMonth: "15,last", Hour: "6"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	start := time.Date(2028, 2, 1, 0, 0, 0, 0, time.UTC)
	for tick := range timing.Between(time.Time{}, start, start.AddDate(0, 2, 0)) {
		fmt.Println(tick.Format(time.RFC3339))
	}
	// Output:
	// 2028-02-15T06:00:00Z
	// 2028-02-29T06:00:00Z
	// 2028-03-15T06:00:00Z
	// 2028-03-31T06:00:00Z
}

// The grid of an interval, anchored at the end of a run.
func ExampleTiming_NextFrom() {
	timing, err := schedules.Compile(schedules.Spec{Interval: "10m"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := time.Date(2026, 5, 4, 9, 3, 20, 0, time.UTC)
	next, _ := timing.NextFrom(ended, ended.Add(25*time.Minute), false)
	fmt.Println(next.Format(time.TimeOnly))
	// Output: 09:33:20
}

func ExampleTiming_Describe() {
	for _, spec := range []schedules.Spec{
		{Cron: "0 9 * * *", Timezone: "Europe/Berlin"},
		{Interval: "5m"},
		{Calendar: []schedules.Calendar{{DayOfMonth: "1,15"}}},
	} {
		timing, err := schedules.Compile(spec)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(timing.Describe())
	}
	// Output:
	// Every day at 09:00 Europe/Berlin
	// Every 5 minutes, counted from the end of the last run
	// On day 1 and 15 of every month at 00:00 UTC
}

// Bad input is one line: the field, the value, the remedy.
func ExampleFieldError() {
	_, err := schedules.Compile(schedules.Spec{Interval: "30"})
	fmt.Println(err)
	_, err = schedules.Compile(schedules.Spec{Cron: "0 0 30 2 *"})
	fmt.Println(err)
	// Output:
	// interval "30": needs a unit; write 30s, 30m, 30h or 30d
	// cron "0 0 30 2 *": can never match: no month it names has such a day; change the day or the month
}

func ExampleParseCalendar() {
	c, err := schedules.ParseCalendar("day_of_week=mon-fri hour=9,17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Hour, c.DayOfWeek)
	fmt.Println(c)
	// Output:
	// 9,17 mon-fri
	// hour=9,17 day_of_week=mon-fri
}

func ExampleSpec_MarshalJSON() {
	data, err := json.Marshal(schedules.Spec{Interval: "1h30m", Jitter: schedules.Duration(30 * time.Second)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(data))
	// Output: {"cron":null,"interval":"1h30m","calendar":null,"interval_from":"completion","timezone":"UTC","start_at":null,"end_at":null,"jitter":"30s"}
}

func ExampleParseDuration() {
	d, err := schedules.ParseDuration("1d12h")
	fmt.Println(d, time.Duration(d).Hours(), err)
	// Output: 36h 36 <nil>
}

// A part of the jitter that is the same on every host and every try.
func ExampleJitterDelay() {
	nominal := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	delay := schedules.JitterDelay(schedules.Duration(time.Minute), "sched_1", nominal, time.Time{})
	fmt.Println(delay >= 0 && delay <= time.Minute)
	// Output: true
}
