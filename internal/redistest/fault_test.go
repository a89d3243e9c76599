package redistest_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestBusy(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--lua-time-limit", "4321"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Busy(500 * time.Millisecond)
	}()
	w := dial(t, s.Addr())
	for busy := false; !busy; {
		got, err := w.ask("PING", len("-BUSY"), long)
		if err != nil {
			t.Fatal(err)
		}
		if busy = got == "-BUSY"; busy {
			break
		}
		select {
		case <-done:
			t.Fatalf("PING of a busy server: %q, want BUSY", got)
		default:
		}
		if _, err := io.ReadFull(w, make([]byte, len(pong)-len(got))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(long):
		t.Fatal("Busy has no end")
	}
	c := s.Client(t)
	set(t, c, "k", "v")
	if got := c.ConfigGet(t.Context(), "lua-time-limit").Val()["lua-time-limit"]; got != "4321" {
		t.Errorf("lua-time-limit = %q after Busy, want 4321 as before", got)
	}
}

func TestFlushScripts(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client(t)
	sha, err := c.ScriptLoad(t.Context(), "return 1").Result()
	if err != nil {
		t.Fatal(err)
	}
	s.FlushScripts()
	if got := c.ScriptExists(t.Context(), sha).Val(); len(got) != 1 || got[0] {
		t.Errorf("the script is there: %v, want it forgotten", got)
	}
}

func TestKillClients(t *testing.T) {
	s := redistest.Start(t)
	plain, subscriber := dial(t, s.Addr()), dial(t, s.Addr())
	if got, err := plain.ask("PING", len(pong), long); got != pong {
		t.Fatalf("PING: %q, %v", got, err)
	}
	if got, err := subscriber.ask("SUBSCRIBE a", len("*3\r\n"), long); got != "*3\r\n" {
		t.Fatalf("SUBSCRIBE: %q, %v", got, err)
	}
	if n := s.KillClients(); n != 2 {
		t.Errorf("killed %d clients, want 2", n)
	}
	for name, w := range map[string]wire{"a client": plain, "a subscriber": subscriber} {
		if _, err := w.ask("PING", 100, long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still served: %v", name, err)
		}
	}
	set(t, s.Client(t), "k", "v")
}

func TestRefusedWrites(t *testing.T) {
	for _, tc := range []struct {
		name       string
		begin, end func(*redistest.Server)
		want       string
	}{
		{"out of memory", (*redistest.Server).FillMemory, func(s *redistest.Server) { s.SetMaxMemory(0) }, "OOM"},
		{"read-only", (*redistest.Server).ReadOnly, (*redistest.Server).Writable, "READONLY"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := redistest.Start(t)
			c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1})
			t.Cleanup(func() { _ = c.Close() })
			set(t, c, "k", "v")
			tc.begin(s)
			if err := c.Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("a write: %v, want %s", err, tc.want)
			}
			if got, err := c.Get(t.Context(), "k").Result(); got != "v" {
				t.Errorf("k = %q, %v; want v", got, err)
			}
			tc.end(s)
			set(t, c, "k", "w")
		})
	}
}
