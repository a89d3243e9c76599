package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// StartRun starts a run of a workflow, outside any schedule, and returns its id. Input is JSON; none is null. With an idempotency key a second call for the
// same workflow and key returns the first one's run. Errors: *schedules.FieldError, *UnknownWorkflowError.
func (c *Client) StartRun(ctx context.Context, workflow string, input json.RawMessage, opts pyworkflow.StartOptions) (string, error) {
	if err := c.CheckWorkflow(ctx, workflow); err != nil {
		return "", err
	}
	if err := c.limits.CheckInput(input); err != nil {
		return "", err
	}
	if err := c.limits.CheckKey("idempotency_key", opts.IdempotencyKey); err != nil {
		return "", err
	}
	if len(input) > 0 && !json.Valid(input) {
		return "", &schedules.FieldError{Field: "input", Value: string(input), Problem: "is not JSON; quote strings, like '{\"name\": \"value\"}'"}
	}
	if opts.Queue != "" {
		if err := schedules.ValidateQueue(opts.Queue); err != nil {
			return "", err
		}
	}
	id := schedules.FreeRunID("start", workflow, nonce(), nonce())
	if opts.IdempotencyKey != "" {
		id = schedules.FreeRunID("idem", workflow, opts.IdempotencyKey)
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return "", err
	}
	run, _, err := c.engine.CreateRun(ctx, schedules.NewRun(id, workflow, opts.Queue, input, c.options(ctx, workflow), now))
	return run.ID, err
}

// RunAgain starts a run of the same workflow, with the same input, from the same queue as another's, whatever has become of that one. It is a run of its own, outside
// any schedule: overlap policies do not see it, and the workflow's options are those of today. Errors: *NotFoundError, *UnknownWorkflowError.
func (c *Client) RunAgain(ctx context.Context, runID string) (newID string, err error) {
	r, err := c.run(ctx, runID)
	if err != nil {
		return "", err
	}
	if r.Damage != "" {
		return "", fmt.Errorf("run %s again: its record cannot be read: %s; start workflow %s with an input of its own", runID, r.Damage, r.Workflow)
	}
	return c.StartRun(ctx, r.Workflow, r.Input, pyworkflow.StartOptions{Queue: r.Queue})
}

// options are those of the workflow in this program, else the announced ones; nil when neither is known.
func (c *Client) options(ctx context.Context, workflow string) *schedules.RunOptions {
	if c.app != nil {
		if w, ok := c.app.Workflow(workflow); ok {
			return &w.Options
		}
	}
	return c.engine.Options(ctx, workflow)
}

// AwaitRun waits until the run has ended and returns its result; a *pyworkflow.RunError when it failed or was cancelled.
func (c *Client) AwaitRun(ctx context.Context, runID string) (json.RawMessage, error) {
	run, err := c.awaitEnd(ctx, runID)
	if err != nil {
		return nil, err
	}
	if run.Status != schedules.RunCompleted {
		return nil, pyworkflow.NewRunError(run)
	}
	return run.Result, nil
}

// WaitRun waits until the run has ended, however it ended, and returns it.
func (c *Client) WaitRun(ctx context.Context, runID string) (Run, error) {
	if _, err := c.awaitEnd(ctx, runID); err != nil {
		return Run{}, err
	}
	return c.GetRun(ctx, runID)
}

// WaitTriggered is WaitRun for the run of a trigger that was buffered: it waits for the run to start, too. The error is a *DroppedError when the tick was
// dropped instead.
func (c *Client) WaitTriggered(ctx context.Context, scheduleID, runID string) (Run, error) {
	ref, err := c.resolve(ctx, scheduleID)
	if err != nil {
		return Run{}, err
	}
	err = c.await(ctx, func() (bool, error) {
		_, err := c.run(ctx, runID)
		if !errors.Is(err, store.ErrNotFound) {
			return err == nil, err
		}
		fates, _, err := c.store.ListFates(ctx, ref, store.FateFilter{Fate: schedules.FateDropped}, store.Page{Limit: 100})
		if err != nil {
			return false, fmt.Errorf("read history of schedule %s: %w", scheduleID, err)
		}
		for _, f := range fates {
			if f.RunID == runID || schedules.TickRunID(ref, f.Tick) == runID {
				return false, &DroppedError{ScheduleID: scheduleID, RunID: runID, Reason: f.Reason}
			}
		}
		return false, nil
	})
	if err != nil {
		return Run{}, err
	}
	return c.WaitRun(ctx, runID)
}

func (c *Client) awaitEnd(ctx context.Context, runID string) (run schedules.Run, err error) {
	err = c.await(ctx, func() (bool, error) {
		run, err = c.run(ctx, runID)
		return run.Status.Ended(), err
	})
	return run, err
}

// How often await looks by itself.
const (
	awaitMin = 20 * time.Millisecond
	awaitMax = 500 * time.Millisecond
)

