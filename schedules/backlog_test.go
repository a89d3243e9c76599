package schedules

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// backlog is a world in which a run is active and n regular ticks wait behind it, a manual one among every fifty.
func backlog(t *testing.T, n int, p Patch) *world {
	w := emptyWorld(midnight)
	w.t = t
	w.create(Definition{Spec: every("1s", FromStart), Overlap: OverlapBufferAll, BufferLimit: 10_000, Catchup: CatchupAll})
	w.settle()
	for i := range n {
		w.now = w.now.Add(time.Second)
		w.settle()
		if i%50 == 49 {
			trigger("")(w)
		}
	}
	update(p)(w)
	if len(w.regular) != n || len(w.active) != 1 {
		t.Fatalf("%d ticks wait behind %d runs", len(w.regular), len(w.active))
	}
	return w
}

// once decides a single batch.
func (w *world) once() Change {
	w.t.Helper()
	c, ok := Decide(w.state(), w.now)
	if !ok {
		w.fail("nothing to decide")
	}
	w.commit(c)
	return c
}

// claimAll lets workers claim every pending run.
func (w *world) claimAll() {
	for _, id := range w.active {
		if r := w.runs[id]; r.Status == RunPending && r.CancelAt.IsZero() {
			r.Status, r.Lease, r.Due, r.Worker = RunRunning, w.now.Add(time.Hour), time.Time{}, "host"
			r.Revision++
			w.runs[id] = r
		}
	}
}

func (w *world) fateCount(kind FateKind, reason string) (n int) {
	for _, f := range w.fates {
		if f.Fate == kind && f.Reason == reason {
			n++
		}
	}
	return n
}

func TestCancelOtherDropsALongBacklog(t *testing.T) {
	w := backlog(t, 250, Patch{Overlap: ptr(OverlapCancelOther)})
	w.claimAll()
	first := w.active[0]
	w.now = w.now.Add(time.Second)
	batches := 1
	for c := w.once(); c.More; c = w.once() {
		batches++
	}
	if got := w.fateCount(FateDropped, ReasonSuperseded); got != 255 || batches < 3 {
		t.Errorf("%d ticks dropped in %d batches", got, batches)
	}
	if r := w.runs[first]; r.CancelAt.IsZero() {
		t.Errorf("the active run is not asked to cancel")
	}
	w.change(EndAttempt(w.runs[first], Outcome{Kind: OutcomeFailed}, RunOptions{}, w.now, 0))
	if len(w.active) != 1 || !w.runs[w.active[0]].Nominal.Equal(midnight.Add(251*time.Second)) {
		t.Errorf("active after the cancelled run: %v", w.active)
	}
}

func TestADoomedTickNeverStarts(t *testing.T) {
	for name, act := range map[string]func(w *world){
		"by a trigger": trigger(OverlapAllowAll),
		"by a resume":  func(w *world) { pause(w); resume(w) },
		"by a beat":    func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := backlog(t, 150, Patch{Overlap: ptr(OverlapCancelOther)})
			w.now = w.now.Add(time.Second)
			w.slow = true // the run ends at the moment of the next tick
			w.finish(w.runs[w.active[0]], Outcome{Kind: OutcomeCompleted})
			w.slow = false
			w.once() // … and the beat crashes after the first batch
			act(w)
			w.settle()
			for _, f := range w.fates {
				if f.Fate == FateStarted && f.Reason == ReasonOverlap && f.Tick.Nominal.Before(midnight.Add(151*time.Second)) {
					t.Errorf("tick %s was superseded and starts", f.Tick.Key())
				}
			}
			if got := w.fateCount(FateDropped, ReasonSuperseded); got != 153 {
				t.Errorf("%d ticks dropped", got)
			}
		})
	}
}

func TestCancelOtherAsksManyRunsToCancel(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	w.create(Definition{Spec: every("1s", FromStart), Overlap: OverlapAllowAll})
	for range 250 {
		w.settle()
		w.now = w.now.Add(time.Second)
	}
	w.now = w.now.Add(-time.Second)
	w.claimAll()
	update(Patch{Overlap: ptr(OverlapCancelOther), CancelGrace: ptr(Duration(time.Minute))})(w)
	w.now = w.now.Add(time.Second)
	asked := w.now
	for c := w.once(); c.More; c = w.once() {
		w.now = w.now.Add(10 * time.Millisecond)
	}
	later := w.now.Add(time.Second) // a later tick does not extend the grace
	w.now = later
	w.settle()
	for _, id := range w.active {
		if r := w.runs[id]; r.CancelAt.IsZero() || r.CancelDeadline.Sub(asked) > time.Minute+50*time.Millisecond {
			t.Fatalf("run of %s: asked at %s, deadline %s", r.Nominal, r.CancelAt, r.CancelDeadline)
		}
	}
	w.now = asked.Add(time.Minute + 50*time.Millisecond)
	for _, id := range slices.Clone(w.active) {
		if c, ok := RunDue(w.runs[id], false, w.now); ok {
			w.change(c)
		}
	}
	if len(w.active) != 1 || w.s.Cancelled != 250 {
		t.Errorf("%d active, %d cancelled", len(w.active), w.s.Cancelled)
	}
}

