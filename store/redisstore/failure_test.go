package redisstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// proxy stands between client and server, and can swallow an answer and hang up.
type proxy struct {
	listener net.Listener
	server   string
	swallow  atomic.Bool  // the next answer
	accepted atomic.Int64 // connections so far
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.hangUp()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		server, err := net.Dial("tcp4", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		hang := func() {
			_ = client.Close()
			_ = server.Close()
		}
		p.wg.Go(func() {
			defer hang()
			_, _ = io.Copy(server, client)
		})
		p.wg.Go(func() {
			defer hang()
			buf := make([]byte, 64<<10)
			for {
				n, err := server.Read(buf)
				if n > 0 && p.swallow.CompareAndSwap(true, false) {
					return
				}
				if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, c *redis.Client, command string) int {
	t.Helper()
	text, err := c.Info(t.Context(), "commandstats").Result()
	must(t, err)
	_, rest, _ := strings.Cut(text, "cmdstat_"+command+":calls=")
	n := 0
	for _, d := range rest {
		if d < '0' || d > '9' {
			break
		}
		n = 10*n + int(d-'0')
	}
	return n
}

// Every call whose answer is lost is repeated by the client, and must come out as if made once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	direct := server.Client(t)
	p := newProxy(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: p.listener.Addr().String(), PoolSize: 1, MinRetryBackoff: time.Millisecond})
	t.Cleanup(func() { _ = client.Close() })
	clock := storetest.NewClock()
	s := open(t, client, clock.Now)
	ctx := t.Context()

	// round plays the whole life of a schedule and its run; lose, of a step, makes the answer get lost.
	round := func(id string, lost bool) {
		step := func(what string, act func() error) {
			t.Helper()
			before := stat(t, direct, "evalsha")
			must(t, s.Ping(ctx)) // the connection stands
			p.swallow.Store(lost)
			if err := act(); err != nil {
				t.Fatalf("%s, lost %v: %v", what, lost, err)
			}
			if n := stat(t, direct, "evalsha") - before; lost && n < 2 {
				t.Fatalf("%s: the script ran %d times; the test proves nothing", what, n)
			}
		}
		now := clock.Now()
		create := storetest.Create(id, "inc1", now)
		ref := create.Schedule.Ref()
		load := func() schedules.Schedule {
			t.Helper()
			got, _, err := s.Load(ctx, ref)
			must(t, err)
			must(t, got[0].Err)
			return got[0].State.Schedule
		}
		get := func(id string) schedules.Run {
			t.Helper()
			run, err := s.GetRun(ctx, id)
			must(t, err)
			return run
		}
		step("create", func() error { return s.Commit(ctx, create)[0] })
		start := storetest.Next(load(), now)
		run := storetest.Start(&start, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now})
		start.PushManual, start.Schedule.WaitingManual = storetest.Waiting(schedules.TriggerManual, 0, now, 2), 2
		step("commit", func() error { return s.Commit(ctx, start)[0] })
		if waiting, err := s.WaitingTicks(ctx, ref, 10); err != nil || len(waiting) != 2 {
			t.Fatalf("lost %v: %d ticks wait, %v", lost, len(waiting), err)
		}
		step("claim", func() error {
			_, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
			return err
		})
		step("heartbeat", func() error {
			a, err := s.Heartbeat(ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}})
			if err == nil && a[0].Lost {
				err = errors.New("lost")
			}
			return err
		})
		step("record step", func() error {
			return s.RecordStep(ctx, run.ID, 1, schedules.Step{Name: "a", Key: "a#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: now})
		})
		event := schedules.Event{At: now, Kind: "log", Message: "line"}
		step("append events", func() error { return s.AppendEvents(ctx, run.ID, event, event, event) })
		retry := storetest.Transition(get(run.ID), now)
		retry.Events = []schedules.Event{event}
		step("commit run", func() error { return s.CommitRun(ctx, retry) })
		end := storetest.End(get(run.ID), schedules.RunCompleted, now)
		end.Events = []schedules.Event{event}
		step("end run", func() error { return s.CommitRun(ctx, end) })
		sch := load()
		if sch.Active != 0 || sch.Successful != 1 || sch.Total != 1 || sch.Revision != 3 {
			t.Fatalf("lost %v: revision %d, %+v", lost, sch.Revision, sch.Tally)
		}
		if events, _, err := s.Events(ctx, run.ID, 0, 100); err != nil || len(events) != 5 {
			t.Fatalf("lost %v: %d events, %v", lost, len(events), err)
		}
		step("create run", func() error {
			_, created, err := s.CreateRun(ctx, storetest.FreeRun("flow", id, now))
			if err == nil && !created {
				err = errors.New("not new")
			}
			return err
		})
		step("hold leases", func() error {
			held, err := s.HoldLeases(ctx, id, time.Minute, "lease-"+id)
			if err == nil && len(held) != 1 {
				err = errors.New("not held")
			}
			return err
		})
	}
	round("warm", false) // the server knows the scripts
	round("lost", true)
}

// The scripts are sent anew to a server that has forgotten them, in the middle of a pipeline, too.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	clock := storetest.NewClock()
	s := open(t, client, clock.Now)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var flushes atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if client.ScriptFlush(t.Context()).Err() == nil {
					flushes.Add(1)
				}
			}
		}
	})
	for round := range 20 {
		var changes []schedules.Change
		var refs []schedules.Ref
		for i := range 100 {
			c := storetest.Create("s"+string(rune('a'+round))+strings.Repeat("x", i), "inc", clock.Now())
			changes, refs = append(changes, c), append(refs, c.Schedule.Ref())
		}
		for _, err := range s.Commit(t.Context(), changes...) {
			must(t, err)
		}
		loaded, _, err := s.Load(t.Context(), refs...)
		must(t, err)
		for i, l := range loaded {
			must(t, l.Err)
			if l.State.Schedule.ID != refs[i].ID {
				t.Fatalf("answer %d is %s, want %s", i, l.State.Schedule.ID, refs[i].ID)
			}
		}
	}
	close(stop)
	wg.Wait()
	if flushes.Load() == 0 {
		t.Fatal("the scripts were never flushed")
	}
}

