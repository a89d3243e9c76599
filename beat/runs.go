package beat

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	runsAtOnce = 64              // transitions of runs at a time
	lookAgain  = 5 * time.Second // between the two looks at a task that is active without a claim
	lookForget = time.Minute     // a first look older than this does not count
	outboxLook = 4096            // messages of one shard's outbox that are looked through
)

// transportError is a failure that is not the store's.
type transportError struct{ error }

func (e transportError) Unwrap() error { return e.error }

// runKeeper moves due runs on.
type runKeeper struct {
	cfg KeeperConfig

	mu    sync.Mutex
	looks map[store.Message]time.Time // first looks that found a task active without a claim, by the process's own clock
}

func newRunKeeper(cfg KeeperConfig) *runKeeper {
	return &runKeeper{cfg: cfg, looks: make(map[store.Message]time.Time)}
}

// act answers in the order of due.
func (k *runKeeper) act(ctx context.Context, due []entry) []outcome {
	outs := make([]outcome, len(due))
	runs := make([]schedules.Run, len(due))
	atOnce(len(due), runsAtOnce, func(i int) {
		var err error
		if runs[i], err = k.cfg.Store.GetRun(ctx, due[i].run); err != nil {
			outs[i].err = store.Named(err, "read run", due[i].run)
		}
	})
	verdicts := k.look(ctx, due, runs, outs)
	var gone []store.Message
	for i, v := range verdicts {
		if v == lookGone && outs[i].err == nil {
			gone = append(gone, store.Message{RunID: runs[i].ID, Dispatch: runs[i].Dispatch, Queue: runs[i].Queue})
		}
	}
	k.drop(ctx, gone)
	atOnce(len(due), runsAtOnce, func(i int) {
		if outs[i].err != nil {
			return
		}
		if verdicts[i] == lookLater {
			outs[i].after = lookAgain + 10*time.Millisecond
			return
		}
		seen := runs[i].Dispatch
		run, err := k.cfg.Engine.ChangeRun(ctx, runs[i].ID, &runs[i], func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			c, ok := schedules.RunDue(r, verdicts[i] == lookGone && r.Dispatch == seen, now)
			return c, ok, nil
		})
		if runs[i].Damage != "" && err == nil {
			k.cfg.Log.Error("record of the run cannot be read; the run fails", append(engine.RunAttrs(runs[i]), "error", runs[i].Damage)...)
		}
		outs[i] = outcome{err: err, known: true, next: run.Due}
	})
	return outs
}

// verdict is what a look into the transport means for a run.
type verdict int

const (
	lookFine  verdict = iota
	lookGone          // the message of its dispatch will not reach a worker
	lookLater         // another look is needed
)

// look looks up the messages of those runs for which it matters.
func (k *runKeeper) look(ctx context.Context, due []entry, runs []schedules.Run, outs []outcome) []verdict {
	verdicts := make([]verdict, len(due))
	if k.cfg.Looker == nil {
		return verdicts
	}
	now := k.cfg.Store.Estimate()
	var msgs []store.Message
	var at []int
	for i := range runs {
		if r := &runs[i]; outs[i].err == nil && r.NeedsLook() && !r.Due.IsZero() && !r.Due.After(now) {
			msgs = append(msgs, store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue})
			at = append(at, i)
		}
	}
	if len(msgs) == 0 {
		return verdicts
	}
	states, err := k.cfg.Looker.Look(ctx, msgs...)
	if err != nil {
		for _, i := range at {
			outs[i].err = transportError{fmt.Errorf("look for run %s in the transport: %w", runs[i].ID, err)}
		}
		return verdicts
	}
	var gone []int
	for n, i := range at {
		if verdicts[i] = k.judge(msgs[n], states[n]); verdicts[i] == lookGone && states[n] == store.MessageGone {
			gone = append(gone, i)
		}
	}
	k.spareUnsent(ctx, due, runs, gone, verdicts, outs)
	return verdicts
}

// judge turns what one look found, and those before it, into a verdict. A task that is active although nobody has claimed the run may be on its way to the
// claim: only a second look decides.
func (k *runKeeper) judge(m store.Message, s store.MessageState) verdict {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for m, at := range k.looks {
		if now.Sub(at) > lookForget {
			delete(k.looks, m)
		}
	}
	first, looked := k.looks[m]
	switch {
	case s == store.MessageGone:
		delete(k.looks, m)
		return lookGone
	case s == store.MessageQueued:
		delete(k.looks, m)
		return lookFine
	case !looked:
		k.looks[m] = now
		return lookLater
	case now.Sub(first) < lookAgain:
		return lookLater
	default:
		delete(k.looks, m)
		return lookGone
	}
}

// spareUnsent takes back the verdict about messages that are still in the outbox: they are not gone, they are yet to be sent.
func (k *runKeeper) spareUnsent(ctx context.Context, due []entry, runs []schedules.Run, gone []int, verdicts []verdict, outs []outcome) {
	byShard := make(map[int][]int)
	for _, i := range gone {
		byShard[due[i].shard] = append(byShard[due[i].shard], i)
	}
	for shard, is := range byShard {
		unsent, err := k.cfg.Store.Unsent(ctx, shard, k.cfg.Store.Estimate(), outboxLook)
		for _, i := range is {
			switch m := (store.Message{RunID: runs[i].ID, Dispatch: runs[i].Dispatch, Queue: runs[i].Queue}); {
			case err != nil:
				outs[i].err = fmt.Errorf("read outbox of shard %d: %w", shard, err)
			case slices.Contains(unsent, m):
				verdicts[i] = lookFine
			}
		}
	}
}

// atOnce calls f for 0 ≤ i < n, at most limit at a time, and returns when all have returned.
func atOnce(n, limit int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, limit)
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(i)
		})
	}
	wg.Wait()
}
