package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var viewCases = []testCase{
	{"schedules by part of their id", testSearch},
	{"schedules by policy", testListOverlap},
	{"schedules by next tick", testListNext},
	{"many schedules of one next tick", testListNextAlike},
	{"cursors of the order by next tick", testListNextCursor},
	{"revisions", testRevisions},
	{"active runs of many", testActiveRunsOf},
	{"recent fates of many", testRecentFates},
	{"heads of runs", testRunHeads},
	{"steps of many", testStepsOf},
	{"counts", testCounts},
	{"ticks counted", testTickCounts},
	{"missed ticks", testMissedTicks},
	{"missed ticks are not kept for ever", testMissedBounds},
	{"fates by key", testFateByKey},
	{"a key goes with its fate", testKeyTrimmed},
	{"of nothing", testViewsOfNothing},
}

func listedBy(h *harness, f store.ScheduleFilter) func(store.Page) ([]schedules.Schedule, string, error) {
	return func(p store.Page) ([]schedules.Schedule, string, error) { return h.ListSchedules(h.ctx, f, p) }
}

func idOf(s schedules.Schedule) string { return s.ID }

func testSearch(h *harness) {
	var backup, paused []string
	for i := range 60 {
		id := fmt.Sprintf("job-%02d", i)
		if i%4 == 1 {
			id = fmt.Sprintf("%02d.Backup", i)
			backup = append(backup, id)
		}
		h.create(id, func(c *schedules.Change) {
			if i%8 == 1 {
				c.Schedule.Status = schedules.StatusPaused
				paused = append(paused, id)
			}
		})
	}
	h.create("gone-backup", func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	everyPageSize(h, "searched", backup, idOf, listedBy(h, store.ScheduleFilter{Search: "bACk"}))
	everyPageSize(h, "searched among paused ones", paused, idOf, listedBy(h, store.ScheduleFilter{Search: "backup", Status: schedules.StatusPaused}))
	everyPageSize(h, "searched among deleted ones", []string{"gone-backup"}, idOf, listedBy(h, store.ScheduleFilter{Search: "backup", Status: schedules.StatusDeleted}))
	everyPageSize(h, "searched by what is none's", nil, idOf, listedBy(h, store.ScheduleFilter{Search: "nightly"}))
	everyPageSize(h, "searched by a pattern", nil, idOf, listedBy(h, store.ScheduleFilter{Search: "job-*"}))
	everyPageSize(h, "searched by a whole id", []string{"job-02"}, idOf, listedBy(h, store.ScheduleFilter{Search: "JOB-02"}))
}

func testListOverlap(h *harness) {
	policies := []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapAllowAll}
	want := map[schedules.OverlapPolicy][]string{}
	for i := range 30 {
		id, policy := fmt.Sprintf("s%02d", i), policies[i%3]
		h.create(id, func(c *schedules.Change) { c.Schedule.Overlap = policy })
		want[policy] = append(want[policy], id)
	}
	for policy, ids := range want {
		everyPageSize(h, string(policy), ids, idOf, listedBy(h, store.ScheduleFilter{Overlap: policy}))
	}
	everyPageSize(h, "a policy of none", nil, idOf, listedBy(h, store.ScheduleFilter{Overlap: schedules.OverlapBufferAll}))
}

