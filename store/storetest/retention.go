package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var retentionCases = []testCase{
	{"runs by age", testTrimRunAge},
	{"runs by count", testTrimRunCount},
	{"active runs stay", testTrimActive},
	{"runs without a schedule", testTrimFree},
	{"fates by age", testTrimFateAge},
	{"fates by when they were decided", testTrimFateDecided},
	{"fates by count", testTrimFateCount},
	{"backfills", testTrimBackfills},
	{"deleted schedules", testTrimDeleted},
	{"many schedules in turn", testTrimMany},
	{"nothing to remove", testTrimNothing},
}

var storeCases = []testCase{
	{"says what it is", testDescribe},
	{"clock", testClock},
	{"inspection", testInspect},
	{"closing", testClose},
	{"a context that has ended", testCancelled},
}

// trim trims every shard until there is nothing more, going round often enough for every schedule to have had its turn.
func (h *harness) trim(l store.Limits) {
	h.t.Helper()
	for shard := range h.Shards() {
		for calls, quiet := 0, 0; quiet < 3; calls++ {
			more, err := h.Trim(h.ctx, shard, l)
			h.noErr("trim", err)
			if calls > 10_000 {
				h.t.Fatalf("shard %d: trimming does not end", shard)
			}
			if more {
				quiet = 0
			} else {
				quiet++
			}
		}
	}
}

// history starts and ends n runs a second apart, the first with status first, the others failed.
func (h *harness) history(ref schedules.Ref, n int, first schedules.RunStatus) []string {
	h.t.Helper()
	var ids []string
	for i := range n {
		run := h.start(ref, h.now())
		h.noErr("strike off", h.StrikeOff(h.ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}))
		h.claim(run.ID, 1)
		h.noErr("step", h.RecordStep(h.ctx, run.ID, 1, schedules.Step{Name: "s", Key: "s#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: h.now()}))
		h.noErr("event", h.AppendEvents(h.ctx, run.ID, event(h, i)))
		status := schedules.RunFailed
		if i == 0 {
			status = first
		}
		h.end(run.ID, status)
		ids = append(ids, run.ID)
		h.clock.Advance(time.Second)
	}
	return ids
}

// wantRuns fails unless exactly these runs are left, in every list and by themselves.
func (h *harness) wantRuns(all []string, left ...string) {
	h.t.Helper()
	want := slices.Sorted(slices.Values(left))
	for _, f := range []store.RunFilter{{}, {Workflow: "flow"}} {
		var got []string
		for _, r := range pages(h, 50, func(p store.Page) ([]schedules.Run, string, error) { return h.ListRuns(h.ctx, f, p) }) {
			got = append(got, r.ID)
		}
		slices.Sort(got)
		h.wantIDs(fmt.Sprintf("runs left %+v", f), got, want...)
	}
	for _, id := range all {
		_, err := h.GetRun(h.ctx, id)
		if slices.Contains(left, id) {
			h.noErr("a run that stays", err)
			continue
		}
		h.wantErr("a run that is gone", err, store.ErrNotFound)
		if steps, err := h.Steps(h.ctx, id); len(steps) != 0 || err != nil && !errors.Is(err, store.ErrNotFound) {
			h.t.Fatalf("steps of a run that is gone: %v, %v", steps, err)
		}
		if events, _, err := h.Events(h.ctx, id, 0, 10); len(events) != 0 || err != nil && !errors.Is(err, store.ErrNotFound) {
			h.t.Fatalf("events of a run that is gone: %v, %v", events, err)
		}
	}
}

func limits(mod func(l *store.Limits)) store.Limits {
	l := store.DefaultLimits()
	mod(&l)
	return l
}

func testTrimRunAge(h *harness) {
	ref, other := h.create("a"), h.create("b")
	ids := h.history(ref, 10, schedules.RunCompleted)
	l := limits(func(l *store.Limits) { l.RunAge, l.RunKeep = time.Hour, 3 })
	h.trim(l)
	h.wantRuns(ids, ids...)
	before := h.load(ref).Schedule
	h.clock.Advance(2 * time.Hour)
	young := h.history(other, 1, schedules.RunFailed)
	h.trim(l)
	// The last three, and the last success.
	h.wantRuns(append(ids, young...), ids[0], ids[7], ids[8], ids[9], young[0])
	h.same("the schedule", h.load(ref).Schedule, before)
	// A later success lets the earlier one go.
	more := h.history(ref, 1, schedules.RunCompleted)
	h.trim(l)
	h.wantRuns(append(ids, young...), ids[8], ids[9], more[0], young[0])
}

func testTrimRunCount(h *harness) {
	ref := h.create("a")
	ids := h.history(ref, 12, schedules.RunCompleted)
	h.trim(limits(func(l *store.Limits) { l.RunCount, l.RunKeep = 5, 2 }))
	h.wantRuns(ids, append([]string{ids[0]}, ids[7:]...)...)
	h.trim(limits(func(l *store.Limits) { l.RunCount, l.RunKeep = 2, 4 }))
	h.wantRuns(ids, append([]string{ids[0]}, ids[8:]...)...)
}

func testTrimActive(h *harness) {
	ref := h.create("a")
	pending := h.start(ref, h.now().Add(-time.Hour))
	running := h.start(ref, h.now().Add(-2*time.Hour))
	h.claim(running.ID, 1)
	h.clock.Advance(time.Second)
	ids := h.history(ref, 6, schedules.RunFailed)
	h.clock.Advance(48 * time.Hour)
	h.trim(limits(func(l *store.Limits) { l.RunAge, l.RunCount, l.RunKeep = time.Hour, 3, 2 }))
	h.wantRuns(ids, pending.ID, running.ID, ids[4], ids[5])
	if got := h.run(running.ID); got.Status != schedules.RunRunning {
		h.t.Fatalf("the running run is %s", got.Status)
	}
	s := h.load(ref).Schedule
	if s.Active != 2 || s.Total != 8 || s.Failed != 6 {
		h.t.Fatalf("counters: %+v", s.Tally)
	}
	h.end(running.ID, schedules.RunCompleted)
	if s := h.load(ref).Schedule; s.Active != 1 || s.Successful != 1 {
		h.t.Fatalf("counters after the end: %+v", s.Tally)
	}
}

func testTrimFree(h *harness) {
	var ids []string
	for i := range 6 {
		run := h.free(fmt.Sprint(i))
		h.noErr("strike off", h.StrikeOff(h.ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}))
		if i < 4 {
			h.end(run.ID, schedules.RunCompleted)
		}
		ids = append(ids, run.ID)
		h.clock.Advance(time.Second)
	}
	l := limits(func(l *store.Limits) { l.FreeRunAge = time.Hour })
	h.trim(l)
	h.wantRuns(ids, ids...)
	h.clock.Advance(2 * time.Hour)
	young := h.free("young")
	h.end(young.ID, schedules.RunFailed)
	h.trim(l)
	h.wantRuns(append(ids, young.ID), ids[4], ids[5], young.ID)
}

// fates writes n skipped ticks a second apart, the last just now, and gives their keys, newest first.
func (h *harness) fates(ref schedules.Ref, n int) []string {
	h.t.Helper()
	var keys []string
	for i := 0; i < n; i += schedules.BatchLimit {
		h.modify(ref, func(c *schedules.Change) {
			for range min(schedules.BatchLimit, n-i) {
				tick := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.clock.Advance(time.Second)}
				c.Fates = append(c.Fates, schedules.Fate{Tick: tick, DecidedAt: tick.Nominal, Fate: schedules.FateSkipped})
				keys = append(keys, tick.Key())
			}
		})
	}
	slices.Reverse(keys)
	return keys
}

