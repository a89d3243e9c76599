package alert

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// house is a process with an engine, a beat or a keeper, and a Sender that observes them, in a bubble. It has no worker: its runs go on until the test ends them.
type house struct {
	t      *testing.T
	store  store.Store
	eng    *engine.Engine
	client *client.Client
	sender *Sender
	hook   *receiver
	leave  func() // ends beat and keeper
}

// late is the client of a house, which is made after its Sender.
type late struct{ h *house }

func (l late) GetSchedule(ctx context.Context, id string) (client.ScheduleDetail, error) {
	return l.h.client.GetSchedule(ctx, id)
}

// inHouse runs a test in fake time; the Sender's configuration may be changed.
func inHouse(t *testing.T, withBeat bool, change func(*Config), test func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		h := &house{t: t, store: st, hook: &receiver{}}
		cfg := Config{URLs: []string{"http://hook.test"}, Namespace: "default", Schedules: late{h}}
		if change != nil {
			change(&cfg)
		}
		h.sender, _ = start(t, cfg, defaultLimits(), h.hook.serve(t).dial)
		h.eng, err = engine.New(engine.Config{Store: st, Observers: []engine.Observer{h.sender}})
		if err == nil {
			h.client, err = client.New(client.Config{Store: st, Engine: h.eng})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		h.leave = sync.OnceFunc(func() {
			cancel()
			parts.Wait()
		})
		t.Cleanup(h.leave)
		if !withBeat {
			k, err := beat.NewKeeper(beat.KeeperConfig{Store: st, Engine: h.eng, Observer: h.sender, PollInterval: 5 * time.Second, AuditInterval: -1})
			if err != nil {
				t.Fatal(err)
			}
			parts.Go(func() { _ = k.Run(ctx) })
		} else {
			b, err := beat.New(beat.Config{Store: st, Engine: h.eng, Observer: h.sender, Process: &store.Process{}})
			if err != nil {
				t.Fatal(err)
			}
			parts.Go(func() { _ = b.Run(ctx) })
		}
		test(t, h)
	})
}

func (h *house) create(id string, def schedules.Definition) {
	h.t.Helper()
	def.Spec.IntervalFrom = schedules.FromStart
	if _, err := h.client.CreateSchedule(h.t.Context(), client.CreateRequest{ID: id, Workflow: "report", Definition: def, Force: true}); err != nil {
		h.t.Fatal(err)
	}
}

// end ends the only active run of a schedule.
func (h *house) end(id string, o schedules.Outcome) string {
	h.t.Helper()
	s, err := h.client.GetSchedule(h.t.Context(), id)
	if err != nil || len(s.ActiveRunIDs) != 1 {
		h.t.Fatalf("%v: active runs %v", err, s.ActiveRunIDs)
	}
	run := s.ActiveRunIDs[0]
	r, err := h.store.GetRun(h.t.Context(), run)
	if err == nil {
		_, err = h.store.Claim(h.t.Context(), run, r.Dispatch, store.Claim{Worker: "host-2:7:abcd", Token: "t"})
	}
	if err == nil {
		_, err = h.eng.ChangeRun(h.t.Context(), run, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return run
}

func (h *house) told(kind Kind) (out []Message) {
	h.t.Helper()
	synctest.Wait()
	for _, d := range h.hook.all() {
		if m := d.message(h.t); m.Kind == kind {
			out = append(out, m)
		}
	}
	return out
}

func minutely(overlap schedules.OverlapPolicy) schedules.Definition {
	return schedules.Definition{Spec: schedules.Spec{Interval: "1m"}, Overlap: overlap}
}

// A run that holds up its schedule is told of once, when the bound has passed since the first tick that it kept from starting, whatever the policy does with ticks.
func TestBlocked(t *testing.T) {
	for _, policy := range []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll} {
		t.Run(string(policy), func(t *testing.T) {
			inHouse(t, true, nil, func(t *testing.T, h *house) {
				h.create("stuck", minutely(policy))
				<-time.After(time.Second) // its first tick has started; the second one is the first in whose way that is
				began := time.Now()
				<-time.After(15*time.Minute + 55*time.Second)
				if got := h.told(Blocked); len(got) != 0 {
					t.Fatalf("before the bound: %+v", got)
				}
				<-time.After(time.Minute)
				got := h.told(Blocked)
				if len(got) != 1 {
					t.Fatalf("%d messages", len(got))
				}
				s, err := h.client.GetSchedule(t.Context(), "stuck")
				if err != nil {
					t.Fatal(err)
				}
				m := got[0]
				if m.RunID != s.BlockedBy || m.ScheduleID != "stuck" || m.Workflow != "report" || m.Count != 1 || !strings.Contains(string(m.Message), "m: no live worker has workflow \"report\")") ||
					!strings.HasPrefix(m.Summary, "schedule stuck is blocked: since 2000-01-01T00:01:00Z 1") || !strings.Contains(m.Summary, "ticks have been skipped or wait behind one run: run_") || m.At.Before(began.Add(15*time.Minute+58*time.Second)) {
					t.Errorf("told %+v of %s", m, s.BlockedBy)
				}
				<-time.After(20 * time.Minute)
				if got := h.told(Blocked); len(got) != 1 {
					t.Errorf("told %d times", len(got))
				}
			})
		})
	}
}

// A run that ends in time holds up nothing, though the next one does the same; nor does one whose schedule is gone.
func TestNotBlocked(t *testing.T) {
	inHouse(t, true, func(c *Config) { c.BlockedAfter = 5 * time.Minute }, func(t *testing.T, h *house) {
		h.create("slow", minutely(schedules.OverlapBufferOne))
		h.create("gone", minutely(schedules.OverlapSkip))
		h.create("paused", minutely(schedules.OverlapSkip))
		<-time.After(time.Minute + time.Second) // all have one tick that waits or was skipped
		h.end("slow", schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: []byte("1")})
		if _, err := h.client.Delete(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.client.Pause(t.Context(), "paused", nil); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			<-time.After(4*time.Minute + 30*time.Second)
			h.end("slow", schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: []byte("1")})
		}
		<-time.After(time.Minute)
		if got := h.told(Blocked); len(got) != 0 {
			t.Errorf("told %+v", got)
		}
		h.sender.blocks.mu.Lock()
		n := len(h.sender.blocks.known)
		h.sender.blocks.mu.Unlock()
		if n > 1 {
			t.Errorf("%d blocks are remembered", n)
		}
		<-time.After(7 * time.Minute) // this one stays
		if got := h.told(Blocked); len(got) != 1 {
			t.Errorf("told %+v", got)
		}
	})
}

