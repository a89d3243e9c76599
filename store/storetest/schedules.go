package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var scheduleCases = []testCase{
	{"create and load", testCreateAndLoad},
	{"every field comes back", testEveryField},
	{"an id is taken", testTaken},
	{"delete and create anew", testIncarnations},
	{"conflict writes nothing", testConflict},
	{"racing commits: one wins", testCommitRace},
	{"many changes answer in order", testManyChanges},
	{"two changes of one schedule", testTwoOfOne},
	{"ahead of the clock", testClockLead},
	{"waiting ticks", testWaiting},
	{"heads are bounded", testHeads},
	{"active runs", testActiveRuns},
	{"active runs of a backfill come later", testActiveBackfill},
	{"the first backfill is loaded", testBackfillHead},
	{"a run that exists is left as it is", testStartTwice},
	{"a full batch", testFullBatch},
	{"large values", testLargeValues},
}

func testCreateAndLoad(h *harness) {
	_, err := h.Resolve(h.ctx, "a")
	h.wantErr("resolve before", err, store.ErrNotFound)

	c := Create("a", "inc1", h.now())
	h.mustCommit(c)
	ref, err := h.Resolve(h.ctx, "a")
	h.noErr("resolve", err)
	h.same("resolved", ref, schedules.Ref{ID: "a", Incarnation: "inc1"})

	b := h.create("b")
	got, now, err := h.Load(h.ctx, b, schedules.Ref{ID: "none", Incarnation: "inc1"}, ref, schedules.Ref{ID: "a", Incarnation: "inc2"})
	h.noErr("load", err)
	if !now.Equal(h.now()) || now.Location() != time.UTC {
		h.t.Fatalf("Load's clock is %s, want %s in UTC", now, h.now())
	}
	count(h, "loaded", got, 4)
	h.noErr("load b", got[0].Err)
	h.wantErr("load an unknown id", got[1].Err, store.ErrNotFound)
	h.noErr("load a", got[2].Err)
	h.wantErr("load an unknown incarnation", got[3].Err, store.ErrNotFound)
	if got[0].State.Schedule.ID != "b" {
		h.t.Fatalf("the first answer is %s, want b", got[0].State.Schedule.ID)
	}
	st := got[2].State
	h.same("schedule", st.Schedule, c.Schedule)
	if st.Options != nil || st.Backfill != nil || len(st.Active)+len(st.Regular)+len(st.Manual) != 0 {
		h.t.Fatalf("a new schedule has something about it: %+v", st)
	}

	// Load of nothing still reads the clock.
	got, now, err = h.Load(h.ctx)
	if err != nil || len(got) != 0 || !now.Equal(h.now()) {
		h.t.Fatalf("Load of nothing: %v, %s, %v", got, now, err)
	}
}

func testEveryField(h *harness) {
	at := func(n int) time.Time { return h.now().Add(time.Duration(n)*time.Hour + 7*time.Millisecond) }
	declared := Create("x", "y", h.now()).Schedule.Definition
	declared.Input = json.RawMessage(`[1,2.50,"\u00e9",12345678901234567890]`)
	ref := h.create("all")
	c := h.next(ref)
	s := &c.Schedule
	s.Workflow, s.Origin, s.Note, s.Status, s.Version, s.UpdatedAt, s.Declared = "other", "example.com/m", "note – ☃", schedules.StatusPaused, 7, at(1), &declared
	s.Overlap, s.BufferLimit, s.CancelGrace = schedules.OverlapBufferAll, 5, schedules.Duration(90*time.Second)
	s.Catchup, s.CatchupWindow, s.Queue, s.Input = schedules.CatchupAll, schedules.Duration(time.Minute), "fast", json.RawMessage(`{"a":[1,{"b":null}]}`)
	s.Progress = schedules.Progress{
		DecidedUntil: at(2), NextNominal: at(3), NextDue: at(4), AnchorStart: at(5), LastRunAt: at(6), LastRunID: "run_last", NextSeq: 11, DropBelow: 12,
		DropReason: "superseded", BlockedBy: "run_block", SkipsBehind: 13,
	}
	s.Tally = schedules.Tally{
		Total: 20, Successful: 14, Failed: 3, Cancelled: 2, Skipped: 21, Missed: 22, AnchorRunID: "run_anchor", AnchorEnd: at(7), LastSuccessID: "run_ok",
		WakeOnEnd: true, HeadWanted: 23, HistoryFrom: at(8),
	}
	h.mustCommit(c)
	h.same("schedule", h.load(ref).Schedule, c.Schedule)

	// Back to nothing: what is left out is gone.
	c = h.next(ref)
	c.Schedule.Declared, c.Schedule.Note, c.Schedule.Progress = nil, "", schedules.Progress{DecidedUntil: at(9)}
	c.Schedule.WakeOnEnd, c.Schedule.HeadWanted, c.Schedule.AnchorEnd, c.Schedule.AnchorRunID = false, 0, time.Time{}, ""
	h.mustCommit(c)
	h.same("emptied schedule", h.load(ref).Schedule, c.Schedule)
}

