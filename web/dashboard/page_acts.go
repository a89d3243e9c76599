package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// scheduleAct is an act on schedules that needs to be told no more than why.
type scheduleAct struct {
	verb   string
	done   string   // the verb when it is over
	text   []string // what it does, and what it leaves alone
	noted  bool     // it can say why
	danger bool
	do     func(d *dashboard, ctx context.Context, id string, note *string) (client.Schedule, error)
}

// scheduleActs are those acts, by the last part of their address.
var scheduleActs = map[string]scheduleAct{
	"pause": {verb: "pause", done: "Paused", noted: true,
		text: []string{"No regular tick comes due until it is resumed. Active runs go on; triggers and backfills still work. Regular ticks that wait for a run are held."},
		do: func(d *dashboard, ctx context.Context, id string, note *string) (client.Schedule, error) {
			return d.Client.Pause(ctx, id, note)
		}},
	"resume": {verb: "resume", done: "Resumed", noted: true,
		text: []string{"Regular ticks come due again, from now on. What was due while it was paused is not made up for, but for what was waiting already; a backfill does that."},
		do: func(d *dashboard, ctx context.Context, id string, note *string) (client.Schedule, error) {
			return d.Client.Resume(ctx, id, note)
		}},
	"reset": {verb: "reset", done: "Reset",
		text: []string{"What people changed by hand is returned to what the code declares. Status, note and counters stay."},
		do: func(d *dashboard, ctx context.Context, id string, _ *string) (client.Schedule, error) {
			return d.Client.Reset(ctx, id)
		}},
	"delete": {verb: "delete", done: "Deleted", noted: true, danger: true,
		text: []string{"It ticks no more, and what waits is dropped. Active runs go on. Its record and history are kept under status deleted, and the id can be used anew."},
		do:   (*dashboard).deleteNoted},
}

// deleteNoted deletes a schedule and keeps why in its record.
func (d *dashboard) deleteNoted(ctx context.Context, id string, note *string) (client.Schedule, error) {
	s, err := d.Client.GetSchedule(ctx, id)
	if err != nil {
		return client.Schedule{}, err
	}
	if note != nil && *note != string(s.Note) && !s.DeclaredInCode() && s.Status != schedules.StatusDeleted { // another is not deleted below
		if _, err := d.Client.UpdateSchedule(ctx, id, schedules.Patch{Note: note}); err != nil {
			return client.Schedule{}, err
		}
	}
	return d.Client.Delete(ctx, id)
}

// actForm shows the page that asks whether, and why.
func (d *dashboard) actForm(a scheduleAct) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, err := d.living(r)
		if err != nil {
			return err
		}
		return d.showScheduleAct(w, r, a, s, newForm("note", string(s.Note)))
	}
}

// living is the schedule that the path names; one that was deleted is not found.
func (d *dashboard) living(r *http.Request) (client.Schedule, error) {
	id := r.PathValue("id")
	s, err := d.Client.GetSchedule(r.Context(), id)
	if err == nil && s.Status == schedules.StatusDeleted {
		err = &client.NotFoundError{Kind: "schedule", ID: id, Deleted: true}
	}
	return s.Schedule, err
}

func (d *dashboard) showScheduleAct(w http.ResponseWriter, r *http.Request, a scheduleAct, s client.Schedule, f *form) error {
	p := actPage{Title: capital(a.verb) + " " + s.ScheduleID + "?", Text: a.text, Back: href("schedules", s.ScheduleID), Submit: capital(a.verb), Danger: a.danger, Form: f}
	if a.verb == "reset" && len(s.Overridden) > 0 {
		p.Text = append(slices.Clone(p.Text), "Changed by hand: "+strings.Join(s.Overridden, ", ")+".")
	}
	if a.noted {
		p.Fields = []actField{{Kind: "textarea", Name: "note", Label: "Note", Optional: "for people: why", Rows: 3}}
	}
	return d.showAct(w, r, "schedules", p)
}

