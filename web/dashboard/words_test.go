package dashboard

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func TestRelText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "now", 999 * time.Millisecond: "now", -999 * time.Millisecond: "now", time.Second: "in 1s", -time.Second: "1s ago", 59 * time.Second: "in 59s", 60 * time.Second: "in 1m 00s",
		-3661 * time.Second: "1h 01m ago", 25 * time.Hour: "in 1d 1h", 8 * 24 * time.Hour: "in 8d",
	} {
		if got := relText(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestSpanAndPercent(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "–", -time.Second: "–", time.Microsecond: "<1ms", 250 * time.Millisecond: "250ms", 1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 90 * time.Second: "1m 30s"} {
		for _, v := range []any{d, schedules.Duration(d), client.Duration{Duration: schedules.Duration(d)}} {
			if got, err := span(v); got != want || err != nil {
				t.Errorf("%T %s is %q, %v; want %q", v, d, got, err, want)
			}
		}
	}
	for share, want := range map[float64]string{0: "0%", 1: "100%", .9999: "99.9%", .001: "0.1%", .5: "50%", .995: "99.5%"} {
		if got := percent(&share); got != want {
			t.Errorf("%v is %q, want %q", share, got, want)
		}
	}
	if got := percent(nil); got != "–" {
		t.Errorf("no share is %q", got)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got, _ := num(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestTypedTimes: what a form shows of a time is read back as the same time, in the hour that comes twice, too.
func TestTypedTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-03-05T08:00:00Z":     "2026-03-05 09:00",
		"2026-03-05T08:00:07Z":     "2026-03-05 09:00:07",
		"2026-03-05T08:00:07.25Z":  "2026-03-05T09:00:07.25+01:00",
		"2026-10-25T00:30:00Z":     "", // the first 02:30 of that night
		"2026-10-25T01:30:00Z":     "", // the second
		"2026-03-29T01:00:00.001Z": "2026-03-29T03:00:00.001+02:00",
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		got := typed(at, berlin)
		f := newForm("at", got)
		if back := f.instant("at", berlin); want != "" && got != want || !back.Equal(at) || f.Bad() {
			t.Errorf("%s is %q, want %q; read back it is %s, %v", text, got, want, back, f.Errors)
		}
	}
}