func testTaken(h *harness) {
	ref := h.create("a")
	c := Create("a", "inc2", h.now())
	Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now()})
	h.wantErr("create of a taken id", h.commit(c), store.ErrExists)
	got, err := h.Resolve(h.ctx, "a")
	h.noErr("resolve", err)
	h.same("current", got, ref)
	loaded, _, err := h.Load(h.ctx, c.Schedule.Ref())
	h.noErr("load", err)
	h.wantErr("load what was refused", loaded[0].Err, store.ErrNotFound)
	_, err = h.GetRun(h.ctx, c.Start[0].ID)
	h.wantErr("run of what was refused", err, store.ErrNotFound)
	count(h, "unsent", h.unsent(h.now()), 0)

	// Many at once: one wins.
	errs := race(16, func(i int) error { return h.Commit(h.ctx, Create("b", fmt.Sprintf("inc%d", i), h.now()))[0] })
	h.oneWins(errs, store.ErrExists)
}

func testIncarnations(h *harness) {
	old := h.create("a")
	run := h.start(old, h.now())
	s := h.modify(old, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	got, err := h.Resolve(h.ctx, "a")
	h.noErr("resolve deleted", err)
	h.same("deleted is still the current one", got, old)
	count(h, "ticks of a deleted schedule", h.ticks(h.now().Add(time.Hour), 100), 0)

	c := Create("a", "inc2", h.now())
	c.Schedule.Workflow = "second"
	h.mustCommit(c)
	got, err = h.Resolve(h.ctx, "a")
	h.noErr("resolve anew", err)
	h.same("current", got, c.Schedule.Ref())
	h.same("the old record", h.load(old).Schedule, s)
	h.same("the new record", h.load(got).Schedule, c.Schedule)
	list, _, err := h.ListSchedules(h.ctx, store.ScheduleFilter{}, store.Page{})
	h.noErr("list", err)
	count(h, "listed", list, 1)
	h.same("listed", list[0], c.Schedule)
	list, _, err = h.ListSchedules(h.ctx, store.ScheduleFilter{Status: schedules.StatusDeleted}, store.Page{})
	h.noErr("list deleted", err)
	count(h, "listed as deleted", list, 0)

	// The run of the old incarnation ends against the old record.
	h.end(run.ID, schedules.RunCompleted)
	if o := h.load(old).Schedule; o.Active != 0 || o.Successful != 1 || o.Revision != s.Revision+1 {
		h.t.Fatalf("old incarnation after the end: %+v", o.Tally)
	}
	h.same("the new record is untouched", h.load(got).Schedule, c.Schedule)
	h.wantErr("an incarnation that is there cannot be created", h.commit(Create("a", "inc3", h.now())), store.ErrExists)
}

func testConflict(h *harness) {
	ref := h.create("a")
	before := h.load(ref)
	stale := h.next(ref)
	h.modify(ref, func(c *schedules.Change) { c.Schedule.Note = "moved" })
	moved := h.load(ref)

	Start(&stale, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now()})
	bf := NewBackfill(ref, "x", h.now())
	stale.Backfills, stale.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
	stale.PushRegular, stale.Schedule.WaitingRegular = Waiting(schedules.TriggerSchedule, 0, h.now(), 2), 2
	stale.Schedule.NextDue = h.now()
	stale.More = true
	h.wantErr("commit on an old revision", h.commit(stale), store.ErrConflict)
	ahead := Next(moved.Schedule, h.now())
	ahead.Expect += 5
	h.wantErr("commit on a revision to come", h.commit(ahead), store.ErrConflict)

	h.same("schedule", h.load(ref), moved)
	if moved.Schedule.Revision != before.Schedule.Revision+1 {
		h.t.Fatalf("revision went from %d to %d", before.Schedule.Revision, moved.Schedule.Revision)
	}
	_, err := h.GetRun(h.ctx, stale.Start[0].ID)
	h.wantErr("its run", err, store.ErrNotFound)
	_, err = h.Backfill(h.ctx, bf.ID)
	h.wantErr("its backfill", err, store.ErrNotFound)
	fates, _, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{})
	h.noErr("fates", err)
	count(h, "its fates", fates, 0)
	waiting, err := h.WaitingTicks(h.ctx, ref, 10)
	h.noErr("waiting", err)
	count(h, "its waiting ticks", waiting, 0)
	count(h, "its messages", h.unsent(h.now()), 0)
	count(h, "its timers", h.timers(h.now().Add(time.Hour), 100), 0)
	count(h, "its tick", h.ticks(h.now(), 100), 0)

	none := Create("none", "inc1", h.now())
	none.Expect, none.Schedule.Revision = 1, 2
	h.wantErr("commit of an unknown schedule", h.commit(none), store.ErrNotFound)
	_, err = h.Resolve(h.ctx, "none")
	h.wantErr("and it is not created", err, store.ErrNotFound)
}

