package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/alert"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// serving is what a long-running command is made of.
type serving struct {
	name         string // what it calls itself: worker, scheduler
	work         bool   // it executes runs
	beat         bool   // it decides ticks
	concurrency  int
	queues       map[string]int // nil: all that its workflows name
	drainTimeout time.Duration
	pollInterval time.Duration
	overdueAfter time.Duration // 0: three poll intervals
	duration     time.Duration // 0: until a signal
	listen       string        // of health checks and metrics; empty: none
	perSchedule  int           // schedules that get metrics of their own
	alerts       alertFlags
	page         *dashboardFlags // nil: no dashboard
}

// serve runs until the context ends or the duration is over, then lets runs end.
func (p *program) serve(ctx context.Context, s *session, v serving) error {
	con := p.newConsole(v.work)
	defer con.close()
	running := newRunning()
	wire := s.wire
	if v.work && s.runtime == config.Local {
		wire = s.useLocal
	}
	watch, err := s.observe(v.perSchedule, cmp.Or(v.overdueAfter, beat.DefaultOverduePolls*v.pollInterval))
	if err != nil {
		return err
	}
	defer watch.Close()
	observers := []engine.Observer{con, running}
	alerts, err := s.newAlerts(v.alerts)
	if err != nil {
		return err
	}
	if alerts != nil {
		s.metrics.WatchAlerts(alerts)
		observers = append(observers, alerts)
	}
	if err := wire(observers...); err != nil {
		return err
	}
	defer runAlerts(ctx, alerts)() // ends after all that it observes
	page, err := p.openPage(s, v.page)
	if err != nil {
		return err
	}
	if page != nil {
		defer page.close()
	}
	p.greet(v.name, s, v.describe(s))
	if v.work && len(p.app.Workflows()) == 0 {
		p.note("no workflows in this program: it can execute nothing; name their package with --module")
	}
	parts, err := p.assemble(s, v, con, running, alerts)
	if err != nil {
		return err
	}
	parts.page = page
	server, err := p.listenHTTP(v.listen, parts) // before anything is written
	if err != nil {
		return err
	}
	if v.beat {
		if err := p.activateDeclared(ctx, s); err != nil {
			server.close()
			return err
		}
	}
	return parts.run(ctx, v, running, server)
}

// describe is the part of the first line that is about this command.
func (v serving) describe(s *session) string {
	var parts []string
	if v.work && s.runtime == config.Asynq {
		queues := v.queues
		if len(queues) == 0 {
			queues = worker.QueuesOf(s.p.app)
		}
		parts = append(parts, "queues "+queueText(queues), fmt.Sprintf("concurrency %d", v.concurrency))
	}
	if v.beat {
		parts = append(parts, "poll "+schedules.Duration(v.pollInterval).String())
	}
	return strings.Join(parts, ", ")
}

// activateDeclared writes the records of declared schedules and says when each is due next.
func (p *program) activateDeclared(ctx context.Context, s *session) error {
	if len(p.app.Workflows()) == 0 {
		return nil
	}
	// Where a newer program has written a process of this one does not begin; a look at some is enough, since beat and keeper leave alone what they cannot read.
	if _, _, err := s.store.ListSchedules(ctx, store.ScheduleFilter{}, store.Page{Limit: 100}); err != nil {
		return err
	}
	if _, err := s.client.Activate(ctx, p.app, client.ActivateOptions{LeaveOrphans: true}); err != nil {
		return err
	}
	var all []client.ScheduleDetail
	for _, d := range p.app.Schedules() {
		detail, err := s.client.GetSchedule(ctx, d.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted again meanwhile
		}
		if err != nil {
			return err
		}
		all = append(all, detail)
	}
	p.tellActivation(all)
	return nil
}

// warnOfOrphans tells of schedules that left the code. Ticks do not wait for that: it goes through all schedules there are.
func (p *program) warnOfOrphans(ctx context.Context, s *session) {
	if len(p.app.Workflows()) == 0 {
		return
	}
	orphans, err := s.client.Orphans(ctx, p.app)
	if err != nil && ctx.Err() == nil {
		p.log.Warn("it is not known which schedules are no longer in the code", "error", err)
	}
	for _, id := range orphans {
		p.log.Warn("schedule is no longer in the code; \"schedules activate --prune\" deletes it", "schedule_id", id)
	}
}

// parts are the running parts of a process; those it does not have are nil.
type parts struct {
	session *session
	worker  *worker.Worker
	beat    *beat.Beat
	keeper  *beat.Keeper
	page    *webServer

	pollInterval time.Duration // of the beat
}

