package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// spied is a store with somebody between it and the engine.
type spied struct {
	*sqlitestore.Store
	before    func(changes []schedules.Change)  // runs once, before the next Commit
	after     func(errs []error)                // may spoil the answer of Commit
	commitRun func(c schedules.RunChange) error // an answer in the place of CommitRun
	workflows func() error                      // told of every reading of the workflows
	reads     int                               // of the clock
	loads     int                               // of schedules
	commits   int
}

func (s *spied) Commit(ctx context.Context, changes ...schedules.Change) []error {
	if f := s.before; f != nil {
		s.before = nil
		f(changes)
	}
	s.commits++
	errs := s.Store.Commit(ctx, changes...)
	if s.after != nil {
		s.after(errs)
	}
	return errs
}

func (s *spied) CommitRun(ctx context.Context, c schedules.RunChange) error {
	if f := s.commitRun; f != nil {
		s.commitRun = nil
		if err := f(c); err != nil {
			return err
		}
	}
	return s.Store.CommitRun(ctx, c)
}

func (s *spied) Workflows(ctx context.Context) ([]store.Workflow, error) {
	if s.workflows != nil {
		if err := s.workflows(); err != nil {
			return nil, err
		}
	}
	return s.Store.Workflows(ctx)
}

func (s *spied) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	s.loads += len(refs)
	return s.Store.Load(ctx, refs...)
}

func (s *spied) Now(ctx context.Context) (time.Time, error) {
	s.reads++
	return s.Store.Now(ctx)
}

// sent is a transport that keeps what it is given.
type sent struct {
	msgs []store.Message
	err  error // an answer in the place of taking them
}

func (d *sent) Dispatch(ctx context.Context, msgs []store.Message) ([]store.Message, error) {
	if d.err != nil {
		return nil, d.err
	}
	d.msgs = append(d.msgs, msgs...)
	return msgs, ctx.Err()
}

// told counts what observers hear.
type told struct {
	decided []schedules.Change
	changed []schedules.RunChange
}

func (o *told) Decided(c schedules.Change)       { o.decided = append(o.decided, c) }
func (o *told) RunChanged(c schedules.RunChange) { o.changed = append(o.changed, c) }

type bench struct {
	t     *testing.T
	store *spied
	sent  *sent
	told  *told
	log   *bytes.Buffer
	e     *engine.Engine
}

