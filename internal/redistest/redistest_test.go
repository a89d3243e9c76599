package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

func TestStartEndsWithItsTest(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var addr string
	t.Run("alive", func(t *testing.T) {
		s := redistest.Start(t)
		addr = s.Addr()
		if s.PID() == 0 {
			t.Error("PID = 0 of a running server")
		}
		opt, err := redis.ParseURL(s.URL())
		if err != nil || opt.Addr != addr {
			t.Errorf("URL = %q (%v), want one of %s", s.URL(), err, addr)
		}
		set(t, s.Client(t), "k", "v")
	})
	if answers(addr) {
		t.Errorf("%s still answers after its test", addr)
	}
	goleak.VerifyNone(t, before)
}

func TestRestart(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []redistest.Option
		want string
	}{
		{"without a file a crash forgets", nil, ""},
		{"append-only keeps every write", []redistest.Option{redistest.AppendOnly()}, "v"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := redistest.Start(t, tc.opts...)
			c := s.Client(t)
			set(t, c, "k", "v")
			addr, pid := s.Addr(), s.PID()
			s.Kill()
			s.Kill() // a second one is harmless
			if s.PID() != 0 {
				t.Error("PID of a killed server is not 0")
			}
			if answers(addr) {
				t.Error("a killed server answers")
			}
			s.Restart()
			if s.Addr() != addr || s.PID() == pid {
				t.Errorf("restarted at %s as process %d, want %s and another process than %d", s.Addr(), s.PID(), addr, pid)
			}
			got, err := c.Get(t.Context(), "k").Result()
			if err != nil && !errors.Is(err, redis.Nil) || got != tc.want {
				t.Errorf("k = %q, %v; want %q", got, err, tc.want)
			}
			s.Stop()
			s.Stop()
			s.Restart()
			set(t, c, "k", "again")
			s.Restart() // of a running one
			if err := c.Ping(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPause(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client(t)
	set(t, c, "k", "v")
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	impatient := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = impatient.Close() })
	if err := impatient.Ping(ctx).Err(); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	if got := c.Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("k = %q after Resume, want v", got)
	}
	s.Pause() // Cleanup must end a paused server, too
}

func TestArgs(t *testing.T) {
	c := redistest.Start(t, redistest.Args("--maxmemory", "12mb")).Client(t)
	got, err := c.ConfigGet(t.Context(), "maxmemory").Result()
	if want := strconv.Itoa(12 << 20); err != nil || got["maxmemory"] != want {
		t.Errorf("maxmemory = %q, %v; want %s", got["maxmemory"], err, want)
	}
}

func TestSharedIsOne(t *testing.T) {
	a, b := redistest.Shared(t), redistest.Shared(t)
	if a.Addr() != b.Addr() || a.PID() != b.PID() || a.PID() == 0 {
		t.Errorf("two shared servers: %s (%d), %s (%d)", a.Addr(), a.PID(), b.Addr(), b.PID())
	}
	for name, act := range map[string]func(*redistest.Server){
		"Kill": (*redistest.Server).Kill, "Stop": (*redistest.Server).Stop, "Restart": (*redistest.Server).Restart,
		"Pause": (*redistest.Server).Pause, "Resume": (*redistest.Server).Resume,
	} {
		rec := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			act(redistest.Shared(rec))
		}()
		<-done
		if !strings.Contains(rec.fatal, "redistest.Start") {
			t.Errorf("%s of the shared server said %q, want a refusal that names redistest.Start", name, rec.fatal)
		}
	}
	set(t, a.Client(t), redistest.Namespace(t), "v")
}

func TestSharedInBubble(t *testing.T) {
	s := redistest.Shared(t)
	ns := redistest.Namespace(t)
	synctest.Test(t, func(t *testing.T) {
		c := s.Client(t)
		set(t, c, ns, "v")
		before := time.Now()
		<-time.After(time.Hour)
		if got := c.Get(t.Context(), ns).Val(); got != "v" || time.Since(before) != time.Hour {
			t.Errorf("after %s of fake time k = %q, want 1h and v", time.Since(before), got)
		}
	})
}

func TestNamespaceDiffers(t *testing.T) {
	if a, b := redistest.Namespace(t), redistest.Namespace(t); a == b {
		t.Errorf("the same namespace twice: %s", a)
	}
}

func TestMissingServerSaysHowToInstall(t *testing.T) {
	t.Setenv("REDIS_SERVER", "/nowhere/redis-server")
	rec := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		redistest.Start(rec)
	}()
	<-done
	if !strings.Contains(rec.fatal, "make deps") || strings.Contains(rec.fatal, "\n") {
		t.Errorf("said %q, want one line that names `make deps`", rec.fatal)
	}
}

func TestFailureShowsTheLog(t *testing.T) {
	rec := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		redistest.Start(rec, redistest.Args("--no-such-option", "1"))
	}()
	<-done
	if !strings.Contains(rec.fatal, "no-such-option") {
		t.Errorf("said %q, want redis-server's own complaint", rec.fatal)
	}
}

func TestStartCluster(t *testing.T) {
	cl := redistest.StartCluster(t, 3)
	if len(cl.Addrs()) != 3 {
		t.Fatalf("addresses %v, want 3", cl.Addrs())
	}
	c := cl.Client(t)
	// Keys of three slots, one on each node.
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := c.Set(t.Context(), "{"+k+"}", k, 0).Err(); err != nil {
			t.Error(err)
		}
	}
	held := 0
	for _, n := range cl.Nodes {
		size, err := n.Client(t).DBSize(t.Context()).Result()
		if err != nil {
			t.Error(err)
		}
		if size > 0 {
			held++
		}
	}
	if held != 3 {
		t.Errorf("%d nodes hold keys, want 3", held)
	}
	err := c.MSet(t.Context(), "{a}", 1, "{b}", 2).Err()
	if err == nil || !strings.Contains(err.Error(), "slot") {
		t.Errorf("MSET over two slots: %v, want a refusal", err)
	}
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	return err == nil && c.Close() == nil
}

// recorder is a testing.TB that keeps what Fatalf says in place of failing the test.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func set(tb testing.TB, c *redis.Client, k, v string) {
	tb.Helper()
	if err := c.Set(tb.Context(), k, v, 0).Err(); err != nil {
		tb.Fatalf("set %s: %v", k, err)
	}
}
