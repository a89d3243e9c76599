package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	pyworkflow "github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Ends tells an App's OnRunEnd functions of the runs whose end this process records, whoever records them: it is an observer of the engine. Each end is told in
// a goroutine of its own.
type Ends struct {
	app    *pyworkflow.App
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	telling int
	idle    chan struct{} // closed when telling is 0; replaced when it rises
}

// NewEnds makes an observer for an engine. Call Close when the engine is no longer used. A nil log discards.
func NewEnds(app *pyworkflow.App, log *slog.Logger) *Ends {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Ends{app: app, log: log, ctx: ctx, cancel: cancel, idle: make(chan struct{})}
	close(e.idle)
	return e
}

// Decided does nothing: no run ends by a schedule's decision.
func (e *Ends) Decided(schedules.Change) {}

// RunChanged tells of the run if it has ended.
func (e *Ends) RunChanged(c schedules.RunChange) {
	if !c.Run.Status.Ended() || !e.app.HasRunEndHooks() {
		return
	}
	e.mu.Lock()
	if e.telling++; e.telling == 1 {
		e.idle = make(chan struct{})
	}
	e.mu.Unlock()
	go func() {
		defer func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.telling--; e.telling == 0 {
				close(e.idle)
			}
		}()
		if err := e.app.TellRunEnd(e.ctx, c.Run); err != nil {
			e.log.Error("function told of the end of a run panicked", append(engine.RunAttrs(c.Run), "error", err)...)
		}
	}()
}

// Close waits for the functions under way, for the given time at most, then cancels their context. It may be called more than once.
func (e *Ends) Close(wait time.Duration) {
	e.mu.Lock()
	idle := e.idle
	e.mu.Unlock()
	if !waited(idle, wait) {
		e.log.Warn("functions told of the end of runs take too long")
	}
	e.cancel()
}
