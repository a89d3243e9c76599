//go:build unix

package faults

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var theDefence = flag.String("defence", "", "with -prove: a regular expression: only defences whose name matches")

var prove = flag.Bool("prove", false, "take each defence out of the program, and see the suite fail")

// defence is something that keeps a promise under a kind of fault, with the change of the code that takes it out, and what the suite then finds.
type defence struct {
	name     string
	scenario string
	lasts    time.Duration
	edits    []edit
	finds    []string // kinds of findings, at least one of which must come
}

type edit struct{ file, old, new string }

var defences = []defence{
	{name: "kept messages: a keeper sends what a dead process left in the outbox", scenario: "kills", finds: []string{"stuck"}, edits: []edit{
		{"beat/sweep.go", "\ttried := make(map[store.Message]bool)\n", "\ttried := make(map[store.Message]bool)\n\tif !until.IsZero() {\n\t\treturn nil\n\t}\n"}}},
	{name: "lost workers: a keeper takes runs from a worker that does not renew its leases", scenario: "kills", finds: []string{"stuck"}, edits: []edit{
		{"beat/sweep.go", "\tfor _, look := range []func(context.Context, int, *sweepState) error{s.outbox, s.leases} {", "\tfor _, look := range []func(context.Context, int, *sweepState) error{s.outbox} {"}}},
	{name: "recorded steps: what is recorded is not executed again", scenario: "kills", finds: []string{"step"}, edits: []edit{
		{"worker/record.go", "\tif h.run.Dispatch == 1 {\n", "\tif h.run.Dispatch >= 1 {\n"}}},
	{name: "fencing: a worker whose run was given to another is told, and its end is refused", scenario: "zombies", lasts: 40 * time.Second, finds: []string{"fence", "overlap", "step"}, edits: []edit{
		{"worker/attempt.go", "recorded = r.Status == schedules.RunRunning && r.Dispatch == h.run.Dispatch && r.Token == h.run.Token", "recorded = r.Status == schedules.RunRunning"},
		{"worker/held.go", "case a.Lost:\n", "case a.Lost && w == nil:\n"},
		{"store/redisstore/lua/step.lua", "if mut.status ~= 'running' or mut.dispatch ~= tonumber(dispatch) then", "if mut.status ~= 'running' then"}}},
	{name: "revisions: a decision about what has changed since is refused", scenario: "zombies", finds: []string{"counter", "doubled", "lost", "overlap", "order"}, edits: []edit{
		{"store/redisstore/lua/commit.lua", "if rev ~= expect then", "if rev == '' then"}}},
	{name: "scripts: a Redis that has forgotten them is sent them again", scenario: "redis", finds: []string{"stuck", "lost", "crash"}, edits: []edit{
		{"store/redisstore/script.go", "for _, whole := range []bool{false, true} {", "for _, whole := range []bool{false} {"}}},
	{name: "the store's clock: no host's own clock decides", scenario: "hosts", finds: []string{"lost", "stuck", "crash", "doubled"}, edits: []edit{
		{"store/redisstore/store.go", "\treturn s.clock.estimate().UTC().Truncate(time.Millisecond)\n", "\treturn time.Now().UTC().Truncate(time.Millisecond)\n"}}},
	{name: "lost messages: a keeper looks for the task of a run that nobody claims", scenario: "asynq", finds: []string{"stuck"}, edits: []edit{
		{"beat/runs.go", "\tverdicts := make([]verdict, len(due))\n\tif k.cfg.Looker == nil {", "\tverdicts := make([]verdict, len(due))\n\tif k.cfg.Looker != nil {"}}},
	{name: "batches: the waiting ticks of a deleted schedule are dropped 100 at a time, to the last", scenario: "load", finds: []string{"counter", "leftover", "lost"}, edits: []edit{
		{"schedules/decide.go", "if d.s.DropBelow > 0 && !d.drop() {", "if d.s.DropBelow < 0 && !d.drop() {"},
		{"schedules/act.go", "\t\td.c.More = !d.drop()\n", "\t\t_ = d.drop()\n"}}},
	{name: "returns: a worker that lacks the workflow gives the run back", scenario: "rolling", finds: []string{"failed"}, edits: []edit{
		{"worker/attempt.go", "; !known {\n\t\treturn run, false, w.giveBack(ctx, run)\n", "; !known && w == nil {\n\t\treturn run, false, w.giveBack(ctx, run)\n"},
		{"worker/attempt.go", "\t\t\tout = schedules.Outcome{Kind: schedules.OutcomeHandedBack}\n\t\t}\n\t}()", "\t\t\tout = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Message: err.Error()}}\n\t\t}\n\t}()"}}},
}

// TestDefences takes each defence out and sees the suite fail: a suite that finds nothing in a broken program proves nothing. It is not part of the short form,
// which stays short; the edits are, so that they follow the code.
func TestDefences(t *testing.T) {
	match, err := regexp.Compile(*theDefence)
	if err != nil {
		t.Fatalf("-defence %q: %v", *theDefence, err)
	}
	for _, d := range defences {
		t.Run(d.scenario+"/"+d.name, func(t *testing.T) {
			overlay := d.overlay(t)
			if !*prove || !match.MatchString(d.name) {
				return
			}
			at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == d.scenario })
			sc := scenarios[at]
			sc.lasts = max(sc.lasts, d.lasts)
			first := max(*seed, 1)
			for s := first; s < first+3; s++ { // a kill at the right place is a matter of luck
				_, _, found := sc.play(t, variant{overlay: overlay}, s)
				for _, f := range found {
					if slices.Contains(d.finds, f.Kind) {
						t.Logf("seed %d found %d, such as %s: %s", s, len(found), f.Kind, f.Text)
						return
					}
				}
				t.Logf("seed %d found none of %v, but %v", s, d.finds, found)
			}
			t.Errorf("without this defence the suite found none of %v", d.finds)
		})
	}
}

// overlay writes the changed files.
func (d defence) overlay(t *testing.T) string {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	dir := t.TempDir()
	for _, e := range d.edits {
		name := filepath.Join(root, filepath.FromSlash(e.file))
		from := name
		if replace[name] != "" {
			from = replace[name]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s holds %q %d times; want once: the code has moved on, and the edit must follow", e.file, e.old, n)
		}
		to := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[name] = to
	}
	return writeOverlay(t, t.TempDir(), replace)
}

func writeOverlay(tb testing.TB, dir string, replace map[string]string) string {
	tb.Helper()
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		tb.Fatal(err)
	}
	return name
}

// mergeOverlays makes one overlay of several; an empty name is none.
func mergeOverlays(tb testing.TB, files ...string) string {
	tb.Helper()
	if len(files) == 2 && files[0] == "" {
		return files[1]
	}
	all := map[string]string{}
	for _, file := range files {
		if file == "" {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var one struct{ Replace map[string]string }
		if err := json.Unmarshal(raw, &one); err != nil {
			tb.Fatal(err)
		}
		maps.Copy(all, one.Replace)
	}
	return writeOverlay(tb, tb.TempDir(), all)
}