// await asks done at growing intervals, and at once when the store tells of a change.
func (c *Client) await(ctx context.Context, done func() (bool, error)) error {
	ok, err := done()
	if ok || err != nil {
		return err
	}
	listening, stop := context.WithCancel(ctx)
	woken := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := c.store.Listen(listening, func(store.Wake) {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
		if err != nil && listening.Err() == nil {
			c.log.Debug("waiting without being woken", "error", err)
		}
	}()
	defer func() {
		stop()
		<-ended
	}()
	for wait := awaitMin; ; wait = min(wait*3/2, awaitMax) {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-woken:
			timer.Stop()
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
	}
}

// GetRun reads a run with its steps.
func (c *Client) GetRun(ctx context.Context, id string) (Run, error) {
	r, err := c.run(ctx, id)
	if err != nil {
		return Run{}, err
	}
	return c.withSteps(ctx, r)
}

func (c *Client) run(ctx context.Context, id string) (schedules.Run, error) {
	if _, ok := schedules.IDPlacement(id); !ok {
		return schedules.Run{}, &NotFoundError{Kind: "run", ID: id, Where: c.store.Describe()}
	}
	r, err := c.store.GetRun(ctx, id)
	if err != nil {
		err = c.missing("run", id, store.Named(err, "read run", id))
	}
	return r, err
}

func (c *Client) withSteps(ctx context.Context, r schedules.Run) (Run, error) {
	steps, err := c.store.Steps(ctx, r.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnreadable) {
		return Run{}, fmt.Errorf("read steps of run %s: %w", r.ID, err)
	}
	return viewDamaged(r, steps), nil
}

// viewDamaged is viewRun that tells of a record that cannot be read.
func viewDamaged(r schedules.Run, steps []schedules.Step) Run {
	if r.Damage != "" && !r.Status.Ended() { // until a keeper has ended it
		r.Error = &schedules.RunError{Kind: schedules.ErrorRecord, Message: "the run's record cannot be read: " + r.Damage}
	}
	return viewRun(r, steps)
}

// RunFilter narrows lists of runs; zero fields do not.
type RunFilter = store.RunFilter

// Runs walks all runs that match, the newest first, with their steps.
func (c *Client) Runs(ctx context.Context, f RunFilter) iter.Seq2[Run, error] {
	return walk(func(p PageRequest) (Page[Run], error) { return c.ListRuns(ctx, f, p) })
}

// ListRuns lists runs that match, the newest first, with their steps. A schedule that never was is a *NotFoundError.
func (c *Client) ListRuns(ctx context.Context, f RunFilter, p PageRequest) (Page[Run], error) {
	if f.ScheduleID != "" {
		if _, err := c.resolve(ctx, f.ScheduleID); err != nil {
			return Page[Run]{}, err
		}
	}
	return pageAll(p, func(p store.Page) ([]schedules.Run, string, error) { return c.store.ListRuns(ctx, f, p) },
		func(all []schedules.Run) ([]Run, error) { return c.withStepsOf(ctx, all) })
}

// withStepsOf is withSteps of many, in as many round trips as of one.
func (c *Client) withStepsOf(ctx context.Context, all []schedules.Run) ([]Run, error) {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	steps := make([][]schedules.Step, len(all))
	if len(ids) > 0 {
		var err error
		if steps, err = c.store.StepsOf(ctx, ids...); err != nil {
			return nil, err
		}
	}
	out := make([]Run, len(all))
	for i := range all {
		out[i] = viewDamaged(all[i], steps[i])
	}
	return out, nil
}

// RunEvents reads a run's log from a position (0: the start), oldest first; next is the position to go on from.
func (c *Client) RunEvents(ctx context.Context, id string, after int64) (events []Event, next int64, err error) {
	if _, err := c.run(ctx, id); err != nil {
		return nil, after, err
	}
	return c.events(ctx, id, after)
}

func (c *Client) events(ctx context.Context, id string, after int64) ([]Event, int64, error) {
	const most = 500
	out := []Event{}
	for {
		got, next, err := c.store.Events(ctx, id, after, most)
		if err != nil {
			return out, after, fmt.Errorf("read log of run %s: %w", id, err)
		}
		for _, e := range got {
			out = append(out, Event{At: Time{e.At}, Kind: e.Kind, Level: Text(e.Level), Message: e.Message, Attrs: e.Attrs})
		}
		if after = next; len(got) < most {
			// A worker writes its lines a moment late: others may have come between.
			slices.SortStableFunc(out, func(a, b Event) int { return a.At.Compare(b.At.Time) })
			return out, after, nil
		}
	}
}

// FollowEvents hands every event of a run to f, those to come included, until the run has ended.
func (c *Client) FollowEvents(ctx context.Context, id string, f func(Event)) error {
	var after int64
	return c.await(ctx, func() (bool, error) {
		r, err := c.run(ctx, id) // before its events: what is written up to its end is then seen
		if err != nil {
			return false, err
		}
		events, next, err := c.events(ctx, id, after)
		if err != nil {
			return false, err
		}
		after = next
		for _, e := range events {
			f(e)
		}
		return r.Status.Ended(), nil
	})
}

// CancelRun asks a run to cancel. One that no worker holds ends at once; another has until its cancel grace (that of its schedule, else 30 s) is over. Where the
// worker's lease has run out, CancelRun watches it for schedules.LeaseDoubt and ends the run if it is not renewed. What has ended stays as it is.
func (c *Client) CancelRun(ctx context.Context, id, reason string) (Run, error) {
	if err := c.limits.CheckNote("reason", reason); err != nil {
		return Run{}, err
	}
	r, err := c.run(ctx, id)
	if err != nil {
		return Run{}, err
	}
	grace := schedules.DefaultCancelGrace
	if r.ScheduleID != "" {
		if s, _, err := c.load(ctx, r.Ref()); err == nil {
			grace = s.CancelGrace
		} else if !errors.Is(err, store.ErrNotFound) {
			return Run{}, err
		}
	}
	r, err = c.engine.ChangeRun(ctx, id, &r, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		change, ok := schedules.RequestCancel(r, reason, grace, now)
		return change, ok, nil
	})
	if err == nil && r.LeaseOut(c.store.Estimate()) {
		r, err = c.endLost(ctx, r)
	}
	if err != nil {
		return Run{}, c.missing("run", id, err)
	}
	return c.withSteps(ctx, r)
}

