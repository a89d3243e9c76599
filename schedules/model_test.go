package schedules

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world keeps what a store keeps, applies changes as the store's contract says, and checks every promise on the way.
type world struct {
	t interface {
		Helper()
		Fatalf(format string, args ...any)
	}
	now       time.Time
	s         Schedule
	regular   []WaitingTick
	manual    []WaitingTick
	active    []string // oldest first
	runs      map[string]Run
	fates     map[string]Fate
	triggers  map[string]TriggerResult // by the key of the tick
	backfills map[string]Backfill
	policies  map[string]OverlapPolicy // of manual ticks, by run id
	nonce     int
	missed    int64 // regular ticks of that fate in the history
	skipped   int64 // skipped or dropped ones
	out       bool  // no beat decides
	slow      bool  // no keeper follows the end of a run: an act may come first
	gap       bool  // the decided range jumped (resume, update): ticks between were never due
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("at %s: %s\nschedule: %+v", w.now.Format(time.RFC3339Nano), fmt.Sprintf(format, args...), w.s)
}

func (w *world) state() State {
	n := max(1, w.s.HeadWanted)
	st := State{Schedule: w.s, Regular: head(w.regular, n), Manual: head(w.manual, n)}
	st.Schedule.Backfills = slices.Clone(w.s.Backfills)
	free, rest := []ActiveRun{}, []ActiveRun{}
	for _, id := range w.active {
		r := w.runs[id]
		a := ActiveRun{ID: id, CancelRequested: !r.CancelAt.IsZero(), Backfill: r.BackfillID != ""}
		if a.CancelRequested || a.Backfill {
			rest = append(rest, a)
		} else {
			free = append(free, a)
		}
	}
	st.Active = head(append(free, rest...), n)
	if len(w.s.Backfills) > 0 {
		bf := w.backfills[w.s.Backfills[0]]
		st.Backfill = &bf
	}
	return st
}

func head[T any](all []T, n int) []T { return slices.Clone(all[:min(n, len(all))]) }

func (w *world) commit(c Change) {
	w.t.Helper()
	if c.Expect == 0 && c.Schedule.ID == "" {
		return // nothing to write
	}
	if c.Expect != w.s.Revision {
		w.fail("expects revision %d, is %d", c.Expect, w.s.Revision)
	}
	if len(c.Fates) > 2*BatchLimit || len(c.Start) > 2*BatchLimit+1 || len(c.Cancel) > BatchLimit {
		w.fail("a change of %d fates, %d runs, %d cancels is no batch", len(c.Fates), len(c.Start), len(c.Cancel))
	}
	before := w.s
	w.s = c.Schedule
	for _, q := range []struct {
		all []WaitingTick
		pop int
	}{{w.regular, c.PopRegular}, {w.manual, c.PopManual}} {
		for _, tick := range q.all[:q.pop] {
			if tick.Seq < before.DropBelow && slices.ContainsFunc(c.Start, func(r Run) bool { return r.ID == TickRunID(before.Ref(), tick.Tick) }) {
				w.fail("tick %s starts though it is to be dropped", tick.Tick.Key())
			}
		}
	}
	for range c.PopRegular {
		w.regular = w.regular[1:]
	}
	for range c.PopManual {
		w.manual = w.manual[1:]
	}
	activeBefore := int64(len(w.active))
	w.regular = append(w.regular, c.PushRegular...)
	w.manual = append(w.manual, c.PushManual...)
	for _, bf := range c.Backfills {
		w.backfills[bf.ID] = bf
	}
	w.checkStarts(c, activeBefore)
	for _, f := range c.Fates {
		w.checkFate(f)
	}
	for _, q := range c.Cancel {
		r := w.runs[q.RunID]
		if r.Status.Ended() || !r.CancelAt.IsZero() {
			continue
		}
		if r.BackfillID != "" {
			w.fail("a backfill's run %s is asked to cancel", r.ID)
		}
		r.CancelAt, r.CancelDeadline, r.CancelReason, r.Due = c.Now, q.Deadline, q.Reason, c.Now
		if r.Status == RunRunning {
			r.Due = q.Deadline
		}
		r.Revision++
		w.runs[r.ID] = r
	}
	w.checkDecided(before, c)
	w.invariants(c.More)
}