func testListNext(h *harness) {
	var want, paused []string
	for i := range 40 {
		id := fmt.Sprintf("s%02d", (i*7)%40)
		due := h.now().Add(time.Duration(i+1) * time.Second)
		h.create(id, func(c *schedules.Change) {
			c.Schedule.NextNominal, c.Schedule.NextDue = due, due
			switch {
			case i%5 == 4:
				c.Schedule.Status = schedules.StatusPaused
				paused = append(paused, id)
				return
			case i%7 == 6:
				c.Schedule.NextNominal, c.Schedule.NextDue, c.Schedule.Status = time.Time{}, time.Time{}, schedules.StatusFinished
				return
			case i%2 == 0:
				c.Schedule.Workflow = "flow_b"
			}
			want = append(want, id)
		})
	}
	next := func(f store.ScheduleFilter) func(store.Page) ([]schedules.Schedule, string, error) {
		f.Sort = store.SortNext
		return listedBy(h, f)
	}
	everyPageSize(h, "by next tick", want, idOf, next(store.ScheduleFilter{}))
	everyPageSize(h, "active ones", want, idOf, next(store.ScheduleFilter{Status: schedules.StatusActive}))
	everyPageSize(h, "paused ones have no next tick", nil, idOf, next(store.ScheduleFilter{Status: schedules.StatusPaused}))
	var flowB, found []string
	for _, id := range want {
		ref, err := h.Resolve(h.ctx, id)
		h.noErr("resolve", err)
		if h.load(ref).Schedule.Workflow == "flow_b" {
			flowB = append(flowB, id)
		}
		if strings.Contains(id, "s1") {
			found = append(found, id)
		}
	}
	everyPageSize(h, "of a workflow", flowB, idOf, next(store.ScheduleFilter{Workflow: "flow_b"}))
	everyPageSize(h, "searched", found, idOf, next(store.ScheduleFilter{Search: "S1"}))
	list, _, err := h.ListSchedules(h.ctx, store.ScheduleFilter{Sort: store.SortNext}, store.Page{Limit: 1})
	h.noErr("list", err)
	h.same("listed whole", list[0], h.load(list[0].Ref()).Schedule)

	// The order follows changes.
	ref := list[0].Ref()
	h.modify(ref, func(c *schedules.Change) { c.Schedule.NextDue = h.now().Add(time.Hour) })
	everyPageSize(h, "after a change", append(slices.Clone(want[1:]), ref.ID), idOf, next(store.ScheduleFilter{}))
	h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusPaused })
	everyPageSize(h, "after a pause", want[1:], idOf, next(store.ScheduleFilter{}))
	if len(paused) == 0 {
		h.t.Fatal("none was paused")
	}
}

func testListNextAlike(h *harness) {
	var want []string
	for i := range 70 {
		want = append(want, h.create(fmt.Sprintf("s%03d", i)).ID)
	}
	for _, limit := range []int{1, 3, 50, 70, 1000} {
		var got []string
		for _, s := range pages(h, limit, listedBy(h, store.ScheduleFilter{Sort: store.SortNext})) {
			got = append(got, s.ID)
		}
		slices.Sort(got)
		h.wantIDs(fmt.Sprintf("by %d", limit), got, want...)
	}
}

func testListNextCursor(h *harness) {
	for i := range 5 {
		h.create(fmt.Sprint("s", i))
	}
	f := store.ScheduleFilter{Sort: store.SortNext}
	for _, cursor := range []string{"x", "not a cursor", "s1", "1x:a", "\x00"} {
		_, _, err := h.ListSchedules(h.ctx, f, store.Page{Cursor: cursor})
		var field *schedules.FieldError
		if !errors.As(err, &field) || field.Field != "cursor" || field.Value != cursor {
			h.t.Fatalf("cursor %q: got %v, want an error about it", cursor, err)
		}
	}
	// A cursor holds when what it names has gone.
	first, next, err := h.ListSchedules(h.ctx, f, store.Page{Limit: 2})
	h.noErr("list", err)
	count(h, "first page", first, 2)
	h.modify(first[1].Ref(), func(c *schedules.Change) { c.Schedule.Status = schedules.StatusPaused })
	rest, next, err := h.ListSchedules(h.ctx, f, store.Page{Cursor: next})
	h.noErr("list", err)
	count(h, "the rest", rest, 3)
	if next != "" {
		h.t.Fatalf("there is no more, and a cursor %q", next)
	}
}

