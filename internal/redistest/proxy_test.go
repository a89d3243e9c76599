package redistest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// wire is a bare connection: what a client library would hide shows.
type wire struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, addr string) wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return wire{t, c}
}

// ask sends a command and reads n bytes of reply, waiting at most that long.
func (w wire) ask(command string, n int, wait time.Duration) (string, error) {
	w.t.Helper()
	if _, err := io.WriteString(w, command+"\r\n"); err != nil {
		return "", err
	}
	if err := w.SetReadDeadline(time.Now().Add(wait)); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, n)
	got, err := io.ReadFull(w, b)
	return string(b[:got]), err
}

const (
	pong    = "+PONG\r\n"
	long    = 20 * time.Second
	shortly = 100 * time.Millisecond
)

func TestProxyCut(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("and mend", func(t *testing.T) {
		p := redistest.ProxyTo(t, redistest.Start(t))
		w := dial(t, p.Addr())
		if got, err := w.ask("PING", len(pong), long); got != pong {
			t.Fatalf("PING through a whole network: %q, %v", got, err)
		}
		for range 2 { // a second one is harmless
			p.Cut()
		}
		if got, err := w.ask("PING", len(pong), long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("PING on a cut connection: %q, %v; want it closed", got, err)
		}
		if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial while cut: %v, want it refused", err)
		}
		p.Mend()
		p.Mend()
		opt, err := redis.ParseURL(p.URL())
		if err != nil || opt.Addr != p.Addr() {
			t.Errorf("URL = %q (%v), want one of %s", p.URL(), err, p.Addr())
		}
		set(t, p.Client(t), "k", "v")
		p.Cut() // the end of the test must end a cut one, too
	})
	goleak.VerifyNone(t, before)
}

func TestProxyDelay(t *testing.T) {
	p := redistest.ProxyTo(t, redistest.Shared(t))
	w := dial(t, p.Addr())
	if got, err := w.ask("PING", len(pong), long); got != pong {
		t.Fatalf("PING: %q, %v", got, err)
	}
	p.Delay(60*time.Millisecond, 10*time.Millisecond)
	start := time.Now()
	if got, err := w.ask("PING", len(pong), long); got != pong || time.Since(start) < 100*time.Millisecond {
		t.Errorf("PING with 50 ms or more each way: %q, %v after %s", got, err, time.Since(start))
	}
	p.Mend()
	if got, err := w.ask("PING", len(pong), long); got != pong {
		t.Errorf("PING on the same connection, mended: %q, %v", got, err)
	}
}

func TestProxyHalfOpen(t *testing.T) {
	p := redistest.ProxyTo(t, redistest.Shared(t))
	old := dial(t, p.Addr())
	if got, err := old.ask("PING", len(pong), long); got != pong {
		t.Fatalf("PING: %q, %v", got, err)
	}
	p.HalfOpen()
	for name, w := range map[string]wire{"an open": old, "a new": dial(t, p.Addr())} {
		if got, err := w.ask("PING", len(pong), shortly); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("PING on %s connection: %q, %v; want silence", name, got, err)
		}
	}
	p.Mend()
	if got, err := old.ask("PING", len(pong), long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("PING on a connection that lost bytes: %q, %v; want it closed", got, err)
	}
	if got, err := dial(t, p.Addr()).ask("PING", len(pong), long); got != pong {
		t.Errorf("PING, mended: %q, %v", got, err)
	}
}

func TestProxyLoseReplies(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.ProxyTo(t, s)
	p.LoseReplies()
	if got, err := dial(t, p.Addr()).ask("RPUSH list a", 1, shortly); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("RPUSH: %q, %v; want silence", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if got, err := s.Client(t).BLPop(ctx, 0, "list").Result(); err != nil || got[1] != "a" {
		t.Errorf("the server has %v, %v; want what it was sent", got, err)
	}
}

func TestProxyResetMidReply(t *testing.T) {
	s := redistest.Start(t)
	set(t, s.Client(t), "k", strings.Repeat("x", 1000))
	p := redistest.ProxyTo(t, s)
	old := dial(t, p.Addr())
	if got, err := old.ask("PING", len(pong), long); got != pong {
		t.Fatalf("PING: %q, %v", got, err)
	}
	p.ResetMidReply(500)
	for name, w := range map[string]wire{"an open": old, "a new": dial(t, p.Addr())} {
		if got, err := w.ask("GET k", 1000, long); len(got) > 500 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s connection: %d bytes, %v; want at most 500 and a reset", name, len(got), err)
		}
	}
	p.Mend()
	if got, err := p.Client(t).Get(t.Context(), "k").Result(); len(got) != 1000 {
		t.Errorf("mended: %d bytes, %v; want 1000", len(got), err)
	}
}

// Under traffic, too, nothing is left behind, and what is mended works.
func TestProxyUnderTraffic(t *testing.T) {
	s := redistest.Start(t)
	set(t, s.Client(t), "k", strings.Repeat("x", 100<<10))
	before := goleak.IgnoreCurrent()
	t.Run("broken again and again", func(t *testing.T) {
		p := redistest.ProxyTo(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var traffic sync.WaitGroup
		defer traffic.Wait()
		defer cancel()
		for range 8 {
			traffic.Go(func() {
				c := redis.NewClient(&redis.Options{Addr: p.Addr(), ReadTimeout: shortly, MaxRetries: -1})
				defer func() { _ = c.Close() }()
				for ctx.Err() == nil && p.URL() == "redis://"+c.Options().Addr+"/0" { // its address stays as it is
					_ = c.Get(ctx, "k").Err() // whatever comes of it
				}
			})
		}
		whole := redis.NewClient(&redis.Options{Addr: p.Addr(), ReadTimeout: shortly, MaxRetries: -1})
		t.Cleanup(func() { _ = whole.Close() })
		for range 5 {
			for _, breakIt := range []func(){
				p.Cut, p.HalfOpen, p.LoseReplies, func() { p.ResetMidReply(5000) }, func() { p.Delay(time.Millisecond, time.Millisecond) },
			} {
				breakIt()
				failing := whole.Get(ctx, "k").Err() // lets the fault bite
				p.Mend()
				var got string
				for deadline := time.Now().Add(long); len(got) != 100<<10; {
					var err error
					if got, err = whole.Get(ctx, "k").Result(); err != nil && time.Now().After(deadline) {
						t.Fatalf("mended for %s: %v (broken: %v)", long, err, failing)
					}
				}
			}
		}
	})
	goleak.VerifyNone(t, before)
}
