package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const tagBackfills = "backfills"

// newBackfill is the range that a backfill is to run.
type newBackfill struct {
	Start       instant       `json:"start" doc:"First nominal time, inclusive."`
	End         instant       `json:"end,omitempty" doc:"End of the range, exclusive; now when left out."`
	Parallel    optional[int] `json:"parallel,omitempty" doc:"Runs at a time; 1 when left out."`
	MaxRuns     optional[int] `json:"max_runs,omitempty" doc:"A range of more runs is refused; 1000 when left out."`
	MissingOnly bool          `json:"missing_only,omitempty" doc:"Leave out ticks that have a run."`
}

func (n *newBackfill) request(now time.Time) (client.BackfillRequest, error) {
	for _, f := range []struct {
		name string
		n    *optional[int]
	}{{"parallel", &n.Parallel}, {"max_runs", &n.MaxRuns}} {
		if f.n.given && !f.n.null && f.n.value < 1 {
			return client.BackfillRequest{}, &schedules.FieldError{Field: f.name, Value: number(f.n.value), Problem: "must be 1 or more"}
		}
	}
	req := client.BackfillRequest{Start: n.Start.Time, End: n.End.Time, Parallel: n.Parallel.value, MaxRuns: n.MaxRuns.value, MissingOnly: n.MissingOnly}
	return req, checkRange(req, now)
}

// checkRange finds what is wrong with a range without knowing the schedule.
func checkRange(req client.BackfillRequest, now time.Time) error {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	switch {
	case req.Start.IsZero():
		return &schedules.FieldError{Field: "start", Problem: "is missing; give the first nominal time of the range, such as 2026-01-15T00:00:00Z"}
	case req.End.IsZero() && req.Start.After(now):
		return &schedules.FieldError{Field: "start", Value: stamp(req.Start), Problem: "must not be later than now; what is to come runs by itself"}
	case !req.End.IsZero() && !req.End.After(req.Start):
		return &schedules.FieldError{Field: "end", Value: stamp(req.End), Problem: "must be later than start " + stamp(req.Start)}
	}
	return nil
}

// addBackfills registers what is done to and seen of backfills.
func (s *server) addBackfills() {
	c := s.Client
	type startInput struct {
		OneSchedule
		Body newBackfill
	}
	add(s, huma.Operation{OperationID: "start-backfill", Method: http.MethodPost, Path: "/schedules/{id}/backfill", Tags: []string{tagBackfills}, DefaultStatus: http.StatusAccepted,
		Summary: "Run the ticks of a past range", Description: "Every nominal time in the range becomes a run, the oldest first; the ids of the runs are given at once."},
		example{body: map[string]any{"start": "2026-01-15T00:00:00Z", "end": "2026-01-15T12:00:00Z", "parallel": 2, "missing_only": true},
			answer: client.BackfillResult{BackfillID: exampleBackfillID, RunIDs: []string{exampleRunID}, Count: 1}},
		func(ctx context.Context, in *startInput) (*answer[client.BackfillResult], error) {
			now, err := c.Now(ctx)
			if err != nil {
				return nil, err
			}
			req, err := in.Body.request(now)
			if err != nil {
				return nil, err
			}
			return give(c.Backfill(ctx, in.ID, req))
		})
	type planInput struct {
		OneSchedule
		Start       string `query:"start" required:"true" format:"date-time" doc:"First nominal time, inclusive."`
		End         string `query:"end" format:"date-time" doc:"End of the range, exclusive; now when left out."`
		MaxRuns     int    `query:"max_runs" minimum:"1" doc:"A range of more runs is refused; 1000 when left out."`
		MissingOnly bool   `query:"missing_only" doc:"Leave out ticks that have a run."`
	}
	add(s, huma.Operation{OperationID: "plan-backfill", Method: http.MethodGet, Path: "/schedules/{id}/backfill/plan", Tags: []string{tagBackfills},
		Summary: "Show what a backfill would run", Description: "It writes nothing."},
		example{answer: client.BackfillPlan{NominalTimes: []client.Time{{Time: exampleTime}}, Count: 1}},
		func(ctx context.Context, in *planInput) (*answer[client.BackfillPlan], error) {
			now, err := c.Now(ctx)
			if err != nil {
				return nil, err
			}
			req := client.BackfillRequest{Start: instantOf(in.Start), End: instantOf(in.End), MaxRuns: in.MaxRuns, MissingOnly: in.MissingOnly}
			if err := checkRange(req, now); err != nil {
				return nil, err
			}
			return give(c.PlanBackfill(ctx, in.ID, req))
		})
	type listInput struct {
		Paging
		Schedule string `query:"schedule" doc:"Those of this schedule."`
	}
	add(s, huma.Operation{OperationID: "list-backfills", Method: http.MethodGet, Path: "/backfills", Tags: []string{tagBackfills}, Summary: "List backfills",
		Description: "The newest first."}, example{answer: page(exampleBackfill)},
		func(ctx context.Context, in *listInput) (*answer[client.Page[client.Backfill]], error) {
			return give(c.ListBackfills(ctx, in.Schedule, in.request()))
		})
	type one struct {
		ID string `path:"id" doc:"The backfill's id."`
	}
	add(s, huma.Operation{OperationID: "get-backfill", Method: http.MethodGet, Path: "/backfills/{id}", Tags: []string{tagBackfills}, Summary: "Show a backfill and how far it is"},
		example{answer: exampleBackfill},
		func(ctx context.Context, in *one) (*answer[client.Backfill], error) {
			return give(c.GetBackfill(ctx, in.ID))
		})
	add(s, huma.Operation{OperationID: "cancel-backfill", Method: http.MethodPost, Path: "/backfills/{id}/cancel", Tags: []string{tagBackfills},
		Summary: "Drop what a backfill has not started", Description: "Its active runs go on. Cancelling one that has ended changes nothing."}, example{answer: exampleBackfill},
		func(ctx context.Context, in *one) (*answer[client.Backfill], error) {
			return give(c.CancelBackfill(ctx, in.ID))
		})
}
