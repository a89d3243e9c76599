package dashboard

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// at is noon and so many seconds.
func at(seconds float64) client.Time {
	return client.Time{Time: noon.Add(time.Duration(seconds * float64(time.Second)))}
}

// drawn writes a row as "name status: class from-to, …".
func drawn(r waterRow) string {
	text := fmt.Sprintf("%s%s %s %s:", r.Name, r.Suffix, r.Status, lasted(r.Took))
	for _, b := range r.Bars {
		text += fmt.Sprintf(" %s %g+%g", b.Class, b.X, b.W)
	}
	return text
}

func wantRows(t *testing.T, what string, rows []waterRow, want ...string) {
	t.Helper()
	var got []string
	for _, r := range rows {
		got = append(got, drawn(r))
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestWaterfallShowsWaitAttemptsAndSteps(t *testing.T) {
	run := client.Run{Status: schedules.RunCompleted, CreatedAt: at(0), StartedAt: at(10), EndedAt: at(100), Attempt: 2, Steps: []client.Step{
		{Name: "fetch", Key: "fetch#1", Status: schedules.RunCompleted, Attempt: 3, StartedAt: at(10), EndedAt: at(30)},
		{Name: "load", Key: "load:item-7", Status: schedules.RunCompleted, Attempt: 1, StartedAt: at(90), EndedAt: at(90.001)},
	}}
	events := []client.Event{
		{At: at(10), Kind: "claimed", Message: "attempt 1 begins on worker w", Attrs: map[string]any{"attempt": 1.0}},
		{At: at(12), Kind: "step", Level: "warn", Message: "step fetch#1 failed: a; attempt 9 in 1s; attempt 2 in 3s"},
		{At: at(13), Kind: "log", Level: "warn", Message: "step fetch#1 failed: a lie; attempt 3 in 3s"},
		{At: at(20), Kind: "step", Level: "warn", Message: "step fetch#1 failed: b; attempt 3 in 4s"},
		{At: at(50), Kind: "retry", Level: "warn", Message: "attempt 1 failed"},
		{At: at(80), Kind: "claimed", Message: "attempt 2 begins on worker w", Attrs: map[string]any{"attempt": 2.0}},
		{At: at(100), Kind: "ended", Message: "completed"},
	}
	w := newWaterfall(run, events, at(500).Time)
	wantRows(t, "lead", w.Lead, "waiting for a worker wait 10s: wait 0+10", "run completed 1m 30s: failed 10+40 pause 50+30 completed 80+20")
	wantRows(t, "steps", w.Steps,
		"fetch#1 completed 20s: failed 10+2 pause 12+3 failed 15+5 pause 20+4 completed 24+6",
		"load:item-7 completed 1ms: completed 90+0.4")
	run.Steps[0].EndedAt = at(24) // in the millisecond in which its last attempt began
	wantRows(t, "a last attempt without length", newWaterfall(run, events, at(500).Time).Steps[:1], "fetch#1 completed 14s: failed 10+2 pause 12+3 failed 15+5 pause 20+4 completed 24+0.4")
	events[0].At, events[0].Attrs = at(11), map[string]any{"attempt": 1, "dispatch": 1}
	wantRows(t, "a claim whose line came late", newWaterfall(run, events, at(500).Time).Lead[1:], "run completed 1m 30s: failed 10+40 pause 50+30 completed 80+20")
	if w.Live || w.Span != 100*time.Second {
		t.Errorf("live %v, span %s; want the 100s of an ended run", w.Live, w.Span)
	}
}

func TestWaterfallGrowsWhileTheRunDoes(t *testing.T) {
	run := client.Run{Status: schedules.RunRunning, CreatedAt: at(0), StartedAt: at(0), Attempt: 1, Steps: []client.Step{
		{Name: "a", Key: "a#1", Status: schedules.RunRunning, Attempt: 1, StartedAt: at(5)},
	}}
	wantRows(t, "at 10 s", newWaterfall(run, nil, at(10).Time).Steps, "a#1 running 5.0s: running 50+50")
	wantRows(t, "at 20 s", newWaterfall(run, nil, at(20).Time).Steps, "a#1 running 15s: running 25+75")

	run.Status, run.EndedAt = schedules.RunCancelled, at(20)
	w := newWaterfall(run, nil, at(99).Time)
	wantRows(t, "a step in flight when its run was cancelled", w.Steps, "a#1 stopped 15s: stopped 25+75")
	wantRows(t, "the cancelled run", w.Lead, "run cancelled 20s: cancelled 0+100")

	run = client.Run{Status: schedules.RunPending, CreatedAt: at(0)}
	w = newWaterfall(run, nil, at(40).Time)
	wantRows(t, "a run that nobody has claimed", w.Lead, "waiting for a worker wait 40s: wait 0+100")
	if !w.Live {
		t.Error("a pending run's picture is not live")
	}
}

func TestWaterfallLeavesOutAWaitThatWouldHideTheSteps(t *testing.T) {
	run := client.Run{Status: schedules.RunCompleted, CreatedAt: at(0), StartedAt: at(3600), EndedAt: at(3610), Steps: []client.Step{
		{Name: "a", Key: "a#1", Status: schedules.RunCompleted, StartedAt: at(3605), EndedAt: at(3610)},
	}}
	w := newWaterfall(run, nil, at(3700).Time)
	wantRows(t, "lead", w.Lead, "run completed 10s: completed 0+100")
	wantRows(t, "steps", w.Steps, "a#1 completed 5.0s: completed 50+50")
}

func TestWaterfallShowsLostWorkers(t *testing.T) {
	run := client.Run{Status: schedules.RunPending, CreatedAt: at(0), StartedAt: at(0), Recoveries: 1, Steps: []client.Step{
		{Name: "a", Key: "a#1", Status: schedules.RunRunning, Attempt: 1, StartedAt: at(10)},
	}}
	events := []client.Event{{At: at(0), Kind: "claimed", Attrs: map[string]any{"attempt": 1}}, {At: at(50), Kind: "sent", Message: "worker w lost; recovery 1"}}
	w := newWaterfall(run, events, at(100).Time)
	wantRows(t, "lead", w.Lead, "run pending 1m 40s: stopped 0+50 pause 50+50")
	wantRows(t, "the step that was in flight", w.Steps, "a#1 stopped 40s: stopped 10+40")
}

// The texts that tell of tried again steps are those that package pyworkflow writes.
func TestWaterfallReadsTheLogOfARealRun(t *testing.T) {
	app := pyworkflow.NewApp()
	calls := 0
	err := app.Register(pyworkflow.Define("flaky", func(ctx context.Context, _ struct{}) (int, error) {
		return pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) {
			if calls++; calls < 3 {
				return 0, errors.New("no answer")
			}
			return 1, nil
		}, pyworkflow.StepBackoff(pyworkflow.Fixed(20*time.Millisecond)))
	}))
	if err != nil {
		t.Fatal(err)
	}
	w := newRunWorld(t, app)
	w.work(t)
	r := w.ended(t, w.start(t, "flaky", ""))
	events, _, err := w.client.RunEvents(t.Context(), r.RunID, 0)
	if err != nil {
		t.Fatal(err)
	}
	picture := newWaterfall(r, events, r.EndedAt.Time)
	classes := func(row waterRow) (out []string) {
		for _, b := range row.Bars {
			out = append(out, b.Class)
		}
		return out
	}
	if got := fmt.Sprint(classes(picture.Steps[0])); got != "[failed pause failed pause completed]" {
		t.Errorf("the step's bars are %s; log: %+v", got, events)
	}
	if lead := picture.Lead[len(picture.Lead)-1]; fmt.Sprint(classes(lead)) != "[completed]" || lead.Bars[0].Title[:9] != "attempt 1" {
		t.Errorf("the run's bars are %+v", lead.Bars)
	}
}

func TestMarksStandAtRoundDistances(t *testing.T) {
	for span, want := range map[time.Duration]string{
		time.Millisecond:        "[]",
		7 * time.Second:         "[{28.57 2s} {57.14 4s} {85.71 6s}]",
		90 * time.Second:        "[{33.33 30s} {66.67 1m}]",
		time.Hour:               "[{25 15m} {50 30m} {75 45m}]",
		25 * time.Hour:          "[{24 6h} {48 12h} {72 18h}]",
		90 * 7 * 24 * time.Hour: "[{17.78 2688h} {35.56 5376h} {53.33 8064h} {71.11 10752h} {88.89 13440h}]",
	} {
		if got := fmt.Sprint(scale{from: noon, span: span}.marks(5)); got != want {
			t.Errorf("marks of %s: %s, want %s", span, got, want)
		}
	}
}
