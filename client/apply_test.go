package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func wanted(id, cron string) client.CreateRequest {
	return client.CreateRequest{ID: id, Workflow: "minute_task", Definition: schedules.Definition{Spec: schedules.Spec{Cron: cron}}}
}

func (w *world) apply(req client.ApplyRequest) client.Applied {
	w.t.Helper()
	if req.Name == "" {
		req.Name = "ops"
	}
	a, err := w.Apply(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// actions are those of the changes, by id.
func actions(a client.Applied) (out []string) {
	for _, c := range a.Changes {
		out = append(out, c.ScheduleID+" "+string(c.Action))
	}
	return out
}

func TestApplyMakesTheSetSo(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		same := func(what string, got, want []string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		w.create("made_by_hand", schedules.Spec{Cron: "0 9 * * *"})
		w.create("left_alone", schedules.Spec{Cron: "0 9 * * *"})
		set := []client.CreateRequest{wanted("b", "0 1 * * *"), wanted("a", "0 2 * * *"), wanted("made_by_hand", "0 9 * * *")}
		set[0].Note = "of the file"

		dry := w.apply(client.ApplyRequest{Schedules: set, DryRun: true})
		same("plan", actions(dry), []string{"b create", "a create", "made_by_hand update"})
		if _, err := w.GetSchedule(t.Context(), "a"); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("a dry run wrote: %v", err)
		}
		got := w.apply(client.ApplyRequest{Schedules: set})
		same("first", actions(got), actions(dry))
		if f := got.Changes[2].Fields; len(f) != 1 || f[0].Field != "origin" || string(f[0].Old) != "null" || string(f[0].New) != `"file:ops"` {
			t.Errorf("adopting changes %+v", f)
		}
		d, err := w.GetSchedule(t.Context(), "b")
		if err != nil || d.Origin != "file:ops" || d.Note != "of the file" || d.DeclaredInCode() || d.NextRunTime.IsZero() {
			t.Errorf("created %+v, %v", d.Schedule, err)
		}
		same("again", actions(w.apply(client.ApplyRequest{Schedules: set})), []string{"b unchanged", "a unchanged", "made_by_hand unchanged"})
		if again, err := w.GetSchedule(t.Context(), "b"); err != nil || again.Version != d.Version {
			t.Errorf("nothing to do, and the version goes from %d to %d, %v", d.Version, again.Version, err)
		}

		// What people changed is changed back; pause and note stay.
		jitter := schedules.Spec{Interval: "5m", Jitter: schedules.Duration(time.Second)}
		if _, err := w.UpdateSchedule(t.Context(), "a", schedules.Patch{Spec: &jitter}); err != nil {
			t.Fatal(err)
		}
		why := "for a look"
		if _, err := w.Pause(t.Context(), "a", &why); err != nil {
			t.Fatal(err)
		}
		got = w.apply(client.ApplyRequest{Schedules: set})
		var fields []string
		for _, f := range got.Changes[1].Fields {
			fields = append(fields, f.Field+" "+string(f.Old)+" "+string(f.New))
		}
		same("fields", fields, []string{`cron null "0 2 * * *"`, `interval "5m" null`, `interval_from "completion" null`, `jitter "1s" null`})
		if d, err := w.GetSchedule(t.Context(), "a"); err != nil || d.Status != schedules.StatusPaused || d.Note != "for a look" || d.Spec.Cron != "0 2 * * *" {
			t.Errorf("after: %+v, %v", d.Schedule, err)
		}

		// What left the set is named, and deleted only when asked; others' are not.
		got = w.apply(client.ApplyRequest{Schedules: set[:1]})
		same("orphans", got.Orphaned, []string{"a", "made_by_hand"})
		same("left", actions(got), []string{"b unchanged"})
		w.apply(client.ApplyRequest{Name: "others", Schedules: []client.CreateRequest{wanted("theirs", "@daily")}})
		same("pruned", actions(w.apply(client.ApplyRequest{Schedules: set[:1], Prune: true})), []string{"b unchanged", "a delete", "made_by_hand delete"})
		var left []string
		for s, err := range w.Schedules(t.Context(), client.ScheduleFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, s.ScheduleID)
		}
		same("left over", left, []string{"b", "left_alone", "theirs"})
		same("back", actions(w.apply(client.ApplyRequest{Schedules: set[:2]})), []string{"b unchanged", "a create"})
	})
}

func TestApplyChecksAllBeforeItWrites(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.apply(client.ApplyRequest{Name: "others", Schedules: []client.CreateRequest{wanted("theirs", "@daily")}})
		code := pyworkflow.NewApp()
		check(code.Register(pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "done", nil }, pyworkflow.Schedule(pyworkflow.Cron("@daily")))))
		if _, err := w.Activate(t.Context(), code, client.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		other := wanted("x", "@daily")
		other.Workflow = "minute_tusk"
		large := wanted("x", "@daily")
		large.Note = strings.Repeat("n", 1<<20)
		for name, c := range map[string]struct {
			bad  client.CreateRequest
			code client.Code
		}{
			"spec":     {wanted("x", "0 0 30 2 *"), client.CodeInvalid},
			"id":       {wanted("a b", "@daily"), client.CodeInvalid},
			"twice":    {wanted("good", "@daily"), client.CodeInvalid},
			"workflow": {other, client.CodeInvalid},
			"note":     {large, client.CodeInvalid},
			"origin":   {wanted("theirs", "@daily"), client.CodeConflict},
			"code":     {wanted("auto_minute_task", "@daily"), client.CodeConflict},
		} {
			_, err := w.Apply(t.Context(), client.ApplyRequest{Name: "ops", Schedules: []client.CreateRequest{wanted("good", "@daily"), c.bad}})
			var at *client.ApplyError
			if !errors.As(err, &at) || at.Index != 1 || client.CodeOf(err) != c.code {
				t.Errorf("%s: %v (%s)", name, err, client.CodeOf(err))
			}
		}
		if _, err := w.Apply(t.Context(), client.ApplyRequest{Schedules: []client.CreateRequest{wanted("good", "@daily")}}); client.CodeOf(err) != client.CodeInvalid {
			t.Errorf("without a name: %v", err)
		}
		if _, err := w.GetSchedule(t.Context(), "good"); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("refused, and yet it wrote: %v", err)
		}
	})
}
