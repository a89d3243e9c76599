package linear

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// history is what several processes did at the same time.
type history struct {
	now atomic.Int64 // counts calls and answers: their order, without a clock's doubts

	mu  sync.Mutex
	ops []*operation
}

// operation is one call and its answer.
type operation struct {
	id        string // of the schedule
	process   int
	in        input
	out       output
	asked, by int64 // when it was called and answered
}

func (h *history) add(op operation) *operation {
	if op.by = h.now.Add(1); op.out.Code == lost {
		op.by = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, &op)
	return &op
}

// partition gives the operations of each schedule id. A run's go to the schedule that started it, whatever the process was about.
func (h *history) partition() map[string][]porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	owner := map[string]string{}
	for _, op := range h.ops {
		if op.in.Writes != nil {
			for _, b := range op.in.Writes.Started {
				owner[b.ID] = op.id
			}
		}
	}
	parts := map[string][]porcupine.Operation{}
	for _, op := range h.ops {
		if id, known := owner[op.in.Run]; known {
			op.id = id
		}
		parts[op.id] = append(parts[op.id], porcupine.Operation{ClientId: op.process, Input: op.in, Output: op.out, Call: op.asked, Return: op.by})
	}
	return parts
}

// recorder is a process's way to the store: it writes down what passes. Like the process, it does one thing at a time.
type recorder struct {
	store.Store
	h       *history
	process int
	broken  func() int64 // counts connections that broke under this process

	id     string // the schedule this process is busy with
	doing  act    // what it is about to do to it
	kind   runKind
	by     int // the dispatch under which it speaks for a run
	seen   map[schedules.Ref]schedules.State
	commit *operation // the last commit of what it is about
}

func (r *recorder) note(id string, asked int64, in input, out output) *operation {
	return r.h.add(operation{id: id, process: r.process, in: in, out: out, asked: asked})
}

// refusal is the code of a report about a run. A connection may have broken after the server had acted, and the run gone on before the client made the call
// again: what is refused then may have happened, while the caller was entitled to it.
func (r *recorder) refusal(before int64, err error) code {
	c := codeOf(err)
	if (c == stale || c == conflict) && r.broken() != before {
		return repeated
	}
	return c
}

func (r *recorder) call() int64 { return r.h.now.Add(1) }

// codeOf sorts answers. What is none of the contract's sentinels leaves open what happened.
func codeOf(err error) code {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, store.ErrConflict):
		return conflict
	case errors.Is(err, store.ErrExists):
		return exists
	case errors.Is(err, store.ErrNotFound):
		return notFound
	case errors.Is(err, store.ErrStale):
		return stale
	case errors.Is(err, store.ErrClock), errors.Is(err, store.ErrFormat):
		return code(err.Error()) // never right here
	default:
		return lost
	}
}

// Resolve records a read of the id.
func (r *recorder) Resolve(ctx context.Context, id string) (schedules.Ref, error) {
	at := r.call()
	ref, err := r.Store.Resolve(ctx, id)
	if c := codeOf(err); c != lost {
		r.note(id, at, input{Op: opResolve}, output{Code: c, Inc: ref.Incarnation})
	}
	return ref, err
}

// most is how many calls and answers a history may have; it has some hundreds unless processes go round in circles.
const most = 10_000

var errEndless = errors.New("the history has no end")

// Load records a read of each.
func (r *recorder) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	at := r.call()
	if at > most {
		return nil, time.Time{}, errEndless
	}
	loaded, now, err := r.Store.Load(ctx, refs...)
	for i := range loaded {
		if err == nil {
			r.note(refs[i].ID, at, input{Op: opLoad, Inc: refs[i].Incarnation}, output{Code: codeOf(loaded[i].Err), View: viewOf(&loaded[i].State.Schedule)})
			r.seen[refs[i]] = loaded[i].State
		}
	}
	return loaded, now, err
}

// ActiveRuns records a read.
func (r *recorder) ActiveRuns(ctx context.Context, ref schedules.Ref, limit int) ([]string, error) {
	at := r.call()
	ids, err := r.Store.ActiveRuns(ctx, ref, limit)
	if err == nil && len(ids) < limit {
		r.note(ref.ID, at, input{Op: opActive, Inc: ref.Incarnation}, output{Code: ok, IDs: slices.Sorted(slices.Values(ids))})
	}
	return ids, err
}

// Commit records what each change was to write.
func (r *recorder) Commit(ctx context.Context, changes ...schedules.Change) []error {
	at := r.call()
	errs := r.Store.Commit(ctx, changes...)
	for i := range changes {
		c := &changes[i]
		a := act{kind: actSettle, reason: r.doing.reason}
		mine := r.isAct(c)
		if mine {
			a = r.doing
			a.reason = ""
		}
		op := r.note(c.Schedule.ID, at, input{Op: opCommit, Inc: c.Schedule.Incarnation, Act: a, Expect: c.Expect, Now: c.Now.UnixMilli(), Writes: effectsOf(c)},
			output{Code: codeOf(errs[i])})
		if mine {
			r.commit = op
		}
	}
	return errs
}

