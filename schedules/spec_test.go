package schedules

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpecJSON(t *testing.T) {
	for _, c := range []struct {
		name string
		spec Spec
		want string
	}{
		{"cron", Spec{Cron: "0 9 * * *"},
			`{"cron":"0 9 * * *","interval":null,"calendar":null,"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":null}`},
		{"interval", Spec{Interval: "5m", Jitter: Duration(90 * time.Second)},
			`{"cron":null,"interval":"5m","calendar":null,"interval_from":"completion","timezone":"UTC","start_at":null,"end_at":null,"jitter":"1m30s"}`},
		{"bounds", Spec{Interval: "5m", IntervalFrom: FromStart, Timezone: "Europe/Berlin",
			StartAt: time.Date(2026, 1, 1, 1, 0, 0, 5e6, time.FixedZone("", 3600)), EndAt: at("2027-01-01T00:00:00Z")},
			`{"cron":null,"interval":"5m","calendar":null,"interval_from":"start","timezone":"Europe/Berlin","start_at":"2026-01-01T00:00:00.005Z","end_at":"2027-01-01T00:00:00Z","jitter":null}`},
		{"calendar", Spec{Calendar: []Calendar{{Hour: "9"}}},
			`{"cron":null,"interval":null,"calendar":[{"second":null,"minute":null,"hour":9,"day_of_month":null,"month":null,"day_of_week":null,"year":null}],"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(c.spec)
			if err != nil || string(got) != c.want {
				t.Fatalf("got %s, %v\nwant %s", got, err, c.want)
			}
			var back Spec
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if want := compile(t, c.spec).Spec(); !reflect.DeepEqual(compile(t, back).Spec(), want) {
				t.Errorf("comes back as %+v, want %+v", back, want)
			}
		})
	}
}

func TestSpecJSONRead(t *testing.T) {
	var s Spec
	if err := json.Unmarshal([]byte(`{"cron": "@daily", "start_at": "2026-01-01T01:00:00+01:00", "jitter": "1d", "interval": null}`), &s); err != nil {
		t.Fatal(err)
	}
	if s.Cron != "@daily" || !s.StartAt.Equal(at("2026-01-01T00:00:00Z")) || time.Duration(s.Jitter) != 24*time.Hour {
		t.Errorf("read as %+v", s)
	}
	for text, says := range map[string]string{
		`{"crom": "@daily"}`:                "crom",
		`{"Cron": "@daily"}`:                "the fields are",
		`{"cron": "@daily", "cron": "x"}`:   "twice",
		`{"cron": 5}`:                       "cron",
		`{"interval": 30}`:                  "interval",
		`{"jitter": 30}`:                    "jitter",
		`{"jitter": "30"}`:                  `jitter "30": needs a unit; write 30s, 30m, 30h or 30d`,
		`{"jitter": "-5m"}`:                 "jitter",
		`{"start_at": "tomorrow"}`:          `start_at "tomorrow": is no rfc 3339 time`,
		`{"end_at": "2026-01-01T00:00:00"}`: "end_at",
		`{"end_at": 1767225600}`:            "end_at",
		`{"calendar": {"hour": 5}}`:         "calendar",
		`{"calendar": [{"hours": 5}]}`:      `calendar "hours"`,
		`{"calendar": [{"hour": 1.5}]}`:     `calendar "hour"`,
		`{"calendar": ["hour=5"]}`:          "calendar",
		`["cron"]`:                          "object",
	} {
		var s Spec
		err := json.Unmarshal([]byte(text), &s)
		var bad *FieldError
		if !errors.As(err, &bad) || !strings.Contains(strings.ToLower(err.Error()), says) {
			t.Errorf("%s: %v does not say %q", text, err, says)
		}
		if !reflect.DeepEqual(s, Spec{}) {
			t.Errorf("%s left %+v", text, s)
		}
	}
}

func TestCompileRefused(t *testing.T) {
	refused(t, Spec{}, "cron, interval, calendar", "cron", "interval", "calendar", "exactly one")
	refused(t, Spec{Timezone: "Europe/Berlin", Calendar: []Calendar{}}, "cron, interval, calendar", "exactly one")
	refused(t, Spec{Cron: "* * * * *", Interval: "5m"}, "cron, interval", "exactly one")
	refused(t, Spec{Cron: "* * * * *", Calendar: []Calendar{{Hour: "5"}}}, "cron, calendar", "exactly one")
	refused(t, Spec{Interval: "5m", Calendar: []Calendar{{Hour: "5"}}}, "interval, calendar", "exactly one")
	refused(t, Spec{Cron: "x", Interval: "x", Calendar: []Calendar{{}}}, "cron, interval, calendar", "exactly one")

	refused(t, Spec{Interval: "5m", IntervalFrom: "end"}, "interval_from", "completion or start")
	refused(t, Spec{Interval: "5m", IntervalFrom: "Start"}, "interval_from", "completion or start")
	refused(t, Spec{Cron: "* * * * *", IntervalFrom: FromStart}, "interval_from", "interval only")
	refused(t, Spec{Calendar: []Calendar{{Hour: "5"}}, IntervalFrom: FromCompletion}, "interval_from", "interval only")

	for zone, says := range map[string]string{
		"Europe/Atlantis": "iana", "Local": "iana", "localtime": "iana", "posixrules": "iana", "posix/Europe/Berlin": "iana",
		"right/UTC": "iana", "europe/berlin": "europe/berlin?", "america/new york": "america/new_york?", "utc": "utc?", " UTC": "utc?",
		"Europe//Berlin": "iana", "./UTC": "iana", "../UTC": "iana", "/etc/localtime": "iana", "Europe/": "iana", "Europe": "iana",
		"+01:00": "iana", "UTC\n": "utc?", "UTC+1": "iana", " ": "iana", "tzdata.zi": "iana", "Z": "iana",
	} {
		refused(t, Spec{Cron: "* * * * *", Timezone: zone}, "timezone", says)
		refused(t, Spec{Interval: "5m", Timezone: zone}, "timezone", says)
	}

	start := at("2026-01-01T00:00:00Z")
	refused(t, Spec{Cron: "* * * * *", StartAt: start, EndAt: start}, "end_at", "later than start_at")
	refused(t, Spec{Cron: "* * * * *", StartAt: start, EndAt: start.Add(-time.Hour)}, "end_at", "later than start_at")
	refused(t, Spec{Cron: "* * * * *", StartAt: start.Add(time.Microsecond), EndAt: start.Add(2 * time.Microsecond)}, "end_at", "later than start_at")
	refused(t, Spec{Cron: "* * * * *", StartAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "start_at", "9999")
	refused(t, Spec{Cron: "* * * * *", EndAt: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, "end_at", "9999")
	refused(t, Spec{Cron: "* * * * *", Jitter: -1}, "jitter", "negative")
}

func TestCompileNormalizes(t *testing.T) {
	given := Spec{Interval: "5m", StartAt: time.Date(2026, 1, 1, 1, 0, 0, 1, time.FixedZone("", 3600)),
		EndAt: at("2027-01-01T00:00:00.0000001Z"), Jitter: Duration(1500 * time.Microsecond)}
	want := Spec{Interval: "5m", IntervalFrom: FromCompletion, Timezone: "UTC", StartAt: at("2026-01-01T00:00:00.001Z"),
		EndAt: at("2027-01-01T00:00:00.001Z"), Jitter: Duration(time.Millisecond)}
	timing := compile(t, given)
	got := timing.Spec()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if again := compile(t, got).Spec(); !reflect.DeepEqual(again, want) {
		t.Errorf("again: %+v", again)
	}
	if timing.StartAt() != want.StartAt || timing.EndAt() != want.EndAt {
		t.Errorf("bounds are %s and %s", timing.StartAt(), timing.EndAt())
	}

	list := []Calendar{{Hour: "1, 2"}}
	timing = compile(t, Spec{Calendar: list})
	if list[0].Hour != "1, 2" {
		t.Error("Compile changed the caller's calendar")
	}
	list[0].Hour = "5"
	timing.Spec().Calendar[0].Hour = "6"
	if got := timing.Spec().Calendar; !slices.Equal(got, []Calendar{{Hour: "1,2"}}) {
		t.Errorf("a Timing can be changed from outside: %+v", got)
	}
	if timing.IsInterval() || timing.IntervalDuration() != 0 {
		t.Error("a calendar is no interval")
	}
	if got := compile(t, Spec{Cron: " 0  9\t* * * "}).Spec().Cron; got != "0 9 * * *" {
		t.Errorf("cron is kept as %q", got)
	}
}
