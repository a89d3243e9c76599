package alert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// maxBlocks bounds the schedules that are known to be held up.
const maxBlocks = 100_000

// blocks knows behind which run the ticks of schedules are skipped or wait, as far as this process has decided them. It is safe for concurrent use.
type blocks struct {
	after time.Duration

	mu    sync.Mutex
	known map[schedules.Ref]block
}

// block is a schedule that one run holds up.
type block struct {
	ref      schedules.Ref
	run      string
	workflow string
	first    time.Time // of the store's clock: when the first tick was skipped or began to wait
	seen     time.Time // the same by the process's own clock
	ticks    int
	told     bool
}

func newBlocks(after time.Duration) *blocks {
	return &blocks{after: after, known: map[schedules.Ref]block{}}
}

// note takes in what was decided.
func (b *blocks) note(c schedules.Change, now time.Time) {
	ref := c.Schedule.Ref()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(c.Start) > 0 {
		delete(b.known, ref) // no run was in its way
	}
	for _, f := range c.Fates {
		if f.BlockedBy == "" || f.Fate != schedules.FateSkipped && f.Fate != schedules.FateBuffered || !f.Tick.Trigger.Regular() {
			continue
		}
		known, ok := b.known[ref]
		if !ok || known.run != f.BlockedBy {
			known = block{ref: ref, run: f.BlockedBy, workflow: c.Schedule.Workflow, first: c.Now, seen: now}
		}
		known.ticks++
		if len(b.known) >= maxBlocks && !ok {
			b.forget()
		}
		b.known[ref] = known
	}
}

// forget makes room: those that were told of go, and if there are none, all; they come back with their next tick.
func (b *blocks) forget() {
	maps.DeleteFunc(b.known, func(_ schedules.Ref, k block) bool { return k.told })
	if len(b.known) >= maxBlocks {
		clear(b.known)
	}
}

// long gives those that have been held up for so long that it is to be told, the first to be held up first.
func (b *blocks) long(now time.Time) []block {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []block
	for _, k := range b.known {
		if !k.told && now.Sub(k.seen) >= b.after {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(x, y block) int { return x.seen.Compare(y.seen) })
	return out
}

// settle says what was found of a block: that it is over, or that it was told of.
func (b *blocks) settle(k block, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.known[k.ref]
	if !ok || known.run != k.run {
		return
	}
	if over {
		delete(b.known, k.ref)
		return
	}
	known.told = true
	b.known[k.ref] = known
}

// watchBlocks tells of blocks that have lasted, until ctx ends.
func (s *Sender) watchBlocks(ctx context.Context) {
	tick := time.NewTicker(min(max(s.blocks.after/20, 100*time.Millisecond), 30*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, k := range s.blocks.long(time.Now()) {
			if !s.confirm(ctx, k) {
				break // the others cannot be known now either
			}
		}
	}
}

// confirm looks whether the run is still in the way, and tells of it if so; false when that cannot be known now.
func (s *Sender) confirm(ctx context.Context, k block) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d, err := s.cfg.Schedules.GetSchedule(ctx, k.ref.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.blocks.settle(k, true)
		return true
	case err != nil:
		s.cfg.Log.Debug("whether a schedule is still blocked is not known; asking again", "schedule_id", k.ref.ID, "error", err)
		return false
	case string(d.BlockedBy) != k.run, d.Status == schedules.StatusPaused, d.Status == schedules.StatusDeleted: // somebody has seen to it
		s.blocks.settle(k, true)
		return true
	}
	s.blocks.settle(k, false)
	now := k.first.Add(time.Since(k.seen))
	ticks := "a tick has"
	if k.ticks > 1 {
		ticks = fmt.Sprintf("%d ticks have", k.ticks)
	}
	s.tell(Message{Kind: Blocked, At: client.Time{Time: now}, Count: 1, ScheduleID: client.Text(k.ref.ID), ScheduleIDs: []string{k.ref.ID}, Workflow: client.Text(k.workflow),
		RunID: client.Text(k.run), Message: client.Text(d.Blocked()), about: "schedule " + k.ref.String(), mark: k.run,
		say: fmt.Sprintf("schedule %s is blocked: since %s %s been skipped or wait behind one run", k.ref.ID, stamp(k.first), ticks)})
	return true
}
