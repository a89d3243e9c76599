package beat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// fakeKeep is a store of runs and an outbox in one shard, and the engine over it.
type fakeKeep struct {
	*fakeStore

	rmu     sync.Mutex
	runs    map[string]schedules.Run
	outbox  []fakeMessage
	sent    []store.Message
	refuse  func(store.Message) bool // messages the transport does not take
	slow    time.Duration            // how long an answer about leases takes
	slowly  time.Duration            // how long sending takes
	changes []schedules.RunChange
	trims   int
}

type fakeMessage struct {
	store.Message
	at time.Time
}

func newFakeKeep() *fakeKeep {
	return &fakeKeep{fakeStore: newFakeStore(1), runs: make(map[string]schedules.Run), refuse: func(store.Message) bool { return false }}
}

func (f *fakeKeep) DueTicks(context.Context, int, time.Time, int) ([]store.DueSchedule, error) {
	return nil, f.state()
}

func (f *fakeKeep) Audit(context.Context, int, int) (store.Audited, error) {
	return store.Audited{Round: true}, f.state()
}

func (f *fakeKeep) DueTimers(_ context.Context, _ int, until time.Time, limit int) ([]store.Timer, error) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	var out []store.Timer
	for _, r := range f.runs {
		if !r.Due.IsZero() && !r.Due.After(until) {
			out = append(out, store.Timer{RunID: r.ID, Due: r.Due})
		}
	}
	slices.SortFunc(out, func(a, b store.Timer) int { return a.Due.Compare(b.Due) })
	return out[:min(limit, len(out))], f.state()
}

func (f *fakeKeep) ExpiredLeases(_ context.Context, _ int, until time.Time, limit int) ([]store.LeaseEntry, error) {
	f.rmu.Lock()
	slow := f.slow
	f.rmu.Unlock()
	<-time.After(slow)
	f.rmu.Lock()
	defer f.rmu.Unlock()
	var out []store.LeaseEntry
	for _, r := range f.runs {
		if r.Status == schedules.RunRunning && !r.Lease.After(until) {
			out = append(out, store.LeaseEntry{RunID: r.ID, Until: r.Lease})
		}
	}
	slices.SortFunc(out, func(a, b store.LeaseEntry) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.RunID, b.RunID))
	})
	return out[:min(limit, len(out))], f.state()
}

func (f *fakeKeep) state() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up()
}

func (f *fakeKeep) GetRun(_ context.Context, id string) (schedules.Run, error) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	r, ok := f.runs[id]
	if !ok {
		return r, store.ErrNotFound
	}
	return r, f.state()
}

func (f *fakeKeep) Unsent(_ context.Context, _ int, until time.Time, limit int) ([]store.Message, error) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	var out []store.Message
	for _, m := range f.outbox {
		if !m.at.After(until) && len(out) < limit {
			out = append(out, m.Message)
		}
	}
	return out, f.state()
}

func (f *fakeKeep) Trim(context.Context, int, store.Limits) (bool, error) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	f.trims++
	return f.trims < 3, f.state()
}

func (f *fakeKeep) Decide(_ context.Context, refs ...schedules.Ref) []engine.Decided {
	return make([]engine.Decided, len(refs))
}

func (f *fakeKeep) ChangeRun(ctx context.Context, id string, known *schedules.Run, next func(schedules.Run, time.Time) (schedules.RunChange, bool, error)) (schedules.Run, error) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	r, ok := f.runs[id]
	if !ok {
		return r, store.ErrNotFound
	}
	if err := f.state(); err != nil {
		return r, err
	}
	c, ok, err := next(r, f.Estimate())
	if err != nil || !ok {
		return r, err
	}
	f.runs[id] = c.Run
	f.changes = append(f.changes, c)
	if c.Send {
		f.outbox = append(f.outbox, fakeMessage{store.Message{RunID: id, Dispatch: c.Run.Dispatch, Queue: c.Run.Queue}, f.Estimate()})
	}
	return c.Run, nil
}

