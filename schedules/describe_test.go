package schedules

import (
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	for expression, want := range map[string]string{
		"0 9 * * *":             "Every day at 09:00 Europe/Berlin",
		"* * * * *":             "Every minute",
		"*/5 * * * *":           "Every 5 minutes",
		"* * * * * *":           "Every second",
		"*/20 * * * * *":        "Every 20 seconds",
		"*/7 * * * *":           "At minutes 0 to 56 in steps of 7 of every hour, Europe/Berlin time",
		"@hourly":               "Every hour, Europe/Berlin time",
		"15 * * * *":            "Every hour at minute 15, Europe/Berlin time",
		"30 15 * * * *":         "Every hour at minute 15, second 30, Europe/Berlin time",
		"0,15,20 * * * *":       "At minutes 0, 15 and 20 of every hour, Europe/Berlin time",
		"10 * * * * *":          "Every minute at second 10",
		"0 9 * * 1-5":           "Monday to Friday at 09:00 Europe/Berlin",
		"0 9 * * fri-sun":       "Friday to Sunday at 09:00 Europe/Berlin",
		"0 9,12,17 * * sun":     "Every Sunday at 09:00, 12:00 and 17:00 Europe/Berlin",
		"5 0 * * sat,sun":       "Saturday and Sunday at 00:05 Europe/Berlin",
		"*/5 9-17 * * 1-5":      "Every 5 minutes from 09:00 to 17:59, Monday to Friday, Europe/Berlin time",
		"*/5 9 * * *":           "Every 5 minutes from 09:00 to 09:59 Europe/Berlin",
		"*/5 9,11,15 * * *":     "Every 5 minutes in hours 9, 11 and 15, Europe/Berlin time",
		"0 9-17 * * *":          "Every hour from 09:00 to 17:00 Europe/Berlin",
		"30 */2 * * *":          "Every 2 hours from 00:30 to 22:30 Europe/Berlin",
		"30 15 6 * * *":         "Every day at 06:15:30 Europe/Berlin",
		"0 0 1,15 * *":          "On day 1 and 15 of every month at 00:00 Europe/Berlin",
		"0 0 1 1 *":             "On day 1 of January at 00:00 Europe/Berlin",
		"0 0 */5 * *":           "On day 1 to 31 in steps of 5 of every month at 00:00 Europe/Berlin",
		"0 0 13 * 5":            "On day 13 of every month and on every Friday at 00:00 Europe/Berlin",
		"0 0 13 6 5":            "On day 13 of June and on every Friday in the same months at 00:00 Europe/Berlin",
		"0 9 */1 * fri":         "Every day at 09:00 Europe/Berlin",
		"0 9 * jan,jul mon,wed": "Monday and Wednesday in January and July at 09:00 Europe/Berlin",
		"0 9 * jun *":           "Every day in June at 09:00 Europe/Berlin",
		"* * * * sun":           "Every minute, every Sunday, Europe/Berlin time",
		"5,10 3,7 * * * *":      "At seconds 5 and 10 of minutes 3 and 7, Europe/Berlin time",
		"1,2,4,7,11,16,22,29,37,46,56 1,2,4,7,11,16,22 1,2,4,7,11,16,22,29 1,2,4,7,11 1,2,4": "",
	} {
		got := compile(t, Spec{Cron: expression, Timezone: "Europe/Berlin"}).Describe()
		if want == "" {
			if !strings.Contains(got, expression) {
				t.Errorf("%q is %q, which names no expression", expression, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q is %q, want %q", expression, got, want)
		}
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Cron: "*/5 * * * *"}, "Every 5 minutes"},
		{Spec{Cron: "@hourly"}, "Every hour"},
		{Spec{Interval: "5m"}, "Every 5 minutes, counted from the end of the last run"},
		{Spec{Interval: "1m", IntervalFrom: FromStart}, "Every minute, on a fixed grid"},
		{Spec{Interval: "1d"}, "Every 24 hours, counted from the end of the last run"},
		{Spec{Interval: "1d12h"}, "Every 1 day 12 hours, counted from the end of the last run"},
		{Spec{Interval: "1h", IntervalFrom: FromStart, StartAt: at("2026-05-04T02:00:00+02:00")}, "Every hour, on a fixed grid, from 2026-05-04 00:00 UTC"},
		{Spec{Cron: "0 9 * * *", StartAt: at("2026-05-04T00:00:01.5Z"), EndAt: at("2027-01-01T00:00:00Z"), Jitter: Duration(90e9)},
			"Every day at 09:00 UTC, from 2026-05-04 00:00:01.5 UTC, until 2027-01-01 00:00 UTC, delayed by up to 1m30s"},
		{Spec{Calendar: []Calendar{{DayOfMonth: "1,15"}}}, "On day 1 and 15 of every month at 00:00 UTC"},
		{Spec{Calendar: []Calendar{{DayOfMonth: "last", Hour: "18"}}}, "On the last day of every month at 18:00 UTC"},
		{Spec{Calendar: []Calendar{{DayOfMonth: "10,last", Month: "6"}}}, "On day 10 and the last day of June at 00:00 UTC"},
		{Spec{Calendar: []Calendar{{DayOfMonth: "13", DayOfWeek: "fri", Hour: "13"}}}, "On day 13 of every month if it is a Friday at 13:00 UTC"},
		{Spec{Calendar: []Calendar{{Year: "2027-2029,2031", Month: "11", DayOfMonth: "5"}}}, "On day 5 of November in 2027 to 2029 and 2031 at 00:00 UTC"},
		{Spec{Calendar: []Calendar{{Hour: "6"}, {DayOfWeek: "sat,sun", Hour: "20", Minute: "30"}}}, "Every day at 06:00; Saturday and Sunday at 20:30 UTC"},
		{Spec{Calendar: []Calendar{{Hour: "*"}}}, "Every hour"},
	} {
		if got := compile(t, c.spec).Describe(); got != c.want {
			t.Errorf("%+v\n got %q\nwant %q", c.spec, got, c.want)
		}
	}
	many := make([]Calendar, 30)
	for i := range many {
		many[i] = Calendar{Hour: "5", DayOfMonth: Field(string(rune('1' + i%9)))}
	}
	if got := compile(t, Spec{Calendar: many}).Describe(); got != "By 30 calendars, UTC time" {
		t.Errorf("many calendars are %q", got)
	}
}
