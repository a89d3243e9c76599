package roundtrip_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/roundtrip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// number is a call that doubles.
type number struct{ in, out int }

// server takes a second for a round trip and remembers how many calls each carried.
type server struct {
	mu    sync.Mutex
	trips []int
}

func (s *server) send(ctx context.Context, calls []*number) {
	s.mu.Lock()
	s.trips = append(s.trips, len(calls))
	s.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return
	}
	for _, c := range calls {
		c.out = 2 * c.in
	}
}

func TestCallsThatMeetGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := roundtrip.New(s.send)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				c := &number{in: i}
				if err := g.Do(t.Context(), c); err != nil || c.out != 2*i {
					t.Errorf("call %d gave %d: %v", i, c.out, err)
				}
			})
		}
		wg.Wait()
		calls := 0
		for _, n := range s.trips {
			calls += n
		}
		if calls != 1000 || len(s.trips) > 8 || s.trips[0] != 1 {
			t.Errorf("trips of %v calls", s.trips)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		began = time.Now()
		if c := (&number{in: 1}); g.Do(t.Context(), c) != nil || c.out != 2 || time.Since(began) != time.Second {
			t.Errorf("one alone: %+v after %s", c, time.Since(began))
		}
	})
}

func TestWhoGivesUpHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := roundtrip.New(s.send)
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		do := func(ctx context.Context, want error) {
			wg.Go(func() {
				c := &number{in: 1}
				if err := g.Do(ctx, c); !errors.Is(err, want) || want == nil && c.out != 2 {
					t.Errorf("%v, %+v; want %v", err, c, want)
				}
			})
			synctest.Wait()
		}
		for range 3 { // alone
			do(t.Context(), nil)
		}
		do(short, context.DeadlineExceeded)
		do(t.Context(), nil)
		wg.Wait()
		for range 3 {
			do(t.Context(), nil)
		}
		gone, end := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer end()
		do(gone, context.DeadlineExceeded)
		began := time.Now()
		wg.Wait()
		synctest.Wait()
		if time.Since(began) > 1200*time.Millisecond { // nobody waits for the second trip
			t.Errorf("ended after %s", time.Since(began))
		}
	})
}
