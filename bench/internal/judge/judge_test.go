package judge

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

const base = int64(1_800_000_000_000) // ms since 1970, on every grid used here

// start is a start so many ms late.
func start(index, nominal int64, late int64) fires.Fire {
	return fires.Fire{Index: index, Nominal: nominal, Start: (nominal + late) * int64(time.Millisecond)}
}

func TestJudge(t *testing.T) {
	same := Grid{Schedules: 2, Period: 1000, Begin: base, End: base + 3000}
	spread := Grid{Schedules: 4, Period: 1000, Begin: base, End: base + 2000, Spread: true}
	burst := Grid{Schedules: 3, Period: 1, Begin: base, End: base + 1}
	var whole []fires.Fire
	for i := range int64(2) {
		for k := range int64(3) {
			whole = append(whole, start(i, base+1000*k, 10*(3*i+k+1)))
		}
	}
	ms := time.Millisecond
	for name, c := range map[string]struct {
		grid   Grid
		starts []fires.Fire
		want   Outcome
	}{
		"nothing started": {same, nil, Outcome{Expected: 6, Lost: 6}},
		"each once":       {same, whole, Outcome{Expected: 6, Started: 6, Lateness: Lateness{30 * ms, 60 * ms, 60 * ms}}},
		"one lost, one doubled": {same, append(whole[:5:5], start(0, base, 5)),
			Outcome{Expected: 6, Started: 5, Lost: 1, Doubled: 1, Lateness: Lateness{30 * ms, 50 * ms, 50 * ms}}},
		"warm-up and what follows are left out": {same, append(whole[:6:6], start(0, base-1000, 1), start(1, base+3000, 1)),
			Outcome{Expected: 6, Started: 6, Lateness: Lateness{30 * ms, 60 * ms, 60 * ms}}},
		"unknown schedules are left out": {same, []fires.Fire{start(-1, base, 1), start(2, base, 1)}, Outcome{Expected: 6, Lost: 6}},
		"off the grid":                   {same, []fires.Fire{start(0, base+1, 1)}, Outcome{Expected: 6, Lost: 6, Stray: 1}},
		"spread": {spread, []fires.Fire{start(0, base, 1), start(1, base+250, 2), start(3, base+1750, 3), start(2, base, 4), start(1, base+500, 5)},
			Outcome{Expected: 8, Started: 3, Lost: 5, Stray: 2, Lateness: Lateness{2 * ms, 3 * ms, 3 * ms}}},
		"late by more than a period": {same, []fires.Fire{start(0, base+2000, 5000)}, Outcome{Expected: 6, Started: 1, Lost: 5, Lateness: Lateness{5000 * ms, 5000 * ms, 5000 * ms}}},
		"burst":                      {burst, []fires.Fire{start(0, base, 7), start(1, base, 8), start(2, base, 9)}, Outcome{Expected: 3, Started: 3, Lateness: Lateness{8 * ms, 9 * ms, 9 * ms}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(c.grid, c.starts); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	a, b, c := fires.Key{1}, fires.Key{2}, fires.Key{3}
	got := Join([]fires.Enqueued{{Key: a, Index: 4, Nominal: base}, {Key: b, Index: 5, Nominal: base + 1000}},
		[]fires.Taken{{Key: b, Start: 20}, {Key: c, Start: 30}, {Key: b, Start: 40}})
	want := []fires.Fire{{Index: 5, Nominal: base + 1000, Start: 20}, {Index: 5, Nominal: base + 1000, Start: 40}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, c := range []struct {
		values  []int64
		percent float64
		want    int64
	}{
		{nil, 99, 0}, {[]int64{7}, 50, 7}, {[]int64{7}, 99, 7}, {[]int64{1, 2}, 50, 1}, {[]int64{1, 2, 3}, 50, 2}, {[]int64{1, 2, 3}, 100, 3},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1}, {hundred, 99.5, 100},
	} {
		if got := Percentile(c.values, c.percent); got != c.want {
			t.Errorf("percentile %g of %d values is %d, want %d", c.percent, len(c.values), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("median of %v is %g, want %g", c.values, got, c.want)
		}
	}
}

func TestBetweenAndFirstAfter(t *testing.T) {
	starts := []fires.Fire{{Start: 30}, {Start: 10}, {Start: 20}}
	if n := Between(starts, time.Unix(0, 10), time.Unix(0, 30)); n != 2 {
		t.Errorf("%d starts in [10, 30), want 2", n)
	}
	if at, ok := FirstAfter(starts, time.Unix(0, 10)); !ok || at.UnixNano() != 20 {
		t.Errorf("the first after 10 is %d, %v; want 20", at.UnixNano(), ok)
	}
	if _, ok := FirstAfter(starts, time.Unix(0, 30)); ok {
		t.Error("there is one after the last")
	}
}