func (f *fakeKeep) Send(_ context.Context, msgs ...store.Message) {
	f.rmu.Lock()
	slowly := f.slowly
	f.rmu.Unlock()
	<-time.After(slowly)
	f.rmu.Lock()
	defer f.rmu.Unlock()
	for _, m := range msgs {
		if !f.refuse(m) {
			f.sent = append(f.sent, m)
			f.outbox = slices.DeleteFunc(f.outbox, func(o fakeMessage) bool { return o.Message == m })
		}
	}
}

// add puts a run that a worker holds, its lease ending after d.
func (f *fakeKeep) add(id string, lease time.Duration) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	r := schedules.NewRun(id, "w", "q", nil, nil, f.Estimate())
	r.Status, r.Worker, r.Due, r.Lease = schedules.RunRunning, "host:1:x", time.Time{}, f.Estimate().Add(lease)
	f.runs[id] = r
}

// renew is a worker's heartbeat for all runs.
func (f *fakeKeep) renew() {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	for id, r := range f.runs {
		r.Lease = f.Estimate().Add(schedules.Lease)
		f.runs[id] = r
	}
}

func (f *fakeKeep) get(id string) schedules.Run {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	return f.runs[id]
}

func (f *fakeKeep) changed() []schedules.RunChange {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	return slices.Clone(f.changes)
}

func (f *fakeKeep) sentOff() []store.Message {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	return slices.Clone(f.sent)
}

func (f *fakeKeep) trimmed() int {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	return f.trims
}

// keep runs a keeper in a bubble until the returned stop.
func keep(t *testing.T, f *fakeKeep, looker Looker) (stop func()) {
	t.Helper()
	k, err := NewKeeper(KeeperConfig{Store: f, Engine: f, Looker: looker})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
}

func TestALeaseIsDoubtedBeforeTheRunIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		f.add("run_a", 10*time.Second)
		defer keep(t, f, nil)()
		wait(13*time.Second - 50*time.Millisecond)
		if r := f.get("run_a"); r.Status != schedules.RunRunning {
			t.Fatalf("taken from its worker within the doubt: %+v", r)
		}
		wait(1100 * time.Millisecond)
		r := f.get("run_a")
		if r.Status != schedules.RunPending || r.Dispatch != 2 || r.Recoveries != 1 {
			t.Fatalf("not recovered 14s after the last heartbeat: %+v", r)
		}
		if len(f.changed()) != 1 {
			t.Errorf("%d changes, want one", len(f.changed()))
		}
	})
}

func TestALateHeartbeatEndsTheDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		f.add("run_a", 10*time.Second)
		defer keep(t, f, nil)()
		wait(12800 * time.Millisecond)
		f.renew()
		wait(9 * time.Second)
		if r := f.get("run_a"); r.Status != schedules.RunRunning || len(f.changed()) != 0 {
			t.Fatalf("lost although renewed: %+v", r)
		}
	})
}

// While the store does not answer, workers cannot renew: the doubt begins anew when it is back.
func TestAnOutageLosesNoRuns(t *testing.T) {
	for name, outage := range map[string]func(f *fakeKeep, on bool){
		"errors": func(f *fakeKeep, on bool) { f.setDown(on) },
		"slow": func(f *fakeKeep, on bool) {
			f.rmu.Lock()
			defer f.rmu.Unlock()
			f.slow = 0
			if on {
				f.slow = 4 * time.Second
			}
		},
		"not watched": func(f *fakeKeep, on bool) { // the sweeper is held up elsewhere
			f.rmu.Lock()
			defer f.rmu.Unlock()
			f.slowly, f.outbox = 0, nil
			if on {
				f.slowly, f.refuse = 4*time.Second, func(store.Message) bool { return true }
				f.outbox = []fakeMessage{{store.Message{RunID: "run_b", Dispatch: 1}, time.Time{}}}
			}
		},
	} {
		for _, length := range []time.Duration{1700 * time.Millisecond, 5 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(name, length), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFakeKeep()
					f.add("run_a", 2*time.Second)
					defer keep(t, f, nil)()
					wait(4 * time.Second) // in doubt by now
					outage(f, true)
					wait(length)
					outage(f, false)
					wait(2900 * time.Millisecond) // a worker needs a moment to be back
					if r := f.get("run_a"); r.Status != schedules.RunRunning {
						t.Fatalf("lost within 3s of the end of an outage")
					}
					f.renew()
					wait(5 * time.Second)
					if len(f.changed()) != 0 {
						t.Fatalf("an outage cost a run: %+v", f.changed())
					}
					wait(15 * time.Second) // and without heartbeats it is lost in the end
					if len(f.changed()) != 1 {
						t.Fatalf("%d changes after the worker was gone, want one", len(f.changed()))
					}
				})
			})
		}
	}
}

func TestThousandsOfLostRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		const all = 3000
		for i := range all {
			f.add(fmt.Sprintf("run_%04d", i), 0)
		}
		defer keep(t, f, nil)()
		wait(6 * time.Second)
		if len(f.changed()) != all {
			t.Fatalf("%d of %d runs were recovered", len(f.changed()), all)
		}
	})
}

func TestMessagesLeftInTheOutboxAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		bad := func(m store.Message) bool { return m.Queue == "broken" }
		f.refuse = bad
		for i := range 2 * sweepPage {
			f.outbox = append(f.outbox, fakeMessage{store.Message{RunID: fmt.Sprintf("run_bad%04d", i), Dispatch: 1, Queue: "broken"}, time.Now()})
		}
		defer keep(t, f, nil)()
		wait(10500 * time.Millisecond)
		written := time.Now()
		m := store.Message{RunID: "run_a", Dispatch: 1, Queue: "q"}
		f.rmu.Lock()
		f.outbox = append(f.outbox, fakeMessage{m, f.Estimate()})
		f.rmu.Unlock()
		f.fakeStore.wake(store.Wake{Shard: 0, Timers: true})
		wait(990 * time.Millisecond)
		if len(f.sentOff()) != 0 {
			t.Fatalf("sent %v after %v: its own sender may be at it", f.sentOff(), time.Since(written))
		}
		wait(30 * time.Millisecond)
		if !slices.Contains(f.sentOff(), m) {
			t.Fatalf("not sent a second after it was written; sent %v", f.sentOff())
		}
		wait(time.Minute)
		if len(f.sentOff()) != 1 {
			t.Errorf("sent %d messages, want one", len(f.sentOff()))
		}
	})
}

// fakeTransport says what became of tasks.
type fakeTransport struct {
	mu    sync.Mutex
	state store.MessageState
	err   error
	looks int

	dropped []store.Message
	dropErr error
}

func (f *fakeTransport) Drop(_ context.Context, msgs ...store.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropped = append(f.dropped, msgs...)
	return f.dropErr
}

func (f *fakeTransport) droppedMessages() []store.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dropped)
}

func (f *fakeTransport) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

func (f *fakeTransport) Look(_ context.Context, msgs ...store.Message) ([]store.MessageState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	out := make([]store.MessageState, len(msgs))
	for i := range out {
		out[i] = f.state
	}
	return out, f.err
}

