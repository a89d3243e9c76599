package beat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// DefaultKeeperInterval is how often a Keeper polls unless it is told otherwise.
const DefaultKeeperInterval = time.Second

// DefaultSweepAfter is how old a message must be before a Keeper takes its sender for gone.
const DefaultSweepAfter = time.Second

// DefaultAuditInterval is how often a Keeper compares some records with their index entries unless it is told otherwise.
const DefaultAuditInterval = time.Second

// DefaultTidyInterval is how often what damage to the transport leaves behind is looked for unless a Keeper is told otherwise.
const DefaultTidyInterval = 15 * time.Second

// KeeperStore is what a Keeper needs of a store.
type KeeperStore interface {
	store.Clock
	store.Leases
	store.Timers
	Audit(ctx context.Context, shard, limit int) (store.Audited, error)
	GetRun(ctx context.Context, id string) (schedules.Run, error)
	Unsent(ctx context.Context, shard int, until time.Time, limit int) ([]store.Message, error)
	Trim(ctx context.Context, shard int, l store.Limits) (more bool, err error)
	Describe() string
	Ping(ctx context.Context) error
}

// KeeperEngine decides, commits and sends; *engine.Engine does.
type KeeperEngine interface {
	Engine
	ChangeRun(ctx context.Context, id string, known *schedules.Run, next func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error)) (schedules.Run, error)
	Send(ctx context.Context, msgs ...store.Message)
}

// Looker looks messages up in the transport; answers are in the order of msgs.
type Looker interface {
	Look(ctx context.Context, msgs ...store.Message) ([]store.MessageState, error)
}

// Dropper is a Looker that also removes messages nobody is to receive any more. One that is not there is no error.
type Dropper interface {
	Drop(ctx context.Context, msgs ...store.Message) error
}

// Tidier is a Looker that also removes what damage to the transport's own records leaves behind, some of it at a time. It never takes a message from a live worker.
type Tidier interface {
	Tidy(ctx context.Context) error
}

// KeeperConfig holds a Keeper's parts. Store and Engine are required.
type KeeperConfig struct {
	Store  KeeperStore
	Engine KeeperEngine
	Looker Looker // nil: no message is ever taken for gone. It may be a Dropper and a Tidier, too
	// PollInterval bounds how late an expired lease, or a timer whose wake was lost, is seen. Zero: DefaultKeeperInterval. At least MinPollInterval.
	PollInterval time.Duration
	// SweepAfter is how old a message in the outbox must be before it is sent from here. Zero: DefaultSweepAfter; negative: at once.
	SweepAfter time.Duration
	// TrimInterval is how often old records are removed. Zero: 30 s; negative: never.
	TrimInterval time.Duration
	// AuditInterval is how often the next 100 records of each shard held are compared with their index entries, which are mended where they differ; a shard's round
	// begins no more often than every 5 s. Zero: DefaultAuditInterval; negative: never.
	AuditInterval time.Duration
	// TidyInterval is how often the Keeper that holds the first shard has the transport tidied, if that is a Tidier. Zero: DefaultTidyInterval; negative: never.
	TidyInterval time.Duration
	// OverdueAfter is by how much a schedule may be overdue before, while no beat lives, that is told of and counted. Zero: DefaultOverduePolls ×
	// DefaultPollInterval. Not negative.
	OverdueAfter time.Duration
	Limits       store.Limits // zero: store.DefaultLimits
	// ID names the holder of the leases; no two live processes may share one. Empty: host:pid:random.
	ID string
	// Observer is told of schedules of the shards held that are overdue because no beat lives. Nil: nobody.
	Observer Observer
	Log      *slog.Logger // nil: discards
	// Quiet: another part of the process logs that the store is lost and back.
	Quiet bool
}

// Keeper looks after everything that is timed or stuck but regular ticks: retries, cancel deadlines, expired leases, messages left in the outbox,
// runs whose message has vanished, ticks that wait, index entries that do not fit their records, old records, what damage left in the transport. It is safe for concurrent use.
type Keeper struct {
	cfg  KeeperConfig
	busy atomic.Bool
	core atomic.Pointer[core]
}

