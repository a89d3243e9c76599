package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pyworkflow "github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/failpoint"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// handle deals with one message: it claims the run, executes it and records how the attempt ended.
func (w *Worker) handle(ctx context.Context, m store.Message) error {
	received := time.Now()
	deepen()
	select {
	case <-w.stop:
		return ErrNotTaken
	default:
	}
	visit := visitOf(ctx)
	select {
	case w.slots <- struct{}{}:
	default:
		if visit.goAhead() {
			break
		}
		select {
		case w.slots <- struct{}{}:
		case <-w.stop:
			return ErrNotTaken
		case <-ctx.Done():
			return ErrNotTaken
		}
	}
	run, claimed, err := w.claim(m)
	if err != nil || !claimed {
		if !visit.ahead {
			<-w.slots
		}
		return err
	}
	failpoint.Reach(failpoint.Claimed)
	began := time.Now()
	end, seated := w.attempt(run, visit, sentAt(ctx), received)
	leave := func() {
		visit.begun, visit.took = true, time.Since(began)
		if seated {
			<-w.slots
		}
	}
	select {
	case w.ends <- struct{}{}: // others need not wait until the end is recorded
		go func() {
			defer func() { <-w.ends }()
			deepen()
			end()
			failpoint.Reach(failpoint.Ended)
		}()
		leave()
	default:
		end()
		failpoint.Reach(failpoint.Ended)
		leave()
	}
	return nil
}

// seat waits for a slot for a run that was claimed without one. It is false when there is none for too long, the worker stops, or the run is not to begin any more.
func (w *Worker) seat(h *held) bool {
	timer := time.NewTimer(AheadPatience)
	defer timer.Stop()
	select {
	case w.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-w.stop:
	case <-h.ctx.Done():
	}
	return false
}

// claim makes this worker the holder of the run's dispatch, however long the store is away. It is false when the message is outdated or the run was
// given back.
func (w *Worker) claim(m store.Message) (schedules.Run, bool, error) {
	token := randomHex(8)
	for try := 0; ; try++ {
		run, claimed, err := w.tryClaim(m, token)
		switch {
		case err == nil:
			return run, claimed, nil
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrStale):
			w.log.Debug("message is outdated", append(engine.MessageAttrs(m), "error", err)...)
			return run, false, nil
		case errors.Is(err, store.ErrFormat):
			w.leftToNewer("run is left to a newer worker", engine.MessageAttrs(m), err)
			return run, false, ErrTooNew
		}
		if try == 0 {
			w.log.Warn("claim waits for the store", append(engine.MessageAttrs(m), "error", err)...)
		}
		if !pause(try, w.stop) {
			return run, false, ErrNotTaken
		}
	}
}

func (w *Worker) tryClaim(m store.Message, token string) (schedules.Run, bool, error) {
	ctx, cancel := context.WithTimeout(w.base, callTimeout)
	defer cancel()
	claim := store.Claim{Worker: w.cfg.ID, Token: token}
	if _, known := w.cfg.App.Workflow(m.Workflow); known { // as its sender says: the record is looked at only if it can't be claimed as it is
		run, err := w.cfg.Store.Claim(ctx, m.RunID, m.Dispatch, claim)
		if err == nil && run.Damage == "" || err != nil && !errors.Is(err, store.ErrStale) {
			return run, err == nil, err
		}
	}
	run, err := w.cfg.Store.GetRun(ctx, m.RunID)
	if err != nil {
		return run, false, err
	}
	mine := run.Status == schedules.RunRunning && run.Token == token // a claim whose answer was lost
	if run.Dispatch != m.Dispatch || run.Status != schedules.RunPending && !mine {
		return run, false, fmt.Errorf("%w: run is %s under dispatch %d", store.ErrStale, run.Status, run.Dispatch)
	}
	if run.Damage != "" {
		return run, false, w.failDamaged(ctx, run)
	}
	if _, known := w.cfg.App.Workflow(run.Workflow); !known {
		return run, false, w.giveBack(ctx, run)
	}
	run, err = w.cfg.Store.Claim(ctx, m.RunID, m.Dispatch, claim)
	return run, err == nil, err
}

