package redisstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// groupFlights is how many round trips of single calls are under way at a time: enough that the server has something to do while answers travel, and few
	// enough that calls gather behind them.
	groupFlights = 3
	// groupTimeout ends the round trip of a group; its callers may have given up before.
	groupTimeout = 10 * time.Second
)

// group lets calls of many goroutines share round trips: those that come while groupFlights are under way wait for the end of one and go together. A call that
// meets no others goes at once, so nothing is slower for it. What a caller that gave up had asked for may happen all the same, as with any call whose answer is
// lost.
type group struct {
	run func(ctx context.Context, calls []call, replies []reply)

	mu      sync.Mutex
	flying  int
	waiting []*passenger
}

// passenger is a call on its way.
type passenger struct {
	call  call
	reply reply
	ctx   context.Context
	done  chan struct{}
}

// do runs one call. It may run twice, as all scripts.
func (g *group) do(ctx context.Context, c call) reply {
	g.mu.Lock()
	if g.flying < groupFlights {
		g.flying++
		g.mu.Unlock()
		var replies [1]reply
		g.run(ctx, []call{c}, replies[:])
		g.land()
		return replies[0]
	}
	p := &passenger{call: c, ctx: ctx, done: make(chan struct{})}
	g.waiting = append(g.waiting, p)
	g.mu.Unlock()
	select {
	case <-p.done:
		return p.reply
	case <-ctx.Done():
		return reply{err: ctx.Err()}
	}
}

// land ends a round trip; those that wait begin the next.
func (g *group) land() {
	g.mu.Lock()
	n := min(len(g.waiting), pipelined)
	if n == 0 {
		g.flying--
		g.mu.Unlock()
		return
	}
	together := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	go g.fly(together)
}

// fly runs the calls of those that have not given up. It ends when all of them have.
func (g *group) fly(together []*passenger) {
	defer g.land()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(together[0].ctx), groupTimeout)
	defer cancel()
	calls := make([]call, len(together))
	var gone atomic.Int64
	for i, p := range together {
		calls[i] = p.call
		defer context.AfterFunc(p.ctx, func() {
			if gone.Add(1) == int64(len(together)) {
				cancel()
			}
		})()
	}
	replies := make([]reply, len(calls))
	g.run(ctx, calls, replies)
	for i, p := range together {
		p.reply = replies[i]
		close(p.done)
	}
}
