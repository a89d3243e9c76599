package beat

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// wait lets the bubble's time pass. It is fake: nobody sleeps.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestEntryRingsAtItsInstantNotAtThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(16)
		a := &acts{next: once(f)}
		start := time.Now()
		due := start.Add(7*time.Second + 123*time.Millisecond)
		f.put(3, sched(1), due)
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(20 * time.Second)
		at := a.of(sched(1))
		if len(at) != 1 || at[0].Before(due) || at[0].Sub(due) > 2*time.Millisecond {
			t.Fatalf("rang at %v, want once at %v", at, due)
		}
	})
}

func TestWakeIsSeenAtOnceAndALostOneByThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		a := &acts{next: once(f)}
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(7 * time.Second)
		now := time.Now()
		f.put(1, sched(1), now)
		f.muted(func() { f.put(2, sched(2), now) })
		wait(10 * time.Second)
		if at := a.of(sched(1)); len(at) != 1 || at[0].Sub(now) > 10*time.Millisecond {
			t.Errorf("woken: rang after %v, want at once", since(now, at))
		}
		if at := a.of(sched(2)); len(at) != 1 || at[0].Sub(now) > 5*time.Second+10*time.Millisecond || at[0].Sub(now) < time.Second {
			t.Errorf("wake lost: rang after %v, want at the next poll", since(now, at))
		}
	})
}

func TestAWakeOfAllShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		a := &acts{next: once(f)}
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(7 * time.Second)
		now := time.Now()
		f.muted(func() { f.put(2, sched(1), now) })
		f.wake(store.Wake{Shard: -1, Ticks: true})
		wait(4 * time.Second)
		if at := a.of(sched(1)); len(at) != 1 || at[0].Sub(now) > 10*time.Millisecond {
			t.Errorf("rang after %v, want at once", since(now, at))
		}
	})
}

func since(t time.Time, at []time.Time) []time.Duration {
	var ds []time.Duration
	for _, x := range at {
		ds = append(ds, x.Sub(t))
	}
	return ds
}

func TestMovedAndRemovedEntriesDoNotRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		a := &acts{next: once(f)}
		start := time.Now()
		f.put(1, sched(1), start.Add(3*time.Second))
		f.put(1, sched(2), start.Add(3*time.Second))
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(time.Second)
		f.put(1, sched(1), time.Time{})
		f.put(1, sched(2), start.Add(4*time.Second))
		wait(20 * time.Second)
		if at := a.of(sched(1)); len(at) != 0 {
			t.Errorf("removed entry rang at %v", at)
		}
		if at := a.of(sched(2)); len(at) != 1 || at[0].Sub(start) < 4*time.Second {
			t.Errorf("moved entry rang after %v, want once after 4s", since(start, at))
		}
	})
}

// A recurring entry is armed from the outcome: it needs neither a poll nor a wake.
func TestOutcomeArmsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		a := &acts{next: func(e entry) outcome {
			next := e.due.Add(100 * time.Millisecond)
			f.muted(func() { f.put(e.shard, e.target, next) })
			return outcome{known: true, next: next}
		}}
		start := time.Now()
		f.put(0, sched(1), start.Add(100*time.Millisecond))
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(10*time.Second + 50*time.Millisecond)
		at := a.of(sched(1))
		if len(at) != 100 {
			t.Fatalf("rang %d times in 10s, want 100", len(at))
		}
		for i, x := range at {
			if late := x.Sub(start) - time.Duration(i+1)*100*time.Millisecond; late < 0 || late > 2*time.Millisecond {
				t.Fatalf("ring %d was %v late", i, late)
			}
		}
	})
}

