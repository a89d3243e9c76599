package redisstore

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var update = flag.Bool("update", false, "write the golden files")

// The fields of every stored record belong to its format: a new one, a renamed or a missing one makes a new format, since the release before would lose
// it, ignore it or miss it. See docs/upgrading.md. When the format is new, -update writes its file; the file of a format that was released never changes.
func TestShape(t *testing.T) {
	var b strings.Builder
	add := func(name string, v any, err error) {
		text, ok := v.([]byte)
		if !ok && err == nil {
			text, err = json.Marshal(v)
		}
		var tree any
		if err == nil {
			err = json.Unmarshal(text, &tree)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range paths(name, tree) {
			fmt.Fprintln(&b, p)
		}
	}
	s, run, backfill := filled[schedules.Schedule](), filled[schedules.Run](), filled[schedules.Backfill]()
	run.Format, backfill.Format = 0, 0
	rec, err := encodeRecord(s.Record, writes)
	add("rec", rec, err)
	hot, err := encodeProgress(s.Progress)
	add("hot", hot, err)
	tally, err := encodeTally(s.Tally)
	add("tally", tally, err)
	fate, err := encodeFate(filled[schedules.Fate]())
	add("fate", fate, err)
	waiting, err := encodeWaiting(filled[schedules.WaitingTick]())
	add("wait", waiting, err)
	row, counts, err := encodeBackfill(backfill)
	add("backfill", row, err)
	add("backfill tally", counts, err)
	fields, err := runFields(&run, "token", true)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i+1 < len(fields); i += 2 {
		if name, text := fields[i].(string), fields[i+1]; name == "fix" || name == "mut" || name == "error" {
			add("run "+name, text, nil)
		}
	}
	step := filled[schedules.Step]()
	add("step", &step, nil)
	file := filepath.Join("testdata", fmt.Sprintf("shape%d.txt", writes))
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the fields of format %d have changed, so this is another format: see docs/upgrading.md, \"Adding a format\"\nonly now: %v\nno more: %v",
			writes, without(got, string(want)), without(string(want), got))
	}
}

// without gives the lines of a that b does not have.
func without(a, b string) []string {
	there := strings.Split(b, "\n")
	return slices.DeleteFunc(strings.Split(a, "\n"), func(line string) bool { return slices.Contains(there, line) })
}

// paths lists the fields of a JSON value, those of its parts included.
func paths(at string, v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for name, part := range v {
			out = append(append(out, at+"."+name), paths(at+"."+name, part)...)
		}
	case []any:
		for _, part := range v {
			out = append(out, paths(at+"[]", part)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
