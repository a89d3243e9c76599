package redisstore_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

var growthMost = flag.Int("growth-most", 10_000, "how much of each thing BenchmarkGrowth fills the store with at most: 100, 10000, 1000000")

const (
	growthRounds = 5  // through all operations; the cheapest of each counts, since what else the machine does only adds to it
	growthCalls  = 40 // of an operation in a round. Few beside what the store was filled with: they add to it
	growthPage   = 40
	growthTrim   = 20 // runs, and rows of the history, that a call of Trim finds to be too many
)

// BenchmarkGrowth measures what each operation costs with much of one thing in the store: the server's processor time, the commands it ran and the client's time,
// one call after another, each alone in its round trip. For a million of each, which takes a minute or two and 1.5 GB of memory for Redis:
//
//	go test ./store/redisstore -run '^$' -bench Growth -timeout 60m -args -growth-most 1000000
//
// Operations go through the same runs, from the tick to the end, so all are measured before the first is reported: the number of iterations that is printed says
// nothing, and -benchtime changes nothing.
func BenchmarkGrowth(b *testing.B) {
	for _, what := range []string{"runs", "history", "waiting", "active", "schedules"} {
		for n := 100; n <= *growthMost; n *= 100 {
			b.Run(fmt.Sprintf("%s/%d", what, n), func(b *testing.B) {
				g := newGrowth(b)
				g.walk(1, func(_ string, _ int, do func(i int) error) { g.must(do(0)) }) // the server knows the scripts then
				g.fill(what, n)
				for range growthRounds {
					g.walk(growthCalls, g.measure)
				}
				g.report()
			})
		}
	}
}

// growth is a schedule that has much, or one of many.
type growth struct {
	b    *testing.B
	ctx  context.Context
	rdb  *redis.Client
	s    *redisstore.Store
	sch  schedules.Schedule
	row  string // its key
	all  string // the key of its shard, up to what is the index's own
	at   time.Time
	runs []schedules.Run

	names []string // of operations, in their order
	least map[string]growthCost
}

// growthCost is what one call of an operation takes.
type growthCost struct{ ns, server, commands float64 }

