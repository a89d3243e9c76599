package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var cancelCases = []testCase{
	{"a pending run", testCancelPending},
	{"a running run", testCancelRunning},
	{"asked before, ended, unknown", testCancelTwice},
}

var timerCases = []testCase{
	{"ticks", testTicks},
	{"ticks are ordered and limited", testTicksOrder},
	{"timers of schedules", testScheduleTimers},
	{"timers of runs", testRunTimers},
	{"timers are ordered and limited", testTimersOrder},
	{"leases", testLeaseIndex},
	{"leases are ordered and limited", testLeaseOrder},
}

var listenCases = []testCase{
	{"wakes", testWakes},
	{"ends with its context", testListenEnds},
}

func testCancelPending(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	now := h.clock.Advance(time.Second)
	deadline := now.Add(30 * time.Second)
	h.modify(ref, func(c *schedules.Change) {
		c.Cancel = []schedules.CancelRequest{{RunID: run.ID, Reason: "superseded", Deadline: deadline}}
	})
	want := run
	want.CancelAt, want.CancelDeadline, want.CancelReason, want.Due, want.Revision = now, deadline, "superseded", now, run.Revision+1
	h.same("run", h.run(run.ID), want)
	h.same("due at once", runTimers(h.timers(now, 10)), []store.Timer{{RunID: run.ID, Due: now}})
	_, err := h.Claim(h.ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
	h.wantErr("claim of a run asked to cancel", err, store.ErrStale)
	h.wantErr("a transition computed before", h.CommitRun(h.ctx, Transition(run, now)), store.ErrConflict)
}

func testCancelRunning(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	claimed := h.claim(run.ID, 1)
	now := h.clock.Advance(time.Second)
	deadline := now.Add(30 * time.Second)
	h.modify(ref, func(c *schedules.Change) {
		c.Cancel = []schedules.CancelRequest{{RunID: run.ID, Reason: "superseded", Deadline: deadline}}
	})
	want := claimed
	want.CancelAt, want.CancelDeadline, want.CancelReason, want.Due, want.Revision = now, deadline, "superseded", deadline, claimed.Revision+1
	h.same("run", h.run(run.ID), want)
	count(h, "due before the deadline", runTimers(h.timers(deadline.Add(-time.Millisecond), 10)), 0)
	h.same("due at the deadline", runTimers(h.timers(deadline, 10)), []store.Timer{{RunID: run.ID, Due: deadline}})
	answers, err := h.Heartbeat(h.ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}})
	h.noErr("heartbeat", err)
	h.same("heartbeat", answers, []store.HeartbeatAnswer{{Cancel: true, CancelReason: "superseded"}})
	// The claim whose answer was lost is still that worker's.
	_, err = h.Claim(h.ctx, run.ID, 1, store.Claim{Worker: "w1", Token: "token-" + run.ID})
	h.noErr("the same claim again", err)
}

func testCancelTwice(h *harness) {
	ref := h.create("a")
	one, two := h.start(ref, h.now()), h.start(ref, h.now().Add(time.Second))
	h.end(two.ID, schedules.RunCompleted)
	ended := h.run(two.ID)
	ask := func(reason string, ids ...string) {
		h.t.Helper()
		h.modify(ref, func(c *schedules.Change) {
			for _, id := range ids {
				c.Cancel = append(c.Cancel, schedules.CancelRequest{RunID: id, Reason: reason, Deadline: c.Now.Add(time.Minute)})
			}
		})
	}
	ask("first", one.ID, two.ID, schedules.TickRunID(ref, schedules.Tick{Nominal: h.now().Add(time.Hour)}))
	asked := h.run(one.ID)
	h.same("an ended run", h.run(two.ID), ended)
	h.clock.Advance(time.Second)
	ask("second", one.ID)
	h.same("asked before", h.run(one.ID), asked)
	if asked.CancelReason != "first" {
		h.t.Fatalf("reason is %q", asked.CancelReason)
	}
}

