package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// clockStart is where the stores' clock stands when a test begins. What the processes do moves it: so ticks come due in the middle of
// everything, and no test waits for them.
var clockStart = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// clock is the clock of the stores.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(clockStart.UnixMilli())
	return c
}

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()).UTC() }

// node is one process's own store, for as long as a world lives.
type node struct {
	store store.Store
	// trouble lets one of the next calls go wrong in a way that leaves its outcome open, and gives the context to make it with.
	trouble func(ctx context.Context, rng *rand.Rand) (context.Context, context.CancelFunc)
	broken  func() int64 // counts connections that broke
}

// world is a store's real service with the nodes that use it.
type world struct {
	clock *clock
	nodes []node
	// between, when set, is done by a process of its own now and then.
	between func(ctx context.Context, rng *rand.Rand)
}

// The parts that processes play; the first node is a person.
const (
	nodes    = 8
	people   = 3
	beats    = 2 // decide what is due, as beat and keeper
	actsEach = 12
)

// process is one node at work on one history.
type process struct {
	*recorder
	rng    *rand.Rand
	ctx    context.Context
	node   node
	clock  *clock
	engine *engine.Engine
	client *client.Client
	ids    []string
	faulty bool
	held   []claimed
	bfs    []string // backfills of its making
	count  int
}

// claimed is a run that a worker holds, or once held.
type claimed struct {
	id, run  string
	dispatch int
}

// play lets all nodes of a world act on new schedules and gives what they did. Wrap, when given, puts a store with a fault into each process's way.
func (w *world) play(t testing.TB, seed uint64, faulty bool, wrap func(store.Store) store.Store) *history {
	t.Helper()
	h := &history{}
	ids := []string{fmt.Sprintf("s%d-a", seed), fmt.Sprintf("s%d-b", seed)}
	all := make([]*process, len(w.nodes))
	for i, n := range w.nodes {
		st := n.store
		if wrap != nil {
			st = wrap(st)
		}
		p := &process{recorder: &recorder{Store: st, h: h, process: i, broken: n.broken, seen: map[schedules.Ref]schedules.State{}}, rng: rand.New(rand.NewPCG(seed, uint64(i))),
			ctx: t.Context(), node: n, clock: w.clock, ids: ids, faulty: faulty}
		var err error
		if p.engine, err = engine.New(engine.Config{Store: p.recorder}); err == nil {
			p.client, err = client.New(client.Config{Store: p.recorder, Engine: p.engine})
		}
		if err != nil {
			t.Fatal(err)
		}
		all[i] = p
	}
	var busy sync.WaitGroup
	for i, p := range all {
		busy.Go(func() {
			for n := range actsEach {
				p.turn(i, n)
			}
		})
	}
	if faulty && w.between != nil {
		busy.Go(func() { w.between(t.Context(), rand.New(rand.NewPCG(seed, 99))) })
	}
	busy.Wait()
	all[0].faulty = false
	for _, id := range ids {
		all[0].look(id, h.runs(id))
	}
	return h
}

// runs are those that the history may have started under a schedule id.
func (h *history) runs(id string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var runs []string
	for _, op := range h.ops {
		if op.id == id && op.in.Writes != nil {
			for _, b := range op.in.Writes.Started {
				if !slices.Contains(runs, b.ID) {
					runs = append(runs, b.ID)
				}
			}
		}
	}
	return runs
}

// look reads everything of a schedule, when all is over.
func (p *process) look(id string, runs []string) {
	p.id = id
	if ref, err := p.recorder.Resolve(p.ctx, id); err == nil {
		_, _, _ = p.Load(p.ctx, ref)
		_, _ = p.ActiveRuns(p.ctx, ref, 1000)
	}
	for _, run := range runs {
		_, _ = p.GetRun(p.ctx, run)
		_, _ = p.Steps(p.ctx, run)
	}
}

// turn is one thing that a process does.
func (p *process) turn(i, n int) {
	ctx, done := p.ctx, context.CancelFunc(func() {})
	if p.faulty && p.rng.IntN(6) == 0 {
		ctx, done = p.node.trouble(p.ctx, p.rng)
	}
	defer done()
	p.clock.ms.Add(p.rng.Int64N(500))
	p.id, p.doing, p.commit = p.ids[min(p.rng.IntN(4), 1)], act{}, nil // the second one gets most of it
	switch {
	case i < people && n == 0:
		p.create(ctx)
	case i < people:
		p.person(ctx)
	case i < people+beats:
		p.clock.ms.Add(p.rng.Int64N(1500))
		p.beat(ctx)
	default:
		p.worker(ctx)
	}
}

