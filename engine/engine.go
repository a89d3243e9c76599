// Package engine is the one place where a decision is read, made, committed and handed on: it loads a schedule's state, lets
// package schedules decide, commits, hands the outbox to the transport, and begins again when it lost a race. The beat, the keeper, the
// worker and the client all go through it. It holds no policy and no state but a cache of announced workflows.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/failpoint"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Store is what the engine needs of a store.
type Store interface {
	store.Clock
	store.Schedules
	store.Runs
	store.Outbox
	Workflows(ctx context.Context) ([]store.Workflow, error)
}

// Dispatcher hands messages to workers.
type Dispatcher interface {
	// Dispatch hands messages over and returns those that were: with an error, the rest stays in the outbox and is tried again by a
	// keeper. A message that was handed over before counts as handed over.
	Dispatch(ctx context.Context, msgs []store.Message) (sent []store.Message, err error)
}

// Observer is told what was committed by this process, after the fact. Methods must not block.
type Observer interface {
	// Decided is told of every committed change of a schedule.
	Decided(c schedules.Change)
	// RunChanged is told of every committed transition of a run, its end among them.
	RunChanged(c schedules.RunChange)
}

// Config holds an Engine's parts. Store is required.
type Config struct {
	Store      Store
	Dispatcher Dispatcher // nil: messages stay in the outbox for another process
	Observers  []Observer
	Log        *slog.Logger // nil: discards
}

// Engine makes and commits decisions. It is safe for concurrent use.
type Engine struct {
	cfg       Config
	timings   timings
	ahead     ahead
	witnesses []Witness

	mu     sync.Mutex
	known  map[string]schedules.RunOptions
	readAt time.Time
}

// New checks the configuration.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil {
		return nil, errors.New("engine: Config.Store is nil")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: cfg, witnesses: witnesses(cfg.Observers)}, nil
}

// maxTries bounds how often one decision is made anew after losing a race, maxRounds how many batches of one schedule a call of Decide goes through: what
// is left then stays due, so that one long backlog does not hold up others.
const (
	maxTries  = 100
	maxRounds = 10
)

// Decided is what Decide found and did for one schedule.
type Decided struct {
	Schedule  schedules.Schedule // as committed, or as read when there was nothing to do
	Committed bool               // something was decided here: it was not another process that settled what was due
	Err       error
}

// Decide settles what is due for the schedules now, in batches, until none has more to decide or it has gone on for long; what is left stays due. Answers are in the order of refs. A lost race is
// not an error: the winner's state is read and decided on.
func (e *Engine) Decide(ctx context.Context, refs ...schedules.Ref) []Decided {
	out := make([]Decided, len(refs))
	var heard warnings
	defer func() { e.warn(ctx, heard) }()
	todo := make([]int, len(refs))
	for i := range todo {
		todo[i] = i
	}
	rounds := make([]int, len(refs))
	for try := 0; len(todo) > 0; try++ {
		batch := make([]schedules.Ref, len(todo))
		for i, at := range todo {
			batch[i] = refs[at]
		}
		loaded, foreseen, now, err := e.load(ctx, batch, try == 0)
		if err != nil {
			for _, at := range todo {
				out[at].Err = store.Named(err, "load schedule", refs[at].ID)
			}
			return out
		}
		var changes []schedules.Change
		var owner []int
		var again []int
		for i, at := range todo {
			if loaded[i].Err != nil {
				out[at].Err = store.Named(loaded[i].Err, "load schedule", refs[at].ID)
				continue
			}
			st := loaded[i].State
			out[at].Schedule = st.Schedule
			if out[at].Err = e.complete(ctx, &st); out[at].Err != nil {
				continue
			}
			c, ok := schedules.Decide(st, now)
			if !ok && foreseen[i] { // no commit tells whether it has changed since
				again = append(again, at)
			}
			if !ok {
				continue
			}
			changes, owner = append(changes, c), append(owner, at)
		}
		for i, err := range e.commit(ctx, changes) {
			at := owner[i]
			switch {
			case err == nil:
				out[at].Schedule, out[at].Committed = changes[i].Schedule, true
				heard.add(changes[i].Warnings)
				if rounds[at]++; changes[i].More && rounds[at] < maxRounds {
					again = append(again, at)
				}
			case (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrClock)) && try < maxTries:
				again = append(again, at)
			default:
				out[at].Err = store.Named(err, "commit schedule", refs[at].ID)
			}
		}
		if todo = again; ctx.Err() != nil {
			for _, at := range todo {
				out[at].Err = ctx.Err()
			}
			return out
		}
	}
	return out
}