// race calls f n times at once.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// oneWins fails unless exactly one error is nil and the others are want; it gives the winner.
func (h *harness) oneWins(errs []error, want error) int {
	h.t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			h.t.Fatalf("both %d and %d won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, want):
			h.t.Fatalf("racer %d: %v, want %v", i, err, want)
		}
	}
	if winner < 0 {
		h.t.Fatalf("nobody won: %v", errs[0])
	}
	return winner
}

func testCommitRace(h *harness) {
	ref := h.create("a")
	for round := range 5 {
		base := h.load(ref)
		changes := make([]schedules.Change, 24)
		for i := range changes {
			changes[i] = Next(base.Schedule, h.now())
			Start(&changes[i], schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(round*100+i) * time.Second)})
		}
		errs := race(len(changes), func(i int) error { return h.Commit(h.ctx, changes[i])[0] })
		won := h.oneWins(errs, store.ErrConflict)
		h.same("schedule", h.load(ref).Schedule, changes[won].Schedule)
		ids, err := h.ActiveRuns(h.ctx, ref, 100)
		h.noErr("active", err)
		count(h, "active runs", ids, round+1)
		h.run(changes[won].Start[0].ID)
	}
	count(h, "messages", h.unsent(h.now()), 5)
}

func testManyChanges(h *harness) {
	a, b := h.create("a"), h.create("b")
	ca, cb := h.next(a), h.next(b)
	ca.Schedule.Note = "new a"
	cb.Expect++
	cc := Create("c", "inc1", h.now())
	taken := Create("a", "inc9", h.now())
	none := Create("none", "inc1", h.now())
	none.Expect = 3
	early := Create("early", "inc1", h.now().Add(time.Second))
	d := Create("d", "inc1", h.now())
	errs := h.Commit(h.ctx, ca, cb, cc, taken, none, early, d)
	count(h, "answers", errs, 7)
	for i, want := range []error{nil, store.ErrConflict, nil, store.ErrExists, store.ErrNotFound, store.ErrClock, nil} {
		if !errors.Is(errs[i], want) {
			h.t.Errorf("answer %d: %v, want %v", i, errs[i], want)
		}
	}
	if got := h.load(a).Schedule.Note; got != "new a" {
		h.t.Errorf("note of a is %q", got)
	}
	list, _, err := h.ListSchedules(h.ctx, store.ScheduleFilter{}, store.Page{})
	h.noErr("list", err)
	h.wantIDs("schedules", scheduleIDs(list), "a", "b", "c", "d")
	if errs := h.Commit(h.ctx); len(errs) != 0 {
		h.t.Errorf("Commit of nothing gave %v", errs)
	}

	many := make([]schedules.Change, 300)
	for i := range many {
		many[i] = Create(fmt.Sprintf("many%03d", i), "inc1", h.now())
	}
	for i, err := range h.Commit(h.ctx, many...) {
		h.noErr(many[i].Schedule.ID, err)
	}
	refs := make([]schedules.Ref, len(many))
	for i := range many {
		refs[i] = many[i].Schedule.Ref()
	}
	loaded, _, err := h.Load(h.ctx, refs...)
	h.noErr("load many", err)
	for i, l := range loaded {
		h.noErr("load", l.Err)
		if l.State.Schedule.ID != refs[i].ID {
			h.t.Fatalf("answer %d is %s, want %s", i, l.State.Schedule.ID, refs[i].ID)
		}
	}
}

