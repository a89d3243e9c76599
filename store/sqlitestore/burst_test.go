//go:build unix

package sqlitestore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBurst is what a thousand schedules that are due at one instant ask of the store, phase after phase, as the local runtime does: states read ahead, four batches of
// commits, their messages struck off, claims and ends by many at once. Its figures are microseconds of processor time per run.
func BenchmarkBurst(b *testing.B) {
	const many, batches, workers = 1000, 4, 64
	s, err := sqlitestore.Open(b.Context(), sqlitestore.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx := b.Context()
	now := func() time.Time { return time.Now().Truncate(time.Millisecond).UTC() }
	refs := make([]schedules.Ref, many)
	created := make([]schedules.Change, many)
	for i := range created {
		created[i] = storetest.Create(fmt.Sprintf("s%d", i), "inc1", now())
		refs[i] = created[i].Schedule.Ref()
	}
	if err := errors.Join(s.Commit(ctx, created...)...); err != nil {
		b.Fatal(err)
	}
	var sums [5]time.Duration
	each := func(which, n, at int, f func(i int) error) {
		began := cpu()
		var wg sync.WaitGroup
		var next atomic.Int64
		for range at {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					if err := f(i); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		sums[which] += cpu() - began
	}
	nominal := now()
	for b.Loop() {
		nominal = nominal.Add(time.Second)
		states := make([]store.Loaded, many)
		each(0, batches, 1, func(i int) error {
			got, _, err := s.Load(ctx, refs[i*many/batches:(i+1)*many/batches]...)
			copy(states[i*many/batches:], got)
			return err
		})
		changes, runs, claimed := make([]schedules.Change, many), make([]schedules.Run, many), make([]schedules.Run, many)
		for i := range changes {
			changes[i] = storetest.Next(states[i].State.Schedule, now())
			changes[i].Schedule.NextNominal, changes[i].Schedule.NextDue = nominal, nominal
			runs[i] = storetest.Start(&changes[i], schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: nominal})
		}
		each(1, batches, batches, func(i int) error {
			return errors.Join(s.Commit(ctx, changes[i*many/batches:(i+1)*many/batches]...)...)
		})
		each(2, batches, batches, func(i int) error {
			var msgs []store.Message
			for _, r := range runs[i*many/batches : (i+1)*many/batches] {
				msgs = append(msgs, store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue})
			}
			return s.StrikeOff(ctx, msgs...)
		})
		each(3, many, workers, func(i int) (err error) {
			claimed[i], err = s.Claim(ctx, runs[i].ID, 1, store.Claim{Worker: "w", Token: runs[i].ID})
			return err
		})
		each(4, many, workers, func(i int) error {
			end := storetest.End(claimed[i], schedules.RunCompleted, now())
			end.Events = []schedules.Event{{At: now(), Kind: "claimed", Message: "m"}, {At: now(), Kind: "ended", Message: "m"}}
			return s.CommitRun(ctx, end)
		})
	}
	for i, name := range []string{"load", "commit", "strike", "claim", "end"} {
		b.ReportMetric(float64(sums[i].Microseconds())/float64(b.N)/many, name+"-µs")
	}
}
