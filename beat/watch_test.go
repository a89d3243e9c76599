package beat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// troubled is an engine that cannot decide one schedule, or decides nothing until it is told to go on.
type troubled struct {
	Engine
	mu     sync.Mutex
	refuse error         // of schedules named bad
	frozen chan struct{} // closed: it goes on; nil: it always did
}

func (e *troubled) set(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse = err
}

func (e *troubled) Decide(ctx context.Context, refs ...schedules.Ref) []engine.Decided {
	if e.frozen != nil {
		select {
		case <-e.frozen:
		case <-ctx.Done():
		}
	}
	e.mu.Lock()
	refuse := e.refuse
	e.mu.Unlock()
	out := make([]engine.Decided, len(refs))
	for i, ref := range refs {
		if refuse != nil && strings.HasPrefix(ref.ID, "bad") {
			out[i].Err = refuse
		} else {
			out[i] = e.Engine.Decide(ctx, ref)[0]
		}
	}
	return out
}

// overdues keeps what an observer is told.
type overdues struct {
	mu   sync.Mutex
	told []Overdue
}

func (o *overdues) Overdue(one Overdue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, one)
}

func (o *overdues) all() []Overdue {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.told)
}

// startBeat runs a beat alone until the returned stop.
func startBeat(t *testing.T, cfg Config) (b *Beat, stop func()) {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return b, sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

func TestOverdueBound(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		for _, c := range []struct {
			poll, after, want time.Duration
			bad               bool
		}{
			{poll: 0, want: 15 * time.Second},
			{poll: 2 * time.Second, want: 6 * time.Second},
			{poll: 2 * time.Second, after: 3 * time.Second, want: 3 * time.Second},
			{poll: 2 * time.Second, after: 2 * time.Second, bad: true},
			{poll: 2 * time.Second, after: -1, bad: true},
		} {
			b, err := New(Config{Store: st, Engine: &troubled{}, PollInterval: c.poll, OverdueAfter: c.after})
			if (err != nil) != c.bad {
				t.Errorf("%+v: error %v", c, err)
			}
			if err == nil && b.cfg.OverdueAfter != c.want {
				t.Errorf("%+v: bound %s", c, b.cfg.OverdueAfter)
			}
		}
	})
}

// A schedule that cannot be decided is told of once its bound has passed, once, with what was tried and the error; when it can be decided again, the watchdog does
// not wait for the end of the entry's hold. Others are not in the way.
func TestOverdueThatCannotBeDecided(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "cli", st, parts{})
		defer p.stop()
		eng := &troubled{Engine: p.eng}
		var log lines
		var told, toldOther overdues
		b, stop := startBeat(t, Config{Store: st, Engine: eng, Log: log.logger(), Observer: &told})
		defer stop()
		wait(time.Second)
		_, stopOther := startBeat(t, Config{Store: st, Engine: eng, Observer: &toldOther}) // without a shard
		defer stopOther()
		bad := p.create("bad", "1h", allowAll)
		good := p.create("good", "1m", allowAll)
		wait(30 * time.Minute)
		if s := b.Stats(); s.Overdue != 0 || s.Mended != 0 {
			t.Fatalf("in good order: %+v", s)
		}
		eng.set(errors.New("no room"))
		wait(30*time.Minute + 14*time.Second)
		if n := b.Stats().Overdue; n != 0 {
			t.Errorf("%d overdue before the bound", n)
		}
		wait(7 * time.Second)
		if n := b.Stats().Overdue; n != 1 {
			t.Errorf("%d overdue after the bound and a poll", n)
		}
		wait(3 * time.Minute)
		if n := log.count("is overdue and cannot be decided"); n != 1 || log.count("schedule_id=bad") == 0 || log.count("tried ") != 1 || log.count("no room") == 0 {
			t.Errorf("told of %d times:\n%s", n, log.buf.String())
		}
		if got := told.all(); len(got) != 1 || got[0].Ref != bad || got[0].Err == nil || !strings.Contains(got[0].Cause, "tried ") || got[0].At.Sub(got[0].Due) < 15*time.Second {
			t.Errorf("the observer was told %+v", got)
		}
		if got := toldOther.all(); len(got) != 0 {
			t.Errorf("the observer of the beat without the shard was told %+v", got)
		}
		eng.set(nil)
		before := time.Now()
		wait(6 * time.Second)
		fates := history(t, st, bad)
		if len(fates) != 2 || fates[1].DecidedAt.Sub(before) > 5*time.Second+time.Millisecond {
			t.Errorf("decided %+v, want within a poll of %s", fates, before)
		}
		if s := b.Stats(); s.Overdue != 1 || s.Mended > 1 {
			t.Errorf("overdue %d, mended %d", s.Overdue, s.Mended)
		}
		if n, worst := checkRegular(t, st, good, time.Minute); n < 60 || worst > 100*time.Millisecond {
			t.Errorf("the other schedule had %d ticks, up to %s late", n, worst)
		}
	})
}