// eventually polls until ok, for at most 20 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 20 s", what)
		case <-tick.C:
		}
	}
}

// A server that was killed and comes back has everything, knows no script, and is used again without a new store.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AppendOnly())
	s := open(t, server.Client(t), nil)
	ctx := t.Context()
	now, err := s.Now(ctx)
	must(t, err)
	create := storetest.Create("a", "inc1", now)
	run := storetest.Start(&create, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now})
	must(t, s.Commit(ctx, create)[0])

	wakes := make(chan store.Wake, 1000)
	ctxListen, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Listen(ctxListen, func(w store.Wake) { wakes <- w }) }()
	all := func() bool {
		select {
		case w := <-wakes:
			return w == store.Wake{Shard: -1, Ticks: true, Timers: true}
		default:
			return false
		}
	}
	eventually(t, "a wake for all when the subscription stands", all)

	server.Kill()
	_, _, err = s.Load(ctx, create.Schedule.Ref())
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), server.Addr()) {
		t.Fatalf("load from a dead server: %v", err)
	}
	server.Restart()
	eventually(t, "load after the restart", func() bool {
		got, _, err := s.Load(ctx, create.Schedule.Ref())
		return err == nil && got[0].Err == nil && got[0].State.Schedule.Active == 1
	})
	if got, err := s.GetRun(ctx, run.ID); err != nil || got.Status != schedules.RunPending {
		t.Fatalf("run after the restart: %v, %v", got.Status, err)
	}
	eventually(t, "a wake for all after the restart", all)
	for drained := false; !drained; {
		select {
		case <-wakes:
		default:
			drained = true
		}
	}
	must(t, s.Commit(ctx, storetest.Create("b", "inc1", now))[0])
	select {
	case w := <-wakes:
		if !w.Ticks || w.Shard < 0 {
			t.Fatalf("woken for %+v", w)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no wake after the restart")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Listen ended with %v", err)
	}
}

// A subscription that is cut is taken up again; one to a server that is silent, too.
func TestListenReconnects(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: p.listener.Addr().String()})
	t.Cleanup(func() { _ = client.Close() })
	s := open(t, client, nil)
	var count atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Listen(ctx, func(w store.Wake) {
			if w.Shard == -1 {
				count.Add(1)
			}
		})
	}()
	eventually(t, "first subscription", func() bool { return count.Load() == 1 })
	for n := int64(2); n < 5; n++ {
		p.hangUp()
		eventually(t, "subscription anew", func() bool { return count.Load() >= n })
	}
	before, tried := count.Load(), p.accepted.Load()
	server.Pause()
	eventually(t, "the silent server is given up", func() bool { return p.accepted.Load() > tried })
	server.Resume()
	eventually(t, "subscription after the silence", func() bool { return count.Load() > before })
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Listen ended with %v", err)
	}
}