// What does not move, whether it fails, is too early, or stays in the index without anything to do, is tried ever more slowly.
func TestNothingSpins(t *testing.T) {
	for name, out := range map[string]func(entry) outcome{
		"fails":      func(entry) outcome { return outcome{err: errors.New("broken record")} },
		"newer":      func(entry) outcome { return outcome{err: &store.FormatError{Format: 3, Reads: 2}} },
		"too early":  func(e entry) outcome { return outcome{known: true, next: e.due} },
		"unknown":    func(entry) outcome { return outcome{} },
		"not before": func(e entry) outcome { return outcome{after: 10 * time.Second} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeStore(4)
				good := once(f)
				a := &acts{next: func(e entry) outcome {
					if e.target == sched(2) {
						return good(e)
					}
					return out(e)
				}}
				f.put(1, sched(1), time.Now())
				var log lines
				_, stop := startCore(t, f, time.Second, a, log.logger())
				defer stop()
				wait(10 * time.Minute)
				polls, pings := f.counts()
				if n := len(a.of(sched(1))); n < 8 || n > 70 {
					t.Errorf("tried %d times in 10 minutes", n)
				}
				if polls > 4*600+100 || pings > 700 {
					t.Errorf("%d polls and %d pings in 10 minutes", polls, pings)
				}
				if n := log.count("level=ERROR"); (name == "fails" || name == "newer") != (n > 0) || n > 12 {
					t.Errorf("%d error lines", n)
				}
				if n := log.count("written by a newer version of pyworkflow (format 3; this program reads up to 2): upgrade this process"); name == "newer" && n != 1 {
					t.Errorf("it is said %d times in 10 minutes that a record is newer", n)
				}
				if n := log.count("does not answer"); n > 0 {
					t.Errorf("a broken record was taken for an outage")
				}
				now := time.Now()
				f.put(1, sched(2), now)
				f.put(1, sched(1), now) // a new instant ends the hold
				wait(100 * time.Millisecond)
				if at := a.of(sched(2)); len(at) != 1 {
					t.Errorf("its neighbour rang %d times, want once", len(at))
				}
				if at := a.of(sched(1)); at[len(at)-1].Before(now) {
					t.Errorf("a new instant was not tried at once")
				}
			})
		})
	}
}

func TestMoreThanAPageIsWorkedOffPastWhatIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(2)
		good := once(f)
		const broken, all = pageSize + 50, 4*pageSize + 7
		a := &acts{next: func(e entry) outcome {
			if e.ref.ID < sched(broken).ref.ID {
				return outcome{err: errors.New("broken record")}
			}
			return good(e)
		}}
		start := time.Now()
		f.index[0] = make(map[target]time.Time)
		for i := range all {
			f.index[0][sched(i)] = start.Add(time.Duration(i)).UTC()
		}
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(5 * time.Second)
		f.mu.Lock()
		left := len(f.index[0])
		f.mu.Unlock()
		if left != broken {
			t.Fatalf("%d entries are left after 5s, want the %d broken ones", left, broken)
		}
	})
}

func TestManyEntriesOfOneInstantRingTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(16)
		a := &acts{next: once(f)}
		due := time.Now().Add(time.Second)
		for i := range 500 {
			f.put(i%16, sched(i), due)
		}
		_, stop := startCore(t, f, 5*time.Second, a, quiet())
		defer stop()
		wait(2 * time.Second)
		if len(a.rungs()) != 500 {
			t.Fatalf("%d rang, want 500", len(a.rungs()))
		}
		for _, r := range a.rungs() {
			if r.at.Before(due) || r.at.Sub(due) > 5*time.Millisecond {
				t.Fatalf("rang %v after its instant", r.at.Sub(due))
			}
		}
	})
}

func TestWhatIsDueSoonIsPreparedOnce(t *testing.T) {
	start := time.Now()
	a := newAgenda(prepareLead)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	for i := range 3 {
		a.set(entry{target: sched(i), due: at(2 * time.Second)}, at(2*time.Second), 1)
	}
	a.set(entry{target: sched(9), due: at(10 * time.Millisecond)}, at(10*time.Millisecond), 1) // not worth it
	step := func(d time.Duration, due, soon int) {
		t.Helper()
		gotDue, gotSoon := a.take(at(d))
		if len(gotDue) != due || len(gotSoon) != soon {
			t.Errorf("after %s %d are due, %d soon; want %d, %d", d, len(gotDue), len(gotSoon), due, soon)
		}
	}
	step(0, 0, 0)
	step(10*time.Millisecond, 1, 0)
	step(time.Second, 0, 0)
	step(1550*time.Millisecond, 0, 3)
	a.set(entry{target: sched(0), due: at(2 * time.Second)}, at(2*time.Second), 2) // a poll sees it again
	step(1999*time.Millisecond, 0, 0)
	if next, ok := a.next(); !ok || !next.Equal(at(2*time.Second)) {
		t.Errorf("rings next at %s", next)
	}
	step(2*time.Second, 3, 0)
}