// load reads states, but, if it may, those that were read ahead, and says which those are.
func (e *Engine) load(ctx context.Context, refs []schedules.Ref, mayUseAhead bool) (loaded []store.Loaded, foreseen []bool, now time.Time, err error) {
	foreseen = make([]bool, len(refs))
	if !mayUseAhead {
		loaded, now, err = e.cfg.Store.Load(ctx, refs...)
		return loaded, foreseen, now, err
	}
	loaded = make([]store.Loaded, len(refs))
	var rest []schedules.Ref
	var at []int
	for i, ref := range refs {
		st, ok := e.ahead.take(ref)
		if !ok {
			rest, at = append(rest, ref), append(at, i)
			continue
		}
		loaded[i].State, foreseen[i] = st, true
	}
	now = e.cfg.Store.Estimate()
	if len(rest) > 0 {
		read, clock, err := e.cfg.Store.Load(ctx, rest...)
		if err != nil {
			return nil, nil, now, err
		}
		for n, i := range at {
			loaded[i] = read[n]
		}
		now = clock
	}
	return loaded, foreseen, now, nil
}

// complete adds to a state what the store does not know.
func (e *Engine) complete(ctx context.Context, st *schedules.State) (err error) {
	st.Options = e.options(ctx, st.Schedule.Workflow)
	st.Timing, err = e.timings.of(&st.Schedule)
	return err
}

// commit writes changes, tells observers, and hands on what they start.
func (e *Engine) commit(ctx context.Context, changes []schedules.Change) []error {
	if len(changes) == 0 {
		return nil
	}
	failpoint.Reach(failpoint.Read)
	errs := e.cfg.Store.Commit(ctx, changes...)
	written := time.Now()
	failpoint.Reach(failpoint.Committed)
	var msgs []store.Message
	for i, c := range changes {
		if errs[i] != nil {
			continue
		}
		for _, r := range c.Start {
			msgs = append(msgs, store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue, Workflow: r.Workflow})
		}
		for _, o := range e.cfg.Observers {
			o.Decided(c)
		}
		e.created(ctx, c.Start)
	}
	e.send(ctx, written, msgs...)
	return errs
}

// Send hands messages to the transport and strikes off what was handed over. What fails stays in the outbox: it is logged, and a keeper
// sweeps it up. It outlives the caller's cancellation, since the commit it follows has happened.
func (e *Engine) Send(ctx context.Context, msgs ...store.Message) {
	e.send(ctx, time.Time{}, msgs...)
}

// send is Send of messages that this process has committed at written; zero: others have.
func (e *Engine) send(ctx context.Context, written time.Time, msgs ...store.Message) {
	if e.cfg.Dispatcher == nil || len(msgs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	began := time.Now()
	sent, err := e.cfg.Dispatcher.Dispatch(ctx, msgs)
	for _, w := range e.witnesses {
		w.Dispatched(msgs, sent, written, began)
	}
	if err != nil {
		e.cfg.Log.Warn("messages stay in the outbox", "error", err, "count", len(msgs)-len(sent), keyRun, unsent(msgs, sent))
	}
	if len(sent) == 0 {
		return
	}
	failpoint.Reach(failpoint.Dispatched)
	if err := e.cfg.Store.StrikeOff(ctx, sent...); err != nil {
		e.cfg.Log.Warn("messages that were handed over stay in the outbox", "error", err, "count", len(sent), keyRun, sent[0].RunID)
	}
}

// Act carries out one act on a schedule: it first settles the ticks that came due before it (as a beat would, or, with a reason, as
// missed with that reason), then commits what act makes of the settled state; after a lost race it begins again. An error of act ends it and nothing
// of the act is written; an empty Change ends it with the schedule as read.
func (e *Engine) Act(ctx context.Context, ref schedules.Ref, settleAs string, act func(st schedules.State, now time.Time) (schedules.Change, error)) (schedules.Schedule, error) {
	var heard warnings
	defer func() { e.warn(ctx, heard) }()
	for try := 0; ; {
		loaded, now, err := e.cfg.Store.Load(ctx, ref)
		if err == nil {
			err = loaded[0].Err
		}
		if err != nil {
			return schedules.Schedule{}, store.Named(err, "load schedule", ref.ID)
		}
		st := loaded[0].State
		if err := e.complete(ctx, &st); err != nil {
			return schedules.Schedule{}, err
		}
		c, unsettled := schedules.Settle(st, now, settleAs)
		if !unsettled {
			if c, err = act(st, now); err != nil {
				return schedules.Schedule{}, err
			}
			if c.Schedule.ID == "" { // nothing to write
				return st.Schedule, nil
			}
		}
		if err = e.commit(ctx, []schedules.Change{c})[0]; err == nil {
			heard.add(c.Warnings)
		}
		switch {
		case err == nil && !unsettled:
			if c.More {
				if d := e.Decide(ctx, ref); d[0].Err != nil {
					e.cfg.Log.Warn("a keeper goes on with the schedule", "schedule_id", ref.ID, "error", d[0].Err)
				}
			}
			return c.Schedule, nil
		case err == nil:
			continue
		case (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrClock)) && ctx.Err() != nil: // nobody waits for another try
			return schedules.Schedule{}, store.Named(context.Cause(ctx), "commit schedule", ref.ID)
		case (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrClock)) && try < maxTries:
			try++
		default:
			return schedules.Schedule{}, store.Named(err, "commit schedule", ref.ID)
		}
	}
}

