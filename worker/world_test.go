package worker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("store is away")

// flaky is a store that can be away, or carry out what it is asked and lose the answer.
type flaky struct {
	store.Store
	away  atomic.Bool
	mute  atomic.Int64 // so many answers of Claim, RecordStep and CommitRun are lost
	beats atomic.Int64 // calls of Heartbeat
	asks  atomic.Int64 // runs asked about in them
	late  atomic.Int64 // how long the next claim's answer takes; then 0
}

func answer[T any](f *flaky, v T, err error) (T, error) {
	if err == nil && f.mute.Add(-1) >= 0 {
		return v, errAway
	}
	return v, err
}

func (f *flaky) check() error {
	if f.away.Load() {
		return errAway
	}
	return nil
}

func (f *flaky) GetRun(ctx context.Context, id string) (schedules.Run, error) {
	if err := f.check(); err != nil {
		return schedules.Run{}, err
	}
	return f.Store.GetRun(ctx, id)
}

func (f *flaky) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	if err := f.check(); err != nil {
		return schedules.Run{}, err
	}
	r, err := f.Store.Claim(ctx, id, dispatch, c)
	if d := f.late.Swap(0); d > 0 {
		sleep(time.Duration(d))
	}
	return answer(f, r, err)
}

func (f *flaky) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	f.beats.Add(1)
	f.asks.Add(int64(len(beats)))
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.Store.Heartbeat(ctx, beats)
}

func (f *flaky) CommitRun(ctx context.Context, c schedules.RunChange) error {
	if err := f.check(); err != nil {
		return err
	}
	_, err := answer(f, 0, f.Store.CommitRun(ctx, c))
	return err
}

func (f *flaky) RecordStep(ctx context.Context, id string, dispatch int, s schedules.Step) error {
	if err := f.check(); err != nil {
		return err
	}
	_, err := answer(f, 0, f.Store.RecordStep(ctx, id, dispatch, s))
	return err
}

func (f *flaky) Steps(ctx context.Context, id string) ([]schedules.Step, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.Store.Steps(ctx, id)
}

func (f *flaky) AppendEvents(ctx context.Context, id string, events ...schedules.Event) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Store.AppendEvents(ctx, id, events...)
}

func (f *flaky) AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Store.AnnounceProcess(ctx, p, ttl)
}

func (f *flaky) PublishWorkflows(ctx context.Context, ws ...store.Workflow) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Store.PublishWorkflows(ctx, ws...)
}

// world is a store, an engine and a keeper, in fake time.
type world struct {
	t     *testing.T
	ctx   context.Context // until the world ends; t.Context() cannot be used in a bubble that fails
	store *flaky
	eng   *engine.Engine
	tr    *switchboard
	log   *lines

	workers   []*running
	submitted int
	unkept    atomic.Bool               // the keeper sleeps: for tests that last very long
	ends      func(schedules.RunChange) // observes; may be nil
}

// inWorld runs f in a bubble with a world.
func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		inner, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, ctx: ctx, store: &flaky{Store: inner}, tr: &switchboard{}, log: &lines{}}
		w.eng, err = engine.New(engine.Config{Store: w.store, Dispatcher: w.tr, Observers: []engine.Observer{w}})
		if err != nil {
			t.Fatal(err)
		}
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			w.keep(ctx)
		}()
		defer func() { // also when f gives up
			for _, r := range w.workers {
				r.stop()
				<-r.gone
			}
			stop()
			<-kept
			if err := inner.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(w)
	})
}

func (w *world) Decided(schedules.Change) {}
func (w *world) RunChanged(c schedules.RunChange) {
	if w.ends != nil {
		w.ends(c)
	}
}

// keep does what a keeper does to runs: it sends what is due and gives up on lost workers.
func (w *world) keep(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	doubts := make(map[store.LeaseEntry]time.Time) // when an expired lease was first seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if w.store.away.Load() || w.unkept.Load() {
			continue
		}
		for shard := range w.store.Shards() {
			timers, err := w.store.DueTimers(ctx, shard, now, 100)
			if err != nil {
				w.complain(ctx, err)
				return
			}
			for _, timer := range timers {
				if timer.RunID == "" {
					w.eng.Decide(ctx, timer.Ref)
					continue
				}
				w.changeRun(timer.RunID, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
					state, err := w.tr.Look(ctx, store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue})
					return schedules.RunDue(r, err == nil && state[0] == store.MessageGone, now)
				})
			}
			expired, err := w.store.ExpiredLeases(ctx, shard, now, 100)
			if err != nil {
				w.complain(ctx, err)
				return
			}
			for _, e := range expired {
				if first, seen := doubts[e]; !seen || now.Sub(first) < schedules.LeaseDoubt {
					doubts[e] = cmp.Or(first, now)
					continue
				}
				w.changeRun(e.RunID, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
					return schedules.LoseRun(r, now), r.Status == schedules.RunRunning && r.Lease.Equal(e.Until)
				})
			}
		}
	}
}