func testTwoOfOne(h *harness) {
	ref := h.create("a")
	one, two := h.next(ref), h.next(ref)
	one.Schedule.Note, two.Schedule.Note = "one", "two"
	errs := h.Commit(h.ctx, one, two)
	won := h.oneWins(errs, store.ErrConflict)
	if got, want := h.load(ref).Schedule.Note, []string{"one", "two"}[won]; got != want {
		h.t.Fatalf("note is %q, the winner wrote %q", got, want)
	}
}

func testClockLead(h *harness) {
	ref := h.create("a")
	c := h.next(ref)
	c.Now = h.now().Add(store.MaxClockLead + time.Millisecond)
	c.Schedule.Note = "too early"
	h.wantErr("commit ahead of the clock", h.commit(c), store.ErrClock)
	if s := h.load(ref).Schedule; s.Revision != 1 || s.Note != "" {
		h.t.Fatalf("a refused commit was written: %+v", s)
	}
	c.Now = h.now().Add(store.MaxClockLead)
	h.mustCommit(c)
	c = h.next(ref)
	c.Now = h.now().Add(-time.Hour)
	h.mustCommit(c)

	run := h.free("x")
	rc := Transition(run, h.now().Add(store.MaxClockLead+time.Millisecond))
	h.wantErr("run commit ahead of the clock", h.CommitRun(h.ctx, rc), store.ErrClock)
	h.same("run", h.run(run.ID), run)
	rc.Now = h.now().Add(store.MaxClockLead)
	h.noErr("run commit at the limit", h.CommitRun(h.ctx, rc))
}

func testWaiting(h *harness) {
	ref := h.create("a")
	regular := Waiting(schedules.TriggerSchedule, 0, h.now(), 5)
	manual := Waiting(schedules.TriggerManual, 5, h.now().Add(time.Minute), 3)
	h.modify(ref, func(c *schedules.Change) {
		c.PushRegular, c.PushManual = regular, manual
		c.Schedule.WaitingRegular, c.Schedule.WaitingManual, c.Schedule.NextSeq, c.Schedule.HeadWanted = 5, 3, 8, 100
	})
	st := h.load(ref)
	h.same("regular", st.Regular, regular)
	h.same("manual", st.Manual, manual)
	all, err := h.WaitingTicks(h.ctx, ref, 100)
	h.noErr("waiting", err)
	count(h, "waiting", all, 8)
	some, err := h.WaitingTicks(h.ctx, ref, 3)
	h.noErr("waiting", err)
	h.same("the first waiting", some, all[:3])

	// Off the head before the push; a head that is emptied and refilled keeps its order.
	more := Waiting(schedules.TriggerSchedule, 8, h.now().Add(time.Hour), 2)
	h.modify(ref, func(c *schedules.Change) {
		c.PopRegular, c.PushRegular, c.PopManual = 3, more, 1
		c.Schedule.WaitingRegular, c.Schedule.WaitingManual = 4, 2
	})
	st = h.load(ref)
	h.same("regular after pop and push", st.Regular, append(regular[3:5:5], more...))
	h.same("manual after pop", st.Manual, manual[1:])

	again := Waiting(schedules.TriggerManual, 10, h.now().Add(2*time.Hour), 1)
	h.modify(ref, func(c *schedules.Change) {
		c.PopRegular, c.PopManual, c.PushManual = 4, 2, again
		c.Schedule.WaitingRegular, c.Schedule.WaitingManual = 0, 1
	})
	st = h.load(ref)
	count(h, "regular after all popped", st.Regular, 0)
	h.same("manual after all popped and one pushed", st.Manual, again)

	// Another schedule, and another incarnation, wait by themselves.
	waiting, err := h.WaitingTicks(h.ctx, h.create("b"), 10)
	h.noErr("waiting of b", err)
	count(h, "waiting of b", waiting, 0)
}

func testHeads(h *harness) {
	ref := h.create("a")
	c := h.next(ref)
	c.PushRegular, c.PushManual = Waiting(schedules.TriggerSchedule, 0, h.now(), 20), Waiting(schedules.TriggerManual, 20, h.now(), 20)
	c.Schedule.WaitingRegular, c.Schedule.WaitingManual = 20, 20
	for i := range 20 {
		Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i) * time.Second)})
	}
	h.mustCommit(c)
	for _, wanted := range []int{0, 1, 7, 20, 50} {
		h.modify(ref, func(c *schedules.Change) { c.Schedule.HeadWanted = wanted })
		n := min(max(1, wanted), 20)
		st := h.load(ref)
		h.same("regular head", st.Regular, c.PushRegular[:n])
		h.same("manual head", st.Manual, c.PushManual[:n])
		count(h, "active head", st.Active, n)
	}
}