// A beat that lives, renews its leases and decides nothing is stood in for by another, within the bound and a poll.
func TestOverdueBehindAFrozenBeat(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		p := startProcess(t, "cli", st, parts{})
		defer p.stop()
		frozen := make(chan struct{})
		_, stopA := startBeat(t, Config{Store: st, Engine: &troubled{Engine: p.eng, frozen: frozen}, ID: "host:1:frozen"})
		defer stopA()
		wait(time.Second)
		var log lines
		var told overdues
		b, stopB := startBeat(t, Config{Store: st, Engine: p.eng, ID: "host:2:x", Log: log.logger(), Observer: &told})
		defer stopB()
		_, stopC := startBeat(t, Config{Store: st, Engine: p.eng, ID: "host:3:x", Observer: &told}) // looks at the same instants
		defer stopC()
		wait(time.Minute)
		ref := p.create("s", "1h", allowAll)
		wait(20*time.Second + 100*time.Millisecond)
		fates := history(t, st, ref)
		if len(fates) != 1 || fates[0].DecidedAt.Sub(fates[0].Tick.Nominal) > 20*time.Second {
			t.Errorf("history %+v, want the first tick within 20 s", fates)
		}
		if s := b.Stats(); len(s.Shards) != 0 || s.Overdue != 1 || s.Mended != 1 {
			t.Errorf("the second beat: %+v", s)
		}
		if log.count("a schedule was overdue; it is decided now") != 1 || log.count("beat host:1:frozen holds shard 0") != 1 {
			t.Errorf("log:\n%s", log.buf.String())
		}
		if got := told.all(); len(got) != 1 || got[0].Ref != ref || got[0].Err != nil || got[0].Workflow == "" || got[0].Cause != "beat host:1:frozen holds shard 0 and has not decided it" {
			t.Errorf("the observers of two beats were told %+v", got)
		}
		close(frozen)
	})
}

// Without a beat a keeper says so once a minute, counts what is overdue, and decides no tick.
func TestOverdueWithoutABeat(t *testing.T) {
	timeline(t, func(t *testing.T, st store.Store) {
		var told overdues
		p := startProcess(t, "worker", st, parts{keeper: true, observer: &told})
		defer p.stop()
		var refs []schedules.Ref
		for i := range 3 {
			refs = append(refs, p.create(fmt.Sprint("s", i), "1h", allowAll))
		}
		wait(10 * time.Second)
		if n := p.log.count("no beat is running"); n != 0 {
			t.Errorf("warned %d times before the bound", n)
		}
		wait(3 * time.Minute)
		if n := p.log.count("no beat is running"); n != 3 {
			t.Errorf("warned %d times in three minutes:\n%s", n, p.log.buf.String())
		}
		if s := p.keeper.Stats(); s.Overdue != 3 || s.Mended != 0 {
			t.Errorf("overdue %d, mended %d; want 3 and 0", s.Overdue, s.Mended)
		}
		if got := told.all(); len(got) != 3 || got[0].Ref != refs[0] || !errors.Is(got[0].Err, ErrNoBeat) {
			t.Errorf("the observer was told %+v", got)
		}
		if n := len(history(t, st, refs[0])); n != 0 {
			t.Errorf("%d ticks were decided without a beat", n)
		}
		b := startProcess(t, "beat", st, parts{beat: true})
		defer b.stop()
		wait(5 * time.Minute)
		if n := p.log.count("no beat is running"); n != 3 {
			t.Errorf("warned %d times, some of them with a beat", n)
		}
		if n := len(history(t, st, refs[0])); n != 1 {
			t.Errorf("%d ticks with a beat", n)
		}
	})
}

