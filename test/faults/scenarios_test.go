//go:build unix

package faults

import (
	"context"
	"fmt"
	"time"
)

// scenario is a kind of fault in a world made for it.
type scenario struct {
	name      string
	kind      int           // which of the seven kinds of fault; 0: mixed
	lasts     time.Duration // at the least, to make room for its faults
	full      bool          // not in the short form
	many      int           // schedules; 0: what the form says
	ownClocks bool          // processes have clocks of their own
	build     func(w *world)
	// begin starts processes before there are schedules, breaks starts the faults, after looks at what the checker cannot know of, while processes are alive.
	begin  func(ctx context.Context, w *world)
	breaks func(ctx context.Context, w *world)
	after  func(ctx context.Context, w *world)
}

// crew starts two beats, three workers, and a worker with a beat inside.
func crew(_ context.Context, w *world) {
	for i := range 2 {
		w.add(fmt.Sprintf("beat%d", i), beatRole, nil)
	}
	for i := range 3 {
		w.add(fmt.Sprintf("worker%d", i), workerRole, nil, "--concurrency", "30", "--drain-timeout", "5s")
	}
	w.add("both", bothRole, nil, "--concurrency", "30", "--drain-timeout", "5s")
}

var scenarios = []scenario{
	{name: "kills", kind: 1, lasts: 20 * time.Second, breaks: func(_ context.Context, w *world) {
		w.armAll("kill", 0.002)
		w.kills(time.Second, 4*time.Second)
		w.stops(4*time.Second, 8*time.Second)
	}},
	{name: "handover", kind: 1, lasts: 30 * time.Second, breaks: func(_ context.Context, w *world) {
		// One beat at a time, so that it can be told what its loss costs.
		killed := false
		w.until(6*time.Second, 7*time.Second, func() {
			if killed = !killed; !killed {
				w.stopOne()
			} else if p := w.some(beatRole); p != nil {
				p.kill("at random")
			}
		})
	}},
	{name: "zombies", kind: 2, lasts: 35 * time.Second, breaks: func(_ context.Context, w *world) {
		w.armAll("freeze", 0.0003)
		w.freezes(3*time.Second, 6*time.Second)
		w.kills(8*time.Second, 12*time.Second) // gives rise to armed ones
	}},
	{name: "redis", kind: 3, lasts: 35 * time.Second, breaks: func(_ context.Context, w *world) { w.breakRedis(w.lasts > time.Minute) }},
	{name: "asynq", kind: 5, lasts: 15 * time.Second, breaks: func(ctx context.Context, w *world) { w.damageAsynq(ctx) }},
	{name: "mixed", kind: 0, lasts: 30 * time.Second, breaks: func(ctx context.Context, w *world) {
		w.armAll("kill", 0.001)
		w.kills(2*time.Second, 6*time.Second)
		w.freezes(6*time.Second, 10*time.Second)
		w.breakRedis(false)
		w.damageAsynq(ctx)
	}},
	overload, rolling, failover, nodeLost, clocks, hosts,
}
