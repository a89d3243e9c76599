package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// The store of a primary that is killed goes on with the promoted replica, and back when Sentinel changes the roles of living servers.
func TestFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	ctx := t.Context()
	namespace := redistest.Namespace(t)
	s, err := redisstore.Open(ctx, redisstore.Config{URL: sentinel.URL(), Namespace: namespace})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
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

	// goesOn makes one more change of the schedule, sees it on the new primary, and is woken anew.
	goesOn := func(what string) {
		t.Helper()
		var next schedules.Change
		eventually(t, "a commit "+what, func() bool {
			got, _, err := s.Load(ctx, create.Schedule.Ref())
			if err != nil || got[0].Err != nil {
				return false
			}
			next = storetest.Next(got[0].State.Schedule, now)
			return s.Commit(ctx, next)[0] == nil
		})
		direct, err := redisstore.Open(ctx, redisstore.Config{URL: sentinel.Primary().URL(), Namespace: namespace})
		must(t, err)
		got, _, err := direct.Load(ctx, create.Schedule.Ref())
		must(t, err)
		must(t, direct.Close())
		if sch := got[0].State.Schedule; got[0].Err != nil || sch.Revision != next.Schedule.Revision || sch.Active != 1 {
			t.Fatalf("on the primary %s: revision %d after a change to %d, %+v, %v", what, sch.Revision, next.Schedule.Revision, sch.Tally, got[0].Err)
		}
		eventually(t, "a wake for all "+what, all)
	}
	replicated(t, sentinel)
	dead := sentinel.Primary()
	sentinel.Failover()
	goesOn("after a failover")
	if got, err := s.GetRun(ctx, run.ID); err != nil || got.Status != schedules.RunPending {
		t.Errorf("run after the failover: %v, %v", got.Status, err)
	}
	if !strings.Contains(s.Describe(), sentinel.Addr()) {
		t.Errorf("the store calls itself %q, want the sentinel's address %s in it", s.Describe(), sentinel.Addr())
	}

	sentinel.Rejoin()
	replicated(t, sentinel)
	sentinel.SwitchOver()
	if sentinel.Primary() != dead {
		t.Fatalf("the primary is %s, want %s again", sentinel.Primary().Addr(), dead.Addr())
	}
	goesOn("after a switch-over")
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Listen ended with %v", err)
	}
}

// replicated waits until the replica has what the primary has: a failover may lose the rest, and this test is not about that.
func replicated(t *testing.T, s *redistest.Sentinel) {
	t.Helper()
	c := s.Primary().Client(t)
	// WAIT speaks of the writes of its own connection, so it makes one.
	conn := c.Conn()
	defer func() { _ = conn.Close() }()
	must(t, conn.Set(t.Context(), "replicated", "1", 0).Err())
	if n, err := conn.Do(t.Context(), "WAIT", 1, (10 * time.Second).Milliseconds()).Int(); err != nil || n != 1 {
		t.Fatalf("writes reached %d replicas, %v; want 1", n, err)
	}
}
