package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var listCases = []testCase{
	{"schedules", testListSchedules},
	{"schedules that come and go while paging", testListMoving},
	{"runs", testListRuns},
	{"runs by filter", testListRunsFilter},
	{"runs of every incarnation", testListRunsIncarnations},
	{"backfills", testListBackfills},
	{"limits of a page", testPageLimits},
}

var fateCases = []testCase{
	{"newest first", testFatesOrder},
	{"one row a tick", testFatesReplace},
	{"every field comes back", testFateFields},
	{"by time and kind", testFatesFilter},
}

// pages reads a list by pages of limit to its end, and fails if it does not end.
func pages[T any](h *harness, limit int, list func(store.Page) ([]T, string, error)) []T {
	h.t.Helper()
	var all []T
	p := store.Page{Limit: limit}
	for range 10_000 {
		items, next, err := list(p)
		h.noErr("list", err)
		if len(items) > limit {
			h.t.Fatalf("a page has %d items, asked for %d", len(items), limit)
		}
		all = append(all, items...)
		if next == "" {
			return all
		}
		p.Cursor = next
	}
	h.t.Fatal("the list does not end")
	return nil
}

// everyPageSize checks a list by several page sizes against the whole one.
func everyPageSize[T any](h *harness, what string, want []string, id func(T) string, list func(store.Page) ([]T, string, error)) {
	h.t.Helper()
	for _, limit := range []int{1, 3, 7, len(want) + 1, 1000} {
		if limit == 0 {
			continue
		}
		var got []string
		for _, it := range pages(h, limit, list) {
			got = append(got, id(it))
		}
		h.wantIDs(fmt.Sprintf("%s, by %d", what, limit), got, want...)
	}
	var got []string
	for it, err := range store.All(list) {
		h.noErr(what, err)
		got = append(got, id(it))
	}
	h.wantIDs(what+", all", got, want...)
}

func testListSchedules(h *harness) {
	var all, flowB, paused, fromCode, deleted, both []string
	for i := range 40 {
		id := fmt.Sprintf("s%02d", (i*17)%40)
		h.create(id, func(c *schedules.Change) {
			s := &c.Schedule
			if i%2 == 0 {
				s.Workflow = "flow_b"
			}
			if i%5 == 0 {
				s.Status = schedules.StatusPaused
			}
			if i%3 == 0 {
				s.Origin = "example.com/m"
			}
			if i%8 == 7 {
				s.Status = schedules.StatusDeleted
				deleted = append(deleted, id)
				return
			}
			all = append(all, id)
			if i%2 == 0 {
				flowB = append(flowB, id)
			}
			if i%5 == 0 {
				paused = append(paused, id)
			}
			if i%3 == 0 {
				fromCode = append(fromCode, id)
			}
			if i%2 == 0 && i%5 == 0 {
				both = append(both, id)
			}
		})
	}
	for _, c := range []struct {
		what string
		f    store.ScheduleFilter
		want []string
	}{
		{"all", store.ScheduleFilter{}, all},
		{"by workflow", store.ScheduleFilter{Workflow: "flow_b"}, flowB},
		{"by status", store.ScheduleFilter{Status: schedules.StatusPaused}, paused},
		{"by origin", store.ScheduleFilter{Origin: "example.com/m"}, fromCode},
		{"by workflow and status", store.ScheduleFilter{Workflow: "flow_b", Status: schedules.StatusPaused}, both},
		{"deleted", store.ScheduleFilter{Status: schedules.StatusDeleted}, deleted},
		{"of an unknown workflow", store.ScheduleFilter{Workflow: "none"}, nil},
	} {
		slices.Sort(c.want)
		everyPageSize(h, c.what, c.want, func(s schedules.Schedule) string { return s.ID },
			func(p store.Page) ([]schedules.Schedule, string, error) { return h.ListSchedules(h.ctx, c.f, p) })
	}

	// A filter follows changes.
	ref, err := h.Resolve(h.ctx, flowB[0])
	h.noErr("resolve", err)
	h.modify(ref, func(c *schedules.Change) {
		c.Schedule.Workflow, c.Schedule.Status, c.Schedule.Origin = "moved", schedules.StatusFinished, "other"
	})
	list, _, err := h.ListSchedules(h.ctx, store.ScheduleFilter{Workflow: "moved", Status: schedules.StatusFinished, Origin: "other"}, store.Page{})
	h.noErr("list", err)
	h.wantIDs("moved", scheduleIDs(list), ref.ID)
	h.same("listed whole", list[0], h.load(ref).Schedule)
}