func newGrowth(b *testing.B) *growth {
	client := redistest.Start(b).Client(b)
	s, err := redisstore.New(client, redisstore.Config{Namespace: redistest.Namespace(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	g := &growth{b: b, ctx: b.Context(), rdb: client, s: s, least: map[string]growthCost{}}
	now, err := s.Now(g.ctx)
	g.must(err)
	g.at = now.Add(-2 * time.Hour) // what the store is filled with is from then on
	c := storetest.Create("subject", "inc1", now)
	g.row, g.all = redisstore.ScheduleKey(s, c.Schedule.Ref()), growthShard(redisstore.ScheduleKey(s, c.Schedule.Ref()))
	g.must(g.commit(c))
	return g
}

func growthShard(key string) string { return key[:strings.Index(key, "}:")+2] }

func (g *growth) must(err error) {
	if err != nil {
		g.b.Helper()
		g.b.Fatal(err)
	}
}

// commit writes a change of the subject.
func (g *growth) commit(c schedules.Change) error {
	g.sch = c.Schedule
	return g.s.Commit(g.ctx, c)[0]
}

// next reads the subject for a change of it.
func (g *growth) next() schedules.Change {
	g.must(g.load(0))
	return storetest.Next(g.sch, g.s.Estimate())
}

// load reads the subject, whose revision the end of a run has raised.
func (g *growth) load(int) error {
	loaded, _, err := g.s.Load(g.ctx, g.sch.Ref())
	if err == nil {
		g.sch, err = loaded[0].State.Schedule, loaded[0].Err
	}
	return err
}

// tick starts a run: of a tick that has waited where some do, and then another waits behind them.
func (g *growth) tick(int) error {
	c := storetest.Next(g.sch, g.s.Estimate())
	c.Schedule.NextDue = g.sch.NextDue.Add(time.Second)
	g.runs = append(g.runs, storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: g.sch.NextDue}))
	if g.sch.WaitingRegular > 0 {
		c.Fates[0].Waited = schedules.Duration(time.Second)
		c.PopRegular, c.PushRegular = 1, storetest.Waiting(schedules.TriggerSchedule, 1, c.Now, 1)
	}
	return g.commit(c)
}

// walk goes through the operations, each some times.
func (g *growth) walk(calls int, step func(name string, calls int, do func(i int) error)) {
	ctx, s, ref := g.ctx, g.s, g.sch.Ref()
	shard := int(ref.Placement()) % s.Shards()
	g.runs = nil
	g.must(g.load(0))
	step("load", calls, g.load)
	step("commit", calls, g.tick)
	step("strike_off", calls, func(i int) error {
		return s.StrikeOff(ctx, store.Message{RunID: g.runs[i].ID, Dispatch: 1, Queue: g.runs[i].Queue})
	})
	step("get_run", calls, func(i int) error { return second(s.GetRun(ctx, g.runs[i].ID)) })
	step("claim", calls, func(i int) (err error) {
		g.runs[i], err = s.Claim(ctx, g.runs[i].ID, 1, store.Claim{Worker: "host-1:4711:0123abcd", Token: "0123456789abcdef"})
		return err
	})
	step("heartbeat", calls, func(i int) error {
		return second(s.Heartbeat(ctx, []store.Heartbeat{{RunID: g.runs[i].ID, Dispatch: 1}}))
	})
	step("step", calls, func(i int) error {
		return s.RecordStep(ctx, g.runs[i].ID, 1, schedules.Step{Key: "0", Name: "fetch", Result: []byte(`"done"`)})
	})
	step("end", calls, func(i int) error {
		return s.CommitRun(ctx, storetest.End(g.runs[i], schedules.RunCompleted, s.Estimate()))
	})

	soon := s.Estimate().Add(time.Hour)
	step("due_ticks", calls, func(int) error { return second(s.DueTicks(ctx, shard, soon, growthPage)) })
	step("due_timers", calls, func(int) error { return second(s.DueTimers(ctx, shard, soon, growthPage)) })
	step("expired_leases", calls, func(int) error { return second(s.ExpiredLeases(ctx, shard, soon, growthPage)) })
	step("unsent", calls, func(int) error { return second(s.Unsent(ctx, shard, soon, growthPage)) })

	page := store.Page{Limit: growthPage}
	of := store.RunFilter{ScheduleID: ref.ID}
	step("list_schedules", calls, func(int) error { return third(s.ListSchedules(ctx, store.ScheduleFilter{}, page)) })
	step("list_schedules_next", calls, func(int) error { return third(s.ListSchedules(ctx, store.ScheduleFilter{Sort: store.SortNext}, page)) })
	step("list_runs", calls, func(int) error { return third(s.ListRuns(ctx, store.RunFilter{}, page)) })
	step("list_runs_of", calls, func(int) error { return third(s.ListRuns(ctx, of, page)) })
	// The cursor names no entry: its place is looked for.
	middle := store.Page{Limit: growthPage, Cursor: fmt.Sprintf("%d:run_", g.middle().UnixMilli())}
	step("list_runs_of_middle", calls, func(int) error { return third(s.ListRuns(ctx, of, middle)) })
	step("waiting_ticks", calls, func(int) error { return second(s.WaitingTicks(ctx, ref, growthPage)) })
	step("active_runs", calls, func(int) error { return second(s.ActiveRuns(ctx, ref, growthPage)) })
	step("list_fates", calls, func(int) error { return third(s.ListFates(ctx, ref, store.FateFilter{}, page)) })
	step("counts", calls, func(int) error { return second(s.Counts(ctx, g.middle())) })
	hour := []time.Time{g.sch.NextDue}
	for i := range 60 {
		hour = append(hour, hour[i].Add(time.Minute))
	}
	step("tick_counts", calls, func(int) error { return second(s.TickCounts(ctx, hour)) })
	step("audit", calls, func(int) error {
		a, err := s.Audit(ctx, shard, 100)
		if err == nil && len(a.Mended) > 0 {
			err = fmt.Errorf("the store does not find what it was filled with as it should be: %+v", a.Mended[0])
		}
		return err
	})

	years := 10 * 365 * 24 * time.Hour
	keep := store.Limits{RunAge: years, RunCount: 1 << 40, FateAge: years, FateCount: 1 << 40, FreeRunAge: years}
	step("trim_none", calls, func(int) error { return second(s.Trim(ctx, shard, keep)) })
	if calls == 1 || g.others() { // retention then comes by other schedules
		return
	}
	runs, fates := g.rdb.ZCard(ctx, g.all+"runs:s:"+ref.ID).Val(), g.rdb.ZCard(ctx, g.row+":fates").Val()
	step("trim_some", 1, func(int) error {
		keep.RunCount, keep.FateCount = int(runs)-growthTrim, int(fates)-growthTrim
		return second(s.Trim(ctx, shard, keep))
	})
}

func second[T any](_ T, err error) error { return err }

func third[T, C any](_ T, _ C, err error) error { return err }

// middle is a time before and after which half of the subject's runs were created.
func (g *growth) middle() time.Time {
	list := g.all + "runs:s:" + g.sch.ID
	n := g.rdb.ZCard(g.ctx, list).Val() / 2
	z := g.rdb.ZRangeWithScores(g.ctx, list, n, n).Val()
	if len(z) == 0 {
		return g.at
	}
	return time.UnixMilli(int64(z[0].Score))
}

// others reports whether there are other schedules.
func (g *growth) others() bool { return g.rdb.ZCard(g.ctx, g.all+"list:active").Val() > 1 }

// measure calls an operation some times.
func (g *growth) measure(name string, calls int, do func(i int) error) {
	before, began := serverStats(g.b, g.rdb), time.Now()
	for i := range calls {
		g.must(do(i))
	}
	took, after := time.Since(began), serverStats(g.b, g.rdb)
	n := float64(calls)
	c := growthCost{float64(took.Nanoseconds()) / n, (after["cpu"] - before["cpu"]) / n, (after["total_commands_processed"] - before["total_commands_processed"] - 1) / n}
	was, known := g.least[name]
	if !known {
		g.names = append(g.names, name)
		was = c
	}
	g.least[name] = growthCost{min(was.ns, c.ns), min(was.server, c.server), min(was.commands, c.commands)}
}

// report gives each operation as a benchmark of its own.
func (g *growth) report() {
	for _, name := range g.names {
		g.b.Run(name, func(b *testing.B) {
			c := g.least[name]
			b.ReportMetric(c.ns, "ns/op")
			b.ReportMetric(c.server, "server-ns/op")
			b.ReportMetric(c.commands, "commands/op")
		})
	}
}

// fill puts n of something into the store: one that the store wrote itself, and copies of its entries beside it, a hundredth of the time that commits take.
// The audit, which is one of the operations, holds them against each other.
func (g *growth) fill(what string, n int) {
	c := g.next()
	tick := func(i int) schedules.Tick {
		return schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: g.at.Add(time.Duration(i) * time.Millisecond)}
	}
	run := func(i int) []string { return []string{schedules.TickRunID(g.sch.Ref(), tick(i)), millisOf(tick(i))} }
	start := func(i int) schedules.Run {
		c := g.next()
		r := storetest.Start(&c, tick(i))
		c.Start[0].CreatedAt, c.Fates, c.Schedule.AnchorRunID = tick(i).Nominal, nil, ""
		g.must(g.commit(c))
		g.must(g.s.StrikeOff(g.ctx, store.Message{RunID: r.ID, Dispatch: 1, Queue: r.Queue}))
		return r
	}
	claim := func(r schedules.Run) schedules.Run {
		r, err := g.s.Claim(g.ctx, r.ID, 1, store.Claim{Worker: "host-1:4711:0123abcd", Token: "0123456789abcdef"})
		g.must(err)
		return r
	}
	add := int64(n - 1) // what the subject's counters do not know yet
	size := func() int64 { return 0 }
	switch what {
	case "runs":
		g.must(g.s.CommitRun(g.ctx, storetest.End(claim(start(0)), schedules.RunCompleted, g.s.Estimate())))
		g.copies(0, n, run)
		c = g.next()
		c.Schedule.Total, c.Schedule.Successful = c.Schedule.Total+add, c.Schedule.Successful+add
		size = g.rdb.ZCard(g.ctx, g.all+"runs:s:"+g.sch.ID).Val
	case "history":
		c.Fates = []schedules.Fate{{Tick: tick(0), DecidedAt: c.Now, Fate: schedules.FateStarted, RunID: run(0)[0]}}
		g.must(g.commit(c))
		g.copies(0, n, run)
		c = g.next()
		size = g.rdb.ZCard(g.ctx, g.row+":fates").Val
	case "waiting":
		c.PushRegular = storetest.Waiting(schedules.TriggerSchedule, 1, tick(0).Nominal, 1)
		c.Schedule.Overlap, c.Schedule.BufferLimit, c.Schedule.NextSeq, c.Schedule.WaitingRegular = schedules.OverlapBufferAll, n, int64(n), int64(n)
		c.Schedule.WakeOnEnd = true
		g.must(g.commit(c))
		g.copies(0, n, func(i int) []string { return []string{millisOf(tick(i)), fmt.Sprintf(`"seq":%d,`, i+1)} })
		c = g.next()
		size = g.rdb.LLen(g.ctx, g.row+":wait:r").Val
	case "active": // half of them run
		start(0)
		g.copies(0, n/2, run)
		claim(start(n / 2))
		g.copies(n/2, n, run)
		c = g.next()
		c.Schedule.Overlap = schedules.OverlapAllowAll
		c.Schedule.Total, c.Schedule.Active = c.Schedule.Total+add-1, c.Schedule.Active+add-1
		size = g.rdb.ZCard(g.ctx, g.row+":active").Val
	case "schedules":
		name := func(i int) []string {
			ref := schedules.Ref{ID: fmt.Sprintf("other_%07d", i), Incarnation: "inc1"}
			return []string{ref.ID, growthShard(redisstore.ScheduleKey(g.s, ref))}
		}
		other := storetest.Create(name(0)[0], "inc1", c.Now)
		g.must(g.s.Commit(g.ctx, other)[0])
		g.copies(0, n, name)
		counts, err := g.s.Counts(g.ctx, g.at)
		g.must(err)
		size = func() int64 { return counts.Schedules[schedules.StatusActive] }
	}
	g.must(g.commit(c))
	if got := size(); got < int64(n) || got > int64(n)+2 {
		g.b.Fatalf("filled with %d, want %d", got, n)
	}
}