// complain reports an error of the keeper, unless it was stopped.
func (w *world) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.t.Error(err)
	}
}

func (w *world) changeRun(id string, f func(r schedules.Run, now time.Time) (schedules.RunChange, bool)) schedules.Run {
	w.t.Helper()
	run, err := w.eng.ChangeRun(context.Background(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		c, ok := f(r, now)
		return c, ok, nil
	})
	if err != nil && !w.store.away.Load() {
		w.t.Errorf("change run %s: %v", id, err)
	}
	return run
}

// switchboard hands messages to the transport of whoever serves, as a shared one would.
type switchboard struct {
	mu sync.Mutex
	to []*localtransport.Transport
}

func (s *switchboard) attach(tr *localtransport.Transport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, tr)
}

func (s *switchboard) transports() []*localtransport.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*localtransport.Transport(nil), s.to...)
}

func (s *switchboard) Dispatch(ctx context.Context, msgs []store.Message) ([]store.Message, error) {
	for _, tr := range s.transports() {
		if sent, err := tr.Dispatch(ctx, msgs); err != nil || len(sent) > 0 {
			return sent, err
		}
	}
	return nil, nil
}

func (s *switchboard) Look(ctx context.Context, m store.Message) ([]store.MessageState, error) {
	for _, tr := range s.transports() {
		if states, err := tr.Look(ctx, m); err != nil || states[0] != store.MessageGone {
			return states, err
		}
	}
	return []store.MessageState{store.MessageGone}, nil
}

// running is a worker that runs.
type running struct {
	*worker.Worker
	tr   *localtransport.Transport
	stop context.CancelFunc
	done chan error    // what Run returned
	gone chan struct{} // closed when it has
}

// start runs a worker with the workflows.
func (w *world) start(cfg worker.Config, defs ...pyworkflow.Registrable) *running {
	w.t.Helper()
	if cfg.App == nil {
		cfg.App = pyworkflow.NewApp()
	}
	if err := cfg.App.Register(defs...); err != nil {
		w.t.Fatal(err)
	}
	r := &running{tr: localtransport.New(), done: make(chan error, 1), gone: make(chan struct{})}
	cfg.Store, cfg.Engine, cfg.Transport, cfg.Local, cfg.Log = w.store, w.eng, r.tr, true, slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if r.Worker, err = worker.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.tr.attach(r.tr)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.gone)
		r.done <- r.Run(ctx)
	}()
	w.workers = append(w.workers, r)
	return r
}

// end stops the worker and waits for it.
func (w *world) end(r *running) {
	w.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		w.t.Errorf("worker ended with %v", err)
	}
}

// submit creates a run without a schedule.
func (w *world) submit(workflow string, input string, opts *schedules.RunOptions) string {
	w.t.Helper()
	w.submitted++
	run := schedules.NewRun(schedules.FreeRunID(fmt.Sprint(w.submitted)), workflow, "", json.RawMessage(input), opts, time.Now())
	run, _, err := w.eng.CreateRun(context.Background(), run)
	if err != nil {
		w.t.Fatal(err)
	}
	return run.ID
}

func (w *world) run(id string) schedules.Run {
	w.t.Helper()
	r, err := w.store.Store.GetRun(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// until waits until the run is as cond wants it, an hour at most.
func (w *world) until(id string, what string, cond func(r schedules.Run) bool) schedules.Run {
	w.t.Helper()
	for range 36_000 {
		if r := w.run(id); cond(r) {
			return r
		}
		sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("run %s is not %s: %+v", id, what, w.run(id))
	panic("not reached")
}

// sleep lets fake time pass.
func sleep(d time.Duration) { <-time.After(d) }

func (w *world) ended(id string) schedules.Run {
	w.t.Helper()
	return w.until(id, "ended", func(r schedules.Run) bool { return r.Status.Ended() })
}

func (w *world) status(id string, s schedules.RunStatus) schedules.Run {
	w.t.Helper()
	return w.until(id, string(s), func(r schedules.Run) bool { return r.Status == s })
}

// cancel asks the run to cancel.
func (w *world) cancel(id, reason string, grace time.Duration) {
	w.t.Helper()
	w.changeRun(id, func(r schedules.Run, now time.Time) (schedules.RunChange, bool) {
		return schedules.RequestCancel(r, reason, schedules.Duration(grace), now)
	})
}

// events gives the run's events as "kind: message".
func (w *world) events(id string) []string {
	w.t.Helper()
	events, _, err := w.store.Store.Events(context.Background(), id, 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, e.Kind+": "+e.Message)
	}
	return out
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}