func (w *world) checkStarts(c Change, active int64) {
	for _, r := range c.Start {
		if _, ok := w.runs[r.ID]; ok {
			w.fail("run %s starts twice", r.ID)
		}
		policy := w.s.Overlap
		if p, ok := w.policies[r.ID]; ok {
			policy = p
		}
		if f := c.Fates[slices.IndexFunc(c.Fates, func(f Fate) bool { return f.RunID == r.ID && f.Fate == FateStarted })]; f.Waited > 0 && policy == OverlapAllowAll && w.s.Overlap != OverlapAllowAll {
			w.fail("a tick under allow_all waited")
		}
		switch {
		case policy == OverlapAllowAll:
		case r.Trigger == TriggerBackfill:
			bf := w.backfills[r.BackfillID]
			if w.s.Overlap == OverlapAllowAll {
				active = w.s.ActiveBackfill - 1
			} else if w.s.WaitingManual > 0 || w.s.WaitingRegular > 0 && w.s.Status != StatusPaused {
				w.fail("backfill run %s goes before what waits", r.ID)
			}
			if active >= int64(bf.Parallel) {
				w.fail("backfill run %s starts beside %d active ones", r.ID, active)
			}
		case active > 0:
			w.fail("run %s (%s, %s) starts beside %d active ones", r.ID, r.Trigger, policy, active)
		}
		if w.s.Status == StatusPaused && r.Trigger.Regular() {
			w.fail("run %s of a regular tick starts while paused", r.ID)
		}
		w.runs[r.ID] = r
		w.active = append(w.active, r.ID)
		active++
	}
}

func (w *world) checkFate(f Fate) {
	key := f.Tick.Key()
	old, known := w.fates[key]
	switch {
	case known && old.Fate != FateBuffered:
		w.fail("tick %s was %s and becomes %s", key, old.Fate, f.Fate)
	case known && f.Fate != FateStarted && f.Fate != FateDropped:
		w.fail("tick %s waited and becomes %s", key, f.Fate)
	case !known && f.Fate == FateDropped && f.Tick.Trigger != TriggerBackfill:
		w.fail("tick %s is dropped but never waited", key)
	}
	if known && old.RunID != f.RunID && f.Fate == FateStarted {
		w.fail("tick %s was promised run %s and starts %s", key, old.RunID, f.RunID)
	}
	if f.Fate == FateStarted && f.RunID != TickRunID(w.s.Ref(), f.Tick) {
		w.fail("tick %s starts run %s", key, f.RunID)
	}
	if (f.Fate == FateSkipped || f.Fate == FateMissed || f.Fate == FateDropped || f.Fate == FateBuffered) && f.Reason == "" {
		w.fail("tick %s is %s without a reason", key, f.Fate)
	}
	if !known && f.Tick.Trigger.Regular() && f.Tick.Nominal.After(f.DecidedAt) {
		w.fail("tick %s is decided before its time", key)
	}
	w.fates[key] = f
	w.checkAgain(key)
	if !f.Tick.Trigger.Regular() {
		return
	}
	switch f.Fate {
	case FateMissed:
		w.missed++
	case FateSkipped, FateDropped:
		w.skipped++
	}
}

// checkAgain holds that whoever repeats a trigger is told what the first call was told, whatever has become of the tick.
func (w *world) checkAgain(key string) {
	first, ok := w.triggers[key]
	again := TriggerAgain(w.s.Ref(), w.fates[key])
	again.BlockedBy = first.BlockedBy // of no meaning later
	if ok && again != first {
		w.fail("the trigger of tick %s came to %+v, and its fate says %+v", key, first, again)
	}
}

