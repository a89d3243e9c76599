// Package roundtrip lets calls of many goroutines to one server share round trips. It knows nothing of servers and calls.
package roundtrip

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flights is how many round trips are under way at a time: enough that the server has something to do while answers travel, and few enough that calls gather
	// behind them.
	flights = 3
	// most is how many calls go together.
	most = 256
	// limit ends a round trip of calls that met. Their callers may have given up before.
	limit = 10 * time.Second
)

// Group sends calls. A call that meets no others goes at once, so nothing is slower for it; those that come while some round trips are under way wait for the end
// of one and go together. The zero value is not usable: see New.
type Group[C any] struct {
	send func(ctx context.Context, calls []C)

	mu      sync.Mutex
	flying  int
	waiting []*passenger[C]
}

// passenger is a call that waits.
type passenger[C any] struct {
	call C
	ctx  context.Context
	done chan struct{}
}

// New makes a Group. Send makes calls in one round trip, and writes into each what came of it, an error included.
func New[C any](send func(ctx context.Context, calls []C)) *Group[C] {
	return &Group[C]{send: send}
}

// Do makes one call and waits for its end. It fails when ctx ends before: then the call may be made all the same, and must not be looked at.
func (g *Group[C]) Do(ctx context.Context, call C) error {
	g.mu.Lock()
	if g.flying < flights {
		g.flying++
		g.mu.Unlock()
		defer g.land()
		g.send(ctx, []C{call})
		return nil
	}
	p := &passenger[C]{call: call, ctx: ctx, done: make(chan struct{})}
	g.waiting = append(g.waiting, p)
	g.mu.Unlock()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// land ends a round trip; those that wait begin the next.
func (g *Group[C]) land() {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), most)
	if n == 0 {
		g.flying--
		return
	}
	together := g.waiting[:n:n]
	if g.waiting = g.waiting[n:]; len(g.waiting) == 0 {
		g.waiting = nil
	}
	go g.fly(together)
}

// fly makes calls together. It ends when all callers have given up.
func (g *Group[C]) fly(together []*passenger[C]) {
	defer g.land()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(together[0].ctx), limit)
	defer cancel()
	calls := make([]C, len(together))
	var gone atomic.Int64
	for i, p := range together {
		calls[i] = p.call
		defer context.AfterFunc(p.ctx, func() {
			if gone.Add(1) == int64(len(together)) {
				cancel()
			}
		})()
	}
	g.send(ctx, calls)
	for _, p := range together {
		close(p.done)
	}
}
