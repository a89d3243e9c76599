// Package judge holds what was started against what had to start: each tick of each schedule in the measured window once, and how late.
package judge

import (
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

// Grid is the ticks that had to start: of every schedule, each instant phase + k × Period in [Begin, End). Times are ms since 1970.
type Grid struct {
	Schedules  int
	Period     int64
	Begin, End int64 // whole periods apart
	Spread     bool  // phases are spread evenly over the period; else all are that of Begin
}

// Ticks is how many ticks each schedule has.
func (g Grid) Ticks() int { return int((g.End - g.Begin) / g.Period) }

// Expected is how many ticks there are.
func (g Grid) Expected() int { return g.Schedules * g.Ticks() }

// Phase is how long after Begin the first tick of a schedule is.
func (g Grid) Phase(index int) int64 {
	if !g.Spread {
		return 0
	}
	return int64(index) * g.Period / int64(g.Schedules)
}

// Outcome is what became of the ticks of a grid.
type Outcome struct {
	Expected int
	Started  int // ticks that were started, once or more often
	Lost     int // ticks that were not
	Doubled  int // starts beyond the first of a tick
	Stray    int // starts with a nominal time in the window that is none of the ticks
	Lateness Lateness
}

// Lateness is how long after its nominal time the first start of a tick was.
type Lateness struct{ P50, P99, Max time.Duration }

// Judge holds starts against the grid. What has its nominal time outside of the window is left out, and so are indexes that are no schedule's.
func Judge(g Grid, starts []fires.Fire) Outcome {
	ticks := g.Ticks()
	first := make([]int64, g.Schedules*ticks) // ns since 1970; 0: not started
	out := Outcome{Expected: len(first)}
	for _, f := range starts {
		if f.Nominal < g.Begin || f.Nominal >= g.End || f.Index < 0 || f.Index >= int64(g.Schedules) {
			continue
		}
		since := f.Nominal - g.Begin - g.Phase(int(f.Index))
		if since < 0 || since%g.Period != 0 {
			out.Stray++
			continue
		}
		at := &first[int(f.Index)*ticks+int(since/g.Period)]
		switch {
		case *at == 0:
			out.Started++
			*at = f.Start
		default:
			out.Doubled++
			*at = min(*at, f.Start)
		}
	}
	out.Lost = out.Expected - out.Started
	late := make([]time.Duration, 0, out.Started)
	for i, at := range first {
		if at != 0 {
			nominal := g.Begin + g.Phase(i/ticks) + int64(i%ticks)*g.Period
			late = append(late, time.Duration(at-nominal*int64(time.Millisecond)))
		}
	}
	slices.Sort(late)
	out.Lateness = Lateness{P50: Percentile(late, 50), P99: Percentile(late, 99), Max: Percentile(late, 100)}
	return out
}

// Join gives the starts of asynq's tasks the nominal times that its scheduler noted. Tasks that nobody noted are left out.
func Join(enqueued []fires.Enqueued, taken []fires.Taken) []fires.Fire {
	of := make(map[fires.Key]fires.Enqueued, len(enqueued))
	for _, e := range enqueued {
		of[e.Key] = e
	}
	out := make([]fires.Fire, 0, len(taken))
	for _, t := range taken {
		if e, ok := of[t.Key]; ok {
			out = append(out, fires.Fire{Index: e.Index, Nominal: e.Nominal, Start: t.Start})
		}
	}
	return out
}

// Between counts the starts in [begin, end), whatever their nominal times.
func Between(starts []fires.Fire, begin, end time.Time) int {
	n := 0
	for _, f := range starts {
		if f.Start >= begin.UnixNano() && f.Start < end.UnixNano() {
			n++
		}
	}
	return n
}

// FirstAfter is the earliest start after an instant; ok is false when there is none.
func FirstAfter(starts []fires.Fire, after time.Time) (at time.Time, ok bool) {
	var best int64
	for _, f := range starts {
		if f.Start > after.UnixNano() && (best == 0 || f.Start < best) {
			best = f.Start
		}
	}
	return time.Unix(0, best), best != 0
}

// Percentile is the smallest of the sorted values that p percent of them do not exceed; zero of none.
func Percentile[T ~int64 | ~float64](sorted []T, p float64) T {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(float64(len(sorted))*p/100 + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Median is the middle of the values, or the mean of the two in the middle.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if m := len(s) / 2; len(s)%2 == 0 {
		return (s[m-1] + s[m]) / 2
	}
	return s[len(s)/2]
}
