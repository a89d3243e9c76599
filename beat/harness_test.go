package beat

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// process is one process on a store: an engine, a worker that takes a fixed time for every run, and, if wanted, a beat and a keeper.
type process struct {
	t      *testing.T
	id     string
	st     store.Store
	eng    *engine.Engine
	beat   *Beat
	keeper *Keeper
	log    lines

	takes   time.Duration // for one run
	decline func(store.Message) bool

	ctx    context.Context
	cancel context.CancelFunc
	parts  sync.WaitGroup

	mu   sync.Mutex
	open sync.WaitGroup // runs in progress
	shut bool
}

// parts says what a process is made of.
type parts struct {
	beat, keeper, worker bool
	poll                 time.Duration
	takes                time.Duration
	looker               Looker
	observer             Observer
}

func startProcess(t *testing.T, id string, st store.Store, p parts) *process {
	t.Helper()
	pr := &process{t: t, id: id, st: st, takes: p.takes, decline: func(store.Message) bool { return false }}
	pr.ctx, pr.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	log := slog.New(slog.NewTextHandler(&pr.log, nil))
	cfg := engine.Config{Store: st, Log: log}
	if p.worker {
		cfg.Dispatcher = pr
	}
	var err error
	if pr.eng, err = engine.New(cfg); err != nil {
		t.Fatal(err)
	}
	if p.beat {
		pr.beat, err = New(Config{Store: st, Engine: pr.eng, PollInterval: p.poll, ID: id, Log: log, Process: &store.Process{Version: "test"}})
		if err != nil {
			t.Fatal(err)
		}
		pr.parts.Go(func() {
			if err := pr.beat.Run(pr.ctx); err != nil {
				t.Errorf("beat %s: %v", id, err)
			}
		})
	}
	if p.keeper {
		pr.keeper, err = NewKeeper(KeeperConfig{Store: st, Engine: pr.eng, ID: id, Log: log, Looker: p.looker, Observer: p.observer})
		if err != nil {
			t.Fatal(err)
		}
		pr.parts.Go(func() {
			if err := pr.keeper.Run(pr.ctx); err != nil {
				t.Errorf("keeper %s: %v", id, err)
			}
		})
	}
	return pr
}

// stop ends the process in good order. Twice is harmless.
func (p *process) stop() {
	p.cancel()
	p.parts.Wait()
	p.mu.Lock()
	p.shut = true
	p.mu.Unlock()
	p.open.Wait()
}

// Dispatch hands messages to the process's own worker.
func (p *process) Dispatch(_ context.Context, msgs []store.Message) ([]store.Message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range msgs {
		if !p.shut && !p.decline(m) {
			p.open.Go(func() { p.execute(m) })
		}
	}
	return msgs, nil
}

// execute is a worker's whole life with a run. A process that stops leaves it where it is, as if it had died.
func (p *process) execute(m store.Message) {
	run, err := p.st.Claim(p.ctx, m.RunID, m.Dispatch, store.Claim{Worker: p.id, Token: fmt.Sprint(rand.Int64())})
	if err != nil || !pause(p.ctx, p.takes) {
		return
	}
	opts := schedules.RunOptions{}
	_, err = p.eng.ChangeRun(p.ctx, run.ID, &run, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		if r.Status != schedules.RunRunning || r.Dispatch != m.Dispatch {
			return schedules.RunChange{}, false, nil
		}
		return schedules.EndAttempt(r, schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage("null")}, opts, now, 0), true, nil
	})
	if err != nil && p.ctx.Err() == nil {
		p.t.Logf("end of run %s: %v", run.ID, err)
	}
}

// create makes a schedule; its interval is counted from its start.
func (p *process) create(id, interval string, change func(*schedules.Definition)) schedules.Ref {
	p.t.Helper()
	def := schedules.Definition{Spec: schedules.Spec{Interval: interval, IntervalFrom: schedules.FromStart}}
	if change != nil {
		change(&def)
	}
	now, err := p.st.Now(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := schedules.Create(schedules.CreateRequest{ID: id, Incarnation: "i1", Workflow: "w", Definition: def}, now)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.eng.Create(p.t.Context(), c); err != nil {
		p.t.Fatal(err)
	}
	return c.Schedule.Ref()
}

// trigger asks for a run now.
func (p *process) trigger(ref schedules.Ref, overlap schedules.OverlapPolicy) schedules.TriggerResult {
	p.t.Helper()
	var res schedules.TriggerResult
	_, err := p.eng.Act(p.t.Context(), ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
		c, r, err := schedules.TriggerNow(st, now, schedules.TriggerRequest{Nonce: fmt.Sprint(rand.Int64()), Overlap: overlap})
		res = r
		return c, err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return res
}

// history gives every fate of a schedule, oldest first.
func history(t *testing.T, st store.Store, ref schedules.Ref) []schedules.Fate {
	t.Helper()
	var all []schedules.Fate
	for f, err := range store.All(func(p store.Page) ([]schedules.Fate, string, error) {
		return st.ListFates(t.Context(), ref, store.FateFilter{}, p)
	}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	slices.Reverse(all)
	return all
}

// checkRegular checks that the history holds every nominal time once, step apart, all started; it gives the greatest delay of a start.
func checkRegular(t *testing.T, st store.Store, ref schedules.Ref, step time.Duration) (n int, worst time.Duration) {
	t.Helper()
	fates := history(t, st, ref)
	for i, f := range fates {
		if f.Fate != schedules.FateStarted {
			t.Errorf("%s: tick %s is %s (%s)", ref.ID, f.Tick.Nominal, f.Fate, f.Reason)
		}
		if i > 0 && !f.Tick.Nominal.Equal(fates[i-1].Tick.Nominal.Add(step)) {
			t.Errorf("%s: tick %s follows %s", ref.ID, f.Tick.Nominal, fates[i-1].Tick.Nominal)
		}
		worst = max(worst, f.DecidedAt.Sub(f.Tick.Nominal))
	}
	return len(fates), worst
}

// eventually polls until cond holds; it fails the test when it does not within limit.
func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		pause(t.Context(), 5*time.Millisecond)
	}
	return time.Since(start)
}
