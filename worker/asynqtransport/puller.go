package asynqtransport

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/worker"
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
	row         worker.Row

	mu      sync.Mutex
	running int // handlers under way
	handed  int // tasks that asynq was given and that have not ended
	extra   int // messages in hand beyond one for each task: of batches
	size    int // messages of the last task
	ahead   []pulled
	idle    int            // questions in a row that found nothing
	ask     map[string]int // by queue, how many tasks the next question asks for, if there is room: twice as many as the last, as long as there are enough
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
	none := evalSha(ctx, sha1, keys, args)
	none.SetErr(redis.Nil)
	if p.ctx.Err() != nil {
		return none
	}
	if cmd := p.next(keys[0]); cmd != nil {
		return cmd
	}
	if !p.hasRoom() {
		return none
	}
	cmds := make([]*redis.Cmd, p.room(keys[0]))
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
			p.idle = 0
			return t.cmd
		}
	}
	return nil
}

// free is how many messages could get a slot now, or soon while runs are short: then at most as many again as there are slots, so that something is left
// for other workers; p.mu is held.
func (p *puller) free() int {
	return p.concurrency + min(p.row.Ahead(), p.concurrency) - p.handed - p.extra - len(p.ahead)
}

// look reports whether a message could get a slot, and whether waiting for one is of use: not while asynq only has to ask another queue.
func (p *puller) look(reconcile bool) (room, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reconcile { // asynq began what it was given long ago, or never will: what it cannot read has no handler
		p.handed = p.running
	}
	return p.free() > 0, len(p.ahead) == 0
}

// hasRoom waits, for a while, until a message could get a slot.
func (p *puller) hasRoom() bool {
	room, wait := p.look(false)
	if room || !wait {
		return room
	}
	timer := time.NewTimer(p.every)
	defer timer.Stop()
	for {
		select {
		case <-p.freed:
			if room, _ := p.look(false); room {
				return true
			}
		case <-timer.C:
			room, _ := p.look(true)
			return room
		case <-p.ctx.Done():
			return false
		}
	}
}

// room is how many tasks of a queue asynq could begin with now, if they carry as much as the last. It begins with no more tasks at a time than there are slots,
// whatever they carry, and what it does not begin with nobody gives back.
func (p *puller) room(pending string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(1, min(p.ask[pending], p.free()/max(1, p.size), p.concurrency-p.handed-len(p.ahead)))
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
	if p.ask == nil {
		p.ask = make(map[string]int)
	}
	p.ask[keys[0]] = min(2*len(cmds), pullMost)
	for _, c := range cmds[1:] {
		if c.Err() == nil {
			p.ahead = append(p.ahead, pulled{keys, c})
		}
	}
	if cmds[len(cmds)-1].Err() != nil {
		p.ask[keys[0]] = 1
	}
	if p.idle < p.queues {
		return false
	}
	p.idle = 0
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
func (p *puller) began() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running++
}

func (p *puller) ended() {
	p.mu.Lock()
	p.running--
	p.handed = max(0, p.handed-1)
	p.mu.Unlock()
	p.tell()
}

// unpacked is told of how many messages a task carries, one of the end of each but the last.
func (p *puller) unpacked(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.extra = n, p.extra+n-1
}

func (p *puller) one() {
	p.mu.Lock()
	p.extra--
	p.mu.Unlock()
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
	if len(left) == 0 {
		return
	}
	for _, t := range slices.Backward(left) { // the oldest comes to stand first
		text, _ := t.cmd.Text()
		id := string(fieldOf([]byte(text), 3))
		if id == "" {
			continue // asynq's own look at leases that have run out finds it
		}
		prefix := strings.TrimSuffix(t.keys[0], "pending")
		_ = requeueCmd.Run(ctx, p.link.UniversalClient, []string{prefix + "active", t.keys[3], t.keys[0], prefix + "t:" + id}, id, time.Now().UnixNano()).Err() // else the same
	}
	_ = p.Publish(ctx, p.channel, "").Err() // who does not hear of it looks
}
