//go:build unix

package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// table adds up what all scenarios counted.
type table struct {
	mu    sync.Mutex
	began time.Time
	rows  map[string]*row
	order []string
}

type row struct {
	worlds int
	broken int // faults, each once
	faults map[string]int
	report check.Report
	found  map[string]int
}

func newTable() *table { return &table{began: time.Now(), rows: map[string]*row{}} }

func (t *table) add(name string, broken int, faults map[string]int, r check.Report, found []check.Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.rows[name]
	if at == nil {
		at = &row{faults: map[string]int{}, found: map[string]int{}}
		t.rows[name] = at
		t.order = append(t.order, name)
	}
	at.worlds++
	at.broken += broken
	for k, n := range faults {
		at.faults[k] += n
	}
	for _, f := range found {
		at.found[f.Kind]++
	}
	at.report.Add(r)
}

// text is the table as Markdown.
func (t *table) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d worlds\n\n", time.Since(t.began).Round(time.Second), t.worlds())
	b.WriteString("| scenario | worlds | faults | ticks | runs | executions | recovered | lost | doubled | other findings | lost by Redis | longest run |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	total := &row{faults: map[string]int{}, found: map[string]int{}}
	line := func(name string, r *row) {
		other := 0
		for kind, c := range r.found {
			if kind != "lost" && kind != "doubled" {
				other += c
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", name, r.worlds, r.broken, r.report.Ticks, r.report.Runs, r.report.Executions,
			r.report.Recovered, r.found["lost"], r.found["doubled"], other, r.report.RedisLost, r.report.LongestRun.Round(100*time.Millisecond))
	}
	slices.Sort(t.order)
	for _, name := range t.order {
		r := t.rows[name]
		line(name, r)
		total.worlds += r.worlds
		total.broken += r.broken
		for k, n := range r.faults {
			total.faults[k] += n
		}
		for k, n := range r.found {
			total.found[k] += n
		}
		total.report.Add(r.report)
	}
	line("**all**", total)
	b.WriteString("\n| scenario | lost worker → resumed | lost beat → next tick late by | stopped beat → next tick late by | Redis back → first start | cancel asked → seen |\n|---|---|---|---|---|---|\n")
	for _, name := range t.order {
		r := t.rows[name].report
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, spread(r.Resume), spread(r.Handover), spread(r.Stopped), spread(r.Back), spread(r.CancelSeen))
	}
	b.WriteString("\n| fault | times |\n|---|---|\n")
	var kinds []string
	for k := range total.faults {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %d |\n", k, total.faults[k])
	}
	return b.String()
}

func (t *table) worlds() (n int) {
	for _, r := range t.rows {
		n += r.worlds
	}
	return n
}

// spread is the median and the greatest of durations.
func spread(ds []time.Duration) string {
	if len(ds) == 0 {
		return "–"
	}
	ds = slices.Clone(ds)
	slices.Sort(ds)
	r := 10 * time.Millisecond
	return fmt.Sprintf("p50 %s, max %s (%d)", ds[len(ds)/2].Round(r), ds[len(ds)-1].Round(r), len(ds))
}

// print shows the table, and writes it to the file that -report names.
func (t *table) print(tb testing.TB) {
	text := t.text()
	tb.Log("\n" + text)
	if *report == "" {
		return
	}
	if err := os.WriteFile(*report, []byte(text), 0o644); err != nil {
		tb.Error(err)
	}
}