func millisOf(t schedules.Tick) string { return strconv.FormatInt(t.Nominal.UnixMilli(), 10) }

// copies puts beside all entries of what texts(from) name those of every other number up to a limit, by plain commands. An entry is one whose key, member or
// field has the first of the texts in it; all texts are replaced in all of it.
func (g *growth) copies(from, to int, texts func(i int) []string) {
	const in, between = "\x00", "\x01" // arguments, commands
	old := texts(from)
	var model []string
	entry := func(key, name string, args ...string) {
		if strings.Contains(key+in+name, old[0]) {
			model = append(model, strings.Join(args, in))
		}
	}
	for _, key := range g.rdb.Keys(g.ctx, "*").Val() { // few yet
		switch g.rdb.Type(g.ctx, key).Val() {
		case "hash":
			for field, value := range g.rdb.HGetAll(g.ctx, key).Val() {
				entry(key, field, "HSET", key, field, value)
			}
		case "zset":
			for _, z := range g.rdb.ZRangeWithScores(g.ctx, key, 0, -1).Val() {
				entry(key, z.Member.(string), "ZADD", key, strconv.FormatFloat(z.Score, 'f', -1, 64), z.Member.(string))
			}
		case "list":
			for _, e := range g.rdb.LRange(g.ctx, key, 0, -1).Val() {
				entry(key, e, "RPUSH", key, e)
			}
		}
	}
	text := strings.Join(model, between)
	for i := from + 1; i < to; {
		_, err := g.rdb.Pipelined(g.ctx, func(p redis.Pipeliner) error {
			for most := i + 500; i < min(to, most); i++ {
				mine := text
				for j, t := range texts(i) {
					mine = strings.ReplaceAll(mine, old[j], t)
				}
				for command := range strings.SplitSeq(mine, between) {
					var args []any
					for arg := range strings.SplitSeq(command, in) {
						args = append(args, arg)
					}
					p.Do(g.ctx, args...)
				}
			}
			return nil
		})
		g.must(err)
	}
}
