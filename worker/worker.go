package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	pyworkflow "github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Store is what a worker needs of a store.
type Store interface {
	store.Runs
	store.Registry
	// Estimate is the store's clock, for the times of steps and events.
	Estimate() time.Time
	// Load is asked for a schedule's last success.
	Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error)
}

// Changer commits transitions of runs; *engine.Engine is one.
type Changer interface {
	ChangeRun(ctx context.Context, id string, known *schedules.Run,
		next func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error)) (schedules.Run, error)
}

// Observer is told what this worker does. Methods must not block.
type Observer interface {
	// Claimed: an attempt begins.
	Claimed(r schedules.Run)
	// Attempted: an attempt has ended after took. The run is as committed; recorded is false when it had passed to somebody else.
	Attempted(r schedules.Run, o schedules.Outcome, took time.Duration, recorded bool)
	// Abandoned: the code ignores its cancelled context; its slot was freed.
	Abandoned(r schedules.Run)
}

// StepObserver is an Observer that is also told of steps: an Observer that implements it is.
type StepObserver interface {
	// Stepped: a step's code was called, as often as its retries allow, and that took so long. err is what Step returns; a result that was recorded
	// earlier is no call.
	Stepped(r schedules.Run, s schedules.Step, took time.Duration, err error)
}

// Tracer gives attempts and steps their contexts. Methods must not block; they are called from many goroutines.
type Tracer interface {
	// Attempt is asked for the context of an attempt, derived from ctx. received is when its message reached this worker, by this process's clock; sent is when it was
	// handed to the transport, by the sender's clock, zero where that is not known. ended is called once when the attempt is over: as Observer.Attempted.
	Attempt(ctx context.Context, r schedules.Run, sent, received time.Time) (_ context.Context, ended func(r schedules.Run, o schedules.Outcome, recorded bool))
	// Step is asked for the context of a step's code, derived from ctx, which is that of its attempt. ended is called once when the step is over.
	Step(ctx context.Context, r schedules.Run, s schedules.Step) (_ context.Context, ended func(s schedules.Step, err error))
}

// Numbers that are the same for every worker.
const (
	DefaultConcurrency  = 10
	DefaultDrainTimeout = 25 * time.Second

	// Patience is how long code may go on after its time limit has passed or its lease was lost before it is left behind.
	Patience = 10 * time.Second
	// ShutdownPatience is the same for a shutdown, after the drain time.
	ShutdownPatience = time.Second
	// LongRun is how long a run without a time limit goes on before a warning.
	LongRun = time.Hour

	// AheadPatience is how long a run that was claimed ahead waits for a slot before it goes back.
	AheadPatience = time.Second
	// endsBeside is how many ends of runs may be recorded at a time while their slots serve others already.
	endsBeside = 1024

	heartbeatEvery   = time.Second
	heartbeatTimeout = 2 * time.Second
	flushEvery       = 250 * time.Millisecond
	callTimeout      = 5 * time.Second
	lastWords        = 5 * time.Second // for recording outcomes after a shutdown's patience
)

// Config holds a Worker's parts. App, Store, Engine and Transport are required.
type Config struct {
	App       *pyworkflow.App
	Store     Store
	Engine    Changer
	Transport Transport

	// Queues are the queues to serve and their weights. Nil: with Local every queue, else every queue that the App's workflows and declared schedules
	// name, all of weight 1.
	Queues       map[string]int
	Concurrency  int           // runs at a time; zero: 10
	DrainTimeout time.Duration // how long runs may go on after ctx ends; zero: 25 s; negative: not at all
	Local        bool          // it announces itself as part of the local runtime
	ID           string        // unique; empty: made by NewID
	Version      string        // of the program, for lists
	Log          *slog.Logger  // nil: discards
	Observer     Observer      // nil: nobody is told
	Tracer       Tracer        // nil: contexts stay as they are
}

// NewID makes an id for a process: host:pid:random.
func NewID() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return host + ":" + strconv.Itoa(os.Getpid()) + ":" + randomHex(4)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Worker executes runs. Make it with New; Run may be called once.
type Worker struct {
	cfg       Config
	log       *slog.Logger
	steps     StepObserver // nil: nobody is told
	startedAt time.Time

	started atomic.Bool
	slots   chan struct{}
	ends    chan struct{}   // one per run whose end is being recorded and that holds no slot any more
	base    context.Context // of every attempt: carries values, is not cancelled
	stop    chan struct{}   // closed: take no more
	hard    chan struct{}   // closed: the drain time has passed
	dead    chan struct{}   // closed: give up recording outcomes

	mu        sync.Mutex
	held      map[string]*held // by run id
	toldNewer time.Time        // when it was last logged that a run is left to a newer program
	zombies   atomic.Int64
	away      atomic.Bool // the store did not answer the last heartbeat
}