// endLost ends a run that was asked to cancel if its lease, which has run out, is not renewed for LeaseDoubt of this process's own clock. A keeper may come before.
func (c *Client) endLost(ctx context.Context, r schedules.Run) (schedules.Run, error) {
	out, since, asked := r.Lease, time.Now(), r
	err := c.await(ctx, func() (done bool, err error) {
		if r, err = c.run(ctx, asked.ID); err != nil {
			return false, err
		}
		return r.Status != schedules.RunRunning || !r.Lease.Equal(out) || time.Since(since) >= schedules.LeaseDoubt, nil
	})
	if ctx.Err() != nil { // the request is recorded: a keeper sees to it
		return asked, nil
	}
	if err != nil {
		return r, err
	}
	return c.engine.ChangeRun(ctx, r.ID, &r, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		if r.Status != schedules.RunRunning || !r.Lease.Equal(out) {
			return schedules.RunChange{}, false, nil
		}
		return schedules.LoseRun(r, now), true, nil
	})
}

// Workflows lists the workflows of this program and those that are announced, by name.
func (c *Client) Workflows(ctx context.Context) ([]Workflow, error) {
	announced, err := c.store.Workflows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read announced workflows: %w", err)
	}
	procs, err := c.store.Processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("read live processes: %w", err)
	}
	views := map[string]Workflow{}
	for _, w := range announced {
		views[w.Name] = viewWorkflow(w.Name, w.Doc, w.Options, w.Seen)
	}
	if c.app != nil {
		for _, w := range c.app.Workflows() {
			v := viewWorkflow(w.Name, w.Doc, w.Options, views[w.Name].Seen.Time)
			v.Here = true
			views[w.Name] = v
		}
	}
	out := make([]Workflow, 0, len(views))
	for _, v := range views {
		for _, p := range procs {
			if executes(p) && slices.Contains(p.Workflows, v.Name) {
				v.Workers++
			}
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Workflow) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func viewWorkflow(name, doc string, o schedules.RunOptions, seen time.Time) Workflow {
	queue := o.Queue
	if queue == "" {
		queue = schedules.DefaultQueue
	}
	return Workflow{Name: name, Doc: Text(doc), Queue: queue, MaxRetries: o.MaxRetries, Backoff: o.Backoff, Timeout: Duration{o.Timeout},
		MaxRecoveries: o.MaxRecoveries, Seen: Time{seen}}
}

// GetWorkflow finds a workflow by its name: *NotFoundError.
func (c *Client) GetWorkflow(ctx context.Context, name string) (Workflow, error) {
	all, err := c.Workflows(ctx)
	if err != nil {
		return Workflow{}, err
	}
	for _, w := range all {
		if w.Name == name {
			return w, nil
		}
	}
	return Workflow{}, &NotFoundError{Kind: "workflow", ID: name, Where: c.store.Describe()}
}

func (c *Client) workflowNames(ctx context.Context) ([]string, error) {
	var names []string
	if c.app != nil {
		for _, w := range c.app.Workflows() {
			names = append(names, w.Name)
		}
	}
	announced, err := c.store.Workflows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read announced workflows: %w", err)
	}
	for _, w := range announced {
		names = append(names, w.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Processes lists live workers and beats, by id. A worker that schedules as well is one of them.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	procs, err := c.store.Processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("read live processes: %w", err)
	}
	return viewProcesses(procs), nil
}

func viewProcesses(procs []store.Process) []Process {
	out := []Process{}
	for _, p := range procs {
		same := slices.IndexFunc(out, func(o Process) bool { return o.Host == p.Host && o.PID == p.PID })
		if same >= 0 {
			out[same].merge(viewProcess(p))
			continue
		}
		out = append(out, viewProcess(p))
	}
	return out
}
