package beat

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// coreStore is what both parts of the package need of a store.
type coreStore interface {
	store.Clock
	store.Leases
	Shards() int
	Listen(ctx context.Context, wake func(store.Wake)) error
	Describe() string
	Ping(ctx context.Context) error
}

// The parts of the package, by which their leases are named.
const (
	beatPart   = "beat"
	keeperPart = "keeper"
)

// coreConfig is what tells a Beat's core from a Keeper's.
type coreConfig struct {
	name, id string
	every    time.Duration
	log      *slog.Logger
	quiet    bool // outages are logged by somebody else
	store    coreStore
	read     func(ctx context.Context, shard int, until time.Time, limit int) ([]entry, error)
	act      func(ctx context.Context, due []entry) []outcome
	prepare  func(ctx context.Context, soon []entry) // may be nil
	wakes    func(w store.Wake) bool                 // whether a wake is about what the loop reads
	held     func(shards []int)                      // told of every new part; must not block
}

// core is one run of a Beat or a Keeper: its link to the store, its part of the shards, and the loop over them.
type core struct {
	coreConfig
	link   *link
	shares *shares
	loop   *loop

	overdue, mended atomic.Int64
}

func newCore(cfg coreConfig) *core {
	c := &core{coreConfig: cfg}
	c.link = &link{
		store: cfg.store, every: min(max(cfg.every, time.Second), DefaultPollInterval), log: cfg.log, quiet: cfg.quiet,
		back: func() { c.loop.restart() }, suspects: make(chan struct{}, 1),
	}
	c.loop = newLoop(loopConfig{
		name: cfg.name, every: cfg.every, clock: cfg.store, link: c.link, log: cfg.log, read: cfg.read, act: cfg.act, prepare: cfg.prepare,
	})
	c.shares = newShares(cfg.store, cfg.name, cfg.id, cfg.store.Shards(), c.link, cfg.log, func(held []int) {
		c.loop.hold(held)
		cfg.held(held)
	})
	return c
}

// run works until ctx ends. Others beside it may be given; they end with ctx, too.
func (c *core) run(ctx context.Context, beside ...func(ctx context.Context)) {
	var wg sync.WaitGroup
	for _, f := range append(beside, c.link.run, c.shares.run, c.loop.run, c.listen) {
		wg.Go(func() { f(ctx) })
	}
	wg.Wait()
}

// listenCalm is how long listening must have gone well before its failure is news again.
const listenCalm = 30 * time.Second

// listen hands wakes to the loop. Listening that fails is begun anew; what was missed meanwhile is polled.
func (c *core) listen(ctx context.Context) {
	wake := func(w store.Wake) {
		if c.wakes(w) {
			c.loop.wake(w.Shard)
		}
	}
	fails := 0
	for {
		began := time.Now()
		err := c.store.Listen(ctx, wake)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > listenCalm {
			fails = 0
		}
		if fails++; fails == 1 {
			c.log.Warn("changes made elsewhere are seen by polling only until listening works again", "loop", c.name, "poll", c.every.String(), "error", err)
		}
		if !pause(ctx, doubled(probeMin, probeMax, fails-1)) {
			return
		}
		c.loop.wake(-1)
	}
}

func (c *core) stats() Stats {
	if c == nil {
		return Stats{}
	}
	s := c.loop.snapshot()
	lost, errs := c.link.status()
	return Stats{
		Running: true, Answers: c.link.answers(), Lost: lost, Shards: s.held, Armed: s.armed,
		LastPoll: s.lastPoll, PollTook: s.pollTook, Acted: s.acted, Failed: s.failed, Errors: errs,
		Overdue: c.overdue.Load(), Mended: c.mended.Load(),
	}
}