func (h *harness) wantFates(ref schedules.Ref, want []string) {
	h.t.Helper()
	got := pages(h, 100, func(p store.Page) ([]schedules.Fate, string, error) {
		return h.ListFates(h.ctx, ref, store.FateFilter{}, p)
	})
	h.wantIDs("fates left", fateKeys(got), want...)
}

func testTrimFateAge(h *harness) {
	ref := h.create("a")
	old := h.fates(ref, 5)
	newestOld := h.now()
	l := limits(func(l *store.Limits) { l.FateAge = time.Hour })
	h.trim(l)
	h.wantFates(ref, old)
	if s := h.load(ref).Schedule; !s.HistoryFrom.IsZero() {
		h.t.Fatalf("nothing was trimmed, and the history begins at %s", s.HistoryFrom)
	}
	h.clock.Advance(2 * time.Hour)
	young := h.fates(ref, 3)
	oldestYoung := h.now().Add(-2 * time.Second)
	undecided := h.next(ref)
	h.trim(l)
	h.wantFates(ref, young)
	check := func() {
		h.t.Helper()
		if s := h.load(ref).Schedule; !s.HistoryFrom.After(newestOld) || s.HistoryFrom.After(oldestYoung) {
			h.t.Fatalf("the history begins at %s, want after %s and not after %s", s.HistoryFrom, newestOld, oldestYoung)
		}
	}
	check()
	// A decision made on what was read before the trim does not take it back.
	if err := h.commit(undecided); err != nil {
		h.wantErr("commit across a trim", err, store.ErrConflict)
	}
	check()
}

