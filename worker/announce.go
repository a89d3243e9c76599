package worker

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	announceEvery = 2 * time.Second
	announceTTL   = 10 * time.Second
	publishEvery  = time.Minute
	maxRunning    = 100 // run ids in an announcement
)

// announcements tells the store who is alive and which workflows it has, until ctx ends, and withdraws then.
func (w *Worker) announcements(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	var published time.Time
	for {
		if published.IsZero() || time.Since(published) >= publishEvery {
			if err := w.publish(ctx); err != nil {
				w.log.Debug("workflows are not published", "error", err)
			} else {
				published = time.Now()
			}
		}
		if err := w.announce(ctx); err != nil {
			w.log.Debug("worker is not announced", "error", err)
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatTimeout)
		defer cancel()
		if err := w.cfg.Store.WithdrawProcess(last, w.cfg.ID); err != nil {
			w.log.Debug("worker is not withdrawn", "error", err)
		}
		return
	}
}

func (w *Worker) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	return w.cfg.Store.AnnounceProcess(ctx, w.process(), announceTTL)
}

// process describes this worker. One that stops serves no queues any more.
func (w *Worker) process() store.Process {
	host, _ := os.Hostname()
	p := store.Process{ID: w.cfg.ID, Host: host, PID: os.Getpid(), StartedAt: w.startedAt, Worker: true, Local: w.cfg.Local,
		Capacity: w.cfg.Concurrency, Version: w.cfg.Version}
	if !isClosed(w.stop) {
		p.Queues = slices.Sorted(maps.Keys(w.cfg.Queues))
		for _, info := range w.cfg.App.Workflows() {
			p.Workflows = append(p.Workflows, info.Name)
		}
	}
	for _, h := range w.holding() {
		if len(p.Running) == maxRunning {
			break
		}
		if h.executes() {
			p.Running = append(p.Running, h.run.ID)
		}
	}
	return p
}

func (w *Worker) publish(ctx context.Context) error {
	var ws []store.Workflow
	for _, info := range w.cfg.App.Workflows() {
		ws = append(ws, store.Workflow{Name: info.Name, Doc: info.Doc, Options: info.Options})
	}
	if len(ws) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.cfg.Store.PublishWorkflows(ctx, ws...)
}
