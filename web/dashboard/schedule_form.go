package dashboard

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// scheduleForm is the form of a new schedule, or of one that is edited.
type scheduleForm struct {
	ID        string // of the schedule that is edited; empty: a new one
	Form      *form
	Workflows []option
	Overlaps  []option
	Catchups  []option
	Froms     []option
	Unknown   bool // the workflow is not known: it may be created all the same
	Preview   specPreview
	Action    string
	Back      string
}

// specPreview is what a spec that is being typed comes to.
type specPreview struct {
	Words string
	Zone  string
	Ticks []client.Tick
	Hint  string // what is lacking for a preview; empty: nothing
}

var (
	catchupOptions = []option{
		{string(schedules.CatchupOne), "one: a run for the latest of them"},
		{string(schedules.CatchupAll), "all: a run for each, in order"},
		{string(schedules.CatchupNone), "none: they are missed"},
	}
	fromOptions = []option{
		{string(schedules.FromCompletion), "the end of the last run"},
		{string(schedules.FromStart), "a fixed grid, whatever the runs do"},
	}
)

// specFields and definitionFields are the names of the form's fields, which are those of the record.
var (
	specFields       = []string{"cron", "interval", "calendar", "interval_from", "timezone", "start_at", "end_at", "jitter"}
	definitionFields = append(slices.Clone(specFields), "id", "workflow", "overlap", "buffer_limit", "cancel_grace", "catchup", "catchup_window", "queue", "input", "note")
)

// formOf is the form of a schedule as it stands.
func formOf(s client.Schedule) *form {
	zone := zoneOf(s.Spec)
	f := newForm("kind", "cron", "timezone", s.Spec.Timezone, "start_at", typed(s.Spec.StartAt, zone), "end_at", typed(s.Spec.EndAt, zone), "overlap", string(s.OverlapPolicy),
		"buffer_limit", strconv.Itoa(s.BufferLimit), "cancel_grace", s.CancelGrace.String(), "catchup", string(s.Catchup), "catchup_window", s.CatchupWindow.String(),
		"queue", string(s.Queue), "input", indented(s.Input), "note", string(s.Note), "version", strconv.FormatInt(s.Version, 10), "cron", s.Spec.Cron, "interval", s.Spec.Interval,
		"interval_from", string(s.Spec.IntervalFrom))
	if s.Spec.Jitter > 0 {
		f.Values.Set("jitter", s.Spec.Jitter.String())
	}
	switch {
	case s.Spec.Interval != "":
		f.Values.Set("kind", "interval")
	case len(s.Spec.Calendar) > 0:
		f.Values.Set("kind", "calendar")
		var lines []string
		for _, c := range s.Spec.Calendar {
			lines = append(lines, c.String())
		}
		f.Values.Set("calendar", strings.Join(lines, "\n"))
	}
	return f
}

// spec reads when the schedule ticks; what is wrong is noted beside its field. It reports false while the chosen kind has nothing typed in.
func (f *form) spec() (s schedules.Spec, given bool) {
	s.Timezone = f.Get("timezone")
	zone := zoneOf(s)
	s.StartAt, s.EndAt, s.Jitter = f.instant("start_at", zone), f.instant("end_at", zone), f.duration("jitter")
	switch kind := f.Get("kind"); kind {
	case "interval":
		s.Interval, s.IntervalFrom = f.Get("interval"), schedules.IntervalFrom(f.Get("interval_from"))
		given = s.Interval != ""
	case "calendar":
		for line := range strings.Lines(f.Get("calendar")) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			given = true
			c, err := schedules.ParseCalendar(line)
			if err != nil {
				f.refuse(err, "calendar")
				continue
			}
			s.Calendar = append(s.Calendar, c)
		}
	default:
		s.Cron = f.Get("cron")
		given = s.Cron != ""
	}
	return s, given
}

