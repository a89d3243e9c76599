package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var runCases = []testCase{
	{"create is idempotent", testCreateRun},
	{"racing creates: one is new", testCreateRunRace},
	{"every field comes back", testRunFields},
	{"claim", testClaim},
	{"racing claims: one wins", testClaimRace},
	{"claim again after a retry", testClaimRetry},
	{"heartbeat", testHeartbeat},
	{"a transition by revision", testCommitRun},
	{"racing transitions: one wins", testCommitRunRace},
	{"ended is ended", testEnded},
	{"a renewed lease is not shortened", testLeaseKept},
}

var endCases = []testCase{
	{"counters", testEndCounters},
	{"anchor", testEndAnchor},
	{"wake", testEndWake},
	{"backfill", testEndBackfill},
	{"a run without a schedule", testEndFree},
	{"decisions and ends at once", testEndsAndDecisions},
}

func testCreateRun(h *harness) {
	run := FreeRun("flow", "seed", h.now())
	_, err := h.GetRun(h.ctx, run.ID)
	h.wantErr("before", err, store.ErrNotFound)
	got, created, err := h.CreateRun(h.ctx, run)
	if err != nil || !created {
		h.t.Fatalf("create: %v, %v", created, err)
	}
	h.same("created", got, run)
	h.same("read", h.run(run.ID), run)
	msg := []store.Message{{RunID: run.ID, Dispatch: 1, Queue: run.Queue}}
	h.same("outbox", h.unsent(h.now()), msg)
	h.noErr("strike off", h.StrikeOff(h.ctx, msg...))

	claimed := h.claim(run.ID, 1)
	other := run
	other.Workflow, other.Input = "other", json.RawMessage(`2`)
	got, created, err = h.CreateRun(h.ctx, other)
	if err != nil || created {
		h.t.Fatalf("create again: %v, %v", created, err)
	}
	h.same("as it is", got, claimed)
	h.same("unchanged", h.run(run.ID), claimed)
	count(h, "no second message", h.unsent(h.now().Add(time.Hour)), 0)
	_, err = h.GetRun(h.ctx, "not an id")
	h.wantErr("what is no id", err, store.ErrNotFound)
}

func testCreateRunRace(h *harness) {
	var created atomic.Int64
	for _, err := range race(16, func(i int) error {
		run := FreeRun("flow", "one", h.now())
		_, isNew, err := h.CreateRun(h.ctx, run)
		if isNew {
			created.Add(1)
		}
		return err
	}) {
		h.noErr("create", err)
	}
	if created.Load() != 1 {
		h.t.Fatalf("%d creators were told that the run is new", created.Load())
	}
	count(h, "messages", h.unsent(h.now()), 1)
}

func testRunFields(h *harness) {
	at := func(n int) time.Time { return h.now().Add(time.Duration(n)*time.Hour + 3*time.Millisecond) }
	run := h.free("x", func(r *schedules.Run) {
		r.Queue, r.Nominal, r.Input = "fast", at(-5), json.RawMessage(`{"big":12345678901234567890}`)
		r.Options = &schedules.RunOptions{
			MaxRetries: 3, Backoff: schedules.Backoff{Initial: schedules.Duration(time.Second), Factor: 2.5, Max: schedules.Duration(time.Hour), Jitter: 0.25},
			Timeout: schedules.Duration(time.Minute), MaxRecoveries: 4, Queue: "own",
		}
	})
	c := Transition(run, h.now())
	c.Run.RunProgress = schedules.RunProgress{
		Status: schedules.RunRunning, Attempt: 2, Dispatch: 5, Sent: true, Recoveries: 1, Returns: 6, Worker: "w", Token: "t", StartedAt: at(1), EndedAt: at(2), Lease: at(3),
		Due: at(4), CancelAt: at(5), CancelDeadline: at(6), CancelReason: "why", Result: json.RawMessage(`[null,{"x":1.50}]`),
		Error: &schedules.RunError{Message: "m\n2", Kind: schedules.ErrorPanic, Stack: "s"}, Revision: run.Revision + 1,
	}
	h.noErr("commit", h.CommitRun(h.ctx, c))
	h.same("run", h.run(run.ID), c.Run)
	list, _, err := h.ListRuns(h.ctx, store.RunFilter{}, store.Page{})
	h.noErr("list", err)
	count(h, "listed", list, 1)
	h.same("listed", list[0], c.Run)

	// A scheduled run, too, and what is cleared is gone.
	ref := h.create("a")
	sched := h.start(ref, at(-1))
	h.same("scheduled run", h.run(sched.ID), sched)
	c = Transition(c.Run, h.now())
	c.Run.RunProgress = schedules.RunProgress{Status: schedules.RunPending, Attempt: 1, Dispatch: 6, Revision: c.Run.Revision}
	h.noErr("clear", h.CommitRun(h.ctx, c))
	h.same("cleared run", h.run(run.ID), c.Run)
}

