package schedules

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestJitterDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jitter := Duration(rapid.Int64Range(0, int64(200*365*day)).Draw(t, "jitter"))
		id := rapid.String().Draw(t, "id")
		nominal := time.UnixMilli(rapid.Int64Range(-1e12, 1e13).Draw(t, "nominal")).UTC()
		gap := time.Duration(rapid.Int64Range(1, int64(365*day)).Draw(t, "gap"))

		free := JitterDelay(jitter, id, nominal, time.Time{})
		if free < 0 || free > time.Duration(jitter) || free%time.Millisecond != 0 {
			t.Fatalf("delay %s of jitter %s", free, jitter)
		}
		if again := JitterDelay(jitter, id, nominal.In(time.FixedZone("", 3600)), time.Time{}); again != free {
			t.Fatalf("delay %s, then %s", free, again)
		}
		capped := JitterDelay(jitter, id, nominal, nominal.Add(gap))
		if capped < 0 || capped > gap || capped > time.Duration(jitter) {
			t.Fatalf("delay %s of jitter %s passes the next tick, %s away", capped, jitter, gap)
		}
		if gap >= time.Duration(jitter) && capped != free {
			t.Fatalf("delay %s of jitter %s depends on a next tick that is %s away: %s", free, jitter, gap, capped)
		}
	})
}

func TestJitterSpreads(t *testing.T) {
	const jitter = Duration(10 * time.Second)
	nominal := at("2026-05-04T09:00:00Z")
	for _, next := range []time.Time{{}, nominal.Add(5 * time.Second)} {
		limit := 10 * time.Second
		if !next.IsZero() {
			limit = 5 * time.Second
		}
		var tenths [11]int
		for i := range 10000 {
			id := "sched_" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
			tenths[JitterDelay(jitter, id, nominal, next)*10/limit]++
		}
		for i, n := range tenths[:10] {
			if n < 850 || n > 1150 {
				t.Errorf("%d of 10000 delays in tenth %d of %s", n, i, limit)
			}
		}
	}
	seen := make(map[time.Duration]bool)
	for i := range 100 {
		seen[JitterDelay(jitter, "one", nominal.Add(time.Duration(i)*time.Minute), time.Time{})] = true
	}
	if len(seen) < 90 {
		t.Errorf("100 ticks of one schedule have only %d delays", len(seen))
	}
}

// The delay is part of what is stored and compared across versions: it must not change.
func TestJitterIsStable(t *testing.T) {
	for id, want := range map[string]time.Duration{"": 2941898 * time.Millisecond, "sched_1": 935222 * time.Millisecond, "auto_report": 2634954 * time.Millisecond} {
		if got := JitterDelay(Duration(time.Hour), id, at("2026-05-04T09:00:00Z"), time.Time{}); got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
	if JitterDelay(0, "x", at("2026-05-04T09:00:00Z"), time.Time{}) != 0 {
		t.Error("no jitter, but a delay")
	}
}
