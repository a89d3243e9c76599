package dashboard

import (
	"net/http"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// backfillPage is the form of a backfill, with what it would run.
type backfillPage struct {
	Schedule client.Schedule
	Form     *form
	Zone     string
	Plan     *backfillPlan // nil: not asked for
}

// backfillPlan lists the nominal times of a backfill.
type backfillPlan struct {
	Count int
	Times []client.Tick // the first of them
	More  int           // how many more there are
}

// planShown is how many nominal times a preview lists.
const planShown = 100

func (d *dashboard) backfillForm(w http.ResponseWriter, r *http.Request) error {
	s, err := d.living(r)
	if err != nil {
		return err
	}
	if err := d.readClock(r.Context()); err != nil {
		return err
	}
	zone := zoneOf(s.Spec)
	from := d.now().Add(-24 * time.Hour).Truncate(time.Minute)
	return d.showBackfill(w, r, backfillPage{Schedule: s, Form: newForm("start", typed(from, zone), "parallel", "1")})
}

func (d *dashboard) showBackfill(w http.ResponseWriter, r *http.Request, p backfillPage) error {
	p.Zone = zoneOf(p.Schedule.Spec).String()
	status := http.StatusOK
	if p.Form.Bad() {
		status = http.StatusUnprocessableEntity
	}
	return d.show(w, r, page{Template: "backfill", Title: "Backfill " + p.Schedule.ScheduleID, Nav: "schedules", Status: status, Data: p})
}

// backfillDo shows what a backfill would run, or starts it.
func (d *dashboard) backfillDo(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	s, err := d.living(r)
	if err != nil {
		return err
	}
	zone := zoneOf(s.Spec)
	p := backfillPage{Schedule: s, Form: f}
	req := client.BackfillRequest{Start: f.instant("start", zone), End: f.instant("end", zone), Parallel: f.number("parallel"), MaxRuns: f.number("max_runs"), MissingOnly: f.Get("missing_only") != ""}
	if f.Bad() {
		return d.showBackfill(w, r, p)
	}
	if f.Get("step") == "preview" {
		plan, err := d.Client.PlanBackfill(r.Context(), s.ScheduleID, req)
		if err != nil {
			return d.refuseBackfill(w, r, p, err)
		}
		p.Plan = planOf(plan, zone)
		return d.showBackfill(w, r, p)
	}
	got, err := d.Client.Backfill(r.Context(), s.ScheduleID, req)
	if err != nil {
		return d.refuseBackfill(w, r, p, err)
	}
	if got.Count == 0 {
		p.Plan = &backfillPlan{}
		return d.showBackfill(w, r, p)
	}
	count, _ := plural(got.Count, "run") // an int is a whole number
	return d.done(w, r, href("schedules", s.ScheduleID)+"#backfills", "Backfill %s began: %s.", got.BackfillID, count)
}

func (d *dashboard) refuseBackfill(w http.ResponseWriter, r *http.Request, p backfillPage, err error) error {
	if statusOf(err) == http.StatusNotFound || !p.Form.refuse(err, "start", "end", "parallel", "max_runs") {
		return err
	}
	return d.showBackfill(w, r, p)
}

func planOf(plan client.BackfillPlan, zone *time.Location) *backfillPlan {
	p := &backfillPlan{Count: plan.Count}
	for i, t := range plan.NominalTimes {
		if i == planShown {
			p.More = plan.Count - planShown
			break
		}
		p.Times = append(p.Times, client.Tick{NominalTime: t, LocalTime: client.Zoned{Time: t.In(zone)}})
	}
	return p
}

func (d *dashboard) cancelBackfillForm(w http.ResponseWriter, r *http.Request) error {
	b, err := d.Client.GetBackfill(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	waiting, _ := plural(b.Waiting, "run") // an int64 is a whole number
	return d.showAct(w, r, "schedules", actPage{Title: "Cancel this backfill?", Items: []string{b.BackfillID}, Back: href("schedules", b.ScheduleID) + "#backfills", Submit: "Cancel the backfill", Dismiss: "Let it go on", Danger: true,
		Text: []string{"What it has not started is dropped: " + waiting + ". Its active runs go on; cancel them one by one if they shall not. The history says of each dropped tick that its backfill was cancelled."}})
}

func (d *dashboard) cancelBackfillDo(w http.ResponseWriter, r *http.Request) error {
	b, err := d.Client.CancelBackfill(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	to := href("schedules", b.ScheduleID) + "#backfills"
	if b.Status == schedules.BackfillCompleted {
		return d.warned(w, r, to, "Backfill %s had completed already.", b.BackfillID)
	}
	return d.done(w, r, to, "Cancelled backfill %s: %d dropped.", b.BackfillID, b.Dropped)
}

// zoneOf is the zone of a spec's wall clock.
func zoneOf(s schedules.Spec) *time.Location {
	zone, err := time.LoadLocation(s.Timezone)
	if err != nil {
		return time.UTC // a damaged record, or a host without the zone
	}
	return zone
}

// typed writes an instant the way it is typed into a form: on the wall clock of the zone, or, where that reading comes twice, with its offset.
func typed(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05"} {
		text := t.In(zone).Format(layout)
		if back, err := time.ParseInLocation(layout, text, zone); err == nil && back.Equal(t) {
			return text
		}
	}
	return t.In(zone).Format(time.RFC3339Nano)
}
