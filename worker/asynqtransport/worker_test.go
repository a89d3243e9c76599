package asynqtransport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// host is what one process would have: a store, an engine, a transport and a worker, all on one Redis client.
type host struct {
	t     *testing.T
	store *redisstore.Store
	eng   *engine.Engine
	stop  func()
}

func newHost(t *testing.T, server *redistest.Server, ns, id string, drain time.Duration, defs ...pyworkflow.Registrable) *host {
	t.Helper()
	client := server.Client(t)
	st, err := redisstore.New(client, redisstore.Config{Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	tr, _ := open(t, server, ns)
	eng, err := engine.New(engine.Config{Store: st, Dispatcher: tr})
	if err != nil {
		t.Fatal(err)
	}
	app := pyworkflow.NewApp()
	if err := app.Register(defs...); err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{App: app, Store: st, Engine: eng, Transport: tr, ID: id, DrainTimeout: drain})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	h := &host{t: t, store: st, eng: eng, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("worker %s: %v", id, err)
		}
	})}
	t.Cleanup(func() {
		h.stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) submit(workflow, input string) string {
	h.t.Helper()
	run := schedules.NewRun(schedules.FreeRunID(h.t.Name(), workflow, input), workflow, "", []byte(input), nil, h.store.Estimate())
	if _, _, err := h.eng.CreateRun(h.t.Context(), run); err != nil {
		h.t.Fatal(err)
	}
	return run.ID
}

func (h *host) until(id, what string, cond func(schedules.Run) bool) schedules.Run {
	h.t.Helper()
	var run schedules.Run
	eventually(h.t, "run is "+what, func() bool {
		var err error
		if run, err = h.store.GetRun(h.t.Context(), id); err != nil {
			h.t.Fatal(err)
		}
		return cond(run)
	})
	return run
}

func ended(r schedules.Run) bool { return r.Status.Ended() }

func TestRunsOnRedis(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	h := newHost(t, server, ns, "w1", time.Second,
		pyworkflow.Define("double", func(ctx context.Context, n int) (int, error) {
			return pyworkflow.Step(ctx, "add", func(context.Context) (int, error) { return n + n, nil })
		}),
		pyworkflow.Define("panics", func(context.Context, int) (int, error) { panic("ouch") }),
		pyworkflow.Define("waits", func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, pyworkflow.Timeout(time.Minute)))
	if _, err := h.store.Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for n := range 30 {
		ids = append(ids, h.submit("double", fmt.Sprint(n)))
	}
	for n, id := range ids {
		if run := h.until(id, "ended", ended); run.Status != schedules.RunCompleted || string(run.Result) != fmt.Sprint(2*n) || run.Worker != "w1" {
			t.Errorf("run %+v", run)
		}
		if steps, err := h.store.Steps(t.Context(), id); err != nil || len(steps) != 1 || steps[0].Key != "add#1" || steps[0].Status != schedules.RunCompleted {
			t.Errorf("steps %+v, %v", steps, err)
		}
	}
	if run := h.until(h.submit("panics", "0"), "ended", ended); run.Status != schedules.RunFailed || run.Error.Kind != schedules.ErrorPanic {
		t.Errorf("run %+v", run)
	}
	id := h.submit("waits", "0")
	h.until(id, "running", func(r schedules.Run) bool { return r.Status == schedules.RunRunning })
	asked := time.Now()
	_, err := h.eng.ChangeRun(t.Context(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		c, ok := schedules.RequestCancel(r, "enough", 0, now)
		return c, ok, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if run := h.until(id, "ended", ended); run.Status != schedules.RunCancelled || time.Since(asked) > 3*time.Second {
		t.Errorf("after %s: run %+v", time.Since(asked), run)
	}
	eventually(t, "the worker is known", func() bool {
		ps, err := h.store.Processes(t.Context())
		return err == nil && len(ps) == 1 && ps[0].ID == "w1" && strings.Join(ps[0].Queues, ",") == "default"
	})
	h.stop()
	if ps, err := h.store.Processes(t.Context()); err != nil || len(ps) != 0 {
		t.Errorf("processes after the end: %+v, %v", ps, err)
	}
}

func TestDrainHandsOverOnRedis(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	var mu sync.Mutex
	executed := map[string]int{}
	var cause error
	workflow := pyworkflow.Define("steps", func(ctx context.Context, _ int) (int, error) {
		for _, name := range []string{"first", "second"} {
			_, err := pyworkflow.Step(ctx, name, func(ctx context.Context) (int, error) {
				mu.Lock()
				executed[name]++
				n := executed[name]
				mu.Unlock()
				if name == "second" && n == 1 {
					<-ctx.Done()
					return 0, ctx.Err()
				}
				return 1, nil
			})
			if err != nil {
				mu.Lock()
				cause = context.Cause(ctx)
				mu.Unlock()
				return 0, err
			}
		}
		return 2, nil
	})
	a := newHost(t, server, ns, "a", 200*time.Millisecond, workflow)
	id := a.submit("steps", "0")
	a.until(id, "in its second step", func(schedules.Run) bool {
		mu.Lock()
		defer mu.Unlock()
		return executed["second"] == 1
	})
	b := newHost(t, server, ns, "b", time.Second, workflow)
	a.stop()
	run := b.until(id, "ended", ended)
	if run.Status != schedules.RunCompleted || run.Worker != "b" || run.Attempt != 1 || run.Dispatch != 2 || run.Recoveries != 0 {
		t.Errorf("run %+v", run)
	}
	if executed["first"] != 1 || executed["second"] != 2 || !errors.Is(cause, pyworkflow.ErrShutdown) {
		t.Errorf("executed %v, cause %v", executed, cause)
	}
}
