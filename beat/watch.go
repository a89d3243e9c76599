package beat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// DefaultOverduePolls is how many poll intervals a schedule may be overdue unless a bound is set.
const DefaultOverduePolls = 3

const (
	watchPage  = 100 // overdue schedules of one shard looked at a time, besides those that could not be decided before
	watchLines = 20  // log lines of one look; the rest is counted
)

// watch finds schedules that are overdue by more than the bound, in every shard, whoever holds it, and decides them. What a beat of good order leaves to others it
// does not see: a shard without a beat, a beat that lives and does not decide, an entry held back after failures, an entry that lies at a wrong time. Its cost
// follows what is overdue.
type watch struct {
	cfg   Config
	core  *core
	tardy *tardy
}

// tardy remembers what is overdue from one look to the next, so that each is told of once.
type tardy struct {
	known map[schedules.Ref]bool
	left  map[int]int // by shard: entries that were still overdue after the look
}

func newTardy() *tardy {
	return &tardy{known: make(map[schedules.Ref]bool), left: make(map[int]int)}
}

// sieve forgets those that are not among due, and gives those that are new.
func (t *tardy) sieve(due []entry) (fresh []entry) {
	still := make(map[schedules.Ref]bool, len(due))
	for _, e := range due {
		if !t.known[e.ref] {
			fresh = append(fresh, e)
		}
		still[e.ref] = true
	}
	t.known = still
	return fresh
}

func (w *watch) run(ctx context.Context) {
	for pause(ctx, w.cfg.PollInterval) {
		// After a start and after an outage much is overdue; the beats have that long to catch up.
		if w.core.link.answersFor(w.cfg.OverdueAfter) {
			if err := w.look(ctx); err != nil {
				w.core.link.suspect(ctx, err)
				w.cfg.Log.Debug("overdue schedules not looked for", "error", err)
			}
		}
	}
}

// look finds and decides what is overdue.
func (w *watch) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	now := w.cfg.Store.Estimate()
	due, err := readOverdue(ctx, w.cfg.Store, allShards(w.cfg.Store.Shards()), now.Add(-w.cfg.OverdueAfter), w.tardy.left)
	clear(w.tardy.left)
	fresh := w.tardy.sieve(due)
	if len(due) == 0 || err != nil {
		return err
	}
	w.core.overdue.Add(int64(len(fresh)))
	news := w.causes(ctx, fresh) // before anything is changed
	for batch := range slices.Chunk(due, maxBatch) {
		w.mend(ctx, batch, now, news)
	}
	if more := len(fresh) - watchLines; more > 0 {
		w.cfg.Log.Warn("further schedules are overdue", "count", more)
	}
	return nil
}

// finding is what is new about an overdue schedule.
type finding struct {
	cause  string // empty: it is one of many, and not looked into
	others bool   // another beat holds its shard
}

// mend decides overdue schedules, and rewrites their index entries where the record says something else. It tells of those that are news.
func (w *watch) mend(ctx context.Context, due []entry, now time.Time, news map[schedules.Ref]finding) {
	refs := make([]schedules.Ref, len(due))
	for i, e := range due {
		refs[i] = e.ref
	}
	for i, d := range w.cfg.Engine.Decide(ctx, refs...) {
		e, err := due[i], d.Err
		if next := d.Schedule.NextRunTime(); err == nil && (next.IsZero() || next.After(now)) || errors.Is(err, store.ErrNotFound) {
			// Where there was nothing to decide the index is wrong; else this changes nothing.
			_, err = w.cfg.Store.Reindex(ctx, store.Timer{Ref: e.ref})
		}
		if err == nil {
			w.core.mended.Add(1)
		} else {
			w.core.link.suspect(ctx, err)
			w.tardy.left[e.shard]++
		}
		found, isNew := news[e.ref]
		if isNew && w.cfg.Observer != nil && (d.Committed || err != nil && !found.others) {
			w.cfg.Observer.Overdue(Overdue{Ref: e.ref, Workflow: d.Schedule.Workflow, Due: e.due, At: now, Cause: found.cause, Err: err})
		}
		if found.cause == "" {
			continue
		}
		attrs := []any{"schedule_id", e.ref.ID, "due", e.due, "late", now.Sub(e.due).Round(time.Millisecond).String(), "cause", found.cause}
		if err == nil {
			w.cfg.Log.Warn("a schedule was overdue; it is decided now", attrs...)
		} else {
			w.cfg.Log.Warn("a schedule is overdue and cannot be decided; trying again at every poll", append(attrs, "error", err)...)
		}
	}
}