func testRevisions(h *harness) {
	a, b := h.create("a"), h.create("b")
	h.modify(b)
	gone := h.create("c", func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	got, err := h.Revisions(h.ctx, "b", "none", "a", "c", "b")
	h.noErr("revisions", err)
	h.same("revisions", got, []store.Revision{{Ref: b, Revision: 2}, {}, {Ref: a, Revision: 1}, {Ref: gone, Revision: 1}, {Ref: b, Revision: 2}})
	run := h.start(a, h.now())
	h.claim(run.ID, 1)
	h.end(run.ID, schedules.RunCompleted)
	again := Create("c", "inc2", h.now())
	h.mustCommit(again)
	got, err = h.Revisions(h.ctx, "a", "c")
	h.noErr("revisions", err)
	h.same("revisions", got, []store.Revision{{Ref: a, Revision: h.load(a).Schedule.Revision}, {Ref: again.Schedule.Ref(), Revision: 1}})
	if got[0].Revision < 3 {
		h.t.Fatalf("the end of a run left the revision at %d", got[0].Revision)
	}
}

func testActiveRunsOf(h *harness) {
	a, b, c := h.create("a"), h.create("b"), h.create("c")
	var want [2][]string
	for i := range 3 {
		want[0] = append(want[0], h.start(a, h.now().Add(time.Duration(i)*time.Minute)).ID)
	}
	want[1] = append(want[1], h.start(b, h.now()).ID)
	got, err := h.ActiveRunsOf(h.ctx, []schedules.Ref{b, c, a, {ID: "none", Incarnation: "inc1"}}, 2)
	h.noErr("active runs", err)
	count(h, "answers", got, 4)
	h.wantIDs("of b", got[0], want[1]...)
	h.wantIDs("of c", got[1])
	one, err := h.ActiveRuns(h.ctx, a, 2)
	h.noErr("active runs of one", err)
	h.wantIDs("of a", got[2], one...)
	count(h, "of a", got[2], 2)
	h.wantIDs("of none", got[3])
}

func testRecentFates(h *harness) {
	a, b, c := h.create("a"), h.create("b"), h.create("c")
	for _, ref := range []schedules.Ref{a, b} {
		h.modify(ref, func(ch *schedules.Change) {
			for i := range 30 {
				ch.Fates = append(ch.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i*7%30) * time.Minute)},
					DecidedAt: h.now(), Fate: schedules.FateSkipped, Reason: schedules.ReasonOverlap, BlockedBy: "run_of_" + ref.ID})
			}
		})
	}
	for _, limit := range []int{1, 10, 30, 100} {
		got, err := h.RecentFates(h.ctx, []schedules.Ref{b, c, a}, limit)
		h.noErr("recent fates", err)
		count(h, "answers", got, 3)
		for i, ref := range []schedules.Ref{b, c, a} {
			want, _, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{Limit: limit})
			h.noErr("history", err)
			h.same(fmt.Sprintf("the latest %d of %s", limit, ref), append([]schedules.Fate{}, got[i]...), append([]schedules.Fate{}, want...))
		}
		count(h, "of a", got[2], min(limit, 30))
	}
}

func testRunHeads(h *harness) {
	ref := h.create("a")
	pending, ended, running := h.start(ref, h.now()), h.start(ref, h.now().Add(time.Minute)), h.free("x")
	h.claim(ended.ID, 1)
	h.clock.Advance(time.Second)
	h.end(ended.ID, schedules.RunFailed)
	h.claim(running.ID, 1)
	missing := schedules.FreeRunID("none")
	got, err := h.RunHeads(h.ctx, pending.ID, missing, ended.ID, running.ID, "not an id")
	h.noErr("heads", err)
	if len(got) != 3 {
		h.t.Fatalf("got %d runs, want 3: %v", len(got), got)
	}
	for _, id := range []string{pending.ID, ended.ID, running.ID} {
		want := h.run(id)
		want.Input, want.Result, want.Error = nil, nil, nil
		h.same("head of "+id, got[id], want)
	}
}

func testStepsOf(h *harness) {
	a, b := h.free("a"), h.free("b")
	h.claim(a.ID, 1)
	for i := range 12 {
		h.noErr("step", h.RecordStep(h.ctx, a.ID, 1, schedules.Step{Name: "s", Key: fmt.Sprintf("s#%d", i), Status: schedules.RunCompleted, Attempt: 1, StartedAt: h.now(),
			Result: json.RawMessage(`1`)}))
	}
	got, err := h.StepsOf(h.ctx, b.ID, a.ID, schedules.FreeRunID("none"))
	h.noErr("steps", err)
	count(h, "answers", got, 3)
	want, err := h.Steps(h.ctx, a.ID)
	h.noErr("steps of one", err)
	count(h, "steps of one", want, 12)
	h.same("steps", got[1], want)
	count(h, "steps of a run without", got[0], 0)
	count(h, "steps of none", got[2], 0)
}

