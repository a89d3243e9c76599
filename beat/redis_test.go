package beat

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
)

// openRedis opens a store of its own connections, as each process has.
func openRedis(t *testing.T, s *redistest.Server, namespace string) *redisstore.Store {
	t.Helper()
	st, err := redisstore.Open(t.Context(), redisstore.Config{URL: s.URL(), Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func held(ps ...*process) []int {
	var all []int
	for _, p := range ps {
		all = append(all, p.beat.Stats().Shards...)
	}
	slices.Sort(all)
	return all
}

// shared reports whether the processes hold every shard once, none of them more than its part.
func shared(ps ...*process) bool {
	all := held(ps...)
	if len(all) != 16 || len(slices.Compact(all)) != 16 {
		return false
	}
	for _, p := range ps {
		if len(p.beat.Stats().Shards) > (16+len(ps)-1)/len(ps) {
			return false
		}
	}
	return true
}

func TestRedisBeatsShareDieAndStop(t *testing.T) {
	s, ns := redistest.Shared(t), redistest.Namespace(t)
	var ps []*process
	var stores []*redisstore.Store
	for i := range 3 {
		st := openRedis(t, s, ns)
		p := startProcess(t, fmt.Sprintf("host:%d:x", i), st, parts{beat: true, keeper: true, worker: true, takes: 5 * time.Millisecond})
		t.Cleanup(p.stop)
		ps, stores = append(ps, p), append(stores, st)
	}
	var refs []schedules.Ref
	for i := range 40 {
		refs = append(refs, ps[i%3].create(fmt.Sprintf("s%d", i), "1s", allowAll)) // what dies with its process shall be in nobody's way
	}
	eventually(t, 5*time.Second, "three beats share the shards", func() bool { return shared(ps...) })
	eventually(t, 5*time.Second, "three beats announce themselves with their shards", func() bool {
		live, err := stores[1].Processes(t.Context())
		return err == nil && len(live) == 3 && live[0].Beat && len(live[0].Shards) > 0
	})

	// A death: the connections are gone before anything can be released or withdrawn.
	_ = stores[0].Close()
	ps[0].cancel()
	took := eventually(t, 3*time.Second, "the dead beat's shards are taken over", func() bool { return shared(ps[1:]...) })
	t.Logf("taken over %s after a death", took)
	ps[0].stop()

	ps[1].stop()
	took = eventually(t, time.Second, "the stopped beat's shards are taken over", func() bool { return shared(ps[2]) })
	t.Logf("taken over %s after a stop", took)

	live, err := stores[2].Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(live, func(p store.Process) bool { return p.ID == "host:1:x" }) {
		t.Error("a stopped beat is still announced")
	}
	before := ps[2].beat.Stats().Acted
	eventually(t, 10*time.Second, "ticks go on", func() bool { return ps[2].beat.Stats().Acted >= before+80 })
	for _, ref := range refs {
		if n, worst := checkRegular(t, stores[2], ref, time.Second); n < 3 || worst > 3*time.Second {
			t.Errorf("%s: %d ticks, up to %s late", ref.ID, n, worst)
		}
	}
}

// Beats that do not share at all race for every tick; each tick still starts once, at its time.
func TestRedisBeatsThatRace(t *testing.T) {
	s, ns := redistest.Shared(t), redistest.Namespace(t)
	var ps []*process
	for i := range 4 {
		st := openRedis(t, s, ns)
		p := startProcess(t, fmt.Sprintf("host:%d:x", i), greedy{st}, parts{beat: true, keeper: true, worker: true, takes: time.Millisecond})
		t.Cleanup(p.stop)
		ps = append(ps, p)
	}
	var refs []schedules.Ref
	for i := range 10 {
		refs = append(refs, ps[0].create(fmt.Sprintf("s%d", i), "1s", nil))
	}
	eventually(t, 20*time.Second, "five ticks each", func() bool {
		return !slices.ContainsFunc(refs, func(r schedules.Ref) bool { return len(history(t, ps[0].st, r)) < 5 })
	})
	for _, p := range ps {
		if p.beat.Stats().Acted == 0 {
			t.Errorf("%s took no part in the race", p.id)
		}
		p.stop()
	}
	for _, ref := range refs {
		n, worst := checkRegular(t, ps[0].st, ref, time.Second)
		if worst > time.Second {
			t.Errorf("%s: up to %s late", ref.ID, worst)
		}
		loaded, _, err := ps[0].st.Load(t.Context(), ref)
		if err != nil || loaded[0].Err != nil {
			t.Fatal(err, loaded[0].Err)
		}
		if total := loaded[0].State.Schedule.Total; total != int64(n) {
			t.Errorf("%s: %d runs for %d ticks", ref.ID, total, n)
		}
	}
}

func allowAll(d *schedules.Definition) { d.Overlap = schedules.OverlapAllowAll }

// greedy gives every lease to everybody.
type greedy struct{ store.Store }

func (greedy) HoldLeases(_ context.Context, _ string, _ time.Duration, names ...string) ([]string, error) {
	return names, nil
}

func (greedy) LeaseHolders(_ context.Context, names ...string) ([]string, error) {
	return make([]string, len(names)), nil
}

func TestRedisLostAndBack(t *testing.T) {
	for name, outage := range map[string]func(s *redistest.Server, on bool){
		"killed": func(s *redistest.Server, on bool) {
			if on {
				s.Kill()
			} else {
				s.Restart()
			}
		},
		"frozen": func(s *redistest.Server, on bool) {
			if on {
				s.Pause()
			} else {
				s.Resume()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.AppendOnly())
			st := openRedis(t, s, redistest.Namespace(t))
			p := startProcess(t, "host:1:x", st, parts{beat: true, keeper: true, worker: true, takes: time.Millisecond})
			t.Cleanup(p.stop)
			ref := p.create("s", "1s", allowAll)
			eventually(t, 5*time.Second, "a tick", func() bool { return len(history(t, st, ref)) >= 1 })
			outage(s, true)
			eventually(t, 15*time.Second, "the outage is noticed", func() bool {
				return !p.beat.Stats().Lost.IsZero() && !p.keeper.Stats().Lost.IsZero()
			})
			outage(s, false)
			back := time.Now()
			eventually(t, 3*time.Second, "the end of the outage is noticed", func() bool {
				return p.beat.Stats().Answers && p.keeper.Stats().Answers
			})
			eventually(t, 10*time.Second, "ticks start again", func() bool {
				fates := history(t, st, ref)
				return len(fates) > 2 && fates[len(fates)-2].DecidedAt.After(back)
			})
			p.stop()
			if n, _ := checkRegular(t, st, ref, time.Second); n < 3 {
				t.Errorf("only %d ticks", n)
			}
			if lost, again := p.log.count("the store does not answer"), p.log.count("the store answers again"); lost != 2 || again != 2 {
				t.Errorf("beat and keeper said %d times that it is lost and %d times that it is back, want once each:\n%s", lost, again, p.log.buf.String())
			}
		})
	}
}

// Without a beat, what is not a nominal time goes on: a buffered trigger starts when the run before it ends, at once.
func TestRedisKeepersAlone(t *testing.T) {
	s, ns := redistest.Shared(t), redistest.Namespace(t)
	var ps []*process
	for i := range 2 {
		p := startProcess(t, fmt.Sprintf("host:%d:x", i), openRedis(t, s, ns), parts{keeper: true, worker: true, takes: 100 * time.Millisecond})
		t.Cleanup(p.stop)
		ps = append(ps, p)
	}
	cli := startProcess(t, "cli", openRedis(t, s, ns), parts{}) // neither beat nor keeper, worker nor transport
	t.Cleanup(cli.stop)
	eventually(t, 5*time.Second, "keepers hold the shards", func() bool {
		return len(ps[0].keeper.Stats().Shards)+len(ps[1].keeper.Stats().Shards) == 16
	})
	ref := cli.create("s", "1h", func(d *schedules.Definition) { d.Overlap = schedules.OverlapBufferAll })
	const n = 10
	for range n {
		if r := cli.trigger(ref, ""); r.Outcome == schedules.FateSkipped {
			t.Fatalf("trigger skipped: %+v", r)
		}
	}
	eventually(t, 15*time.Second, "all triggered runs end", func() bool {
		l, _, err := cli.st.Load(t.Context(), ref)
		return err == nil && l[0].State.Schedule.Successful == n
	})
	runs, _, err := cli.st.ListRuns(t.Context(), store.RunFilter{ScheduleID: "s"}, store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(runs, func(a, b schedules.Run) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for i, r := range runs[1:] {
		gap := r.CreatedAt.Sub(runs[i].EndedAt)
		if gap < 0 || gap > 500*time.Millisecond {
			t.Errorf("run %d became active %s after the end of the one before", i+1, gap)
		}
	}
}
