package schedules

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every host
)

type conformanceCase struct {
	Name   string   `json:"name"`
	Args   []string `json:"args"`
	Expect []string `json:"expect"`
	Exit   int      `json:"exit"`
	Says   []string `json:"says"`
	Note   string   `json:"note"`
}

func readConformance(t testing.TB) []conformanceCase {
	t.Helper()
	data, err := os.ReadFile("testdata/conformance/next_run.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []conformanceCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 90 {
		t.Fatalf("only %d cases", len(cases))
	}
	return cases
}

// preview is what `schedules next` does with its arguments, without a program around it.
func preview(args []string) ([]string, error) {
	var s Spec
	var after, until time.Time
	count := -1
	for flag, value := range pairs(args) {
		var err error
		switch flag {
		case "--cron":
			s.Cron = value
		case "--interval":
			s.Interval = value
		case "--calendar":
			var c Calendar
			c, err = ParseCalendar(value)
			s.Calendar = append(s.Calendar, c)
		case "--interval-from":
			s.IntervalFrom = IntervalFrom(value)
		case "--timezone":
			s.Timezone = value
		case "--start-at":
			s.StartAt, err = time.Parse(time.RFC3339, value)
		case "--end-at":
			s.EndAt, err = time.Parse(time.RFC3339, value)
		case "--jitter":
			s.Jitter, err = ParseDuration(value)
		case "--after":
			if after, err = time.Parse(time.RFC3339, value); err != nil {
				err = fmt.Errorf("after %q: %w", value, err)
			}
		case "--until":
			until, err = time.Parse(time.RFC3339, value)
		case "--count":
			count, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown flag %s", flag)
		}
		if err != nil {
			return nil, err
		}
	}
	timing, err := Compile(s)
	if err != nil {
		return nil, err
	}
	if count < 0 && until.IsZero() {
		count = 5
	}
	times := []string{}
	for len(times) < 10000 && (count < 0 || len(times) < count) {
		next, ok := timing.Next(after)
		if !ok || !until.IsZero() && !next.Before(until) {
			break
		}
		times = append(times, next.Format(time.RFC3339Nano))
		after = next
	}
	return times, nil
}

func pairs(args []string) func(yield func(flag, value string) bool) {
	return func(yield func(flag, value string) bool) {
		for pair := range slices.Chunk(args, 2) {
			if !yield(pair[0], pair[len(pair)-1]) {
				return
			}
		}
	}
}

func TestConformance(t *testing.T) {
	for _, c := range readConformance(t) {
		t.Run(c.Name, func(t *testing.T) {
			got, err := preview(c.Args)
			if c.Exit != 0 {
				if err == nil {
					t.Fatalf("%q is accepted: %s", c.Args, got)
				}
				line := strings.ToLower(err.Error())
				if strings.Contains(line, "\n") {
					t.Errorf("more than one line: %q", line)
				}
				for _, word := range c.Says {
					if !strings.Contains(line, word) {
						t.Errorf("%q does not say %q", line, word)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.Expect) {
				t.Errorf("%q\n got %s\nwant %s", c.Args, got, c.Expect)
			}
		})
	}
}
