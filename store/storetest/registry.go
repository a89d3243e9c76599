package storetest

import (
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var outboxCases = []testCase{
	{"unsent until struck off", testOutbox},
	{"oldest first, by age, limited", testOutboxOrder},
	{"two dispatches of one run", testOutboxDispatches},
}

var leaseCases = []testCase{
	{"hold, renew, release", testNamedLeases},
	{"taken when run out", testLeaseSteal},
	{"racing holders: one has it", testLeaseRace},
}

var registryCases = []testCase{
	{"processes", testProcesses},
	{"workflows", testWorkflows},
}

func testOutbox(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	free := h.free("x", func(r *schedules.Run) { r.Queue = "fast" })
	want := map[string]store.Message{
		run.ID:  {RunID: run.ID, Dispatch: 1, Queue: run.Queue},
		free.ID: {RunID: free.ID, Dispatch: 1, Queue: "fast"},
	}
	got := h.unsent(h.now())
	count(h, "unsent", got, 2)
	for _, m := range got {
		h.same("message", m, want[m.RunID])
	}
	// A claim and an end do not strike off; the transport is told by whoever hands over.
	h.claim(run.ID, 1)
	count(h, "after the claim", h.unsent(h.now()), 2)
	h.noErr("strike off", h.StrikeOff(h.ctx, want[run.ID], store.Message{RunID: schedules.FreeRunID("never"), Dispatch: 1, Queue: "q"}))
	h.same("left", h.unsent(h.now()), []store.Message{want[free.ID]})
	h.noErr("strike off again", h.StrikeOff(h.ctx, want[run.ID]))
	h.noErr("strike off nothing", h.StrikeOff(h.ctx))
	h.noErr("strike off another dispatch", h.StrikeOff(h.ctx, store.Message{RunID: free.ID, Dispatch: 2, Queue: "fast"}))
	h.same("left", h.unsent(h.now()), []store.Message{want[free.ID]})
	h.noErr("strike off", h.StrikeOff(h.ctx, want[free.ID], want[run.ID]))
	count(h, "none left", h.unsent(h.now().Add(time.Hour)), 0)
}

func testOutboxOrder(h *harness) {
	order := map[string]int{}
	for i := range 40 {
		order[h.free(fmt.Sprint(i)).ID] = i
		h.clock.Advance(time.Second)
	}
	half := Epoch.Add(19*time.Second + 500*time.Millisecond)
	count(h, "written in the first half", h.unsent(half), 20)
	for _, m := range h.unsent(half) {
		if order[m.RunID] >= 20 {
			h.t.Fatalf("message %d is younger than asked for", order[m.RunID])
		}
	}
	for shard := range h.Shards() {
		all, err := h.Unsent(h.ctx, shard, h.now(), 1000)
		h.noErr("unsent", err)
		for i := 1; i < len(all); i++ {
			if order[all[i].RunID] < order[all[i-1].RunID] {
				h.t.Fatalf("message %d comes after message %d", order[all[i].RunID], order[all[i-1].RunID])
			}
		}
		for _, limit := range []int{1, 3} {
			some, err := h.Unsent(h.ctx, shard, h.now(), limit)
			h.noErr("unsent", err)
			h.same("the oldest", some, all[:min(limit, len(all))])
		}
	}
}

func testOutboxDispatches(h *harness) {
	run := h.free("x")
	c := Transition(run, h.now())
	c.Run.Dispatch, c.Send = 2, true
	h.noErr("send again", h.CommitRun(h.ctx, c))
	count(h, "both", h.unsent(h.now()), 2)
	h.noErr("strike off the first", h.StrikeOff(h.ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}))
	second := []store.Message{{RunID: run.ID, Dispatch: 2, Queue: run.Queue}}
	h.same("the second", h.unsent(h.now()), second)

	// Sent once more under the same dispatch (its task was lost): one message, and its age is that of the last time.
	now := h.clock.Advance(time.Minute)
	c = Transition(h.run(run.ID), now)
	c.Send = true
	h.noErr("send once more", h.CommitRun(h.ctx, c))
	h.same("one message", h.unsent(now), second)
	h.noErr("strike off", h.StrikeOff(h.ctx, second...))
	count(h, "none left", h.unsent(now), 0)
	c = Transition(h.run(run.ID), now)
	c.Send = true
	h.noErr("send after it was struck off", h.CommitRun(h.ctx, c))
	h.same("it is back", h.unsent(now), second)
}

func (h *harness) hold(holder string, want []string, names ...string) {
	h.t.Helper()
	got, err := h.HoldLeases(h.ctx, holder, 10*time.Second, names...)
	h.noErr("hold", err)
	h.wantIDs(holder+" holds", got, want...)
}

func (h *harness) holders(want []string, names ...string) {
	h.t.Helper()
	got, err := h.LeaseHolders(h.ctx, names...)
	h.noErr("holders", err)
	h.wantIDs("holders", got, want...)
}