// checkDecided holds the fates of regular ticks against the spec: between the old and the new end of the decided range each nominal time has one, and nothing else has.
func (w *world) checkDecided(before Schedule, c Change) {
	from, to := before.DecidedUntil, w.s.DecidedUntil
	if c.Expect == 0 {
		return // just created
	}
	if to.Before(from) {
		w.fail("decided until moves back from %s", from)
	}
	var got []time.Time
	for _, f := range c.Fates {
		if f.Tick.Trigger.Regular() && f.Tick.Nominal.After(from) {
			got = append(got, f.Tick.Nominal)
		}
	}
	if w.gap || w.s.Spec.Interval != "" && w.s.Spec.IntervalFrom != FromStart {
		return
	}
	timing, err := Compile(w.s.Spec)
	if err != nil {
		w.fail("stored spec: %v", err)
	}
	var want []time.Time
	for n := range timing.Between(w.s.base(), from.Add(time.Millisecond), to.Add(time.Millisecond)) {
		want = append(want, n)
	}
	if !slices.EqualFunc(got, want, time.Time.Equal) {
		w.fail("decided %v, should be %v", got, want)
	}
}

func (w *world) invariants(more bool) {
	s := &w.s
	if s.Total != s.Successful+s.Failed+s.Cancelled+s.Active {
		w.fail("total is not the sum of its parts")
	}
	if s.Active != int64(len(w.active)) || s.WaitingRegular != int64(len(w.regular)) || s.WaitingManual != int64(len(w.manual)) {
		w.fail("counts: active %d, waiting %d + %d", len(w.active), len(w.regular), len(w.manual))
	}
	var bfActive int64
	for _, id := range w.active {
		if w.runs[id].BackfillID != "" {
			bfActive++
		}
	}
	if bfActive != s.ActiveBackfill {
		w.fail("%d backfill runs are active", bfActive)
	}
	if w.missed != s.Missed || w.skipped != s.Skipped {
		w.fail("%d missed, %d skipped and dropped ticks in the history", w.missed, w.skipped)
	}
	for _, q := range [][]WaitingTick{w.regular, w.manual} {
		if !slices.IsSortedFunc(q, func(a, b WaitingTick) int { return int(a.Seq - b.Seq) }) {
			w.fail("a queue is out of order")
		}
	}
	if s.Status == StatusActive && s.NextNominal.IsZero() || s.NextDue.Before(s.NextNominal) || !s.NextNominal.IsZero() && !s.NextNominal.After(s.DecidedUntil) {
		w.fail("the next tick is amiss")
	}
	if (s.Waiting() > 0 || len(s.Backfills) > 0) && !s.WakeOnEnd {
		w.fail("nobody would wake what waits")
	}
	releasable := s.WaitingManual
	if s.Status == StatusActive || s.Status == StatusFinished {
		releasable += s.WaitingRegular
	}
	if !more && s.Active == 0 && s.Status != StatusDeleted && (releasable > 0 || len(s.Backfills) > 0) {
		w.fail("%d ticks and %d backfills wait with nothing in their way", releasable, len(s.Backfills))
	}
	if !more && s.Status == StatusDeleted && s.Waiting() > 0 {
		w.fail("ticks wait in a deleted schedule")
	}
	for id, bf := range w.backfills {
		if bf.Started+bf.Dropped > bf.Count || bf.Started != bf.Active+bf.Successful+bf.Failed+bf.Cancelled {
			w.fail("backfill %s does not add up: %+v", id, bf)
		}
		if over := bf.Status == BackfillCompleted || bf.Status == BackfillCancelled; over == slices.Contains(s.Backfills, id) || over && bf.Started+bf.Dropped != bf.Count {
			w.fail("backfill %s is %s", id, bf.Status)
		}
	}
}

// settle lets a beat decide until nothing more is due.
func (w *world) settle() {
	for range 500 {
		c, ok := Decide(w.state(), w.now)
		if !ok {
			if s := &w.s; s.Status == StatusActive && !s.NextDue.After(w.now) {
				w.fail("a tick is due and nothing is decided")
			}
			return
		}
		w.commit(c)
		w.gap = false
	}
	w.fail("there is always more to decide")
}

