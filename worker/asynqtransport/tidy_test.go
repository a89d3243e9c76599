package asynqtransport_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

var (
	_ beat.Dropper = (*asynqtransport.Transport)(nil)
	_ beat.Tidier  = (*asynqtransport.Transport)(nil)
)

// broken is a namespace whose queue "default" a test damages.
type broken struct {
	t      *testing.T
	c      redis.UniversalClient
	tr     *asynqtransport.Transport
	log    *logged
	name   string // of the queue, in asynq
	prefix string // of its keys
}

// newBroken gives leases no grace and lets everything be checked at once.
func newBroken(t *testing.T, server *redistest.Server, ns string) *broken {
	t.Helper()
	b := &broken{t: t, c: server.Client(t), log: &logged{}, name: "pyworkflow:" + ns + ":default"}
	b.prefix = "asynq:{" + b.name + "}:"
	var err error
	b.tr, err = asynqtransport.New(asynqtransport.Config{Client: server.Client(t), Namespace: ns, LeaseGrace: time.Millisecond, SettleTime: 100 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(b.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// do sends commands, with the queue's prefix before each key.
func (b *broken) do(commands ...string) {
	b.t.Helper()
	for _, line := range commands {
		var args []any
		for _, w := range strings.Fields(strings.ReplaceAll(line, "@", b.prefix)) {
			args = append(args, w)
		}
		if err := b.c.Do(b.t.Context(), args...).Err(); err != nil {
			b.t.Fatalf("%s: %v", line, err)
		}
	}
}

// receive takes the oldest message as a worker does that dies then; its lease ended long ago.
func (b *broken) receive() {
	b.t.Helper()
	id, err := b.c.RPopLPush(b.t.Context(), b.prefix+"pending", b.prefix+"active").Result()
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("ZADD @lease 1000 "+id, "HSET @t:"+id+" state active", "HDEL @t:"+id+" pending_since")
}

// tidyUntil tidies until cond holds.
func (b *broken) tidyUntil(what string, cond func() bool) {
	b.t.Helper()
	eventually(b.t, what, func() bool {
		if err := b.tr.Tidy(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		return cond()
	})
}

// holds lists what is in the queue: keys without the prefix, and ids.
func (b *broken) holds() []string { return holds(b.t, b.c, b.prefix) }

func holds(t *testing.T, c redis.UniversalClient, prefix string) (all []string) {
	t.Helper()
	glob := strings.NewReplacer("{", `\{`, "}", `\}`).Replace(prefix) + "*"
	for it := c.Scan(t.Context(), 0, glob, 1000).Iterator(); it.Next(t.Context()); {
		key := strings.TrimPrefix(it.Val(), prefix)
		switch key {
		case "active", "pending":
			for _, id := range c.LRange(t.Context(), it.Val(), 0, -1).Val() {
				all = append(all, key+" "+id)
			}
		case "lease", "retry", "scheduled", "archived":
			for _, id := range c.ZRange(t.Context(), it.Val(), 0, -1).Val() {
				all = append(all, key+" "+id)
			}
		default:
			if strings.HasPrefix(key, "t:") {
				all = append(all, key)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestWhatIsDropped(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	b := newBroken(t, server, ns)
	var all []store.Message
	for i := range 8 {
		all = append(all, msg("default", i))
	}
	dispatchEach(t, b.tr, all...)
	b.do("LREM @pending 0 run_001:1", "LPUSH @active run_001:1", "ZADD @lease 1 run_001:1", "HSET @t:run_001:1 state active",
		"LREM @pending 0 run_002:1", "ZADD @retry 1 run_002:1", "HSET @t:run_002:1 state retry",
		"LREM @pending 0 run_003:1", "ZADD @scheduled 1 run_003:1", "HSET @t:run_003:1 state scheduled",
		"LREM @pending 0 run_004:1", "ZADD @archived 1 run_004:1", "HSET @t:run_004:1 state archived",
		"LREM @pending 0 run_005:1", // the record of a task in no list
		"DEL @t:run_006:1")          // a task without a record
	if err := b.tr.Drop(t.Context(), append(slices.Clone(all[:7]), msg("default", 99), msg("never", 1))...); err != nil {
		t.Fatal(err)
	}
	if got, want := b.holds(), []string{"pending run_007:1", "t:run_007:1"}; !slices.Equal(got, want) {
		t.Errorf("left: %q; want %q", got, want)
	}
	b.do("DEL @pending", "SET @pending text")
	if err := b.tr.Drop(t.Context(), all[7]); err == nil || !strings.Contains(err.Error(), "drop messages of queue default") {
		t.Errorf("a list that is none: %v", err)
	}
}

// What waits nowhere is removed, and what waits somewhere is not, on one server as on a cluster.
func TestRecordsThatWaitNowhereAreRemoved(t *testing.T) {
	ns := redistest.Namespace(t)
	alone := newBroken(t, redistest.Shared(t), ns)
	cluster := redistest.StartCluster(t, 3)
	spread := &broken{t: t, c: cluster.Client(t), log: &logged{}, name: alone.name, prefix: alone.prefix}
	var err error
	if spread.tr, err = asynqtransport.New(asynqtransport.Config{Client: cluster.Client(t), Namespace: ns}); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*broken{"alone": alone, "cluster": spread} {
		var all []store.Message
		for i := range 7 {
			all = append(all, msg("default", i))
		}
		dispatchEach(t, b.tr, append(all, msg("other", 1))...)
		b.do("DEL @pending", "RPUSH @pending run_000:1", "RPUSH @active run_001:1", "ZADD @lease 9999999999 run_001:1", "ZADD @scheduled 1 run_002:1",
			"ZADD @retry 1 run_003:1", "ZADD @archived 1 run_004:1", "ZADD @completed 1 run_005:1", "HSET @t:junk msg x")
		b.tidyUntil(name+": what waits nowhere is gone", func() bool {
			return b.c.Exists(t.Context(), b.prefix+"t:run_006:1").Val()+b.c.Exists(t.Context(), b.prefix+"t:junk").Val() == 0
		})
		for i := range 6 {
			if key := fmt.Sprintf("%st:run_%03d:1", b.prefix, i); b.c.Exists(t.Context(), key).Val() != 1 {
				t.Errorf("%s: %s is gone", name, key)
			}
		}
		if other := strings.Replace(b.prefix, "default", "other", 1) + "t:run_001:1"; b.c.Exists(t.Context(), other).Val() != 1 {
			t.Errorf("%s: a message of another queue, which waits, is gone", name)
		}
	}
}

// A drop costs little however many wait: what it leaves is removed once it was received.
func TestDropDoesNotSearchALongQueue(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	m := msg("default", 1)
	dispatch(t, b.tr, m)
	_, err := b.c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range 1500 {
			p.LPush(t.Context(), b.prefix+"pending", fmt.Sprint("run_other:", i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.tr.Drop(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b.receive()
	b.do("DEL @pending")
	b.tidyUntil("nothing is left", func() bool { return len(b.holds()) == 0 })
}

func TestDamageIsTidied(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage []string
		left   []string // nil: the message of a dead worker, which is there before
		says   string   // in the log
	}{
		{name: "asynq cannot read it, and its worker's lease ran out", damage: []string{"LPUSH @active junk", "ZADD @lease 1000 junk", "HSET @t:junk msg \x00\xff state active"},
			says: "level=WARN msg=\"task that no worker has is removed\" queue=default task=junk reason=\"asynq cannot read it\""},
		{name: "asynq cannot read it, without a lease", damage: []string{"LPUSH @active junk", "HSET @t:junk msg \x00\xff state active"}, says: "asynq cannot read it"},
		{name: "another type, as it is when a worker's script ended half-way", damage: []string{"LPUSH @active junk", "SET @t:junk text"}, says: "asynq cannot read it"},
		{name: "no state", damage: []string{"LPUSH @active junk", "HSET @t:junk msg \x00", "ZADD @lease 1000 junk"}, says: "asynq cannot read it"},
		{name: "a record that asynq wrote anew without content", damage: []string{"LPUSH @active run_002:1", "ZADD @lease 1000 run_002:1", "HSET @t:run_002:1 state active"},
			says: "level=INFO msg=\"task that no worker has is removed\" queue=default task=run_002:1 reason=\"it has no content\""},
		{name: "no record", damage: []string{"LPUSH @active run_002:1", "ZADD @lease 1000 run_002:1"}, says: "it has no content"},
		{name: "no record and no lease", damage: []string{"LPUSH @active run_002:1"}, says: "it has no content"},
		{name: "a lease of nothing", damage: []string{"ZADD @lease 1000 run_002:1"}, says: "it is not active any more"},
		{name: "the active list lost", damage: []string{"DEL @active"}, left: []string{}, says: "it is not active any more"},
		{name: "a lease of what waits", damage: []string{"DEL @active", "LPUSH @pending run_001:1", "HSET @t:run_001:1 state pending"},
			left: []string{"pending run_001:1", "t:run_001:1"}, says: "it is not active any more"},
		{name: "another task's content", damage: []string{"RENAME @t:run_001:1 @t:run_002:1", "LPUSH @active run_002:1", "ZADD @lease 1000 run_002:1", "LREM @active 0 run_001:1", "ZREM @lease run_001:1"},
			left: []string{}, says: "its content names another task"},
		{name: "a message that asynq can put back"},
		{name: "that, with its lease lost", damage: []string{"DEL @lease"}, says: "it gets one"},
		{name: "what asynq cannot read, while its lease lasts", damage: []string{"HSET @t:run_001:1 msg \x00\xff", "ZADD @lease 9999999999 run_001:1"}},
		{name: "no record, while its lease lasts", damage: []string{"DEL @t:run_001:1", "ZADD @lease 9999999999 run_001:1"}, left: []string{"active run_001:1", "lease run_001:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
			if c.left == nil { // nobody touches the message of a dead worker
				c.left = []string{"active run_001:1", "lease run_001:1", "t:run_001:1"}
			}
			dispatch(t, b.tr, msg("default", 1))
			b.receive()
			b.do(c.damage...)
			if c.says != "" {
				b.tidyUntil("it is told what is done", func() bool { return strings.Contains(b.log.String(), c.says) })
			}
			for range 3 {
				if err := b.tr.Tidy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.holds(); !slices.Equal(got, c.left) {
				t.Errorf("left: %q; want %q", got, c.left)
			}
			if c.says == "" && strings.Contains(b.log.String(), "task") {
				t.Errorf("told: %s", b.log)
			}
		})
	}
}

// A worker may renew a lease, or be done, between Tidy's look and what it does.
func TestWhatChangedSinceTheLookIsLeftAlone(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	dispatch(t, b.tr, msg("default", 1))
	b.receive()
	b.do("ZADD @lease 2001 run_001:1")
	if ids, err := asynqtransport.Remove(b.tr, t.Context(), b.name, time.Unix(2000, 0), []string{"run_001:1"}); err != nil || len(ids) > 0 {
		t.Errorf("removed %v, %v, though its lease was renewed", ids, err)
	}
	if ids, err := asynqtransport.Adopt(b.tr, t.Context(), b.name, time.Now(), []string{"run_002:1", "run_001:1"}); err != nil || len(ids) > 0 {
		t.Errorf("a lease for %v, %v, of which one is done and one has a lease", ids, err)
	}
	if got, want := b.holds(), []string{"active run_001:1", "lease run_001:1", "t:run_001:1"}; !slices.Equal(got, want) {
		t.Errorf("left: %q; want %q", got, want)
	}
	if ids, err := asynqtransport.Remove(b.tr, t.Context(), b.name, time.Unix(2001, 0), []string{"run_001:1"}); err != nil || !slices.Equal(ids, []string{"run_001:1"}) || len(b.holds()) > 0 {
		t.Errorf("removed %v, %v; left %q", ids, err, b.holds())
	}
}

// Damage far behind what asynq itself can deal with is reached.
func TestTidyGoesRound(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	var all []store.Message
	for i := range 1200 {
		all = append(all, msg("default", i))
	}
	dispatchEach(t, b.tr, all...)
	for range all {
		b.receive()
	}
	b.do("ZADD @lease 1001 last", "RPUSH @active last", "HSET @t:last msg \x00\xff state active", "ZREM @lease run_000:1")
	n := 0
	b.tidyUntil("the last is removed, the first has a lease", func() bool {
		n++
		held := b.holds()
		return !slices.Contains(held, "t:last") && !slices.Contains(held, "active last") && slices.Contains(held, "lease run_000:1")
	})
	if n > 4 {
		t.Errorf("it took %d looks", n)
	}
	if got := len(b.holds()); got != 3*len(all) {
		t.Errorf("%d entries are left; want %d", got, 3*len(all))
	}
}

func TestStrangersQueuesAreNotTidied(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	b := newBroken(t, server, ns)
	dispatch(t, b.tr, msg("default", 1))
	for _, queue := range []string{"pyworkflow:" + ns + "-other:default", "pyworkflow:" + ns, "default"} {
		prefix := "asynq:{" + queue + "}:"
		own := "junk-" + ns
		t.Cleanup(func() { b.c.Del(context.WithoutCancel(t.Context()), prefix+"t:"+own) })
		b.do("SADD asynq:queues "+queue, "LPUSH "+prefix+"active "+own, "ZADD "+prefix+"lease 1000 "+own, "HSET "+prefix+"t:"+own+" msg \xff state active")
		if err := b.tr.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := holds(t, b.c, prefix), []string{"active " + own, "lease " + own, "t:" + own}; !slices.Equal(got, want) {
			t.Errorf("queue %s: left %q; want %q", queue, got, want)
		}
		b.do("LREM "+prefix+"active 0 "+own, "ZREM "+prefix+"lease "+own, "SREM asynq:queues "+queue)
	}
}

// What is undecodable keeps asynq from putting back what dead workers had; without it the next worker gets it.
func TestADeadWorkersMessageComesBackDespiteDamage(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	m := msg("default", 1)
	dispatch(t, b.tr, m)
	b.receive()
	b.do("LPUSH @active junk", "ZADD @lease 1000 junk", "HSET @t:junk msg \x00\xff state active")
	b.tidyUntil("the damage is gone", func() bool { return len(b.holds()) == 3 })
	got := make(chan store.Message, 1)
	stop := serve(t, b.tr, map[string]int{"default": 1}, 1, func(_ context.Context, m store.Message) error {
		got <- m
		return nil
	})
	select {
	case again := <-got:
		if again != m {
			t.Errorf("got %v", again)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody got it")
	}
	stop()
	if left := b.holds(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A message that is handled for long is left alone, whatever else is damaged.
func TestAMessageUnderWayIsLeftAlone(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	stop := serve(t, b.tr, map[string]int{"default": 1}, 2, func(context.Context, store.Message) error {
		begun <- struct{}{}
		<-goOn
		return nil
	})
	dispatch(t, b.tr, msg("default", 1))
	<-begun
	b.do("DEL @lease", "LPUSH @pending junk", "HSET @t:junk msg \x00\xff state pending")
	lasts := func(s time.Duration) func() bool {
		return func() bool {
			until, err := b.c.ZScore(t.Context(), b.prefix+"lease", "run_001:1").Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Fatal(err)
			}
			return until >= float64(time.Now().Add(s).Unix())
		}
	}
	// A worker renews only leases that there are. (No grace is given here: the worker has five seconds less than it would have.)
	b.tidyUntil("its worker renews the lease that it was given back", lasts(20*time.Second))
	if got := b.holds(); !slices.Contains(got, "active run_001:1") || !slices.Contains(got, "t:run_001:1") {
		t.Errorf("taken from its worker: %q", got)
	}
	b.do("HDEL @t:run_001:1 msg") // asynq does not read it again while it is handled
	for range 3 {
		if err := b.tr.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.holds(); !slices.Contains(got, "active run_001:1") || !slices.Contains(got, "lease run_001:1") {
		t.Errorf("taken from its worker: %q", got)
	}
	b.do("ZADD @lease XX 1000 junk")
	close(goOn)
	b.tidyUntil("nothing is left", func() bool { return len(b.holds()) == 0 })
	stop()
}

// asynq forgets a task in steps; without a lease it stops half-way.
func TestWhatIsDealtWithIsForgotten(t *testing.T) {
	for _, what := range []string{"while serving", "at the end"} {
		t.Run(what, func(t *testing.T) {
			b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
			begun, goOn := make(chan struct{}), make(chan struct{})
			stop := serve(t, b.tr, map[string]int{"default": 1}, 10, func(context.Context, store.Message) error {
				begun <- struct{}{}
				<-goOn
				return nil
			})
			for i := range 10 {
				dispatch(t, b.tr, msg("default", i))
				<-begun
			}
			b.do("DEL @lease")
			close(goOn)
			if what == "at the end" {
				stop()
				if left := b.holds(); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
				return
			}
			eventually(t, "nothing is left", func() bool { return len(b.holds()) == 0 })
			if !strings.Contains(b.log.String(), "what was left of a task is removed") {
				t.Errorf("not told: %s", b.log)
			}
		})
	}
}

func TestLookSeesThatListsWereLost(t *testing.T) {
	b := newBroken(t, redistest.Shared(t), redistest.Namespace(t))
	m := msg("default", 1)
	is := func(what string, want store.MessageState) {
		t.Helper()
		if got := look(t, b.tr, m)[0]; got != want {
			t.Errorf("%s: the message is %s; want %s", what, got, want)
		}
	}
	dispatch(t, b.tr, m)
	b.do("SREM asynq:queues " + b.name)
	is("asynq's list of queues lost", store.MessageQueued)
	if known, err := b.c.SIsMember(t.Context(), "asynq:queues", b.name).Result(); err != nil || !known {
		t.Errorf("the queue is not listed again: %v, %v", known, err)
	}
	b.do("DEL @pending")
	dispatch(t, b.tr, msg("default", 2))
	is("list of waiting tasks lost, another waits", store.MessageActive)
	for i := range 1001 {
		b.do(fmt.Sprint("LPUSH @pending other:", i))
	}
	is("among many that wait", store.MessageQueued)
	b.do("HSET @t:run_001:1 state retry", "ZADD @retry 9999999999 run_001:1")
	is("to be tried again", store.MessageQueued)
	b.do("DEL @retry")
	is("list of what is to be tried again lost", store.MessageActive)
	b.do("HSET @t:run_001:1 state scheduled", "ZADD @scheduled 9999999999 run_001:1")
	is("scheduled", store.MessageQueued)
	b.do("DEL @scheduled")
	is("list of what is scheduled lost", store.MessageActive)
	b.do("HDEL @t:run_001:1 state")
	is("no state", store.MessageGone)
	b.do("SET @t:run_001:1 text")
	is("another type", store.MessageGone)
	if n, err := b.c.Exists(t.Context(), b.prefix+"t:run_001:1").Result(); err != nil || n != 0 {
		t.Errorf("what cannot be read is left: %d, %v", n, err)
	}
}

// Runs get through whatever becomes of their messages, and leave nothing behind.
func TestDamagedQueueIsEmptyInTheEnd(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	b := newBroken(t, server, ns)
	goOn := make(chan struct{})
	begun := make(chan struct{}, 20)
	def := pyworkflow.Define("w", func(ctx context.Context, n int) (int, error) {
		if n == 0 { // it keeps the only slot while others wait
			begun <- struct{}{}
			<-goOn
		}
		return n, nil
	})
	h := newHost(t, server, ns, "host:1:x", time.Second, def)
	k, err := beat.NewKeeper(beat.KeeperConfig{Store: h.store, Engine: h.eng, Looker: b.tr, TidyInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	inspector := asynq.NewInspectorFromRedisClient(b.c)
	ids := []string{h.submit("w", "0")}
	<-begun
	if err := inspector.PauseQueue(b.name); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		ids = append(ids, h.submit("w", fmt.Sprint(i+1)))
	}
	b.do("LREM @pending 0 "+ids[1]+":1", "LREM @pending 0 "+ids[2]+":1", "DEL @t:"+ids[3]+":1", "HSET @t:"+ids[4]+":1 msg \x00\xff",
		"HDEL @t:"+ids[5]+":1 msg", "DEL @lease")
	if err := inspector.UnpauseQueue(b.name); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	for _, id := range ids {
		deadline := time.Now().Add(time.Minute)
		for run := (schedules.Run{}); run.Status != schedules.RunCompleted; {
			if time.Now().After(deadline) {
				t.Fatalf("run %s is %s under dispatch %d", id, run.Status, run.Dispatch)
			}
			run = h.until(id, "there", func(schedules.Run) bool { return true })
		}
	}
	eventually(t, "leases run out", func() bool { // asynq gives them 30 s
		for _, id := range b.c.ZRange(t.Context(), b.prefix+"lease", 0, -1).Val() {
			b.do("ZADD @lease XX 1000 " + id)
		}
		return len(b.holds()) == 0
	})
}
