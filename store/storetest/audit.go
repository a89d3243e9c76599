package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

var auditCases = []testCase{
	{"a round looks at everything once and mends nothing that fits", testAuditRound},
	{"what is named", testReindex},
}

// AuditAll takes every shard's audit to the end of its round, and then through a whole one, at most limit records at a time. It gives how many records the whole rounds
// looked at, and what was mended in all.
func AuditAll(ctx context.Context, st store.Store, limit int) (looked int, mended []store.Mend, err error) {
	for shard := range st.Shards() {
		for whole := range 2 {
			for {
				a, err := st.Audit(ctx, shard, limit)
				if err != nil {
					return looked, mended, err
				}
				if a.Looked > limit {
					return looked, mended, fmt.Errorf("looked at %d records, asked for %d", a.Looked, limit)
				}
				mended = append(mended, a.Mended...)
				looked += whole * a.Looked
				if a.Round {
					break
				}
			}
		}
	}
	return looked, mended, nil
}

// Audit fails the test unless every index entry of a store fits its record.
func Audit(t *testing.T, st store.Store) {
	t.Helper()
	_, mended, err := AuditAll(context.WithoutCancel(t.Context()), st, 100)
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	for _, m := range mended {
		t.Errorf("the entry of %s%s in %s lay at %s, its record says %s", m.Ref.ID, m.RunID, m.Index, m.Was, m.Is)
	}
}

// sound is Audit after a case; a store that the case has closed, or that cannot be written, is left alone.
func (h *harness) sound() {
	h.t.Helper()
	if h.Ping(h.ctx) == nil {
		Audit(h.t, h.Store)
	}
}

func testAuditRound(h *harness) {
	const n = 130
	var waiting schedules.Ref
	for i := range n {
		ref := h.create(fmt.Sprintf("s%03d", i))
		switch i % 6 {
		case 1:
			run := h.start(ref, h.now())
			h.claim(run.ID, 1)
		case 2:
			h.start(ref, h.now(), func(c *schedules.Change) {
				c.PushRegular, c.Schedule.WaitingRegular = Waiting(schedules.TriggerSchedule, 0, h.now(), 2), 2
			})
			waiting = ref
		case 3:
			h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusPaused })
		case 4:
			h.modify(ref, func(c *schedules.Change) {
				c.Schedule.Status, c.Schedule.NextDue = schedules.StatusFinished, time.Time{}
			})
		case 5:
			run := h.start(ref, h.now())
			h.end(run.ID, schedules.RunCompleted)
			h.modify(ref, func(c *schedules.Change) { c.Schedule.Status = schedules.StatusDeleted })
		}
		h.free(fmt.Sprint(i))
	}
	ended := h.free("ended")
	h.end(ended.ID, schedules.RunFailed)
	before := h.load(waiting).Schedule.Revision
	active := 2*22 + n // of schedules, of none
	for _, limit := range []int{1000, 100, 7, 1} {
		looked, mended, err := AuditAll(h.ctx, h.Store, limit)
		h.noErr("audit", err)
		count(h, fmt.Sprintf("mended, %d at a time", limit), mended, 0)
		if looked != n+active {
			h.t.Fatalf("looked at %d records, %d at a time; there are %d schedules and %d active runs", looked, limit, n, active)
		}
	}
	// Time passes: what is overdue fits all the same.
	h.clock.Advance(time.Hour)
	_, mended, err := AuditAll(h.ctx, h.Store, 100)
	h.noErr("audit", err)
	count(h, "mended an hour later", mended, 0)
	// A clock that went back leaves the next look at what waits too far ahead.
	h.clock.Advance(-3 * time.Hour)
	_, mended, err = AuditAll(h.ctx, h.Store, 100)
	h.noErr("audit", err)
	count(h, "mended after a step back", mended, 22)
	for _, m := range mended {
		if m.Index != store.IndexTimers || m.Ref.ID == "" || !m.Is.Equal(h.now()) {
			h.t.Fatalf("mended %+v, want a look at a schedule now", m)
		}
	}
	if after := h.load(waiting).Schedule.Revision; after != before {
		h.t.Fatalf("an audit moved the revision from %d to %d", before, after)
	}
}

func testReindex(h *harness) {
	ref := h.create("a")
	run := h.start(ref, h.now())
	free := h.free("x")
	mended, err := h.Reindex(h.ctx, store.Timer{Ref: ref}, store.Timer{RunID: run.ID}, store.Timer{RunID: free.ID},
		store.Timer{Ref: schedules.Ref{ID: "b", Incarnation: "none"}}, store.Timer{RunID: schedules.FreeRunID("none")}, store.Timer{RunID: "none"})
	h.noErr("mend what fits and what is not there", err)
	count(h, "mended", mended, 0)
	mended, err = h.Reindex(h.ctx)
	h.noErr("mend nothing", err)
	count(h, "mended", mended, 0)
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	if _, err := h.Audit(ctx, 0, 10); !errors.Is(err, context.Canceled) {
		h.t.Fatalf("audit under an ended context: %v", err)
	}
}
