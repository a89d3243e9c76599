package client_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// text is a JSON text of n bytes.
func text(n int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`)
}

// What is at its limit is taken and comes back whole; one byte more is refused and nothing is written.
func TestInputAtItsLimit(t *testing.T) {
	const most = 1 << 20
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		refused := func(what string, err error) {
			t.Helper()
			var bad *schedules.FieldError
			if !errors.As(err, &bad) || bad.Field != "input" || !strings.Contains(err.Error(), "has 1048577 bytes of JSON, but at most 1048576 are taken (max_input)") {
				t.Errorf("%s: %v", what, err)
			}
		}
		s := w.create("s", daily, func(r *client.CreateRequest) { r.Input = text(most) })
		if len(s.Input) != most {
			t.Errorf("schedule's input has %d bytes", len(s.Input))
		}
		_, err := w.CreateSchedule(ctx, client.CreateRequest{ID: "t", Workflow: "minute_task", Definition: schedules.Definition{Spec: daily, Input: text(most + 1)}})
		refused("create", err)
		if _, err := w.GetSchedule(ctx, "t"); client.CodeOf(err) != client.CodeNotFound {
			t.Errorf("a refused schedule is there: %v", err)
		}
		_, err = w.EnsureSchedule(ctx, client.CreateRequest{ID: "s", Workflow: "minute_task", Definition: schedules.Definition{Spec: daily, Input: text(most + 1)}})
		refused("ensure", err)
		over := text(most + 1)
		_, err = w.UpdateSchedule(ctx, "s", schedules.Patch{Input: &over})
		refused("update", err)
		_, err = w.Trigger(ctx, "s", client.TriggerRequest{Input: over})
		refused("trigger", err)
		_, err = w.StartRun(ctx, "minute_task", over, pyworkflow.StartOptions{})
		refused("start", err)
		if got, err := w.GetSchedule(ctx, "s"); err != nil || got.Version != s.Version || got.TotalRuns != 0 {
			t.Errorf("something was written: %+v %v", got, err)
		}
		id, err := w.StartRun(ctx, "minute_task", text(most), pyworkflow.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := w.GetRun(ctx, id); err != nil || string(r.Input) != string(text(most)) {
			t.Errorf("run's input has %d bytes, %v", len(r.Input), err)
		}
		res, err := w.Trigger(ctx, "s", client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := w.GetRun(ctx, string(res.RunID)); err != nil || len(r.Input) != most {
			t.Errorf("triggered run's input has %d bytes, %v", len(r.Input), err)
		}
	})
}

func TestTextsAtTheirLimit(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		at, over := strings.Repeat("n", 4<<10), strings.Repeat("n", 4<<10+1)
		w.create("s", daily, func(r *client.CreateRequest) { r.Note = at })
		id, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{IdempotencyKey: strings.Repeat("k", 200)})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(field string, err error) {
			t.Helper()
			var bad *schedules.FieldError
			if !errors.As(err, &bad) || bad.Field != field || len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", field, err)
			}
		}
		_, err = w.CreateSchedule(ctx, client.CreateRequest{ID: "t", Workflow: "minute_task", Definition: schedules.Definition{Spec: daily}, Note: over})
		refused("note", err)
		_, err = w.UpdateSchedule(ctx, "s", schedules.Patch{Note: &over})
		refused("note", err)
		_, err = w.Pause(ctx, "s", &over)
		refused("note", err)
		_, err = w.Resume(ctx, "s", &over)
		refused("note", err)
		_, err = w.CancelRun(ctx, id, over)
		refused("reason", err)
		_, err = w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{IdempotencyKey: strings.Repeat("k", 201)})
		refused("idempotency_key", err)
		if r, err := w.CancelRun(ctx, id, at); err != nil || r.Status != schedules.RunCancelled {
			t.Errorf("%+v %v", r, err)
		}
	})
}