func testListMoving(h *harness) {
	var want []string
	for i := range 30 {
		want = append(want, h.create(fmt.Sprintf("s%03d", i*10)).ID)
	}
	seen := map[string]int{}
	p := store.Page{Limit: 4}
	for n := 0; ; n++ {
		items, next, err := h.ListSchedules(h.ctx, store.ScheduleFilter{}, p)
		h.noErr("list", err)
		for _, s := range items {
			seen[s.ID]++
		}
		if next == "" {
			break
		}
		p.Cursor = next
		h.create(fmt.Sprintf("s%03d", n*35+1))
		ref, err := h.Resolve(h.ctx, want[(n*7)%len(want)])
		h.noErr("resolve", err)
		h.modify(ref, func(c *schedules.Change) { c.Schedule.Note = "changed" })
	}
	for _, id := range want {
		if seen[id] != 1 {
			h.t.Fatalf("%s was there all the time and came %d times", id, seen[id])
		}
	}
	for id, n := range seen {
		if n != 1 {
			h.t.Fatalf("%s came %d times", id, n)
		}
	}
}

func testListRuns(h *harness) {
	ref := h.create("a")
	var want []string
	for i := range 25 {
		h.clock.Advance(time.Duration(i%3) * time.Second) // some share a creation time
		if i%2 == 0 {
			want = append(want, h.start(ref, h.now().Add(time.Duration(i)*time.Minute)).ID)
		} else {
			want = append(want, h.free(fmt.Sprint(i)).ID)
		}
	}
	created := map[string]time.Time{}
	for _, id := range want {
		created[id] = h.run(id).CreatedAt
	}
	for _, limit := range []int{1, 4, 25, 100} {
		var got []string
		var last time.Time
		for _, r := range pages(h, limit, func(p store.Page) ([]schedules.Run, string, error) { return h.ListRuns(h.ctx, store.RunFilter{}, p) }) {
			if !last.IsZero() && created[r.ID].After(last) {
				h.t.Fatalf("%s, created %s, comes after one created %s", r.ID, created[r.ID], last)
			}
			last = created[r.ID]
			got = append(got, r.ID)
		}
		slices.Sort(got)
		sorted := slices.Sorted(slices.Values(want))
		h.wantIDs(fmt.Sprintf("runs by %d", limit), got, sorted...)
	}
	list, _, err := h.ListRuns(h.ctx, store.RunFilter{}, store.Page{Limit: 2})
	h.noErr("list", err)
	for _, r := range list {
		h.same("listed whole", r, h.run(r.ID))
	}

	// New ones do not disturb a list that is being read.
	seen := map[string]int{}
	p := store.Page{Limit: 3}
	for n := 0; ; n++ {
		items, next, err := h.ListRuns(h.ctx, store.RunFilter{}, p)
		h.noErr("list", err)
		for _, r := range items {
			seen[r.ID]++
		}
		if next == "" {
			break
		}
		p.Cursor = next
		h.free(fmt.Sprint("new", n))
	}
	for _, id := range want {
		if seen[id] != 1 {
			h.t.Fatalf("%s came %d times", id, seen[id])
		}
	}
}

