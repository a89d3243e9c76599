package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

const (
	teams     = 50 // ids begin with a team
	workflows = 20
	days      = 7 // over which runs are spread
	namespace = "scale"
)

func scheduleID(i int) string { return fmt.Sprintf("team-%02d-report-%06d", i%teams, i) }

func workflow(i int) string { return fmt.Sprintf("flow_%02d", i%workflows) }

// filler writes schedules with their history and runs. Schedules, fates and active runs go through the store's own commits; runs that have ended, which are most of what
// there is, are copies of some that the store wrote, put beside them by a script: a hundredth of the time. Audit and the client then see what the store would have written.
type filler struct {
	st     *redisstore.Store
	rdb    *redis.Client
	now    time.Time
	runs   int                                       // of a schedule
	copies map[schedules.RunStatus]map[string]string // the stored fields of a run that ended so
}

func fill(b *testing.B, st *redisstore.Store, rdb *redis.Client, n, runs int) {
	b.Helper()
	ctx := b.Context()
	now, err := st.Now(ctx)
	if err != nil {
		b.Fatal(err)
	}
	f := &filler{st: st, rdb: rdb, now: now, runs: max(1, runs/n), copies: map[schedules.RunStatus]map[string]string{}}
	if err := f.model(ctx); err != nil {
		b.Fatal(err)
	}
	const batch = 50
	parts := make(chan int)
	var fillers sync.WaitGroup
	var failed sync.Once
	for range 4 {
		fillers.Go(func() {
			for from := range parts {
				if err := f.part(ctx, from, min(from+batch, n)); err != nil {
					failed.Do(func() { b.Error(err) })
				}
			}
		})
	}
	for from := 0; from < n && !b.Failed(); from += batch {
		parts <- from
	}
	close(parts)
	fillers.Wait()
	if b.Failed() {
		b.FailNow()
	}
	for shard := range st.Shards() { // of each shard some
		a, err := st.Audit(ctx, shard, 100)
		if err != nil || len(a.Mended) > 0 {
			b.Fatalf("the store does not find what was written as it should be: %+v, %v", a, err)
		}
	}
}

const shards = 16 // of a namespace

func key(ref schedules.Ref, name string) string {
	return fmt.Sprintf("pyworkflow:{%s:%d}:%s", namespace, int(ref.Placement())%shards, name)
}

// model has the store write a run that ends in each way, and keeps its record.
func (f *filler) model(ctx context.Context) error {
	for i, status := range []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled} {
		c := storetest.Create("zz-model-"+string(status), "inc1", f.now)
		run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: f.now.Add(-time.Duration(i) * time.Minute)})
		if err := errors.Join(f.st.Commit(ctx, c)...); err != nil {
			return err
		}
		if err := f.st.StrikeOff(ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}); err != nil {
			return err
		}
		claimed, err := f.st.Claim(ctx, run.ID, 1, store.Claim{Worker: "host-1:1:aaaa", Token: "t"})
		if err != nil {
			return err
		}
		if err := f.st.CommitRun(ctx, storetest.End(claimed, status, f.now)); err != nil {
			return err
		}
		if f.copies[status], err = f.rdb.HGetAll(ctx, key(c.Schedule.Ref(), "r:"+run.ID)).Result(); err != nil {
			return err
		}
	}
	return nil
}

// addRuns puts ended runs of one schedule beside those the store wrote.
var addRuns = redis.NewScript(`
local P, list, flow = KEYS[1], ARGV[1], ARGV[2]
for i = 3, #ARGV, 6 do
  local id, created, status = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  redis.call('HSET', P .. 'r:' .. id, 'fix', ARGV[i + 3], 'mut', ARGV[i + 4], status == 'completed' and 'result' or 'error', ARGV[i + 5])
  redis.call('ZADD', P .. 'runs', created, id)
  redis.call('ZADD', P .. list, created, id)
  redis.call('ZADD', P .. flow, created, id)
  if status ~= 'completed' then redis.call('ZADD', P .. 'runs:' .. status, created, id) end
end`)

// part writes schedules from one number up to another.
func (f *filler) part(ctx context.Context, from, to int) error {
	var changes []schedules.Change
	var sent []store.Message
	var claims []string
	pipe := f.rdb.Pipeline()
	for i := from; i < to; i++ {
		c := newSchedule(i, f.now)
		s := &c.Schedule
		args := []any{"runs:s:" + s.ID, "runs:w:" + s.Workflow}
		for k := range f.runs {
			at := f.now.Add(-time.Duration(k)*days*24*time.Hour/time.Duration(f.runs) - time.Duration(i)*time.Millisecond - time.Minute).Truncate(time.Millisecond)
			tick := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: at}
			if k == 0 && i%10 == 0 { // the newest of every tenth schedule is active, and every tenth of those running
				run := storetest.Start(&c, tick)
				c.Start[0].CreatedAt = at
				sent = append(sent, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue})
				if i%100 == 0 {
					claims = append(claims, run.ID)
				}
				continue
			}
			if (i+k)%100 == 7 {
				c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: at.Add(-time.Minute)}, DecidedAt: c.Now,
					Fate: schedules.FateMissed, Reason: schedules.ReasonCatchup})
				s.Missed++
			}
			status := schedules.RunCompleted
			switch (i/workflows + 7*k) % 50 {
			case 1, 2:
				status = schedules.RunFailed
			case 3:
				status = schedules.RunCancelled
			}
			id := schedules.TickRunID(s.Ref(), tick)
			c.Fates = append(c.Fates, schedules.Fate{Tick: tick, DecidedAt: at, Fate: schedules.FateStarted, RunID: id})
			ended, err := f.ended(s, at, status, time.Duration(1+i%30)*time.Second)
			if err != nil {
				return err
			}
			args = append(append(args, id, at.UnixMilli(), string(status)), ended...)
			s.Total++
			switch status {
			case schedules.RunCompleted:
				s.Successful++
			case schedules.RunFailed:
				s.Failed++
			default:
				s.Cancelled++
			}
		}
		addRuns.Eval(ctx, pipe, []string{key(s.Ref(), "")}, args...)
		changes = append(changes, c)
	}
	if err := errors.Join(f.st.Commit(ctx, changes...)...); err != nil {
		return err
	}
	if err := f.st.StrikeOff(ctx, sent...); err != nil {
		return err
	}
	for _, id := range claims {
		if _, err := f.st.Claim(ctx, id, 1, store.Claim{Worker: "host-1:1:aaaa", Token: "t"}); err != nil {
			return err
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}

// ended gives the stored fields of a run that took a time from at on: a copy of one that the store wrote.
func (f *filler) ended(s *schedules.Schedule, at time.Time, status schedules.RunStatus, took time.Duration) ([]any, error) {
	model := f.copies[status]
	fix, err := changed(model["fix"], map[string]any{"schedule": s.ID, "inc": s.Incarnation, "workflow": s.Workflow, "nominal": at.UnixMilli(), "created_at": at.UnixMilli()})
	if err != nil {
		return nil, err
	}
	mut, err := changed(model["mut"], map[string]any{"started_at": at.UnixMilli(), "ended_at": at.Add(took).UnixMilli()})
	return []any{fix, mut, model["result"] + model["error"]}, err
}

// changed gives a record with other values for some of the fields it has.
func changed(record string, fields map[string]any) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal([]byte(record), &all); err != nil {
		return nil, err
	}
	for name, value := range fields {
		if _, ok := all[name]; !ok {
			return nil, fmt.Errorf("record %s has no field %s", record, name)
		}
		all[name] = value
	}
	return json.Marshal(all)
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