// Create commits a new schedule; ErrExists when its id is taken.
func (e *Engine) Create(ctx context.Context, c schedules.Change) error {
	return e.CreateAll(ctx, c)[0]
}

// CreateAll commits new schedules, each by itself, and answers in their order: as Create.
func (e *Engine) CreateAll(ctx context.Context, changes ...schedules.Change) []error {
	errs := e.commit(ctx, changes)
	for i, err := range errs {
		if err != nil {
			errs[i] = store.Named(err, "create schedule", changes[i].Schedule.ID)
		}
	}
	return errs
}

// CreateRun creates a run without a schedule and sends it; false when the id exists already, with the run as it is.
func (e *Engine) CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error) {
	got, created, err := e.cfg.Store.CreateRun(ctx, run)
	if err != nil {
		return got, false, store.Named(err, "create run", run.ID)
	}
	if created {
		written := time.Now()
		e.created(ctx, []schedules.Run{got})
		e.send(ctx, written, store.Message{RunID: got.ID, Dispatch: got.Dispatch, Queue: got.Queue, Workflow: got.Workflow})
	}
	return got, created, nil
}

// ChangeRun commits one transition of a run; after a lost race it reads the run and asks next again. known, when given, spares the first
// read. When next says false, nothing is written and the run is returned as read.
func (e *Engine) ChangeRun(ctx context.Context, id string, known *schedules.Run, next func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error)) (schedules.Run, error) {
	for try := 0; ; try++ {
		var run schedules.Run
		var err error
		if known != nil {
			run, known = *known, nil
		} else if run, err = e.cfg.Store.GetRun(ctx, id); err != nil {
			return run, store.Named(err, "read run", id)
		}
		now := e.cfg.Store.Estimate()
		c, ok, err := next(run, now)
		if err != nil || !ok {
			return run, err
		}
		failpoint.Reach(failpoint.Read)
		err = e.cfg.Store.CommitRun(ctx, c)
		switch {
		case err == nil:
			written := time.Now()
			for _, w := range e.witnesses {
				w.Moved(run, c)
			}
			for _, o := range e.cfg.Observers {
				o.RunChanged(c)
			}
			if c.Send {
				failpoint.Reach(failpoint.Committed)
				e.send(ctx, written, store.Message{RunID: id, Dispatch: c.Run.Dispatch, Queue: c.Run.Queue, Workflow: c.Run.Workflow})
			}
			return c.Run, nil
		case errors.Is(err, store.ErrClock):
			if _, nowErr := e.cfg.Store.Now(ctx); nowErr != nil {
				return run, store.Named(nowErr, "commit run", id)
			}
		case !errors.Is(err, store.ErrConflict):
			return run, store.Named(err, "commit run", id)
		}
		if ctx.Err() != nil { // nobody waits for another try
			return run, store.Named(context.Cause(ctx), "commit run", id)
		}
		if try >= maxTries {
			return run, store.Named(err, "commit run", id)
		}
	}
}

// optionsAge is how long announced workflows are remembered, and missAge how long it is remembered that one was not there.
const (
	optionsAge = 5 * time.Second
	missAge    = time.Second
)

// options gives the announced options of a workflow from the cache, reading them anew when they are old.
func (e *Engine) options(ctx context.Context, workflow string) *schedules.RunOptions {
	e.mu.Lock()
	defer e.mu.Unlock()
	age := time.Since(e.readAt)
	o, ok := e.known[workflow]
	if e.known == nil || age > optionsAge || (!ok && age > missAge) {
		ws, err := e.cfg.Store.Workflows(ctx)
		if err == nil {
			e.known = make(map[string]schedules.RunOptions, len(ws))
			for _, w := range ws {
				e.known[w.Name] = w.Options
			}
			o, ok = e.known[workflow]
		}
		e.readAt = time.Now()
	}
	if !ok {
		return nil
	}
	return &o
}

// Options gives the announced options of a workflow, nil when it is not announced. The answer may be some seconds old.
func (e *Engine) Options(ctx context.Context, workflow string) *schedules.RunOptions {
	return e.options(ctx, workflow)
}