func (w *world) settleFor(reason string) {
	for {
		c, ok := Settle(w.state(), w.now, reason)
		if !ok {
			return
		}
		w.commit(c)
	}
}

// change applies a transition of a run.
func (w *world) change(c RunChange) {
	old := w.runs[c.Run.ID]
	if old.Status.Ended() {
		w.fail("run %s had ended", old.ID)
	}
	if c.Expect != old.Revision || c.Run.Dispatch < old.Dispatch || c.Send && old.Dispatch == c.Run.Dispatch && old.Sent && old.Status != RunRetrying {
		w.fail("run %s: %+v after %+v", old.ID, c.Run.RunProgress, old.RunProgress)
	}
	if !old.CancelAt.IsZero() && c.Run.Status != RunCompleted && c.Run.Status != RunCancelled && (c.Run.Dispatch != old.Dispatch || c.Run.Status.Ended()) {
		w.fail("run %s was asked to cancel and becomes %s", old.ID, c.Run.Status)
	}
	w.runs[c.Run.ID] = c.Run
	if !c.Run.Status.Ended() && c.Run.Status != RunRunning && c.Run.Due.IsZero() {
		w.fail("run %s has no timer", c.Run.ID)
	}
	e, ok := c.Ends()
	if !ok {
		return
	}
	s := &w.s
	i := slices.Index(w.active, c.Run.ID)
	if i < 0 {
		w.fail("run %s ends but is not active", c.Run.ID)
	}
	w.active = slices.Delete(w.active, i, i+1)
	s.Active--
	s.Successful += e.Successful
	s.Failed += e.Failed
	s.Cancelled += e.Cancelled
	if e.Backfill {
		s.ActiveBackfill--
		bf := w.backfills[c.Run.BackfillID]
		bf.Active--
		bf.Successful += e.Successful
		bf.Failed += e.Failed
		bf.Cancelled += e.Cancelled
		w.backfills[bf.ID] = bf
	}
	if s.AnchorRunID == c.Run.ID {
		s.AnchorEnd = e.At
	}
	s.Revision++
	w.invariants(true)
	if s.WakeOnEnd && !w.slow {
		w.settle()
	}
}

func (w *world) pickRun(t *rapid.T) (Run, bool) {
	if len(w.active) == 0 {
		return Run{}, false
	}
	return w.runs[rapid.SampledFrom(w.active).Draw(t, "run")], true
}

var modelSpecs = []Spec{
	{Cron: "* * * * *"}, {Cron: "*/7 * * * * *"}, {Cron: "30 2 * * *", Timezone: "Europe/Berlin"}, {Interval: "5s", IntervalFrom: FromStart}, {Interval: "7s"}, {Interval: "1m"},
	{Interval: "1m", IntervalFrom: FromStart, Jitter: Duration(40 * time.Second)}, {Interval: "10s", Jitter: Duration(time.Minute)}, {Calendar: []Calendar{{Minute: "*/10", Hour: "*"}}},
	{Cron: "*/20 * * * * *", Jitter: Duration(15 * time.Second)},
}

var modelPolicies = []OverlapPolicy{OverlapSkip, OverlapBufferOne, OverlapBufferAll, OverlapCancelOther, OverlapAllowAll}

func newWorld(t *rapid.T) *world {
	w := emptyWorld(time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC))
	w.t = t
	w.create(Definition{
		Spec: rapid.SampledFrom(modelSpecs).Draw(t, "spec"), Overlap: rapid.SampledFrom(modelPolicies).Draw(t, "policy"), BufferLimit: rapid.SampledFrom([]int{1, 3, 300}).Draw(t, "limit"),
		Catchup: rapid.SampledFrom([]Catchup{CatchupOne, CatchupAll, CatchupNone}).Draw(t, "catchup"), CatchupWindow: rapid.SampledFrom([]Duration{Duration(10 * time.Second), Duration(time.Hour), Duration(24 * time.Hour)}).Draw(t, "window"),
	})
	return w
}

