package schedules

import (
	"math/bits"
	"time"
)

// JitterDelay returns by how much the tick of a schedule at a nominal time is delayed: a part of jitter, from none to all of it,
// in whole milliseconds, that depends on the schedule's id and the nominal time only and is the same on every host.
// Where the next nominal time is nearer than jitter, it is a part of the time until then, so that no tick passes the next one;
// a zero next sets no such limit.
func JitterDelay(jitter Duration, scheduleID string, nominal, next time.Time) time.Duration {
	limit := time.Duration(jitter)
	if !next.IsZero() {
		limit = min(limit, next.Sub(nominal))
	}
	ms := limit.Milliseconds()
	if ms <= 0 {
		return 0
	}
	part, _ := bits.Mul64(hash(scheduleID, nominal.UnixMilli()), uint64(ms)+1)
	return time.Duration(part) * time.Millisecond
}

// hash spreads an id and a number evenly over 64 bits: FNV-1a, then the finalizer of MurmurHash3. It must never change, or
// ticks that wait for their delay would move.
func hash(id string, n int64) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	for range 8 {
		h = (h ^ uint64(n&0xff)) * prime
		n >>= 8
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
