package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

const (
	teams     = 50 // ids begin with a team
	workflows = 20
	days      = 7 // over which runs are spread
)

func scheduleID(i int) string { return fmt.Sprintf("team-%02d-report-%06d", i%teams, i) }

func workflow(i int) string { return fmt.Sprintf("flow_%02d", i%workflows) }

// fill writes schedules with their history and runs, most of which have ended, through the store's own commits.
func fill(b *testing.B, st *redisstore.Store, n, runs int) {
	b.Helper()
	ctx := b.Context()
	now, err := st.Now(ctx)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 100
	each := max(1, runs/n)
	parts := make(chan int)
	var fillers sync.WaitGroup
	var failed sync.Once
	for range 16 {
		fillers.Go(func() {
			for from := range parts {
				if err := fillPart(ctx, st, now, from, min(from+batch, n), each); err != nil {
					failed.Do(func() { b.Error(err) })
				}
			}
		})
	}
	for from := 0; from < n; from += batch {
		parts <- from
	}
	close(parts)
	fillers.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func fillPart(ctx context.Context, st *redisstore.Store, now time.Time, from, to, runs int) error {
	var changes []schedules.Change
	var sent []store.Message
	for i := from; i < to; i++ {
		c := newSchedule(i, now)
		for k := range runs {
			at := now.Add(-time.Duration(k)*days*24*time.Hour/time.Duration(runs) - time.Duration(i)*time.Millisecond - time.Minute)
			if k > 0 && (i+k)%100 == 7 {
				c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: at.Add(-time.Minute)}, DecidedAt: c.Now,
					Fate: schedules.FateMissed, Reason: schedules.ReasonCatchup})
				c.Schedule.Missed++
			}
			run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: at})
			c.Start[k].CreatedAt = at
			sent = append(sent, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue})
		}
		changes = append(changes, c)
	}
	if err := errors.Join(st.Commit(ctx, changes...)...); err != nil {
		return err
	}
	if err := st.StrikeOff(ctx, sent...); err != nil {
		return err
	}
	for i, c := range changes {
		for k, run := range c.Start {
			if err := endRun(ctx, st, run, from+i, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func newSchedule(i int, now time.Time) schedules.Change {
	c := storetest.Create(scheduleID(i), "inc1", now)
	s := &c.Schedule
	s.Workflow = workflow(i)
	due := now.Add(time.Duration(i%3600) * time.Second)
	s.NextNominal, s.NextDue = due, due
	if s.Spec.Cron = fmt.Sprintf("%d * * * *", i%60); i%5 == 0 {
		s.Spec.Cron = fmt.Sprintf("%d %d * * *", i%60, i%24)
	}
	s.Overlap = []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapCancelOther}[i%3]
	if i%1000 == 999 {
		s.Overlap = schedules.OverlapAllowAll
	}
	if i%2 == 0 {
		s.Origin = fmt.Sprintf("example.com/team%02d", i%teams)
	}
	switch {
	case i%20 == 3:
		s.Status = schedules.StatusPaused
	case i%100 == 50:
		s.Status, s.NextNominal, s.NextDue = schedules.StatusFinished, time.Time{}, time.Time{}
	}
	return c
}

// endRun ends a run; the newest of every tenth schedule is left active, and every tenth of those running.
func endRun(ctx context.Context, st *redisstore.Store, run schedules.Run, i, k int) error {
	if k == 0 && i%10 == 0 {
		if i%100 != 0 {
			return nil
		}
		_, err := st.Claim(ctx, run.ID, 1, store.Claim{Worker: "host-1:1:aaaa", Token: "t"})
		return err
	}
	status := schedules.RunCompleted
	switch (i + k) % 50 {
	case 1, 2:
		status = schedules.RunFailed
	case 3:
		status = schedules.RunCancelled
	}
	c := storetest.End(run, status, run.CreatedAt.Add(time.Duration(1+i%30)*time.Second))
	c.Run.StartedAt = run.CreatedAt.Add(50 * time.Millisecond)
	if status == schedules.RunCompleted {
		c.Run.Result = json.RawMessage(`{"rows":` + fmt.Sprint(i) + `}`)
	}
	return st.CommitRun(ctx, c)
}