func testClaim(h *harness) {
	run := h.free("x")
	claim := func(dispatch int, worker, token string) (schedules.Run, error) {
		return h.Claim(h.ctx, run.ID, dispatch, store.Claim{Worker: worker, Token: token})
	}
	_, err := claim(0, "w", "t0")
	h.wantErr("an older dispatch", err, store.ErrStale)
	_, err = claim(2, "w", "t0")
	h.wantErr("a dispatch to come", err, store.ErrStale)
	_, err = h.Claim(h.ctx, schedules.FreeRunID("never"), 1, store.Claim{Worker: "w", Token: "t"})
	h.wantErr("an unknown run", err, store.ErrNotFound)
	h.same("untouched", h.run(run.ID), run)

	now := h.clock.Advance(time.Second)
	want := run
	want.Status, want.Worker, want.Token, want.StartedAt, want.Lease = schedules.RunRunning, "w1", "t1", now, now.Add(schedules.Lease)
	want.Due, want.Revision = time.Time{}, run.Revision+1
	got, err := claim(1, "w1", "t1")
	h.noErr("claim", err)
	h.same("claimed", got, want)
	h.same("read", h.run(run.ID), want)

	_, err = claim(1, "w2", "t2")
	h.wantErr("claimed by another", err, store.ErrStale)
	_, err = claim(1, "w1", "t3")
	h.wantErr("the same worker, another claim", err, store.ErrStale)
	got, err = claim(1, "w1", "t1")
	h.noErr("the same claim again", err)
	if got.ID != run.ID || got.Status != schedules.RunRunning || got.Revision != want.Revision || !got.StartedAt.Equal(now) {
		h.t.Fatalf("the same claim again: %+v", got)
	}
	h.wantErr("a transition computed before the claim", h.CommitRun(h.ctx, Transition(run, now)), store.ErrConflict)

	h.end(run.ID, schedules.RunCompleted)
	_, err = claim(1, "w1", "t1")
	h.wantErr("ended", err, store.ErrStale)
	_, err = claim(1, "w1", "t4")
	h.wantErr("ended", err, store.ErrStale)
}

func testClaimRace(h *harness) {
	for round := range 5 {
		run := h.free(fmt.Sprint(round))
		errs := race(16, func(i int) error {
			_, err := h.Claim(h.ctx, run.ID, 1, store.Claim{Worker: fmt.Sprint("w", i), Token: fmt.Sprint("t", i)})
			return err
		})
		won := h.oneWins(errs, store.ErrStale)
		if got := h.run(run.ID); got.Worker != fmt.Sprint("w", won) || got.Token != fmt.Sprint("t", won) {
			h.t.Fatalf("w%d won, the run has %s %s", won, got.Worker, got.Token)
		}
	}
}

func testClaimRetry(h *harness) {
	run := h.free("x")
	first := h.claim(run.ID, 1)
	c := Transition(first, h.now())
	c.Run.Status, c.Run.Attempt, c.Run.Lease, c.Run.Due = schedules.RunRetrying, 2, time.Time{}, h.now().Add(time.Second)
	h.noErr("retrying", h.CommitRun(h.ctx, c))
	_, err := h.Claim(h.ctx, run.ID, 1, store.Claim{Worker: "w1", Token: "token-" + run.ID})
	h.wantErr("claim of a retrying run", err, store.ErrStale)
	h.clock.Advance(time.Second)
	c = Transition(h.run(run.ID), h.now())
	c.Run.Status, c.Run.Dispatch, c.Send = schedules.RunPending, 2, true
	h.noErr("sent anew", h.CommitRun(h.ctx, c))
	_, err = h.Claim(h.ctx, run.ID, 1, store.Claim{Worker: "w1", Token: "token-" + run.ID})
	h.wantErr("claim of the old dispatch", err, store.ErrStale)
	second := h.claim(run.ID, 2)
	if !second.StartedAt.Equal(first.StartedAt) || second.Attempt != 2 || !second.Lease.Equal(h.now().Add(schedules.Lease)) {
		h.t.Fatalf("second claim: %+v", second.RunProgress)
	}
}

