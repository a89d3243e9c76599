package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const tagSchedules = "schedules"

// Paging asks for part of a list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"How many to list at most; 100 when left out."`
	Cursor string `query:"cursor" doc:"Go on from here: the next_cursor of the page before."`
}

func (p Paging) request() client.PageRequest {
	return client.PageRequest{Cursor: p.Cursor, Limit: p.Limit}
}

// OneSchedule names a schedule.
type OneSchedule struct {
	ID string `path:"id" doc:"The schedule's id." example:"auto_daily_report"`
}

// Versioned names a schedule, and the version it is expected to have.
type Versioned struct {
	OneSchedule
	IfMatch string `header:"If-Match" doc:"The ETag the schedule is expected to have; left out, any version will do. A change of another version is refused with 412." example:"\"3\""`
}

// expecting gives the client for an act on that version.
func (v *Versioned) expecting(c *client.Client) (*client.Client, error) {
	text := strings.TrimSpace(v.IfMatch)
	if text == "" || text == "*" {
		return c, nil
	}
	inner, ok := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	version, err := strconv.ParseInt(inner, 10, 64)
	if !ok || !closed || err != nil || version < 1 {
		return nil, &schedules.FieldError{Field: "If-Match", Value: text, Problem: `is no ETag of a schedule; send the one that its answers carry, such as "3" with its quotes`}
	}
	return c.Expecting(version), nil
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

func changed(s client.Schedule, err error) (*tagged[client.Schedule], error) {
	if err != nil {
		return nil, err
	}
	return &tagged[client.Schedule]{etag(s.Version), s}, nil
}

// created says where what was made is.
type created[T any] struct {
	ETag     string `header:"ETag" doc:"The version of the schedule, for If-Match."`
	Location string `header:"Location" doc:"Where it is to be found."`
	Body     T
}

// Definition is what a schedule is made of, in a request. What is left out, or null where that may be, takes its default.
type Definition struct {
	Workflow      string                       `json:"workflow" doc:"The workflow to run."`
	Spec          schedules.Spec               `json:"spec" doc:"When it ticks."`
	OverlapPolicy schedules.OverlapPolicy      `json:"overlap_policy,omitempty" doc:"What becomes of a tick while a run is active; skip when left out."`
	BufferLimit   optional[int]                `json:"buffer_limit,omitempty" doc:"Ticks that may wait under buffer_all; 1000 when left out."`
	CancelGrace   optional[schedules.Duration] `json:"cancel_grace,omitempty" doc:"How long a run that is asked to cancel may take; 30s when left out."`
	Catchup       schedules.Catchup            `json:"catchup,omitempty" doc:"Which of the ticks run that were missed while nothing polled; one when left out."`
	CatchupWindow optional[schedules.Duration] `json:"catchup_window,omitempty" doc:"How far back catchup reaches; 24h when left out."`
	Queue         client.Text                  `json:"queue,omitempty" doc:"Queue of its runs; the workflow's when left out."`
	Input         json.RawMessage              `json:"input,omitempty" doc:"Input of its runs, any JSON; null when left out."`
	Note          client.Text                  `json:"note,omitempty" doc:"A note for people."`
	Force         bool                         `json:"force,omitempty" doc:"Create it though no worker and no activation has announced the workflow."`
}

func (d *Definition) request(id string) (client.CreateRequest, error) {
	req := client.CreateRequest{ID: id, Workflow: d.Workflow, Note: string(d.Note), Force: d.Force, Definition: schedules.Definition{Spec: d.Spec, Overlap: d.OverlapPolicy,
		BufferLimit: d.BufferLimit.value, CancelGrace: d.CancelGrace.value, Catchup: d.Catchup, CatchupWindow: d.CatchupWindow.value, Queue: string(d.Queue), Input: d.Input}}
	return req, noZero(&d.BufferLimit, &d.CancelGrace, &d.CatchupWindow)
}

// noZero refuses what would silently become a default.
func noZero(limit *optional[int], grace, window *optional[schedules.Duration]) error {
	for _, f := range []struct {
		name, value string
		zero        bool
	}{
		{"buffer_limit", "0", limit.given && !limit.null && limit.value == 0},
		{"cancel_grace", "0s", grace.given && !grace.null && grace.value == 0},
		{"catchup_window", "0s", window.given && !window.null && window.value == 0},
	} {
		if f.zero {
			return &schedules.FieldError{Field: f.name, Value: f.value, Problem: "must be more than 0"}
		}
	}
	return nil
}

// newSchedule is a definition with an id.
type newSchedule struct {
	ScheduleID client.Text `json:"schedule_id,omitempty" doc:"Its id; sched_ and 12 hex digits when left out."`
	Definition
}

// change is what is to become different; what is left out stays.
type change struct {
	Spec          specChange                        `json:"spec,omitempty" doc:"What is to become different of when it ticks; the rest stays. A new cron, interval or calendar replaces the old one, whichever it was."`
	OverlapPolicy optional[schedules.OverlapPolicy] `json:"overlap_policy,omitempty"`
	BufferLimit   optional[int]                     `json:"buffer_limit,omitempty"`
	CancelGrace   optional[schedules.Duration]      `json:"cancel_grace,omitempty"`
	Catchup       optional[schedules.Catchup]       `json:"catchup,omitempty"`
	CatchupWindow optional[schedules.Duration]      `json:"catchup_window,omitempty"`
	Queue         optional[string]                  `json:"queue,omitempty" doc:"null: the workflow's"`
	Input         optionalJSON                      `json:"input,omitempty" doc:"any JSON"`
	Note          optional[string]                  `json:"note,omitempty"`
}

// patch makes a change of the spec as it is.
func (c *change) patch(old schedules.Spec) (p schedules.Patch, err error) {
	if err := noZero(&c.BufferLimit, &c.CancelGrace, &c.CatchupWindow); err != nil {
		return p, err
	}
	if len(c.Spec.given) > 0 {
		spec := c.Spec.over(old)
		p.Spec = &spec
	}
	if p.Overlap, err = c.OverlapPolicy.must("overlap_policy"); err != nil {
		return p, err
	}
	if p.BufferLimit, err = c.BufferLimit.must("buffer_limit"); err != nil {
		return p, err
	}
	if p.CancelGrace, err = c.CancelGrace.must("cancel_grace"); err != nil {
		return p, err
	}
	if p.Catchup, err = c.Catchup.must("catchup"); err != nil {
		return p, err
	}
	if p.CatchupWindow, err = c.CatchupWindow.must("catchup_window"); err != nil {
		return p, err
	}
	p.Queue, p.Note = c.Queue.may(), c.Note.may()
	if c.Input != nil {
		p.Input = (*json.RawMessage)(&c.Input)
	}
	if p == (schedules.Patch{}) {
		return p, &schedules.FieldError{Field: "body", Problem: "has nothing to change; give at least one field"}
	}
	return p, nil
}

// optionalJSON is any JSON, null too; nil when it was left out.
type optionalJSON json.RawMessage

// UnmarshalJSON keeps the text.
func (o *optionalJSON) UnmarshalJSON(data []byte) error {
	*o = append(optionalJSON{}, data...)
	return nil
}

// Schema is that of any JSON.
func (optionalJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// specChange is what is to become different of a spec.
type specChange struct {
	given map[string]bool
	spec  schedules.Spec
}

// UnmarshalJSON reads a spec and notes which of its fields are there.
func (c *specChange) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return &schedules.FieldError{Field: "spec", Value: "null", Problem: "is no value; leave it out to keep what is there"}
	}
	if err := json.Unmarshal(data, &c.spec); err != nil {
		return err
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	c.given = map[string]bool{}
	for name := range names {
		c.given[name] = true
	}
	return nil
}

// Schema is that of a spec.
func (specChange) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(typeOf[schedules.Spec](), false, "")
}

