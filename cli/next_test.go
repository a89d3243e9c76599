package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// runCommand runs the command line in this process, in an empty folder and environment.
func runCommand(t *testing.T, p *program, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	p.stdout, p.stderr = &out, &errs
	if p.env == nil {
		p.env = func(string) (string, bool) { return "", false }
	}
	if p.dir == "" {
		p.dir = t.TempDir()
	}
	if p.now == nil {
		p.now = time.Now
	}
	code := p.run(t.Context(), args)
	return result{code, out.String(), errs.String()}
}

func TestConformance(t *testing.T) {
	data, err := os.ReadFile("../schedules/testdata/conformance/next_run.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string
		Args   []string
		Expect []string
		Exit   int
		Says   []string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 90 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			args := append([]string{"schedules", "next"}, c.Args...)
			if c.Exit != 0 {
				refused(t, runCommand(t, &program{}, args...), c.Exit, c.Says)
				return
			}
			got := runCommand(t, &program{}, append(args, "--output", "json")...)
			if got.code != 0 || got.stderr != "" {
				t.Fatalf("exit %d, stderr %q", got.code, got.stderr)
			}
			var ticks []struct {
				Nominal string `json:"nominal_time"`
				Local   string `json:"local_time"`
			}
			if err := json.Unmarshal([]byte(got.stdout), &ticks); err != nil {
				t.Fatal(err)
			}
			if len(ticks) != len(c.Expect) || ticks == nil {
				t.Fatalf("got %s, want %q", got.stdout, c.Expect)
			}
			for i, tick := range ticks {
				if tick.Nominal != c.Expect[i] {
					t.Errorf("tick %d: got %s, want %s", i, tick.Nominal, c.Expect[i])
				}
				checkLocal(t, tick.Nominal, tick.Local, flagValue(c.Args, "--timezone"))
			}
		})
	}
}

// refused checks that a command ended with one line on standard error that has the words in it.
func refused(t *testing.T, got result, code int, says []string) {
	t.Helper()
	if got.code != code {
		t.Errorf("exit %d, want %d", got.code, code)
	}
	if got.stdout != "" {
		t.Errorf("standard output %q, want nothing", got.stdout)
	}
	if line, ok := strings.CutSuffix(got.stderr, "\n"); !ok || line == "" || strings.Contains(line, "\n") {
		t.Errorf("standard error %q, want one line", got.stderr)
	}
	for _, word := range says {
		if !strings.Contains(strings.ToLower(got.stderr), word) {
			t.Errorf("standard error %q does not say %q", got.stderr, word)
		}
	}
}

func flagValue(args []string, flag string) string {
	for i, a := range args {
		if a == flag {
			return args[i+1]
		}
	}
	return ""
}

// checkLocal checks that the local time is the same instant at the zone's offset.
func checkLocal(t *testing.T, nominal, local, timezone string) {
	t.Helper()
	zone, err := time.LoadLocation(timezone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, nominal)
	if err != nil {
		t.Fatal(err)
	}
	if want := at.In(zone).Format(time.RFC3339Nano); local != want {
		t.Errorf("local time of %s: got %s, want %s", nominal, local, want)
	}
}

func TestNextCounts(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) }
	count := func(args ...string) int {
		got := runCommand(t, &program{now: now}, append([]string{"schedules", "next", "--output", "json"}, args...)...)
		var ticks []any
		if err := json.Unmarshal([]byte(got.stdout), &ticks); err != nil {
			t.Fatalf("%v: %s", err, got.stderr)
		}
		return len(ticks)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--cron", "@daily"}, 5},
		{[]string{"--cron", "@daily", "--count", "12"}, 12},
		{[]string{"--cron", "@daily", "--until", "2026-05-24T00:00:00Z"}, 19},
		{[]string{"--cron", "@daily", "--until", "2026-05-24T00:00:00Z", "--count", "3"}, 3},
		{[]string{"--cron", "* * * * * *", "--until", "2027-01-01T00:00:00Z"}, 10_000},
		{[]string{"--interval", "90m", "--count", "2"}, 2},
	} {
		if got := count(c.args...); got != c.want {
			t.Errorf("%q: %d ticks, want %d", c.args, got, c.want)
		}
	}
	for _, args := range [][]string{
		{"--cron", "@daily", "--count", "0"},
		{"--cron", "@daily", "--count", "10001"},
		{"--cron", "@daily", "--count", "x"},
		{"--cron", "@daily", "--until", "2026-05-04T11:00:00Z"},
		{"some-id", "--cron", "@daily"},
	} {
		refused(t, runCommand(t, &program{now: now}, append([]string{"schedules", "next"}, args...)...), 2, nil)
	}
}