func testHeartbeat(h *harness) {
	pending, running, asked, moved, ended := h.free("pending"), h.free("running"), h.free("asked"), h.free("moved"), h.free("ended")
	for _, r := range []schedules.Run{running, asked, moved, ended} {
		h.claim(r.ID, 1)
	}
	c := Transition(h.run(asked.ID), h.now())
	c.Run.CancelAt, c.Run.CancelReason, c.Run.CancelDeadline = h.now(), "enough", h.now().Add(time.Minute)
	h.noErr("ask", h.CommitRun(h.ctx, c))
	c = Transition(h.run(moved.ID), h.now())
	c.Run.Status, c.Run.Dispatch, c.Run.Lease = schedules.RunPending, 2, time.Time{}
	h.noErr("move", h.CommitRun(h.ctx, c))
	h.claim(moved.ID, 2)
	h.end(ended.ID, schedules.RunFailed)

	now := h.clock.Advance(2 * time.Second)
	movedBefore := h.run(moved.ID)
	beats := []store.Heartbeat{
		{RunID: ended.ID, Dispatch: 1}, {RunID: running.ID, Dispatch: 1}, {RunID: schedules.FreeRunID("never"), Dispatch: 1}, {RunID: asked.ID, Dispatch: 1},
		{RunID: moved.ID, Dispatch: 1}, {RunID: pending.ID, Dispatch: 1},
	}
	answers, err := h.Heartbeat(h.ctx, beats)
	h.noErr("heartbeat", err)
	lost := store.HeartbeatAnswer{Lost: true}
	h.same("answers", answers, []store.HeartbeatAnswer{lost, {}, lost, {Cancel: true, CancelReason: "enough"}, lost, lost})
	for _, id := range []string{running.ID, asked.ID} {
		if got := h.run(id); !got.Lease.Equal(now.Add(schedules.Lease)) {
			h.t.Fatalf("%s: lease until %s, want %s", id, got.Lease, now.Add(schedules.Lease))
		}
	}
	h.same("held by another dispatch", h.run(moved.ID), movedBefore)
	if got := h.run(ended.ID); !got.Lease.IsZero() {
		h.t.Fatalf("an ended run has a lease: %s", got.Lease)
	}
	answers, err = h.Heartbeat(h.ctx, nil)
	if err != nil || len(answers) != 0 {
		h.t.Fatalf("no heartbeats: %v, %v", answers, err)
	}

	// A lease that ran out unnoticed is renewed.
	now = h.clock.Advance(time.Minute)
	answers, err = h.Heartbeat(h.ctx, []store.Heartbeat{{RunID: running.ID, Dispatch: 1}})
	h.noErr("late heartbeat", err)
	h.same("late heartbeat", answers, []store.HeartbeatAnswer{{}})
	if got := h.run(running.ID); !got.Lease.Equal(now.Add(schedules.Lease)) {
		h.t.Fatalf("late: lease until %s", got.Lease)
	}
}