// definition reads all that the form says of a schedule.
func (f *form) definition() (def schedules.Definition, given bool) {
	def.Spec, given = f.spec()
	def.Overlap, def.Catchup = schedules.OverlapPolicy(f.Get("overlap")), schedules.Catchup(f.Get("catchup"))
	def.BufferLimit, def.CancelGrace, def.CatchupWindow = f.number("buffer_limit"), f.duration("cancel_grace"), f.duration("catchup_window")
	def.Queue, def.Input = f.Get("queue"), f.json("input")
	return def, given
}

// check notes what is wrong with a definition beyond what reading it noted.
func (f *form) check(def schedules.Definition, given bool) {
	if !given {
		f.wrong(kindOf(f), "is empty; say when the schedule ticks")
		def.Spec.Cron, def.Spec.Interval, def.Spec.Calendar = "@daily", "", nil // any will do for checking the rest
		def.Spec.IntervalFrom = ""
	}
	if _, err := schedules.Normalize(def); err != nil && !f.Bad() {
		f.refuse(err, definitionFields...)
	}
}

// kindOf is the field in which the form says when.
func kindOf(f *form) string {
	if kind := f.Get("kind"); kind == "interval" || kind == "calendar" {
		return kind
	}
	return "cron"
}

// previewOf shows what a spec comes to; what is wrong with it is noted beside its field.
func (d *dashboard) previewOf(f *form) specPreview {
	s, given := f.spec()
	switch {
	case f.Bad():
		return specPreview{Hint: "The next ticks appear here once the spec is right."}
	case !given:
		return specPreview{Hint: "The next ticks appear here as you type."}
	}
	t, err := schedules.Compile(s)
	if err != nil {
		f.refuse(err, specFields...)
		return specPreview{Hint: "The next ticks appear here once the spec is right."}
	}
	ticks, err := client.Preview(s, client.TicksRequest{Count: 8}, d.now())
	if err != nil {
		f.refuse(err, specFields...)
		return specPreview{Hint: "The next ticks appear here once the spec is right."}
	}
	p := specPreview{Words: t.Describe(), Zone: zoneOf(s).String(), Ticks: ticks}
	if len(ticks) == 0 {
		p.Hint = "It has no tick to come."
	}
	return p
}

func (d *dashboard) showScheduleForm(w http.ResponseWriter, r *http.Request, p scheduleForm) error {
	if err := d.readClock(r.Context()); err != nil {
		return err
	}
	bad := p.Form.Bad()
	p.Preview = d.previewOf(p.Form)
	p.Overlaps, p.Catchups, p.Froms = overlapOptions, catchupOptions, fromOptions
	title, status := "New schedule", http.StatusOK
	p.Action, p.Back = "/schedules/new", "/schedules"
	if p.ID != "" {
		title, p.Action, p.Back = "Edit "+p.ID, href("schedules", p.ID, "edit"), href("schedules", p.ID)
	}
	if bad {
		status = http.StatusUnprocessableEntity
	}
	var err error
	if p.Workflows, err = d.workflowOptions(r.Context(), "", ""); err != nil {
		return err
	}
	p.Workflows = p.Workflows[1:]
	return d.show(w, r, page{Template: "schedule_form", Title: title, Nav: "schedules", Status: status, Data: p})
}

func (d *dashboard) newSchedule(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return d.showScheduleForm(w, r, scheduleForm{Form: newForm("kind", "cron", "workflow", q.Get("workflow"), "timezone", "UTC", "overlap", string(schedules.OverlapSkip),
		"catchup", string(schedules.CatchupOne), "interval_from", string(schedules.FromCompletion))})
}

