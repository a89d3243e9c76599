package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// execution is a session for a command that starts runs. In the local runtime, where no live scheduler would execute them, they are executed here.
type execution struct {
	*session
	workflow string
	schedule string // that is triggered; empty: none is
	here     bool   // this process executes what it starts
	started  *running
	executed bool
}

// scheduledBy finds the workflow of a schedule.
func scheduledBy(id string) func(context.Context, *client.Client) (string, error) {
	return func(ctx context.Context, c *client.Client) (string, error) {
		d, err := c.GetSchedule(ctx, id)
		return d.Workflow, err
	}
}

// withExecution opens the store for an act that starts runs of a workflow.
func (p *program) withExecution(cmd *cobra.Command, mode openMode, workflowOf func(context.Context, *client.Client) (string, error), act func(*execution) error) error {
	ctx := cmd.Context()
	s, err := p.open(ctx, mode, false)
	if err != nil {
		return err
	}
	defer s.close()
	x := &execution{session: s}
	if x.workflow, err = workflowOf(ctx, s.client); err != nil {
		return err
	}
	if s.runtime == config.Local {
		if x.here, err = x.lonely(ctx); err != nil {
			return err
		}
	}
	if !x.here {
		return act(x)
	}
	x.started = newRunning()
	if err := s.useLocal(x.started); err != nil {
		return err
	}
	err = act(x)
	if !x.executed && !x.started.none() { // ticks that came due before the act
		nothing := func(context.Context) error { return nil }
		if failed := x.executing(ctx, nothing); err == nil {
			err = x.unfinished(failed, "what was due")
		}
	}
	return err
}

// lonely reports whether no live scheduler would execute a run and this program can.
func (x *execution) lonely(ctx context.Context) (bool, error) {
	procs, err := x.store.Processes(ctx)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(procs, func(p store.Process) bool { return p.Local && p.Beat }) {
		return false, nil
	}
	_, ok := x.p.app.Workflow(x.workflow)
	return ok, nil
}

// noteWaiting says on standard error when no live process can take a run.
func (x *execution) noteWaiting(ctx context.Context, queue string) error {
	why, err := x.client.WhyPending(ctx, x.workflow, queue)
	if err != nil || why == "" {
		return err
	}
	way := "start one with \"pyworkflow worker run\""
	if x.runtime == config.Local {
		way = "start one with \"pyworkflow scheduler run\""
	}
	x.p.note("the run waits: %s in %s; %s", why, x.place(), way)
	return nil
}

// finishRun sees a started run through: where this process executes it, or wait says so, until it has ended. It returns the run as it then is.
func (x *execution) finishRun(ctx context.Context, id string, wait bool) (client.Run, error) {
	if x.here {
		var run client.Run
		err := x.executing(ctx, func(ctx context.Context) (err error) {
			run, err = x.wait(ctx, id)
			return err
		})
		if interrupted(err) { // while it drained the run may have ended all the same
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout)
			defer cancel()
			if now, err := x.client.GetRun(last, id); err == nil && now.Status.Ended() {
				return now, nil
			}
		}
		return run, x.unfinished(err, "run "+id)
	}
	run, err := x.client.GetRun(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // a tick that waits has an id but no run yet
		return run, err
	}
	if err == nil && run.Status == schedules.RunPending {
		if err := x.noteWaiting(ctx, run.Queue); err != nil {
			return run, err
		}
	}
	if !wait {
		return run, nil
	}
	run, err = x.wait(ctx, id)
	return run, x.unfinished(err, "run "+id)
}

// wait waits for the end of a run; that of a tick that waits has to start first.
func (x *execution) wait(ctx context.Context, id string) (client.Run, error) {
	if x.schedule != "" {
		return x.client.WaitTriggered(ctx, x.schedule, id)
	}
	return x.client.WaitRun(ctx, id)
}

func interrupted(err error) bool {
	return errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled)
}

// unfinished says what becomes of what was waited for in vain.
func (x *execution) unfinished(err error, what string) error {
	if !interrupted(err) {
		return err
	}
	if x.here {
		return fmt.Errorf("interrupted: %s goes on when a scheduler starts on %s", what, x.place())
	}
	return fmt.Errorf("interrupted: %s goes on without being waited for", what)
}

// executing runs a worker and a keeper in this process while do waits for what they do, and until all runs that were started here have ended. It may be called once.
func (x *execution) executing(ctx context.Context, do func(context.Context) error) error {
	x.executed = true
	w, err := worker.New(worker.Config{App: x.p.app, Store: x.store, Engine: x.engine, Transport: x.transport, Local: true, Version: version(), Log: x.p.log, Observer: claims{nil, x.started},
		Tracer: x.p.workerTracer()})
	if err != nil {
		return err
	}
	k, err := beat.NewKeeper(beat.KeeperConfig{Store: x.store, Engine: x.engine, Looker: x.transport, ID: w.ID(), Log: x.p.log})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	working, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error { return w.Run(working) })
	group.Go(func() error { return k.Run(working) })
	group.Go(func() error {
		defer stop()
		if err := do(ctx); err != nil {
			return err
		}
		x.started.drained(ctx)
		return context.Cause(ctx)
	})
	return group.Wait()
}

// failure is the error of a command whose run did not complete, if the command has waited for that: else it would depend on how fast the run was.
func (x *execution) failure(r client.Run, wait bool) error {
	if !x.here && !wait {
		return nil
	}
	return runFailure(r)
}

// runFailure is the error of a command that waited for a run that did not complete.
func runFailure(r client.Run) error {
	if r.Status == schedules.RunCompleted || !r.Status.Ended() {
		return nil
	}
	text := fmt.Sprintf("run %s of %s %s", r.RunID, r.Workflow, r.Status)
	if r.Error != nil {
		text += ": " + r.Error.Message
	}
	return &exitError{client.CodeFailed, text}
}