// over is the old spec with the change in place.
func (c *specChange) over(old schedules.Spec) schedules.Spec {
	s, n := old, c.spec
	if c.given["cron"] || c.given["interval"] || c.given["calendar"] {
		s.Cron, s.Interval, s.Calendar, s.IntervalFrom = n.Cron, n.Interval, n.Calendar, ""
		if n.Interval != "" && old.Interval != "" {
			s.IntervalFrom = old.IntervalFrom
		}
	}
	for _, f := range []struct {
		name string
		take func()
	}{
		{"interval_from", func() { s.IntervalFrom = n.IntervalFrom }},
		{"timezone", func() { s.Timezone = n.Timezone }},
		{"start_at", func() { s.StartAt = n.StartAt }},
		{"end_at", func() { s.EndAt = n.EndAt }},
		{"jitter", func() { s.Jitter = n.Jitter }},
	} {
		if c.given[f.name] {
			f.take()
		}
	}
	return s
}

// addSchedules registers what reads and writes the records of schedules.
func (s *server) addSchedules() {
	c := s.Client
	type listInput struct {
		Paging
		Workflow string `query:"workflow" doc:"Those of this workflow."`
		Status   string `query:"status" enum:"active,paused,finished,deleted" doc:"Those of this status; deleted ones are listed only when asked for."`
		Origin   string `query:"origin" doc:"Those that this Go module declares."`
		Overlap  string `query:"overlap" enum:"skip,buffer_one,buffer_all,cancel_other,allow_all" doc:"Those of this overlap policy."`
		Search   string `query:"search" doc:"Those with this in their id, in small or capital letters."`
		Sort     string `query:"sort" enum:"id,next" doc:"By id, or the soonest next tick first; then only those that have one."`
	}
	add(s, huma.Operation{OperationID: "list-schedules", Method: http.MethodGet, Path: "/schedules", Tags: []string{tagSchedules}, Summary: "List schedules"}, example{answer: page(exampleSchedule)},
		func(ctx context.Context, in *listInput) (*answer[client.Page[client.Schedule]], error) {
			f := client.ScheduleFilter{Workflow: in.Workflow, Status: schedules.Status(in.Status), Origin: in.Origin, Overlap: schedules.OverlapPolicy(in.Overlap), Search: in.Search}
			if in.Sort == "next" {
				f.Sort = "next"
			}
			return give(c.ListSchedules(ctx, f, in.request()))
		})
	type createInput struct{ Body newSchedule }
	add(s, huma.Operation{OperationID: "create-schedule", Method: http.MethodPost, Path: "/schedules", Tags: []string{tagSchedules}, DefaultStatus: http.StatusCreated,
		Summary: "Create a schedule"}, example{body: exampleNew, answer: exampleSchedule},
		func(ctx context.Context, in *createInput) (*created[client.Schedule], error) {
			req, err := in.Body.request(string(in.Body.ScheduleID))
			if err != nil {
				return nil, err
			}
			made, err := c.CreateSchedule(ctx, req)
			if err != nil {
				return nil, forced(err)
			}
			return &created[client.Schedule]{etag(made.Version), Prefix + "/schedules/" + made.ScheduleID, made}, nil
		})
	add(s, huma.Operation{OperationID: "get-schedule", Method: http.MethodGet, Path: "/schedules/{id}", Tags: []string{tagSchedules},
		Summary: "Show a schedule", Description: "The record with its next 5 ticks and its latest 10 fates."}, example{answer: exampleDetail},
		func(ctx context.Context, in *OneSchedule) (*tagged[client.ScheduleDetail], error) {
			d, err := c.GetSchedule(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &tagged[client.ScheduleDetail]{etag(d.Version), d}, nil
		})
	type ensureInput struct {
		OneSchedule
		Body Definition
	}
	add(s, huma.Operation{OperationID: "ensure-schedule", Method: http.MethodPut, Path: "/schedules/{id}", Tags: []string{tagSchedules},
		Summary: "Create a schedule, or make it what is asked for", Description: "It is left alone when it is that already. A schedule's workflow never changes."},
		example{body: exampleEnsure, answer: exampleSchedule},
		func(ctx context.Context, in *ensureInput) (*tagged[client.Schedule], error) {
			req, err := in.Body.request(in.ID)
			if err != nil {
				return nil, err
			}
			got, err := changed(c.EnsureSchedule(ctx, req))
			return got, forced(err)
		})
	type updateInput struct {
		Versioned
		Body change
	}
	add(s, huma.Operation{OperationID: "update-schedule", Method: http.MethodPatch, Path: "/schedules/{id}", Tags: []string{tagSchedules},
		Summary: "Change a schedule", Description: "What is left out stays. Only a change of the spec computes the next tick anew."},
		example{body: exampleChange, answer: exampleSchedule},
		func(ctx context.Context, in *updateInput) (*tagged[client.Schedule], error) {
			c, err := in.expecting(c)
			if err != nil {
				return nil, err
			}
			return changed(c.EditSchedule(ctx, in.ID, func(old schedules.Schedule) (schedules.Patch, error) { return in.Body.patch(old.Spec) }))
		})
	add(s, huma.Operation{OperationID: "delete-schedule", Method: http.MethodDelete, Path: "/schedules/{id}", Tags: []string{tagSchedules},
		Summary: "Delete a schedule", Description: "The record is kept under status deleted, active runs go on. A schedule that is declared in code is refused."},
		example{answer: exampleSchedule},
		func(ctx context.Context, in *Versioned) (*tagged[client.Schedule], error) {
			c, err := in.expecting(c)
			if err != nil {
				return nil, err
			}
			return changed(c.Delete(ctx, in.ID))
		})
}

// forced adds to the error of an unknown workflow how the schedule is created all the same.
func forced(err error) error {
	if p := problemFor[*client.UnknownWorkflowError](err); p != nil {
		p.Detail += `; "force": true creates the schedule all the same`
		return p
	}
	return err
}