func (d *dashboard) createSchedule(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	def, given := f.definition()
	f.check(def, given)
	p := scheduleForm{Form: f, Unknown: f.Get("force") != ""}
	req := client.CreateRequest{ID: f.Get("id"), Workflow: f.Get("workflow"), Definition: def, Force: f.Get("force") != ""}
	if note := noteOf(f); note != nil {
		req.Note = *note
	}
	if req.Workflow == "" {
		f.wrong("workflow", "is missing; name the workflow to run")
	}
	if f.Bad() {
		return d.showScheduleForm(w, r, p)
	}
	s, err := d.Client.CreateSchedule(r.Context(), req)
	var unknown *client.UnknownWorkflowError
	var exists *client.ExistsError
	switch {
	case err == nil:
		return d.done(w, r, href("schedules", s.ScheduleID), "Created %s.", s.ScheduleID)
	case errors.As(err, &unknown):
		f.wrong("workflow", err.Error())
		p.Unknown = true
	case errors.As(err, &exists):
		f.wrong("id", err.Error()+"; choose another")
	case !f.refuse(err, definitionFields...):
		return err
	}
	return d.showScheduleForm(w, r, p)
}

func (d *dashboard) editSchedule(w http.ResponseWriter, r *http.Request) error {
	s, err := d.living(r)
	if err != nil {
		return err
	}
	return d.showScheduleForm(w, r, scheduleForm{ID: s.ScheduleID, Form: formOf(s)})
}

func (d *dashboard) updateSchedule(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	old, err := d.living(r)
	if err != nil {
		return err
	}
	p := scheduleForm{ID: old.ScheduleID, Form: f}
	def, given := f.definition()
	f.check(def, given)
	version, err := strconv.ParseInt(f.Get("version"), 10, 64)
	if err != nil || version < 1 {
		return &statusError{http.StatusBadRequest, "the form's version " + strconv.Quote(schedules.Cut(f.Get("version"), 40)) + " is none; open the form anew"}
	}
	if f.Bad() {
		return d.showScheduleForm(w, r, p)
	}
	if def, err = schedules.Normalize(def); err != nil {
		return err // not reached: it was checked
	}
	patch := schedules.Patch{ExpectVersion: version, Spec: &def.Spec, Overlap: &def.Overlap, BufferLimit: &def.BufferLimit, CancelGrace: &def.CancelGrace, Catchup: &def.Catchup,
		CatchupWindow: &def.CatchupWindow, Queue: &def.Queue, Input: &def.Input, Note: noteOf(f)}
	s, err := d.Client.UpdateSchedule(r.Context(), old.ScheduleID, patch)
	switch {
	case err == nil && s.Version == version:
		return d.done(w, r, href("schedules", s.ScheduleID), "Nothing was changed.")
	case err == nil:
		return d.done(w, r, href("schedules", s.ScheduleID), "Saved %s.", s.ScheduleID)
	case errors.Is(err, schedules.ErrVersion):
		f.Top = "Somebody changed this schedule while the form was open, so nothing was saved. What you typed is below; saving it again overwrites their change."
		f.Values.Set("version", strconv.FormatInt(old.Version, 10))
	case statusOf(err) == http.StatusNotFound || !f.refuse(err, definitionFields...):
		return err
	}
	return d.showScheduleForm(w, r, p)
}

// previewSchedule answers the form as it is being typed: what is wrong beside its field, and the next ticks. It writes nothing, and does not complain of what
// is not there yet.
func (d *dashboard) previewSchedule(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	if err := d.readClock(r.Context()); err != nil {
		return err
	}
	def, given := f.definition()
	if given && !f.Bad() {
		f.check(def, true)
	}
	if id := f.Get("id"); id != "" {
		if err := schedules.ValidateID(id); err != nil {
			f.refuse(err, "id")
		}
	}
	p := scheduleForm{Form: f, Overlaps: overlapOptions, Catchups: catchupOptions, Froms: fromOptions, Action: "/schedules/new", Back: "/schedules"}
	if p.Preview = d.previewOf(f); len(p.Preview.Ticks) > 0 && f.Get("version") == "" && kindOf(f) == "interval" && f.Get("start_at") == "" {
		p.Preview.Hint = "And one at once, when it is created."
	}
	return d.write(w, r, page{Template: "schedule_form", Title: "Preview", Nav: "schedules", Data: p})
}