// giveBack returns a run whose workflow this worker lacks.
func (w *Worker) giveBack(ctx context.Context, run schedules.Run) error {
	w.log.Warn("workflow is not known here; the run goes back", engine.RunAttrs(run)...)
	elsewhere, err := w.elsewhere(ctx, run.Workflow)
	if err != nil {
		return err
	}
	dispatch := run.Dispatch
	_, err = w.cfg.Engine.ChangeRun(ctx, run.ID, &run, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		if r.Status != schedules.RunPending || r.Dispatch != dispatch {
			return schedules.RunChange{}, false, nil
		}
		return schedules.ReturnRun(r, w.cfg.ID, elsewhere, now), true, nil
	})
	return err
}

// elsewhere reports whether another live worker has the workflow.
func (w *Worker) elsewhere(ctx context.Context, workflow string) (bool, error) {
	live, err := w.cfg.Store.Processes(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(live, func(p store.Process) bool {
		return p.Worker && p.ID != w.cfg.ID && slices.Contains(p.Workflows, workflow)
	}), nil
}

// tooNewEvery is how often a worker says that it meets runs of a newer program: their messages come back.
const tooNewEvery = time.Minute

// leftToNewer logs once in a while that a run is left to a newer program.
func (w *Worker) leftToNewer(what string, about []any, err error) {
	now := time.Now()
	level := slog.LevelDebug
	w.mu.Lock()
	if w.toldNewer.IsZero() || now.Sub(w.toldNewer) >= tooNewEvery {
		w.toldNewer, level = now, slog.LevelError
	}
	w.mu.Unlock()
	w.log.Log(w.base, level, what, append(about, "error", err)...)
}

// failDamaged ends a run whose record cannot be read, whatever it was to do.
func (w *Worker) failDamaged(ctx context.Context, run schedules.Run) error {
	w.log.Error("record of the run cannot be read; the run fails", append(engine.RunAttrs(run), "error", run.Damage)...)
	_, err := w.cfg.Engine.ChangeRun(ctx, run.ID, &run, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		if r.Damage == "" || r.Status.Ended() {
			return schedules.RunChange{}, false, nil
		}
		return schedules.FailDamaged(r, now), true, nil
	})
	return err
}

