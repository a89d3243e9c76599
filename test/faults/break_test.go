//go:build unix

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pyworkflow-go/pyworkflow/internal/failpoint"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// until does something again and again, with pauses, until faults are to end.
func (w *world) until(least, most time.Duration, do func()) {
	w.faulting.Go(func() {
		for {
			pause(w.mending, w.between(least, most))
			if isClosed(w.mending) {
				return
			}
			do()
		}
	})
}

// armAll gives processes started from now on a chance of each failpoint.
func (w *world) armAll(action string, chance float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range failpoint.All() {
		w.chance[string(p)+"="+action] = chance
	}
}

// kills ends processes at random.
func (w *world) kills(least, most time.Duration) {
	w.until(least, most, func() {
		if p := w.some(beatRole, workerRole, bothRole); p != nil {
			p.kill("at random")
		}
	})
}

// freezes stops a process for longer than its leases, again and again.
func (w *world) freezes(least, most time.Duration) {
	w.until(least, most, func() {
		p := w.some(beatRole, workerRole, bothRole)
		if p == nil {
			return
		}
		thaw := p.freeze("at random")
		w.faulting.Go(func() {
			pause(w.mending, w.between(12*time.Second, 16*time.Second))
			thaw()
		})
	})
}

// stops asks a beat to end, as an operator does, and starts it anew, again and again.
func (w *world) stops(least, most time.Duration) { w.until(least, most, w.stopOne) }

func (w *world) stopOne() {
	p := w.some(beatRole)
	if p == nil {
		return
	}
	p.stop()
	p.mu.Lock()
	left := p.left
	p.mu.Unlock()
	<-left
	p.mu.Lock()
	p.ending = false
	p.mu.Unlock()
	if err := p.start(w.arm(p)); err != nil {
		w.find("crash", "start %s anew: %v", p.name, err)
		return
	}
	p.keep()
}

// redisFault is a way in which Redis fails the processes.
type redisFault struct {
	name  string
	long  bool          // too long for the short form
	lasts time.Duration // 0: an instant
	begin func(w *world)
	end   func(w *world)
}

var redisFaults = []redisFault{
	{name: "killed and restarted", lasts: 2 * time.Second,
		begin: func(w *world) { w.server.Kill() }, end: func(w *world) { w.server.Restart() }},
	{name: "away for longer than a run lease", long: true, lasts: 14 * time.Second,
		begin: func(w *world) { w.server.Kill() }, end: func(w *world) { w.server.Restart() }},
	{name: "frozen", lasts: 4 * time.Second,
		begin: func(w *world) { w.server.Pause() }, end: func(w *world) { w.server.Resume() }},
	{name: "connections cut", lasts: 3 * time.Second,
		begin: func(w *world) { w.forBeat.Cut(); w.forWork.Cut() }, end: func(w *world) { w.forBeat.Mend(); w.forWork.Mend() }},
	{name: "workers cut off", long: true, lasts: 12 * time.Second,
		begin: func(w *world) { w.forWork.Cut() }, end: func(w *world) { w.forWork.Mend() }},
	{name: "beats cut off", lasts: 4 * time.Second,
		begin: func(w *world) { w.forBeat.Cut() }, end: func(w *world) { w.forBeat.Mend() }},
	{name: "slow", lasts: 4 * time.Second,
		begin: func(w *world) {
			w.forBeat.Delay(40*time.Millisecond, 30*time.Millisecond)
			w.forWork.Delay(40*time.Millisecond, 30*time.Millisecond)
		},
		end: func(w *world) { w.forBeat.Mend(); w.forWork.Mend() }},
	{name: "half open", lasts: 5 * time.Second,
		begin: func(w *world) { w.forBeat.HalfOpen(); w.forWork.HalfOpen() }, end: func(w *world) { w.forBeat.Mend(); w.forWork.Mend() }},
	{name: "reset mid-reply", lasts: 3 * time.Second,
		begin: func(w *world) { w.forBeat.ResetMidReply(300); w.forWork.ResetMidReply(3000) }, end: func(w *world) { w.forBeat.Mend(); w.forWork.Mend() }},
	{name: "replies lost", lasts: 3 * time.Second,
		begin: func(w *world) { w.forBeat.LoseReplies(); w.forWork.LoseReplies() }, end: func(w *world) { w.forBeat.Mend(); w.forWork.Mend() }},
	{name: "CLIENT KILL", begin: func(w *world) { w.server.KillClients() }},
	{name: "SCRIPT FLUSH", begin: func(w *world) { w.server.FlushScripts() }},
	{name: "BUSY", begin: func(w *world) { w.server.Busy(2 * time.Second) }},
	{name: "out of memory", lasts: 3 * time.Second,
		begin: func(w *world) { w.server.FillMemory() }, end: func(w *world) { w.server.SetMaxMemory(0) }},
	{name: "read-only", lasts: 3 * time.Second,
		begin: func(w *world) { w.server.ReadOnly() }, end: func(w *world) { w.server.Writable() }},
}