func emptyWorld(now time.Time) *world {
	return &world{now: now, runs: map[string]Run{}, fates: map[string]Fate{}, triggers: map[string]TriggerResult{}, backfills: map[string]Backfill{}, policies: map[string]OverlapPolicy{}}
}

func (w *world) create(def Definition) {
	w.t.Helper()
	c, err := Create(CreateRequest{ID: "s", Incarnation: "1", Workflow: "w", Definition: def}, w.now)
	if err != nil {
		w.t.Fatalf("create: %v", err)
	}
	w.commit(c)
}

func (w *world) act(c Change, err error) bool {
	w.t.Helper()
	if err != nil {
		if w.s.Status != StatusDeleted {
			w.fail("act: %v", err)
		}
		return false
	}
	w.commit(c)
	if c.More {
		w.settle()
	} else if left, more := Decide(w.state(), w.now); more && w.s.Status != StatusActive || more && w.s.NextDue.After(w.now) {
		w.fail("an act left something to decide, and nobody would: %+v", left)
	}
	return true
}

func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // a history is cheap: play many
		if err := f.Value.Set("3000"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"tick": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 15_000).Draw(t, "ms")) * time.Millisecond)
				w.settle()
			},
			"outage": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{9, 11, 60, 700, 5_000}).Draw(t, "s")) * time.Second)
			},
			"one batch, then a crash": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3_000).Draw(t, "s")) * time.Second)
				if c, ok := Decide(w.state(), w.now); ok {
					w.commit(c)
				}
			},
			"clock back": func(t *rapid.T) {
				w.now = w.now.Add(-time.Duration(rapid.IntRange(1, 3600).Draw(t, "s")) * time.Second)
				w.settle()
			},
			"claim": func(t *rapid.T) {
				if r, ok := w.pickRun(t); ok && r.Status == RunPending && r.CancelAt.IsZero() {
					r.Status, r.Lease, r.Due, r.Worker = RunRunning, w.now.Add(Lease), time.Time{}, "host"
					r.Revision++
					w.runs[r.ID] = r
				}
			},
			"end": func(t *rapid.T) {
				r, ok := w.pickRun(t)
				if !ok || r.Status != RunRunning {
					return
				}
				o := Outcome{Kind: OutcomeKind(rapid.IntRange(0, 2).Draw(t, "outcome")), Error: &RunError{Message: "m"}}
				w.change(EndAttempt(r, o, RunOptions{MaxRetries: 1}, w.now, 0.5))
			},
			"end, and no keeper sees it yet": func(t *rapid.T) {
				if r, ok := w.pickRun(t); ok {
					w.slow = true
					w.finish(r, Outcome{Kind: OutcomeCompleted})
					w.slow = false
				}
			},
			"lose": func(t *rapid.T) {
				if r, ok := w.pickRun(t); ok && r.Status == RunRunning {
					w.change(LoseRun(r, w.now))
				}
			},
			"cancel": func(t *rapid.T) {
				if r, ok := w.pickRun(t); ok {
					if c, ok := RequestCancel(r, "asked", 0, w.now); ok {
						w.change(c)
					}
				}
			},
			"run timers": func(t *rapid.T) {
				for _, id := range slices.Clone(w.active) {
					if c, ok := RunDue(w.runs[id], rapid.Bool().Draw(t, "gone"), w.now); ok && !w.runs[id].Status.Ended() {
						w.change(c)
					}
				}
			},
			"trigger": func(t *rapid.T) {
				w.settleFor("")
				w.nonce++
				req := TriggerRequest{Nonce: fmt.Sprint(w.nonce), Overlap: rapid.SampledFrom(append(modelPolicies, "")).Draw(t, "overlap")}
				policy := req.Overlap
				if policy == "" {
					policy = w.s.Overlap
				}
				tick := Tick{Trigger: TriggerManual, Nominal: w.now, Nonce: req.Nonce}
				w.policies[TickRunID(w.s.Ref(), tick)] = policy
				before := w.s.NextNominal
				c, res, err := TriggerNow(w.state(), w.now, req)
				if !w.act(c, err) {
					return
				}
				w.triggers[tick.Key()] = res
				w.checkAgain(tick.Key())
				if (res.RunID == "") != (res.Outcome == FateSkipped) {
					w.fail("trigger: %+v", res)
				}
				if w.s.Status == StatusPaused && !w.s.NextNominal.Equal(before) {
					w.fail("a trigger moved the next tick")
				}
			},
			"pause": func(t *rapid.T) {
				w.settleFor(ReasonPaused)
				w.act(Pause(w.state(), w.now, nil))
			},
			"resume": func(t *rapid.T) {
				w.settleFor("")
				w.gap = true
				started := len(w.runs)
				waiting := len(w.regular) + len(w.manual) + len(w.s.Backfills)
				w.act(Resume(w.state(), w.now, nil))
				if len(w.runs) > started && waiting == 0 {
					w.fail("resume started something old")
				}
				w.settle()
				w.gap = false
			},
			"update": func(t *rapid.T) {
				w.settleFor("")
				var p Patch
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					spec := rapid.SampledFrom(modelSpecs).Draw(t, "spec")
					p.Spec = &spec
				case 1:
					policy := rapid.SampledFrom(modelPolicies).Draw(t, "policy")
					p.Overlap = &policy
				case 2:
					limit := rapid.SampledFrom([]int{1, 2, 500}).Draw(t, "limit")
					p.BufferLimit = &limit
				case 3:
					end := w.now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "end")) * time.Minute)
					spec := w.s.Spec
					spec.EndAt = end
					p.Spec = &spec
				}
				next := w.s.NextNominal
				w.gap = p.Spec != nil
				if w.act(Update(w.state(), w.now, p)) && p.Spec == nil && w.s.Status != StatusFinished && !w.s.NextNominal.Equal(next) {
					w.fail("an update of something else moved the next tick from %s", next)
				}
				w.gap = false
			},
			"backfill": func(t *rapid.T) {
				w.settleFor("")
				w.nonce++
				end := w.now.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "end")) * time.Second)
				req := BackfillRequest{Nonce: fmt.Sprint(w.nonce), End: end, Start: end.Add(-time.Duration(rapid.IntRange(1, 2000).Draw(t, "span")) * time.Second), Parallel: rapid.IntRange(1, 3).Draw(t, "parallel")}
				if rapid.Bool().Draw(t, "missing only") {
					has := map[int64]bool{}
					for _, f := range w.fates {
						has[f.Tick.Nominal.UnixMilli()] = f.RunID != ""
					}
					req.Has = func(n time.Time) bool { return has[n.UnixMilli()] }
				}
				bf, times, err := PlanBackfill(w.state(), w.now, req)
				if err != nil {
					if w.s.Status != StatusDeleted {
						w.fail("plan: %v", err)
					}
					return
				}
				for _, n := range times {
					if n.Before(req.Start) || !n.Before(req.End) || req.Has != nil && req.Has(n) {
						w.fail("backfill of [%s, %s) takes %s", req.Start, req.End, n)
					}
				}
				if len(times) == 0 || len(w.s.Backfills) >= MaxWaitingBackfills {
					return
				}
				w.act(AddBackfill(w.state(), w.now, bf))
			},
			"cancel backfill": func(t *rapid.T) {
				w.settleFor("")
				if len(w.s.Backfills) == 0 {
					return
				}
				bf := w.backfills[rapid.SampledFrom(w.s.Backfills).Draw(t, "backfill")]
				c, err := CancelBackfill(w.state(), w.now, bf)
				if err == nil && c.Schedule.ID == "" {
					return
				}
				w.act(c, err)
			},
			"delete": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "sure") > 0 {
					return
				}
				w.settleFor(ReasonDeleted)
				w.act(Delete(w.state(), w.now, false))
			},
		})
	})
}
