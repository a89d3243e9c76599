package redisstore_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
)

// BenchmarkFire measures what the way of a tick through the store costs, call by call: the server's processor time and the commands it ran, as figures of their
// own, beside the client's time and allocations. An operation is one tick.
func BenchmarkFire(b *testing.B) {
	for _, call := range []string{"load", "commit", "strike off", "read run", "claim", "log", "end"} {
		b.Run(strings.ReplaceAll(call, " ", "_"), func(b *testing.B) {
			server := redistest.Start(b)
			client := server.Client(b)
			s, err := redisstore.New(client, redisstore.Config{Namespace: redistest.Namespace(b)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			f := newFires(b, s, b.N)
			steps := []struct {
				name string
				do   func(from, to int)
			}{{"load", f.load}, {"commit", f.commit}, {"strike off", f.strikeOff}, {"read run", f.each(f.read)}, {"claim", f.each(f.claim)}, {"log", f.each(f.log)}, {"end", f.each(f.end)}}
			for _, step := range steps {
				if step.name == call {
					measure(b, client, func() { f.pages(step.do) })
					return
				}
				f.pages(step.do)
			}
		})
	}
}

// measure reports what the server spends on f.
func measure(b *testing.B, client *redis.Client, f func()) {
	before := serverStats(b, client)
	b.ReportAllocs()
	b.ResetTimer()
	f()
	b.StopTimer()
	after := serverStats(b, client)
	for name, unit := range map[string]string{"cpu": "server-ns/op", "total_commands_processed": "commands/op", "total_reads_processed": "reads/op"} {
		b.ReportMetric((after[name]-before[name])/float64(b.N), unit)
	}
}

func serverStats(b *testing.B, client *redis.Client) map[string]float64 {
	b.Helper()
	text, err := client.Info(b.Context(), "stats", "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]float64{}
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = n
		}
	}
	out["cpu"] = 1e9 * (out["used_cpu_user"] + out["used_cpu_sys"])
	return out
}

// fires are schedules that tick at once.
type fires struct {
	b       *testing.B
	s       *redisstore.Store
	ctx     context.Context
	refs    []schedules.Ref
	loaded  []store.Loaded
	changes []schedules.Change
}

func newFires(b *testing.B, s *redisstore.Store, n int) *fires {
	f := &fires{b: b, s: s, ctx: b.Context(), loaded: make([]store.Loaded, n), changes: make([]schedules.Change, n)}
	now, err := s.Now(f.ctx)
	if err != nil {
		b.Fatal(err)
	}
	begin := now.Add(-2 * time.Second) // they have been due for a second
	for i := range n {
		d := schedules.Definition{Spec: schedules.Spec{Interval: "1h", IntervalFrom: schedules.FromStart, StartAt: begin.Add(time.Second)},
			Overlap: schedules.OverlapAllowAll}
		c, err := schedules.Create(schedules.CreateRequest{ID: fmt.Sprintf("bench_%06d", i), Incarnation: "0123456789ab", Workflow: "empty", Definition: d}, begin)
		if err != nil {
			b.Fatal(err)
		}
		f.changes[i] = c
		f.refs = append(f.refs, c.Schedule.Ref())
	}
	f.pages(f.write)
	return f
}

// pages calls do for pages of the schedules.
func (f *fires) pages(do func(from, to int)) {
	for from := 0; from < len(f.refs); from += 256 {
		do(from, min(from+256, len(f.refs)))
	}
}

// each calls do for each of a page, some at a time, as workers do.
func (f *fires) each(do func(i int) error) func(from, to int) {
	return func(from, to int) {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 50)
		for i := from; i < to; i++ {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := do(i); err != nil {
					f.b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func (f *fires) write(from, to int) {
	for _, err := range f.s.Commit(f.ctx, f.changes[from:to]...) {
		if err != nil {
			f.b.Fatal(err)
		}
	}
}

func (f *fires) load(from, to int) {
	loaded, _, err := f.s.Load(f.ctx, f.refs[from:to]...)
	if err != nil {
		f.b.Fatal(err)
	}
	copy(f.loaded[from:], loaded)
}

func (f *fires) commit(from, to int) {
	for i := from; i < to; i++ {
		c, ok := schedules.Decide(f.loaded[i].State, f.s.Estimate())
		if !ok || len(c.Start) != 1 {
			f.b.Fatalf("tick %d does not start: %+v", i, c)
		}
		f.changes[i] = c
	}
	f.write(from, to)
}

func (f *fires) strikeOff(from, to int) {
	var msgs []store.Message
	for i := from; i < to; i++ {
		r := &f.changes[i].Start[0]
		msgs = append(msgs, store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue})
	}
	if err := f.s.StrikeOff(f.ctx, msgs...); err != nil {
		f.b.Fatal(err)
	}
}

func (f *fires) run(i int) *schedules.Run { return &f.changes[i].Start[0] }

func (f *fires) read(i int) (err error) {
	_, err = f.s.GetRun(f.ctx, f.run(i).ID)
	return err
}

func (f *fires) claim(i int) (err error) {
	*f.run(i), err = f.s.Claim(f.ctx, f.run(i).ID, 1, store.Claim{Worker: "host-1:4711:0123abcd", Token: "0123456789abcdef"})
	return err
}

func (f *fires) log(i int) error {
	return f.s.AppendEvents(f.ctx, f.run(i).ID, schedules.Event{At: f.s.Estimate(), Kind: "claimed", Level: "info", Message: "attempt 1 begins on worker host-1:4711:0123abcd",
		Attrs: map[string]any{"attempt": 1, "dispatch": 1, "worker": "host-1:4711:0123abcd"}})
}

func (f *fires) end(i int) error {
	return f.s.CommitRun(f.ctx, schedules.EndAttempt(*f.run(i), schedules.Outcome{Kind: schedules.OutcomeCompleted}, schedules.RunOptions{}, f.s.Estimate(), 0))
}