// breakRedis lets Redis fail in every way, in an order of the seed's.
func (w *world) breakRedis(long bool) {
	w.faulting.Go(func() {
		w.mu.Lock()
		order := rand.New(rand.NewPCG(w.seed, 1)).Perm(len(redisFaults))
		w.mu.Unlock()
		for {
			for _, i := range order {
				f := redisFaults[i]
				if f.long && !long {
					continue
				}
				pause(w.mending, w.between(1500*time.Millisecond, 3*time.Second))
				if isClosed(w.mending) {
					return
				}
				w.redisFails(f)
			}
		}
	})
}

func (w *world) redisFails(f redisFault) {
	w.hit("redis: " + f.name)
	end := w.fault(check.FaultRedis, 0, f.name)
	f.begin(w)
	pause(w.mending, f.lasts)
	if f.end != nil {
		f.end(w)
	}
	end()
}

// damageAsynq spoils what asynq keeps.
func (w *world) damageAsynq(ctx context.Context) {
	queue := "pyworkflow:" + w.namespace + ":default"
	prefix := "asynq:{" + queue + "}:"
	inspector := asynq.NewInspectorFromRedisClient(w.redis)
	w.until(300*time.Millisecond, 900*time.Millisecond, func() {
		// In a paused queue messages wait, to be damaged.
		what, err := "queue paused", inspector.PauseQueue(queue)
		if err == nil {
			pause(w.mending, w.between(200*time.Millisecond, 1500*time.Millisecond))
			defer func() {
				for inspector.UnpauseQueue(queue) != nil { // Redis may be away, too
					pause(w.over, 100*time.Millisecond)
				}
			}()
		}
		switch w.draw(6) {
		case 0, 1:
			what = "task keys deleted"
			keys, _, scanErr := w.redis.Scan(ctx, 0, prefix+"t:*", 1000).Result()
			if err = scanErr; err == nil && len(keys) > 0 {
				w.mu.Lock()
				w.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
				w.mu.Unlock()
				err = w.redis.Del(ctx, keys[:min(len(keys), 5)]...).Err()
			}
		case 2: // paused, and nothing else
		case 3:
			what = "lease entries gone"
			err = w.redis.Del(ctx, prefix+"lease").Err()
		case 4:
			what = "undecodable message"
			id := fmt.Sprintf("junk%d", w.draw(1_000_000))
			if err = w.redis.HSet(ctx, prefix+"t:"+id, "msg", "\x00\xffnot a message", "state", "pending").Err(); err == nil {
				err = w.redis.LPush(ctx, prefix+"pending", id).Err()
			}
		case 5:
			what = "pending list lost"
			err = w.redis.Del(ctx, prefix+"pending").Err()
		}
		if err != nil {
			if !w.away() {
				w.find("crash", "asynq, %s: %v", what, err)
			}
			return
		}
		w.fault(check.FaultAsynq, 0, what)()
		w.hit("asynq: " + what)
	})
}
