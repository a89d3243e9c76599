package dashboard

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// runsRoutes adds the pages about runs.
func (d *dashboard) runsRoutes() {
	d.get("/runs", d.listRuns)
	d.act("/runs/start", d.startForm, d.start)
	d.get("/runs/{id}", d.showRun)
	d.get("/runs/{id}/json", d.showRunJSON)
	d.act("/runs/{id}/cancel", d.cancelForm, d.cancel)
	d.act("/runs/{id}/again", d.againForm, d.again)
}

// runsPerPage is how many runs a page of the list shows.
const runsPerPage = 50

// runStatuses are the statuses to filter by, in the order of a run's life.
var runStatuses = []schedules.RunStatus{schedules.RunPending, schedules.RunRunning, schedules.RunRetrying, schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled}

// sinces are the ages to filter by.
var sinces = []option{{"", "Any time"}, {"1h", "Last hour"}, {"24h", "Last 24 hours"}, {"7d", "Last 7 days"}}

// runsPage is the list of runs.
type runsPage struct {
	Form      *form
	Workflows []option
	Statuses  []option
	Sinces    []option
	Runs      []client.Run
	Pager     pager
	Filtered  bool
}

func (d *dashboard) listRuns(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := d.readClock(ctx); err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	p := runsPage{Form: &form{Values: r.URL.Query(), Errors: map[string]string{}}, Statuses: []option{{"", "Any status"}}, Sinces: sinces}
	for _, s := range runStatuses {
		p.Statuses = append(p.Statuses, option{string(s), string(s)})
	}
	f := d.runFilter(p.Form)
	if given := p.Form.Get("since"); !hasOption(sinces, given) {
		p.Sinces = append(p.Sinces[:len(p.Sinces):len(p.Sinces)], option{given, "Since " + given})
	}
	p.Filtered = f != client.RunFilter{} || p.Form.Bad()
	var err error
	if p.Workflows, err = d.workflowOptions(ctx, f.Workflow, "Any workflow"); err != nil {
		return err
	}
	status := http.StatusOK
	if p.Form.Bad() {
		status = http.StatusUnprocessableEntity
	} else {
		list, err := d.Client.ListRuns(ctx, f, pageRequest(r, "", runsPerPage))
		if err != nil {
			return err
		}
		p.Runs, p.Pager = list.Items, newPager(r, "", "runs", len(list.Items), "run", list.NextCursor)
	}
	events := url.Values{}
	if f.ScheduleID != "" {
		events.Set("schedule", f.ScheduleID)
	}
	return d.show(w, r, page{Template: "runs", Title: "Runs", Nav: "runs", Status: status, Events: events, Data: p})
}

func hasOption(list []option, value string) bool {
	for _, o := range list {
		if o.Value == value {
			return true
		}
	}
	return false
}

// runFilter reads what to list; what is wrong stands beside its field.
func (d *dashboard) runFilter(f *form) client.RunFilter {
	out := client.RunFilter{Workflow: f.Get("workflow"), ScheduleID: f.Get("schedule"), Status: schedules.RunStatus(f.Get("status"))}
	known := out.Status == ""
	var names []string
	for _, s := range runStatuses {
		known = known || out.Status == s
		names = append(names, string(s))
	}
	if !known {
		f.wrong("status", sentence("is no status; choose "+strings.Join(names, ", "), string(out.Status)))
	}
	if text := f.Get("since"); text != "" {
		if age, err := schedules.ParseDuration(text); err == nil {
			out.Since = d.now().Add(-time.Duration(age)).Truncate(time.Second)
		} else if t, err := time.Parse(time.RFC3339, text); err == nil {
			out.Since = t.UTC()
		} else {
			f.wrong("since", sentence("is neither an age, such as 90m or 7d, nor a time, such as 2026-03-01T09:00:00Z", text))
		}
	}
	return out
}

// startFields are the fields of the form that starts a run.
var startFields = []string{"workflow", "input", "queue"}

// startForm shows the form that starts a run.
func (d *dashboard) startForm(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return d.showStart(w, r, newForm("workflow", q.Get("workflow"), "input", q.Get("input"), "key", rand.Text()))
}

func (d *dashboard) showStart(w http.ResponseWriter, r *http.Request, f *form) error {
	all, err := d.Client.Workflows(r.Context())
	if err != nil {
		return err
	}
	p := actPage{
		Title: "Start a run", Text: []string{"The workflow is executed once, now, outside any schedule."},
		Fields: []actField{
			{Name: "workflow", Label: "Workflow", Required: true, Kind: "select"},
			{Name: "input", Label: "Input", Optional: "JSON", Kind: "textarea", Mono: true, Rows: 5, Placeholder: `{"name": "value"}`, Hint: "Empty: null."},
			{Name: "queue", Label: "Queue", Optional: "optional", Hint: "Empty: the workflow's own."},
		},
		Keep: []hidden{{"key", f.Get("key")}}, Action: "/runs/start", Back: "/runs", Submit: "Start the run", Form: f,
	}
	if len(all) > 1 {
		p.Fields[0].Options = []option{{"", "Choose one"}}
	}
	chosen := f.Get("workflow")
	known := chosen == ""
	for _, wf := range all {
		text := wf.Name
		if wf.Workers == 0 {
			text += " (no live worker has it)"
		}
		p.Fields[0].Options = append(p.Fields[0].Options, option{wf.Name, text})
		known = known || wf.Name == chosen
	}
	if len(all) == 0 {
		p.Text = append(p.Text, "No workflow is known yet: they are announced by the workers that have them. Start one, or name one all the same.")
	}
	if len(all) == 0 || !known { // what was typed elsewhere must not be lost
		p.Fields[0].Kind = "input"
	}
	return d.showAct(w, r, "runs", p)
}

// start starts a run. The form's own key makes a form that is sent twice one run.
func (d *dashboard) start(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	input := f.json("input")
	if f.Get("workflow") == "" {
		f.wrong("workflow", "is missing; choose what to run")
	}
	if f.Bad() {
		return d.showStart(w, r, f)
	}
	id, err := d.Client.StartRun(r.Context(), f.Get("workflow"), input, pyworkflow.StartOptions{IdempotencyKey: f.Get("key"), Queue: f.Get("queue")})
	if err != nil {
		var unknown *client.UnknownWorkflowError
		if errors.As(err, &unknown) {
			f.wrong("workflow", err.Error())
		} else if !f.refuse(err, startFields...) {
			return err
		}
		return d.showStart(w, r, f)
	}
	return d.done(w, r, href("runs", id), "Run %s of %s started.", shortID(id), f.Get("workflow"))
}
