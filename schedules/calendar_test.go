package schedules

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func calendars(t testing.TB, texts ...string) []Calendar {
	t.Helper()
	var list []Calendar
	for _, text := range texts {
		c, err := ParseCalendar(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func TestCalendarAccepted(t *testing.T) {
	for _, c := range []struct {
		calendar, after string
		want            []string
	}{
		{"hour=9", "2026-05-04T00:00:00Z", []string{"2026-05-04 09:00:00", "2026-05-05 09:00:00"}},
		{"day_of_week=mon-fri", "2026-05-07T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-11 00:00:00"}},
		{"day_of_week=fri-sun", "2026-05-04T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-09 00:00:00", "2026-05-10 00:00:00", "2026-05-15 00:00:00"}},
		{"day_of_week=6-7", "2026-05-04T00:00:00Z", []string{"2026-05-09 00:00:00", "2026-05-10 00:00:00", "2026-05-16 00:00:00"}},
		{"month=*/6", "2026-01-31T00:00:00Z", []string{"2026-07-01 00:00:00", "2026-07-02 00:00:00"}},
		{"hour=5/6", "2026-01-31T05:00:00Z", []string{"2026-01-31 11:00:00", "2026-01-31 17:00:00", "2026-01-31 23:00:00"}},
		{"day_of_month=15,last", "2026-02-01T00:00:00Z", []string{"2026-02-15 00:00:00", "2026-02-28 00:00:00", "2026-03-15 00:00:00"}},
		{"day_of_month=LAST month=2", "2027-02-28T00:00:00Z", []string{"2028-02-29 00:00:00", "2029-02-28 00:00:00"}},
		{"day_of_month=last,last", "2026-02-01T00:00:00Z", []string{"2026-02-28 00:00:00", "2026-03-31 00:00:00"}},
		{"day_of_month=28,last month=2", "2027-01-01T00:00:00Z", []string{"2027-02-28 00:00:00", "2028-02-28 00:00:00", "2028-02-29 00:00:00"}},
		{"day_of_month=last day_of_week=fri", "2026-01-01T00:00:00Z", []string{"2026-07-31 00:00:00", "2027-04-30 00:00:00"}},
		{"day_of_month=29 month=feb day_of_week=mon", "2026-01-01T00:00:00Z", []string{"2044-02-29 00:00:00", "2072-02-29 00:00:00", "2112-02-29 00:00:00"}},
		{"day_of_month=* day_of_week=tue", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-12 00:00:00"}},
		{"second=*/30 minute=* hour=*", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:00:30", "2026-05-04 00:01:00"}},
		{"year=2030 month=6 day_of_month=15 hour=12", "2026-05-04T00:00:00Z", []string{"2030-06-15 12:00:00"}},
		{"year=2028-2036/4 month=2 day_of_month=29", "2026-05-04T00:00:00Z", []string{"2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"}},
		{"year=2026,2029 month=1 day_of_month=1", "2026-05-04T00:00:00Z", []string{"2029-01-01 00:00:00"}},
		{"year=*/2 month=1 day_of_month=1", "2026-05-04T00:00:00Z", []string{"2028-01-01 00:00:00", "2030-01-01 00:00:00"}},
		{"year=* month=1 day_of_month=1", "2026-05-04T00:00:00Z", []string{"2027-01-01 00:00:00"}},
		{"year=9999 month=12 day_of_month=31 hour=23 minute=59 second=59", "2026-05-04T00:00:00Z", []string{"9999-12-31 23:59:59"}},
		{"year=1999", "2026-05-04T00:00:00Z", nil},
		{"second=59", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:00:59", "2026-05-05 00:00:59"}},
	} {
		got := ticks(t, Spec{Calendar: calendars(t, c.calendar)}, c.after, max(len(c.want), 1))
		if len(got) > len(c.want) && len(c.want) > 0 {
			got = got[:len(c.want)]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q after %s\n got %q\nwant %q", c.calendar, c.after, got, c.want)
		}
	}
}

func TestCalendarRefused(t *testing.T) {
	for text, says := range map[string]string{
		"minute=60":                      "0 to 59",
		"hour=24":                        "0 to 23",
		"day_of_month=0":                 "1 to 31 or last",
		"day_of_month=32":                "1 to 31 or last",
		"day_of_week=8":                  "0 to 7",
		"month=13":                       "1 to 12",
		"year=26":                        "1970 to 9999",
		"year=10000":                     "1970 to 9999",
		"year=2030-2027":                 "backward",
		"hour=1,,2":                      "empty element",
		"day_of_month=,last":             "empty element",
		"day_of_month=last,":             "empty element",
		"day_of_month=last-3":            "last",
		"day_of_month=28-last":           "last",
		"day_of_month=L":                 "last",
		"hour=last":                      "hour",
		"hour=?":                         "leave hour out",
		"day_of_week=?":                  "leave day_of_week out",
		"hour=22-4":                      "backward",
		"day_of_week=sat-mon":            "backward",
		"minute=*/61":                    "wider",
		"minute=*/0":                     "step",
		"day_of_month=30 month=feb":      "never",
		"day_of_month=31 month=4,6,9,11": "never",
		"day_of_month=29 month=2 year=2100,2200,2027":         "never",
		"day_of_month=last month=2 day_of_week=tue year=2026": "never",
		"day_of_month=1-7 month=1 day_of_week=mon year=2026":  "",
	} {
		list := calendars(t, text)
		if says == "" {
			compile(t, Spec{Calendar: list})
			continue
		}
		refused(t, Spec{Calendar: list}, "calendar", says)
		refused(t, Spec{Calendar: append(calendars(t, "hour=9"), list...)}, "calendar", says)
		refused(t, Spec{Calendar: append(list, calendars(t, "hour=9")...)}, "calendar", says)
	}
	refused(t, Spec{Calendar: []Calendar{{}}}, "calendar", "empty")
	refused(t, Spec{Calendar: []Calendar{{Hour: "9"}, {}}}, "calendar", "empty")
	refused(t, Spec{Calendar: []Calendar{{Hour: " "}}}, "calendar", "empty")
	refused(t, Spec{Calendar: []Calendar{{Hour: "1 2"}}}, "calendar", "hour")
	if got := compile(t, Spec{Calendar: []Calendar{{Hour: " 1, 2 "}}}).Spec().Calendar[0].Hour; got != "1,2" {
		t.Errorf("spaces in a list are kept: %q", got)
	}
}

func TestParseCalendarRefused(t *testing.T) {
	for text, says := range map[string]string{
		"":                       "empty",
		"  ":                     "empty",
		"hours=5":                "day_of_month",
		"Hour=5":                 "fields are",
		"hour":                   "field=value",
		"hour=":                  "empty",
		"=5":                     "fields are",
		"hour=5 hour=6":          "one list",
		"hour=5 minute=1 hour=5": "repeats",
		"hour=5, 6":              "field=value",
		"hour=5;minute=3 x":      "field=value",
	} {
		c, err := ParseCalendar(text)
		if err == nil {
			t.Errorf("%q is accepted as %q", text, c)
			continue
		}
		if !strings.HasPrefix(err.Error(), "calendar") || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q does not say %q", text, err, says)
		}
	}
}

func TestCalendarText(t *testing.T) {
	for text, want := range map[string]string{
		"hour=0 day_of_month=1,15":  "hour=0 day_of_month=1,15",
		"  year=2027\tsecond=*/5 ":  "second=*/5 year=2027",
		"day_of_week=mon month=jan": "month=jan day_of_week=mon",
	} {
		c := calendars(t, text)[0]
		if c.String() != want {
			t.Errorf("%q is written %q, want %q", text, c, want)
		}
		if again := calendars(t, c.String())[0]; again != c {
			t.Errorf("%q does not come back: %+v", c, again)
		}
	}
}

func TestCalendarJSON(t *testing.T) {
	for text, want := range map[string]Calendar{
		`{"hour": 9}`:   {Hour: "9"},
		`{"hour": "9"}`: {Hour: "9"},
		`{"hour": [1, "5-7", "*/4"], "minute": null}`:      {Hour: "1,5-7,*/4"},
		`{"day_of_month": [15, "last"], "month": ["jan"]}`: {DayOfMonth: "15,last", Month: "jan"},
		`{}`:                   {},
		` {"year" : [2027] } `: {Year: "2027"},
		`{"hour": -1}`:         {Hour: "-1"}, // Compile refuses it
	} {
		var c Calendar
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if c != want {
			t.Errorf("%s is read as %+v", text, c)
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Calendar
		if err := json.Unmarshal(again, &back); err != nil || back != c {
			t.Errorf("%s comes back as %+v, %v", again, back, err)
		}
	}
	for _, text := range []string{`{"hours": 5}`, `{"Hour": 5}`, `{"hour": 5, "hour": 6}`, `{"hour": ""}`, `{"hour": []}`, `{"hour": 1.5}`,
		`{"hour": true}`, `{"hour": {}}`, `{"hour": [[1]]}`, `{"hour": [null]}`, `[]`, `"hour=5"`, `5`, `{"hour"`} {
		var c Calendar
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s is read as %+v", text, c)
		}
	}
	got, err := json.Marshal(Calendar{Hour: "09", DayOfMonth: "1,15", Month: "jan"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"second":null,"minute":null,"hour":9,"day_of_month":"1,15","month":"jan","day_of_week":null,"year":null}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestSeveralCalendars(t *testing.T) {
	s := Spec{Calendar: calendars(t, "hour=2 minute=30", "hour=3", "hour=1 minute=30"), Timezone: "America/New_York"}
	got := ticks(t, s, "2025-03-09T05:00:00Z", 3) // 02:30 does not exist, 03:00 is the first instant after the gap
	if want := []string{"2025-03-09 06:30:00", "2025-03-09 07:00:00", "2025-03-10 05:30:00"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Calendar = calendars(t, "year=2020", "year=2030 month=1 day_of_month=1")
	if got := ticks(t, s, "2026-01-01T00:00:00Z", 3); !slices.Equal(got, []string{"2030-01-01 05:00:00"}) {
		t.Errorf("got %q", got)
	}
}
