package dashboard

import (
	"crypto/rand"
	"net/http"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func (d *dashboard) triggerForm(w http.ResponseWriter, r *http.Request) error {
	s, err := d.living(r)
	if err != nil {
		return err
	}
	return d.showTrigger(w, r, s, newForm("input", indented(s.Input), "key", rand.Text()))
}

func (d *dashboard) showTrigger(w http.ResponseWriter, r *http.Request, s client.Schedule, f *form) error {
	policies := []option{{"", "as the schedule: " + string(s.OverlapPolicy)}}
	policies = append(policies, overlapOptions...)
	return d.showAct(w, r, "schedules", actPage{
		Title: "Trigger " + s.ScheduleID,
		Text:  []string{"Starts a run of " + s.Workflow + " now. The regular ticks stay as they are, and it works while the schedule is paused."},
		Back:  href("schedules", s.ScheduleID), Submit: "Trigger", Form: f, Keep: []hidden{{"key", f.Get("key")}},
		Fields: []actField{
			{Kind: "select", Name: "overlap", Label: "While a run is active", Options: policies},
			{Kind: "textarea", Name: "input", Label: "Input", Optional: "JSON", Mono: true, Rows: 6, Hint: "What is here is the schedule's own; a change holds for this run only."},
		},
	})
}

// triggerDo starts a run. The form's key makes a form that is sent twice start one run.
func (d *dashboard) triggerDo(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	s, err := d.living(r)
	if err != nil {
		return err
	}
	req := client.TriggerRequest{Overlap: schedules.OverlapPolicy(f.Get("overlap")), Input: f.json("input"), IdempotencyKey: f.Get("key")}
	if f.Bad() {
		return d.showTrigger(w, r, s, f)
	}
	got, err := d.Client.Trigger(r.Context(), s.ScheduleID, req)
	if err != nil {
		if statusOf(err) == http.StatusNotFound || !f.refuse(err, "overlap", "input") {
			return err
		}
		return d.showTrigger(w, r, s, f)
	}
	to := href("schedules", s.ScheduleID)
	switch got.Outcome {
	case schedules.FateStarted:
		return d.done(w, r, to, "Triggered: run %s started.", got.RunID)
	case schedules.FateBuffered:
		return d.done(w, r, to, "Triggered: run %s waits for the end of %s.", got.RunID, got.BlockedBy)
	default:
		return d.warned(w, r, to, "Skipped: %s (%s). Another overlap policy lets it wait, or start all the same.", reasonWords(got.Reason), got.BlockedBy)
	}
}