func testTicks(h *harness) {
	due := h.now().Add(time.Minute)
	ref := h.create("a")
	want := []store.DueSchedule{{Ref: ref, Due: due}}
	count(h, "before it is due", h.ticks(due.Add(-time.Millisecond), 10), 0)
	h.same("when it is due", h.ticks(due, 10), want)
	h.same("later", h.ticks(due.Add(time.Hour), 10), want)

	moved := due.Add(time.Hour)
	h.modify(ref, func(c *schedules.Change) { c.Schedule.NextNominal, c.Schedule.NextDue = moved, moved })
	count(h, "at its old time", h.ticks(due, 10), 0)
	h.same("at its new time", h.ticks(moved, 10), []store.DueSchedule{{Ref: ref, Due: moved}})
	for _, status := range []schedules.Status{schedules.StatusPaused, schedules.StatusFinished, schedules.StatusDeleted} {
		h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = status })
		count(h, string(status), h.ticks(moved, 10), 0)
		h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusActive })
		count(h, "active again", h.ticks(moved, 10), 1)
	}
	h.modify(ref, func(c *schedules.Change) { c.Schedule.NextNominal, c.Schedule.NextDue = time.Time{}, time.Time{} })
	count(h, "without a tick", h.ticks(moved, 10), 0)

	// The end of a run leaves the ticks as they are.
	h.modify(ref, func(c *schedules.Change) { c.Schedule.NextNominal, c.Schedule.NextDue = moved, moved })
	run := h.start(ref, h.now())
	h.end(run.ID, schedules.RunCompleted)
	count(h, "after a run", h.ticks(moved, 10), 1)
}

func testTicksOrder(h *harness) {
	want := map[schedules.Ref]time.Time{}
	for i := range 60 {
		due := h.now().Add(time.Duration((i*37)%60) * time.Second)
		ref := h.create(fmt.Sprintf("s%02d", i), func(c *schedules.Change) { c.Schedule.NextNominal, c.Schedule.NextDue = due, due })
		want[ref] = due
	}
	got := h.ticks(h.now().Add(29*time.Second), 1000)
	count(h, "due in the first half minute", got, 30)
	for _, d := range got {
		if !want[d.Ref].Equal(d.Due) {
			h.t.Fatalf("%s is due at %s, want %s", d.Ref, d.Due, want[d.Ref])
		}
		delete(want, d.Ref)
	}
	count(h, "each once", h.ticks(h.now().Add(time.Hour), 1000), 60)
	h.firstOfEachShard(func(shard, limit int) []time.Time {
		list, err := h.DueTicks(h.ctx, shard, h.now().Add(time.Hour), limit)
		h.noErr("due ticks", err)
		return times(list, func(d store.DueSchedule) time.Time { return d.Due })
	})
}

// firstOfEachShard fails unless a limited answer is the beginning of the whole one.
func (h *harness) firstOfEachShard(read func(shard, limit int) []time.Time) {
	h.t.Helper()
	for shard := range h.Shards() {
		all := read(shard, 1000)
		for _, limit := range []int{1, 2, 7} {
			h.same(fmt.Sprintf("the first %d of shard %d", limit, shard), read(shard, limit), all[:min(limit, len(all))])
		}
	}
}

func times[T any](list []T, at func(T) time.Time) []time.Time {
	out := make([]time.Time, len(list))
	for i, e := range list {
		out[i] = at(e)
	}
	return out
}

func scheduleTimers(list []store.Timer) []store.Timer {
	out := []store.Timer{}
	for _, e := range list {
		if e.RunID == "" {
			out = append(out, e)
		}
	}
	return out
}

func runTimers(list []store.Timer) []store.Timer {
	out := []store.Timer{}
	for _, e := range list {
		if e.RunID != "" {
			out = append(out, e)
		}
	}
	return out
}

func testScheduleTimers(h *harness) {
	ref := h.create("a")
	far := h.now().Add(24 * time.Hour)
	check := func(what string, want ...time.Time) {
		h.t.Helper()
		list := []store.Timer{}
		for _, due := range want {
			list = append(list, store.Timer{Ref: ref, Due: due})
		}
		h.same(what, scheduleTimers(h.timers(far, 100)), list)
	}
	check("a new schedule")
	h.modify(ref, func(c *schedules.Change) { c.More = true })
	check("more to decide", h.now())
	h.clock.Advance(time.Second)
	h.modify(ref)
	check("nothing more")
	h.modify(ref, func(c *schedules.Change) {
		c.PushRegular, c.Schedule.WaitingRegular = Waiting(schedules.TriggerSchedule, 0, h.now(), 1), 1
	})
	check("a regular tick waits", h.now().Add(store.SafetyLook))
	h.clock.Advance(time.Second)
	h.modify(ref)
	check("looked at again", h.now().Add(store.SafetyLook))
	h.modify(ref, func(c *schedules.Change) { c.More = true })
	check("waiting and more", h.now())
	h.modify(ref, func(c *schedules.Change) {
		c.PopRegular, c.Schedule.WaitingRegular = 1, 0
		c.PushManual, c.Schedule.WaitingManual = Waiting(schedules.TriggerManual, 1, h.now(), 1), 1
	})
	check("a manual tick waits", h.now().Add(store.SafetyLook))
	bf := NewBackfill(ref, "x", h.now())
	h.modify(ref, func(c *schedules.Change) {
		c.PopManual, c.Schedule.WaitingManual = 1, 0
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
	})
	check("a backfill goes on", h.now().Add(store.SafetyLook))
	h.modify(ref, func(c *schedules.Change) { c.Schedule.Backfills = nil })
	check("at rest")
}

