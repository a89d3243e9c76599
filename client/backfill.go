package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// BackfillRequest asks for the nominal times in [Start, End).
type BackfillRequest struct {
	Start       time.Time
	End         time.Time // zero: now
	Parallel    int       // runs at a time; 0: one after another
	MaxRuns     int       // a backfill of more is refused; 0: 1,000
	MissingOnly bool      // leave out ticks that have a run
}

// BackfillResult names what a backfill will run.
type BackfillResult struct {
	BackfillID Text     `json:"backfill_id"` // empty: there was nothing to run
	RunIDs     []string `json:"run_ids"`     // in the order they start
	Count      int      `json:"count"`
}

// BackfillPlan is what a backfill would run.
type BackfillPlan struct {
	NominalTimes []Time `json:"nominal_times"`
	Count        int    `json:"count"`
}

// Backfill makes a run of every nominal time in the range and gives their ids at once. When no nominal time is in the range, nothing is
// written and the result is empty. Errors: *schedules.FieldError, *NotFoundError.
func (c *Client) Backfill(ctx context.Context, id string, req BackfillRequest) (BackfillResult, error) {
	res := BackfillResult{RunIDs: []string{}}
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return res, err
	}
	random := nonce()
	_, err = c.act(ctx, ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
		bf, times, err := c.plan(ctx, st, now, req, random)
		if err != nil {
			return schedules.Change{}, err
		}
		if len(times) == 0 {
			return schedules.Change{}, errNothing
		}
		res.BackfillID, res.Count, res.RunIDs = Text(bf.ID), len(times), make([]string, len(times))
		for i, t := range times {
			res.RunIDs[i] = schedules.TickRunID(ref, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: t, Backfill: bf.ID})
		}
		return schedules.AddBackfill(st, now, bf)
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return res, err
}

var errNothing = errors.New("no nominal time is in the range")

// PlanBackfill says what Backfill would run, and writes nothing.
func (c *Client) PlanBackfill(ctx context.Context, id string, req BackfillRequest) (BackfillPlan, error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return BackfillPlan{}, err
	}
	loaded, now, err := c.store.Load(ctx, ref)
	if err == nil {
		err = loaded[0].Err
	}
	if err != nil {
		return BackfillPlan{}, c.missing("schedule", id, store.Named(err, "load schedule", id))
	}
	if loaded[0].State.Schedule.Status == schedules.StatusDeleted {
		return BackfillPlan{}, &NotFoundError{Kind: "schedule", ID: id, Deleted: true}
	}
	_, times, err := c.plan(ctx, loaded[0].State, now, req, nonce())
	if err != nil {
		return BackfillPlan{}, err
	}
	p := BackfillPlan{NominalTimes: []Time{}, Count: len(times)}
	for _, t := range times {
		p.NominalTimes = append(p.NominalTimes, Time{t})
	}
	return p, nil
}

func (c *Client) plan(ctx context.Context, st schedules.State, now time.Time, req BackfillRequest, random string) (schedules.Backfill, []time.Time, error) {
	ask := schedules.BackfillRequest{Nonce: random, Start: req.Start, End: req.End, Parallel: req.Parallel, MaxRuns: req.MaxRuns}
	if req.MissingOnly {
		has, err := c.ticksWithRuns(ctx, st.Schedule, req.Start, req.End)
		if err != nil {
			return schedules.Backfill{}, nil, err
		}
		ask.Has = has
	}
	return schedules.PlanBackfill(st, now, ask)
}

