package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// DueSchedules lists the schedules with a regular tick that is due now: for a scheduler loop of one's own, in the place of a beat. Hand each to RunDue.
func (c *Client) DueSchedules(ctx context.Context) ([]Schedule, error) {
	const most = 1000
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	b := c.newBlockers()
	out := []Schedule{}
	for shard := range c.store.Shards() {
		due, err := c.store.DueTicks(ctx, shard, now, most)
		if err != nil {
			return nil, fmt.Errorf("read due schedules: %w", err)
		}
		refs := make([]schedules.Ref, len(due))
		for i, d := range due {
			refs[i] = d.Ref
		}
		if len(refs) == 0 {
			continue
		}
		loaded, _, err := c.store.Load(ctx, refs...)
		if err != nil {
			return nil, fmt.Errorf("load due schedules: %w", err)
		}
		for i, l := range loaded {
			if errors.Is(l.Err, store.ErrNotFound) {
				continue
			}
			if l.Err != nil {
				return nil, store.Named(l.Err, "load schedule", refs[i].ID)
			}
			v, err := c.viewWith(ctx, b, l.State.Schedule)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// RunDue decides what is due of a schedule, as a beat would: under its overlap policy its ticks start, wait or are skipped, and the next run time is set.
// It gives the schedule as it then is; its last_run_id is that of the newest run.
func (c *Client) RunDue(ctx context.Context, s Schedule) (Schedule, error) {
	d := c.engine.Decide(ctx, s.ref)[0]
	if d.Err != nil {
		return Schedule{}, c.missing("schedule", s.ScheduleID, d.Err)
	}
	return c.view(ctx, d.Schedule)
}