var policies = []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll, schedules.OverlapCancelOther, schedules.OverlapAllowAll}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// create creates the schedule anew, if nobody has.
func (p *process) create(ctx context.Context) {
	p.doing = act{kind: actCreate, policy: pick(p.rng, policies...), interval: pick(p.rng, "1s", "2s"), catchup: pick(p.rng, "one", "all", "none")}
	_, err := p.client.CreateSchedule(ctx, client.CreateRequest{ID: p.id, Workflow: "w", Force: true, Definition: schedules.Definition{
		Spec:    schedules.Spec{Interval: p.doing.interval, IntervalFrom: schedules.FromStart, StartAt: time.UnixMilli(gridStart)},
		Overlap: p.doing.policy, Catchup: schedules.Catchup(p.doing.catchup), BufferLimit: bufferLimit, CancelGrace: schedules.Duration(cancelGrace),
	}})
	if err != nil && p.commit == nil && codeOf(err) != lost {
		panic(err)
	}
}

// person does something that people do.
func (p *process) person(ctx context.Context) {
	switch n := p.rng.IntN(100); {
	case n < 10:
		p.create(ctx)
	case n < 32:
		p.doing = act{kind: actTrigger, policy: pick(p.rng, append(policies, "", "", "", "")...)}
		asked := p.call()
		res, err := p.client.Trigger(ctx, p.id, client.TriggerRequest{Overlap: p.doing.policy})
		p.tell(ctx, asked, err, true)
		if err == nil && p.commit != nil {
			p.commit.out.Told = told{res.Outcome, string(res.RunID)}
		}
	case n < 40:
		p.change(ctx, actPause, schedules.ReasonPaused, func() error { _, err := p.client.Pause(ctx, p.id, nil); return err })
	case n < 50:
		p.change(ctx, actResume, "", func() error { _, err := p.client.Resume(ctx, p.id, nil); return err })
	case n < 64:
		p.update(ctx)
	case n < 72:
		p.backfill(ctx)
	case n < 77:
		if len(p.bfs) > 0 {
			id := pick(p.rng, p.bfs...)
			bf, err := p.Backfill(ctx, id)
			if err != nil {
				return
			}
			p.id = bf.Schedule.ID
			p.doing.backfill = id
			p.change(ctx, actCancelBackfill, "", func() error { _, err := p.client.CancelBackfill(ctx, id); return err })
		}
	case n < 82:
		p.change(ctx, actDelete, schedules.ReasonDeleted, func() error { _, err := p.client.Delete(ctx, p.id); return err })
	case n < 92:
		if run, found := p.someRun(ctx); found {
			p.kind = runCancel
			_, _ = p.client.CancelRun(ctx, run, "a test asks for it")
		}
	default:
		_, _ = p.client.GetSchedule(ctx, p.id)
	}
}

// change carries out an act and notes a refusal.
func (p *process) change(ctx context.Context, kind actKind, reason string, do func() error) {
	p.doing.kind, p.doing.reason = kind, reason
	asked := p.call()
	p.tell(ctx, asked, do(), kind != actDelete)
}

// tell notes what the caller was told when nothing was committed for the act. Some acts may find that there is nothing to change.
func (p *process) tell(ctx context.Context, asked int64, err error, mayRest bool) {
	c := codeOf(err)
	switch {
	case errors.Is(err, schedules.ErrVersion):
		c = conflict
	case c == conflict && ctx.Err() != nil: // it gave up after a lost race; its commits are in the history
		return
	case c == ok && p.commit != nil && p.commit.out.Code == ok, c == lost, c == ok && !mayRest && p.commit != nil:
		return
	}
	var gone *client.NotFoundError
	inc := p.lastInc()
	if errors.As(err, &gone) && !gone.Deleted && gone.Kind == "schedule" {
		return // the read of the id says so, and is in the history
	}
	a := p.doing
	a.reason = ""
	p.note(p.id, asked, input{Op: opRefused, Inc: inc, Act: a}, output{Code: c})
}

// lastInc is the incarnation that this process last read of its schedule.
func (p *process) lastInc() string {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	for _, op := range slices.Backward(p.h.ops) {
		if op.process == p.process && op.id == p.id && op.in.Op == opLoad {
			return op.in.Inc
		}
	}
	return ""
}

// update changes policy, interval and catchup, half of the time only of the version that was seen last, or one before it.
func (p *process) update(ctx context.Context) {
	p.doing = act{policy: pick(p.rng, policies...), interval: pick(p.rng, "1s", "2s"), catchup: pick(p.rng, "one", "all", "none")}
	if p.rng.IntN(2) == 0 {
		for _, st := range p.seen {
			if st.Schedule.ID == p.id {
				p.doing.version = max(1, max(st.Schedule.Version-p.rng.Int64N(2), p.doing.version))
			}
		}
	}
	spec := schedules.Spec{Interval: p.doing.interval, IntervalFrom: schedules.FromStart, StartAt: time.UnixMilli(gridStart)}
	catchup := schedules.Catchup(p.doing.catchup)
	policy := p.doing.policy
	p.change(ctx, actUpdate, "", func() error {
		_, err := p.client.UpdateSchedule(ctx, p.id, schedules.Patch{ExpectVersion: p.doing.version, Spec: &spec, Overlap: &policy, Catchup: &catchup})
		return err
	})
}

