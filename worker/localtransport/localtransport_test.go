package localtransport_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ worker.Transport = (*localtransport.Transport)(nil)

// served is a transport with a server whose handlers take a second.
type served struct {
	*localtransport.Transport
	t    *testing.T
	stop context.CancelFunc
	done chan error

	mu  sync.Mutex
	got []string
}

func serve(t *testing.T, queues map[string]int, concurrency int, before ...store.Message) *served {
	s := &served{Transport: localtransport.New(), t: t, done: make(chan error, 1)}
	if len(before) > 0 {
		s.dispatch(before...)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() {
		s.done <- s.Serve(ctx, queues, concurrency, func(_ context.Context, m store.Message) error {
			s.mu.Lock()
			s.got = append(s.got, fmt.Sprintf("%s:%d", m.RunID, m.Dispatch))
			s.mu.Unlock()
			<-time.After(time.Second)
			return nil
		})
	}()
	return s
}

func (s *served) dispatch(msgs ...store.Message) []store.Message {
	s.t.Helper()
	sent, err := s.Dispatch(context.Background(), msgs)
	if err != nil {
		s.t.Fatal(err)
	}
	return sent
}

func (s *served) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Error(err)
	}
}

func (s *served) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, " ")
}

func (s *served) look(m store.Message) store.MessageState {
	s.t.Helper()
	states, err := s.Look(context.Background(), m)
	if err != nil {
		s.t.Fatal(err)
	}
	return states[0]
}

func msg(queue, run string) store.Message {
	return store.Message{RunID: run, Dispatch: 1, Queue: queue}
}

func TestMessagesAreKnownWhileTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := msg("q", "a"), msg("q", "b")
		s := serve(t, nil, 1, a, b, a)
		synctest.Wait()
		for m, want := range map[store.Message]store.MessageState{a: store.MessageActive, b: store.MessageQueued, msg("q", "c"): store.MessageGone} {
			if got := s.look(m); got != want {
				t.Errorf("%s is %s; want %s", m.RunID, got, want)
			}
		}
		if sent := s.dispatch(a, b); len(sent) != 2 { // again: counts as handed over, and changes nothing
			t.Errorf("sent %v", sent)
		}
		<-time.After(5 * time.Second)
		if got := s.all(); got != "a:1 b:1" {
			t.Errorf("got %s", got)
		}
		if got := s.look(a); got != store.MessageGone {
			t.Errorf("a is %s", got)
		}
		again := a
		again.Dispatch = 2
		s.dispatch(again)
		<-time.After(2 * time.Second)
		if got := s.all(); got != "a:1 b:1 a:2" {
			t.Errorf("got %s", got)
		}
		s.end()
	})
}

func TestQueuesAreWeighed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var msgs []store.Message
		for i := range 6 {
			msgs = append(msgs, msg("low", fmt.Sprintf("l%d", i)))
		}
		for i := range 6 {
			msgs = append(msgs, msg("high", fmt.Sprintf("h%d", i)))
		}
		msgs = append(msgs, msg("other", "never"))
		s := serve(t, map[string]int{"high": 2, "low": 1}, 1, msgs...)
		<-time.After(6*time.Second - time.Millisecond)
		got := s.all()
		if high := strings.Count(got, "h"); high != 4 || strings.Count(got, "l") != 2 {
			t.Errorf("of the first six %d are high: %s", high, got)
		}
		<-time.After(10 * time.Second)
		if got := strings.Fields(s.all()); len(got) != 12 {
			t.Errorf("got %v", got)
		}
		if state := s.look(msg("other", "never")); state != store.MessageQueued {
			t.Errorf("a message of a queue that is not served is %s", state)
		}
		s.end()
		if state := s.look(msg("other", "never")); state != store.MessageGone {
			t.Errorf("after the end it is %s", state)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, 2)
		for i := range 5 {
			s.dispatch(msg(fmt.Sprint("q", i), fmt.Sprint(i)))
		}
		for second, want := range []int{2, 4, 5} {
			<-time.After(500 * time.Millisecond)
			if got := len(strings.Fields(s.all())); got != want {
				t.Errorf("after %d s %d were handed out; want %d", second, got, want)
			}
			<-time.After(500 * time.Millisecond)
		}
		s.end()
	})
}

func TestEndWaitsForHandlersAndRefusesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, 1, msg("q", "a"), msg("q", "b"))
		synctest.Wait()
		began := time.Now()
		s.end()
		if took := time.Since(began); took != time.Second {
			t.Errorf("ended after %s; want 1s, when the handler had", took)
		}
		if got := s.all(); got != "a:1" {
			t.Errorf("got %s", got)
		}
		if sent := s.dispatch(msg("q", "c")); len(sent) != 0 {
			t.Errorf("took %v although nobody serves any more", sent)
		}
	})
}

func TestServeWithoutConcurrency(t *testing.T) {
	if err := localtransport.New().Serve(t.Context(), nil, 0, nil); err == nil {
		t.Error("no error")
	}
}
