package beat

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Default and least poll intervals.
const (
	DefaultPollInterval = 5 * time.Second
	MinPollInterval     = 10 * time.Millisecond
)

// ErrRunning: Run was called while another call of it had not returned.
var ErrRunning = errors.New("already running")

// Store is what a Beat needs of a store.
type Store interface {
	store.Clock
	store.Leases
	Shards() int
	DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error)
	Reindex(ctx context.Context, of ...store.Timer) ([]store.Mend, error)
	Listen(ctx context.Context, wake func(store.Wake)) error
	AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error
	WithdrawProcess(ctx context.Context, id string) error
	Describe() string
	Ping(ctx context.Context) error
}

// Engine settles what is due for schedules; *engine.Engine does.
type Engine interface {
	Decide(ctx context.Context, refs ...schedules.Ref) []engine.Decided
}

// Config holds a Beat's parts. Store and Engine are required.
type Config struct {
	Store  Store
	Engine Engine
	// PollInterval bounds how late a change made elsewhere is seen when its wake is lost. Zero: DefaultPollInterval. At least MinPollInterval.
	PollInterval time.Duration
	// OverdueAfter is by how much a schedule of any shard may be overdue before this beat tells of it, counts it and decides it, whoever holds the shard. Zero:
	// DefaultOverduePolls × PollInterval. More than PollInterval.
	OverdueAfter time.Duration
	// ID names the holder of the leases; no two live processes may share one. Empty: host:pid:random.
	ID string
	// Process is how the beat announces itself; ID, Beat, Shards and what is empty of Host, PID and StartedAt are filled in. Nil: it
	// is not announced here, because the caller announces a process of its own with Stats.Shards.
	Process *store.Process
	// Observer is told of overdue schedules that this beat has decided, or, holding their shard, cannot. Nil: nobody.
	Observer Observer
	Log      *slog.Logger // nil: discards
	Quiet    bool         // another part of the process, a Keeper, logs that the store is lost and back
}

// Observer is told of what the watchdog finds.
type Observer interface {
	// Overdue is told once of a schedule, until it has been in good order again: by the beat that decided it, else by the one that should have, else, while no
	// beat lives, by the keeper of its shard. It must not block.
	Overdue(o Overdue)
}

// Overdue is a schedule that was due for longer than the bound.
type Overdue struct {
	Ref      schedules.Ref
	Workflow string    // empty: not known
	Due      time.Time // when it was due, by the store's clock
	At       time.Time // when it was found, by the same clock
	Cause    string    // in words, as far as it is known; empty: it is not
	Err      error     // why it is still overdue; nil: it has been decided
}

// ErrNoBeat is the Err of a schedule that is overdue because no beat lives.
var ErrNoBeat = errors.New("no beat is running: start \"pyworkflow scheduler run\" or \"pyworkflow worker run --beat\"")

// Beat decides the regular ticks of the shards it holds at their time. It is safe for concurrent use.
type Beat struct {
	cfg  Config
	busy atomic.Bool
	core atomic.Pointer[core]
}

// New checks the configuration.
func New(cfg Config) (*Beat, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("beat: Config.Store is nil")
	case cfg.Engine == nil:
		return nil, errors.New("beat: Config.Engine is nil")
	}
	if err := defaults(&cfg.PollInterval, DefaultPollInterval, &cfg.ID, &cfg.Log); err != nil {
		return nil, fmt.Errorf("beat: %w", err)
	}
	if cfg.OverdueAfter == 0 {
		cfg.OverdueAfter = DefaultOverduePolls * cfg.PollInterval
	}
	if cfg.OverdueAfter <= cfg.PollInterval {
		return nil, fmt.Errorf("beat: overdue after %s is too short: give more than the poll interval, %s", cfg.OverdueAfter, cfg.PollInterval)
	}
	return &Beat{cfg: cfg}, nil
}