func TestDeleteDropsALongBacklog(t *testing.T) {
	w := backlog(t, 150, Patch{})
	for i := range 3 {
		bf, _, err := PlanBackfill(w.state(), w.now, BackfillRequest{Nonce: fmt.Sprint(i), Start: midnight.Add(-150 * time.Second), End: midnight})
		if err != nil {
			t.Fatal(err)
		}
		w.act(AddBackfill(w.state(), w.now, bf))
	}
	w.settleFor(ReasonDeleted)
	w.act(Delete(w.state(), w.now, false))
	if got := w.fateCount(FateDropped, ReasonDeleted); got != 150+3+3*150 || len(w.s.Backfills) > 0 {
		t.Errorf("%d ticks dropped, unfinished backfills %v", got, w.s.Backfills)
	}
	w.finish(w.runs[w.active[0]], Outcome{Kind: OutcomeCompleted})
	if w.s.Successful != 1 || w.s.Total != 1 || w.s.Status != StatusDeleted {
		t.Errorf("after the last run: %+v", w.s)
	}
}

// A completion interval whose first ticks nobody decided: each keeps its fate, though the first of them moves the anchor.
func TestCompletionCatchesUpBeforeAnyRun(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	w.create(Definition{Spec: every("1s", FromCompletion), Catchup: CatchupAll})
	w.now = w.now.Add(250 * time.Second)
	w.settle()
	if len(w.fates) != 251 || w.s.Total != 1 || w.s.Skipped != 250 {
		t.Errorf("%d fates, %d started, %d skipped; should be 251, 1 and 250", len(w.fates), w.s.Total, w.s.Skipped)
	}
	if next := w.now.Add(time.Second); !w.s.NextNominal.Equal(next) {
		t.Errorf("next tick %s, should be %s", w.s.NextNominal, next)
	}
}

// The end of a run makes what waits due; an act that comes before the keeper must not make it wait for longer.
func TestAnActStartsWhoseTurnHasCome(t *testing.T) {
	for name, act := range map[string]func(w *world){
		"pause":    pause,
		"update":   update(Patch{BufferLimit: ptr(7)}),
		"trigger":  trigger(OverlapSkip),
		"backfill": backfill(-time.Minute, 0, 1),
	} {
		t.Run(name, func(t *testing.T) {
			w := backlog(t, 1, Patch{})
			w.slow = true
			w.finish(w.runs[w.active[0]], Outcome{Kind: OutcomeCompleted})
			w.slow = false
			act(w)
			if f := w.fates[Tick{Nominal: midnight.Add(time.Second)}.Key()]; f.Fate != FateStarted {
				t.Errorf("the waiting tick is %s", f.Fate)
			}
		})
	}
}

func TestABackfillGoesOnWhenItMay(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	w.create(Definition{Spec: every("1h", FromStart)})
	w.settle()
	w.now = w.now.Add(time.Second)
	backfill(-5*time.Hour, 0, 2)(w)
	if len(w.active) != 1 {
		t.Fatalf("%d active", len(w.active))
	}
	update(Patch{Overlap: ptr(OverlapAllowAll)})(w)
	if len(w.active) != 3 {
		t.Errorf("%d runs active after the change to allow_all, should be the regular one and two", len(w.active))
	}
}

// What a run does must not move the delay of a tick: it depends on the schedule and the nominal time only.
func TestJitterOfACompletionInterval(t *testing.T) {
	spec := every("10s", FromCompletion)
	spec.Jitter = Duration(time.Hour)
	limit := JitterDelay(spec.Jitter, "s", midnight.Add(10*time.Second), midnight.Add(20*time.Second))
	for _, ended := range []time.Duration{0, 19 * time.Second, 25 * time.Second, time.Minute} {
		s := Schedule{Record: Record{ID: "s", Definition: Definition{Spec: spec}, CreatedAt: midnight}, Progress: Progress{AnchorStart: midnight}}
		if ended > 0 {
			s.AnchorEnd = midnight.Add(ended)
		}
		d, err := newDraft(State{Schedule: s}, midnight)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.due(midnight.Add(10 * time.Second)).Sub(midnight.Add(10 * time.Second)); got != limit {
			t.Errorf("run ended after %s: delay %s, should be %s", ended, got, limit)
		}
	}
}

// What --missing-only leaves out: what has a run, will have one, or is about to.
func TestMissingOnlyLeavesOutTheTickThatJitterHoldsBack(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	spec := Spec{Cron: "0 * * * *", Jitter: Duration(30 * time.Minute)}
	w.create(Definition{Spec: spec})
	w.now = w.s.NextDue.Add(-time.Millisecond)
	if !w.s.NextNominal.Before(w.now) {
		t.Fatalf("the tick is not delayed: due %s", w.s.NextDue)
	}
	req := BackfillRequest{Start: midnight.Add(-2 * time.Hour), Has: func(n time.Time) bool { return n.Before(midnight.Add(-time.Hour)) }}
	_, times, err := PlanBackfill(w.state(), w.now, req)
	if want := []time.Time{midnight.Add(-time.Hour)}; err != nil || !slices.Equal(times, want) {
		t.Errorf("%v, %v; should be %v", times, err, want)
	}
}