func (p *program) assemble(s *session, v serving, con *console, running *running, alerts *alert.Sender) (*parts, error) {
	out := &parts{session: s, pollInterval: v.pollInterval}
	local := s.runtime == config.Local
	id := worker.NewID()
	var found beat.Observer
	if alerts != nil {
		found = alerts
	}
	var err error
	if v.work {
		drain := v.drainTimeout
		if drain == 0 {
			drain = -1
		}
		out.worker, err = worker.New(worker.Config{
			App: p.app, Store: s.store, Engine: s.engine, Transport: s.transport, Queues: v.queues, Concurrency: v.concurrency, DrainTimeout: drain,
			Local: local, ID: id, Version: version(), Log: p.log, Observer: workerObservers{claims{con, running}, s.metrics}, Tracer: p.workerTracer(),
		})
		if err != nil {
			return nil, err
		}
	}
	if v.beat {
		out.beat, err = beat.New(beat.Config{Store: s.store, Engine: s.engine, PollInterval: v.pollInterval, OverdueAfter: v.overdueAfter, Log: p.log, Quiet: true, Observer: found,
			Process: &store.Process{Local: local, Version: version()}})
		if err != nil {
			return nil, err
		}
	}
	keeper := beat.KeeperConfig{Store: s.store, Engine: s.engine, Looker: s.transport, PollInterval: min(v.pollInterval, beat.DefaultKeeperInterval),
		OverdueAfter: cmp.Or(v.overdueAfter, beat.DefaultOverduePolls*v.pollInterval), Log: p.log, Observer: found}
	if local {
		keeper.SweepAfter = -1 // a command line leaves its runs in the outbox for this process
	}
	if out.keeper, err = beat.NewKeeper(keeper); err != nil {
		return nil, err
	}
	out.watchParts(s.metrics)
	return out, nil
}

// run runs the parts. When the duration is over the beat stops first, the runs that are active then are let end, and the rest stops after them.
func (ps *parts) run(ctx context.Context, v serving, running *running, server *httpServer) error {
	group, ctx := errgroup.WithContext(ctx)
	ticking, stopTicking := context.WithCancel(ctx)
	defer stopTicking()
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	if ps.beat != nil {
		group.Go(func() error { return ps.beat.Run(ticking) })
		group.Go(func() error {
			ps.session.p.warnOfOrphans(ticking, ps.session)
			return nil
		})
	}
	group.Go(func() error { return ps.keeper.Run(working) })
	group.Go(func() error {
		ps.session.warnAtStart(working, ps.session.p.log, settleTime)
		return nil
	})
	if ps.worker != nil {
		group.Go(func() error { return ps.worker.Run(working) })
	}
	if server != nil {
		group.Go(func() error { return server.run(working) })
	}
	if ps.page != nil {
		group.Go(func() error { return ps.page.run(working) })
	}
	if v.duration > 0 {
		group.Go(func() error {
			defer stopWorking()
			timer := time.NewTimer(v.duration)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
			stopTicking()
			if ps.worker != nil {
				running.drained(ctx)
			}
			return nil
		})
	}
	return group.Wait()
}

// running knows the runs that this process has started or claimed and not seen end. It observes an engine and a worker.
type running struct {
	mu    sync.Mutex
	ids   map[string]bool
	ended chan struct{} // closed and replaced at every end
}

func newRunning() *running { return &running{ids: map[string]bool{}, ended: make(chan struct{})} }

// Decided notes the runs that a decision started.
func (r *running) Decided(c schedules.Change) {
	for _, run := range c.Start {
		r.Claimed(run)
	}
}

// RunChanged notes the end of a run.
func (r *running) RunChanged(c schedules.RunChange) {
	if !c.Run.Status.Ended() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, c.Run.ID)
	close(r.ended)
	r.ended = make(chan struct{})
}

// Claimed notes a run that this process executes.
func (r *running) Claimed(run schedules.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[run.ID] = true
}

// drained waits until the runs that are active now have ended.
func (r *running) drained(ctx context.Context) {
	r.mu.Lock()
	var left []string
	for id := range r.ids {
		left = append(left, id)
	}
	r.mu.Unlock()
	for {
		r.mu.Lock()
		active := 0
		for _, id := range left {
			if r.ids[id] {
				active++
			}
		}
		ended := r.ended
		r.mu.Unlock()
		if active == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
		}
	}
}

// none reports whether no run is active that this process started or claimed.
func (r *running) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids) == 0
}

// claims is a worker's observer that tells both.
type claims struct {
	console *console // nil: nobody watches
	running *running
}

// Claimed tells both.
func (c claims) Claimed(r schedules.Run) {
	c.running.Claimed(r)
	if c.console != nil {
		c.console.Claimed(r)
	}
}

// Attempted says nothing: the end of the run is told by the engine.
func (c claims) Attempted(schedules.Run, schedules.Outcome, time.Duration, bool) {}

// Abandoned tells of code that ignores its cancelled context.
func (c claims) Abandoned(r schedules.Run) {
	if c.console != nil {
		c.console.Abandoned(r)
	}
}