func testListRunsFilter(h *harness) {
	a, b := h.create("a"), h.create("b", func(c *schedules.Change) { c.Schedule.Workflow = "flow_b" })
	statuses := []schedules.RunStatus{"", schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled, schedules.RunRunning}
	var all []schedules.Run
	for i := range 60 {
		h.clock.Advance(time.Second)
		var run schedules.Run
		switch i % 3 {
		case 0:
			run = h.start(a, h.now())
		case 1:
			run = h.start(b, h.now())
		default:
			run = h.free(fmt.Sprint(i))
		}
		switch status := statuses[i%len(statuses)]; status {
		case "":
		case schedules.RunRunning:
			h.claim(run.ID, 1)
		default:
			h.end(run.ID, status)
		}
		all = append(all, h.run(run.ID))
	}
	slices.Reverse(all)
	since := Epoch.Add(30 * time.Second)
	for _, f := range []store.RunFilter{
		{}, {ScheduleID: "a"}, {ScheduleID: "b"}, {ScheduleID: "none"}, {Workflow: "flow"}, {Workflow: "flow_b"}, {Workflow: "none"},
		{Status: schedules.RunPending}, {Status: schedules.RunRunning}, {Status: schedules.RunCompleted}, {Status: schedules.RunFailed}, {Status: schedules.RunRetrying},
		{Since: since}, {Since: Epoch.Add(time.Hour)}, {ScheduleID: "a", Since: since}, {Workflow: "flow", Since: since}, {Status: schedules.RunFailed, Since: since},
		{ScheduleID: "a", Workflow: "flow"}, {ScheduleID: "a", Workflow: "flow_b"}, {ScheduleID: "b", Status: schedules.RunCompleted},
		{Workflow: "flow", Status: schedules.RunCancelled}, {ScheduleID: "a", Workflow: "flow", Status: schedules.RunFailed, Since: since},
	} {
		var want []string
		for _, r := range all {
			if (f.ScheduleID == "" || r.ScheduleID == f.ScheduleID) && (f.Workflow == "" || r.Workflow == f.Workflow) &&
				(f.Status == "" || r.Status == f.Status) && !r.CreatedAt.Before(f.Since) {
				want = append(want, r.ID)
			}
		}
		everyPageSize(h, fmt.Sprintf("%+v", f), want, func(r schedules.Run) string { return r.ID },
			func(p store.Page) ([]schedules.Run, string, error) { return h.ListRuns(h.ctx, f, p) })
	}
}

func testListRunsIncarnations(h *harness) {
	old := h.create("a")
	first := h.start(old, h.now())
	h.modify(old, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
	h.clock.Advance(time.Second)
	c := Create("a", "inc2", h.now())
	second := Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now()})
	h.mustCommit(c)
	everyPageSize(h, "runs of both", []string{second.ID, first.ID}, func(r schedules.Run) string { return r.ID },
		func(p store.Page) ([]schedules.Run, string, error) {
			return h.ListRuns(h.ctx, store.RunFilter{ScheduleID: "a"}, p)
		})
}

func testListBackfills(h *harness) {
	a, b := h.create("a"), h.create("b")
	var all, ofA []string
	for i := range 12 {
		h.clock.Advance(time.Second)
		ref := []schedules.Ref{a, b, a}[i%3]
		bf := NewBackfill(ref, fmt.Sprint(i), h.now())
		h.modify(ref, func(c *schedules.Change) {
			c.Backfills = []schedules.Backfill{bf}
			c.Schedule.Backfills = append(c.Schedule.Backfills, bf.ID)
		})
		all = append(all, bf.ID)
		if ref == a {
			ofA = append(ofA, bf.ID)
		}
	}
	// Another incarnation of the id belongs to the list.
	h.modify(a, func(c *schedules.Change) { c.Schedule.Status, c.Schedule.Backfills = schedules.StatusDeleted, nil })
	h.clock.Advance(time.Second)
	c := Create("a", "inc2", h.now())
	bf := NewBackfill(c.Schedule.Ref(), "again", h.now())
	c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
	h.mustCommit(c)
	all, ofA = append(all, bf.ID), append(ofA, bf.ID)
	slices.Reverse(all)
	slices.Reverse(ofA)
	id := func(b schedules.Backfill) string { return b.ID }
	everyPageSize(h, "all", all, id, func(p store.Page) ([]schedules.Backfill, string, error) { return h.ListBackfills(h.ctx, "", p) })
	everyPageSize(h, "of a", ofA, id, func(p store.Page) ([]schedules.Backfill, string, error) { return h.ListBackfills(h.ctx, "a", p) })
	everyPageSize(h, "of none", nil, id, func(p store.Page) ([]schedules.Backfill, string, error) { return h.ListBackfills(h.ctx, "none", p) })
	list, _, err := h.ListBackfills(h.ctx, "a", store.Page{Limit: 1})
	h.noErr("list", err)
	h.same("listed whole", list[0], bf)
}

