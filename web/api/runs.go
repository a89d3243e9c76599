package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const tagRuns = "runs"

func number(n int) string { return strconv.Itoa(n) }

// newRun is a run to start.
type newRun struct {
	Workflow string       `json:"workflow" doc:"The workflow to run."`
	Input    optionalJSON `json:"input,omitempty" doc:"Its input, any JSON; null when left out."`
	Queue    client.Text  `json:"queue,omitempty" doc:"Its queue; the workflow's when left out."`
}

// runEvents is the log of a run from a position on.
type runEvents struct {
	Items      []client.Event `json:"items"`
	NextCursor client.Text    `json:"next_cursor" doc:"Always null: a log comes whole."`
	After      int64          `json:"after" doc:"Give it as ?after= to read what comes later."`
}

// OneRun names a run.
type OneRun struct {
	ID string `path:"id" doc:"The run's id." example:"run_5e0123456789abcdef0123"`
}

// sinceOf reads a time, or how long ago.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	d, err := schedules.ParseDuration(text)
	if err != nil {
		return time.Time{}, &schedules.FieldError{Field: "since", Value: text, Problem: "is no time; write RFC 3339, such as 2026-03-01T09:00:00Z, or how long ago, such as 30m or 1d"}
	}
	return now.Add(-time.Duration(d)), nil
}

// addRuns registers what is done to and seen of runs.
func (s *server) addRuns() {
	c := s.Client
	type listInput struct {
		Paging
		Workflow string `query:"workflow" doc:"Those of this workflow."`
		Schedule string `query:"schedule" doc:"Those of this schedule."`
		Status   string `query:"status" enum:"pending,running,retrying,completed,failed,cancelled" doc:"Those of this status."`
		Since    string `query:"since" doc:"Those created since: RFC 3339, or how long ago, such as 30m or 1d."`
	}
	add(s, huma.Operation{OperationID: "list-runs", Method: http.MethodGet, Path: "/runs", Tags: []string{tagRuns}, Summary: "List runs", Description: "The newest first, with their steps."},
		example{answer: page(exampleRun)},
		func(ctx context.Context, in *listInput) (*answer[client.Page[client.Run]], error) {
			now, err := c.Now(ctx)
			if err != nil {
				return nil, err
			}
			since, err := sinceOf(in.Since, now)
			if err != nil {
				return nil, err
			}
			return give(c.ListRuns(ctx, client.RunFilter{Workflow: in.Workflow, ScheduleID: in.Schedule, Status: schedules.RunStatus(in.Status), Since: since}, in.request()))
		})
	type startInput struct {
		Key  string `header:"Idempotency-Key" doc:"A second start of the same workflow with the same key gives the first one's run."`
		Body newRun
	}
	add(s, huma.Operation{OperationID: "start-run", Method: http.MethodPost, Path: "/runs", Tags: []string{tagRuns}, DefaultStatus: http.StatusCreated,
		Summary: "Start a run of a workflow, outside any schedule"}, example{body: map[string]any{"workflow": "daily_report", "input": map[string]bool{"dry": true}}, answer: exampleRun},
		func(ctx context.Context, in *startInput) (*created[client.Run], error) {
			return startedRun(ctx, c)(c.StartRun(ctx, in.Body.Workflow, json.RawMessage(in.Body.Input), pyworkflow.StartOptions{Queue: string(in.Body.Queue), IdempotencyKey: in.Key}))
		})
	add(s, huma.Operation{OperationID: "get-run", Method: http.MethodGet, Path: "/runs/{id}", Tags: []string{tagRuns}, Summary: "Show a run with its steps"}, example{answer: exampleRun},
		func(ctx context.Context, in *OneRun) (*answer[client.Run], error) { return give(c.GetRun(ctx, in.ID)) })
	type cancelInput struct {
		OneRun
		Body *struct {
			Reason string `json:"reason,omitempty" doc:"Why; the run's code and its log see it."`
		}
	}
	add(s, huma.Operation{OperationID: "cancel-run", Method: http.MethodPost, Path: "/runs/{id}/cancel", Tags: []string{tagRuns}, Summary: "Ask a run to cancel",
		Description: "A run that no worker holds ends at once; another has until its cancel grace is over. What has ended stays as it is."},
		example{body: map[string]string{"reason": "wrong input"}, answer: exampleRun},
		func(ctx context.Context, in *cancelInput) (*answer[client.Run], error) {
			reason := ""
			if in.Body != nil {
				reason = in.Body.Reason
			}
			return give(c.CancelRun(ctx, in.ID, reason))
		})
	add(s, huma.Operation{OperationID: "run-again", Method: http.MethodPost, Path: "/runs/{id}/again", Tags: []string{tagRuns}, DefaultStatus: http.StatusCreated,
		Summary: "Run a run again", Description: "The same workflow, input and queue, outside its schedule."}, example{answer: exampleRun},
		func(ctx context.Context, in *OneRun) (*created[client.Run], error) {
			return startedRun(ctx, c)(c.RunAgain(ctx, in.ID))
		})
	type eventsInput struct {
		OneRun
		After int64 `query:"after" minimum:"0" doc:"From this position on; 0, the start, when left out."`
	}
	add(s, huma.Operation{OperationID: "list-run-events", Method: http.MethodGet, Path: "/runs/{id}/events", Tags: []string{tagRuns}, Summary: "Show the log of a run",
		Description: "What happened to it, and what its code logged, oldest first."}, example{answer: runEvents{Items: []client.Event{exampleEvent}, After: 1}},
		func(ctx context.Context, in *eventsInput) (*answer[runEvents], error) {
			events, next, err := c.RunEvents(ctx, in.ID, in.After)
			return give(runEvents{Items: events, After: next}, err)
		})
}

// startedRun answers with the run that was started.
func startedRun(ctx context.Context, c *client.Client) func(id string, err error) (*created[client.Run], error) {
	return func(id string, err error) (*created[client.Run], error) {
		if err != nil {
			return nil, err
		}
		r, err := c.GetRun(ctx, id)
		if err != nil {
			return nil, err
		}
		return &created[client.Run]{Location: Prefix + "/runs/" + id, Body: r}, nil
	}
}
