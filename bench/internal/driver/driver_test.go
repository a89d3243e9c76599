package driver

import (
	"io"
	"maps"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/judge"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/redisd"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
)

func TestParseOptions(t *testing.T) {
	o, err := parseOptions([]string{"-load", "L1,M", "-systems", "asynq", "-schedules", "7", "-stored", "9"}, io.Discard)
	if err != nil || len(o.loads) != 3 || o.loads[0].Schedules != 7 || o.loads[0].Stored != 0 || o.loads[2].Stored != 9 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parseOptions([]string{"-load", "guard"}, io.Discard)
	if err != nil || !o.guard || len(o.loads) != 1 {
		t.Errorf("guard: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-load", "L9"}, {"-systems", "cron"}, {"-rounds", "0"}, {"-measure", "1ms"}, {"what"}, {"-nope"}} {
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestGrid(t *testing.T) {
	first := time.Now().Add(time.Hour).Truncate(time.Minute)
	w := &world{options: options{warmUp: 14 * time.Second, measured: 44 * time.Second}, load: load.Load{Schedules: 3, Period: 5 * time.Second}}
	g := w.grid(first)
	if want := (judge.Grid{Schedules: 3, Period: 5000, Begin: first.Add(15 * time.Second).UnixMilli(), End: first.Add(55 * time.Second).UnixMilli()}); g != want {
		t.Errorf("%+v, want %+v", g, want)
	}
	w.warmUp = 15 * time.Second
	if again := w.grid(first); again != g {
		t.Errorf("a warm-up of whole periods gives %+v, want %+v", again, g)
	}
	w.load = load.Load{Schedules: 3, Burst: true}
	if g := w.grid(first); g.Ticks() != 1 || g.Begin != first.UnixMilli() {
		t.Errorf("burst: %+v", g)
	}
}

// TestQueuesOnAllNodes holds the names of queues against the nodes that their asynq keys fall on.
func TestQueuesOnAllNodes(t *testing.T) {
	const nodes = 3
	l := load.Load{Schedules: 12, Nodes: nodes, Queues: 6, Period: time.Second}
	server, err := redisd.Start(t.Context(), t.TempDir(), "--cluster-enabled", "yes")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	rdb, err := redisstore.NewClient(redisd.URL([]*redisd.Server{server}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rdb.Close() }()
	on := map[int64]int{}
	for _, q := range queues(l) {
		slot, err := rdb.ClusterKeySlot(t.Context(), "asynq:{pyworkflow:"+namespace+":"+q+"}:pending").Result()
		if err != nil {
			t.Fatal(err)
		}
		on[slot*nodes/16384]++
	}
	if want := map[int64]int{0: 2, 1: 2, 2: 2}; !maps.Equal(on, want) {
		t.Errorf("queues by node: %v, want %v", on, want)
	}
	w := &world{options: options{catchup: "all"}, load: l}
	of := map[string]int{}
	for i := range l.Schedules {
		of[w.request(i, time.Now()).Definition.Queue]++
	}
	for _, q := range queues(l) {
		if of[q] != 2 {
			t.Errorf("%d schedules of 12 in %s, want 2", of[q], q)
		}
	}
}

// TestRequestsMeetTheGrid holds what is asked of pyworkflow against the ticks that are expected of it.
func TestRequestsMeetTheGrid(t *testing.T) {
	first := time.Now().Add(time.Hour).UTC().Truncate(time.Minute)
	for name, l := range map[string]load.Load{
		"same phase": {Schedules: 7, Period: 5 * time.Second, Stored: 2},
		"spread":     {Schedules: 7, Period: 5 * time.Second, Spread: true},
		"burst":      {Schedules: 7, Burst: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{options: options{catchup: "all", warmUp: 5 * time.Second, measured: 5 * time.Second}, load: l}
			g := w.grid(first)
			for i := range l.Schedules {
				timing, err := schedules.Compile(w.request(i, first).Spec)
				if err != nil {
					t.Fatal(err)
				}
				next, ok := timing.Next(time.UnixMilli(g.Begin - 1))
				if want := g.Begin + g.Phase(i); !ok || next.UnixMilli() != want {
					t.Errorf("schedule %d ticks at %d, want %d", i, next.UnixMilli(), want)
				}
			}
			for i := l.Schedules; i < l.Schedules+l.Stored; i++ {
				timing, err := schedules.Compile(w.request(i, first).Spec)
				if err != nil {
					t.Fatal(err)
				}
				if next, _ := timing.Next(first); next.Before(first.AddDate(0, 4, 0)) {
					t.Errorf("stored schedule %d ticks at %s already", i, next)
				}
			}
			if _, err := schedules.Normalize(w.request(0, first).Definition); err != nil {
				t.Error(err)
			}
		})
	}
}