// actDo carries an act out.
func (d *dashboard) actDo(a scheduleAct) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		f, err := readForm(r)
		if err != nil {
			return err
		}
		s, err := a.do(d, r.Context(), r.PathValue("id"), noteOf(f))
		if err == nil {
			return d.done(w, r, href("schedules", s.ScheduleID), "%s %s.", a.done, s.ScheduleID)
		}
		if statusOf(err) == http.StatusNotFound || !f.refuse(err, "note") {
			return err
		}
		found, err := d.living(r)
		if err != nil {
			return err
		}
		return d.showScheduleAct(w, r, a, found, f)
	}
}

// noteOf is the note of a form; nil, which leaves the schedule's as it is, when the form has none.
func noteOf(f *form) *string {
	if !f.Values.Has("note") {
		return nil
	}
	return new(strings.ReplaceAll(f.Get("note"), "\r\n", "\n"))
}

// maxBulk is how many schedules one act may name: those of a page of the longest kind.
const maxBulk = 200

// bulkOf reads an act on several schedules, and their ids.
func bulkOf(values interface{ Get(string) string }, ids []string) (scheduleAct, []string, error) {
	a, ok := scheduleActs[values.Get("act")]
	if !ok || a.verb == "reset" {
		return a, nil, &statusError{http.StatusBadRequest, fmt.Sprintf("act %q: must be pause, resume or delete", values.Get("act"))}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	switch {
	case len(ids) == 0:
		return a, nil, &statusError{http.StatusBadRequest, "no schedule is selected: tick the boxes of those to " + a.verb}
	case len(ids) > maxBulk:
		return a, nil, &statusError{http.StatusBadRequest, fmt.Sprintf("%d schedules are selected; at most %d at a time", len(ids), maxBulk)}
	}
	return a, ids, nil
}

func (d *dashboard) bulkForm(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	a, ids, err := bulkOf(q, q["id"])
	if err != nil {
		return err
	}
	return d.showBulk(w, r, a, ids, newForm("back", q.Get("back")))
}

func (d *dashboard) showBulk(w http.ResponseWriter, r *http.Request, a scheduleAct, ids []string, f *form) error {
	count, _ := plural(len(ids), "schedule") // an int is a whole number
	p := actPage{Title: capital(a.verb) + " " + count + "?", Text: a.text, Items: ids, Back: listOf(f), Submit: capital(a.verb) + " " + count, Danger: a.danger, Form: f,
		Keep: []hidden{{"act", a.verb}, {"back", listOf(f)}}, Action: "/schedules/act",
		Fields: []actField{{Kind: "textarea", Name: "note", Label: "Note", Optional: "for people: why", Hint: "Without one, each keeps the note it has."}}}
	for _, id := range ids {
		p.Keep = append(p.Keep, hidden{"id", id})
	}
	return d.showAct(w, r, "schedules", p)
}

// listOf is the list of schedules that the form came from, narrowed as it was.
func listOf(f *form) string {
	from, err := url.Parse(f.Get("back"))
	if err != nil || from.Path != "/schedules" {
		return "/schedules"
	}
	to := url.URL{Path: "/schedules", RawQuery: from.Query().Encode()}
	return to.String()
}

// bulkDo acts on each schedule by itself: one that can't be acted on does not keep the others from it.
func (d *dashboard) bulkDo(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	a, ids, err := bulkOf(f, f.Values["id"])
	if err != nil {
		return err
	}
	note := noteOf(f)
	if note != nil && *note == "" {
		note = nil
	}
	var refused []string
	for _, id := range ids {
		_, err := a.do(d, r.Context(), id, note)
		var bad *schedules.FieldError
		if errors.As(err, &bad) && bad.Field == "note" { // it is the same for all
			f.refuse(err, "note")
			return d.showBulk(w, r, a, ids, f)
		}
		if err != nil {
			refused = append(refused, id+": "+err.Error())
		}
	}
	count, _ := plural(len(ids)-len(refused), "schedule") // an int is a whole number
	if len(refused) > 0 {
		return d.warned(w, r, listOf(f), "%s %s, but not %s", a.done, count, strings.Join(refused, "; "))
	}
	return d.done(w, r, listOf(f), "%s %s.", a.done, count)
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
