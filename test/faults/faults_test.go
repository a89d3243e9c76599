//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

var (
	full     = flag.Bool("full", false, "all scenarios with hundreds of schedules; else the short form")
	seed     = flag.Uint64("seed", 0, "the first seed; 0: one made of the time")
	seeds    = flag.Int("seeds", 1, "how many seeds, one after another")
	lasts    = flag.Duration("for", 0, "how long each scenario's schedules tick; 0: 60s, in the short form 15s. Scenarios that need longer take longer")
	only     = flag.String("scenario", "", "a regular expression: only scenarios whose name matches")
	raced    = flag.Bool("race-program", false, "build beats and workers with the race detector")
	many     = flag.Int("schedules", 0, "schedules of a scenario; 0: 200, in the short form 60")
	report   = flag.String("report", "", "write the table of what was counted to this file, after every seed")
	keep     = flag.String("keep", "", "keep the logs of processes and workers in this folder")
	parallel = flag.Int("worlds", 4, "how many scenarios run at a time")
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(cleaning{redistest.Main(m)})
}

// cleaning removes what was built after the tests.
type cleaning struct{ m redistest.Runner }

func (c cleaning) Run() int {
	defer removeBuilds()
	return c.m.Run()
}

// TestFaults breaks everything that can break, and sees the promises kept.
func TestFaults(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		t.Fatalf("-scenario %q: %v", *only, err)
	}
	table := newTable()
	for s := first; s < first+uint64(*seeds); s++ {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			var turn sync.WaitGroup
			slots := make(chan struct{}, *parallel)
			for _, sc := range scenarios {
				if !match.MatchString(sc.name) || (sc.full && !*full && *only == "") {
					continue
				}
				turn.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					t.Run(sc.name, func(t *testing.T) { sc.run(t, s, table) })
				})
			}
			turn.Wait()
		})
		table.print(t)
	}
}

// run plays a scenario and judges it.
func (sc scenario) run(t *testing.T, seed uint64, table *table) {
	w, rep, findings := sc.play(t, variant{race: *raced}, seed)
	table.add(sc.name, len(w.scene.Faults), w.counts, rep, findings)
	t.Logf("seed %d: %+v", seed, rep)
	for i, f := range findings {
		if i == 40 {
			t.Errorf("and %d more", len(findings)-i)
			break
		}
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
	if *keep != "" {
		w.keepNotes(t)
	}
	if t.Failed() {
		again := fmt.Sprintf("make faults SEED=%d SCENARIO='^%s$' FOR=%s SCHEDULES=%d", seed, sc.name, w.lasts, w.many)
		if *raced {
			again += " RACE=1"
		}
		t.Errorf("to repeat: %s", again)
	}
}

// play makes the scenario's world, breaks it, mends it, and has it checked once it is at rest.
func (sc scenario) play(t *testing.T, v variant, seed uint64) (*world, check.Report, []check.Finding) {
	ctx := context.WithoutCancel(t.Context())
	n, length := 60, 15*time.Second
	if *full {
		n, length = 200, 60*time.Second
	}
	if sc.many > 0 {
		n = sc.many
	}
	if *many > 0 {
		n = *many
	}
	if *lasts > 0 {
		length = *lasts
	}
	if sc.ownClocks {
		v.overlay = mergeOverlays(t, v.overlay, overlayClock(t))
	}
	w := newWorld(t, build(t, v), seed, max(length, sc.lasts), n)
	if sc.build != nil {
		sc.build(w)
	} else {
		w.useServer()
	}
	if !*full {
		w.scene.Slack = 5 * time.Second // other tests have the processors, too
	}
	w.open()
	w.scene.KeysBefore = w.keys(ctx)
	if sc.begin != nil {
		sc.begin(ctx, w)
	} else {
		crew(ctx, w)
	}
	w.ends = w.now().Add(w.lasts + w.jump).Truncate(time.Millisecond)
	w.populate(ctx)
	w.faulting.Go(w.watchFailpoints)
	w.faulting.Go(func() { w.people(ctx) })
	sc.breaks(ctx, w)
	pause(w.over, w.lasts-3*time.Second)
	w.mend()
	if sc.after != nil {
		sc.after(ctx, w)
	}
	w.rest(ctx)
	close(w.over)
	w.failures(ctx)
	rep, findings, err := check.Check(ctx, w.scene)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return w, rep, append(w.found, findings...)
}

// keepNotes writes down what the driver did, and when, beside the logs.
func (w *world) keepNotes(t *testing.T) {
	raw, err := json.MarshalIndent(map[string]any{"definitions": w.scene.Definitions, "acts": w.scene.Acts, "faults": w.scene.Faults}, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, "notes.json"), raw, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