// ticksWithRuns tells which nominal times of the range have a run, or will have one: those that were started or wait, and those that an unfinished
// backfill has still to start.
func (c *Client) ticksWithRuns(ctx context.Context, s schedules.Schedule, start, end time.Time) (func(time.Time) bool, error) {
	has := map[int64]bool{}
	filter := store.FateFilter{Start: start, End: end}
	for f, err := range store.All(func(p store.Page) ([]schedules.Fate, string, error) {
		return c.store.ListFates(ctx, s.Ref(), filter, p)
	}) {
		if err != nil {
			return nil, fmt.Errorf("read history of schedule %s: %w", s.ID, err)
		}
		if f.Tick.Trigger != schedules.TriggerManual && (f.Fate == schedules.FateStarted || f.Fate == schedules.FateBuffered) {
			has[f.Tick.Nominal.UnixMilli()] = true
		}
	}
	var ahead []schedules.Backfill
	for _, id := range s.Backfills {
		bf, err := c.store.Backfill(ctx, id)
		if err != nil {
			return nil, store.Named(err, "read backfill", id)
		}
		if bf.Status == schedules.BackfillRunning {
			ahead = append(ahead, bf)
		}
	}
	return func(t time.Time) bool {
		if has[t.UnixMilli()] {
			return true
		}
		for _, bf := range ahead {
			for _, span := range bf.Spans {
				if !t.Before(span.First) && !t.After(span.Last) {
					return true
				}
			}
		}
		return false
	}, nil
}

// GetBackfill reads a backfill by its id.
func (c *Client) GetBackfill(ctx context.Context, id string) (Backfill, error) {
	bf, err := c.backfill(ctx, id)
	return viewBackfill(bf), err
}

func (c *Client) backfill(ctx context.Context, id string) (schedules.Backfill, error) {
	if _, ok := schedules.IDPlacement(id); !ok {
		return schedules.Backfill{}, &NotFoundError{Kind: "backfill", ID: id, Where: c.store.Describe()}
	}
	bf, err := c.store.Backfill(ctx, id)
	return bf, c.missing("backfill", id, err)
}

// Backfills walks all backfills, the newest first; of one schedule when its id is given.
func (c *Client) Backfills(ctx context.Context, scheduleID string) iter.Seq2[Backfill, error] {
	return walk(func(p PageRequest) (Page[Backfill], error) { return c.ListBackfills(ctx, scheduleID, p) })
}

// ListBackfills lists backfills, the newest first; of one schedule when its id is given.
func (c *Client) ListBackfills(ctx context.Context, scheduleID string, p PageRequest) (Page[Backfill], error) {
	if scheduleID != "" {
		if _, err := c.resolve(ctx, scheduleID); err != nil {
			return Page[Backfill]{}, err
		}
	}
	return page(p, func(p store.Page) ([]schedules.Backfill, string, error) {
		return c.store.ListBackfills(ctx, scheduleID, p)
	},
		func(b schedules.Backfill) (Backfill, error) { return viewBackfill(b), nil })
}

// CancelBackfill drops what the backfill has not started; its active runs go on. Cancelling one that has ended changes nothing.
func (c *Client) CancelBackfill(ctx context.Context, id string) (Backfill, error) {
	bf, err := c.backfill(ctx, id)
	if err != nil {
		return Backfill{}, err
	}
	_, err = c.engine.Act(ctx, bf.Schedule, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
		if bf, err = c.backfill(ctx, id); err != nil {
			return schedules.Change{}, err
		}
		if bf.Status != schedules.BackfillRunning {
			return schedules.Change{}, errNothing
		}
		return schedules.CancelBackfill(st, now, bf)
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Backfill{}, c.missing("schedule", bf.Schedule.ID, err)
	}
	return c.GetBackfill(ctx, id)
}

// AwaitBackfill waits until the last run of a backfill has ended. Progress, when given, is told of every change seen.
func (c *Client) AwaitBackfill(ctx context.Context, id string, progress func(Backfill)) (Backfill, error) {
	var seen Backfill
	err := c.await(ctx, func() (bool, error) {
		bf, err := c.GetBackfill(ctx, id)
		if err != nil {
			return false, err
		}
		if a, _ := json.Marshal(bf); progress != nil {
			if b, _ := json.Marshal(seen); string(a) != string(b) {
				progress(bf)
			}
		}
		seen = bf
		return bf.Ended(), nil
	})
	return seen, err
}