func (p *process) backfill(ctx context.Context) {
	start := clockStart.Add(-time.Duration(20+2*p.rng.IntN(10)) * time.Second)
	end := start.Add(time.Duration(1+p.rng.IntN(6)) * time.Second)
	p.doing = act{start: start.UnixMilli(), end: end.UnixMilli(), parallel: 1 + p.rng.Int64N(2)}
	p.change(ctx, actBackfill, "", func() error {
		res, err := p.client.Backfill(ctx, p.id, client.BackfillRequest{Start: start, End: end, Parallel: int(p.doing.parallel)})
		if err == nil {
			p.bfs = append(p.bfs, string(res.BackfillID))
		}
		return err
	})
}

// someRun gives a run of the schedule that is active.
func (p *process) someRun(ctx context.Context) (string, bool) {
	ref, err := p.Resolve(ctx, p.id)
	if err != nil {
		return "", false
	}
	runs, err := p.ActiveRuns(ctx, ref, 100)
	if err != nil || len(runs) == 0 {
		return "", false
	}
	return pick(p.rng, runs...), true
}

// beat decides what is due, of both schedules at once or of one, or looks after a run.
func (p *process) beat(ctx context.Context) {
	if p.rng.IntN(3) == 0 {
		run, found := p.someRun(ctx)
		if !found {
			return
		}
		p.keep(ctx, run)
		return
	}
	var refs []schedules.Ref
	for _, id := range p.ids {
		if ref, err := p.Resolve(ctx, id); err == nil {
			refs = append(refs, ref)
		}
	}
	if len(refs) > 0 {
		p.engine.Decide(ctx, refs...)
	}
}

// keep does what a keeper does with a run: it loses it, or looks whether its time has come.
func (p *process) keep(ctx context.Context, run string) {
	lose, gone := p.rng.IntN(2) == 0, p.rng.IntN(2) == 0
	_, _ = p.engine.ChangeRun(ctx, run, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		p.by = r.Dispatch
		if lose && r.Status == schedules.RunRunning {
			p.kind = runLose
			return schedules.LoseRun(r, now), true, nil
		}
		if p.kind = runLook; gone {
			p.kind = runAnew
		}
		c, due := schedules.RunDue(r, gone, now)
		return c, due, nil
	})
}

// worker claims a run, or goes on with one it holds, whether it still does or not.
func (p *process) worker(ctx context.Context) {
	if len(p.held) == 0 || p.rng.IntN(2) == 0 {
		p.claim(ctx)
		return
	}
	i := p.rng.IntN(len(p.held))
	c := p.held[i]
	p.id = c.id
	switch p.rng.IntN(6) {
	case 0, 1:
		_, _ = p.Heartbeat(ctx, []store.Heartbeat{{RunID: c.run, Dispatch: c.dispatch}})
	case 2, 3:
		p.step(ctx, c)
	default:
		p.end(ctx, c) // and goes on as if it had not: what it reports of an old dispatch is to be refused
	}
}

func (p *process) step(ctx context.Context, c claimed) {
	p.count++
	_ = p.RecordStep(ctx, c.run, c.dispatch, schedules.Step{Name: "s", Key: fmt.Sprintf("p%d#%d", p.process, p.count), Status: schedules.RunCompleted, StartedAt: p.clock.now()})
}

// claim takes a run under its dispatch, or tries to under another one.
func (p *process) claim(ctx context.Context) {
	id, found := p.someRun(ctx)
	if !found {
		return
	}
	r, err := p.GetRun(ctx, id)
	if err != nil {
		return
	}
	dispatch := r.Dispatch
	switch p.rng.IntN(10) {
	case 0:
		dispatch--
	case 1:
		dispatch++
	case 2:
		if r.Status == schedules.RunPending {
			p.by, p.kind = dispatch, runReturn
			_, _ = p.engine.ChangeRun(ctx, id, &r, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
				return schedules.ReturnRun(r, "w", false, now), r.Status == schedules.RunPending && r.Dispatch == dispatch, nil
			})
			return
		}
	}
	p.count++
	if _, err := p.Claim(ctx, id, dispatch, store.Claim{Worker: fmt.Sprint("w", p.process), Token: fmt.Sprintf("p%d#%d", p.process, p.count)}); err == nil {
		c := claimed{p.id, id, dispatch}
		p.held = append(p.held, c)
		p.step(ctx, c)
	}
}

// end records how an attempt ended, if the run is still held under its dispatch.
func (p *process) end(ctx context.Context, c claimed) {
	o := schedules.Outcome{Kind: pick(p.rng, schedules.OutcomeCompleted, schedules.OutcomeFailed, schedules.OutcomeHandedBack, schedules.OutcomeHandedBack)}
	kind := map[schedules.OutcomeKind]runKind{schedules.OutcomeCompleted: runComplete, schedules.OutcomeFailed: runFail, schedules.OutcomeHandedBack: runGiveBack}[o.Kind]
	p.by, p.kind = c.dispatch, kind
	_, _ = p.engine.ChangeRun(ctx, c.run, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		mine := r.Status == schedules.RunRunning && r.Dispatch == c.dispatch
		return schedules.EndAttempt(r, o, schedules.RunOptions{MaxRetries: maxRetries, MaxRecoveries: schedules.DefaultMaxRecoveries}, now, 0), mine, nil
	})
}
