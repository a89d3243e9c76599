package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// drain stops the worker and gives how long it took.
func (w *world) drain(r *running) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.end(r)
	return time.Since(began)
}

func TestDrainLetsRunsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		j := &journal{}
		r := w.start(worker.Config{}, j.workflow(5))
		id := w.submit("steps", "", nil)
		w.status(id, schedules.RunRunning)
		if took := w.drain(r); took > 6*time.Second {
			t.Errorf("drained in %s", took)
		}
		if run := w.run(id); run.Status != schedules.RunCompleted || len(j.steps) != 5 {
			t.Errorf("steps %v, run %+v", j.steps, run)
		}
	})
}

func TestDrainHandsBackWhatHasNotEnded(t *testing.T) {
	inWorld(t, func(w *world) {
		j := &journal{}
		steps := j.workflow(40)
		a := w.start(worker.Config{ID: "a"}, steps)
		b := w.start(worker.Config{ID: "b", App: clone(t, steps)})
		id := w.submit("steps", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(2500 * time.Millisecond)
		if took := w.drain(a); took < worker.DefaultDrainTimeout || took > worker.DefaultDrainTimeout+time.Second {
			t.Errorf("drained in %s", took)
		}
		run := w.status(id, schedules.RunRunning)
		if run.Worker != "b" || run.Attempt != 1 || run.Dispatch != 2 || run.Recoveries != 0 || run.Error != nil {
			t.Errorf("run %+v", run)
		}
		if len(j.causes) != 1 || !errors.Is(j.causes[0], pyworkflow.ErrShutdown) {
			t.Errorf("causes %v", j.causes)
		}
		if run = w.ended(id); run.Status != schedules.RunCompleted || string(run.Result) != "780" {
			t.Errorf("run %+v", run)
		}
		if n := len(j.steps); n > 41 {
			t.Errorf("%d steps executed; want 40, one of them twice at most", n)
		}
		w.end(b)
	})
}

func TestDrainDoesNotWaitForDeafCode(t *testing.T) {
	inWorld(t, func(w *world) {
		letGo := make(chan struct{})
		workflow := deaf(letGo)
		a := w.start(worker.Config{ID: "a", DrainTimeout: 3 * time.Second}, workflow)
		id := w.submit("deaf", "", nil)
		w.status(id, schedules.RunRunning)
		if took := w.drain(a); took < 3*time.Second || took > 3*time.Second+worker.ShutdownPatience+100*time.Millisecond {
			t.Errorf("drained in %s", took)
		}
		if run := w.run(id); run.Status != schedules.RunPending || run.Attempt != 1 || run.Dispatch != 2 {
			t.Errorf("run %+v", run)
		}
		b := w.start(worker.Config{ID: "b", App: clone(t, workflow)})
		if run := w.status(id, schedules.RunRunning); run.Worker != "b" {
			t.Errorf("run %+v", run)
		}
		close(letGo)
		w.ended(id)
		w.end(b)
	})
}

func TestDrainOfACancelledRunEndsCancelled(t *testing.T) {
	inWorld(t, func(w *world) {
		letGo := make(chan struct{})
		defer close(letGo)
		r := w.start(worker.Config{DrainTimeout: -1}, deaf(letGo))
		id := w.submit("deaf", "", nil)
		w.status(id, schedules.RunRunning)
		w.cancel(id, "enough", time.Hour)
		sleep(2 * time.Second)
		if took := w.drain(r); took > 2*worker.ShutdownPatience {
			t.Errorf("drained in %s", took)
		}
		if run := w.run(id); run.Status != schedules.RunCancelled || run.CancelReason != "enough" {
			t.Errorf("run %+v", run)
		}
	})
}

func TestDrainWithTheStoreAwayEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{DrainTimeout: time.Second}, pyworkflow.DefineFunc("waits", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}))
		id := w.submit("waits", "", nil)
		w.status(id, schedules.RunRunning)
		w.store.away.Store(true)
		if took := w.drain(r); took > 20*time.Second {
			t.Errorf("drained in %s", took)
		}
		if !w.log.has("outcome is not recorded") {
			t.Error("nothing is said about the lost outcome")
		}
		w.store.away.Store(false)
		if run := w.run(id); run.Status != schedules.RunRunning { // its lease runs out: another worker gets it
			t.Errorf("run %+v", run)
		}
	})
}

func TestStoppingWorkerTakesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.start(worker.Config{Concurrency: 1}, pyworkflow.DefineFunc("slow", func(context.Context) (int, error) {
			sleep(5 * time.Second)
			return 1, nil
		}))
		first := w.submit("slow", "", nil)
		w.status(first, schedules.RunRunning)
		waiting := w.submit("slow", "", nil)
		if took := w.drain(r); took > 6*time.Second {
			t.Errorf("drained in %s", took)
		}
		if run := w.run(first); run.Status != schedules.RunCompleted {
			t.Errorf("run %+v", run)
		}
		if run := w.run(waiting); run.Status != schedules.RunPending || run.Dispatch != 1 || !run.StartedAt.IsZero() {
			t.Errorf("run %+v", run)
		}
	})
}