// inBubble plays a test in fake time.
func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		b := &bench{t: t, store: &spied{Store: s}, sent: &sent{}, told: &told{}, log: &bytes.Buffer{}}
		b.e, err = engine.New(engine.Config{Store: b.store, Dispatcher: b.sent, Observers: []engine.Observer{b.told}, Log: slog.New(slog.NewTextHandler(b.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		test(t, b)
	})
}

// rival is another process on the same store.
func (b *bench) rival() *engine.Engine {
	b.t.Helper()
	e, err := engine.New(engine.Config{Store: b.store.Store})
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bench) create(id string, def schedules.Definition) schedules.Ref {
	b.t.Helper()
	c, err := schedules.Create(schedules.CreateRequest{ID: id, Incarnation: "1", Workflow: "flow", Definition: def}, b.store.Estimate())
	if err == nil {
		err = b.e.Create(b.t.Context(), c)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return c.Schedule.Ref()
}

func (b *bench) decide(refs ...schedules.Ref) []schedules.Schedule {
	b.t.Helper()
	var out []schedules.Schedule
	for _, d := range b.e.Decide(b.t.Context(), refs...) {
		if d.Err != nil {
			b.t.Fatal(d.Err)
		}
		out = append(out, d.Schedule)
	}
	return out
}

func (b *bench) load(ref schedules.Ref) schedules.Schedule {
	b.t.Helper()
	l, _, err := b.store.Load(b.t.Context(), ref)
	if err == nil {
		err = l[0].Err
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return l[0].State.Schedule
}

func (b *bench) fates(ref schedules.Ref) map[schedules.FateKind]int {
	b.t.Helper()
	n := map[schedules.FateKind]int{}
	for f, err := range store.All(func(p store.Page) ([]schedules.Fate, string, error) {
		return b.store.ListFates(b.t.Context(), ref, store.FateFilter{}, p)
	}) {
		if err != nil {
			b.t.Fatal(err)
		}
		n[f.Fate]++
	}
	return n
}

func (b *bench) unsent() []store.Message {
	b.t.Helper()
	msgs, err := b.store.Unsent(b.t.Context(), 0, b.store.Estimate(), 100)
	if err != nil {
		b.t.Fatal(err)
	}
	return msgs
}

func later(d time.Duration) { <-time.After(d) }

func grid(interval string) schedules.Spec {
	return schedules.Spec{Interval: interval, IntervalFrom: schedules.FromStart}
}

func TestNewNeedsAStore(t *testing.T) {
	if _, err := engine.New(engine.Config{}); err == nil {
		t.Error("made without a store")
	}
}

func TestADecisionIsSentAndTold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.decide(b.create("a", schedules.Definition{Spec: grid("1h")}))[0]
		if s.Total != 1 || len(b.sent.msgs) != 1 || b.sent.msgs[0].RunID != s.LastRunID || b.sent.msgs[0].Dispatch != 1 || len(b.unsent()) != 0 {
			t.Errorf("total %d, sent %+v, left %+v", s.Total, b.sent.msgs, b.unsent())
		}
		if len(b.told.decided) != 2 || len(b.told.decided[1].Start) != 1 {
			t.Errorf("told of %d decisions", len(b.told.decided))
		}
		if again := b.decide(s.Ref())[0]; again.Revision != s.Revision || b.store.commits != 2 {
			t.Errorf("decided again: revision %d after %d, %d commits", again.Revision, s.Revision, b.store.commits)
		}
	})
}

func TestAStateReadAheadIsUsedOnceIfNothingHasChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		used, changed, old := b.create("used", schedules.Definition{Spec: grid("1h")}), b.create("changed", schedules.Definition{Spec: grid("1h")}), b.create("old", schedules.Definition{Spec: grid("1h")})
		b.e.Prepare(t.Context(), used, changed)
		b.store.loads = 0
		if s := b.decide(used)[0]; s.Total != 1 || b.store.loads != 0 {
			t.Errorf("prepared: %d runs, %d loads", s.Total, b.store.loads)
		}
		b.decide(used)
		if b.store.loads != 1 {
			t.Errorf("the second time: %d loads", b.store.loads)
		}
		if d := b.rival().Decide(t.Context(), changed); !d[0].Committed {
			t.Fatal("the rival has committed nothing")
		}
		b.store.loads = 0
		if d := b.e.Decide(t.Context(), changed)[0]; d.Committed || d.Err != nil || d.Schedule.Total != 1 || b.store.loads != 1 || len(b.fates(changed)) != 1 {
			t.Errorf("changed since: %+v after %d loads", d, b.store.loads)
		}
		b.e.Prepare(t.Context(), changed) // its run is active, and will change it
		b.store.loads = 0
		if b.decide(changed); b.store.loads != 1 {
			t.Errorf("with an active run: %d loads", b.store.loads)
		}
		later := b.create("later", schedules.Definition{Spec: schedules.Spec{Cron: "0 0 2 2 *"}})
		b.e.Prepare(t.Context(), later)
		b.store.loads = 0
		if b.decide(later); b.store.loads != 1 { // it may have been changed to tick sooner
			t.Errorf("nothing to do: %d loads", b.store.loads)
		}
		b.e.Prepare(t.Context(), old)
		<-time.After(time.Minute)
		b.store.loads = 0
		if s := b.decide(old)[0]; s.Total != 1 || b.store.loads != 1 {
			t.Errorf("read a minute ago: %d runs, %d loads", s.Total, b.store.loads)
		}
	})
}

func TestALostRaceIsDecidedAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1h")})
		b.store.before = func([]schedules.Change) {
			if d := b.rival().Decide(t.Context(), ref); !d[0].Committed {
				t.Error("the winner has committed nothing")
			}
		}
		d := b.e.Decide(t.Context(), ref)[0]
		if d.Committed || d.Err != nil {
			t.Errorf("the loser: %+v", d)
		}
		if s := d.Schedule; s.Total != 1 || len(b.fates(ref)) != 1 || len(b.sent.msgs) != 0 {
			t.Errorf("the loser sees %d runs and sends %d", s.Total, len(b.sent.msgs))
		}
	})
}

func TestALostRaceOfAnAct(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1h")})
		b.decide(ref)
		b.store.before = func([]schedules.Change) {
			if _, err := b.rival().Act(t.Context(), ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
				return schedules.Update(st, now, schedules.Patch{Queue: new("other")})
			}); err != nil {
				t.Error(err)
			}
		}
		calls := 0
		s, err := b.e.Act(t.Context(), ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			calls++
			return schedules.Pause(st, now, nil)
		})
		if err != nil || calls != 2 || s.Queue != "other" || s.Status != schedules.StatusPaused || s.Version != 3 {
			t.Errorf("after %d calls: %v %+v", calls, err, s)
		}
	})
}

func TestACallerWhoLeavesIsNotToldOfARace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1h")})
		b.decide(ref)
		ctx, leave := context.WithCancel(t.Context())
		b.store.after = func(errs []error) {
			leave()
			errs[0] = store.ErrConflict
		}
		_, err := b.e.Act(ctx, ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Pause(st, now, nil)
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrConflict) {
			t.Errorf("an act that was left says %v", err)
		}
	})
}

func TestAnActSettlesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("10s"), Overlap: schedules.OverlapAllowAll, Catchup: schedules.CatchupAll})
		later(35 * time.Second)
		if _, err := b.e.Act(t.Context(), ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			if !st.Schedule.NextDue.After(now) || st.Schedule.Total != 4 {
				t.Errorf("not settled: %+v", st.Schedule)
			}
			return schedules.Update(st, now, schedules.Patch{Input: new(json.RawMessage(`"new"`))})
		}); err != nil {
			t.Fatal(err)
		}
		for _, m := range b.sent.msgs {
			if r, err := b.store.GetRun(t.Context(), m.RunID); err != nil || string(r.Input) == `"new"` {
				t.Errorf("a tick from before the update has input %s, %v", r.Input, err)
			}
		}
		later(20 * time.Second)
		if _, err := b.e.Act(t.Context(), ref, schedules.ReasonPaused, func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Pause(st, now, nil)
		}); err != nil {
			t.Fatal(err)
		}
		if n := b.fates(ref); n[schedules.FateStarted] != 4 || n[schedules.FateMissed] != 2 {
			t.Errorf("fates: %v", n)
		}
	})
}

func TestAnActThatFailsOrChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1h")})
		b.decide(ref)
		before := b.load(ref)
		cause := errors.New("no")
		if _, err := b.e.Act(t.Context(), ref, "", func(schedules.State, time.Time) (schedules.Change, error) { return schedules.Change{}, cause }); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		s, err := b.e.Act(t.Context(), ref, "", func(schedules.State, time.Time) (schedules.Change, error) { return schedules.Change{}, nil })
		if err != nil || s.Revision != before.Revision || b.load(ref).Revision != before.Revision {
			t.Errorf("written: %v, revision %d after %d", err, s.Revision, before.Revision)
		}
	})
}

func TestOneBadScheduleSparesTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		a, c := b.create("a", schedules.Definition{Spec: grid("1h")}), b.create("c", schedules.Definition{Spec: grid("1h")})
		got := b.e.Decide(t.Context(), a, schedules.Ref{ID: "b", Incarnation: "1"}, c)
		if got[0].Err != nil || !errors.Is(got[1].Err, store.ErrNotFound) || got[2].Err != nil || got[0].Schedule.ID != "a" || got[2].Schedule.ID != "c" || got[2].Schedule.Total != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// The network broke after the store acted: nobody knows. The tick must start once, and its message must not be lost.
func TestAnUnknownOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1h")})
		broken := errors.New("connection reset")
		b.store.after = func(errs []error) { errs[0] = broken }
		if d := b.e.Decide(t.Context(), ref)[0]; !errors.Is(d.Err, broken) {
			t.Errorf("got %v", d.Err)
		}
		b.store.after = nil
		if s := b.decide(ref)[0]; s.Total != 1 || len(b.sent.msgs) != 0 {
			t.Errorf("%d runs, sent %v", s.Total, b.sent.msgs)
		}
		if left := b.unsent(); len(left) != 1 {
			t.Errorf("for a keeper to send: %v", left)
		}
	})
}

func TestALongBacklogIsDecidedInParts(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		long := b.create("long", schedules.Definition{Spec: grid("1s"), Catchup: schedules.CatchupNone})
		short := b.create("short", schedules.Definition{Spec: grid("1m"), Catchup: schedules.CatchupNone})
		later(2500*time.Second + time.Millisecond)
		d := b.e.Decide(t.Context(), long, short)
		if !d[0].Committed || !d[1].Committed {
			t.Error("what was decided in parts is not committed")
		}
		if s := []schedules.Schedule{d[0].Schedule, d[1].Schedule}; s[0].Missed != 1000 || s[1].Missed != 42 || s[1].Total != 0 {
			t.Errorf("after the first part: %d and %d missed", s[0].Missed, s[1].Missed)
		}
		timers, err := b.store.DueTimers(t.Context(), 0, b.store.Estimate(), 10)
		if err != nil || len(timers) != 1 || timers[0].Ref != long {
			t.Errorf("what is left is not due: %v %v", timers, err)
		}
		b.decide(long)
		s := b.decide(long)[0]
		if n := b.fates(long); s.Missed != 2491 || s.Total != 1 || n[schedules.FateMissed]+n[schedules.FateStarted]+n[schedules.FateSkipped] != 2501 {
			t.Errorf("%d missed, %d started, fates %v", s.Missed, s.Total, n)
		}
	})
}

func TestWindowWarningsAreMerged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		def := schedules.Definition{Spec: grid("1s"), Overlap: schedules.OverlapAllowAll, CatchupWindow: schedules.Duration(10 * time.Second)}
		a, c := b.create("a", def), b.create("c", def)
		from := b.store.Estimate()
		later(500 * time.Second)
		b.decide(a, c)
		logged := strings.Split(strings.TrimSpace(b.log.String()), "\n")
		if len(logged) != 2 {
			t.Fatalf("logged:\n%s", b.log)
		}
		for i, id := range []string{"a", "c"} {
			command := fmt.Sprintf("pyworkflow schedules backfill %s --start %s --end %s", id, from.Format(time.RFC3339Nano), from.Add(489*time.Second+time.Millisecond).Format(time.RFC3339Nano))
			if !strings.Contains(logged[i], command+`"`) || !strings.Contains(logged[i], "missed=490") {
				t.Errorf("line %d: %s\nwants %s", i, logged[i], command)
			}
		}
		b.log.Reset()
		later(3 * time.Hour)
		if _, err := b.e.Act(t.Context(), a, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Pause(st, now, nil)
		}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.log.String(), "\n"); n != 1 || !strings.Contains(b.log.String(), ` --max-runs 10789"`) {
			t.Errorf("logged:\n%s", b.log)
		}
	})
}

func TestABlockedWarningSaysByWhat(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1m")})
		run := b.decide(ref)[0].LastRunID
		if _, err := b.store.Claim(t.Context(), run, 1, store.Claim{Worker: "host-2:1:ab", Token: "t"}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			later(time.Minute)
			b.decide(ref)
		}
		logged := b.log.String()
		for _, want := range []string{"schedule_id=a", "run_id=" + run, "skipped=3", "run_status=running", "run_age=3m0s", "worker=host-2:1:ab"} {
			if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, want) {
				t.Errorf("%s is not in, or not once:\n%s", want, logged)
			}
		}
	})
}

func TestOptionsAreRememberedForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		reads := 0
		b.store.workflows = func() error { reads++; return nil }
		publish := func(name string, retries int) {
			if err := b.store.PublishWorkflows(t.Context(), store.Workflow{Name: name, Options: schedules.RunOptions{MaxRetries: retries}}); err != nil {
				t.Fatal(err)
			}
		}
		ask := func(name string, retries, wantReads int) {
			t.Helper()
			got := -1
			if o := b.e.Options(t.Context(), name); o != nil {
				got = o.MaxRetries
			}
			if got != retries || reads != wantReads {
				t.Errorf("%s: %d after %d reads, should be %d after %d", name, got, reads, retries, wantReads)
			}
		}
		ask("a", -1, 1)
		publish("a", 1)
		ask("a", -1, 1) // remembered that it is not there
		later(1100 * time.Millisecond)
		ask("a", 1, 2)
		publish("a", 2)
		later(4 * time.Second)
		ask("a", 1, 2)
		later(1100 * time.Millisecond)
		ask("a", 2, 3)
		b.store.workflows = func() error { return errors.New("gone") }
		later(time.Minute)
		ask("a", 2, 3) // what is known stays while the store does not answer
	})
}

// A spec is compiled once, but never kept for another: an activation in the millisecond of the creation leaves version and time as they are.
func TestAChangedSpecIsCompiledAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		decl := schedules.Definition{Spec: schedules.Spec{Cron: "0 * * * *"}}
		c, err := schedules.Create(schedules.CreateRequest{ID: "a", Incarnation: "1", Workflow: "flow", Definition: decl, Declared: &decl, Origin: "m"}, b.store.Estimate())
		if err == nil {
			err = b.e.Create(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
		ref := c.Schedule.Ref()
		decl.Spec.Cron = "*/20 * * * *"
		for range 2 {
			if _, err := b.e.Act(t.Context(), ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
				c, _, err := schedules.Activate(st, now, decl)
				return c, err
			}); err != nil {
				t.Fatal(err)
			}
		}
		later(time.Until(b.load(ref).NextDue))
		s := b.decide(ref)[0]
		if gap := s.NextNominal.Sub(s.DecidedUntil); gap != 20*time.Minute {
			t.Errorf("next tick after %s", gap)
		}
	})
}

func TestWhatTheTransportDoesNotTakeStays(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.sent.err = errors.New("broker is away")
		s := b.decide(b.create("a", schedules.Definition{Spec: grid("1h")}))[0]
		if left := b.unsent(); len(left) != 1 || left[0].RunID != s.LastRunID || !strings.Contains(b.log.String(), "broker is away") {
			t.Fatalf("left %v, logged %s", left, b.log)
		}
		b.sent.err = nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the commit has happened: its caller's end must not keep the message back
		b.e.Send(ctx, b.unsent()...)
		if len(b.sent.msgs) != 1 || len(b.unsent()) != 0 {
			t.Errorf("sent %v, left %v", b.sent.msgs, b.unsent())
		}
	})
}

func TestCreateRunOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		run := schedules.NewRun(schedules.FreeRunID("flow", "key"), "flow", "", nil, nil, b.store.Estimate())
		for i := range 2 {
			got, created, err := b.e.CreateRun(t.Context(), run)
			if err != nil || created != (i == 0) || got.ID != run.ID {
				t.Errorf("call %d: %v %v %s", i+1, created, err, got.ID)
			}
		}
		if len(b.sent.msgs) != 1 {
			t.Errorf("sent %v", b.sent.msgs)
		}
	})
}

