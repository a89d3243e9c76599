package asynqtransport

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"
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
	running     atomic.Int64 // handlers under way

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

// room is how many tasks asynq could begin with now.
func (p *puller) room() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(1, min(p.ask, p.concurrency-int(p.handed)-len(p.ahead)))
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
	defer p.mu.Unlock()
	p.handed = max(0, p.handed-1)
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
		id, ok := idOf([]byte(text))
		if !ok {
			continue // asynq's own look at leases that have run out finds it
		}
		prefix := strings.TrimSuffix(t.keys[0], "pending")
		_ = requeueCmd.Run(ctx, p.link.UniversalClient, []string{prefix + "active", t.keys[3], t.keys[0], prefix + "t:" + id}, id, time.Now().UnixNano()).Err() // else the same
	}
}

// idOf reads the id of a task as asynq encodes it: field 3 of a protobuf message.
func idOf(b []byte) (string, bool) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", false
		}
		b = b[n:]
		if number == 3 && kind == protowire.BytesType {
			id, n := protowire.ConsumeBytes(b)
			return string(id), n >= 0
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return "", false
		}
		b = b[n:]
	}
	return "", false
}
