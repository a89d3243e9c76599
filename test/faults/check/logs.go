package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// execution is one call of a workflow's function, as its worker logged it.
type execution struct {
	Line             // the first one
	lines  []Line    // all, in order
	end    time.Time // zero: it never returned, as far as the log goes
	out    string    // of its end
	cancel time.Time // when it saw its context cancelled; zero: it did not
	cause  string
	killed time.Time // when its worker was killed while it went on; zero: it was not
	next   time.Time // when the next execution of the same run began; zero: there is none
}

// readLogs reads the workers' logs into executions, by their start. The last line of a file may be cut off: its process was killed while it wrote.
func readLogs(folder string) ([]*execution, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list logs in %s: %w", folder, err)
	}
	byID := map[string]*execution{}
	var all []*execution
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		rows := bytes.Split(raw, []byte("\n"))
		for i, row := range rows[:len(rows)-1] { // what follows the last line's end is nothing, or cut off
			var l Line
			if err := json.Unmarshal(row, &l); err != nil {
				return nil, fmt.Errorf("read log %s, line %d: %w", file, i+1, err)
			}
			x := byID[l.Exec]
			if x == nil {
				x = &execution{Line: l}
				byID[l.Exec] = x
				all = append(all, x)
			}
			x.take(l)
		}
	}
	slices.SortFunc(all, func(a, b *execution) int { return a.At.Compare(b.At) })
	return all, nil
}

func (x *execution) take(l Line) {
	x.lines = append(x.lines, l)
	switch l.What {
	case LineEnd:
		x.end, x.out = l.At, l.Outcome
	case LineCancel:
		x.cancel, x.cause = l.At, l.Outcome
	}
}

// until is when the execution stopped to count as one: when it returned, its worker was killed or, where neither is known, rest.
func (x *execution) until(rest time.Time) time.Time {
	return earliest(rest, x.end, x.killed)
}

// earliest gives the earliest of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var best time.Time
	for _, t := range times {
		if !t.IsZero() && (best.IsZero() || t.Before(best)) {
			best = t
		}
	}
	return best
}