func testRunTimers(h *harness) {
	ref := h.create("a")
	far := h.now().Add(24 * time.Hour)
	run := h.start(ref, h.now())
	free := h.free("x", func(r *schedules.Run) { r.Due = h.now().Add(time.Minute) })
	h.same("two runs", runTimers(h.timers(far, 100)), []store.Timer{{RunID: run.ID, Due: run.Due}, {RunID: free.ID, Due: free.Due}})
	h.claim(run.ID, 1)
	h.same("a claimed run has nothing to do", runTimers(h.timers(far, 100)), []store.Timer{{RunID: free.ID, Due: free.Due}})
	c := Transition(h.run(run.ID), h.now())
	c.Run.Status, c.Run.Due, c.Run.Lease = schedules.RunRetrying, h.now().Add(5*time.Second), time.Time{}
	h.noErr("retry", h.CommitRun(h.ctx, c))
	h.same("a retry", runTimers(h.timers(h.now().Add(5*time.Second), 100)), []store.Timer{{RunID: run.ID, Due: c.Run.Due}})
	c = Transition(h.run(run.ID), h.now())
	c.Run.Due = time.Time{}
	h.noErr("no due", h.CommitRun(h.ctx, c))
	h.end(free.ID, schedules.RunCancelled)
	count(h, "at rest", runTimers(h.timers(far, 100)), 0)
}

func testTimersOrder(h *harness) {
	want := map[string]bool{}
	for i := range 20 {
		run := h.free(fmt.Sprint(i), func(r *schedules.Run) { r.Due = h.now().Add(time.Duration((i*7)%20) * time.Second) })
		want[run.ID] = true
	}
	for i := range 20 {
		id := fmt.Sprintf("s%02d", i)
		h.clock.Advance(time.Second)
		h.create(id, func(c *schedules.Change) { c.More = true })
		want[id] = true
	}
	got := h.timers(h.now(), 1000)
	for _, e := range got {
		id := e.RunID + e.Ref.ID
		if !want[id] {
			h.t.Fatalf("%q came twice, or was never written", id)
		}
		delete(want, id)
	}
	if len(want) != 0 {
		h.t.Fatalf("missing: %v", want)
	}
	h.firstOfEachShard(func(shard, limit int) []time.Time {
		list, err := h.DueTimers(h.ctx, shard, h.now(), limit)
		h.noErr("due timers", err)
		return times(list, func(e store.Timer) time.Time { return e.Due })
	})
}

func testLeaseIndex(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	far := h.now().Add(24 * time.Hour)
	count(h, "a pending run", h.leases(far, 10), 0)
	claimed := h.claim(run.ID, 1)
	until := h.now().Add(schedules.Lease)
	if !claimed.Lease.Equal(until) {
		h.t.Fatalf("lease until %s, want %s", claimed.Lease, until)
	}
	count(h, "before it runs out", h.leases(until.Add(-time.Millisecond), 10), 0)
	h.same("when it runs out", h.leases(until, 10), []store.LeaseEntry{{RunID: run.ID, Until: until}})
	h.clock.Advance(5 * time.Second)
	_, err := h.Heartbeat(h.ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}})
	h.noErr("heartbeat", err)
	h.same("renewed", h.leases(far, 10), []store.LeaseEntry{{RunID: run.ID, Until: h.now().Add(schedules.Lease)}})
	if got := h.run(run.ID); !got.Lease.Equal(h.now().Add(schedules.Lease)) || got.Revision != claimed.Revision {
		h.t.Fatalf("after the heartbeat: lease %s, revision %d (was %d)", got.Lease, got.Revision, claimed.Revision)
	}

	// Handed back: no lease. Claimed again, ended: no lease.
	c := Transition(h.run(run.ID), h.now())
	c.Run.Status, c.Run.Dispatch, c.Run.Lease, c.Send = schedules.RunPending, 2, time.Time{}, true
	h.noErr("hand back", h.CommitRun(h.ctx, c))
	count(h, "handed back", h.leases(far, 10), 0)
	h.claim(run.ID, 2)
	count(h, "claimed again", h.leases(far, 10), 1)
	h.end(run.ID, schedules.RunCompleted)
	count(h, "ended", h.leases(far, 10), 0)
}

