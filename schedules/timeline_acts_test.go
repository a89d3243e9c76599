package schedules

import (
	"encoding/json"
	"testing"
	"time"
)

func status(want Status) func(*world) {
	return func(w *world) {
		w.t.Helper()
		if w.s.Status != want || w.s.NextRunTime().IsZero() != (want != StatusActive) {
			w.fail("status %s, next run %s; should be %s", w.s.Status, w.s.NextRunTime(), want)
		}
	}
}

func cancelBackfill(nth int) func(*world) {
	return func(w *world) {
		w.settleFor("")
		w.act(CancelBackfill(w.state(), w.now, w.backfills[w.s.Backfills[nth]]))
	}
}

func another(nonce string, from, to time.Duration) func(*world) {
	return func(w *world) {
		w.settleFor("")
		bf, _, err := PlanBackfill(w.state(), w.now, BackfillRequest{Nonce: nonce, Start: midnight.Add(from), End: midnight.Add(to)})
		if err != nil {
			w.t.Fatalf("plan: %v", err)
		}
		w.act(AddBackfill(w.state(), w.now, bf))
	}
}

func until(spec Spec, end time.Duration) Spec {
	spec.EndAt = midnight.Add(end)
	return spec
}

func TestTimelinesOfStatus(t *testing.T) {
	grid := every("10s", FromStart)
	for _, tl := range []timeline{
		{name: "finished, and revived by an update", def: Definition{Spec: until(grid, 15*time.Second)},
			acts: []act{{"12s", status(StatusFinished)}, {"13s", resume}, {"14s", status(StatusFinished)}, {"33s", update(Patch{Spec: ptr(until(grid, 55*time.Second))})}, {"33s", status(StatusActive)}}, end: "60s", want: ``},
		{name: "finished, then paused: an update leaves it paused", def: Definition{Spec: until(grid, 15*time.Second)},
			acts: []act{{"12s", pause}, {"12s", status(StatusPaused)}, {"13s", update(Patch{Spec: &grid})}, {"13s", status(StatusPaused)}, {"24s", resume}}, end: "31s", want: ``},
		{name: "finished, paused and resumed: finished", def: Definition{Spec: until(grid, 15*time.Second)}, acts: []act{{"12s", pause}, {"14s", resume}, {"14s", status(StatusFinished)}, {"15s", trigger("")}}, end: "31s", want: ``},
		{name: "an update that leaves no tick finishes", def: Definition{Spec: grid}, acts: []act{{"12s", update(Patch{Spec: ptr(until(grid, 13*time.Second))})}, {"12s", status(StatusFinished)}}, end: "31s", want: ``},
		{name: "completion: the run ends while paused, the tick is still ahead", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"5s", pause}, {"15s", resume}}, end: "30s", want: ``},
		{name: "completion: the run ends while paused, the tick is over", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"5s", pause}, {"40s", resume}}, end: "70s", want: ``},
		{name: "completion: resumed while the run is active", def: Definition{Spec: every("3s", FromCompletion)}, acts: []act{{"2s", pause}, {"5s", resume}}, end: "15s", want: ``},
		{name: "from completion to a cron", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"10s", update(Patch{Spec: &Spec{Cron: "*/15 * * * * *"}})}}, end: "31s", want: ``},
		{name: "from a cron to completion: the anchor is the end of the latest run", def: Definition{Spec: Spec{Cron: "*/15 * * * * *"}}, acts: []act{{"10s", update(Patch{Spec: ptr(every("20s", FromCompletion))})}}, end: "31s", want: ``},
		{name: "another interval on the same grid", def: Definition{Spec: grid}, acts: []act{{"12s", update(Patch{Spec: ptr(every("15s", FromStart))})}}, end: "31s", want: ``},
		{name: "an update of something else moves nothing", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"12s", update(Patch{Overlap: ptr(OverlapAllowAll), Input: ptr(json.RawMessage("1"))})}}, end: "31s", want: ``},
		{name: "a step forward of the clock: late and missed ticks", def: Definition{Spec: grid, Overlap: OverlapAllowAll}, acts: []act{{"12s", func(w *world) { w.now = w.now.Add(33 * time.Second) }}}, end: "51s", want: ``},
		{name: "cancel_other: a trigger takes the place of what waits", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"6s", trigger("")}, {"12s", trigger(OverlapCancelOther)}}, end: "31s", want: ``},
		{name: "completion: catch-up after an outage is one run, counted from its own end then", def: Definition{Spec: every("10s", FromCompletion)}, acts: []act{{"8s", out}, {"61s", back}}, end: "80s", want: ``},
	} {
		t.Run(tl.name, tl.play)
	}
}

func TestTimelinesOfBackfills(t *testing.T) {
	grid := every("10s", FromStart)
	for _, tl := range []timeline{
		{name: "skip", def: Definition{Spec: grid}, acts: []act{{"8s", backfill(-30*time.Second, 0, 1)}}, end: "45s", want: ``},
		{name: "buffer_one", def: Definition{Spec: every("5s", FromStart), Overlap: OverlapBufferOne}, acts: []act{{"8s", backfill(-10*time.Second, 0, 1)}}, end: "35s", want: ``},
		{name: "buffer_all", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"8s", backfill(-30*time.Second, 0, 2)}}, end: "45s", want: ``},
		{name: "cancel_other", def: Definition{Spec: every("5s", FromStart), Overlap: OverlapCancelOther}, acts: []act{{"3s", pause}, {"8s", backfill(-10*time.Second, 0, 1)}, {"9s", resume}}, end: "25s", want: ``},
		{name: "allow_all", def: Definition{Spec: grid, Overlap: OverlapAllowAll}, acts: []act{{"8s", backfill(-50*time.Second, 0, 2)}}, end: "35s", want: ``},
		{name: "skip: a trigger meets the policy", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", backfill(-2*time.Hour, 0, 1)}, {"9s", trigger("")}, {"10s", trigger(OverlapBufferAll)}}, end: "45s", want: ``},
		{name: "several follow one another", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -3*time.Hour, -time.Hour)}}, end: "45s", want: ``},
		{name: "cancel of one that has not begun", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -4*time.Hour, -2*time.Hour)}, {"10s", cancelBackfill(1)}}, end: "45s", want: ``},
		{name: "cancel of the one in progress: the next goes on", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -4*time.Hour, -2*time.Hour)}, {"10s", cancelBackfill(0)}}, end: "45s", want: ``},
		{name: "paused: what waits is held, the backfill goes on", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"8s", backfill(-20*time.Second, 0, 1)}, {"12s", pause}, {"50s", resume}}, end: "51s", want: ``},
		{name: "bounded by end_at, not by the creation", def: Definition{Spec: until(every("10s", FromStart), 15*time.Second)}, acts: []act{{"25s", backfill(-10*time.Second, 25*time.Second, 3)}}, end: "26s", want: ``},
		{name: "the spec it began with", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", update(Patch{Spec: &Spec{Cron: "7 * * * *"}})}}, end: "20s", want: ``},
	} {
		t.Run(tl.name, tl.play)
	}
}
