package nearest

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	known := []string{"daily_report", "hourly_sync", "lab_echo", "lab_sleep", "x"}
	for name, want := range map[string][]string{
		"daily_reprot": {"daily_report"},
		"DailyReport":  {"daily_report"},
		"lab_ech":      {"lab_echo"},
		"hourly":       {"hourly_sync"},
		"zzzzzz":       nil,
		"y":            nil,
	} {
		if got := Names(name, known, 1); !slices.Equal(got, want) {
			t.Errorf("Names(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := Edits(c.a, c.b); got != c.want {
			t.Errorf("Edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
