package workflowtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// Option sets something about a World.
type Option func(*options)

type options struct{ now time.Time }

// WithNow is when the World begins, at midnight UTC 2000-01-01 or later. Default: then. Cron and calendar ticks that come due are those after it; an interval
// without start_at begins with a tick at once.
func WithNow(now time.Time) Option { return func(o *options) { o.now = now } }

// World is a deployment of one program: its store, its process, and the clock of everything in it. Run makes it.
type World struct {
	t      *testing.T
	app    *pyworkflow.App
	store  *sqlitestore.Store
	client *client.Client
	ctx    context.Context
	stubs  *stubs
	at     time.Time     // what the clock was last advanced to
	woken  chan struct{} // something was written

	mu      sync.Mutex
	process *process // nil: none runs
	gone    []*process
	started int
	written time.Time // when something was last written that the process acts on
}

// Run makes a World with the workflows that register adds, activates their schedules, and calls f. The process that schedules and executes starts when time first
// passes or a run is first started: what f stubs before holds from the first run on. Everything has ended when Run returns. The t that f is given is of the bubble: f must use that one, and not its Run, Parallel and Deadline.
func Run(t *testing.T, register func(*pyworkflow.App) error, f func(t *testing.T, w *World), opts ...Option) {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	app := pyworkflow.NewApp()
	if err := register(app); err != nil {
		t.Fatalf("register workflows: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if !o.now.IsZero() {
			if o.now.Before(time.Now()) {
				t.Fatalf("WithNow(%s): the clock of a test begins at %s; give that or later", o.now.Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
			}
			pass(time.Until(o.now))
		}
		at := time.Now()
		pass(time.Millisecond) // so that what a schedule names for this very instant is past
		// Not t.Context(): it ends before the deferred end below, which still reads.
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		w := &World{t: t, app: app, store: st, ctx: ctx, stubs: newStubs(), at: at, woken: make(chan struct{}, 1)}
		var listening sync.WaitGroup
		listening.Go(func() { _ = st.Listen(ctx, w.wake) }) // it ends with ctx
		defer func() {
			w.end()
			cancel()
			listening.Wait()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}()
		w.begin()
		f(t, w)
	})
}