func testActiveRuns(h *harness) {
	ref := h.create("a")
	c := h.next(ref)
	var ids []string
	for i := range 6 {
		ids = append(ids, Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i) * time.Second)}).ID)
	}
	h.mustCommit(c)
	h.modify(ref, func(c *schedules.Change) {
		c.Schedule.HeadWanted = 10
		for _, id := range ids[:4] {
			c.Cancel = append(c.Cancel, schedules.CancelRequest{RunID: id, Reason: "overlap", Deadline: h.now().Add(time.Minute)})
		}
	})
	st := h.load(ref)
	count(h, "active", st.Active, 6)
	seen := map[string]bool{}
	for i, a := range st.Active {
		seen[a.ID] = true
		if a.CancelRequested != (i >= 2) {
			h.t.Fatalf("those not asked to cancel come first: %+v", st.Active)
		}
	}
	if len(seen) != 6 {
		h.t.Fatalf("active: %+v", st.Active)
	}
	h.modify(ref, func(c *schedules.Change) { c.Schedule.HeadWanted = 2 })
	for _, a := range h.load(ref).Active {
		if a.CancelRequested || a.ID != ids[4] && a.ID != ids[5] {
			h.t.Fatalf("the head of two holds %+v", a)
		}
	}
	for i, id := range ids {
		h.end(id, schedules.RunCompleted)
		left, err := h.ActiveRuns(h.ctx, ref, 100)
		h.noErr("active", err)
		count(h, "active runs", left, 5-i)
	}
	if st := h.load(ref); len(st.Active) != 0 {
		h.t.Fatalf("active after all ended: %+v", st.Active)
	}
	h.start(ref, h.now().Add(time.Hour))
	h.start(ref, h.now().Add(2*time.Hour))
	left, err := h.ActiveRuns(h.ctx, ref, 1)
	h.noErr("active", err)
	count(h, "active runs, at most one", left, 1)
	left, err = h.ActiveRuns(h.ctx, h.create("b"), 10)
	h.noErr("active of another", err)
	count(h, "active of another", left, 0)
}

func testActiveBackfill(h *harness) {
	ref := h.create("a")
	bf := NewBackfill(ref, "x", h.now())
	var regular string
	h.modify(ref, func(c *schedules.Change) {
		for i := range 3 {
			Start(c, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: bf.Start.Add(time.Duration(i) * time.Minute), Backfill: bf.ID})
		}
		regular = Start(c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now()}).ID
		asked := Start(c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(-time.Minute)}).ID
		c.Cancel = []schedules.CancelRequest{{RunID: asked, Reason: "x", Deadline: c.Now.Add(time.Minute)}}
	})
	h.same("the head of one", h.load(ref).Active, []schedules.ActiveRun{{ID: regular}})
	h.modify(ref, func(c *schedules.Change) { c.Schedule.HeadWanted = 10 })
	active := h.load(ref).Active
	count(h, "active", active, 5)
	backfill, asked := 0, 0
	for _, a := range active {
		if a.Backfill {
			backfill++
		}
		if a.CancelRequested {
			asked++
		}
	}
	if active[0].ID != regular || backfill != 3 || asked != 1 {
		h.t.Fatalf("active: %+v", active)
	}
}

func testBackfillHead(h *harness) {
	ref := h.create("a")
	one, two := NewBackfill(ref, "one", h.now()), NewBackfill(ref, "two", h.now())
	h.modify(ref, func(c *schedules.Change) {
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{one, two}, []string{one.ID, two.ID}
	})
	st := h.load(ref)
	if st.Backfill == nil {
		h.t.Fatal("no backfill loaded")
	}
	h.same("the first", st.Backfill, one)
	one.Status, one.EndedAt, one.Started, one.Cursor = schedules.BackfillCompleted, h.now(), 60, h.now()
	one.Active, one.Successful = 1, 59
	h.modify(ref, func(c *schedules.Change) {
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{one}, []string{two.ID}
	})
	h.same("the next", h.load(ref).Backfill, two)
	got, err := h.Backfill(h.ctx, one.ID)
	h.noErr("backfill", err)
	h.same("the ended one", got, one)
	_, err = h.Backfill(h.ctx, schedules.BackfillID(ref, "never"))
	h.wantErr("an unknown one", err, store.ErrNotFound)
	_, err = h.Backfill(h.ctx, "not an id")
	h.wantErr("what is no id", err, store.ErrNotFound)
}