func testCommitRun(h *harness) {
	run := h.free("x")
	h.noErr("strike off", h.StrikeOff(h.ctx, h.unsent(h.now())...))
	c := Transition(run, h.now())
	c.Run.Dispatch, c.Send = 2, true
	c.Events = []schedules.Event{{At: h.now(), Kind: "retry", Message: "again", Attrs: map[string]any{"in": "5s"}}}
	h.noErr("commit", h.CommitRun(h.ctx, c))
	h.same("run", h.run(run.ID), c.Run)
	h.same("message", h.unsent(h.now()), []store.Message{{RunID: run.ID, Dispatch: 2, Queue: run.Queue}})
	events, _, err := h.Events(h.ctx, run.ID, 0, 10)
	h.noErr("events", err)
	h.same("events", events, c.Events)

	stale := Transition(run, h.now())
	stale.Run.Worker, stale.Send, stale.Events = "stale", true, c.Events
	h.wantErr("an old revision", h.CommitRun(h.ctx, stale), store.ErrConflict)
	stale.Expect = 99
	h.wantErr("a revision to come", h.CommitRun(h.ctx, stale), store.ErrConflict)
	h.same("unchanged", h.run(run.ID), c.Run)
	count(h, "no second message", h.unsent(h.now()), 1)
	events, _, err = h.Events(h.ctx, run.ID, 0, 10)
	h.noErr("events", err)
	count(h, "no second event", events, 1)

	never := FreeRun("flow", "never", h.now())
	h.wantErr("an unknown run", h.CommitRun(h.ctx, Transition(never, h.now())), store.ErrNotFound)
	_, err = h.GetRun(h.ctx, never.ID)
	h.wantErr("and it is not created", err, store.ErrNotFound)
}

func testCommitRunRace(h *harness) {
	ref := h.create("a")
	for round := range 5 {
		run := h.start(ref, h.now().Add(time.Duration(round)*time.Second))
		claimed := h.claim(run.ID, 1)
		statuses := []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled, schedules.RunRetrying}
		errs := race(16, func(i int) error {
			c := End(claimed, statuses[i%4], h.now())
			c.Run.Worker = fmt.Sprint("w", i)
			return h.CommitRun(h.ctx, c)
		})
		won := h.oneWins(errs, store.ErrConflict)
		got := h.run(run.ID)
		if got.Status != statuses[won%4] || got.Worker != fmt.Sprint("w", won) {
			h.t.Fatalf("racer %d won, the run is %s by %s", won, got.Status, got.Worker)
		}
		if !got.Status.Ended() {
			h.end(run.ID, schedules.RunFailed)
		}
	}
	s := h.load(ref).Schedule
	if s.Active != 0 || s.Total != 5 || s.Successful+s.Failed+s.Cancelled != 5 {
		h.t.Fatalf("counters after 5 runs: %+v", s.Tally)
	}
}

func testEnded(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	h.end(run.ID, schedules.RunCompleted)
	ended, tally := h.run(run.ID), h.load(ref).Schedule
	for _, status := range []schedules.RunStatus{schedules.RunFailed, schedules.RunPending, schedules.RunCompleted} {
		c := Transition(ended, h.now())
		c.Run.Status = status
		if err := h.CommitRun(h.ctx, c); err == nil {
			h.t.Fatalf("an ended run became %s", status)
		}
	}
	h.same("run", h.run(run.ID), ended)
	h.same("schedule", h.load(ref).Schedule, tally)
}

func testLeaseKept(h *harness) {
	run := h.free("x")
	h.claim(run.ID, 1)
	before := h.run(run.ID)
	now := h.clock.Advance(3 * time.Second)
	_, err := h.Heartbeat(h.ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}})
	h.noErr("heartbeat", err)
	// Asked to cancel by one that read the run before the heartbeat: the revision did not move, the lease must not go back.
	c := Transition(before, now)
	c.Run.CancelAt, c.Run.CancelReason = now, "x"
	h.noErr("cancel", h.CommitRun(h.ctx, c))
	if got := h.run(run.ID); !got.Lease.Equal(now.Add(schedules.Lease)) || got.CancelReason != "x" {
		h.t.Fatalf("lease until %s, want %s", got.Lease, now.Add(schedules.Lease))
	}
	h.same("index", h.leases(now.Add(time.Hour), 10), []store.LeaseEntry{{RunID: run.ID, Until: now.Add(schedules.Lease)}})
}

