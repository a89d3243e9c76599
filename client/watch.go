package client

import (
	"context"
	"fmt"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// RunHead is where a run stands, without what it was given and what it made of it: for those who watch many.
type RunHead struct {
	RunID      string              `json:"run_id"`
	ScheduleID Text                `json:"schedule_id"`
	Workflow   string              `json:"workflow"`
	Queue      string              `json:"queue"`
	Status     schedules.RunStatus `json:"status"`
	Attempt    int                 `json:"attempt"`

	revision int64
}

// Revision rises with every change of the run but for its steps and its log.
func (r *RunHead) Revision() int64 { return r.revision }

func headOf(r schedules.Run) RunHead {
	return RunHead{RunID: r.ID, ScheduleID: Text(r.ScheduleID), Workflow: r.Workflow, Queue: r.Queue, Status: r.Status, Attempt: r.Attempt, revision: r.Revision}
}

// RunHeads lists the newest runs that match, at most n, but never more than 1,000.
func (c *Client) RunHeads(ctx context.Context, f RunFilter, n int) ([]RunHead, error) {
	got, err := page(PageRequest{Limit: min(n, 1000)}, func(p store.Page) ([]schedules.Run, string, error) { return c.store.ListRuns(ctx, f, p) },
		func(r schedules.Run) (RunHead, error) { return headOf(r), nil })
	return got.Items, err
}

// RunHeadsOf reads runs by their ids, all in one round trip. What is not there is left out.
func (c *Client) RunHeadsOf(ctx context.Context, ids []string) ([]RunHead, error) {
	out := []RunHead{}
	if len(ids) == 0 {
		return out, nil
	}
	runs, err := c.store.RunHeads(ctx, ids...)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if r, ok := runs[id]; ok {
			out = append(out, headOf(r))
		}
	}
	return out, nil
}

// Listen calls wake whenever the store tells of a change that makes something due, until ctx ends. A wake may be lost, and not every change comes with one:
// it is a hint to look sooner. wake must not block.
func (c *Client) Listen(ctx context.Context, wake func()) error {
	return c.store.Listen(ctx, func(store.Wake) { wake() })
}

// Expecting gives a Client whose acts that change a schedule (UpdateSchedule, EditSchedule, Pause, Resume, Reset, Delete) are refused with schedules.ErrVersion
// unless the schedule is of that version. 0 expects nothing.
func (c *Client) Expecting(version int64) *Client {
	e := *c
	e.expect = version
	return &e
}

// expecting refuses an act on a schedule of another version than the expected one.
func (c *Client) expecting(s *schedules.Schedule) error {
	if c.expect == 0 || c.expect == s.Version || s.Status == schedules.StatusDeleted {
		return nil
	}
	return fmt.Errorf("schedule %s is of version %d, not %d; read it again: %w", s.ID, s.Version, c.expect, schedules.ErrVersion)
}
