package alert

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// An outage of 10,000 missed ticks of one schedule, decided over some minutes, is a message at once and one a minute; their counts add up.
func TestManyTicksOfOneSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}}, defaultLimits(), hook.serve(t).dial)
		began := time.Now()
		for i := range 100 {
			s.Decided(missing("nightly", at.Add(time.Duration(i)*100*time.Second), 100))
			<-time.After(1500 * time.Millisecond)
		}
		<-time.After(10 * time.Minute)
		got := hook.all()
		if len(got) != 4 {
			t.Fatalf("%d messages", len(got))
		}
		total := 0
		for i, d := range got {
			m := d.message(t)
			total += m.Count
			if when := d.at.Sub(began); when != time.Duration(i)*time.Minute || string(m.ScheduleID) != "nightly" || m.Kind != Missed {
				t.Errorf("after %s: %+v", when, m)
			}
		}
		last := got[3].message(t)
		if total != 10_000 || !last.NominalTime.Equal(at.Add(9999*time.Second)) || last.Link != "" {
			t.Errorf("%d ticks told of, at last %+v", total, last)
		}
		if want := fmt.Sprintf("%d ticks of schedule nightly were missed, the latest of 2026-11-22T11:46:39.25Z: nothing decided it when it was due, and the catchup setting leaves it out", last.Count); last.Summary != want {
			t.Errorf("said %q, want %q", last.Summary, want)
		}
		// Quiet again, the next one goes out at once.
		s.Decided(missing("nightly", at.Add(time.Hour*24), 1))
		synctest.Wait()
		if got := hook.all(); len(got) != 5 || got[4].message(t).Count != 1 {
			t.Errorf("after a quiet time: %d messages", len(got))
		}
		stop()
	})
}

// 10,000 schedules that fail at once are twenty messages and, a minute later, one about the rest. Other kinds have room of their own, and room comes back.
func TestManySchedules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}, Link: "https://jobs.example.com"}, defaultLimits(), hook.serve(t).dial)
		for i := range 10_000 {
			s.RunChanged(failure(fmt.Sprintf("s%04d", i), fmt.Sprint("run_", i), "boom"))
		}
		s.Decided(missing("nightly", at, 1))
		<-time.After(time.Second)
		if n := len(hook.all()); n != 21 {
			t.Errorf("%d messages at once", n)
		}
		<-time.After(5 * time.Minute)
		got := hook.all()
		if len(got) != 22 {
			t.Fatalf("%d messages", len(got))
		}
		rest := got[21].message(t)
		if rest.Count != 9980 || rest.ScheduleID != "" || rest.RunID != "" || rest.Workflow != "" || rest.Message != "" || !rest.NominalTime.IsZero() || rest.Link != "https://jobs.example.com/" ||
			fmt.Sprint(rest.ScheduleIDs) != "[s0020 s0021 s0022 s0023 s0024 s0025 s0026 s0027 s0028 s0029]" {
			t.Errorf("the rest: %+v", rest)
		}
		if want := "9980 more runs failed since 2026-11-22T09:00:00.25Z (s0020, s0021, s0022, s0023, s0024, s0025, s0026, s0027, s0028, s0029, …)"; rest.Summary != want {
			t.Errorf("said %q, want %q", rest.Summary, want)
		}
		for i := range 20 {
			s.RunChanged(failure(fmt.Sprintf("s%04d", 5000+i), fmt.Sprint("run_b", i), "boom"))
		}
		synctest.Wait()
		if n := len(hook.all()); n != 42 {
			t.Errorf("%d messages, want 20 more", n)
		}
		stop()
		if n := len(hook.all()); n != 42 {
			t.Errorf("%d messages after the end", n)
		}
	})
}

// Only what is asked for is sent.
func TestKindsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}, On: []Kind{Missed}}, defaultLimits(), hook.serve(t).dial)
		s.RunChanged(failure("nightly", "run_1", "boom"))
		s.Decided(missing("nightly", at, 1))
		stop()
		if got := hook.all(); len(got) != 1 || got[0].message(t).Kind != Missed {
			t.Errorf("posted %+v", got)
		}
	})
}