func testEndCounters(h *harness) {
	ref := h.create("a")
	var runs []schedules.Run
	for i := range 3 {
		runs = append(runs, h.start(ref, h.now().Add(time.Duration(i)*time.Second)))
	}
	before := h.load(ref).Schedule
	now := h.clock.Advance(time.Minute)
	want := before
	for i, status := range []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled} {
		h.end(runs[i].ID, status)
		want.Active--
		want.Revision++
		switch status {
		case schedules.RunCompleted:
			want.Successful, want.LastSuccessID = 1, runs[i].ID
		case schedules.RunFailed:
			want.Failed = 1
		default:
			want.Cancelled, want.AnchorEnd = 1, now
		}
		h.same("after "+string(status), h.load(ref).Schedule, want)
	}
	if want.Total != want.Successful+want.Failed+want.Cancelled+want.Active {
		h.t.Fatalf("the sum is wrong: %+v", want.Tally)
	}
	count(h, "timers of the schedule", scheduleTimers(h.timers(now.Add(time.Hour), 10)), 0)

	// A decision made before an end is refused after it.
	run := h.start(ref, h.now().Add(time.Hour))
	c := h.next(ref)
	h.end(run.ID, schedules.RunCompleted)
	h.wantErr("decided before the end", h.commit(c), store.ErrConflict)
}

func testEndAnchor(h *harness) {
	ref := h.create("a")
	first := h.start(ref, h.now())
	second := h.start(ref, h.now().Add(time.Second))
	h.clock.Advance(time.Second)
	h.end(first.ID, schedules.RunCompleted)
	if s := h.load(ref).Schedule; !s.AnchorEnd.IsZero() || s.AnchorRunID != second.ID {
		h.t.Fatalf("the end of an earlier run moved the anchor: %s %s", s.AnchorRunID, s.AnchorEnd)
	}
	manual := Start(new(schedules.Change), schedules.Tick{}) // only for its shape
	h.modify(ref, func(c *schedules.Change) {
		manual = Start(c, schedules.Tick{Trigger: schedules.TriggerManual, Nominal: h.now(), Nonce: "n"})
	})
	h.end(manual.ID, schedules.RunCompleted)
	if s := h.load(ref).Schedule; !s.AnchorEnd.IsZero() || s.LastSuccessID != manual.ID {
		h.t.Fatalf("after a manual run: anchor end %s, last success %s", s.AnchorEnd, s.LastSuccessID)
	}
	c := End(h.run(second.ID), schedules.RunFailed, h.now())
	c.Run.EndedAt = h.now().Add(-300 * time.Millisecond)
	h.noErr("end", h.CommitRun(h.ctx, c))
	if s := h.load(ref).Schedule; !s.AnchorEnd.Equal(c.Run.EndedAt) || s.LastSuccessID != manual.ID {
		h.t.Fatalf("anchor end %s, want %s; last success %s", s.AnchorEnd, c.Run.EndedAt, s.LastSuccessID)
	}
}

func testEndWake(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	h.modify(ref, func(c *schedules.Change) {
		c.Schedule.WakeOnEnd = true
		c.PushRegular, c.Schedule.WaitingRegular = Waiting(schedules.TriggerSchedule, 0, h.now(), 1), 1
	})
	safety := h.now().Add(store.SafetyLook)
	h.same("while it runs", scheduleTimers(h.timers(safety, 10)), []store.Timer{{Ref: ref, Due: safety}})
	now := h.clock.Advance(5 * time.Second)
	c := Transition(h.run(run.ID), now)
	c.Run.Status, c.Run.Due = schedules.RunRetrying, now.Add(time.Minute)
	h.noErr("retry", h.CommitRun(h.ctx, c))
	h.same("a retry is no end", scheduleTimers(h.timers(safety, 10)), []store.Timer{{Ref: ref, Due: safety}})
	h.end(run.ID, schedules.RunFailed)
	h.same("when it has ended", scheduleTimers(h.timers(safety, 10)), []store.Timer{{Ref: ref, Due: now}})

	// A look that came due before the end, and found nothing to do, does not hide the end: what is due moves to now, so that it is seen to be another.
	run = h.start(ref, h.now().Add(time.Hour))
	h.modify(ref, func(*schedules.Change) {})
	looked := h.now().Add(store.SafetyLook)
	h.same("a look", scheduleTimers(h.timers(looked, 10)), []store.Timer{{Ref: ref, Due: looked}})
	now = h.clock.Advance(2 * store.SafetyLook)
	h.end(run.ID, schedules.RunFailed)
	h.same("after a look", scheduleTimers(h.timers(now, 10)), []store.Timer{{Ref: ref, Due: now}})

	// Deleted: the end still counts.
	run = h.start(ref, h.now().Add(2*time.Hour))
	h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	h.end(run.ID, schedules.RunCompleted)
	if s := h.load(ref).Schedule; s.Active != 0 || s.Successful != 1 || s.Failed != 2 {
		h.t.Fatalf("deleted schedule: %+v", s.Tally)
	}
}

