package beat

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// timeline runs a test in fake time over a database in memory.
func timeline(t *testing.T, f func(t *testing.T, st store.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		f(t, st)
	})
}

// mortal is a store for a process that can die without giving up its leases.
type mortal struct {
	store.Store
	dead bool
}

func (m *mortal) ReleaseLeases(ctx context.Context, holder string, names ...string) error {
	if m.dead {
		return errDown
	}
	return m.Store.ReleaseLeases(ctx, holder, names...)
}

// deaf hears no wakes.
type deaf struct{ store.Store }

func (deaf) Listen(ctx context.Context, _ func(store.Wake)) error {
	<-ctx.Done()
	return ctx.Err()
}

func counters(t *testing.T, st store.Store, ref schedules.Ref) schedules.Schedule {
	t.Helper()
	loaded, _, err := st.Load(t.Context(), ref)
	if err != nil || loaded[0].Err != nil {
		t.Fatal(err, loaded[0].Err)
	}
	return loaded[0].State.Schedule
}

func TestAnHourOfTicks(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		everything := parts{beat: true, keeper: true, worker: true, takes: time.Second}
		first := &mortal{Store: st}
		a := startProcess(t, "host:1:x", first, everything)
		defer a.stop()
		b := startProcess(t, "host:2:x", st, everything)
		defer b.stop()
		ref := a.create("s", "1m", func(d *schedules.Definition) { d.Overlap = schedules.OverlapAllowAll })
		wait(20*time.Minute - 10*time.Millisecond)
		first.dead = true // dies just before a tick
		a.stop()
		wait(20 * time.Minute)
		c := startProcess(t, "host:3:x", st, everything)
		defer c.stop()
		wait(10*time.Minute + 20*time.Second)
		b.stop()
		wait(9 * time.Minute)
		n, worst := checkRegular(t, st, ref, time.Minute)
		if n < 59 || n > 61 || worst > 3*time.Second {
			t.Errorf("%d ticks, up to %s late; want 60, at most 3s late", n, worst)
		}
		late := 0
		for _, f := range history(t, st, ref) {
			if by := f.DecidedAt.Sub(f.Tick.Nominal); by > 2*wakeGap { // the first is found by a wake
				late++
				t.Logf("tick %s was %s late", f.Tick.Nominal, by)
			}
		}
		if late > 1 {
			t.Errorf("%d ticks were late, want at most the one after the death", late)
		}
	})
}

// The five policies with runs that outlast their interval, two beats, two keepers and two workers: one fate per nominal time, none missed, no two runs
// active at once except under allow_all.
func TestPoliciesUnderLoad(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		everything := parts{beat: true, keeper: true, worker: true, takes: 5 * time.Second}
		a := startProcess(t, "host:1:x", st, everything)
		defer a.stop()
		b := startProcess(t, "host:2:x", st, everything)
		defer b.stop()
		policies := []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll, schedules.OverlapCancelOther, schedules.OverlapAllowAll}
		var refs []schedules.Ref
		for i := range 25 {
			refs = append(refs, a.create(fmt.Sprintf("s%d", i), "2s", func(d *schedules.Definition) {
				d.Overlap, d.CancelGrace = policies[i%5], schedules.Duration(time.Second)
				d.Spec.EndAt = time.Now().Add(time.Minute)
			}))
		}
		wait(5 * time.Minute)
		for i, ref := range refs {
			fates := history(t, st, ref)
			if len(fates) != 30 {
				t.Errorf("%s: %d fates in a minute of ticks every 2s, want 30", policies[i%5], len(fates))
			}
			for n, f := range fates {
				if n > 0 && f.Tick.Nominal.Sub(fates[n-1].Tick.Nominal) != 2*time.Second {
					t.Errorf("%s: tick %s follows %s", policies[i%5], f.Tick.Nominal, fates[n-1].Tick.Nominal)
				}
				if f.Fate == schedules.FateMissed || f.Fate == schedules.FateBuffered {
					t.Errorf("%s: tick %s is %s in the end", policies[i%5], f.Tick.Nominal, f.Fate)
				}
			}
			runs, _, err := st.ListRuns(t.Context(), store.RunFilter{ScheduleID: ref.ID}, store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			if policies[i%5] != schedules.OverlapAllowAll {
				for n, r := range runs[:len(runs)-1] { // newest first
					if before := runs[n+1]; before.EndedAt.After(r.CreatedAt) {
						t.Errorf("%s: run became active at %s, the one before ended at %s", policies[i%5], r.CreatedAt, before.EndedAt)
					}
				}
			}
			s := counters(t, st, ref)
			if s.Active != 0 || s.Waiting() != 0 || s.Total != int64(len(runs)) || s.Total != s.Successful+s.Failed+s.Cancelled {
				t.Errorf("%s: the counters do not add up to %d runs: %+v", policies[i%5], len(runs), s.Tally)
			}
			if policies[i%5] == schedules.OverlapBufferAll && s.Successful != 30 {
				t.Errorf("buffer_all: %d of 30 ticks ran", s.Successful)
			}
		}
	})
}