func testStartTwice(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	h.noErr("strike off", h.StrikeOff(h.ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}))
	claimed := h.claim(run.ID, 1)

	c := h.next(ref)
	again := run
	again.Workflow = "changed"
	c.Start = []schedules.Run{again}
	h.mustCommit(c)
	h.same("run", h.run(run.ID), claimed)
	ids, err := h.ActiveRuns(h.ctx, ref, 10)
	h.noErr("active", err)
	h.wantIDs("active", ids, run.ID)
	count(h, "messages", h.unsent(h.now().Add(time.Hour)), 0)

	h.end(run.ID, schedules.RunFailed)
	ended := h.run(run.ID)
	c = h.next(ref)
	c.Start = []schedules.Run{again}
	h.mustCommit(c)
	h.same("ended run", h.run(run.ID), ended)
	ids, err = h.ActiveRuns(h.ctx, ref, 10)
	h.noErr("active", err)
	count(h, "active", ids, 0)
	count(h, "messages", h.unsent(h.now().Add(time.Hour)), 0)
}

func testFullBatch(h *harness) {
	ref := h.create("a")
	var all []schedules.WaitingTick
	for i := range 10 {
		push := Waiting(schedules.TriggerSchedule, int64(i*schedules.BatchLimit), h.now().Add(time.Duration(i)*time.Hour), schedules.BatchLimit)
		all = append(all, push...)
		h.modify(ref, func(c *schedules.Change) {
			c.PushRegular = push
			c.Schedule.WaitingRegular += schedules.BatchLimit
			for _, w := range push {
				c.Fates = append(c.Fates, schedules.Fate{Tick: w.Tick, DecidedAt: c.Now, Fate: schedules.FateBuffered})
			}
		})
	}
	got, err := h.WaitingTicks(h.ctx, ref, 5000)
	h.noErr("waiting", err)
	h.same("waiting", got, all)
	c := h.next(ref)
	c.PopRegular, c.Schedule.WaitingRegular = schedules.BatchLimit, c.Schedule.WaitingRegular-schedules.BatchLimit
	for _, w := range all[:schedules.BatchLimit] {
		Start(&c, w.Tick)
	}
	h.mustCommit(c)
	ids, err := h.ActiveRuns(h.ctx, ref, 1000)
	h.noErr("active", err)
	count(h, "active", ids, schedules.BatchLimit)
	count(h, "messages", h.unsent(h.now()), schedules.BatchLimit)
	h.same("head", h.load(ref).Regular, all[schedules.BatchLimit:schedules.BatchLimit+1])
}

func testLargeValues(h *harness) {
	big := json.RawMessage(`"` + strings.Repeat("großer Wert ", 50_000) + `"`)
	ref := h.create("a", func(c *schedules.Change) { c.Schedule.Input = big })
	h.same("schedule input", h.load(ref).Schedule.Input, big)
	run := h.start(ref, h.now())
	h.same("run input", h.run(run.ID).Input, big)
	h.claim(run.ID, 1)
	h.noErr("step", h.RecordStep(h.ctx, run.ID, 1, schedules.Step{Name: "s", Key: "s#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: h.now(), Result: big}))
	steps, err := h.Steps(h.ctx, run.ID)
	h.noErr("steps", err)
	count(h, "steps", steps, 1)
	h.same("step result", steps[0].Result, big)
	end := End(h.run(run.ID), schedules.RunCompleted, h.now())
	end.Run.Result = big
	h.noErr("end", h.CommitRun(h.ctx, end))
	h.same("run result", h.run(run.ID).Result, big)
	h.modify(ref, func(c *schedules.Change) {
		c.PushManual = Waiting(schedules.TriggerManual, 0, h.now(), 1)
		c.PushManual[0].Input, c.Schedule.WaitingManual = big, 1
	})
	h.same("input of a waiting tick", h.load(ref).Manual[0].Input, big)
}

func scheduleIDs(list []schedules.Schedule) []string {
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.ID
	}
	return ids
}