func testEndBackfill(h *harness) {
	ref := h.create("a")
	bf := NewBackfill(ref, "x", h.now())
	statuses := []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled, schedules.RunCompleted}
	var runs []schedules.Run
	h.modify(ref, func(c *schedules.Change) {
		for i := range statuses {
			runs = append(runs, Start(c, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: bf.Start.Add(time.Duration(i) * time.Minute), Backfill: bf.ID}))
		}
		bf.Active, bf.Started, bf.Cursor = int64(len(statuses)), int64(len(statuses)), runs[len(runs)-1].Nominal
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
	})
	for i, status := range statuses {
		h.end(runs[i].ID, status)
		s := h.load(ref).Schedule
		if left := int64(len(statuses) - i - 1); s.Active != left || s.ActiveBackfill != left {
			h.t.Fatalf("after %d ends: %d active, %d of backfills", i+1, s.Active, s.ActiveBackfill)
		}
	}
	want := bf
	want.BackfillTally = schedules.BackfillTally{Successful: 2, Failed: 1, Cancelled: 1}
	got, err := h.Backfill(h.ctx, bf.ID)
	h.noErr("backfill", err)
	h.same("backfill", got, want)
	st := h.load(ref)
	h.same("in the state", st.Backfill, want)
	if s := st.Schedule; s.Successful != 2 || s.Failed != 1 || s.Cancelled != 1 || !s.AnchorEnd.IsZero() || s.LastSuccessID != runs[3].ID {
		h.t.Fatalf("schedule: %+v", s.Tally)
	}

	// A regular run's end is none of the backfill's.
	run := h.start(ref, h.now())
	h.end(run.ID, schedules.RunCompleted)
	got, err = h.Backfill(h.ctx, bf.ID)
	h.noErr("backfill", err)
	h.same("untouched", got, want)
}

func testEndFree(h *harness) {
	ref := h.create("a", func(c *schedules.Change) { c.Schedule.WakeOnEnd = true })
	before := h.load(ref)
	run := h.free("x")
	h.claim(run.ID, 1)
	h.end(run.ID, schedules.RunCompleted)
	if got := h.run(run.ID); got.Status != schedules.RunCompleted || string(got.Result) != `"done"` {
		h.t.Fatalf("run: %+v", got)
	}
	h.same("an unrelated schedule", h.load(ref), before)
	count(h, "timers", h.timers(h.now().Add(time.Hour), 10), 0)
}

// testEndsAndDecisions lets runs end while decisions are made: nothing of either may be lost.
func testEndsAndDecisions(h *harness) {
	const runs, decisions = 40, 40
	ref := h.create("a", func(c *schedules.Change) { c.Schedule.WakeOnEnd = true })
	var started []schedules.Run
	h.modify(ref, func(c *schedules.Change) {
		for i := range runs {
			started = append(started, Start(c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i) * time.Second)}))
		}
	})
	decide := func() error {
		for {
			loaded, _, err := h.Load(h.ctx, ref)
			if err != nil {
				return err
			}
			if loaded[0].Err != nil {
				return loaded[0].Err
			}
			c := Next(loaded[0].State.Schedule, h.now())
			c.Schedule.Skipped++
			if err := h.Commit(h.ctx, c)[0]; !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	errs := race(8, func(i int) error {
		for n := range runs / 4 {
			if i%2 == 0 {
				run, err := h.GetRun(h.ctx, started[i/2*(runs/4)+n].ID)
				if err != nil {
					return err
				}
				if err := h.CommitRun(h.ctx, End(run, schedules.RunCompleted, h.now())); err != nil {
					return err
				}
			} else if err := decide(); err != nil {
				return err
			}
		}
		return nil
	})
	for i, err := range errs {
		if err != nil {
			h.t.Fatalf("racer %d: %v", i, err)
		}
	}
	s := h.load(ref).Schedule
	if s.Active != 0 || s.Successful != runs || s.Skipped != decisions || s.Revision != 2+runs+decisions {
		h.t.Fatalf("lost updates: revision %d, %+v", s.Revision, s.Tally)
	}
}
