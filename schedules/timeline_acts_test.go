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
			acts: []act{{"12s", status(StatusFinished)}, {"13s", resume}, {"14s", status(StatusFinished)}, {"33s", update(Patch{Spec: ptr(until(grid, 55*time.Second))})}, {"33s", status(StatusActive)}}, end: "60s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			40s schedule started - 40s
			50s schedule started - 50s`},
		{name: "finished, then paused: an update leaves it paused", def: Definition{Spec: until(grid, 15*time.Second)},
			acts: []act{{"12s", pause}, {"12s", status(StatusPaused)}, {"13s", update(Patch{Spec: &grid})}, {"13s", status(StatusPaused)}, {"24s", resume}}, end: "31s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			30s schedule started - 30s`},
		{name: "finished, paused and resumed: finished", def: Definition{Spec: until(grid, 15*time.Second)}, acts: []act{{"12s", pause}, {"14s", resume}, {"14s", status(StatusFinished)}, {"15s", trigger("")}}, end: "31s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			15s manual skipped overlap 15s`},
		{name: "an update that leaves no tick finishes", def: Definition{Spec: grid}, acts: []act{{"12s", update(Patch{Spec: ptr(until(grid, 13*time.Second))})}, {"12s", status(StatusFinished)}}, end: "31s", want: `
			0s schedule started - 0s
			10s schedule started - 10s`},
		{name: "completion: the run ends while paused, the tick is still ahead", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"5s", pause}, {"15s", resume}}, end: "30s", want: `
			0s schedule started - 0s
			27s schedule started - 27s`},
		{name: "completion: the run ends while paused, the tick is over", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"5s", pause}, {"40s", resume}}, end: "70s", want: `
			0s schedule started - 0s
			1m0s schedule started - 1m0s`},
		{name: "completion: resumed while the run is active", def: Definition{Spec: every("3s", FromCompletion)}, acts: []act{{"2s", pause}, {"5s", resume}}, end: "15s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			13s schedule skipped overlap 13s`},
		{name: "from completion to a cron", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"10s", update(Patch{Spec: &Spec{Cron: "*/15 * * * * *"}})}}, end: "31s", want: `
			0s schedule started - 0s
			15s schedule started - 15s
			30s schedule started - 30s`},
		{name: "from a cron to completion: the anchor is the end of the latest run", def: Definition{Spec: Spec{Cron: "*/15 * * * * *"}}, acts: []act{{"10s", update(Patch{Spec: ptr(every("20s", FromCompletion))})}}, end: "31s", want: `
			0s schedule started - 0s
			27s schedule started - 27s`},
		{name: "another interval on the same grid", def: Definition{Spec: grid}, acts: []act{{"12s", update(Patch{Spec: ptr(every("15s", FromStart))})}}, end: "31s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			15s schedule skipped overlap 15s
			30s schedule started - 30s`},
		{name: "an update of something else moves nothing", def: Definition{Spec: every("20s", FromCompletion)}, acts: []act{{"12s", update(Patch{Overlap: ptr(OverlapAllowAll), Input: ptr(json.RawMessage("1"))})}}, end: "31s", want: `
			0s schedule started - 0s
			27s schedule started - 27s`},
		{name: "a step forward of the clock: late and missed ticks", def: Definition{Spec: grid, Overlap: OverlapAllowAll}, acts: []act{{"12s", func(w *world) { w.now = w.now.Add(33 * time.Second) }}}, end: "51s", want: `
			0s schedule started - 0s
			10s schedule started - 10s
			20s schedule missed catchup 45s
			30s schedule missed catchup 45s
			40s schedule started - 45s
			50s schedule started - 50s`},
		{name: "cancel_other: a trigger takes the place of what waits", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"6s", trigger("")}, {"12s", trigger(OverlapCancelOther)}}, end: "31s", want: `
			0s schedule started - 0s
			6s manual started overlap 7s
			10s schedule dropped superseded 12s
			12s manual started overlap 14s
			20s schedule started overlap 21s
			30s schedule started - 30s`},
		{name: "completion: catch-up after an outage is one run, counted from its own end then", def: Definition{Spec: every("10s", FromCompletion)}, acts: []act{{"8s", out}, {"61s", back}}, end: "80s", want: `
			0s schedule started - 0s
			17s schedule missed catchup 1m1s
			27s schedule missed catchup 1m1s
			37s schedule missed catchup 1m1s
			47s schedule missed catchup 1m1s
			57s schedule started - 1m1s
			1m18s schedule started - 1m18s`},
	} {
		t.Run(tl.name, tl.play)
	}
}

func TestTimelinesOfBackfills(t *testing.T) {
	grid := every("10s", FromStart)
	for _, tl := range []timeline{
		{name: "skip", def: Definition{Spec: grid}, acts: []act{{"8s", backfill(-30*time.Second, 0, 1)}}, end: "45s", want: `
			-30s backfill started - 8s
			-20s backfill started - 22s
			-10s backfill started - 29s
			0s schedule started - 0s
			10s schedule started overlap 15s
			20s schedule skipped overlap 20s
			30s schedule started overlap 36s
			40s schedule skipped overlap 40s`},
		{name: "buffer_one", def: Definition{Spec: every("5s", FromStart), Overlap: OverlapBufferOne}, acts: []act{{"8s", backfill(-10*time.Second, 0, 1)}}, end: "35s", want: `
			0s schedule started - 0s
			5s schedule started overlap 7s
			10s schedule started overlap 14s
			15s schedule started overlap 21s
			20s schedule skipped buffer_full 20s
			25s schedule started overlap 28s
			30s schedule started overlap 35s
			35s schedule buffered overlap 35s`},
		{name: "buffer_all", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"8s", backfill(-30*time.Second, 0, 2)}}, end: "45s", want: `
			-30s backfill started - 8s
			-20s backfill started - 8s
			-10s backfill started - 29s
			0s schedule started - 0s
			10s schedule started overlap 15s
			20s schedule started overlap 22s
			30s schedule started overlap 36s
			40s schedule started overlap 43s`},
		{name: "cancel_other", def: Definition{Spec: every("5s", FromStart), Overlap: OverlapCancelOther}, acts: []act{{"3s", pause}, {"8s", backfill(-10*time.Second, 0, 1)}, {"9s", resume}}, end: "25s", want: `
			-10s backfill started - 8s
			0s schedule started - 0s
			10s schedule dropped superseded 15s
			15s schedule started - 15s
			20s schedule started overlap 22s
			25s schedule buffered overlap 25s`},
		{name: "allow_all", def: Definition{Spec: grid, Overlap: OverlapAllowAll}, acts: []act{{"8s", backfill(-50*time.Second, 0, 2)}}, end: "35s", want: `
			-50s backfill started - 8s
			-40s backfill started - 8s
			-30s backfill started - 15s
			-20s backfill started - 15s
			-10s backfill started - 22s
			0s schedule started - 0s
			10s schedule started - 10s
			20s schedule started - 20s
			30s schedule started - 30s`},
		{name: "skip: a trigger meets the policy", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", backfill(-2*time.Hour, 0, 1)}, {"9s", trigger("")}, {"10s", trigger(OverlapBufferAll)}}, end: "45s", want: `
			-2h0m0s backfill started - 8s
			-1h0m0s backfill started - 22s
			0s schedule started - 0s
			9s manual skipped overlap 9s
			10s manual started overlap 15s`},
		{name: "several follow one another", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -3*time.Hour, -time.Hour)}}, end: "45s", want: `
			-3h0m0s backfill started - 22s
			-2h0m0s backfill started - 8s
			-2h0m0s backfill started - 29s
			-1h0m0s backfill started - 15s
			0s schedule started - 0s`},
		{name: "cancel of one that has not begun", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -4*time.Hour, -2*time.Hour)}, {"10s", cancelBackfill(1)}}, end: "45s", want: `
			-4h0m0s backfill dropped cancelled 10s
			-3h0m0s backfill dropped cancelled 10s
			-2h0m0s backfill started - 8s
			-1h0m0s backfill started - 15s
			0s schedule started - 0s`},
		{name: "cancel of the one in progress: the next goes on", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", another("b", -4*time.Hour, -2*time.Hour)}, {"10s", cancelBackfill(0)}}, end: "45s", want: `
			-4h0m0s backfill started - 15s
			-3h0m0s backfill started - 22s
			-2h0m0s backfill started - 8s
			-1h0m0s backfill dropped cancelled 10s
			0s schedule started - 0s`},
		{name: "paused: what waits is held, the backfill goes on", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"8s", backfill(-20*time.Second, 0, 1)}, {"12s", pause}, {"50s", resume}}, end: "51s", want: `
			-20s backfill started - 8s
			-10s backfill started - 15s
			0s schedule started - 0s
			10s schedule started overlap 50s`},
		{name: "bounded by end_at, not by the creation", def: Definition{Spec: until(every("10s", FromStart), 15*time.Second)}, acts: []act{{"25s", backfill(-10*time.Second, 25*time.Second, 3)}}, end: "26s", want: `
			-10s backfill started - 25s
			0s backfill started - 25s
			0s schedule started - 0s
			10s backfill started - 25s
			10s schedule started - 10s`},
		{name: "the spec it began with", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", another("a", -2*time.Hour, 0)}, {"9s", update(Patch{Spec: &Spec{Cron: "7 * * * *"}})}}, end: "20s", want: `
			-2h0m0s backfill started - 8s
			-1h0m0s backfill started - 15s
			0s schedule started - 0s`},
	} {
		t.Run(tl.name, tl.play)
	}
}