func testPageLimits(h *harness) {
	ref := h.create("a")
	for i := range 11 {
		h.modify(ref, func(c *schedules.Change) {
			for n := range 100 {
				tick := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i*100+n) * time.Second)}
				c.Fates = append(c.Fates, schedules.Fate{Tick: tick, DecidedAt: c.Now, Fate: schedules.FateMissed, Reason: schedules.ReasonCatchup})
			}
		})
	}
	for limit, want := range map[int]int{0: 100, -5: 100, 1000: 1000, 5000: 1000} {
		fates, next, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{Limit: limit})
		h.noErr("fates", err)
		count(h, fmt.Sprintf("limit %d", limit), fates, want)
		if next == "" {
			h.t.Fatalf("limit %d: no cursor, and there is more", limit)
		}
	}
	bad := store.Page{Cursor: "no such place"}
	_, _, fates := h.ListFates(h.ctx, ref, store.FateFilter{}, bad)
	_, _, runs := h.ListRuns(h.ctx, store.RunFilter{}, bad)
	_, _, backfills := h.ListBackfills(h.ctx, "", bad)
	for list, err := range map[string]error{"fates": fates, "runs": runs, "backfills": backfills} {
		var field *schedules.FieldError
		if !errors.As(err, &field) || field.Field != "cursor" || field.Value != bad.Cursor {
			h.t.Errorf("%s: a cursor that no call returned is answered with %v", list, err)
		}
	}
}

func fateKeys(list []schedules.Fate) []string {
	keys := make([]string, len(list))
	for i, f := range list {
		keys[i] = f.Tick.Key()
	}
	return keys
}

func testFatesOrder(h *harness) {
	ref := h.create("a")
	var want []string
	base := h.now()
	h.modify(ref, func(c *schedules.Change) {
		for i := range 40 {
			nominal := base.Add(time.Duration((i*27)%40) * time.Second)
			c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: nominal}, DecidedAt: c.Now, Fate: schedules.FateSkipped})
			want = append(want, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: base.Add(time.Duration(39-i) * time.Second)}.Key())
		}
	})
	list := func(p store.Page) ([]schedules.Fate, string, error) {
		return h.ListFates(h.ctx, ref, store.FateFilter{}, p)
	}
	everyPageSize(h, "fates", want, func(f schedules.Fate) string { return f.Tick.Key() }, list)

	// A regular tick, a manual one and one of a backfill may share their nominal time; before 1970 and far ahead is in order, too.
	odd := []schedules.Tick{
		{Trigger: schedules.TriggerManual, Nominal: base.Add(5 * time.Second), Nonce: "x"},
		{Trigger: schedules.TriggerManual, Nominal: base.Add(5 * time.Second), Nonce: "y"},
		{Trigger: schedules.TriggerBackfill, Nominal: base.Add(5 * time.Second), Backfill: "bf_1"},
		{Trigger: schedules.TriggerBackfill, Nominal: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC), Backfill: "bf_1"},
		{Trigger: schedules.TriggerBackfill, Nominal: time.Date(1968, 1, 1, 0, 0, 0, 0, time.UTC), Backfill: "bf_1"},
		{Trigger: schedules.TriggerSchedule, Nominal: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	h.modify(ref, func(c *schedules.Change) {
		for _, tick := range odd {
			c.Fates = append(c.Fates, schedules.Fate{Tick: tick, DecidedAt: c.Now, Fate: schedules.FateStarted})
			want = append(want, tick.Key())
		}
	})
	slices.Sort(want)
	for _, limit := range []int{1, 2, 7, 100} {
		got := pages(h, limit, list)
		for i := 1; i < len(got); i++ {
			if got[i].Tick.Nominal.After(got[i-1].Tick.Nominal) {
				h.t.Fatalf("%s comes after %s", got[i].Tick.Nominal, got[i-1].Tick.Nominal)
			}
		}
		h.wantIDs("each once", slices.Sorted(slices.Values(fateKeys(got))), want...)
	}
	fates, next, err := h.ListFates(h.ctx, h.create("b"), store.FateFilter{}, store.Page{})
	if err != nil || len(fates) != 0 || next != "" {
		h.t.Fatalf("fates of another schedule: %v, %q, %v", fates, next, err)
	}
}

