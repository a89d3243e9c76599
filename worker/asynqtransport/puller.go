package asynqtransport

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pullMost is how many tasks are taken in one round trip.
	pullMost = 32
	// asynqPause is how long asynq pauses after it found nothing, by half more or less: its question waited for something to come before.
	asynqPause = time.Millisecond
	// putBackLimit bounds putting back what was taken and not handed on.
	putBackLimit = 2 * time.Second
)

// requeueCmd puts a task that is active back to the head of those that wait, as asynq does.
//
// KEYS[1]: asynq:{<queue>}:active, KEYS[2]: asynq:{<queue>}:lease, KEYS[3]: asynq:{<queue>}:pending, KEYS[4]: the task's record. ARGV: the task's id; the time in
// nanoseconds.
var requeueCmd = redis.NewScript(`
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then
	return 0
end
redis.call("ZREM", KEYS[2], ARGV[1])
redis.call("HSET", KEYS[4], "state", "pending", "pending_since", ARGV[2])
redis.call("RPUSH", KEYS[3], ARGV[1])
return 1`)

// puller is the client of one asynq server. asynq asks for one task at a time, and where there is none again and again. Here its question takes as many as the
// server has room for, and the next ones are answered from those; where none waits, the answer waits until a sender tells of one, or for a while.
//
// asynq asks in one goroutine, queue by queue; all else it does goes through the link.
type puller struct {
	*link
	ctx         context.Context // of Serve
	queues      int
	concurrency int
	every       time.Duration // between two looks while nobody tells of anything
	woken       chan struct{}
	freed       chan struct{}
	running     atomic.Int64 // handlers under way
	extra       atomic.Int64 // messages in hand beyond one for each handler: of batches
	size        atomic.Int64 // messages of the last task

	mu     sync.Mutex
	handed int64 // tasks that asynq was given and that have not ended
	ahead  []pulled
	idle   int // questions in a row that found nothing
	ask    int // how many tasks the next question asks for, if there is room: twice as many as the last, as long as there are enough
}

// pulled is a task that was taken and not handed on yet.
type pulled struct {
	keys []string
	cmd  *redis.Cmd
}

// EvalSha answers asynq's question for a task, and hands all else on.
func (p *puller) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	if len(keys) != 4 || !strings.HasSuffix(keys[0], ":pending") || !strings.HasSuffix(keys[3], ":lease") {
		return p.link.EvalSha(ctx, sha1, keys, args...)
	}
	if cmd := p.next(keys[0]); cmd != nil {
		return cmd
	}
	if !p.hasRoom() {
		none := evalSha(ctx, sha1, keys, args)
		none.SetErr(redis.Nil)
		return none
	}
	cmds := make([]*redis.Cmd, p.room())
	for i := range cmds {
		cmds[i] = evalSha(ctx, sha1, keys, args)
	}
	p.link.send(ctx, cmds)
	if p.took(keys, cmds) {
		p.await()
	}
	return cmds[0]
}

// next gives a task of the queue that was taken before; nil: there is none.
func (p *puller) next(pending string) *redis.Cmd {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.ahead {
		if t.keys[0] == pending {
			p.ahead = append(p.ahead[:i:i], p.ahead[i+1:]...)
			p.handed++
			return t.cmd
		}
	}
	return nil
}

// free is how many messages could get a slot now.
func (p *puller) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.concurrency - int(p.handed+p.extra.Load()) - len(p.ahead)
}

// hasRoom waits, for a while, until a message could get a slot.
func (p *puller) hasRoom() bool {
	if p.free() > 0 {
		return true
	}
	timer := time.NewTimer(p.every)
	defer timer.Stop()
	for {
		select {
		case <-p.freed:
			if p.free() > 0 {
				return true
			}
		case <-timer.C:
			return p.free() > 0
		case <-p.ctx.Done():
			return false
		}
	}
}

// room is how many tasks asynq could begin with now, if they carry as much as the last.
func (p *puller) room() int {
	free := p.free() / max(1, int(p.size.Load()))
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(1, min(p.ask, free))
}

// took keeps what more was taken than was asked for. It is true when nothing waits in any queue.
func (p *puller) took(keys []string, cmds []*redis.Cmd) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case noTask(cmds[0]):
		p.idle++
	case cmds[0].Err() == nil:
		p.handed++
		p.idle = 0
	}
	p.ask = min(2*len(cmds), pullMost)
	for _, c := range cmds[1:] {
		if c.Err() == nil {
			p.ahead = append(p.ahead, pulled{keys, c})
		}
	}
	if noTask(cmds[len(cmds)-1]) {
		p.ask = 1
	}
	if p.idle < p.queues {
		return false
	}
	p.idle = 0
	p.handed = p.running.Load() // what asynq could not read had no handler
	return len(p.ahead) == 0
}

// await waits until a sender tells of a task, for a while at most.
func (p *puller) await() {
	timer := time.NewTimer(p.every)
	defer timer.Stop()
	select {
	case <-p.woken:
	case <-timer.C:
	case <-p.ctx.Done():
	}
}

// began and ended are told of every handler.
func (p *puller) began() { p.running.Add(1) }

func (p *puller) ended() {
	p.running.Add(-1)
	p.mu.Lock()
	p.handed = max(0, p.handed-1)
	p.mu.Unlock()
	p.tell()
}

// unpacked is told of how many messages a task carries, one of each but the first that has ended.
func (p *puller) unpacked(n int) {
	p.size.Store(int64(n))
	p.extra.Add(int64(n - 1))
}

func (p *puller) one() {
	p.extra.Add(-1)
	p.tell()
}

func (p *puller) tell() {
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// listen is told by senders, until ctx ends. A subscription that is lost is taken up again by the client; meanwhile there are the looks.
func (p *puller) listen(ctx context.Context) {
	sub := p.Subscribe(ctx, p.channel)
	defer func() { _ = sub.Close() }()
	ch := sub.Channel(redis.WithChannelSize(16))
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-ch:
			if !ok {
				return
			}
			select {
			case p.woken <- struct{}{}:
			default:
			}
		}
	}
}

// putBack gives back what was taken and not handed on; asynq has stopped asking.
func (p *puller) putBack() {
	p.mu.Lock()
	left := p.ahead
	p.ahead = nil
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), putBackLimit)
	defer cancel()
	for _, t := range left {
		text, _ := t.cmd.Text()
		id := string(fieldOf([]byte(text), 3))
		if id == "" {
			continue // asynq's own look at leases that have run out finds it
		}
		prefix := strings.TrimSuffix(t.keys[0], "pending")
		_ = requeueCmd.Run(ctx, p.link.UniversalClient, []string{prefix + "active", t.keys[3], t.keys[0], prefix + "t:" + id}, id, time.Now().UnixNano()).Err() // else the same
	}
}