// Blocks are remembered up to a bound.
func TestBlocksAreBounded(t *testing.T) {
	b := newBlocks(time.Minute)
	for i := range maxBlocks + 10 {
		c := schedules.Change{Now: at}
		c.Schedule.ID, c.Schedule.Incarnation = "s", time.Duration(i).String()
		c.Fates = []schedules.Fate{{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule}, Fate: schedules.FateSkipped, BlockedBy: "run_1"}}
		b.note(c, at)
		if i == 0 {
			b.settle(b.long(at.Add(time.Hour))[0], false)
		}
		if len(b.known) > maxBlocks {
			t.Fatalf("%d remembered", len(b.known))
		}
	}
	if n := len(b.known); n == 0 || n > 10 {
		t.Errorf("%d remembered after the bound was passed twice", n)
	}
}

// What a real engine, beat and keeper commit and find is told of: a run that failed, ticks missed in an outage, a schedule that nobody decides.
func TestFactsOfAnEngine(t *testing.T) {
	inHouse(t, true, nil, func(t *testing.T, h *house) {
		h.create("nightly", schedules.Definition{Spec: schedules.Spec{Interval: "10m"}, Catchup: schedules.CatchupNone})
		<-time.After(10*time.Minute + time.Second)
		run := h.end("nightly", schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorPanic, Message: "boom"}})
		failed := h.told(Failed)
		if len(failed) != 1 || string(failed[0].RunID) != run || failed[0].Reason != "panic" || failed[0].Message != "boom" || failed[0].NominalTime.IsZero() {
			t.Errorf("failed: %+v", failed)
		}
		if n := len(h.hook.all()); n != 1 {
			t.Errorf("%d messages", n)
		}
		h.leave() // an outage of all beats and keepers
		<-time.After(35 * time.Minute)
		for _, d := range h.eng.Decide(t.Context(), refOf(t, h, "nightly")) {
			if d.Err != nil {
				t.Fatal(d.Err)
			}
		}
		missed := h.told(Missed)
		if len(missed) != 1 || missed[0].Count != 3 || missed[0].Reason != "catchup" || !strings.HasPrefix(missed[0].Summary, "3 ticks of schedule nightly were missed, the latest of ") {
			t.Errorf("missed: %+v", missed)
		}
	})
	inHouse(t, false, nil, func(t *testing.T, h *house) {
		h.create("nightly", schedules.Definition{Spec: schedules.Spec{Interval: "10m"}})
		<-time.After(time.Hour)
		got := h.told(Overdue)
		if len(got) != 1 || !strings.HasPrefix(got[0].Summary, "schedule nightly is overdue: its tick was due at ") || !strings.Contains(got[0].Summary, "is not decided: no beat is running: start ") {
			t.Errorf("overdue: %+v", got)
		}
	})
}

func refOf(t *testing.T, h *house, id string) schedules.Ref {
	t.Helper()
	ref, err := h.store.Resolve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// A schedule that the watchdog has decided is told of with the cause.
func TestOverdueMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}}, defaultLimits(), hook.serve(t).dial)
		s.Overdue(beat.Overdue{Ref: schedules.Ref{ID: "nightly", Incarnation: "1"}, Workflow: "report", Due: at, At: at.Add(20 * time.Second), Cause: "no beat holds shard 3"})
		stop()
		got := hook.all()
		if len(got) != 1 {
			t.Fatalf("%d messages", len(got))
		}
		if m := got[0].message(t); m.Summary != "schedule nightly was overdue: its tick was due at 2026-11-22T09:00:00.25Z and was decided 20s late: no beat holds shard 3" || m.Reason != "" || m.Workflow != "report" {
			t.Errorf("told %+v", m)
		}
	})
}