func testFatesReplace(h *harness) {
	ref := h.create("a")
	tick := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now()}
	put := func(f schedules.Fate) {
		h.t.Helper()
		h.modify(ref, func(c *schedules.Change) { c.Fates = []schedules.Fate{f} })
	}
	check := func(want ...schedules.Fate) {
		h.t.Helper()
		got, _, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{})
		h.noErr("fates", err)
		h.same("fates", got, want)
	}
	put(schedules.Fate{Tick: tick, DecidedAt: h.now(), Fate: schedules.FateBuffered, BlockedBy: "run_x", RunID: "run_y"})
	started := schedules.Fate{Tick: tick, DecidedAt: h.now().Add(time.Second), Fate: schedules.FateStarted, Waited: schedules.Duration(time.Second), RunID: "run_y"}
	put(started)
	check(started)
	// A tick that starts late is the same regular tick.
	late := started
	late.Tick.Trigger = schedules.TriggerCatchup
	put(late)
	check(late)
	got, _, err := h.ListFates(h.ctx, ref, store.FateFilter{Fate: schedules.FateBuffered}, store.Page{})
	h.noErr("fates", err)
	count(h, "buffered ones", got, 0)
	manual := schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerManual, Nominal: h.now().Add(time.Second), Nonce: "n"}, DecidedAt: h.now(), Fate: schedules.FateStarted}
	put(manual)
	check(manual, late)
}

func testFateFields(h *harness) {
	ref := h.create("a")
	f := schedules.Fate{
		Tick:      schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: h.now().Add(7 * time.Millisecond), Nonce: "n", Backfill: "bf_x"},
		DecidedAt: h.now().Add(9 * time.Millisecond), Fate: schedules.FateDropped, Reason: schedules.ReasonCancelled, Waited: schedules.Duration(1500 * time.Millisecond),
		BlockedBy: "run_a", RunID: "run_b",
	}
	h.modify(ref, func(c *schedules.Change) { c.Fates = []schedules.Fate{f} })
	got, _, err := h.ListFates(h.ctx, ref, store.FateFilter{}, store.Page{})
	h.noErr("fates", err)
	h.same("fate", got, []schedules.Fate{f})

	bf := NewBackfill(ref, "x", h.now())
	bf.Base, bf.Queue, bf.Input, bf.Parallel, bf.EndedAt, bf.Status = h.now(), "q", json.RawMessage(`[1]`), 3, h.now(), schedules.BackfillCancelled
	bf.Spans = append(bf.Spans, schedules.Span{First: h.now().Add(time.Hour), Last: h.now().Add(2 * time.Hour)})
	bf.Cursor, bf.Started, bf.Dropped, bf.BackfillTally = h.now(), 4, 5, schedules.BackfillTally{Active: 1, Successful: 2, Failed: 3, Cancelled: 4}
	h.modify(ref, func(c *schedules.Change) { c.Backfills = []schedules.Backfill{bf} })
	b, err := h.Backfill(h.ctx, bf.ID)
	h.noErr("backfill", err)
	h.same("backfill", b, bf)
}

func testFatesFilter(h *harness) {
	ref := h.create("a")
	kinds := []schedules.FateKind{schedules.FateStarted, schedules.FateSkipped, schedules.FateMissed}
	var all []schedules.Fate
	h.modify(ref, func(c *schedules.Change) {
		for i := range 60 {
			f := schedules.Fate{
				Tick:      schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: h.now().Add(time.Duration(i) * time.Second)},
				DecidedAt: c.Now, Fate: kinds[i%3],
			}
			c.Fates, all = append(c.Fates, f), append(all, f)
		}
	})
	slices.Reverse(all)
	start, end := h.now().Add(10*time.Second), h.now().Add(50*time.Second)
	for _, f := range []store.FateFilter{
		{}, {Start: start}, {End: end}, {Start: start, End: end}, {Start: end, End: start}, {Fate: schedules.FateMissed}, {Fate: schedules.FateDropped},
		{Start: start, End: end, Fate: schedules.FateSkipped}, {Start: start, End: start.Add(time.Millisecond)}, {Start: h.now().Add(time.Hour)},
	} {
		var want []string
		for _, e := range all {
			n := e.Tick.Nominal
			if !n.Before(f.Start) && (f.End.IsZero() || n.Before(f.End)) && (f.Fate == "" || e.Fate == f.Fate) {
				want = append(want, e.Tick.Key())
			}
		}
		everyPageSize(h, fmt.Sprintf("%+v", f), want, func(f schedules.Fate) string { return f.Tick.Key() },
			func(p store.Page) ([]schedules.Fate, string, error) { return h.ListFates(h.ctx, ref, f, p) })
	}
}