// begin makes the client and activates.
func (w *World) begin() {
	w.t.Helper()
	eng, err := engine.New(engine.Config{Store: w.store, Dispatcher: door{w}})
	if err == nil {
		w.client, err = client.New(client.Config{Store: w.store, Engine: eng, App: w.app})
	}
	if err == nil {
		_, err = w.client.Activate(w.ctx, w.app, client.ActivateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// end tells of what went wrong and stops everything.
func (w *World) end() {
	for _, fault := range w.stubs.unused() {
		w.t.Error(fault)
	}
	if w.t.Failed() && w.client != nil {
		w.t.Log(w.Story()) // before the end hands back what still runs
	}
	w.stop()
	w.mu.Lock()
	gone := w.gone
	w.mu.Unlock()
	for _, p := range gone {
		<-p.ended
	}
}

func (w *World) wake(store.Wake) {
	w.mu.Lock()
	w.written = time.Now()
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// Client acts on the World's store: every act and every view there is.
func (w *World) Client() *client.Client { return w.client }

// Context is for calls of Client and Handles. It ends with the World.
func (w *World) Context() context.Context { return w.ctx }

// Now is the instant it is, in UTC.
func (w *World) Now() time.Time { return time.Now().UTC() }

const (
	stride = time.Second           // how far the clock is let run before it is looked whether nothing is left to do
	hop    = 20 * time.Second      // a wait of more is passed without a process: what it would do meanwhile is report that it lives
	lead   = time.Second           // before the next thing to do, when a process is started again
	linger = 10 * time.Millisecond // how much later than its time something may begin
)

// Advance lets d pass. What comes due until then, at its end included, has been decided and, where a worker is free, begun when it returns; what takes no time has
// ended.
func (w *World) Advance(d time.Duration) {
	w.t.Helper()
	if d < 0 {
		w.t.Fatalf("Advance(%s): time goes forward", d)
	}
	w.AdvanceTo(w.from().Add(d))
}

// AdvanceTo lets time pass until t, as Advance does.
func (w *World) AdvanceTo(t time.Time) {
	w.t.Helper()
	now := w.from()
	if t.Before(now) {
		w.t.Fatalf("AdvanceTo(%s): it is %s already", t.UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
	}
	w.start()
	for synctestWait(); time.Until(t) > 0; synctestWait() {
		w.move(t)
	}
	w.at = t
	for late := t.Add(linger); time.Now().Before(late) && w.due(t); synctestWait() {
		pass(time.Millisecond)
	}
}

// from is what Advance counts from: the clock, but for the moment by which something began late.
func (w *World) from() time.Time {
	now := time.Now()
	if by := now.Sub(w.at); by >= 0 && by <= linger {
		return w.at
	}
	return now
}

func synctestWait() { synctest.Wait() }

// pass lets the clock run.
func pass(d time.Duration) { <-time.After(d) }

// move lets some time pass, at most until t. Where a process would do nothing for long but tell that it lives, it is stopped and started again in time.
func (w *World) move(t time.Time) {
	next, quiet := w.quiet()
	if next.IsZero() || next.After(t) {
		next = t
	}
	if !quiet || time.Until(next) < hop {
		pass(min(stride, time.Until(t)))
		return
	}
	w.stop()
	select {
	case <-w.woken: // what the process did last
	default:
	}
	timer := time.NewTimer(time.Until(next.Add(-lead)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.woken: // somebody else in the test does something
	}
	w.start()
}

// quiet reports whether nothing goes on, and when the next thing is due; the zero time: nothing is.
func (w *World) quiet() (next time.Time, ok bool) {
	w.mu.Lock()
	busy := w.process == nil || w.process.busy()
	for _, p := range w.gone {
		busy = busy || !p.over()
	}
	w.mu.Unlock()
	if busy {
		return time.Time{}, false
	}
	return w.pending(time.UnixMilli(math.MaxInt32 * 1000))
}

// pending gives the earliest thing that is due until then. It is false when something goes on.
func (w *World) pending(until time.Time) (next time.Time, ok bool) {
	w.t.Helper()
	earlier := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for shard := range w.store.Shards() {
		unsent, err := w.store.Unsent(w.ctx, shard, until, 1)
		w.check(err)
		held, err := w.store.ExpiredLeases(w.ctx, shard, until, 1)
		w.check(err)
		if len(unsent)+len(held) > 0 {
			return time.Time{}, false
		}
		ticks, err := w.store.DueTicks(w.ctx, shard, until, 1)
		w.check(err)
		for _, d := range ticks {
			earlier(d.Due)
		}
		timers, err := w.store.DueTimers(w.ctx, shard, until, 100)
		w.check(err)
		for _, d := range timers {
			if d.RunID == "" && time.Since(d.Due) > stride && w.calm() {
				continue // a look that found nothing to do
			}
			earlier(d.Due)
		}
	}
	return next, true
}

// due reports whether something that came due by t is still to be begun.
func (w *World) due(t time.Time) bool {
	next, ok := w.pending(t)
	return !ok && w.unsent() || !next.IsZero()
}

// calm reports whether the process has had the time to act on all that was written.
func (w *World) calm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.written) > stride
}

func (w *World) unsent() bool {
	for shard := range w.store.Shards() {
		msgs, err := w.store.Unsent(w.ctx, shard, time.Now(), 1)
		w.check(err)
		if len(msgs) > 0 {
			return true
		}
	}
	return false
}

// check fails the test on an error that only the World itself can have caused.
func (w *World) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Trigger starts a run of the schedule now, under its overlap policy and with its input, and says what became of that: started, buffered or skipped.
func (w *World) Trigger(scheduleID string) client.TriggerResult {
	w.t.Helper()
	w.start()
	res, err := w.client.Trigger(w.ctx, scheduleID, client.TriggerRequest{})
	if err != nil {
		w.t.Fatalf("trigger %s: %v", scheduleID, err)
	}
	synctest.Wait()
	return res
}

// Start starts a run of a workflow outside any schedule and returns its id. Input is what JSON makes of it; nil is none. For typed input and result give the World to a
// workflow's own Start or Run.
func (w *World) Start(workflow string, input any) (runID string) {
	w.t.Helper()
	raw, err := json.Marshal(input)
	if err != nil {
		w.t.Fatalf("start %s: encode input: %v", workflow, err)
	}
	id, err := w.StartRun(w.ctx, workflow, raw, pyworkflow.StartOptions{})
	if err != nil {
		w.t.Fatalf("start %s: %v", workflow, err)
	}
	return id
}

// StartRun makes a World a pyworkflow.Starter, so that DailyReport.Run(w.Context(), w, input) works.
func (w *World) StartRun(ctx context.Context, workflow string, input json.RawMessage, opts pyworkflow.StartOptions) (string, error) {
	w.start()
	id, err := w.client.StartRun(ctx, workflow, input, opts)
	synctest.Wait()
	return id, err
}

// AwaitRun is the other half of a pyworkflow.Starter. Time passes until the run has ended.
func (w *World) AwaitRun(ctx context.Context, runID string) (json.RawMessage, error) {
	if _, err := w.await(ctx, runID); err != nil {
		return nil, err
	}
	return w.client.AwaitRun(ctx, runID)
}

// Wait lets time pass until the run has ended, and returns it. A tick that waits has to start first. The test fails when nothing is left that would end it.
func (w *World) Wait(runID string) client.Run {
	w.t.Helper()
	run, err := w.await(w.ctx, runID)
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// patience is how long await lets time pass.
const patience = 30 * 24 * time.Hour

func (w *World) await(ctx context.Context, runID string) (client.Run, error) {
	w.start()
	began := time.Now()
	for {
		synctest.Wait()
		run, err := w.client.GetRun(ctx, runID)
		if err == nil && run.Status.Ended() {
			return run, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return run, err
		}
		status := run.Status
		if err != nil {
			status = "waiting to start, or no run at all"
		}
		switch next, quiet := w.quiet(); {
		case quiet && next.IsZero():
			return run, fmt.Errorf("run %s is %s, and nothing is left to come that would change that", runID, status)
		case time.Since(began) > patience:
			return run, fmt.Errorf("run %s is %s, and %s have passed", runID, status, schedules.Duration(patience))
		}
		w.move(began.Add(patience + time.Hour))
	}
}

// Down lets d pass with nothing running: an outage, or a deploy. Runs in progress are handed back and go on afterwards; ticks that come due meanwhile are caught up on
// or missed, as their schedules say.
func (w *World) Down(d time.Duration) {
	w.t.Helper()
	if d < 0 {
		w.t.Fatalf("Down(%s): time goes forward", d)
	}
	until := w.from().Add(d)
	w.stop()
	pass(max(time.Until(until), 0))
	w.at = until
	w.start()
	synctest.Wait()
}

// Crash kills the process now, as kill -9 would; another starts in its place at once.
func (w *World) Crash() {
	w.t.Helper()
	w.start()
	w.mu.Lock()
	p := w.process
	w.mu.Unlock()
	w.crash(p)
	synctest.Wait()
}

var _ pyworkflow.Starter = (*World)(nil)
