package sqlitestore

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// Whatever an index column says that its record does not, an audit of everything and one of what is named find and mend it, once.
func TestAuditMends(t *testing.T) {
	clock := storetest.NewClock()
	s := openFile(t, Config{Clock: clock.Now})
	ctx, now := t.Context(), clock.Now()
	commit := func(c schedules.Change) {
		t.Helper()
		if err := s.Commit(ctx, c)[0]; err != nil {
			t.Fatal(err)
		}
	}
	c := storetest.Create("a", "i1", now)
	ref, due := c.Schedule.Ref(), c.Schedule.NextDue
	commit(c)
	got, _, err := s.Load(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	c = storetest.Next(got[0].State.Schedule, now)
	pending := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now})
	other := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now.Add(time.Second)})
	c.PushRegular, c.Schedule.WaitingRegular = storetest.Waiting(schedules.TriggerSchedule, 0, now, 1), 1
	commit(c)
	running, err := s.Claim(ctx, other.ID, 1, store.Claim{Worker: "w", Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	year := due.Add(365 * 24 * time.Hour)
	for _, test := range []struct {
		harm string
		args []any
		want store.Mend
	}{
		{`UPDATE progress SET tick = NULL`, nil, store.Mend{Ref: ref, Index: store.IndexTicks, Is: due}},
		{`UPDATE progress SET tick = ?`, []any{year.UnixMilli()}, store.Mend{Ref: ref, Index: store.IndexTicks, Was: year, Is: due}},
		{`UPDATE progress SET timer = NULL`, nil, store.Mend{Ref: ref, Index: store.IndexTimers, Is: now}},
		{`UPDATE progress SET timer = ?`, []any{year.UnixMilli()}, store.Mend{Ref: ref, Index: store.IndexTimers, Was: year, Is: now}},
		{`UPDATE runs SET due = NULL`, nil, store.Mend{RunID: pending.ID, Index: store.IndexTimers, Is: pending.Due}},
		{`UPDATE runs SET due = ? WHERE status = 'running'`, []any{year.UnixMilli()}, store.Mend{RunID: running.ID, Index: store.IndexTimers, Was: year}},
		{`UPDATE runs SET lease = NULL`, nil, store.Mend{RunID: running.ID, Index: store.IndexLeases, Is: now}},
		{`UPDATE runs SET lease = ? WHERE status = 'pending'`, []any{year.UnixMilli()}, store.Mend{RunID: pending.ID, Index: store.IndexLeases, Was: year}},
		{`UPDATE runs SET rank = NULL WHERE status = 'pending'`, nil, store.Mend{RunID: pending.ID, Index: store.IndexActive, Is: time.UnixMilli(0).UTC()}},
	} {
		for _, round := range []bool{true, false} {
			storetest.Audit(t, s)
			if _, err := s.writer.c.ExecContext(ctx, test.harm, test.args...); err != nil {
				t.Fatalf("%s: %v", test.harm, err)
			}
			var mended []store.Mend
			if round {
				_, mended, err = storetest.AuditAll(ctx, s, 1)
			} else {
				mended, err = s.Reindex(ctx, store.Timer{Ref: ref}, store.Timer{RunID: pending.ID}, store.Timer{RunID: running.ID})
			}
			if err != nil || len(mended) != 1 || mended[0] != test.want {
				t.Errorf("%s: round %v mended %+v (%v), want %+v", test.harm, round, mended, err, test.want)
			}
			storetest.Audit(t, s)
		}
	}

	// A record that cannot be read stops no audit, and is left as it is.
	if _, err := s.writer.c.ExecContext(ctx, `UPDATE progress SET tally = 'nothing', tick = NULL`); err != nil {
		t.Fatal(err)
	}
	storetest.Audit(t, s)
}