// isAct tells the commit of the act this process is about from what is settled before and after.
func (r *recorder) isAct(c *schedules.Change) bool {
	before := r.seen[c.Schedule.Ref()]
	switch r.doing.kind {
	case actCreate:
		return c.Expect == 0
	case actPause, actResume, actUpdate, actDelete:
		return c.Schedule.Version > before.Schedule.Version
	case actTrigger:
		started := -c.PopManual
		for _, f := range c.Fates {
			if f.Tick.Trigger == schedules.TriggerManual {
				if f.Fate == schedules.FateBuffered || f.Fate == schedules.FateSkipped {
					return true
				}
				started++ // or dropped: popped, too
			}
		}
		return started > 0
	case actBackfill:
		for _, id := range c.Schedule.Backfills {
			if !slices.Contains(before.Schedule.Backfills, id) {
				r.doing.backfill = id
				return true
			}
		}
	case actCancelBackfill:
		was := before.Backfill
		for _, b := range c.Backfills {
			if first := was != nil && was.ID == b.ID; b.ID == r.doing.backfill && !(first && c.Schedule.Status == schedules.StatusDeleted) {
				return b.Status != schedules.BackfillRunning && b.Status != schedules.BackfillCompleted &&
					(!first || was.Status == schedules.BackfillRunning)
			}
		}
	}
	return false
}

// GetRun records a read.
func (r *recorder) GetRun(ctx context.Context, id string) (schedules.Run, error) {
	at := r.call()
	run, err := r.Store.GetRun(ctx, id)
	if c := codeOf(err); c != lost {
		r.note(r.id, at, input{Op: opGetRun, Run: id}, output{Code: c, Run: viewOfRun(&run)})
	}
	return run, err
}

// Claim records a claim.
func (r *recorder) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	at := r.call()
	broke := r.broken()
	run, err := r.Store.Claim(ctx, id, dispatch, c)
	r.note(r.id, at, input{Op: opClaim, Run: id, Dispatch: dispatch, Token: c.Token}, output{Code: r.refusal(broke, err)})
	return run, err
}

// Heartbeat records what each was answered.
func (r *recorder) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	at := r.call()
	answers, err := r.Store.Heartbeat(ctx, beats)
	for i := range answers {
		c := ok
		switch {
		case answers[i].Lost:
			c = stale
		case answers[i].Cancel:
			c = canceled
		}
		if err == nil {
			r.note(r.id, at, input{Op: opBeat, Run: beats[i].RunID, Dispatch: beats[i].Dispatch}, output{Code: c})
		}
	}
	return answers, err
}

// RecordStep records a step's recording.
func (r *recorder) RecordStep(ctx context.Context, id string, dispatch int, s schedules.Step) error {
	at := r.call()
	broke := r.broken()
	err := r.Store.RecordStep(ctx, id, dispatch, s)
	r.note(r.id, at, input{Op: opStep, Run: id, Dispatch: dispatch, Key: s.Key}, output{Code: r.refusal(broke, err)})
	return err
}

// Steps records a read.
func (r *recorder) Steps(ctx context.Context, id string) ([]schedules.Step, error) {
	at := r.call()
	steps, err := r.Store.Steps(ctx, id)
	if err == nil {
		var keys []string
		for _, s := range steps {
			keys = append(keys, s.Key)
		}
		r.note(r.id, at, input{Op: opSteps, Run: id}, output{Code: ok, IDs: keys})
	}
	return steps, err
}

// CommitRun records a transition of a run.
func (r *recorder) CommitRun(ctx context.Context, c schedules.RunChange) error {
	at := r.call()
	broke := r.broken()
	err := r.Store.CommitRun(ctx, c)
	in := input{Op: opEnd, Run: c.Run.ID, Dispatch: r.by, Kind: r.kind, Expect: c.Expect, Now: c.Now.UnixMilli(), RunAfter: viewOfRun(&c.Run)}
	in.Lapsed = c.Run.Status == schedules.RunRunning && c.Now.After(c.Run.Lease)
	r.note(r.id, at, in, output{Code: r.refusal(broke, err)})
	return err
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func viewOf(s *schedules.Schedule) view {
	return view{
		Status: s.Status, Policy: s.Overlap, Interval: s.Spec.Interval, Catchup: string(s.Catchup), Version: s.Version, Revision: s.Revision,
		Total: s.Total, Successful: s.Successful, Failed: s.Failed, Cancelled: s.Cancelled, Skipped: s.Skipped, Lapsed: s.Missed,
		Active: s.Active, ActiveBackfill: s.ActiveBackfill, WaitingRegular: s.WaitingRegular, WaitingManual: s.WaitingManual,
		Next: ms(s.NextNominal), Backfills: strings.Join(s.Backfills, " "), Dropping: s.DropBelow > 0, Asking: s.CancelActive,
	}
}

func viewOfRun(r *schedules.Run) runView {
	return runView{Status: r.Status, Attempt: r.Attempt, Dispatch: r.Dispatch, Recoveries: r.Recoveries, Revision: r.Revision, Cancel: !r.CancelAt.IsZero()}
}

func effectsOf(c *schedules.Change) *effects {
	e := &effects{After: viewOf(&c.Schedule)}
	for _, r := range c.Start {
		e.Started = append(e.Started, begun{r.ID, r.Trigger})
	}
	for _, r := range c.Cancel {
		e.Asked = append(e.Asked, r.RunID)
	}
	for _, f := range c.Fates {
		switch {
		case f.Fate == schedules.FateBuffered:
			e.Buffered = append(e.Buffered, f.RunID)
		case f.Fate != schedules.FateDropped:
		case f.Tick.Trigger.Regular():
			e.DropR++
		case f.Tick.Trigger == schedules.TriggerManual:
			e.DropM++
		}
	}
	return e
}
