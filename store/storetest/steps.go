package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var stepCases = []testCase{
	{"recorded by key, in order", testSteps},
	{"fenced by dispatch", testStepFence},
	{"events in order, by position", testEvents},
	{"events keep the newest", testEventsCap},
}

func testSteps(h *harness) {
	run, other := h.free("x"), h.free("y")
	h.claim(run.ID, 1)
	h.claim(other.ID, 1)
	steps, err := h.Steps(h.ctx, run.ID)
	h.noErr("no steps", err)
	count(h, "no steps", steps, 0)
	var want []schedules.Step
	for i := range 12 {
		s := schedules.Step{
			Name: "fetch", Key: fmt.Sprintf("fetch#%d", 12-i), Status: schedules.RunRunning, Attempt: 1, StartedAt: h.clock.Advance(time.Second),
		}
		want = append(want, s)
		h.noErr("record", h.RecordStep(h.ctx, run.ID, 1, s))
	}
	h.noErr("record of another run", h.RecordStep(h.ctx, other.ID, 1, schedules.Step{Name: "o", Key: "o#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: h.now()}))
	want[3].Status, want[3].Attempt, want[3].Error = schedules.RunRetrying, 2, &schedules.RunError{Message: "m", Kind: schedules.ErrorTimeout, Stack: "s"}
	h.noErr("replace", h.RecordStep(h.ctx, run.ID, 1, want[3]))
	want[0].Status, want[0].EndedAt, want[0].Result = schedules.RunCompleted, h.now(), json.RawMessage(`{"r":[1,2]}`)
	h.noErr("replace", h.RecordStep(h.ctx, run.ID, 1, want[0]))
	h.noErr("replace with the same", h.RecordStep(h.ctx, run.ID, 1, want[0]))
	steps, err = h.Steps(h.ctx, run.ID)
	h.noErr("steps", err)
	h.same("steps", steps, want)
	h.end(run.ID, schedules.RunCompleted)
	steps, err = h.Steps(h.ctx, run.ID)
	h.noErr("steps", err)
	h.same("steps of an ended run", steps, want)
}

func testStepFence(h *harness) {
	run := h.free("x")
	step := schedules.Step{Name: "s", Key: "s#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: h.now()}
	h.wantErr("a run nobody claimed", h.RecordStep(h.ctx, run.ID, 1, step), store.ErrStale)
	h.claim(run.ID, 1)
	h.wantErr("a dispatch to come", h.RecordStep(h.ctx, run.ID, 2, step), store.ErrStale)
	h.noErr("the current dispatch", h.RecordStep(h.ctx, run.ID, 1, step))
	kept := step
	c := Transition(h.run(run.ID), h.now())
	c.Run.Status, c.Run.Dispatch, c.Run.Lease, c.Send = schedules.RunPending, 2, time.Time{}, true
	h.noErr("lost", h.CommitRun(h.ctx, c))
	step.Result = json.RawMessage(`"late"`)
	h.wantErr("an older dispatch", h.RecordStep(h.ctx, run.ID, 1, step), store.ErrStale)
	h.wantErr("pending", h.RecordStep(h.ctx, run.ID, 2, step), store.ErrStale)
	h.claim(run.ID, 2)
	h.wantErr("an older dispatch", h.RecordStep(h.ctx, run.ID, 1, step), store.ErrStale)
	h.end(run.ID, schedules.RunCompleted)
	h.wantErr("an ended run", h.RecordStep(h.ctx, run.ID, 2, step), store.ErrStale)
	steps, err := h.Steps(h.ctx, run.ID)
	h.noErr("steps", err)
	h.same("steps", steps, []schedules.Step{kept})
	err = h.RecordStep(h.ctx, schedules.FreeRunID("never"), 1, step)
	if !errors.Is(err, store.ErrStale) && !errors.Is(err, store.ErrNotFound) {
		h.t.Fatalf("step of an unknown run: %v", err)
	}
}

func event(h *harness, i int) schedules.Event {
	return schedules.Event{At: h.now(), Kind: "log", Level: "INFO", Message: fmt.Sprintf("line %d", i), Attrs: map[string]any{"i": float64(i)}}
}

func testEvents(h *harness) {
	run, other := h.free("x"), h.free("y")
	events, next, err := h.Events(h.ctx, run.ID, 0, 10)
	h.noErr("no events", err)
	count(h, "no events", events, 0)
	if next != 0 {
		h.t.Fatalf("position after nothing is %d", next)
	}
	var want []schedules.Event
	for i := range 25 {
		want = append(want, event(h, i))
	}
	h.noErr("append", h.AppendEvents(h.ctx, run.ID, want[:20]...))
	h.noErr("append", h.AppendEvents(h.ctx, run.ID, want[20:]...))
	h.noErr("append nothing", h.AppendEvents(h.ctx, run.ID))
	h.noErr("append to another", h.AppendEvents(h.ctx, other.ID, event(h, 99)))
	var got []schedules.Event
	var pos int64
	for range 3 {
		events, next, err := h.Events(h.ctx, run.ID, pos, 10)
		h.noErr("events", err)
		got = append(got, events...)
		pos = next
	}
	h.same("events", got, want)
	events, next, err = h.Events(h.ctx, run.ID, pos, 10)
	h.noErr("events", err)
	count(h, "no more events", events, 0)
	if next != pos {
		h.t.Fatalf("position went from %d to %d with nothing read", pos, next)
	}

	// A late line, after the end.
	h.end(run.ID, schedules.RunCompleted)
	late := event(h, 100)
	h.noErr("append late", h.AppendEvents(h.ctx, run.ID, late))
	events, _, err = h.Events(h.ctx, run.ID, pos, 10)
	h.noErr("events", err)
	h.same("the late line", events, []schedules.Event{late})
}

func testEventsCap(h *harness) {
	run := h.free("x")
	var mid int64
	for i := 0; i < 2300; i += 100 {
		batch := make([]schedules.Event, 100)
		for n := range batch {
			batch[n] = event(h, i+n)
		}
		h.noErr("append", h.AppendEvents(h.ctx, run.ID, batch...))
		if i == 300 {
			_, next, err := h.Events(h.ctx, run.ID, 0, 1000)
			h.noErr("events", err)
			mid = next
		}
	}
	read := func(pos int64) []schedules.Event {
		var all []schedules.Event
		for {
			events, next, err := h.Events(h.ctx, run.ID, pos, 300)
			h.noErr("events", err)
			if len(events) == 0 {
				return all
			}
			all, pos = append(all, events...), next
		}
	}
	for what, pos := range map[string]int64{"from the start": 0, "from a position that is gone": mid} {
		all := read(pos)
		count(h, what, all, 1000)
		for i, e := range all {
			if want := fmt.Sprintf("line %d", 1300+i); e.Message != want {
				h.t.Fatalf("%s: event %d is %q, want %q", what, i, e.Message, want)
			}
		}
	}
}