// A backfill of long ago has its history as long as any other.
func testTrimFateDecided(h *harness) {
	ref := h.create("a")
	long := schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: h.now().Add(-365 * 24 * time.Hour), Backfill: "bf_x"}
	old := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(-2 * time.Hour)}
	h.modify(ref, func(c *schedules.Change) {
		c.Fates = []schedules.Fate{
			{Tick: long, DecidedAt: h.now(), Fate: schedules.FateStarted}, {Tick: old, DecidedAt: h.now().Add(-2 * time.Hour), Fate: schedules.FateStarted},
		}
	})
	l := limits(func(l *store.Limits) { l.FateAge = time.Hour })
	h.trim(l)
	h.wantFates(ref, []string{long.Key()})
	h.clock.Advance(2 * time.Hour)
	h.trim(l)
	h.wantFates(ref, nil)
}

func testTrimFateCount(h *harness) {
	ref, other := h.create("a"), h.create("b")
	keys := h.fates(ref, 250)
	few := h.fates(other, 20)
	h.trim(limits(func(l *store.Limits) { l.FateCount = 30 }))
	h.wantFates(ref, keys[:30])
	h.wantFates(other, few)
	if s := h.load(other).Schedule; !s.HistoryFrom.IsZero() {
		h.t.Fatalf("untouched, and the history begins at %s", s.HistoryFrom)
	}
	if s := h.load(ref).Schedule; s.HistoryFrom.IsZero() {
		h.t.Fatal("trimmed, and the history has no beginning")
	}
}

func testTrimBackfills(h *harness) {
	ref := h.create("a")
	done, going := NewBackfill(ref, "done", h.now()), NewBackfill(ref, "going", h.now())
	done.Status, done.EndedAt = schedules.BackfillCompleted, h.now()
	h.modify(ref, func(c *schedules.Change) {
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{done, going}, []string{going.ID}
	})
	l := store.DefaultLimits()
	h.trim(l)
	list, _, err := h.ListBackfills(h.ctx, "", store.Page{})
	h.noErr("list", err)
	count(h, "backfills", list, 2)
	h.clock.Advance(365 * 24 * time.Hour)
	h.trim(l)
	for _, id := range []string{"", "a"} {
		list, _, err = h.ListBackfills(h.ctx, id, store.Page{})
		h.noErr("list", err)
		count(h, "backfills", list, 1)
		h.same("the one that goes on", list[0], going)
	}
	_, err = h.Backfill(h.ctx, done.ID)
	h.wantErr("the ended one", err, store.ErrNotFound)
	h.same("in the state", h.load(ref).Backfill, going)
}

func testTrimDeleted(h *harness) {
	remove := func(c *schedules.Change) {
		c.Schedule.Status, c.Schedule.UpdatedAt, c.Schedule.NextDue = schedules.StatusDeleted, c.Now, time.Time{}
	}
	gone, busy, old := h.create("gone"), h.create("busy"), h.create("again")
	runs := h.history(gone, 3, schedules.RunCompleted)
	h.history(old, 2, schedules.RunFailed)
	h.fates(gone, 3)
	active := h.start(busy, h.now())
	for _, ref := range []schedules.Ref{gone, busy, old} {
		h.modify(ref, remove)
	}
	current := Create("again", "inc2", h.now())
	h.mustCommit(current)
	l := store.DefaultLimits()
	h.trim(l)
	h.load(gone) // too young to go

	h.clock.Advance(365 * 24 * time.Hour)
	h.trim(l)
	loaded, _, err := h.Load(h.ctx, gone, old)
	h.noErr("load", err)
	h.wantErr("deleted", loaded[0].Err, store.ErrNotFound)
	h.wantErr("an old incarnation", loaded[1].Err, store.ErrNotFound)
	_, err = h.Resolve(h.ctx, "gone")
	h.wantErr("resolve", err, store.ErrNotFound)
	got, err := h.Resolve(h.ctx, "again")
	h.noErr("resolve", err)
	h.same("the current incarnation", got, current.Schedule.Ref())
	h.wantRuns(runs, active.ID)
	list, _, err := h.ListSchedules(h.ctx, store.ScheduleFilter{Status: schedules.StatusDeleted}, store.Page{})
	h.noErr("list", err)
	h.wantIDs("deleted ones left", scheduleIDs(list), "busy")
	h.end(active.ID, schedules.RunCompleted)
	if s := h.load(busy).Schedule; s.Active != 0 || s.Successful != 1 {
		h.t.Fatalf("counters: %+v", s.Tally)
	}
	h.clock.Advance(365 * 24 * time.Hour)
	h.trim(l)
	h.wantRuns([]string{active.ID})
	_, err = h.Resolve(h.ctx, "busy")
	h.wantErr("resolve", err, store.ErrNotFound)
	h.create("gone")
}