// causes says of each who should have decided it, and of the first few why they may be overdue, as far as it can be known.
func (w *watch) causes(ctx context.Context, fresh []entry) map[schedules.Ref]finding {
	shards := allShards(w.cfg.Store.Shards())
	holders, err := w.cfg.Store.LeaseHolders(ctx, shardLocks(shards)...)
	own := w.core.loop.explain(ctx, fresh[:min(len(fresh), watchLines)])
	news := make(map[schedules.Ref]finding, len(fresh))
	for i, e := range fresh {
		var f finding
		f.others = err == nil && holders[e.shard] != "" && holders[e.shard] != w.cfg.ID
		switch {
		case i >= len(own):
		case own[i] != "":
			f.cause = own[i]
		case err != nil:
			f.cause = fmt.Sprintf("not known, the holder of shard %d cannot be read: %s", e.shard, err)
		case holders[e.shard] == "":
			f.cause = fmt.Sprintf("no beat holds shard %d", e.shard)
		default:
			f.cause = fmt.Sprintf("beat %s holds shard %d and has not decided it", holders[e.shard], e.shard)
		}
		news[e.ref] = f
	}
	return news
}

func shardLocks(shards []int) []string {
	names := make([]string, len(shards))
	for i, shard := range shards {
		names[i] = (&shares{prefix: beatPart}).shardName(shard)
	}
	return names
}

func allShards(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// tickReader is what reads overdue schedules.
type tickReader interface {
	DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error)
}

// readOverdue gives the schedules due at or before until, the oldest first; spare is how many more than watchPage are read of a shard.
func readOverdue(ctx context.Context, st tickReader, shards []int, until time.Time, spare map[int]int) ([]entry, error) {
	var all []entry
	for _, shard := range shards {
		due, err := st.DueTicks(ctx, shard, until, watchPage+spare[shard])
		if err != nil {
			return all, fmt.Errorf("read overdue schedules of shard %d: %w", shard, err)
		}
		for _, d := range due {
			all = append(all, entry{target: target{ref: d.Ref}, shard: shard, due: d.Due})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.ref.ID, b.ref.ID)) })
	return all, nil
}

// explain says of entries of shards held what the loop knows of them; "" of others. It asks the loop, and gives up when ctx ends.
func (l *loop) explain(ctx context.Context, of []entry) []string {
	out := make([]string, len(of))
	answer := make(chan []string, 1)
	ask := func() {
		said := make([]string, len(of))
		for i, e := range of {
			said[i] = l.know(e)
		}
		answer <- said
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case l.done <- ask:
		return <-answer
	case <-ctx.Done():
		return out
	}
}

// know is what the loop knows of an overdue entry.
func (l *loop) know(e entry) string {
	sh := l.shards[e.shard]
	if sh == nil {
		return ""
	}
	h := sh.holds[e.target]
	switch {
	case l.busy[e.target]:
		return "its decision is in progress, or waits behind others"
	case h != nil && h.err != nil:
		return fmt.Sprintf("tried %d times: %s", h.tries, h.err)
	case h != nil:
		return fmt.Sprintf("tried %d times, nothing was decided", h.tries)
	case sh.failures > 0:
		return fmt.Sprintf("shard %d cannot be read", e.shard)
	default:
		return fmt.Sprintf("this beat holds shard %d and did not see it", e.shard)
	}
}
