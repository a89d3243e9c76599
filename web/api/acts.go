package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

// noted is the body of acts that can say why.
type noted struct {
	Note optional[string] `json:"note,omitempty" doc:"A note for people, such as why; left out, the note stays as it is."`
}

func (n *noted) note() *string {
	if n == nil {
		return nil
	}
	return n.Note.may()
}

// notedInput is what acts with a note take.
type notedInput struct {
	Versioned
	Body *noted
}

// triggering is the body of a trigger.
type triggering struct {
	OverlapPolicy schedules.OverlapPolicy `json:"overlap_policy,omitempty" doc:"What becomes of it while a run is active; the schedule's when left out."`
	Input         optionalJSON            `json:"input,omitempty" doc:"Input of this run, any JSON; the schedule's when left out."`
}

// instantOf is the time that a parameter gives; strict has checked it.
func instantOf(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// TicksQuery asks for ticks to come.
type TicksQuery struct {
	After string `query:"after" format:"date-time" doc:"Strictly after this time; now when left out."`
	Until string `query:"until" format:"date-time" doc:"Before this time."`
	Count int    `query:"count" minimum:"1" maximum:"10000" doc:"At most so many; 5 when left out, or with until as many as there are, but never more than 10,000."`
}

func (q *TicksQuery) request() client.TicksRequest {
	return client.TicksRequest{After: instantOf(q.After), Until: instantOf(q.Until), Count: q.Count}
}

// addScheduleActs registers what is done to schedules, and what there is to see of them.
func (s *server) addScheduleActs() {
	c := s.Client
	for _, act := range []struct {
		name, summary, about string
		do                   func(*client.Client, context.Context, string, *string) (client.Schedule, error)
	}{
		{"pause", "Pause a schedule", "No regular tick comes due; active runs, manual and backfill ticks go on.", (*client.Client).Pause},
		{"resume", "Resume a schedule", "Regular ticks come due again, from now on.", (*client.Client).Resume},
	} {
		add(s, huma.Operation{OperationID: act.name + "-schedule", Method: http.MethodPost, Path: "/schedules/{id}/" + act.name, Tags: []string{tagSchedules},
			Summary: act.summary, Description: act.about}, example{body: map[string]string{"note": "the supplier's site is down"}, answer: exampleSchedule},
			func(ctx context.Context, in *notedInput) (*tagged[client.Schedule], error) {
				c, err := in.expecting(c)
				if err != nil {
					return nil, err
				}
				return changed(act.do(c, ctx, in.ID, in.Body.note()))
			})
	}
	add(s, huma.Operation{OperationID: "reset-schedule", Method: http.MethodPost, Path: "/schedules/{id}/reset", Tags: []string{tagSchedules},
		Summary: "Return a declared schedule to its declaration", Description: "What people changed by hand is taken back."}, example{answer: exampleSchedule},
		func(ctx context.Context, in *Versioned) (*tagged[client.Schedule], error) {
			c, err := in.expecting(c)
			if err != nil {
				return nil, err
			}
			return changed(c.Reset(ctx, in.ID))
		})
	type triggerInput struct {
		OneSchedule
		Key  string `header:"Idempotency-Key" doc:"A second trigger of the schedule with the same key answers as the first did, and starts nothing."`
		Body *triggering
	}
	add(s, huma.Operation{OperationID: "trigger-schedule", Method: http.MethodPost, Path: "/schedules/{id}/trigger", Tags: []string{tagSchedules},
		Summary: "Run a schedule now", Description: "The regular timing is untouched; it works on a paused schedule. A trigger that the overlap policy skips is answered with 409, code skipped."},
		example{body: map[string]any{"overlap_policy": "allow_all", "input": map[string]bool{"dry": true}}, answer: client.TriggerResult{Outcome: schedules.FateStarted, RunID: exampleRunID}},
		func(ctx context.Context, in *triggerInput) (*answer[client.TriggerResult], error) {
			req := client.TriggerRequest{IdempotencyKey: in.Key}
			if in.Body != nil {
				req.Overlap, req.Input = in.Body.OverlapPolicy, json.RawMessage(in.Body.Input)
			}
			res, err := c.Trigger(ctx, in.ID, req)
			if err == nil && res.Outcome == schedules.FateSkipped {
				return nil, skipped(in.ID, res)
			}
			return give(res, err)
		})
	type historyInput struct {
		OneSchedule
		Paging
		Start string `query:"start" format:"date-time" doc:"Nominal times from here on."`
		End   string `query:"end" format:"date-time" doc:"Nominal times before this."`
		Fate  string `query:"fate" enum:"started,buffered,dropped,skipped,missed" doc:"Ticks of this fate."`
	}
	add(s, huma.Operation{OperationID: "list-history", Method: http.MethodGet, Path: "/schedules/{id}/history", Tags: []string{tagSchedules},
		Summary: "Show what became of each tick", Description: "The newest nominal time first."}, example{answer: page(exampleFate)},
		func(ctx context.Context, in *historyInput) (*answer[client.Page[client.Fate]], error) {
			return give(c.ListHistory(ctx, in.ID, client.FateFilter{Start: instantOf(in.Start), End: instantOf(in.End), Fate: schedules.FateKind(in.Fate)}, in.request()))
		})
	type timelineInput struct {
		OneSchedule
		Count int `query:"count" minimum:"1" maximum:"1000" doc:"The latest so many; 100 when left out."`
	}
	add(s, huma.Operation{OperationID: "timeline", Method: http.MethodGet, Path: "/schedules/{id}/timeline", Tags: []string{tagSchedules},
		Summary: "Show the latest ticks with their runs", Description: "The newest nominal time first, each with when its run began and ended."},
		example{answer: client.Page[client.TimelineTick]{Items: []client.TimelineTick{exampleTimeline}}},
		func(ctx context.Context, in *timelineInput) (*answer[client.Page[client.TimelineTick]], error) {
			return list(c.Timeline(ctx, in.ID, cmp.Or(in.Count, 100)))
		})
	type stripsInput struct {
		Schedule []string `query:"schedule,explode" required:"true" doc:"The schedules; may be repeated, at most 200."`
		Count    int      `query:"count" minimum:"1" maximum:"1000" doc:"The latest so many ticks of each; 20 when left out."`
	}
	add(s, huma.Operation{OperationID: "strips", Method: http.MethodGet, Path: "/strips", Tags: []string{tagSchedules}, Summary: "Show the latest ticks of several schedules",
		Description: "By id, with the part of runs that completed and how long they took. An id that was never used has none."}, example{answer: map[string]client.Strip{"report": exampleStrip}},
		func(ctx context.Context, in *stripsInput) (*answer[map[string]client.Strip], error) {
			if len(in.Schedule) > live.MaxWatched {
				return nil, &schedules.FieldError{Field: "schedule", Problem: fmt.Sprintf("names %d; at most %d are shown in one answer", len(in.Schedule), live.MaxWatched)}
			}
			return give(c.Strips(ctx, in.Schedule, cmp.Or(in.Count, 20)))
		})
	type nextInput struct {
		OneSchedule
		TicksQuery
	}
	add(s, huma.Operation{OperationID: "next-ticks", Method: http.MethodGet, Path: "/schedules/{id}/next", Tags: []string{tagSchedules},
		Summary: "Show the ticks to come of a schedule", Description: "From where it stands, whatever its status."}, example{answer: exampleTicks},
		func(ctx context.Context, in *nextInput) (*answer[[]client.Tick], error) {
			return give(c.NextTicks(ctx, in.ID, in.request()))
		})
	type previewInput struct {
		TicksQuery
		Cron         string   `query:"cron" doc:"Five fields, six with leading seconds, or a macro."`
		Interval     string   `query:"interval" doc:"A number and a unit, or several: 30s, 5m, 1h30m, 1d."`
		Calendar     []string `query:"calendar,explode" doc:"Parts of date and time: day_of_month=1,15 hour=9; may be repeated, any of them ticks."`
		IntervalFrom string   `query:"interval_from" doc:"What an interval is counted from: completion or start."`
		Timezone     string   `query:"timezone" doc:"IANA name; UTC when left out."`
		StartAt      string   `query:"start_at" format:"date-time" doc:"First possible tick, inclusive."`
		EndAt        string   `query:"end_at" format:"date-time" doc:"No tick at or after this time."`
		Jitter       string   `query:"jitter" doc:"Up to how much a tick's start may be delayed."`
	}
	add(s, huma.Operation{OperationID: "preview-ticks", Method: http.MethodGet, Path: "/next", Tags: []string{tagSchedules},
		Summary: "Show the ticks of a spec that is not stored", Description: "Runs are taken to last no time."}, example{answer: exampleTicks},
		func(ctx context.Context, in *previewInput) (*answer[[]client.Tick], error) {
			spec := schedules.Spec{Cron: in.Cron, Interval: in.Interval, IntervalFrom: schedules.IntervalFrom(in.IntervalFrom), Timezone: in.Timezone,
				StartAt: instantOf(in.StartAt), EndAt: instantOf(in.EndAt)}
			var err error
			for _, text := range in.Calendar {
				one, err := schedules.ParseCalendar(text)
				if err != nil {
					return nil, err
				}
				spec.Calendar = append(spec.Calendar, one)
			}
			if in.Jitter != "" {
				if spec.Jitter, err = schedules.ParseDuration(in.Jitter); err != nil {
					return nil, renamed(err, "jitter")
				}
			}
			now, err := c.Now(ctx)
			if err != nil {
				return nil, err
			}
			return give(client.Preview(spec, in.request(), now))
		})
}

// renamed names the field in an error that does not know it.
func renamed(err error, field string) error {
	var bad *schedules.FieldError
	if errors.As(err, &bad) {
		return &schedules.FieldError{Field: field, Value: bad.Value, Problem: bad.Problem}
	}
	return err
}

// skipped is the answer to a trigger that was skipped.
func skipped(id string, res client.TriggerResult) *Problem {
	p := &Problem{Status: client.CodeSkipped.HTTPStatus(), Code: client.CodeSkipped, Outcome: res.Outcome, Reason: string(res.Reason),
		Detail: fmt.Sprintf("schedule %s was not triggered: %s", id, res.Reason)}
	if res.BlockedBy != "" {
		p.Detail += ", behind " + res.BlockedBy
	}
	p.Detail += "; overlap_policy says what else may become of it"
	return p
}
