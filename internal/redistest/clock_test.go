package redistest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestStepClock(t *testing.T) {
	s := redistest.Start(t, redistest.FakeClock(), redistest.AppendOnly())
	var c *redis.Client
	var sub *redis.PubSub
	connect := func() {
		t.Helper()
		c = s.Client(t)
		sub = c.Subscribe(t.Context(), "news")
		t.Cleanup(func() { _ = sub.Close() })
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	off := func(want time.Duration) {
		t.Helper()
		before := time.Now()
		got, err := c.Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if low, high := before.Add(want).Truncate(time.Microsecond), time.Now().Add(want); got.Before(low) || got.After(high) {
			t.Errorf("the server's clock is off by about %s, want %s", got.Sub(before), want)
		}
		// It serves on: timeouts of its own, and news.
		if err := c.Do(t.Context(), "BLPOP", "empty", "0.01").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("BLPOP with a timeout: %v, want nothing", err)
		}
		if err := c.Publish(t.Context(), "news", want.String()).Err(); err != nil {
			t.Error(err)
		}
		if m, err := sub.ReceiveMessage(t.Context()); err != nil || m.Payload != want.String() {
			t.Errorf("heard %v, %v; want %s", m, err, want)
		}
	}

	connect()
	off(0)
	if err := c.Set(t.Context(), "k", "v", 30*time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	s.StepClock(-time.Hour)
	off(-time.Hour)
	if got := c.Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("an hour back k = %q, want v", got)
	}
	s.StepClock(time.Hour + 1500*time.Millisecond)
	off(1500 * time.Millisecond)
	s.Kill()
	s.Restart()
	connect()
	off(1500 * time.Millisecond)
	s.StepClock(time.Hour)
	off(time.Hour + 1500*time.Millisecond)
	if got, err := c.Get(t.Context(), "k").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("past its end k = %q, %v; want it expired", got, err)
	}
}

func TestStepClockNeedsAFakeOne(t *testing.T) {
	rec := &recorder{TB: t}
	s := redistest.Start(rec)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.StepClock(time.Hour)
	}()
	<-done
	if !strings.Contains(rec.fatal, "FakeClock") {
		t.Errorf("said %q, want a refusal that names FakeClock", rec.fatal)
	}
}
