// Package storetest is the store contract as tests: Run drives a store through every sentence of package store, against a clock the
// test moves. Both stores pass it; a bug found in a store adds a case here. It also has the small builders those tests are
// written with (Create, Next, Start, End), for other packages that want a store with something in it.
//
// It does not test what a store promises beyond the contract (files, keys, processes that die): that is tested beside each store.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Open gives a new, empty store that reads its time from clock (the host's or the server's own when nil) and is closed when the test ends.
type Open func(t *testing.T, clock func() time.Time) store.Store

// Run runs the whole contract as subtests, each against a store of its own.
func Run(t *testing.T, open func(t *testing.T, clock func() time.Time) store.Store) {
	t.Helper()
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"Schedules", scheduleCases},
		{"Cancel", cancelCases},
		{"Timers", timerCases},
		{"Listen", listenCases},
		{"Runs", runCases},
		{"Ends", endCases},
		{"Steps", stepCases},
		{"Lists", listCases},
		{"Fates", fateCases},
		{"Views", viewCases},
		{"Outbox", outboxCases},
		{"Leases", leaseCases},
		{"Registry", registryCases},
		{"Retention", retentionCases},
		{"Audit", auditCases},
		{"Store", storeCases},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					clock := NewClock()
					h := &harness{t: t, ctx: t.Context(), clock: clock, Store: open(t, clock.Now)}
					c.run(h)
					h.sound()
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(h *harness)
}

// Epoch is where a Clock starts: noon UTC of a Sunday.
var Epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Clock is a clock that moves only when told to. Safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock gives a clock that stands at Epoch.
func NewClock() *Clock { return &Clock{t: Epoch} }

// Now reads the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance moves the clock and gives the new time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	return c.t
}

// harness is a store under test, with the shorthands of the cases.
type harness struct {
	store.Store
	t     *testing.T
	ctx   context.Context
	clock *Clock
}

func (h *harness) now() time.Time { return h.clock.Now() }

// create commits a new active schedule, changed by mods.
func (h *harness) create(id string, mods ...func(*schedules.Change)) schedules.Ref {
	h.t.Helper()
	c := Create(id, "inc1", h.now())
	for _, mod := range mods {
		mod(&c)
	}
	h.mustCommit(c)
	return c.Schedule.Ref()
}

func (h *harness) commit(c schedules.Change) error {
	h.t.Helper()
	errs := h.Commit(h.ctx, c)
	if len(errs) != 1 {
		h.t.Fatalf("Commit of one change gave %d answers", len(errs))
	}
	return errs[0]
}

func (h *harness) mustCommit(c schedules.Change) {
	h.t.Helper()
	if err := h.commit(c); err != nil {
		h.t.Fatalf("commit %s on revision %d: %v", c.Schedule.Ref(), c.Expect, err)
	}
}

func (h *harness) load(ref schedules.Ref) schedules.State {
	h.t.Helper()
	got, _, err := h.Load(h.ctx, ref)
	if err != nil {
		h.t.Fatalf("load %s: %v", ref, err)
	}
	if len(got) != 1 {
		h.t.Fatalf("Load of one gave %d answers", len(got))
	}
	if got[0].Err != nil {
		h.t.Fatalf("load %s: %v", ref, got[0].Err)
	}
	return got[0].State
}

// next reads a schedule and gives the change that leaves it as it is, made now.
func (h *harness) next(ref schedules.Ref) schedules.Change {
	h.t.Helper()
	return Next(h.load(ref).Schedule, h.now())
}

// modify commits a change of a schedule.
func (h *harness) modify(ref schedules.Ref, mods ...func(*schedules.Change)) schedules.Schedule {
	h.t.Helper()
	c := h.next(ref)
	for _, mod := range mods {
		mod(&c)
	}
	h.mustCommit(c)
	return c.Schedule
}

// start commits the start of a run for a regular tick at nominal.
func (h *harness) start(ref schedules.Ref, nominal time.Time, mods ...func(*schedules.Change)) schedules.Run {
	h.t.Helper()
	c := h.next(ref)
	run := Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: nominal})
	for _, mod := range mods {
		mod(&c)
	}
	h.mustCommit(c)
	return run
}

// free creates a run without a schedule.
func (h *harness) free(seed string, mods ...func(*schedules.Run)) schedules.Run {
	h.t.Helper()
	run := FreeRun("flow", seed, h.now())
	for _, mod := range mods {
		mod(&run)
	}
	got, created, err := h.CreateRun(h.ctx, run)
	if err != nil || !created {
		h.t.Fatalf("create run %s: created %v, %v", run.ID, created, err)
	}
	return got
}

