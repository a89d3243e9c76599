package schedules

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIntervalAccepted(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s":              time.Second,
		"30s":             30 * time.Second,
		"5m":              5 * time.Minute,
		"90m":             90 * time.Minute,
		"1h":              time.Hour,
		"1h30m":           90 * time.Minute,
		"1d":              24 * time.Hour,
		"1d12h":           36 * time.Hour,
		"1d2h3m4s":        26*time.Hour + 3*time.Minute + 4*time.Second,
		"1d4s":            24*time.Hour + 4*time.Second,
		"0h30m":           30 * time.Minute,
		"007m":            7 * time.Minute,
		"36525d":          36525 * 24 * time.Hour,
		"876600h":         36525 * 24 * time.Hour,
		"36524d23h59m60s": 36525 * 24 * time.Hour,
	} {
		timing := compile(t, Spec{Interval: text})
		if got := timing.IntervalDuration(); got != want || !timing.IsInterval() {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestIntervalRefused(t *testing.T) {
	for text, says := range map[string]string{
		"30":                    "write 30s, 30m, 30h or 30d",
		"0":                     "unit",
		"0s":                    "1s or more",
		"0d0h0m0s":              "1s or more",
		"500ms":                 "units",
		"1.5h":                  "whole numbers",
		"-5m":                   "units",
		"+5m":                   "units",
		" 5m":                   "units",
		"5m ":                   "units",
		"1h 30m":                "units",
		"m":                     "units",
		"5":                     "unit",
		"5M":                    "units",
		"5min":                  "units",
		"1w":                    "units",
		"1y":                    "units",
		"30m1h":                 "largest first",
		"12h1d":                 "largest first",
		"1h1h":                  "each once",
		"5m5m":                  "each once",
		"1h30":                  "units",
		"h30m":                  "units",
		"٣m":                    "units",
		"36525d1s":              "100 years",
		"36526d":                "100 years",
		"3155760001s":           "100 years",
		"9223372036854775807d":  "100 years",
		"99999999999999999999s": "100 years",
		"106751d23h47m17s":      "100 years",
		"@every 5m":             "units",
		"5m\n":                  "units",
	} {
		refused(t, Spec{Interval: text}, "interval", says)
	}
	refused(t, Spec{Interval: strings.Repeat("9", 1<<16)}, "interval", "unit")
	refused(t, Spec{Interval: strings.Repeat("9", 1<<16) + "s"}, "interval", "100 years")
}

func TestIntervalNext(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  Spec
		after string
		want  []string
	}{
		{"without start_at the first is one interval after creation", Spec{Interval: "5m"}, "2026-05-04T09:00:07Z",
			[]string{"2026-05-04 09:05:07", "2026-05-04 09:10:07"}},
		{"ticks are whole milliseconds", Spec{Interval: "5m"}, "2026-05-04T09:00:07.1239Z",
			[]string{"2026-05-04 09:05:07.123", "2026-05-04 09:10:07.123"}},
		{"start_at is rounded up", Spec{Interval: "5m", StartAt: at("2026-05-04T09:00:00.0001Z")}, "2026-05-04T08:00:00Z",
			[]string{"2026-05-04 09:00:00.001", "2026-05-04 09:05:00.001"}},
		{"start_at ahead is the first tick", Spec{Interval: "1d", StartAt: at("2027-01-01T06:00:00Z")}, "2026-05-04T08:00:00Z",
			[]string{"2027-01-01 06:00:00", "2027-01-02 06:00:00"}},
		{"start_at is strictly after", Spec{Interval: "1h", StartAt: at("2026-05-04T08:00:00Z")}, "2026-05-04T08:00:00Z",
			[]string{"2026-05-04 09:00:00"}},
		{"just before start_at", Spec{Interval: "1h", StartAt: at("2026-05-04T08:00:00Z")}, "2026-05-04T07:59:59.999999999Z",
			[]string{"2026-05-04 08:00:00"}},
		{"start_at long ago", Spec{Interval: "7s", StartAt: at("1726-01-01T00:00:00Z")}, "2026-05-04T08:00:00Z",
			[]string{"2026-05-04 08:00:04", "2026-05-04 08:00:11"}},
		{"a zone does not matter", Spec{Interval: "1d", StartAt: at("2025-03-08T12:00:00Z"), Timezone: "America/New_York"}, "2025-03-08T12:00:00Z",
			[]string{"2025-03-09 12:00:00", "2025-03-10 12:00:00"}},
		{"end_at", Spec{Interval: "1h", StartAt: at("2026-05-04T08:00:00Z"), EndAt: at("2026-05-04T10:00:00Z")}, "2026-05-04T00:00:00Z",
			[]string{"2026-05-04 08:00:00", "2026-05-04 09:00:00"}},
		{"end_at without start_at", Spec{Interval: "1h", EndAt: at("2026-05-04T10:00:00Z")}, "2026-05-04T07:30:00Z",
			[]string{"2026-05-04 08:30:00", "2026-05-04 09:30:00"}},
		{"100 years", Spec{Interval: "36525d"}, "2026-05-04T00:00:00Z",
			[]string{"2126-05-05 00:00:00", "2226-05-06 00:00:00"}},
		{"the end of time", Spec{Interval: "36525d"}, "9950-05-04T00:00:00Z", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ticks(t, c.spec, c.after, len(c.want)+2)
			if len(got) > len(c.want) && c.spec.EndAt.IsZero() && len(c.want) > 0 {
				got = got[:len(c.want)]
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestNextFrom(t *testing.T) {
	for _, c := range []struct {
		name        string
		spec        Spec
		base, after string
		both        bool
		want        string
	}{
		{"from a base", Spec{Interval: "10m"}, "2026-05-04T09:03:00Z", "2026-05-04T09:30:00Z", false, "2026-05-04T09:33:00Z"},
		{"not the point itself", Spec{Interval: "10m"}, "2026-05-04T09:03:00Z", "2026-05-04T09:33:00Z", false, "2026-05-04T09:43:00Z"},
		{"a base ahead is the first", Spec{Interval: "10m"}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", false, "2026-05-04T09:03:00Z"},
		{"backward, too", Spec{Interval: "10m"}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", true, "2026-05-04T08:03:00Z"},
		{"start_at bounds it", Spec{Interval: "10m", StartAt: at("2026-05-04T08:30:00Z")}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", true, "2026-05-04T08:33:00Z"},
		{"start_at is inclusive", Spec{Interval: "10m", StartAt: at("2026-05-04T08:33:00Z")}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", true, "2026-05-04T08:33:00Z"},
		{"start_at moves no grid", Spec{Interval: "10m", StartAt: at("2026-05-04T10:00:00Z")}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", false, "2026-05-04T10:03:00Z"},
		{"end_at is exclusive", Spec{Interval: "10m", EndAt: at("2026-05-04T09:13:00Z")}, "2026-05-04T09:03:00Z", "2026-05-04T09:03:00Z", false, ""},
		{"end_at, just inside", Spec{Interval: "10m", EndAt: at("2026-05-04T09:13:00.001Z")}, "2026-05-04T09:03:00Z", "2026-05-04T09:03:00Z", false, "2026-05-04T09:13:00Z"},
		{"cron has no base", Spec{Cron: "0 * * * *"}, "2026-05-04T09:03:00Z", "2026-05-04T08:00:00Z", false, "2026-05-04T09:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, ok := compile(t, c.spec).NextFrom(at(c.base), at(c.after), c.both)
			switch {
			case ok != (c.want != ""):
				t.Errorf("got %s, %v", next, ok)
			case ok && (!next.Equal(at(c.want)) || next.Location() != time.UTC):
				t.Errorf("got %s, want %s", next, c.want)
			case !ok && !next.IsZero():
				t.Errorf("none, but %s", next)
			}
		})
	}
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name             string
		spec             Spec
		base, start, end string
		want             []string
	}{
		{"start is in, end is out", Spec{Cron: "0 * * * *"}, "", "2026-05-04T08:00:00Z", "2026-05-04T10:00:00Z", []string{"08:00:00", "09:00:00"}},
		{"bounds", Spec{Cron: "0 * * * *", StartAt: at("2026-05-04T09:00:00Z"), EndAt: at("2026-05-04T11:00:00Z")}, "",
			"2026-05-04T08:00:00Z", "2026-05-04T20:00:00Z", []string{"09:00:00", "10:00:00"}},
		{"an interval from start", Spec{Interval: "20m"}, "", "2026-05-04T08:10:00Z", "2026-05-04T09:10:00Z", []string{"08:10:00", "08:30:00", "08:50:00"}},
		{"an interval from start_at", Spec{Interval: "20m", StartAt: at("2026-05-04T08:15:00Z")}, "", "2026-05-04T08:00:00Z", "2026-05-04T09:10:00Z",
			[]string{"08:15:00", "08:35:00", "08:55:00"}},
		{"an interval from a later base", Spec{Interval: "20m"}, "2026-05-05T00:05:00Z", "2026-05-04T08:00:00Z", "2026-05-04T09:05:00Z",
			[]string{"08:05:00", "08:25:00", "08:45:00"}},
		{"nothing in an empty range", Spec{Cron: "* * * * *"}, "", "2026-05-04T08:00:00Z", "2026-05-04T08:00:00Z", nil},
		{"nothing in a range turned round", Spec{Cron: "* * * * *"}, "", "2026-05-04T08:00:00Z", "2026-05-04T07:00:00Z", nil},
		{"parts of a millisecond", Spec{Cron: "* * * * * *"}, "", "2026-05-04T08:00:00.0000001Z", "2026-05-04T08:00:02.0000001Z", []string{"08:00:01", "08:00:02"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var base time.Time
			if c.base != "" {
				base = at(c.base)
			}
			var got []string
			for tick := range compile(t, c.spec).Between(base, at(c.start), at(c.end)) {
				got = append(got, tick.Format("15:04:05.999"))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for range compile(t, Spec{Cron: "* * * * *"}).Between(time.Time{}, at("2026-05-04T08:00:00Z"), at("9999-05-04T08:00:00Z")) {
		break // stops when told to
	}
}