func TestWorkerAnnouncesItself(t *testing.T) {
	inWorld(t, func(w *world) {
		app := pyworkflow.NewApp()
		slow := pyworkflow.DefineFunc("slow", func(context.Context) (int, error) {
			sleep(10 * time.Second)
			return 1, nil
		}, pyworkflow.Doc("Takes its time."), pyworkflow.MaxRetries(4))
		w.store.away.Store(true) // at first
		r := w.start(worker.Config{ID: "w1", App: app, Concurrency: 7, Version: "1.2", Queues: map[string]int{"default": 1, "fast": 3}}, slow)
		sleep(time.Second)
		w.store.away.Store(false)
		sleep(3 * time.Second)
		id := w.submit("slow", "", nil)
		w.status(id, schedules.RunRunning)
		sleep(3 * time.Second)
		ps := w.processes()
		if len(ps) != 1 {
			t.Fatalf("processes %+v", ps)
		}
		p := ps[0]
		if p.ID != "w1" || p.PID == 0 || p.Host == "" || !p.Worker || !p.Local || p.Beat || p.Capacity != 7 || p.Version != "1.2" || p.StartedAt.IsZero() ||
			!slices.Equal(p.Queues, []string{"default", "fast"}) || !slices.Equal(p.Workflows, []string{"slow"}) || !slices.Equal(p.Running, []string{id}) {
			t.Errorf("process %+v", p)
		}
		published, err := w.store.Workflows(w.ctx)
		if err != nil || len(published) != 1 || published[0].Name != "slow" || published[0].Doc != "Takes its time." || published[0].Options.MaxRetries != 4 {
			t.Errorf("published %+v, %v", published, err)
		}
		r.stop()
		sleep(3 * time.Second)
		if ps = w.processes(); len(ps) != 1 || len(ps[0].Queues) != 0 || len(ps[0].Running) != 1 {
			t.Errorf("while it drains: %+v", ps)
		}
		w.end(r)
		if ps = w.processes(); len(ps) != 0 {
			t.Errorf("when it has ended: %+v", ps)
		}
	})
}

func (w *world) processes() []store.Process {
	w.t.Helper()
	ps, err := w.store.Processes(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return ps
}

func TestQueuesOf(t *testing.T) {
	app := pyworkflow.NewApp()
	if got := worker.QueuesOf(app); fmt.Sprint(got) != "map[default:1]" {
		t.Errorf("of an empty app: %v", got)
	}
	nothing := func(context.Context) (int, error) { return 0, nil }
	err := app.Register(pyworkflow.DefineFunc("a", nothing, pyworkflow.Queue("x"), pyworkflow.Schedule(pyworkflow.Cron("@daily"), pyworkflow.Queue("y"))),
		pyworkflow.DefineFunc("b", nothing, pyworkflow.Queue("x"), pyworkflow.Schedule(pyworkflow.Cron("@daily"))))
	if err != nil {
		t.Fatal(err)
	}
	if got := worker.QueuesOf(app); fmt.Sprint(got) != "map[x:1 y:1]" {
		t.Errorf("queues %v", got)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	inWorld(t, func(w *world) {
		good := worker.Config{App: pyworkflow.NewApp(), Store: w.store, Engine: w.eng, Transport: localtransport.New()}
		if _, err := worker.New(good); err != nil {
			t.Fatal(err)
		}
		for want, spoil := range map[string]func(*worker.Config){
			"Config.App is nil":                     func(c *worker.Config) { c.App = nil },
			"Config.Store is nil":                   func(c *worker.Config) { c.Store = nil },
			"Config.Engine is nil":                  func(c *worker.Config) { c.Engine = nil },
			"Config.Transport is nil":               func(c *worker.Config) { c.Transport = nil },
			"Config.Concurrency -1 is negative":     func(c *worker.Config) { c.Concurrency = -1 },
			`queue "slow" has weight 0; write 1 or`: func(c *worker.Config) { c.Queues = map[string]int{"slow": 0} },
		} {
			c := good
			spoil(&c)
			if _, err := worker.New(c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v; want %q", err, want)
			}
		}
	})
}

// refusing is a transport that cannot serve.
type refusing struct{ *localtransport.Transport }

func (refusing) Serve(context.Context, map[string]int, int, worker.Handler) error {
	return errors.New("no way")
}

func TestRunSaysThatTheTransportCannotServe(t *testing.T) {
	inWorld(t, func(w *world) {
		r, err := worker.New(worker.Config{App: pyworkflow.NewApp(), Store: w.store, Engine: w.eng, Transport: refusing{localtransport.New()}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(w.ctx); err == nil || err.Error() != "serve queues: no way" {
			t.Errorf("error %v", err)
		}
		if err := r.Run(w.ctx); err == nil || !strings.Contains(err.Error(), "called before") {
			t.Errorf("second Run: %v", err)
		}
	})
}