// Entries lost from the indexes of Redis, or put at a wrong time, are found, told of and mended within the bound, and what hung on them goes on.
func TestRedisDamageIsMended(t *testing.T) {
	s, ns := redistest.Shared(t), redistest.Namespace(t)
	client := s.Client(t)
	st := openRedis(t, s, ns)
	p := startProcess(t, "host:1:x", st, parts{beat: true, keeper: true, worker: true, takes: time.Millisecond, poll: time.Second})
	t.Cleanup(p.stop)
	eventually(t, 10*time.Second, "the shards are held", func() bool {
		return len(p.beat.Stats().Shards) == 16 && len(p.keeper.Stats().Shards) == 16
	})
	key := func(ref schedules.Ref, name string) string {
		return fmt.Sprintf("pyworkflow:{%s:%d}:%s", ns, int(ref.Placement())%16, name)
	}
	ended := func(ref schedules.Ref) int64 { return counters(t, st, ref).Successful }

	ahead, lost := p.create("ahead", "1s", nil), p.create("lost", "1s", nil)
	eventually(t, 10*time.Second, "both tick", func() bool { return ended(ahead) > 0 && ended(lost) > 0 })
	a, l := ended(ahead), ended(lost)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.ZAdd(t.Context(), key(ahead, "ticks"), redis.Z{Score: float64(time.Now().AddDate(1, 0, 0).UnixMilli()), Member: ahead.String()}).Err())
	must(client.ZRem(t.Context(), key(lost, "ticks"), lost.String()).Err())
	took := eventually(t, 20*time.Second, "both tick again", func() bool { return ended(ahead) > a+2 && ended(lost) > l+2 })
	t.Logf("three ticks each %s after the damage", took)

	// A worker died with its run, which is among the leases no longer.
	now, err := st.Now(t.Context())
	must(err)
	run := schedules.NewRun(schedules.FreeRunID("stuck", ns), "w", "q", nil, nil, now)
	_, created, err := st.CreateRun(t.Context(), run)
	must(err)
	if !created {
		t.Fatal("not created")
	}
	must(st.StrikeOff(t.Context(), store.Message{RunID: run.ID, Dispatch: 1, Queue: "q"}))
	claimed, err := st.Claim(t.Context(), run.ID, 1, store.Claim{Worker: "dead", Token: "x"})
	must(err)
	placement, _ := schedules.IDPlacement(run.ID)
	must(client.ZRem(t.Context(), fmt.Sprintf("pyworkflow:{%s:%d}:leases", ns, int(placement)%16), run.ID).Err())
	eventually(t, 10*time.Second, "the lease is among the leases again", func() bool {
		leases, err := st.ExpiredLeases(t.Context(), int(placement)%16, claimed.Lease, 10)
		return err == nil && len(leases) == 1
	})
	if n := p.keeper.Stats().Mended; n < 1 || p.log.count("an index entry did not fit its record; it is mended") < 1 {
		t.Errorf("mended %d:\n%s", n, p.log.buf.String())
	}

	// An entry of a schedule that there is not.
	gone := schedules.Ref{ID: "gone", Incarnation: "x"}
	must(client.ZAdd(t.Context(), key(gone, "ticks"), redis.Z{Score: 1, Member: gone.String()}).Err())
	eventually(t, 20*time.Second, "the entry goes", func() bool {
		return errors.Is(client.ZScore(t.Context(), key(gone, "ticks"), gone.String()).Err(), redis.Nil)
	})
	if n := p.beat.Stats().Overdue; n < 1 || p.log.count("schedule_id=gone") < 1 {
		t.Errorf("overdue %d:\n%s", n, p.log.buf.String())
	}
	p.stop()
}
