package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// FuzzFlags: each kind of value is refused on one line, or comes back from what is printed of it.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{"", "0", "10", "1MiB", "64MiB", "1e30", "-1", "1h30m", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00.123456789+23:59", "0000-01-01T00:00:00Z",
		"a=6,b=3", "a=0", "a,a", ",", "a=", "1.5KiB", "\xff", "NaN", "30m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var at [2]time.Time
		var d [2]schedules.Duration
		var size, steps [2]int
		var queues [2]map[string]int
		ago := func() time.Time { return time.Unix(1767225600, 0) }
		for _, pair := range [][2]pflag.Value{
			{timeValue{at: &at[0]}, timeValue{at: &at[1]}}, {timeValue{&at[0], ago}, timeValue{&at[1], ago}}, {durationValue{&d[0]}, durationValue{&d[1]}},
			{sizeValue{&size[0]}, sizeValue{&size[1]}}, {stepsValue{&steps[0]}, stepsValue{&steps[1]}}, {queuesValue{&queues[0]}, queuesValue{&queues[1]}},
		} {
			if err := pair[0].Set(text); err != nil {
				if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
					t.Fatalf("%s %q: %q", pair[0].Type(), text, err)
				}
				continue
			}
			if shown := pair[0].String(); shown != "" {
				if err := pair[1].Set(shown); err != nil || pair[1].String() != shown {
					t.Fatalf("%s %q is shown as %q, which is %q, %v", pair[0].Type(), text, shown, pair[1].String(), err)
				}
			}
		}
	})
}

// FuzzArgs: --arg key=value gives an object of valid JSON with that field, or is refused on one line.
func FuzzArgs(f *testing.F) {
	f.Add("a=1", `b="x"`)
	f.Add("=", "a")
	f.Add("a=1", "a=2")
	f.Add("\xff=1", "a={")
	f.Add("\r=", "")
	f.Fuzz(func(t *testing.T, one, two string) {
		cmd := &cobra.Command{}
		cmd.Flags().String("input", "", "")
		raw, err := argInput(cmd, []string{one, two})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q is not one line", err)
			}
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil || len(fields) < 1 || len(fields) > 2 {
			t.Fatalf("%q %q give %s, %v", one, two, raw, err)
		}
	})
}
