package workflowtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Runs are the runs of a schedule, or all of them when its id is empty, with their steps, the oldest first.
func (w *World) Runs(scheduleID string) []client.Run {
	w.t.Helper()
	synctest.Wait()
	var out []client.Run
	for r, err := range w.client.Runs(w.ctx, client.RunFilter{ScheduleID: scheduleID}) {
		w.check(err)
		out = append(out, r)
	}
	slices.Reverse(out)
	return out
}

// Fates are what became of the schedule's ticks, by nominal time.
func (w *World) Fates(scheduleID string) []client.Fate {
	w.t.Helper()
	synctest.Wait()
	var out []client.Fate
	for f, err := range w.client.History(w.ctx, scheduleID, client.FateFilter{}) {
		if err != nil {
			w.t.Fatalf("fates of %s: %v", scheduleID, err)
		}
		out = append(out, f)
	}
	slices.Reverse(out)
	return out
}

// Schedule is a schedule as it is now, with its counters and next ticks.
func (w *World) Schedule(scheduleID string) client.ScheduleDetail {
	w.t.Helper()
	synctest.Wait()
	d, err := w.client.GetSchedule(w.ctx, scheduleID)
	if err != nil {
		w.t.Fatalf("schedule %s: %v", scheduleID, err)
	}
	return d
}

// Run is a run as it is now, with its steps.
func (w *World) Run(runID string) client.Run {
	w.t.Helper()
	synctest.Wait()
	r, err := w.client.GetRun(w.ctx, runID)
	if err != nil {
		w.t.Fatalf("run %s: %v", runID, err)
	}
	return r
}

// Events are the log of a run, the oldest first: what happened to it, and what pyworkflow.Logger was given. Lines of a running run may be up to 250 ms away.
func (w *World) Events(runID string) []client.Event {
	w.t.Helper()
	synctest.Wait()
	var out []client.Event
	for after := int64(0); ; {
		page, next, err := w.client.RunEvents(w.ctx, runID, after)
		if err != nil {
			w.t.Fatalf("events of run %s: %v", runID, err)
		}
		if len(page) == 0 {
			return out
		}
		out, after = append(out, page...), next
	}
}

// Result waits for the end of a run, as Wait does, and decodes its result. The test fails when the run has not completed.
func Result[T any](w *World, runID string) T {
	w.t.Helper()
	var out T
	run := w.Wait(runID)
	if run.Status != schedules.RunCompleted {
		w.t.Fatalf("run %s of %s %s", run.RunID, run.Workflow, endOf(run))
	}
	if err := json.Unmarshal(run.Result, &out); err != nil {
		w.t.Fatalf("result %s of run %s does not fit %T: %v", run.Result, run.RunID, out, err)
	}
	return out
}

func endOf(r client.Run) string {
	text := string(r.Status)
	if r.Error != nil {
		text += ": " + r.Error.Message
	}
	return text
}

// most is how many ticks of a schedule, and how many runs of none, a Story tells.
const most = 12

// Story tells what has become of ticks and runs, for people: the latest of each schedule, and of what belongs to none. Steps are told of runs that have not completed.
func (w *World) Story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "it is %s; what has happened:\n", stamp(time.Now()))
	fail := func(err error) string { return b.String() + "  (cannot be read: " + err.Error() + ")\n" }
	told := map[string]bool{}
	for s, err := range w.client.Schedules(w.ctx, client.ScheduleFilter{}) {
		if err != nil {
			return fail(err)
		}
		next := "no next tick"
		if !s.NextRunTime.IsZero() {
			next = "next tick " + stamp(s.NextRunTime.Time)
		}
		fmt.Fprintf(&b, "schedule %s, %s, %s\n", s.ScheduleID, s.Status, next)
		page, err := w.client.ListHistory(w.ctx, s.ScheduleID, client.FateFilter{}, client.PageRequest{Limit: most})
		if err != nil {
			return fail(err)
		}
		if page.NextCursor != "" {
			b.WriteString("  …\n")
		}
		for _, f := range slices.Backward(page.Items) {
			fmt.Fprintf(&b, "  %s  %s %s", stamp(f.NominalTime.Time), f.Trigger, f.Fate)
			if f.Reason != "" {
				fmt.Fprintf(&b, " (%s)", f.Reason)
			}
			b.WriteString("\n")
			if f.RunID == "" {
				continue
			}
			if r, err := w.client.GetRun(w.ctx, string(f.RunID)); err == nil {
				tellRun(&b, "    ", r)
				told[r.RunID] = true
			}
		}
	}
	var rest []client.Run
	for r, err := range w.client.Runs(w.ctx, client.RunFilter{}) {
		if err != nil {
			return fail(err)
		}
		if r.ScheduleID == "" && len(rest) < most {
			rest = append(rest, r)
		}
	}
	if len(rest) > 0 {
		b.WriteString("runs of no schedule\n")
	}
	for _, r := range slices.Backward(rest) {
		tellRun(&b, "  ", r)
	}
	return b.String()
}

func tellRun(b *strings.Builder, indent string, r client.Run) {
	fmt.Fprintf(b, "%s%s of %s: attempt %d, %s\n", indent, r.RunID, r.Workflow, r.Attempt, endOf(r))
	if r.Status == schedules.RunCompleted {
		return
	}
	for _, s := range r.Steps {
		fmt.Fprintf(b, "%s  step %s: attempt %d, %s", indent, s.Key, s.Attempt, s.Status)
		if s.Error != nil {
			b.WriteString(": " + s.Error.Message)
		}
		b.WriteString("\n")
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999") }
