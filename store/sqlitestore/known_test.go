package sqlitestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// Two processes take turns with one schedule and its runs: what each remembers is outdated each time, and neither writes over the other.
func TestWhatIsKnownIsOutdated(t *testing.T) {
	one := openFile(t, Config{})
	two := openFile(t, Config{Dir: one.cfg.Dir})
	ctx := t.Context()
	create := storetest.Create("a", "inc1", one.Estimate())
	if err := one.Commit(ctx, create)[0]; err != nil {
		t.Fatal(err)
	}
	ref := create.Schedule.Ref()
	stores := []*Store{one, two}
	for i := range 12 {
		mine, other := stores[i%2], stores[1-i%2]
		read := func(s *Store) schedules.Schedule {
			loaded, _, err := s.Load(ctx, ref)
			if err = errors.Join(err, loaded[0].Err); err != nil {
				t.Fatal(err)
			}
			return loaded[0].State.Schedule
		}
		mineSaw, otherSaw := read(mine), read(other)
		if mineSaw.Revision != otherSaw.Revision || mineSaw.Successful != otherSaw.Successful || mineSaw.Successful != int64(i) || mineSaw.Note != otherSaw.Note {
			t.Fatalf("round %d: %+v, %+v", i, mineSaw.Tally, otherSaw.Tally)
		}
		c := storetest.Next(mineSaw, mine.Estimate())
		c.Schedule.Note = fmt.Sprint("round ", i)
		run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: create.Now.Add(time.Duration(i) * time.Second)})
		late := storetest.Next(otherSaw, other.Estimate())
		if err := mine.Commit(ctx, c)[0]; err != nil {
			t.Fatal(err)
		}
		if err := other.Commit(ctx, late)[0]; !errors.Is(err, store.ErrConflict) {
			t.Fatalf("round %d: the other wrote over it: %v", i, err)
		}
		// The other claims what this one remembers as pending, and the other way round with the end.
		claimed, err := other.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mine.Claim(ctx, run.ID, 1, store.Claim{Worker: "v", Token: "u"}); !errors.Is(err, store.ErrStale) {
			t.Fatalf("round %d: claimed twice: %v", i, err)
		}
		end := storetest.End(claimed, schedules.RunCompleted, mine.Estimate())
		if err := mine.CommitRun(ctx, end); err != nil {
			t.Fatal(err)
		}
		if err := other.CommitRun(ctx, end); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("round %d: ended twice: %v", i, err)
		}
	}
}

// What is remembered is bounded by its size, too: a schedule with a large input is read each time.
func TestWhatIsLargeIsNotRemembered(t *testing.T) {
	s := openFile(t, Config{})
	ctx := t.Context()
	c := storetest.Create("a", "inc1", s.Estimate())
	c.Schedule.Input = json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)
	ref := c.Schedule.Ref()
	for i := range 5 {
		if err := s.Commit(ctx, c)[0]; err != nil {
			t.Fatal(err)
		}
		loaded, _, err := s.Load(ctx, ref)
		if err = errors.Join(err, loaded[0].Err); err != nil {
			t.Fatal(err)
		}
		if got := loaded[0].State.Schedule; string(got.Input) != string(c.Schedule.Input) || got.Note != c.Schedule.Note || got.Revision != int64(i+1) {
			t.Fatalf("round %d: revision %d, note %q, %d bytes", i, got.Revision, got.Note, len(got.Input))
		}
		if _, _, err := s.ListSchedules(ctx, store.ScheduleFilter{}, store.Page{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		c = storetest.Next(loaded[0].State.Schedule, s.Estimate())
		c.Schedule.Note = fmt.Sprint("round ", i)
	}
	if schedules, records := len(s.known.schedules), len(s.known.records); schedules != 0 || records != 0 {
		t.Errorf("%d schedules and %d records are remembered", schedules, records)
	}
}