func TestChangeRun(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		run := schedules.NewRun(schedules.FreeRunID("x"), "flow", "", nil, nil, b.store.Estimate())
		run, _, err := b.e.CreateRun(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		cancel := func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			c, ok := schedules.RequestCancel(r, "why", 0, now)
			return c, ok, nil
		}
		reads := b.store.reads
		b.store.commitRun = func(schedules.RunChange) error { // a worker was faster; then the clock has to be read
			if _, err := b.store.Claim(t.Context(), run.ID, 1, store.Claim{Worker: "w", Token: "t"}); err != nil {
				t.Error(err)
			}
			b.store.commitRun = func(schedules.RunChange) error { return store.ErrClock }
			return nil
		}
		got, err := b.e.ChangeRun(t.Context(), run.ID, &run, cancel)
		if err != nil || got.Status != schedules.RunRunning || got.CancelAt.IsZero() || b.store.reads != reads+1 {
			t.Errorf("%v, %+v, the clock was read %d times", err, got.RunProgress, b.store.reads-reads)
		}
		again, err := b.e.ChangeRun(t.Context(), run.ID, nil, cancel)
		if err != nil || again.Revision != got.Revision || len(b.told.changed) != 1 {
			t.Errorf("asked again: %v, revision %d after %d, told of %d", err, again.Revision, got.Revision, len(b.told.changed))
		}
		if _, err := b.e.ChangeRun(t.Context(), schedules.FreeRunID("y"), nil, cancel); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no such run: %v", err)
		}
	})
}

// What is dropped and cancelled in batches is found again by what the store loads for the next one.
func TestLongQueuesAreDroppedInBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ref := b.create("a", schedules.Definition{Spec: grid("1s"), Overlap: schedules.OverlapAllowAll, Catchup: schedules.CatchupAll})
		act := func(settleAs string, do func(st schedules.State, now time.Time) (schedules.Change, error)) schedules.Schedule {
			t.Helper()
			s, err := b.e.Act(t.Context(), ref, settleAs, do)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		policy := func(p schedules.OverlapPolicy) {
			t.Helper()
			act("", func(st schedules.State, now time.Time) (schedules.Change, error) {
				return schedules.Update(st, now, schedules.Patch{Overlap: &p})
			})
		}
		later(150 * time.Second)
		policy(schedules.OverlapBufferAll) // 151 runs are active
		for i := range 3 {
			later(70 * time.Second)
			act("", func(st schedules.State, now time.Time) (schedules.Change, error) {
				c, _, err := schedules.TriggerNow(st, now, schedules.TriggerRequest{Nonce: fmt.Sprint(i)})
				return c, err
			})
		}
		if s := b.load(ref); s.Active != 151 || s.WaitingRegular != 210 || s.WaitingManual != 3 {
			t.Fatalf("%d active, %d and %d wait", s.Active, s.WaitingRegular, s.WaitingManual)
		}
		policy(schedules.OverlapCancelOther)
		later(time.Second)
		s := b.decide(ref)[0]
		if s.Active != 151 || s.Waiting() != 1 || s.Skipped != 210 || s.DropBelow != 0 || s.CancelActive {
			t.Errorf("%d active, %d wait, %d skipped, %+v", s.Active, s.Waiting(), s.Skipped, s.Progress)
		}
		for r, err := range store.All(func(p store.Page) ([]schedules.Run, string, error) {
			return b.store.ListRuns(t.Context(), store.RunFilter{}, p)
		}) {
			if err != nil || r.CancelAt.IsZero() {
				t.Fatalf("run %s is not asked to cancel: %v", r.ID, err)
			}
		}
		for i := range 2 {
			act("", func(st schedules.State, now time.Time) (schedules.Change, error) {
				start := st.Schedule.CreatedAt
				bf, _, err := schedules.PlanBackfill(st, now, schedules.BackfillRequest{Nonce: fmt.Sprint(i), Start: start.Add(-150 * time.Second), End: start})
				if err != nil {
					return schedules.Change{}, err
				}
				return schedules.AddBackfill(st, now, bf)
			})
		}
		act(schedules.ReasonDeleted, func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Delete(st, now, false)
		})
		s, n := b.load(ref), b.fates(ref)
		if s.Waiting() != 0 || len(s.Backfills) != 0 || n[schedules.FateDropped] != 213+1+300 || n[schedules.FateBuffered] != 0 {
			t.Errorf("%d wait, backfills %v, fates %v", s.Waiting(), s.Backfills, n)
		}
	})
}