func (h *harness) run(id string) schedules.Run {
	h.t.Helper()
	run, err := h.GetRun(h.ctx, id)
	if err != nil {
		h.t.Fatalf("get run %s: %v", id, err)
	}
	return run
}

func (h *harness) claim(id string, dispatch int) schedules.Run {
	h.t.Helper()
	run, err := h.Claim(h.ctx, id, dispatch, store.Claim{Worker: "w1", Token: "token-" + id})
	if err != nil {
		h.t.Fatalf("claim %s: %v", id, err)
	}
	return run
}

// end ends a run by its present record.
func (h *harness) end(id string, status schedules.RunStatus) {
	h.t.Helper()
	if err := h.CommitRun(h.ctx, End(h.run(id), status, h.now())); err != nil {
		h.t.Fatalf("end %s: %v", id, err)
	}
}

// ticks, timers, leases and unsent read an index of every shard, checking each answer's order.
func (h *harness) ticks(until time.Time, limit int) []store.DueSchedule {
	h.t.Helper()
	return gather(h, limit, func(d store.DueSchedule) time.Time { return d.Due }, until,
		func(shard int) ([]store.DueSchedule, error) { return h.DueTicks(h.ctx, shard, until, limit) })
}

func (h *harness) timers(until time.Time, limit int) []store.Timer {
	h.t.Helper()
	return gather(h, limit, func(d store.Timer) time.Time { return d.Due }, until,
		func(shard int) ([]store.Timer, error) { return h.DueTimers(h.ctx, shard, until, limit) })
}

func (h *harness) leases(until time.Time, limit int) []store.LeaseEntry {
	h.t.Helper()
	return gather(h, limit, func(d store.LeaseEntry) time.Time { return d.Until }, until,
		func(shard int) ([]store.LeaseEntry, error) { return h.ExpiredLeases(h.ctx, shard, until, limit) })
}

func (h *harness) unsent(until time.Time) []store.Message {
	h.t.Helper()
	return gather(h, 1000, nil, until,
		func(shard int) ([]store.Message, error) { return h.Unsent(h.ctx, shard, until, 1000) })
}

func gather[T any](h *harness, limit int, at func(T) time.Time, until time.Time, read func(shard int) ([]T, error)) []T {
	h.t.Helper()
	var all []T
	for shard := range h.Shards() {
		got, err := read(shard)
		if err != nil {
			h.t.Fatalf("read shard %d: %v", shard, err)
		}
		if len(got) > limit {
			h.t.Fatalf("shard %d gave %d entries, asked for %d", shard, len(got), limit)
		}
		if at != nil {
			for i, e := range got {
				if at(e).After(until) {
					h.t.Fatalf("shard %d: %+v is after %s", shard, e, until)
				}
				if i > 0 && at(e).Before(at(got[i-1])) {
					h.t.Fatalf("shard %d: %+v comes after %+v", shard, e, got[i-1])
				}
			}
		}
		all = append(all, got...)
	}
	if at != nil {
		slices.SortStableFunc(all, func(a, b T) int { return at(a).Compare(at(b)) })
	}
	return all
}

// wantErr fails unless err is want.
func (h *harness) wantErr(what string, err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

// noErr fails on an error.
func (h *harness) noErr(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// same fails unless both say the same as JSON.
func (h *harness) same(what string, got, want any) {
	h.t.Helper()
	g, err := json.Marshal(got)
	h.noErr(what, err)
	w, err := json.Marshal(want)
	h.noErr(what, err)
	if string(g) != string(w) {
		h.t.Fatalf("%s:\n got %s\nwant %s", what, clip(g), clip(w))
	}
}

func clip(b []byte) string {
	if len(b) > 4000 {
		return string(b[:4000]) + "…"
	}
	return string(b)
}

// count fails unless there are n.
func count[T any](h *harness, what string, got []T, n int) {
	h.t.Helper()
	if len(got) != n {
		h.t.Fatalf("%s: got %d, want %d: %+v", what, len(got), n, got[:min(len(got), 20)])
	}
}

// wantIDs fails unless got are exactly these, in this order.
func (h *harness) wantIDs(what string, got []string, want ...string) {
	h.t.Helper()
	if !slices.Equal(got, want) {
		h.t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}
