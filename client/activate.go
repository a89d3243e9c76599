package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// ActivateOptions says how far Activate goes.
type ActivateOptions struct {
	Prune  bool // delete the schedules of the same origin that left the code
	DryRun bool // write nothing, only say what would be done
	// LeaveOrphans spares looking for schedules that left the code, which goes through all that are stored: Activation.Orphaned is empty then, and Prune does nothing.
	// Orphans looks for them.
	LeaveOrphans bool
}

// Activation is what Activate did: ids of schedules, each list in order. A schedule is in one of Created, Updated and Unchanged; it is in Overridden,
// too, when people have changed it by hand.
type Activation struct {
	Created    []string `json:"created"`
	Updated    []string `json:"updated"`
	Unchanged  []string `json:"unchanged"`
	Overridden []string `json:"overridden"`
	Orphaned   []string `json:"orphaned"` // of the same origin, and no longer in the code; deleted with Prune
}

// Count is how many declared schedules there are.
func (a *Activation) Count() int { return len(a.Created) + len(a.Updated) + len(a.Unchanged) }

// Activate gives every schedule that the app declares its record, brings the records up to their declarations, and announces the app's
// workflows. Only fields whose declaration changed since the last activation are written: status, counters and what people changed by hand stay.
func (c *Client) Activate(ctx context.Context, app *pyworkflow.App, opts ActivateOptions) (Activation, error) {
	a := Activation{Created: []string{}, Updated: []string{}, Unchanged: []string{}, Overridden: []string{}, Orphaned: []string{}}
	if !opts.DryRun {
		if err := c.publish(ctx, app); err != nil {
			return a, err
		}
	}
	for _, d := range app.Schedules() {
		if err := c.activate(ctx, d, opts.DryRun, &a); err != nil {
			return a, fmt.Errorf("activate schedule %s: %w", d.ID, err)
		}
	}
	if opts.LeaveOrphans {
		return a, nil
	}
	var err error
	if a.Orphaned, err = c.Orphans(ctx, app); err != nil {
		return a, err
	}
	if opts.Prune && !opts.DryRun {
		for _, id := range a.Orphaned {
			if _, err := c.delete(ctx, id, true); err != nil && !errors.Is(err, store.ErrNotFound) {
				return a, err
			}
		}
	}
	return a, nil
}

func (c *Client) publish(ctx context.Context, app *pyworkflow.App) error {
	var ws []store.Workflow
	for _, w := range app.Workflows() {
		ws = append(ws, store.Workflow{Name: w.Name, Doc: w.Doc, Options: w.Options})
	}
	if len(ws) == 0 {
		return nil
	}
	if err := c.store.PublishWorkflows(ctx, ws...); err != nil {
		return fmt.Errorf("announce workflows: %w", err)
	}
	return nil
}

// activate brings one record up to its declaration.
func (c *Client) activate(ctx context.Context, d pyworkflow.DeclaredSchedule, dryRun bool, a *Activation) error {
	for {
		ref, err := c.store.Resolve(ctx, d.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		var loaded []store.Loaded
		var now time.Time
		if err == nil {
			if loaded, now, err = c.store.Load(ctx, ref); err == nil {
				err = loaded[0].Err
			}
			if err != nil {
				return err
			}
		}
		if loaded == nil || loaded[0].State.Schedule.Status == schedules.StatusDeleted {
			if err := c.createDeclared(ctx, d, dryRun); errors.Is(err, store.ErrExists) {
				continue // another process activates at the same time
			} else if err != nil {
				return err
			}
			a.Created = append(a.Created, d.ID)
			return nil
		}
		st := loaded[0].State
		if origin := st.Schedule.Origin; origin != "" && origin != d.Origin {
			c.log.Warn("another module declares a schedule of this id; it is left as that one activated it", "schedule_id", d.ID, "origin", origin)
			a.Unchanged = append(a.Unchanged, d.ID)
			return nil
		}
		if st.Schedule.Workflow != d.Workflow {
			return &WorkflowMismatchError{ID: d.ID, Has: st.Schedule.Workflow, Want: d.Workflow}
		}
		change, todo, err := schedules.Activate(st, now, d.Definition)
		if err != nil {
			return err
		}
		after := st.Schedule
		switch {
		case todo && dryRun:
			after = change.Schedule
		case todo:
			after, err = c.engine.Act(ctx, ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
				change, todo, err := schedules.Activate(st, now, d.Definition)
				if err == nil && !todo {
					err = errNothing // another process was faster
				}
				change.Schedule.Origin = d.Origin
				return change, err
			})
			switch {
			case errors.Is(err, schedules.ErrDeleted), errors.Is(err, errNothing):
				continue
			case err != nil:
				return err
			}
		}
		if todo {
			a.Updated = append(a.Updated, d.ID)
		} else {
			a.Unchanged = append(a.Unchanged, d.ID)
		}
		if len(schedules.Overridden(&after)) > 0 {
			a.Overridden = append(a.Overridden, d.ID)
		}
		return nil
	}
}

func (c *Client) createDeclared(ctx context.Context, d pyworkflow.DeclaredSchedule, dryRun bool) error {
	req := schedules.CreateRequest{ID: d.ID, Incarnation: incarnation(), Workflow: d.Workflow, Definition: d.Definition, Origin: d.Origin, Declared: &d.Definition}
	change, err := c.newSchedule(ctx, req)
	if err != nil || dryRun {
		return err
	}
	_, err = c.commitCreate(ctx, change)
	return err
}

// Orphans lists, in order, the ids of schedules of the app's origins that it no longer declares. It goes through all schedules that are stored.
func (c *Client) Orphans(ctx context.Context, app *pyworkflow.App) ([]string, error) {
	declared := map[string]bool{}
	for _, d := range app.Schedules() {
		declared[d.ID] = true
	}
	var origins []string
	for _, w := range app.Workflows() {
		origins = append(origins, w.Origin)
	}
	slices.Sort(origins)
	found := []string{}
	for _, origin := range slices.Compact(origins) {
		if origin == "" {
			continue
		}
		filter := store.ScheduleFilter{Origin: origin}
		for s, err := range store.All(func(p store.Page) ([]schedules.Schedule, string, error) { return c.store.ListSchedules(ctx, filter, p) }) {
			if err != nil {
				return found, fmt.Errorf("list schedules of origin %s: %w", origin, err)
			}
			if !declared[s.ID] {
				found = append(found, s.ID)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}
