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
}

// schedulesShown is how many schedules one page lists.
const schedulesShown = 50

// schedulesPage is the list of schedules.
type schedulesPage struct {
	Rows      []scheduleRow
	Filter    scheduleFilter
	Workflows []option
	Pager     pager
	None      bool // there is no schedule at all
}

// scheduleFilter is what the list was narrowed to.
type scheduleFilter struct {
	Search, Status, Workflow, Overlap, Sort string
}

// Narrowed reports whether anything is left out.
func (f scheduleFilter) Narrowed() bool {
	return f.Search != "" || f.Status != "" || f.Workflow != "" || f.Overlap != ""
}

// scheduleRow is one schedule of the list.
type scheduleRow struct {
	client.Schedule
	When  string // in words
	Strip strip
}

func (d *dashboard) schedules(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := scheduleFilter{Search: q.Get("q"), Status: q.Get("status"), Workflow: q.Get("workflow"), Overlap: q.Get("overlap"), Sort: q.Get("sort")}
	got, err := d.Client.ListSchedules(r.Context(), client.ScheduleFilter{Workflow: f.Workflow, Status: schedules.Status(f.Status)}, pageRequest(r, "", schedulesShown))
	if err != nil {
		return err
	}
	p := schedulesPage{Filter: f, Pager: newPager(r, "", "", len(got.Items), "schedule", got.NextCursor)}
	p.None = len(got.Items) == 0 && !f.Narrowed() && p.Pager.First == "" && p.Pager.Next == ""
	events := url.Values{}
	for _, s := range got.Items {
		p.Rows = append(p.Rows, scheduleRow{Schedule: s, When: describe(s.Spec)})
		events.Add("schedule", s.ScheduleID)
	}
	if p.Workflows, err = d.workflowOptions(r.Context(), f.Workflow, "any workflow"); err != nil {
		return err
	}
	return d.show(w, r, page{Template: "schedules", Title: "Schedules", Nav: "schedules", Events: events, Data: p})
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