func testCounts(h *harness) {
	ref := h.create("a")
	h.create("b", func(c *schedules.Change) { c.Schedule.Status = schedules.StatusPaused })
	h.create("c", func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	h.mustCommit(Create("c", "inc2", h.now()))
	h.create("d", func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	ends := []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunFailed, schedules.RunCancelled, "", schedules.RunRunning}
	round := func(from int) {
		for i, status := range ends {
			run := h.start(ref, h.now().Add(time.Duration(from+i)*time.Minute))
			if i%2 == 1 {
				run = h.free(fmt.Sprint(from, i))
			}
			switch status {
			case "":
			case schedules.RunRunning:
				h.claim(run.ID, 1)
			default:
				h.end(run.ID, status)
			}
		}
	}
	round(0)
	since := h.clock.Advance(time.Minute)
	round(100)
	got, err := h.Counts(h.ctx, since)
	h.noErr("counts", err)
	if n, ok := got.Schedules[schedules.StatusFinished]; ok && n == 0 { // none, or not there
		delete(got.Schedules, schedules.StatusFinished)
	}
	// Every other round leaves the scheduled run of its tick pending besides.
	h.same("counts", got, store.Counts{
		Schedules: map[schedules.Status]int64{schedules.StatusActive: 2, schedules.StatusPaused: 1, schedules.StatusDeleted: 1},
		Active:    2 * 5, Created: 9, Ongoing: 5, Failed: 2, Cancelled: 1,
	})
	all, err := h.Counts(h.ctx, time.Time{})
	h.noErr("counts", err)
	if all.Created != 18 || all.Failed != 4 || all.Cancelled != 2 || all.Ongoing != 10 {
		h.t.Fatalf("since ever: %+v", all)
	}
}

func testTickCounts(h *harness) {
	at := func(s int) time.Time { return h.now().Add(time.Duration(s) * time.Second) }
	for i, s := range []int{10, 10, 19, 20, 30, 39, 40} {
		h.create(fmt.Sprint("s", i), func(c *schedules.Change) { c.Schedule.NextNominal, c.Schedule.NextDue = at(s), at(s) })
	}
	h.create("paused", func(c *schedules.Change) {
		c.Schedule.Status, c.Schedule.NextNominal, c.Schedule.NextDue = schedules.StatusPaused, at(15), at(15)
	})
	got, err := h.TickCounts(h.ctx, []time.Time{at(10), at(20), at(30), at(40), at(41), at(99)})
	h.noErr("count ticks", err)
	h.same("ticks", got, []int64{3, 1, 2, 1, 0})
	all, err := h.TickCounts(h.ctx, []time.Time{time.UnixMilli(0), at(1000)})
	h.noErr("count ticks", err)
	h.same("all ticks", all, []int64{7})
}

// miss commits missed ticks of a schedule, one a second from first, and gives their nominal times.
func (h *harness) miss(ref schedules.Ref, first time.Time, n int, reason string) {
	h.t.Helper()
	h.modify(ref, func(c *schedules.Change) {
		for i := range n {
			c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: first.Add(time.Duration(i) * time.Second)},
				DecidedAt: h.now(), Fate: schedules.FateMissed, Reason: reason})
		}
		c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: first.Add(time.Duration(n) * time.Second)},
			DecidedAt: h.now(), Fate: schedules.FateSkipped, Reason: schedules.ReasonOverlap})
	})
}

