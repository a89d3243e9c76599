package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/stephook"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// process is what `scheduler run` is in the local runtime: a beat, a keeper and a worker.
type process struct {
	world     *World
	gate      *gate
	transport *localtransport.Transport
	worker    *worker.Worker
	cancel    context.CancelFunc
	ended     chan struct{}
}

// start starts a process, if none runs.
func (w *World) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == nil {
		w.launch()
	}
}

// launch starts a process; w.mu is held.
func (w *World) launch() {
	w.started++
	id := fmt.Sprintf("test:%d", w.started)
	p := &process{world: w, transport: localtransport.New(), ended: make(chan struct{})}
	p.gate = &gate{Store: w.store, process: p, holders: map[string]string{}, told: map[string]time.Time{}}
	ends := worker.NewEnds(w.app, nil)
	var b *beat.Beat
	var k *beat.Keeper
	eng, err := engine.New(engine.Config{Store: p.gate, Dispatcher: p.transport, Observers: []engine.Observer{ends}})
	if err == nil {
		p.worker, err = worker.New(worker.Config{App: w.app, Store: p.gate, Engine: eng, Transport: p.transport, Local: true, ID: id + ":worker", DrainTimeout: -1})
	}
	if err == nil {
		b, err = beat.New(beat.Config{Store: p.gate, Engine: eng, ID: id + ":beat", Quiet: true, Process: &store.Process{Host: "test", Local: true}})
	}
	if err == nil { // nothing is removed: a test may ask for all that has happened
		k, err = beat.NewKeeper(beat.KeeperConfig{Store: p.gate, Engine: eng, Looker: p.transport, ID: id + ":keeper", Quiet: true,
			SweepAfter: -1, TrimInterval: -1, AuditInterval: -1})
	}
	if err != nil { // every part is given
		panic(err)
	}
	ctx, cancel := context.WithCancel(stephook.With(context.Background(), w.stubs.ask))
	p.cancel = cancel
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{p.worker.Run, b.Run, k.Run} {
		parts.Go(func() { _ = run(ctx) }) // they end with ctx
	}
	go func() {
		defer close(p.ended)
		parts.Wait()
		ends.Close(5 * time.Second)
	}()
	w.process = p
}

// stop stops the process, if one runs, and waits for its end.
func (w *World) stop() {
	w.mu.Lock()
	p := w.process
	w.process = nil
	w.mu.Unlock()
	if p != nil {
		p.cancel()
		<-p.ended
	}
}

// crash kills p, if it is the one that runs, and starts another.
func (w *World) crash(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == nil || w.process != p {
		return
	}
	p.gate.dead.Store(true)
	p.cancel()
	w.gone = append(w.gone, p)
	w.launch()
}

// busy reports whether code of the process runs.
func (p *process) busy() bool {
	s := p.worker.Stats()
	return s.Running+s.Abandoned > 0
}

// over reports whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// door hands what the test starts to the process, if one runs.
type door struct{ w *World }

func (d door) Dispatch(ctx context.Context, msgs []store.Message) ([]store.Message, error) {
	d.w.mu.Lock()
	p := d.w.process
	d.w.mu.Unlock()
	if p == nil {
		return nil, nil // they stay in the outbox
	}
	return p.transport.Dispatch(ctx, msgs)
}

// errDead is what a process hears of the store after its crash.
var errDead = errors.New("the process has crashed")

// announceEvery is how often the store hears that a process lives; it forgets one after 10 s.
const announceEvery = 8 * time.Second

// gate is a process's way to the store. It closes when the process crashes, so that the dead write nothing. It spares the store what has no meaning where
// one process runs at a time: leases on shards, and most of the announcements.
type gate struct {
	store.Store
	process *process
	dead    atomic.Bool

	mu      sync.Mutex
	holders map[string]string    // of leases, by name
	told    map[string]time.Time // when a process was last announced
}

func (g *gate) err() error {
	if g.dead.Load() {
		return errDead
	}
	return nil
}

func (g *gate) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	if err := g.err(); err != nil {
		return nil, time.Time{}, err
	}
	return g.Store.Load(ctx, refs...)
}

func (g *gate) Commit(ctx context.Context, changes ...schedules.Change) []error {
	if err := g.err(); err != nil {
		errs := make([]error, len(changes))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	return g.Store.Commit(ctx, changes...)
}

func (g *gate) CommitRun(ctx context.Context, c schedules.RunChange) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.CommitRun(ctx, c)
}

func (g *gate) CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error) {
	if err := g.err(); err != nil {
		return schedules.Run{}, false, err
	}
	return g.Store.CreateRun(ctx, run)
}

func (g *gate) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	if err := g.err(); err != nil {
		return schedules.Run{}, err
	}
	return g.Store.Claim(ctx, id, dispatch, c)
}

func (g *gate) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Heartbeat(ctx, beats)
}

func (g *gate) AppendEvents(ctx context.Context, id string, events ...schedules.Event) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.AppendEvents(ctx, id, events...)
}

func (g *gate) StrikeOff(ctx context.Context, msgs ...store.Message) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.StrikeOff(ctx, msgs...)
}

func (g *gate) Reindex(ctx context.Context, of ...store.Timer) ([]store.Mend, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	return g.Store.Reindex(ctx, of...)
}

func (g *gate) PublishWorkflows(ctx context.Context, ws ...store.Workflow) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.PublishWorkflows(ctx, ws...)
}

func (g *gate) AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error {
	if err := g.err(); err != nil {
		return err
	}
	g.mu.Lock()
	now := time.Now()
	recent := !g.told[p.ID].IsZero() && now.Sub(g.told[p.ID]) < announceEvery
	if !recent {
		g.told[p.ID] = now
	}
	g.mu.Unlock()
	if recent {
		return nil
	}
	return g.Store.AnnounceProcess(ctx, p, ttl)
}

func (g *gate) WithdrawProcess(ctx context.Context, id string) error {
	if err := g.err(); err != nil {
		return err
	}
	return g.Store.WithdrawProcess(ctx, id)
}

// RecordStep writes a step, and ends the process where the test says so. Code that meets it after the crash goes no further.
func (g *gate) RecordStep(ctx context.Context, id string, dispatch int, s schedules.Step) error {
	if g.dead.Load() {
		runtime.Goexit()
	}
	w := g.process.world
	var before, after bool
	if s.Status == schedules.RunCompleted {
		run, err := g.GetRun(ctx, id)
		if err != nil {
			return err
		}
		before, after = w.stubs.crashes(run.Workflow, s.Name)
	}
	if before {
		w.crash(g.process)
		runtime.Goexit()
	}
	err := g.Store.RecordStep(ctx, id, dispatch, s)
	if after && err == nil {
		w.crash(g.process)
		runtime.Goexit()
	}
	return err
}

// HoldLeases gives what is asked for.
func (g *gate) HoldLeases(_ context.Context, holder string, _ time.Duration, names ...string) ([]string, error) {
	if err := g.err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range names {
		g.holders[n] = holder
	}
	return names, nil
}

// ReleaseLeases gives leases up.
func (g *gate) ReleaseLeases(_ context.Context, _ string, names ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range names {
		delete(g.holders, n)
	}
	return nil
}

// LeaseHolders gives the holders of leases.
func (g *gate) LeaseHolders(_ context.Context, names ...string) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = g.holders[n]
	}
	return out, nil
}
