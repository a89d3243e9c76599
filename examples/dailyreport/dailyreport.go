// Package dailyreport is an example: a workflow whose input decides how it goes. "pyworkflow dev" has it inside, so that a schedule can be created, broken,
// understood and repaired in the browser:
//
//	{"region": "north"}                   works, and so does no input at all
//	{"region": "nroth"}                   fails, and says why
//	{"region": "north", "takes": "90s"}   outlasts a schedule of every minute: its overlap policy decides
package dailyreport

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
)

// DailyReport sums up a region's orders. It has no schedule of its own.
var DailyReport = pyworkflow.Define("daily_report", dailyReport,
	pyworkflow.Doc(`Sums up the orders of a region. Input: {"region": "north"}; "takes": "90s" makes it slow.`),
	pyworkflow.Timeout(time.Hour))

// Register hands the package's workflows to the program.
func Register(app *pyworkflow.App) error { return app.Register(DailyReport) }

// Request is the input; the zero value asks for the north.
type Request struct {
	Region string `json:"region"`
	Takes  string `json:"takes"` // how long summing up takes, such as "90s"; empty: no time
}

// Report is what the workflow returns.
type Report struct {
	Region string    `json:"region"`
	Day    time.Time `json:"day"` // the nominal time: a backfill reports on the day it is for
	Orders int       `json:"orders"`
	Total  float64   `json:"total"`
}

// orders are the amounts by region, where a real report would ask a database.
var orders = map[string][]float64{
	"east":  {12.50, 80, 7.25},
	"north": {19.90, 5, 5, 42},
	"south": {99},
	"west":  {3.20, 3.20},
}

func dailyReport(ctx context.Context, req Request) (Report, error) {
	if req.Region == "" {
		req.Region = "north"
	}
	var takes time.Duration
	if req.Takes != "" {
		var err error
		if takes, err = time.ParseDuration(req.Takes); err != nil || takes < 0 {
			return Report{}, pyworkflow.NoRetry(fmt.Errorf("takes %q is no length of time; write such as 90s", req.Takes))
		}
	}
	amounts, err := pyworkflow.Step(ctx, "load_orders", func(context.Context) ([]float64, error) {
		amounts, ok := orders[req.Region]
		if !ok {
			regions := strings.Join(slices.Sorted(maps.Keys(orders)), ", ")
			return nil, pyworkflow.NoRetry(fmt.Errorf("there is no region %q; the regions are %s", req.Region, regions))
		}
		pyworkflow.Logger(ctx).Info("orders loaded", "region", req.Region, "orders", len(amounts))
		return amounts, nil
	})
	if err != nil {
		return Report{}, err
	}
	total, err := pyworkflow.Step(ctx, "sum_up", func(ctx context.Context) (float64, error) {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-timer.C:
		}
		var sum float64
		for _, a := range amounts {
			sum += a
		}
		return sum, nil
	})
	if err != nil {
		return Report{}, err
	}
	day := pyworkflow.RunInfo(ctx).Nominal
	if day.IsZero() { // the run belongs to no schedule
		day = time.Now()
	}
	return Report{Region: req.Region, Day: day.UTC(), Orders: len(amounts), Total: total}, nil
}