func TestAPendingRunIsLookedForInTheTransport(t *testing.T) {
	for _, c := range []struct {
		name     string
		tr       *fakeTransport
		unsent   bool // it is still in the outbox
		dispatch int  // after 12 s, and after 20 s
		later    int
	}{
		{name: "queued", tr: &fakeTransport{state: store.MessageQueued}, dispatch: 1, later: 1},
		{name: "gone", tr: &fakeTransport{state: store.MessageGone}, dispatch: 2, later: 2},
		{name: "gone, and not to be dropped", tr: &fakeTransport{state: store.MessageGone, dropErr: errors.New("no answer")}, dispatch: 2, later: 2},
		{name: "gone but unsent", tr: &fakeTransport{state: store.MessageGone}, unsent: true, dispatch: 1, later: 1},
		{name: "active without a claim", tr: &fakeTransport{state: store.MessageActive}, dispatch: 1, later: 2},
		{name: "no answer", tr: &fakeTransport{err: errors.New("no answer")}, dispatch: 1, later: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeKeep()
				r := schedules.NewRun("run_a", "w", "q", nil, nil, f.Estimate())
				f.runs[r.ID] = r
				if c.unsent {
					f.refuse = func(store.Message) bool { return true }
					f.outbox = append(f.outbox, fakeMessage{store.Message{RunID: r.ID, Dispatch: 1, Queue: "q"}, f.Estimate()})
				}
				defer keep(t, f, c.tr)()
				wait(9900 * time.Millisecond)
				if c.tr.looked() != 0 {
					t.Fatalf("looked for before it was due")
				}
				wait(2100 * time.Millisecond)
				if got := f.get("run_a").Dispatch; got != c.dispatch {
					t.Errorf("dispatch %d after 12s, want %d", got, c.dispatch)
				}
				wait(7 * time.Second)
				if got := f.get("run_a").Dispatch; got != c.later {
					t.Errorf("dispatch %d after 19s, want %d", got, c.later)
				}
				if want := c.later - 1; len(c.tr.droppedMessages()) != want || want == 1 && c.tr.droppedMessages()[0] != (store.Message{RunID: "run_a", Dispatch: 1, Queue: "q"}) {
					t.Errorf("dropped %v after 19s, want the %d messages that did not reach a worker", c.tr.droppedMessages(), want)
				}
				if c.tr.looked() == 0 || c.tr.looked() > 20 {
					t.Errorf("%d looks in 19s", c.tr.looked())
				}
			})
		})
	}
}

// A transport that does not answer says nothing about the store: lost workers are noticed all the same.
func TestALooklessTransportDoesNotEndDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		for i := range 20 {
			r := schedules.NewRun(fmt.Sprintf("run_%d", i), "w", "q", nil, nil, f.Estimate().Add(-time.Duration(i)*time.Second))
			f.runs[r.ID] = r
		}
		f.add("run_a", 2*time.Second)
		defer keep(t, f, &fakeTransport{err: errors.New("no answer")})()
		wait(8 * time.Second)
		if r := f.get("run_a"); r.Dispatch != 2 {
			t.Fatalf("not recovered: %+v", r)
		}
	})
}

func TestRetriesAndCancelDeadlinesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		now := f.Estimate()
		retry := schedules.NewRun("run_retry", "w", "q", nil, nil, now)
		retry.Status, retry.Sent, retry.Due = schedules.RunRetrying, false, now.Add(3500*time.Millisecond)
		f.runs[retry.ID] = retry
		f.add("run_cancel", time.Hour)
		r := f.runs["run_cancel"]
		r.CancelAt, r.CancelDeadline, r.Due = now, now.Add(5500*time.Millisecond), now.Add(5500*time.Millisecond)
		f.runs["run_cancel"] = r
		defer keep(t, f, nil)()
		wait(8 * time.Second)
		if len(f.changed()) != 2 {
			t.Fatalf("%d changes, want the retry and the end of the cancelled run", len(f.changed()))
		}
		for i, want := range []struct {
			id     string
			status schedules.RunStatus
			at     time.Duration
		}{{"run_retry", schedules.RunPending, 3500 * time.Millisecond}, {"run_cancel", schedules.RunCancelled, 5500 * time.Millisecond}} {
			c := f.changed()[i]
			if c.Run.ID != want.id || c.Run.Status != want.status || c.Now.Sub(now) < want.at || c.Now.Sub(now) > want.at+2*time.Millisecond {
				t.Errorf("change %d: %s %s after %v, want %s %s after %v", i, c.Run.ID, c.Run.Status, c.Now.Sub(now), want.id, want.status, want.at)
			}
		}
	})
}

func TestTrimGoesOnWhileThereIsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		defer keep(t, f, nil)()
		wait(31 * time.Second)
		if f.trimmed() != 3 {
			t.Fatalf("trimmed %d times in the first round, want until there was no more", f.trimmed())
		}
		wait(30 * time.Second)
		if f.trimmed() != 4 {
			t.Fatalf("trimmed %d times after the second round, want once more", f.trimmed())
		}
	})
}
