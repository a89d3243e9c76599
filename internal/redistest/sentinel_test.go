package redistest_test

import (
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestSentinel(t *testing.T) {
	s := redistest.StartSentinel(t)
	if want := "redis-sentinel://" + s.Addr() + "/main/0"; s.URL() != want {
		t.Errorf("URL = %q, want %q", s.URL(), want)
	}
	c := s.Client(t)
	first, second := s.Primary(), s.Replica()
	if first == second {
		t.Fatal("one server is primary and replica")
	}
	set(t, c, "a", "1")
	if n, err := first.Client(t).Wait(t.Context(), 1, long).Result(); n != 1 || err != nil {
		t.Fatalf("the write reached %d replicas, %v; want 1", n, err)
	}

	s.Failover()
	if s.Primary() != second || s.Replica() != first || first.PID() != 0 {
		t.Errorf("after a failover the primary is %s, the replica %s (process %d); want %s, and %s down",
			s.Primary().Addr(), s.Replica().Addr(), first.PID(), second.Addr(), first.Addr())
	}
	set(t, c, "b", "2")
	if got, err := c.Get(t.Context(), "a").Result(); got != "1" {
		t.Errorf("a = %q, %v after a failover; want 1", got, err)
	}

	s.Rejoin()
	if got, err := first.Client(t).Get(t.Context(), "b").Result(); got != "2" {
		t.Errorf("b = %q, %v on the server that came back; want 2", got, err)
	}
	if err := first.Client(t).Set(t.Context(), "b", "3", 0).Err(); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("a write to the replica: %v, want it refused", err)
	}

	s.SwitchOver()
	if s.Primary() != first || second.PID() == 0 {
		t.Errorf("after a switch-over the primary is %s, the replica's process %d; want %s, and both up", s.Primary().Addr(), second.PID(), first.Addr())
	}
	if got, err := c.Get(t.Context(), "b").Result(); got != "2" {
		t.Errorf("b = %q, %v after a switch-over; want 2", got, err)
	}
}
