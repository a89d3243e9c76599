package beat

import (
	"container/heap"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// target is what an entry of a due index points at: a schedule, or, with an id, a run.
type target struct {
	ref schedules.Ref
	run string
}

// entry is an entry of a shard's due index.
type entry struct {
	target
	shard int
	due   time.Time // by the store's clock
}

// about is what a log line about the entry carries.
func (e entry) about() []any {
	if e.run != "" {
		return []any{"run_id", e.run}
	}
	return []any{"schedule_id", e.ref.ID}
}

// alarm is an entry that waits for its time.
type alarm struct {
	entry
	at   time.Time // when it is to be acted on: due, or later when it is held back
	ring time.Time // when it rings: at, or before that to be prepared
	poll uint64    // the poll that saw it last
	pos  int       // in the heap
}

// agenda holds alarms by the time they ring, at most one per target. It is not safe for concurrent use.
type agenda struct {
	lead    time.Duration // how long before its time an alarm rings to be prepared; 0: it does not
	byTime  alarms
	byShard map[int]map[target]*alarm
}

func newAgenda(lead time.Duration) *agenda {
	return &agenda{lead: lead, byShard: make(map[int]map[target]*alarm)}
}

const (
	// leadGrid: alarms are prepared together that ring within it.
	leadGrid = 100 * time.Millisecond
	// leadLeast: what is to be acted on sooner is not worth preparing.
	leadLeast = 20 * time.Millisecond
)

// ringsFor is when an alarm for a time rings first.
func (a *agenda) ringsFor(at time.Time) time.Time {
	if a.lead == 0 {
		return at
	}
	return at.Add(-a.lead).Truncate(leadGrid)
}

// set arms an entry anew, in the place of the alarm its target had.
func (a *agenda) set(e entry, at time.Time, poll uint64) {
	shard := a.byShard[e.shard]
	if shard == nil {
		shard = make(map[target]*alarm)
		a.byShard[e.shard] = shard
	}
	if al := shard[e.target]; al != nil {
		if al.poll = poll; al.at.Equal(at) && al.entry == e {
			return
		}
		al.entry, al.at, al.ring = e, at, a.ringsFor(at)
		heap.Fix(&a.byTime, al.pos)
		return
	}
	al := &alarm{entry: e, at: at, ring: a.ringsFor(at), poll: poll}
	shard[e.target] = al
	heap.Push(&a.byTime, al)
}

// remove disarms.
func (a *agenda) remove(shard int, t target) {
	if al := a.byShard[shard][t]; al != nil {
		heap.Remove(&a.byTime, al.pos)
		delete(a.byShard[shard], t)
	}
}

// dropShard disarms a whole shard.
func (a *agenda) dropShard(shard int) {
	for _, al := range a.byShard[shard] {
		heap.Remove(&a.byTime, al.pos)
	}
	delete(a.byShard, shard)
}

// prune disarms what a poll of the shard should have seen but did not: entries due before until that carry an older poll's number.
func (a *agenda) prune(shard int, poll uint64, until time.Time) {
	for t, al := range a.byShard[shard] {
		if al.poll != poll && al.due.Before(until) {
			a.remove(shard, t)
		}
	}
}

// take removes and returns what is to be acted on at or before now, the earliest first, and what is to be prepared, which stays.
func (a *agenda) take(now time.Time) (due, soon []entry) {
	for len(a.byTime) > 0 && !a.byTime[0].ring.After(now) {
		al := a.byTime[0]
		if al.at.After(now) {
			if al.at.Sub(now) >= leadLeast {
				soon = append(soon, al.entry)
			}
			al.ring = al.at
			heap.Fix(&a.byTime, 0)
			continue
		}
		heap.Pop(&a.byTime)
		delete(a.byShard[al.shard], al.target)
		due = append(due, al.entry)
	}
	return due, soon
}

// next is when the earliest rings.
func (a *agenda) next() (time.Time, bool) {
	if len(a.byTime) == 0 {
		return time.Time{}, false
	}
	return a.byTime[0].ring, true
}

func (a *agenda) len() int { return len(a.byTime) }

// alarms is the heap.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].ring.Before(h[j].ring) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *alarms) Push(x any) {
	al := x.(*alarm)
	al.pos = len(*h)
	*h = append(*h, al)
}

func (h *alarms) Pop() any {
	old := *h
	al := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return al
}