// pause waits before the next try, longer each time up to a second. It is false when stop is closed meanwhile.
func pause(try int, stop <-chan struct{}) bool {
	timer := time.NewTimer(min(50*time.Millisecond<<min(try, 5), time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// attempt executes a claimed run, once there is a slot for it. It returns what records how that ended, and whether the run has a slot.
func (w *Worker) attempt(run schedules.Run, visit *visit, sent, received time.Time) (end func(), hasSlot bool) {
	info, _ := w.cfg.App.Workflow(run.Workflow)
	claimed, debug := run, w.log.Enabled(w.base, slog.LevelDebug)
	now := time.Now()
	// The lease lasts since the claim, which may be long ago: its answer was late or lost, or the process stood still.
	renewed := now.Add(min(run.Lease.Sub(w.cfg.Store.Estimate())-schedules.Lease, 0))
	h := &held{run: run, log: sync.OnceValue(func() *slog.Logger { return w.log.With(engine.RunAttrs(claimed)...) }), options: info.Options, began: now, renewed: renewed, lost: make(chan struct{}), over: make(chan struct{}),
		now: func() time.Time { return w.cfg.Store.Estimate().UTC().Truncate(time.Millisecond) }}
	if run.Options != nil {
		h.options = *run.Options
	}
	base, traced := w.base, func(schedules.Run, schedules.Outcome, bool) {}
	if w.cfg.Tracer != nil {
		base, traced = w.cfg.Tracer.Attempt(w.base, run, sent, received)
	}
	ctx, abort := context.WithCancelCause(base)
	h.ctx, h.abort = ctx, abort
	w.hold(h)
	select {
	case <-w.hard: // the drain ended between the claim and here
		h.cancel(pyworkflow.ErrShutdown)
	default:
	}
	w.cfg.Observer.Claimed(run)
	if debug {
		h.log().Debug("run claimed")
	}
	h.emit(schedules.Event{Kind: "claimed", Level: "info",
		Message: fmt.Sprintf("attempt %d begins on worker %s", run.Attempt, w.cfg.ID), Attrs: map[string]any{"attempt": run.Attempt, "dispatch": run.Dispatch, "worker": w.cfg.ID}})

	var o schedules.Outcome
	var lost bool
	seated := !visit.ahead || w.seat(h)
	if seated {
		h.seated.Store(true)
		visit.sit()
		o, lost = w.execute(h)
	} else {
		o, lost = schedules.Outcome{Kind: schedules.OutcomeHandedBack, Unbegun: schedules.FirstClaim(run)}, isClosed(h.lost)
	}
	close(h.over)
	took := time.Since(now)
	return func() {
		defer w.release(h)
		defer abort(nil)
		recorded := false
		if lost {
			h.log().Warn("run was taken from this worker")
			w.flush(w.base, h)
		} else {
			failpoint.Reach(failpoint.Ending)
			run, recorded = w.finish(h, o)
		}
		if debug {
			h.log().Debug("attempt ended", "status", string(run.Status), "recorded", recorded, "took", took.String())
		}
		traced(run, o, recorded)
		w.cfg.Observer.Attempted(run, o, took, recorded)
	}, seated
}

// around is what surrounds the code of a step; nil: nothing does.
func (w *Worker) around(run schedules.Run) func(context.Context, schedules.Step) (context.Context, func(schedules.Step, error)) {
	if w.cfg.Tracer == nil && w.steps == nil {
		return nil
	}
	return func(ctx context.Context, s schedules.Step) (context.Context, func(schedules.Step, error)) {
		traced := func(schedules.Step, error) {}
		if w.cfg.Tracer != nil {
			ctx, traced = w.cfg.Tracer.Step(ctx, run, s)
		}
		began := time.Now()
		return ctx, func(s schedules.Step, err error) {
			traced(s, err)
			if w.steps != nil {
				w.steps.Stepped(run, s, time.Since(began), err)
			}
		}
	}
}

// execute calls the workflow's code and waits for its outcome, or until it has to be left behind. lost: the run is not ours any more, nothing is to
// be recorded.
func (w *Worker) execute(h *held) (o schedules.Outcome, lost bool) {
	ctx := h.ctx
	if limit := time.Duration(h.options.Timeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w of %s", pyworkflow.ErrTimeout, h.options.Timeout))
		defer cancel()
	}
	steps, err := w.recordedSteps(ctx, h)
	switch {
	case errors.Is(err, store.ErrUnreadable): // without its result a step would be executed again
		return schedules.Outcome{Kind: schedules.OutcomeFailed, NoRetry: true, Error: &schedules.RunError{Kind: schedules.ErrorRecord, Message: err.Error()}}, isClosed(h.lost)
	case err != nil, h.leaseLeft(time.Now()) <= 0: // another worker may have it already
		return schedules.Outcome{Kind: schedules.OutcomeHandedBack}, isClosed(h.lost)
	}
	done := make(chan schedules.Outcome, 1)
	go func() {
		out := schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorPanic,
			Message: "the workflow ended its goroutine with runtime.Goexit"}}
		defer func() { done <- out }()
		var err error
		out, err = w.cfg.App.Execute(ctx, pyworkflow.Execution{Run: h.run, Steps: steps, Log: w.cfg.Log, Emit: h.emit, Now: h.now,
			Record:     func(ctx context.Context, s schedules.Step) error { return w.recordStep(ctx, h, s) },
			LastResult: func(ctx context.Context) (json.RawMessage, bool, error) { return w.lastResult(ctx, h.run) },
			Around:     w.around(h.run),
		})
		if err != nil { // cannot be: the workflow was there a moment ago, and none is ever removed
			out = schedules.Outcome{Kind: schedules.OutcomeHandedBack}
		}
	}()

	var patience time.Time // when the code is left behind; zero: not decided
	var timer <-chan time.Time
	leaveAt := func(t time.Time) {
		if patience.IsZero() || t.Before(patience) {
			patience = t
			timer = time.After(time.Until(t))
		}
	}
	cancelled, taken, hard := ctx.Done(), h.lost, w.hard
	var cancelledAt time.Time
	for {
		select {
		case o := <-done:
			return o, isClosed(h.lost)
		case <-cancelled:
			cancelled, cancelledAt = nil, time.Now()
			switch cause := context.Cause(ctx); {
			case errors.Is(cause, pyworkflow.ErrTimeout), errors.Is(cause, pyworkflow.ErrLeaseLost):
				leaveAt(cancelledAt.Add(Patience))
			case errors.Is(cause, pyworkflow.ErrShutdown):
				leaveAt(cancelledAt.Add(ShutdownPatience))
			}
		case <-taken: // declared cancelled after its grace, or taken for lost
			taken = nil
			if cancelledAt.IsZero() {
				cancelledAt = time.Now()
			}
			leaveAt(cancelledAt.Add(Patience))
		case <-hard:
			hard = nil
			leaveAt(time.Now().Add(ShutdownPatience))
		case <-timer:
			w.abandon(h, context.Cause(ctx), done)
			o := schedules.Outcome{Kind: schedules.OutcomeHandedBack}
			if cause := context.Cause(ctx); errors.Is(cause, pyworkflow.ErrTimeout) {
				o = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: pyworkflow.TimeoutError(cause)}
			}
			return o, isClosed(h.lost)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// abandon leaves the code behind: it goes on without a slot, and what it still reports is refused.
func (w *Worker) abandon(h *held, cause error, done <-chan schedules.Outcome) {
	w.zombies.Add(1)
	h.log().Warn("code ignores its cancelled context; its slot is freed, its goroutine goes on", "cause", cause, "abandoned", w.zombies.Load())
	h.emit(schedules.Event{Kind: "abandoned", Level: "warn", Message: "the code ignores its cancelled context; the worker goes on without it"})
	w.cfg.Observer.Abandoned(h.run)
	go func() {
		<-done
		w.zombies.Add(-1)
		h.log().Info("code that was left behind has returned")
	}()
}

// finish records how the attempt ended, however long the store is away: until it is recorded, the run is somebody else's, or a shutdown cannot wait. It
// returns the run as it is then, and whether the outcome was recorded.
func (w *Worker) finish(h *held, o schedules.Outcome) (schedules.Run, bool) {
	h.flushing.Lock()
	events := h.take() // go with the outcome
	h.flushing.Unlock()
	defer func() { h.putBack(events); w.flush(w.base, h) }() // what did not go with it, or came later
	known := &h.run
	jitter := rand.Float64()
	recorded := false
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(w.base, callTimeout)
		run, err := w.cfg.Engine.ChangeRun(ctx, h.run.ID, known, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			recorded = r.Status == schedules.RunRunning && r.Dispatch == h.run.Dispatch && r.Token == h.run.Token
			if !recorded {
				return schedules.RunChange{}, false, nil
			}
			c := schedules.EndAttempt(r, o, h.options, now, jitter)
			c.Events = append(slices.Clone(events), c.Events...)
			return c, true, nil
		})
		cancel()
		if err == nil && recorded {
			events = nil
		}
		switch {
		case err == nil:
			if !recorded && try == 0 {
				h.log().Warn("outcome is refused: the run has ended or another worker has it", "status", string(run.Status))
			}
			return run, recorded
		case errors.Is(err, store.ErrNotFound):
			h.log().Warn("outcome is refused: the run is gone")
			return h.run, false
		case errors.Is(err, store.ErrFormat): // its lease runs out, and a newer keeper sends it to a newer worker
			w.leftToNewer("outcome is refused; the run is left to a newer worker", engine.RunAttrs(h.run), err)
			return h.run, false
		}
		if try == 0 {
			h.log().Warn("outcome waits for the store", "error", err)
		}
		known = nil
		if !pause(try, w.dead) {
			h.log().Error("outcome is not recorded: the worker stops while the store is away; another worker executes the run again", "error", err)
			return h.run, false
		}
	}
}
