package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pyworkflow "github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// held is a run this worker holds, from its claim until its outcome is recorded.
type held struct {
	run     schedules.Run       // as claimed
	log     func() *slog.Logger // its lines are about the run; most runs have none
	options schedules.RunOptions
	began   time.Time
	ctx     context.Context // of the attempt
	abort   context.CancelCauseFunc
	now     func() time.Time // the store's clock, in whole milliseconds
	lost    chan struct{}    // closed: the store says that the run is not ours any more
	over    chan struct{}    // closed: the code has returned or was left behind, only the outcome is to be recorded
	seated  atomic.Bool      // it has had a slot

	flushing sync.Mutex // held while events are handed over, so that they stay in order

	mu      sync.Mutex
	renewed time.Time // when the last good heartbeat (or the claim) was sent
	isLost  bool
	warned  bool
	events  []schedules.Event
	dropped int
}

// executes reports whether the run has a slot: not while it waits for one after its claim, nor while its outcome is being recorded.
func (h *held) executes() bool { return h.seated.Load() && !isClosed(h.over) }

// cancel cancels the context of the attempt; the first cause stands.
func (h *held) cancel(cause error) { h.abort(cause) }

// lose notes that the run is not ours any more.
func (h *held) lose() {
	h.mu.Lock()
	first := !h.isLost && !isClosed(h.over)
	if first {
		h.isLost = true
		close(h.lost)
	}
	h.mu.Unlock()
	if first {
		h.cancel(fmt.Errorf("%w: the run has ended or another worker has it", pyworkflow.ErrLeaseLost))
	}
}

func (w *Worker) hold(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[h.run.ID] = h
}

func (w *Worker) release(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[h.run.ID] == h {
		delete(w.held, h.run.ID)
	}
}

// holding lists the runs held now, by id.
func (w *Worker) holding() []*held {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*held, 0, len(w.held))
	for _, h := range w.held {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *held) int {
		if a.run.ID < b.run.ID {
			return -1
		}
		return 1
	})
	return out
}

// heartbeats renews the leases of all held runs once a second until ctx ends.
func (w *Worker) heartbeats(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		runs := w.holding()
		if len(runs) > 0 {
			w.heartbeat(ctx, runs)
			w.warnLong(runs)
		}
	}
}

func (w *Worker) heartbeat(ctx context.Context, runs []*held) {
	beats := make([]store.Heartbeat, len(runs))
	limit := heartbeatTimeout
	sent := time.Now()
	for i, h := range runs {
		beats[i] = store.Heartbeat{RunID: h.run.ID, Dispatch: h.run.Dispatch}
		if left := h.leaseLeft(sent); left > 0 { // not to learn too late that it has run out
			limit = min(limit, left)
		}
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers, err := w.cfg.Store.Heartbeat(call, beats)
	if err == nil && len(answers) != len(beats) {
		err = fmt.Errorf("store gave %d answers to %d heartbeats", len(answers), len(beats))
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if !w.away.Swap(true) {
			w.log.Warn("store does not answer heartbeats; runs go on", "error", err, "running", len(runs), "lease", schedules.Lease)
		}
		for _, h := range runs {
			if h.leaseLeft(time.Now()) <= 0 {
				h.cancel(fmt.Errorf("%w: the store did not answer for %s", pyworkflow.ErrLeaseLost, schedules.Lease))
			}
		}
		return
	}
	if w.away.Swap(false) {
		w.log.Info("store answers again", "running", len(runs))
	}
	for i, h := range runs {
		switch a := answers[i]; {
		case a.Lost:
			h.lose()
		case a.Cancel:
			h.renew(sent)
			h.cancel(cancelCause(a.CancelReason))
		default:
			h.renew(sent)
		}
	}
}

func cancelCause(reason string) error {
	if reason == "" {
		return pyworkflow.ErrCancelled
	}
	return fmt.Errorf("%w: %s", pyworkflow.ErrCancelled, reason)
}

func (h *held) renew(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewed = at
}

// leaseLeft is how long the lease lasts as far as this worker knows.
func (h *held) leaseLeft(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return schedules.Lease - now.Sub(h.renewed)
}

// warnLong warns once about each run without a time limit that lasts long.
func (w *Worker) warnLong(runs []*held) {
	for _, h := range runs {
		if h.options.Timeout > 0 || time.Since(h.began) < LongRun {
			continue
		}
		h.mu.Lock()
		first := !h.warned
		h.warned = true
		h.mu.Unlock()
		if first {
			const text = "run without a time limit lasts long; a timeout on the workflow would end it"
			h.log().Warn(text, "running", LongRun.String())
			h.emit(schedules.Event{Kind: "long", Level: "warn", Message: text})
		}
	}
}

// maxEvents is how many events of a run wait for the store at most, as many as the store keeps.
const maxEvents = 1000

// emit adds an event, as of now by the store's clock, to those that wait for the store; the oldest make room.
func (h *held) emit(e schedules.Event) {
	e.At = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) >= maxEvents {
		h.events = slices.Delete(h.events, 0, 1)
		h.dropped++
	}
	h.events = append(h.events, e)
}

// take takes the events that wait, oldest first; flushing is held. A line stands in for those that were dropped.
func (h *held) take() []schedules.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	if h.dropped > 0 && len(events) > 0 {
		events[0] = schedules.Event{At: events[0].At, Kind: "log", Level: "warn", Message: fmt.Sprintf("%d earlier lines were dropped: more than the store took", h.dropped+1)}
	}
	h.events, h.dropped = nil, 0
	return events
}

// putBack makes events that the store did not take wait again; the oldest make room.
func (h *held) putBack(events []schedules.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(events, h.events...)
	if over := len(h.events) - maxEvents; over > 0 {
		h.events, h.dropped = slices.Delete(h.events, 0, over), h.dropped+over
	}
}

// flush hands waiting events to the store. Those it does not take wait on.
func (w *Worker) flush(ctx context.Context, h *held) {
	h.flushing.Lock()
	defer h.flushing.Unlock()
	events := h.take()
	if len(events) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	if err := w.cfg.Store.AppendEvents(ctx, h.run.ID, events...); err != nil && !errors.Is(err, store.ErrNotFound) {
		h.log().Debug("events wait for the store", "error", err)
		h.putBack(events)
	}
}

// flushes hands events of running runs to the store several times a second, so that they can be followed.
func (w *Worker) flushes(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, h := range w.holding() {
			if !isClosed(h.over) { // else they go with the outcome
				w.flush(ctx, h)
			}
		}
	}
}
