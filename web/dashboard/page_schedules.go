package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// schedulesRoutes are the pages of schedules and the acts on them.
func (d *dashboard) schedulesRoutes() {
	d.get("/schedules", d.schedules)
	d.act("/schedules/act", d.bulkForm, d.bulkDo)
	d.act("/schedules/new", d.newSchedule, d.createSchedule)
	d.post("/schedules/preview", d.previewSchedule)
	d.get("/schedules/{id}", d.schedule)
	d.act("/schedules/{id}/edit", d.editSchedule, d.updateSchedule)
	for verb, a := range scheduleActs {
		d.act("/schedules/{id}/"+verb, d.actForm(a), d.actDo(a))
	}
	d.act("/schedules/{id}/trigger", d.triggerForm, d.triggerDo)
	d.act("/schedules/{id}/backfill", d.backfillForm, d.backfillDo)
	d.act("/backfills/{id}/cancel", d.cancelBackfillForm, d.cancelBackfillDo)
}

// schedulesShown is how many schedules one page lists.
const schedulesShown = 50

// schedulesPage is the list of schedules.
type schedulesPage struct {
	Rows      []scheduleRow
	Filter    scheduleFilter
	Statuses  []option
	Workflows []option
	Overlaps  []option
	Sorts     []option
	Pager     pager
	None      bool // there is no schedule at all
	ReadOnly  bool
	Example   string // a workflow that a first schedule may run
	Here      string // address of this list, to come back to
}

// scheduleFilter is what the list was narrowed to.
type scheduleFilter struct {
	Search, Status, Workflow, Overlap, Sort string
}

// Narrowed reports whether anything is left out.
func (f scheduleFilter) Narrowed() bool {
	return f.Search != "" || f.Status != "" || f.Workflow != "" || f.Overlap != "" || f.Sort != ""
}

// scheduleRow is one schedule of the list.
type scheduleRow struct {
	client.Schedule
	When        string // in words
	Strip       strip
	SuccessRate *float64
	P50, P95    client.Duration
}

var (
	statusOptions = []option{{"", "Any status"}, {"active", "Active"}, {"paused", "Paused"}, {"finished", "Finished"}, {"deleted", "Deleted"}}
	sortOptions   = []option{{"", "By id"}, {"next", "Next run first"}}
	// overlapOptions are what may become of a tick while a run is active, in the words of the form.
	overlapOptions = []option{
		{string(schedules.OverlapSkip), "skip: nothing starts"},
		{string(schedules.OverlapBufferOne), "buffer_one: one tick waits for its end"},
		{string(schedules.OverlapBufferAll), "buffer_all: every tick waits its turn"},
		{string(schedules.OverlapCancelOther), "cancel_other: it is cancelled, the tick follows"},
		{string(schedules.OverlapAllowAll), "allow_all: it starts at once"},
	}
)

func (d *dashboard) schedules(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := scheduleFilter{Search: q.Get("q"), Status: q.Get("status"), Workflow: q.Get("workflow"), Overlap: q.Get("overlap"), Sort: q.Get("sort")}
	got, err := d.Client.ListSchedules(r.Context(), client.ScheduleFilter{Workflow: f.Workflow, Status: schedules.Status(f.Status), Overlap: schedules.OverlapPolicy(f.Overlap),
		Search: f.Search, Sort: f.Sort}, pageRequest(r, "", schedulesShown))
	if err != nil {
		return err
	}
	p := schedulesPage{Filter: f, Statuses: statusOptions, Sorts: sortOptions, Overlaps: []option{{"", "Any policy"}}, Pager: newPager(r, "", "", len(got.Items), "schedule", got.NextCursor),
		ReadOnly: d.ReadOnly, Example: "WORKFLOW", Here: r.URL.RequestURI()}
	for _, o := range overlapOptions {
		p.Overlaps = append(p.Overlaps, option{o.Value, o.Value})
	}
	p.None = len(got.Items) == 0 && !f.Narrowed() && p.Pager.First == "" && p.Pager.Next == ""
	ids := make([]string, 0, len(got.Items))
	for _, s := range got.Items {
		ids = append(ids, s.ScheduleID)
	}
	strips, err := d.Client.Strips(r.Context(), ids, stripBars)
	if err != nil {
		return err
	}
	for _, s := range got.Items {
		v := strips[s.ScheduleID]
		p.Rows = append(p.Rows, scheduleRow{Schedule: s, When: describe(s.Spec), Strip: newStrip(v.Ticks), SuccessRate: v.SuccessRate, P50: v.P50, P95: v.P95})
	}
	if p.Workflows, err = d.workflowOptions(r.Context(), f.Workflow, "Any workflow"); err != nil {
		return err
	}
	if len(p.Workflows) > 1 {
		p.Example = p.Workflows[1].Value
	}
	return d.show(w, r, page{Template: "schedules", Title: "Schedules", Nav: "schedules", Events: url.Values{"schedule": ids}, Data: p})
}

// workflowOptions are the known workflows, and the one that is chosen.
func (d *dashboard) workflowOptions(ctx context.Context, chosen, none string) ([]option, error) {
	known, err := d.Client.Workflows(ctx)
	if err != nil {
		return nil, fmt.Errorf("list workflows: %w", err)
	}
	opts := []option{{"", none}}
	for _, k := range known {
		opts = append(opts, option{k.Name, k.Name})
	}
	if chosen != "" && !slices.Contains(opts, option{chosen, chosen}) {
		opts = append(opts, option{chosen, chosen})
	}
	return opts, nil
}

// describe says in words when a spec ticks.
func describe(s schedules.Spec) string {
	t, err := schedules.Compile(s)
	if err != nil {
		return err.Error() // a damaged record
	}
	return t.Describe()
}