func testNamedLeases(h *harness) {
	h.holders([]string{"", ""}, "one", "two")
	h.hold("x", []string{"one", "two"}, "one", "two")
	h.hold("y", []string{"three"}, "two", "three", "one")
	h.hold("x", []string{"two", "one"}, "two", "three", "one")
	h.holders([]string{"y", "x", "", "x"}, "three", "one", "four", "two")
	h.hold("x", nil)
	h.holders(nil)

	// Renewed before it runs out, it stays.
	h.clock.Advance(9 * time.Second)
	h.hold("x", []string{"one"}, "one")
	h.clock.Advance(2 * time.Second)
	h.holders([]string{"x", "", ""}, "one", "two", "three")

	h.noErr("release of another's", h.ReleaseLeases(h.ctx, "y", "one", "unknown"))
	h.holders([]string{"x"}, "one")
	h.noErr("release", h.ReleaseLeases(h.ctx, "x", "one", "two"))
	h.holders([]string{""}, "one")
	h.hold("y", []string{"one"}, "one")
	h.noErr("release nothing", h.ReleaseLeases(h.ctx, "y"))
	h.holders([]string{"y"}, "one")
}

func testLeaseSteal(h *harness) {
	h.hold("x", []string{"one"}, "one")
	h.clock.Advance(10*time.Second - time.Millisecond)
	h.hold("y", nil, "one")
	h.clock.Advance(2 * time.Millisecond)
	h.hold("y", []string{"one"}, "one")
	h.hold("x", nil, "one")
	h.noErr("release by the one that lost it", h.ReleaseLeases(h.ctx, "x", "one"))
	h.holders([]string{"y"}, "one")
}

func testLeaseRace(h *harness) {
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("n", i))
	}
	held := make([][]string, 8)
	for _, err := range race(len(held), func(i int) error {
		got, err := h.HoldLeases(h.ctx, fmt.Sprint("h", i), time.Minute, names...)
		held[i] = got
		return err
	}) {
		h.noErr("hold", err)
	}
	by := map[string]string{}
	for i, names := range held {
		for _, n := range names {
			if other, taken := by[n]; taken {
				h.t.Fatalf("both %s and h%d hold %s", other, i, n)
			}
			by[n] = fmt.Sprint("h", i)
		}
	}
	holders, err := h.LeaseHolders(h.ctx, names...)
	h.noErr("holders", err)
	for i, n := range names {
		if by[n] == "" || holders[i] != by[n] {
			h.t.Fatalf("%s: %q was told it holds it, the store says %q", n, by[n], holders[i])
		}
	}
}

func testProcesses(h *harness) {
	list, err := h.Processes(h.ctx)
	h.noErr("none", err)
	count(h, "none", list, 0)
	full := store.Process{
		ID: "host:1:b", Host: "host", PID: 1, StartedAt: h.now().Add(-time.Hour), Worker: true, Beat: true, Local: true, Queues: []string{"q1", "q2"},
		Workflows: []string{"flow"}, Running: []string{"run_1"}, Capacity: 10, Shards: []int{0, 3}, Version: "v1",
	}
	plain := store.Process{ID: "host:2:a", Host: "host", PID: 2, StartedAt: h.now()}
	h.noErr("announce", h.AnnounceProcess(h.ctx, plain, 5*time.Second))
	h.noErr("announce", h.AnnounceProcess(h.ctx, full, 10*time.Second))
	wantFull, wantPlain := full, plain
	wantFull.Seen, wantPlain.Seen = h.now(), h.now()
	list, err = h.Processes(h.ctx)
	h.noErr("processes", err)
	h.same("by id", list, []store.Process{wantFull, wantPlain})

	now := h.clock.Advance(6 * time.Second)
	list, err = h.Processes(h.ctx)
	h.noErr("processes", err)
	h.same("one has run out", list, []store.Process{wantFull})
	full.Running, full.Queues = nil, []string{"q3"}
	h.noErr("announce again", h.AnnounceProcess(h.ctx, full, 10*time.Second))
	h.clock.Advance(9 * time.Second)
	wantFull = full
	wantFull.Seen = now
	list, err = h.Processes(h.ctx)
	h.noErr("processes", err)
	h.same("renewed", list, []store.Process{wantFull})
	h.noErr("withdraw", h.WithdrawProcess(h.ctx, full.ID))
	h.noErr("withdraw an unknown one", h.WithdrawProcess(h.ctx, "none"))
	list, err = h.Processes(h.ctx)
	h.noErr("processes", err)
	count(h, "withdrawn", list, 0)
}

func testWorkflows(h *harness) {
	list, err := h.Workflows(h.ctx)
	h.noErr("none", err)
	count(h, "none", list, 0)
	b := store.Workflow{Name: "b", Doc: "does b", Options: schedules.RunOptions{MaxRetries: 2, Timeout: schedules.Duration(time.Minute), Queue: "q"}}
	a := store.Workflow{Name: "a"}
	h.noErr("publish", h.PublishWorkflows(h.ctx, b, a))
	h.noErr("publish nothing", h.PublishWorkflows(h.ctx))
	b.Seen, a.Seen = h.now(), h.now()
	list, err = h.Workflows(h.ctx)
	h.noErr("workflows", err)
	h.same("by name", list, []store.Workflow{a, b})
	now := h.clock.Advance(time.Hour)
	b.Doc, b.Options.MaxRetries = "does more", 5
	h.noErr("publish again", h.PublishWorkflows(h.ctx, b))
	b.Seen = now
	list, err = h.Workflows(h.ctx)
	h.noErr("workflows", err)
	h.same("newer", list, []store.Workflow{a, b})
}
