package sqlitestore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// In memory the store lives in a synctest bubble: hours of leases and ticks pass at once.
func TestFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		woken := make(chan store.Wake, 100)
		listened := make(chan error, 1)
		go func() { listened <- s.Listen(ctx, func(w store.Wake) { woken <- w }) }()
		synctest.Wait()

		ref := create(t, s, "a")
		if w := <-woken; !w.Ticks {
			t.Errorf("woken with %+v", w)
		}
		run := storetest.FreeRun("flow", "x", s.Estimate())
		if _, _, err := s.CreateRun(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		claimed, err := s.Claim(t.Context(), run.ID, 1, store.Claim{Worker: "w", Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(schedules.Lease - time.Millisecond)
		if list, err := s.ExpiredLeases(t.Context(), 0, s.Estimate(), 10); err != nil || len(list) != 0 {
			t.Fatalf("before it runs out: %v, %v", list, err)
		}
		<-time.After(time.Millisecond)
		list, err := s.ExpiredLeases(t.Context(), 0, s.Estimate(), 10)
		if err != nil || len(list) != 1 || !list[0].Until.Equal(claimed.Lease) {
			t.Fatalf("when it runs out: %v, %v", list, err)
		}
		<-time.After(24 * time.Hour)
		ticks, err := s.DueTicks(t.Context(), 0, s.Estimate(), 10)
		if err != nil || len(ticks) != 1 || ticks[0].Ref != ref {
			t.Fatalf("ticks: %v, %v", ticks, err)
		}
		cancel()
		if err := <-listened; !errors.Is(err, context.Canceled) {
			t.Errorf("Listen ended with %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
