// Package localtransport carries messages to a worker in the same process, in memory.
//
// Nothing here outlives the process: what was handed over and not executed is found gone by a keeper, which dispatches it anew. Two processes on one store each
// have their own transport and know nothing of the other's messages.
package localtransport

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// Transport is a worker.Transport in memory. The zero value is not usable: see New.
type Transport struct {
	mu     sync.Mutex
	queues map[string]*queue
	states map[key]store.MessageState
	wake   chan struct{} // holds a token when there may be something new to take
	ended  bool          // Serve ends or has ended: nobody takes any more
}

// key is what makes two messages the same.
type key struct {
	runID    string
	dispatch int
}

func keyOf(m store.Message) key { return key{m.RunID, m.Dispatch} }

type queue struct {
	waiting []message
	credit  int
}

// message is one that waits.
type message struct {
	store.Message
	sent time.Time
}

// New makes a Transport. Messages may be handed over before Serve is called.
func New() *Transport {
	return &Transport{queues: make(map[string]*queue), states: make(map[key]store.MessageState), wake: make(chan struct{}, 1)}
}

// Dispatch holds messages in memory until a worker takes them; it never blocks. Once Serve's ctx has ended it takes none: they stay in the outbox
// for another process.
func (t *Transport) Dispatch(_ context.Context, msgs []store.Message) ([]store.Message, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, nil
	}
	for _, m := range msgs {
		if _, known := t.states[keyOf(m)]; known {
			continue
		}
		t.states[keyOf(m)] = store.MessageQueued
		q := t.queue(m.Queue)
		q.waiting = append(q.waiting, message{m, time.Now()})
	}
	t.nudge()
	return msgs, nil
}

func (t *Transport) queue(name string) *queue {
	q := t.queues[name]
	if q == nil {
		q = &queue{}
		t.queues[name] = q
	}
	return q
}

func (t *Transport) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Look says which messages this process has.
func (t *Transport) Look(_ context.Context, msgs ...store.Message) ([]store.MessageState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	states := make([]store.MessageState, len(msgs))
	for i, m := range msgs {
		states[i] = t.states[keyOf(m)]
	}
	return states, nil
}

// places counts the handlers under way.
type places struct {
	row         worker.Row
	concurrency int
	busy        atomic.Int64
	freed       chan struct{} // holds a token when there may be a place
}

// wait waits for a place; false when ctx ends first.
func (p *places) wait(ctx context.Context) bool {
	for ctx.Err() == nil {
		if int(p.busy.Load()) < p.concurrency+p.row.Ahead() {
			return true
		}
		select {
		case <-p.freed:
		case <-ctx.Done():
		}
	}
	return false
}

func (p *places) leave() {
	p.busy.Add(-1)
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// Serve hands messages to handle until ctx ends, then waits for the handlers under way. It may be called once.
func (t *Transport) Serve(ctx context.Context, queues map[string]int, concurrency int, handle worker.Handler) error {
	if concurrency < 1 {
		return errors.New("local transport: concurrency is below 1")
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer t.end() // before the wait: what is dispatched meanwhile is for others
	p := &places{concurrency: concurrency, freed: make(chan struct{}, 1)}
	for {
		if !p.wait(ctx) {
			return nil
		}
		m, ok := t.take(ctx, queues)
		if !ok {
			return nil
		}
		p.busy.Add(1)
		handlers.Go(func() {
			defer p.leave()
			ctx, ended := p.row.Visit(worker.WithSent(ctx, m.sent))
			defer ended()
			// Whether it was taken or not: a message that is not taken belongs to a worker that stops, and no other is in this process.
			defer t.forget(m.Message)
			_ = handle(ctx, m.Message)
		})
	}
}

// take waits for a message of the queues; false when ctx ends first.
func (t *Transport) take(ctx context.Context, queues map[string]int) (message, bool) {
	for {
		if ctx.Err() != nil {
			return message{}, false
		}
		if m, ok := t.next(queues); ok {
			return m, true
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
		}
	}
}

// next takes the first message of the queue whose turn it is: smooth weighted round robin over the queues in which something waits.
func (t *Transport) next(queues map[string]int) (message, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var best *queue
	total := 0
	for _, name := range slices.Sorted(maps.Keys(t.queues)) {
		q := t.queues[name]
		weight := 1
		if queues != nil {
			weight = queues[name]
		}
		if len(q.waiting) == 0 || weight < 1 {
			continue
		}
		q.credit += weight
		total += weight
		if best == nil || q.credit > best.credit {
			best = q
		}
	}
	if best == nil {
		return message{}, false
	}
	best.credit -= total
	m := best.waiting[0]
	best.waiting = best.waiting[1:]
	t.states[keyOf(m.Message)] = store.MessageActive
	return m, true
}

func (t *Transport) forget(m store.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.states, keyOf(m))
}

// end forgets what waits: nobody here will take it.
func (t *Transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	clear(t.queues)
	maps.DeleteFunc(t.states, func(_ key, s store.MessageState) bool { return s == store.MessageQueued })
}