func testTrimMany(h *harness) {
	var refs []schedules.Ref
	for i := range 120 {
		ref := h.create(fmt.Sprintf("s%03d", i))
		refs = append(refs, ref)
		h.fates(ref, 4)
	}
	h.trim(limits(func(l *store.Limits) { l.FateCount = 1 }))
	for _, ref := range refs {
		fates, _, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{})
		h.noErr("fates", err)
		count(h, "fates of "+ref.ID, fates, 1)
	}
}

func testTrimNothing(h *harness) {
	for shard := range h.Shards() {
		more, err := h.Trim(h.ctx, shard, store.DefaultLimits())
		if err != nil || more {
			h.t.Fatalf("trim of an empty shard: %v, %v", more, err)
		}
	}
}

func testDescribe(h *harness) {
	if d := h.Describe(); d == "" || strings.Contains(d, "\n") {
		h.t.Fatalf("Describe gives %q", d)
	}
	h.noErr("ping", h.Ping(h.ctx))
	if n := h.Shards(); n < 1 {
		h.t.Fatalf("%d shards", n)
	}
}

// testInspect: each finding says something, and what to do unless it is good; nothing is wrong with the store of a test but its server's settings; and a look
// leaves nothing behind that a later one would find.
func testInspect(h *harness) {
	h.create("a")
	for _, records := range []int{0, 1, 1000} {
		list, err := h.Inspect(h.ctx, records)
		h.noErr("inspect", err)
		checks := map[string]bool{}
		for _, f := range list {
			checks[f.Check] = true
			if f.Check == "" || f.Message == "" || strings.ContainsAny(f.Message+f.Remedy, "\n\r") || (f.Remedy == "") != (f.Status == store.FindingOK) {
				h.t.Errorf("finding %+v: wants a check, a message of one line, and a remedy unless it is ok", f)
			}
			if f.Status == store.FindingError || f.Check == "records" && records > 0 && f.Status != store.FindingOK {
				h.t.Errorf("finding of a good store: %+v", f)
			}
		}
		if !checks["records"] {
			h.t.Errorf("nothing is said of records: %+v", list)
		}
	}
}

func testClock(h *harness) {
	h.clock.Advance(1234567 * time.Nanosecond)
	want := h.now().Truncate(time.Millisecond)
	now, err := h.Now(h.ctx)
	h.noErr("now", err)
	if now != want || now.Location() != time.UTC {
		h.t.Fatalf("Now is %v, want %v: whole milliseconds in UTC", now, want)
	}
	if est := h.Estimate(); est.Sub(now).Abs() > time.Minute {
		h.t.Fatalf("Estimate is %v, the clock is at %v", est, now)
	}
}

func testClose(h *harness) {
	ref := h.create("a")
	h.noErr("close", h.Close())
	h.noErr("close again", h.Close())
	if _, err := h.Resolve(h.ctx, "a"); err == nil || errors.Is(err, store.ErrNotFound) {
		h.t.Errorf("resolve after close: %v", err)
	}
	c := Create("b", "inc1", h.now())
	if err := h.Commit(h.ctx, c)[0]; err == nil {
		h.t.Error("commit after close succeeded")
	}
	if _, _, err := h.Load(h.ctx, ref); err == nil {
		h.t.Error("load after close succeeded")
	}
	if err := h.Ping(h.ctx); err == nil {
		h.t.Error("ping after close succeeded")
	}
}

func testCancelled(h *harness) {
	ref := h.create("a")
	c := h.next(ref)
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	if err := h.Commit(ctx, c)[0]; !errors.Is(err, context.Canceled) {
		h.t.Errorf("commit: %v, want %v", err, context.Canceled)
	}
	if _, err := h.GetRun(ctx, schedules.FreeRunID("x")); !errors.Is(err, context.Canceled) {
		h.t.Errorf("get run: %v, want %v", err, context.Canceled)
	}
	if _, _, err := h.Load(ctx, ref); !errors.Is(err, context.Canceled) {
		h.t.Errorf("load: %v, want %v", err, context.Canceled)
	}
	h.mustCommit(c)
}