// defaults fills what Config and KeeperConfig have in common.
func defaults(poll *time.Duration, normal time.Duration, id *string, log **slog.Logger) error {
	if *poll == 0 {
		*poll = normal
	}
	if *poll < MinPollInterval {
		return fmt.Errorf("poll interval %s is too short: give at least %s", *poll, MinPollInterval)
	}
	if *id == "" {
		*id = newID()
	}
	if *log == nil {
		*log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// ID names the holder of the leases.
func (b *Beat) ID() string { return b.cfg.ID }

// Run decides ticks until ctx ends, then ends the decisions in progress (at most 3 s), hands its shards over and returns nil. A store that does not
// answer does not end it. ErrRunning while another call of it runs.
func (b *Beat) Run(ctx context.Context) error {
	if !b.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("run beat: %w", ErrRunning)
	}
	defer b.busy.Store(false)
	if ctx.Err() != nil {
		return nil
	}
	st := b.cfg.Store
	moved := make(chan struct{}, 1)
	c := newCore(coreConfig{
		name: beatPart, id: b.cfg.ID, every: b.cfg.PollInterval, log: b.cfg.Log, quiet: b.cfg.Quiet,
		store: st,
		read:  b.read,
		act:   b.act,

		prepare: b.prepare(),
		wakes:   func(w store.Wake) bool { return w.Ticks },
		held: func([]int) {
			select {
			case moved <- struct{}{}:
			default:
			}
		},
	})
	b.core.Store(c)
	defer b.core.Store(nil)
	var others sync.WaitGroup
	if b.cfg.Process != nil {
		others.Go(func() { b.announce(ctx, c, moved) })
	}
	w := &watch{cfg: b.cfg, core: c, tardy: newTardy()}
	c.run(ctx, w.run)
	others.Wait()
	return nil
}

func (b *Beat) read(ctx context.Context, shard int, until time.Time, limit int) ([]entry, error) {
	due, err := b.cfg.Store.DueTicks(ctx, shard, until, limit)
	if err != nil {
		return nil, fmt.Errorf("read due ticks of shard %d: %w", shard, err)
	}
	entries := make([]entry, len(due))
	for i, d := range due {
		entries[i] = entry{target: target{ref: d.Ref}, shard: shard, due: d.Due}
	}
	return entries, nil
}

// Preparer is an Engine that can be told of schedules shortly before they are due.
type Preparer interface {
	Prepare(ctx context.Context, refs ...schedules.Ref)
}

func (b *Beat) prepare() func(ctx context.Context, soon []entry) {
	p, ok := b.cfg.Engine.(Preparer)
	if !ok {
		return nil
	}
	return func(ctx context.Context, soon []entry) {
		refs := make([]schedules.Ref, len(soon))
		for i, e := range soon {
			refs[i] = e.ref
		}
		p.Prepare(ctx, refs...)
	}
}

func (b *Beat) act(ctx context.Context, due []entry) []outcome {
	refs := make([]schedules.Ref, len(due))
	for i, e := range due {
		refs[i] = e.ref
	}
	outs := make([]outcome, len(due))
	for i, d := range b.cfg.Engine.Decide(ctx, refs...) {
		outs[i] = outcome{err: d.Err, known: true, next: d.Schedule.NextRunTime()}
	}
	return outs
}

const (
	announceEvery = 2 * time.Second
	announceTTL   = 10 * time.Second
)

// announce keeps the process known as live, with the shards it holds, until ctx ends.
func (b *Beat) announce(ctx context.Context, c *core, moved <-chan struct{}) {
	p := *b.cfg.Process
	p.ID, p.Beat = b.cfg.ID, true
	if p.Host == "" {
		if host, err := os.Hostname(); err == nil {
			p.Host = host
		}
	}
	if p.PID == 0 {
		p.PID = os.Getpid()
	}
	if p.StartedAt.IsZero() {
		p.StartedAt = b.cfg.Store.Estimate()
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		p.Shards = c.shares.now()
		c.link.suspect(ctx, b.tell(ctx, p))
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := b.cfg.Store.WithdrawProcess(ctx, p.ID); err != nil {
				b.cfg.Log.Debug("process not withdrawn; it is forgotten by itself", "error", err)
			}
			return
		case <-moved:
		case <-tick.C:
		}
	}
}

// tell announces; what has begun is ended, so that a withdrawal is the last word.
func (b *Beat) tell(ctx context.Context, p store.Process) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	if err := b.cfg.Store.AnnounceProcess(ctx, p, announceTTL); err != nil {
		return store.Named(err, "announce process", p.ID)
	}
	return nil
}

// Stats is a snapshot of a Beat or a Keeper. It is zero while Run is not running.
type Stats struct {
	Running  bool
	Answers  bool          // the store answered when it was last asked
	Lost     time.Time     // since when the store does not answer; zero: it does, or was never asked
	Shards   []int         // held
	Armed    int           // entries that wait for their time
	LastPoll time.Time     // when a shard was last polled with success
	PollTook time.Duration // how long that took
	Acted    int64         // due entries moved on: decisions for schedules, looks at runs
	Failed   int64         // due entries that could not be; they are tried again
	Errors   int64         // calls of the store that failed
	Overdue  int64         // schedules found overdue by more than the bound; of a Keeper, those overdue because no beat is running
	Mended   int64         // of a Beat: overdue schedules put right; of a Keeper: index entries that did not fit their record
}

// Stats tells how the beat is doing.
func (b *Beat) Stats() Stats { return b.core.Load().stats() }