func testLeaseOrder(h *harness) {
	for i := range 30 {
		run := h.free(fmt.Sprint(i))
		h.claim(run.ID, 1)
		h.clock.Advance(time.Second)
	}
	count(h, "the first ten", h.leases(Epoch.Add(schedules.Lease+9*time.Second), 1000), 10)
	h.firstOfEachShard(func(shard, limit int) []time.Time {
		list, err := h.ExpiredLeases(h.ctx, shard, h.now().Add(time.Hour), limit)
		h.noErr("expired leases", err)
		return times(list, func(e store.LeaseEntry) time.Time { return e.Until })
	})
}

// listener collects wakes in the background until the test ends.
type listener struct {
	mu    sync.Mutex
	wakes []store.Wake
	more  chan struct{}
}

func (l *listener) wake(w store.Wake) {
	l.mu.Lock()
	l.wakes = append(l.wakes, w)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *listener) has(match func(store.Wake) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wakes {
		if match(w) {
			return true
		}
	}
	return false
}

func (l *listener) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakes = nil
}

// testWakes repeats each act until its wake is seen, for a wake may be lost (and the listener takes a moment to be there).
func testWakes(h *harness) {
	ctx, cancel := context.WithCancel(h.ctx)
	l := &listener{more: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Listen(ctx, l.wake); err != nil && ctx.Err() == nil {
			h.t.Errorf("Listen ended: %v", err)
		}
	})
	defer wg.Wait()
	defer cancel()

	seen := func(what string, match func(store.Wake) bool, act func(try int)) {
		h.t.Helper()
		l.clear()
		deadline := time.After(20 * time.Second)
		for try := 0; ; try++ {
			act(try)
			again := time.After(250 * time.Millisecond)
		wait:
			for {
				if l.has(match) {
					return
				}
				select {
				case <-l.more:
				case <-again:
					break wait
				case <-deadline:
					h.t.Fatalf("%s: no wake; got %+v", what, l.wakes)
				}
			}
		}
	}
	valid := func(w store.Wake) bool { return w.Shard >= -1 && w.Shard < h.Shards() }
	ticks := func(w store.Wake) bool { return valid(w) && w.Ticks }
	timers := func(w store.Wake) bool { return valid(w) && w.Timers }

	seen("create", ticks, func(try int) { h.create(fmt.Sprintf("c%d", try)) })
	ref := h.create("a")
	seen("next tick moved", ticks, func(try int) {
		h.modify(ref, func(c *schedules.Change) {
			c.Schedule.NextDue = h.now().Add(time.Second - time.Duration(try)*time.Millisecond)
		})
	})
	seen("more to decide", timers, func(int) { h.modify(ref, func(c *schedules.Change) { c.More = true }) })
	seen("a run starts", timers, func(try int) { h.start(ref, h.now().Add(time.Duration(try)*time.Second)) })
	seen("a run without a schedule", timers, func(try int) { h.free(fmt.Sprint("free", try)) })
	h.modify(ref, func(c *schedules.Change) { c.Schedule.WakeOnEnd = true })
	seen("the end of a run", timers, func(try int) {
		run := h.start(ref, h.now().Add(time.Hour+time.Duration(try)*time.Second))
		h.claim(run.ID, 1)
		l.clear()
		h.end(run.ID, schedules.RunCompleted)
	})
	run := h.start(ref, h.now().Add(3*time.Hour))
	seen("a dispatch", timers, func(int) {
		c := Transition(h.run(run.ID), h.now())
		c.Run.Dispatch++
		c.Send = true
		h.noErr("send", h.CommitRun(h.ctx, c))
	})
	other := h.start(ref, h.now().Add(4*time.Hour))
	seen("a cancel request", timers, func(try int) {
		id := other.ID
		if try > 0 {
			id = h.start(ref, h.now().Add(5*time.Hour+time.Duration(try)*time.Second)).ID
		}
		h.modify(ref, func(c *schedules.Change) {
			c.Cancel = []schedules.CancelRequest{{RunID: id, Reason: "x", Deadline: c.Now.Add(time.Minute)}}
		})
	})
}

func testListenEnds(h *harness) {
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	go func() { done <- h.Listen(ctx, func(store.Wake) {}) }()
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			h.t.Errorf("Listen ends with %v", err)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatal("Listen goes on after its context has ended")
	}
}