// NewKeeper checks the configuration.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("keeper: KeeperConfig.Store is nil")
	case cfg.Engine == nil:
		return nil, errors.New("keeper: KeeperConfig.Engine is nil")
	}
	if err := defaults(&cfg.PollInterval, DefaultKeeperInterval, &cfg.ID, &cfg.Log); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if cfg.SweepAfter == 0 {
		cfg.SweepAfter = DefaultSweepAfter
	}
	cfg.SweepAfter = max(cfg.SweepAfter, 0)
	if cfg.TrimInterval == 0 {
		cfg.TrimInterval = 30 * time.Second
	}
	if cfg.AuditInterval == 0 {
		cfg.AuditInterval = DefaultAuditInterval
	}
	if cfg.TidyInterval == 0 {
		cfg.TidyInterval = DefaultTidyInterval
	}
	if cfg.OverdueAfter == 0 {
		cfg.OverdueAfter = DefaultOverduePolls * DefaultPollInterval
	}
	if cfg.OverdueAfter < MinPollInterval {
		return nil, fmt.Errorf("keeper: overdue after %s is too short: give at least %s", cfg.OverdueAfter, MinPollInterval)
	}
	if cfg.Limits == (store.Limits{}) {
		cfg.Limits = store.DefaultLimits()
	}
	return &Keeper{cfg: cfg}, nil
}

// Run looks after things until ctx ends, then ends what is in progress (at most 3 s), hands its shards over and returns nil. A store that does not
// answer does not end it. ErrRunning while another call of it runs.
func (k *Keeper) Run(ctx context.Context) error {
	if !k.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("run keeper: %w", ErrRunning)
	}
	defer k.busy.Store(false)
	if ctx.Err() != nil {
		return nil
	}
	sw := newSweeper(k.cfg)
	runs := newRunKeeper(k.cfg)
	c := newCore(coreConfig{
		name: keeperPart, id: k.cfg.ID, every: k.cfg.PollInterval, log: k.cfg.Log, quiet: k.cfg.Quiet,
		store: k.cfg.Store,
		read:  k.read,
		act:   func(ctx context.Context, due []entry) []outcome { return k.act(ctx, runs, due) },
		wakes: func(w store.Wake) bool {
			if w.Timers {
				sw.wake(w.Shard)
			}
			return w.Timers
		},
		held: sw.hold,
	})
	sw.link = c.link
	k.core.Store(c)
	defer k.core.Store(nil)
	c.run(ctx, sw.run, func(ctx context.Context) { k.trim(ctx, c) }, newAuditor(k.cfg, c).run, (&tidier{cfg: k.cfg, core: c}).run, (&beatless{cfg: k.cfg, core: c, tardy: newTardy()}).run)
	return nil
}

// Stats tells how the keeper is doing.
func (k *Keeper) Stats() Stats { return k.core.Load().stats() }

func (k *Keeper) read(ctx context.Context, shard int, until time.Time, limit int) ([]entry, error) {
	due, err := k.cfg.Store.DueTimers(ctx, shard, until, limit)
	if err != nil {
		return nil, fmt.Errorf("read due timers of shard %d: %w", shard, err)
	}
	entries := make([]entry, len(due))
	for i, d := range due {
		entries[i] = entry{target: target{ref: d.Ref, run: d.RunID}, shard: shard, due: d.Due}
	}
	return entries, nil
}

// act moves due schedules and due runs on.
func (k *Keeper) act(ctx context.Context, runs *runKeeper, due []entry) []outcome {
	outs := make([]outcome, len(due))
	var refs []schedules.Ref
	var ofRef []int
	var ofRun []entry
	var at []int
	for i, e := range due {
		if e.run == "" {
			refs, ofRef = append(refs, e.ref), append(ofRef, i)
		} else {
			ofRun, at = append(ofRun, e), append(at, i)
		}
	}
	if len(refs) > 0 {
		for i, d := range k.cfg.Engine.Decide(ctx, refs...) {
			outs[ofRef[i]] = outcome{err: d.Err}
		}
	}
	if len(ofRun) > 0 {
		for i, o := range runs.act(ctx, ofRun) {
			outs[at[i]] = o
		}
	}
	return outs
}

const trimBatches = 50 // of one shard at a time

// trim removes old records of the shards held, now and then, until ctx ends.
func (k *Keeper) trim(ctx context.Context, c *core) {
	if k.cfg.TrimInterval < 0 {
		return
	}
	for pause(ctx, k.cfg.TrimInterval) {
		for _, shard := range c.shares.now() {
			if !c.link.answers() || !k.trimShard(ctx, c, shard) {
				break
			}
		}
	}
}

func (k *Keeper) trimShard(ctx context.Context, c *core, shard int) bool {
	for n := 1; n <= trimBatches; n++ {
		more, err := func() (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, opTimeout)
			defer cancel()
			return k.cfg.Store.Trim(ctx, shard, k.cfg.Limits)
		}()
		if err != nil {
			c.link.suspect(ctx, err)
			k.cfg.Log.Debug("old records stay for now", "shard", shard, "error", err)
			return false
		}
		if !more {
			return true
		}
		k.cfg.Log.Debug("old records removed", "shard", shard, "batch", n)
	}
	return true
}
