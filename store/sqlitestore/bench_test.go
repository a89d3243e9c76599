package sqlitestore_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// BenchmarkTick is everything a tick of a schedule asks of the store, by many at once: load, start, strike off, claim, end with two events.
func BenchmarkTick(b *testing.B) {
	s, err := sqlitestore.Open(b.Context(), sqlitestore.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var n atomic.Int64
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		ctx := b.Context()
		c := storetest.Create(fmt.Sprintf("s%d", n.Add(1)), "inc1", time.Now().Truncate(time.Millisecond).UTC())
		if err := s.Commit(ctx, c)[0]; err != nil {
			b.Error(err)
			return
		}
		ref, nominal := c.Schedule.Ref(), c.Now
		for pb.Next() {
			loaded, now, err := s.Load(ctx, ref)
			if err != nil {
				b.Error(err)
				return
			}
			nominal = nominal.Add(time.Second)
			c := storetest.Next(loaded[0].State.Schedule, now)
			c.Schedule.NextNominal, c.Schedule.NextDue = nominal, nominal
			run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: nominal})
			if err := s.Commit(ctx, c)[0]; err != nil {
				b.Error(err)
				return
			}
			if err := s.StrikeOff(ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}); err != nil {
				b.Error(err)
				return
			}
			claimed, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: run.ID})
			if err != nil {
				b.Error(err)
				return
			}
			end := storetest.End(claimed, schedules.RunCompleted, now)
			end.Events = []schedules.Event{{At: now, Kind: "claimed", Message: "m"}, {At: now, Kind: "ended", Message: "m"}}
			if err := s.CommitRun(ctx, end); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