func testMissedTicks(h *harness) {
	a, b := h.create("a"), h.create("b:c.d-e")
	early := h.now()
	h.miss(a, early.Add(-time.Hour), 3, schedules.ReasonCatchup)
	since := h.clock.Advance(time.Minute)
	h.miss(b, early.Add(-2*time.Hour), 2, schedules.ReasonWindow)
	h.clock.Advance(time.Minute)
	h.miss(a, h.now().Add(-time.Second), 1, schedules.ReasonPaused)
	tick := func(ref schedules.Ref, nominal, at time.Time, reason string) store.MissedTick {
		return store.MissedTick{Ref: ref, Fate: schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: nominal}, DecidedAt: at, Fate: schedules.FateMissed, Reason: reason}}
	}
	want := []store.MissedTick{
		tick(a, h.now().Add(-time.Second), h.now(), schedules.ReasonPaused),
		tick(b, early.Add(-2*time.Hour+time.Second), since, schedules.ReasonWindow),
		tick(b, early.Add(-2*time.Hour), since, schedules.ReasonWindow),
		tick(a, early.Add(-time.Hour+2*time.Second), early, schedules.ReasonCatchup),
		tick(a, early.Add(-time.Hour+time.Second), early, schedules.ReasonCatchup),
		tick(a, early.Add(-time.Hour), early, schedules.ReasonCatchup),
	}
	for _, c := range []struct {
		since time.Time
		limit int
		want  []store.MissedTick
	}{{time.Time{}, 100, want}, {time.Time{}, 2, want[:2]}, {since, 100, want[:3]}, {since.Add(time.Millisecond), 100, want[:1]}} {
		got, err := h.MissedTicks(h.ctx, c.since, c.limit)
		h.noErr("missed ticks", err)
		h.same(fmt.Sprintf("missed since %s, at most %d", c.since, c.limit), got, c.want)
	}
	counts, err := h.Counts(h.ctx, since)
	h.noErr("counts", err)
	if counts.Missed != 3 {
		h.t.Fatalf("%d missed are counted, want 3", counts.Missed)
	}
}

func testMissedBounds(h *harness) {
	a := h.create("a")
	for i := range 12 {
		h.miss(a, h.now().Add(-time.Hour+time.Duration(i)*200*time.Second), 100, schedules.ReasonCatchup)
		h.clock.Advance(time.Second)
	}
	got, err := h.MissedTicks(h.ctx, time.Time{}, 2000)
	h.noErr("missed ticks", err)
	if len(got) < store.MissedMost || len(got) > 1200 {
		h.t.Fatalf("%d missed ticks are known of 1,200, want at least %d", len(got), store.MissedMost)
	}
	if at := got[0].Fate.DecidedAt; !at.Equal(h.now().Add(-time.Second)) {
		h.t.Fatalf("the latest was decided at %s, now is %s", at, h.now())
	}
	since := h.now()
	h.clock.Advance(store.MissedFor + time.Hour)
	h.miss(a, h.now().Add(-time.Minute), 1, schedules.ReasonCatchup)
	h.trim(store.DefaultLimits())
	got, err = h.MissedTicks(h.ctx, since, 2000)
	h.noErr("missed ticks", err)
	count(h, "missed since", got, 1)
	count(h, "the history keeps more", pages(h, 1000, func(p store.Page) ([]schedules.Fate, string, error) {
		return h.ListFates(h.ctx, a, store.FateFilter{Fate: schedules.FateMissed}, p)
	}), 1201)
}

// keyed commits the fate of a trigger with an idempotency key.
func (h *harness) keyed(ref schedules.Ref, key string, kind schedules.FateKind) schedules.Fate {
	h.t.Helper()
	tick := schedules.Tick{Trigger: schedules.TriggerManual, Nominal: h.now(), Nonce: schedules.KeyNonce(key)}
	f := schedules.Fate{Tick: tick, DecidedAt: h.now(), Fate: kind, RunID: schedules.TickRunID(ref, tick)}
	h.modify(ref, func(c *schedules.Change) { c.Fates = append(c.Fates, f) })
	return f
}

func (h *harness) wantKey(ref schedules.Ref, key string, want schedules.Fate) {
	h.t.Helper()
	got, err := h.FateByKey(h.ctx, ref, key)
	h.noErr("fate by key "+key, err)
	h.same("fate by key "+key, got, want)
}