func TestAWaitingTickStartsAtTheEndOfTheRun(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "host:1:x", st, parts{keeper: true, worker: true, takes: 3700 * time.Millisecond}) // no beat
		defer p.stop()
		ref := p.create("s", "1h", func(d *schedules.Definition) { d.Overlap = schedules.OverlapBufferAll })
		p.trigger(ref, "")
		start := time.Now()
		for range 4 {
			p.trigger(ref, "")
		}
		wait(time.Minute)
		fates := history(t, st, ref)
		var waited []time.Duration
		for _, f := range fates {
			if f.Tick.Trigger == schedules.TriggerManual {
				waited = append(waited, time.Duration(f.Waited))
			}
		}
		if len(waited) != 5 {
			t.Fatalf("%d manual ticks, want 5", len(waited))
		}
		s := counters(t, st, ref)
		if s.Successful < 5 {
			t.Fatalf("%d runs ended: %+v", s.Successful, s.Tally)
		}
		runs, _, err := st.ListRuns(t.Context(), store.RunFilter{ScheduleID: "s"}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		for n, r := range runs[:len(runs)-1] {
			if gap := r.CreatedAt.Sub(runs[n+1].EndedAt); gap < 0 || gap > 50*time.Millisecond {
				t.Errorf("a waiting tick started %s after the end of the run before it (all since %s)", gap, start)
			}
		}
	})
}

// The wake of a run's end is lost: the keeper's poll finds the waiting tick.
func TestALostWakeIsMendedByThePoll(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "host:1:x", deaf{st}, parts{beat: true, keeper: true, worker: true, takes: 300 * time.Millisecond})
		defer p.stop()
		wait(7 * time.Second)
		other := startProcess(t, "cli", st, parts{})
		defer other.stop()
		ref := other.create("s", "1h", func(d *schedules.Definition) { d.Overlap = schedules.OverlapBufferOne }) // its first tick is now
		created := time.Now()
		wait(DefaultPollInterval + 10*time.Millisecond)
		fates := history(t, st, ref)
		if len(fates) != 1 || fates[0].Fate != schedules.FateStarted {
			t.Fatalf("the beat's poll did not find the new schedule: %+v", fates)
		}
		if late := fates[0].DecidedAt.Sub(created); late < 10*time.Millisecond {
			t.Fatalf("started %s after its creation: a wake was heard", late)
		}
		p.trigger(ref, schedules.OverlapBufferOne)
		p.trigger(ref, schedules.OverlapBufferOne)
		wait(5 * time.Second)
		if s := counters(t, st, ref); s.Waiting() != 0 || s.Active != 0 || s.Successful < 2 {
			t.Errorf("ticks still wait: %+v", s.Tally)
		}
	})
}

// A worker dies in the middle of a run, with the keeper that held the shards: another takes both over.
func TestARunOfADeadWorkerIsRecovered(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		first := &mortal{Store: st}
		a := startProcess(t, "host:1:x", first, parts{keeper: true, worker: true, takes: time.Hour})
		defer a.stop()
		wait(time.Second)
		b := startProcess(t, "host:2:x", st, parts{keeper: true, worker: true, takes: time.Second})
		defer b.stop()
		run := schedules.NewRun(schedules.FreeRunID("x"), "w", "", nil, nil, st.Estimate())
		if _, _, err := a.eng.CreateRun(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		first.dead = true
		a.stop()
		wait(18 * time.Second)
		got, err := st.GetRun(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != schedules.RunCompleted || got.Worker != "host:2:x" || got.Recoveries != 1 || got.Attempt != 1 {
			t.Errorf("18s after its worker died the run is %s on %s, recoveries %d, attempt %d", got.Status, got.Worker, got.Recoveries, got.Attempt)
		}
	})
}

// The transport loses a message: its run is found missing and sent anew.
func TestALostMessageIsSentAnew(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "host:1:x", st, parts{keeper: true, worker: true, takes: time.Second, looker: &fakeTransport{state: store.MessageGone}})
		defer p.stop()
		p.mu.Lock()
		p.decline = func(m store.Message) bool { return m.Dispatch == 1 }
		p.mu.Unlock()
		run := schedules.NewRun(schedules.FreeRunID("x"), "w", "", nil, nil, st.Estimate())
		if _, _, err := p.eng.CreateRun(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		wait(12 * time.Second)
		got, err := st.GetRun(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != schedules.RunCompleted || got.Dispatch != 2 {
			t.Errorf("12s after its message was lost the run is %s, dispatch %d", got.Status, got.Dispatch)
		}
	})
}

// A process without a transport leaves its messages in the outbox: a keeper sends them.
func TestMessagesOfAProcessWithoutATransport(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "host:1:x", st, parts{keeper: true, worker: true, takes: time.Millisecond})
		defer p.stop()
		wait(1300 * time.Millisecond)
		cli := startProcess(t, "cli", st, parts{})
		defer cli.stop()
		run := schedules.NewRun(schedules.FreeRunID("x"), "w", "", nil, nil, st.Estimate())
		if _, _, err := cli.eng.CreateRun(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		wait(1100 * time.Millisecond)
		if got, err := st.GetRun(t.Context(), run.ID); err != nil || got.Status != schedules.RunCompleted {
			t.Errorf("1.1s after it was left the run is %s, %v", got.Status, err)
		}
	})
}