func TestOutageIsSaidOnceAndItsEndPollsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		a := &acts{next: once(f)}
		var log lines
		c, stop := startCore(t, f, 5*time.Second, a, log.logger())
		defer stop()
		wait(time.Second)
		f.muted(func() { f.put(1, sched(1), time.Now().Add(4*time.Second)) })
		f.setDown(true)
		wait(10 * time.Minute)
		if s := c.stats(); s.Answers || s.Lost.IsZero() {
			t.Errorf("stats say %+v during an outage", s)
		}
		if len(a.rungs()) != 0 {
			t.Errorf("%d entries were acted on during an outage", len(a.rungs()))
		}
		f.setDown(false)
		back := time.Now()
		wait(1500 * time.Millisecond)
		if at := a.of(sched(1)); len(at) != 1 || at[0].Sub(back) > probeMax+100*time.Millisecond {
			t.Errorf("rang %v after the end of the outage, want within 1s", since(back, at))
		}
		if lost, again := log.count("does not answer"), log.count("answers again"); lost != 1 || again != 1 {
			t.Errorf("logged %d times that it is lost and %d times that it is back, want once each:\n%s", lost, again, log.buf.String())
		}
		if s := c.stats(); !s.Answers || !s.Lost.IsZero() || len(s.Shards) != 4 {
			t.Errorf("stats say %+v after an outage", s)
		}
	})
}

func TestAStoreThatIsDownAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(4)
		f.setDown(true)
		a := &acts{next: once(f)}
		f.put(2, sched(1), time.Now())
		var log lines
		_, stop := startCore(t, f, 5*time.Second, a, log.logger())
		defer stop()
		wait(time.Minute)
		f.setDown(false)
		wait(2 * time.Second)
		if len(a.of(sched(1))) != 1 || log.count("does not answer") != 1 {
			t.Errorf("rang %d times; log:\n%s", len(a.of(sched(1))), log.buf.String())
		}
	})
}

func TestStepsOfTheStoresClock(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeStore(4)
				good := once(f)
				a := &acts{next: func(e entry) outcome {
					if e.target == sched(3) {
						return outcome{err: errors.New("broken record")}
					}
					return good(e)
				}}
				_, stop := startCore(t, f, 5*time.Second, a, quiet())
				defer stop()
				base := time.Now()
				f.put(1, sched(3), base.Add(-2*time.Hour))
				wait(10 * time.Minute) // it is tried once a minute by now
				base = time.Now()
				f.put(1, sched(1), base.Add(30*time.Minute))
				f.put(1, sched(2), base.Add(4*time.Second))
				wait(time.Second)
				f.mu.Lock()
				f.ahead = step
				f.mu.Unlock()
				wait(10 * time.Second)
				first, second := len(a.of(sched(1))), len(a.of(sched(2)))
				if step > 0 && (first != 1 || second != 1) || step < 0 && (first != 0 || second != 0) {
					t.Fatalf("after the step they rang %d and %d times", first, second)
				}
				tried := len(a.of(sched(3)))
				wait(5 * time.Minute)
				if len(a.of(sched(3))) < tried+3 {
					t.Errorf("what was held back is not tried after the step")
				}
				wait(2 * time.Hour)
				for n := 1; n <= 2; n++ {
					if at := a.of(sched(n)); len(at) != 1 {
						t.Errorf("entry %d rang %d times, want once", n, len(at))
					}
				}
			})
		})
	}
}

// A batch that has begun when the beat is stopped is ended.
func TestStopEndsWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(1)
		begun, ended := make(chan struct{}), false
		a := &acts{next: func(e entry) outcome {
			close(begun)
			<-time.After(time.Second)
			ended = true
			return outcome{known: true}
		}}
		f.put(0, sched(1), time.Now())
		_, stop := startCore(t, f, time.Second, a, quiet())
		<-begun
		stop()
		if !ended {
			t.Error("stopped in the middle of a batch")
		}
	})
}