func testFateByKey(h *harness) {
	a, b := h.create("a"), h.create("b")
	find := func(ref schedules.Ref, key string) error {
		_, err := h.FateByKey(h.ctx, ref, key)
		return err
	}
	h.wantErr("before there is one", find(a, "k"), store.ErrNotFound)
	first := h.keyed(a, "k", schedules.FateBuffered)
	second := h.keyed(a, "other key, with «signs»", schedules.FateSkipped) // of the same millisecond
	h.modify(a, func(c *schedules.Change) {
		c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerManual, Nominal: h.now(), Nonce: "00ff00ff00ff00ff"}, DecidedAt: h.now(), Fate: schedules.FateStarted})
	})
	h.wantKey(a, "k", first)
	h.wantKey(a, "other key, with «signs»", second)
	h.wantErr("of another schedule", find(b, "k"), store.ErrNotFound)
	h.wantErr("of another key", find(a, "K"), store.ErrNotFound)
	h.wantErr("of no schedule", find(schedules.Ref{ID: "none", Incarnation: "inc1"}, "k"), store.ErrNotFound)

	// Its row is replaced when the tick starts.
	h.clock.Advance(time.Minute)
	later := first
	later.Fate, later.DecidedAt, later.Reason, later.Waited = schedules.FateStarted, h.now(), schedules.ReasonOverlap, schedules.Duration(time.Minute)
	h.modify(a, func(c *schedules.Change) { c.Fates = append(c.Fates, later) })
	h.wantKey(a, "k", later)

	// Another incarnation knows nothing of it.
	h.modify(a, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	again := Create("a", "inc2", h.now())
	h.mustCommit(again)
	h.wantErr("of another incarnation", find(again.Schedule.Ref(), "k"), store.ErrNotFound)
	h.wantKey(a, "k", later)
}

func testKeyTrimmed(h *harness) {
	ref := h.create("a")
	h.keyed(ref, "old", schedules.FateStarted)
	h.clock.Advance(24 * time.Hour)
	young := h.keyed(ref, "young", schedules.FateStarted)
	l := store.DefaultLimits()
	h.clock.Advance(l.FateAge - time.Hour)
	h.trim(l)
	_, err := h.FateByKey(h.ctx, ref, "old")
	h.wantErr("a key whose fate was trimmed", err, store.ErrNotFound)
	h.wantKey(ref, "young", young)
	h.wantKey(ref, "old", h.keyed(ref, "old", schedules.FateSkipped)) // it may be used anew
}

func testViewsOfNothing(h *harness) {
	revs, err := h.Revisions(h.ctx)
	h.noErr("revisions", err)
	active, err := h.ActiveRunsOf(h.ctx, nil, 10)
	h.noErr("active runs", err)
	fates, err := h.RecentFates(h.ctx, nil, 10)
	h.noErr("fates", err)
	runs, err := h.RunHeads(h.ctx)
	h.noErr("runs", err)
	steps, err := h.StepsOf(h.ctx)
	h.noErr("steps", err)
	ticks, err := h.TickCounts(h.ctx, nil)
	h.noErr("ticks", err)
	missed, err := h.MissedTicks(h.ctx, time.Time{}, 10)
	h.noErr("missed", err)
	if n := len(revs) + len(active) + len(fates) + len(runs) + len(steps) + len(ticks) + len(missed); n > 0 {
		h.t.Fatalf("%d answers about nothing", n)
	}
	counts, err := h.Counts(h.ctx, time.Time{})
	h.noErr("counts", err)
	if counts.Active+counts.Created+counts.Failed+counts.Cancelled+counts.Missed+counts.Ongoing+counts.Schedules[schedules.StatusActive] != 0 {
		h.t.Fatalf("an empty store counts %+v", counts)
	}
	none, err := h.RecentFates(h.ctx, []schedules.Ref{h.create("a")}, 0)
	h.noErr("fates", err)
	if len(none) != 1 || len(none[0]) != 0 {
		h.t.Fatalf("no fates were asked for: %v", none)
	}
}