// New checks the configuration and fills in defaults.
func New(cfg Config) (*Worker, error) {
	switch {
	case cfg.App == nil:
		return nil, errors.New("worker: Config.App is nil")
	case cfg.Store == nil:
		return nil, errors.New("worker: Config.Store is nil")
	case cfg.Engine == nil:
		return nil, errors.New("worker: Config.Engine is nil")
	case cfg.Transport == nil:
		return nil, errors.New("worker: Config.Transport is nil")
	case cfg.Concurrency < 0:
		return nil, fmt.Errorf("worker: Config.Concurrency %d is negative; write 1 or more", cfg.Concurrency)
	}
	for q, weight := range cfg.Queues {
		if weight < 1 {
			return nil, fmt.Errorf("worker: queue %q has weight %d; write 1 or more", q, weight)
		}
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = DefaultDrainTimeout
	}
	if cfg.ID == "" {
		cfg.ID = NewID()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if len(cfg.Queues) == 0 && !cfg.Local {
		cfg.Queues = QueuesOf(cfg.App)
	}
	steps, _ := cfg.Observer.(StepObserver)
	return &Worker{cfg: cfg, steps: steps, log: cfg.Log.With("worker", cfg.ID), startedAt: time.Now().UTC(), slots: make(chan struct{}, cfg.Concurrency),
		ends: make(chan struct{}, endsBeside),
		stop: make(chan struct{}), hard: make(chan struct{}), dead: make(chan struct{}), held: make(map[string]*held)}, nil
}

// QueuesOf gives every queue that the App's workflows and declared schedules name, each of weight 1; the default queue when there are none.
func QueuesOf(app *pyworkflow.App) map[string]int {
	queues := make(map[string]int)
	for _, w := range app.Workflows() {
		queues[w.Options.Queue] = 1
		for _, s := range w.Schedules {
			if s.Definition.Queue != "" {
				queues[s.Definition.Queue] = 1
			}
		}
	}
	if len(queues) == 0 {
		queues[schedules.DefaultQueue] = 1
	}
	return queues
}

// ID is the worker's id.
func (w *Worker) ID() string { return w.cfg.ID }

// Stats is what a worker does at the moment.
type Stats struct {
	Running   int // runs that have a slot
	Capacity  int // runs at a time
	Abandoned int // goroutines of code that ignores its cancelled context and was left behind
}

// Stats says what the worker does at the moment.
func (w *Worker) Stats() Stats {
	running := 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.held {
		if h.executes() {
			running++
		}
	}
	return Stats{Running: running, Capacity: w.cfg.Concurrency, Abandoned: int(w.zombies.Load())}
}

// Run executes runs until ctx ends, then drains: it takes no more, lets running ones go on for the drain time, cancels the contexts of the rest (cause
// ErrShutdown), hands back what has not ended, and returns nil. An error says that the transport could not serve.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("worker: Run was called before; make a new Worker")
	}
	w.base = context.WithoutCancel(ctx)
	background, endBackground := context.WithCancel(w.base)
	var wg sync.WaitGroup
	wg.Go(func() { w.heartbeats(background) })
	wg.Go(func() { w.flushes(background) })
	wg.Go(func() { w.announcements(background) })
	defer wg.Wait()
	defer endBackground()

	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- w.cfg.Transport.Serve(serving, w.cfg.Queues, w.cfg.Concurrency, w.handle) }()
	select {
	case err := <-served:
		close(w.stop)
		if err == nil && ctx.Err() == nil {
			err = errors.New("transport stopped serving")
		}
		w.drain(nil)
		if err != nil {
			return fmt.Errorf("serve queues: %w", err)
		}
		return nil
	case <-ctx.Done():
	}
	close(w.stop)
	w.drain(served)
	return nil
}

// drain waits until the transport has stopped serving and no run is held, and presses on by and by.
func (w *Worker) drain(served <-chan error) {
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		if served != nil {
			if err := <-served; err != nil {
				w.log.Warn("transport did not stop well", "error", err)
			}
		}
		for range cap(w.slots) { // as if every slot were taken: none is in use any more
			w.slots <- struct{}{}
		}
		for range cap(w.ends) {
			w.ends <- struct{}{}
		}
	}()
	if n := w.Stats().Running; n > 0 {
		w.log.Info("draining", "running", n, "drain_timeout", w.cfg.DrainTimeout)
	}
	if waited(idle, w.cfg.DrainTimeout) {
		return
	}
	close(w.hard)
	for _, h := range w.holding() {
		h.cancel(pyworkflow.ErrShutdown)
	}
	if waited(idle, ShutdownPatience+lastWords) {
		return
	}
	close(w.dead)
	<-idle
}

// waited reports whether done is closed within d.
func waited(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

type nobody struct{}

func (nobody) Claimed(schedules.Run)                                           {}
func (nobody) Attempted(schedules.Run, schedules.Outcome, time.Duration, bool) {}
func (nobody) Abandoned(schedules.Run)                                         {}
