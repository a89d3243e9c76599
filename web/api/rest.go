package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	tagWorkflows = "workflows"
	tagSystem    = "system"
)

var tags = []*huma.Tag{
	{Name: tagSchedules, Description: "When workflows run"},
	{Name: tagBackfills, Description: "Runs of past ticks"},
	{Name: tagRuns, Description: "Executions of workflows"},
	{Name: tagWorkflows, Description: "What can be run"},
	{Name: tagSystem, Description: "Processes, queues, health, changes as they happen"},
}

const description = `The acts and views of pyworkflow. Bodies are those that the command line prints with --output json.

Times are RFC 3339 in UTC; durations are texts ("5m"); absent is null. A list is {"items": [...], "next_cursor": null}: give next_cursor as ?cursor= for the next page.
Unknown fields and parameters are refused. An error is an application/problem+json with a code and one line that says what was wrong, with which value, and what to do.`

// versionView says what answers.
type versionView struct {
	Version   string      `json:"version" doc:"Of the program."`
	Namespace client.Text `json:"namespace"`
	Runtime   client.Text `json:"runtime" doc:"local or asynq"`
	Store     string      `json:"store" doc:"Where records live, without secrets."`
	ReadOnly  bool        `json:"read_only" doc:"Nothing can be changed here."`
	Now       client.Time `json:"now" doc:"The store's clock."`
}

// list is a whole list as a page.
func list[T any](items []T, err error) (*answer[client.Page[T]], error) {
	if items == nil {
		items = []T{}
	}
	return give(client.Page[T]{Items: items}, err)
}

// addRest registers workflows, processes, queues and the state of all.
func (s *server) addRest() {
	c := s.Client
	type none struct{}
	type named struct {
		Name string `path:"name" doc:"Its name."`
	}
	add(s, huma.Operation{OperationID: "overview", Method: http.MethodGet, Path: "/overview", Tags: []string{tagSystem}, Summary: "Show all at a glance",
		Description: "What runs, what failed and what was missed in the last 24 hours, who lives, what waits in the queues."}, example{answer: exampleOverview},
		func(ctx context.Context, _ *none) (*answer[client.Overview], error) { return give(c.Overview(ctx)) })
	type upcomingInput struct {
		From  string `query:"from" format:"date-time" doc:"The first stretch begins here; now when left out."`
		Width string `query:"width" doc:"How long a stretch is; 1m when left out."`
		Count int    `query:"count" minimum:"1" maximum:"1440" doc:"How many stretches; 60 when left out."`
	}
	add(s, huma.Operation{OperationID: "upcoming", Method: http.MethodGet, Path: "/upcoming", Tags: []string{tagSystem}, Summary: "Show where ticks will pile up",
		Description: "How many regular ticks will be due in each of the stretches of time to come."}, example{answer: exampleUpcoming},
		func(ctx context.Context, in *upcomingInput) (*answer[client.Upcoming], error) {
			width, err := schedules.ParseDuration(cmp.Or(in.Width, "1m"))
			if err != nil {
				return nil, renamed(err, "width")
			}
			return give(c.Upcoming(ctx, instantOf(in.From), time.Duration(width), cmp.Or(in.Count, 60)))
		})
	add(s, huma.Operation{OperationID: "list-workflows", Method: http.MethodGet, Path: "/workflows", Tags: []string{tagWorkflows}, Summary: "List workflows",
		Description: "Those of this program and those that workers or activations have announced."}, example{answer: page(exampleWorkflow)},
		func(ctx context.Context, _ *none) (*answer[client.Page[client.Workflow]], error) {
			return list(c.Workflows(ctx))
		})
	add(s, huma.Operation{OperationID: "get-workflow", Method: http.MethodGet, Path: "/workflows/{name}", Tags: []string{tagWorkflows}, Summary: "Show a workflow"},
		example{answer: exampleWorkflow},
		func(ctx context.Context, in *named) (*answer[client.Workflow], error) {
			return give(c.GetWorkflow(ctx, in.Name))
		})
	add(s, huma.Operation{OperationID: "list-processes", Method: http.MethodGet, Path: "/processes", Tags: []string{tagSystem}, Summary: "List live workers and beats"},
		example{answer: page(exampleProcess)},
		func(ctx context.Context, _ *none) (*answer[client.Page[client.Process]], error) {
			return list(c.Processes(ctx))
		})
	add(s, huma.Operation{OperationID: "list-queues", Method: http.MethodGet, Path: "/queues", Tags: []string{tagSystem}, Summary: "List the queues between processes",
		Description: "There are none in the local runtime."}, example{answer: page(exampleQueue)},
		func(ctx context.Context, _ *none) (*answer[client.Page[client.Queue]], error) {
			return list(c.Queues(ctx))
		})
	for _, act := range []struct {
		name, summary string
		do            func(*client.Client, context.Context, string) error
	}{
		{"pause", "Let workers take nothing more from a queue", (*client.Client).PauseQueue},
		{"resume", "Let workers take from a queue again", (*client.Client).ResumeQueue},
	} {
		add(s, huma.Operation{OperationID: act.name + "-queue", Method: http.MethodPost, Path: "/queues/{name}/" + act.name, Tags: []string{tagSystem}, Summary: act.summary},
			example{},
			func(ctx context.Context, in *named) (*none, error) {
				if err := act.do(c, ctx, in.Name); err != nil {
					return nil, err
				}
				return &none{}, nil
			})
	}
	add(s, huma.Operation{OperationID: "doctor", Method: http.MethodGet, Path: "/doctor", Tags: []string{tagSystem}, Summary: "Find what endangers schedules and runs",
		Description: "It changes nothing. A finding has a status, ok unless there is something to do or to know."}, example{answer: page(exampleFinding)},
		func(ctx context.Context, _ *none) (*answer[client.Page[client.Finding]], error) {
			return list(c.Doctor(ctx, s.Doctor))
		})
	add(s, huma.Operation{OperationID: "version", Method: http.MethodGet, Path: "/version", Tags: []string{tagSystem}, Summary: "Say what answers here"},
		example{answer: versionView{Version: "v1.2.0", Namespace: "default", Runtime: "asynq", Store: "redis localhost:6379/0", Now: client.Time{Time: exampleTime}}},
		func(ctx context.Context, _ *none) (*answer[versionView], error) {
			now, err := c.Now(ctx)
			return give(versionView{Version: s.Version, Namespace: client.Text(s.Namespace), Runtime: client.Text(s.Runtime), Store: c.Describe(), ReadOnly: s.ReadOnly, Now: client.Time{Time: now}}, err)
		})
}
