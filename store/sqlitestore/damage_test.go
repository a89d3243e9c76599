package sqlitestore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// What another hand broke in one record is that record's: a run ends and is counted, a schedule is refused, the others go on.
func TestDamagedRows(t *testing.T) {
	s := openFile(t, Config{})
	ctx := t.Context()
	harm := func(q string, args ...any) {
		t.Helper()
		if _, err := s.writer.c.ExecContext(ctx, q, args...); err != nil {
			t.Fatal(err)
		}
	}
	eng, err := engine.New(engine.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	for _, harmed := range []string{`UPDATE runs SET progress = '{' WHERE id = ?`, `UPDATE runs SET input = 'x' WHERE id = ?`} {
		now, err := s.Now(ctx)
		if err != nil {
			t.Fatal(err)
		}
		id := schedules.FreeRunID(harmed)
		run := schedules.NewRun(id, "w", "", nil, nil, now)
		if _, _, err := s.CreateRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		harm(harmed, id)
		got, err := s.GetRun(ctx, id)
		if err != nil || got.Damage == "" || got.ID != id || got.Workflow != "w" {
			t.Fatalf("%+v %v", got, err)
		}
		if _, err := s.Claim(ctx, id, 1, store.Claim{Worker: "w", Token: "t"}); !errors.Is(err, store.ErrStale) {
			t.Errorf("claim: %v", err)
		}
		ended, err := eng.ChangeRun(ctx, id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			c, ok := schedules.RunDue(r, false, now)
			return c, ok, nil
		})
		if err != nil || ended.Status != schedules.RunFailed || ended.Error.Kind != schedules.ErrorRecord {
			t.Errorf("%+v %v", ended, err)
		}
		if got, err := s.GetRun(ctx, id); err != nil || got.Status != schedules.RunFailed || !strings.Contains(got.Error.Message, "of table ") {
			t.Errorf("afterwards: %+v %v", got, err)
		}
		if due, err := s.DueTimers(ctx, 0, now.Add(time.Hour), 10); err != nil || len(due) != 0 {
			t.Errorf("still due: %+v %v", due, err)
		}
	}
	if runs, _, err := s.ListRuns(ctx, store.RunFilter{}, store.Page{}); err != nil || len(runs) != 2 {
		t.Errorf("%d runs: %v", len(runs), err)
	}

	for _, id := range []string{"good", "bad"} {
		now, err := s.Now(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c, err := schedules.Create(schedules.CreateRequest{ID: id, Incarnation: "i", Workflow: "w", Definition: schedules.Definition{Spec: schedules.Spec{Interval: "1h"}}}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := eng.Create(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	harm(`UPDATE schedules SET record = '{' WHERE id = 'bad'`)
	s = openFile(t, Config{Dir: s.cfg.Dir}) // a process that has not read it before
	if eng, err = engine.New(engine.Config{Store: s}); err != nil {
		t.Fatal(err)
	}
	loaded, _, err := s.Load(ctx, schedules.Ref{ID: "bad", Incarnation: "i"}, schedules.Ref{ID: "good", Incarnation: "i"})
	if err != nil || !errors.Is(loaded[0].Err, store.ErrUnreadable) || loaded[1].Err != nil {
		t.Errorf("%+v %v", loaded, err)
	}
	decided := eng.Decide(ctx, schedules.Ref{ID: "bad", Incarnation: "i"}, schedules.Ref{ID: "good", Incarnation: "i"})
	if !errors.Is(decided[0].Err, store.ErrUnreadable) || decided[1].Err != nil || decided[1].Schedule.Total != 1 {
		t.Errorf("%+v", decided)
	}
	if list, _, err := s.ListSchedules(ctx, store.ScheduleFilter{}, store.Page{}); err != nil || len(list) != 1 {
		t.Errorf("list has %d: %v", len(list), err)
	}
}
