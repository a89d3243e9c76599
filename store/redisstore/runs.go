package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// CreateRun writes a new run without a schedule.
func (s *Store) CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error) {
	shard, ok := shardOfID(run.ID)
	if !ok {
		return run, false, fmt.Errorf("create run %s: the id is not that of a run", run.ID)
	}
	token := newToken()
	list, err := runFields(&run, token, true)
	if err != nil {
		return run, false, fmt.Errorf("create run %s: %w", run.ID, err)
	}
	args := append([]any{token, run.ID, num(run.CreatedAt), ms(run.Due), leaseOf(&run), outboxOf(&run), run.Workflow}, list...)
	r := s.one(ctx, &createRunScript, s.keys.run(shard, run.ID), args...)
	switch {
	case r.err == nil:
		return run, true, nil
	case r.answered() && errors.Is(r.err, store.ErrExists):
		was, err := decodeRun(run.ID, r.hash(0))
		if err != nil {
			return run, false, s.wrap(err, "create run %s", run.ID)
		}
		return was, false, nil
	default:
		return run, false, s.wrap(r.err, "create run %s", run.ID)
	}
}

// GetRun reads a run.
func (s *Store) GetRun(ctx context.Context, id string) (schedules.Run, error) {
	found, err := s.runs(ctx, []string{id})
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return schedules.Run{}, s.wrap(err, "read run %s", id)
	}
	run := found[0]
	if run.Damage != "" && run.ScheduleID == "" && !run.Status.Ended() {
		if err := s.adopt(ctx, &run); err != nil {
			return run, s.wrap(err, "read run %s", id)
		}
	}
	return run, nil
}

// runs reads those of ids that exist.
func (s *Store) runs(ctx context.Context, ids []string) ([]schedules.Run, error) {
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			if shard, ok := shardOfID(id); ok {
				cmds[i] = p.HGetAll(ctx, s.keys.run(shard, id))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var found []schedules.Run
	for i, cmd := range cmds {
		if cmd == nil || len(cmd.Val()) == 0 {
			continue
		}
		run, err := decodeRun(ids[i], cmd.Val())
		if err != nil {
			return nil, err
		}
		found = append(found, run)
	}
	return found, nil
}

// ofRun runs a script on a run's row.
func (s *Store) ofRun(ctx context.Context, sc *script, id string, args ...any) reply {
	shard, ok := shardOfID(id)
	if !ok {
		return reply{err: store.ErrNotFound}
	}
	return s.one(ctx, sc, s.keys.run(shard, id), args...)
}

// Claim makes a worker the holder of a pending run's dispatch.
func (s *Store) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	r := s.ofRun(ctx, &claimScript, id, id, dispatch, c.Worker, c.Token, schedules.Lease.Milliseconds())
	if r.err != nil {
		return schedules.Run{}, s.wrap(r.err, "claim run %s", id)
	}
	run, err := decodeRun(id, r.hash(0))
	if err != nil {
		return run, s.wrap(err, "claim run %s", id)
	}
	return run, nil
}

// Heartbeat renews the leases of runs held under their dispatches: one script per shard that has some of them.
func (s *Store) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	const most = 200 // in one script
	answers := make([]store.HeartbeatAnswer, len(beats))
	var byShard [shards][]int
	for i, b := range beats {
		if shard, ok := shardOfID(b.RunID); ok {
			byShard[shard] = append(byShard[shard], i)
		} else {
			answers[i].Lost = true
		}
	}
	var calls []call
	var which [][]int
	for shard, all := range byShard {
		for part := range slices.Chunk(all, most) {
			args := []any{schedules.Lease.Milliseconds(), len(part)}
			for _, i := range part {
				args = append(args, beats[i].RunID, beats[i].Dispatch)
			}
			calls = append(calls, call{&heartbeatScript, []string{s.keys.shard[shard] + "leases"}, args})
			which = append(which, part)
		}
	}
	replies := s.do(ctx, calls...)
	if err := firstError(replies); err != nil {
		return nil, s.wrap(err, "renew leases of %d runs", len(beats))
	}
	for n := range replies {
		for j, i := range which[n] {
			switch replies[n].str(2 * j) {
			case "held":
			case "cancel":
				answers[i] = store.HeartbeatAnswer{Cancel: true, CancelReason: replies[n].str(2*j + 1)}
			default:
				answers[i].Lost = true
			}
		}
	}
	return answers, nil
}

// CommitRun writes a transition of a run.
func (s *Store) CommitRun(ctx context.Context, c schedules.RunChange) error {
	run := &c.Run
	if c.Now.IsZero() {
		return fmt.Errorf("commit run %s: the change lacks its time", run.ID)
	}
	token := newToken()
	list, err := runFields(run, token, false)
	if err != nil {
		return fmt.Errorf("commit run %s: %w", run.ID, err)
	}
	member, ref := "", ""
	if c.Send {
		member = outboxOf(run)
	}
	if run.ScheduleID != "" {
		ref = run.Ref().String()
	}
	expect := strconv.FormatInt(c.Expect, 10)
	if run.Damage != "" {
		expect = ""
	}
	args := append([]any{token, expect, ms(c.Now), ms(c.Now.Add(-store.MaxClockLead)), run.ID, string(run.Status), run.Dispatch, ms(run.Due), ms(run.Lease),
		activeScore(run), member, ref}, list...)
	if args, err = appendEvents(args, c.Events); err != nil {
		return fmt.Errorf("commit run %s: %w", run.ID, err)
	}
	if end, ok := c.Ends(); ok {
		backfill, success := "", "0"
		if end.Backfill {
			backfill = run.BackfillID
		}
		if end.Success {
			success = "1"
		}
		args = append(args, num(end.At), end.Successful, end.Failed, end.Cancelled, backfill, success)
	}
	if r := s.ofRun(ctx, &commitRunScript, run.ID, args...); r.err != nil {
		return s.wrap(r.err, "commit run %s", run.ID)
	}
	return nil
}

func appendEvents(args []any, events []schedules.Event) ([]any, error) {
	args = append(args, len(events))
	for i := range events {
		b, err := json.Marshal(&events[i])
		if err != nil {
			return nil, err
		}
		args = append(args, b)
	}
	return args, nil
}

// RecordStep writes a step of a running run.
func (s *Store) RecordStep(ctx context.Context, id string, dispatch int, step schedules.Step) error {
	b, err := json.Marshal(step)
	if err != nil {
		return fmt.Errorf("record step %s of run %s: %w", step.Key, id, err)
	}
	if r := s.ofRun(ctx, &stepScript, id, dispatch, step.Key, b); r.err != nil {
		return s.wrap(r.err, "record step %s of run %s", step.Key, id)
	}
	return nil
}

// Steps reads the steps of a run in the order they were first recorded.
func (s *Store) Steps(ctx context.Context, id string) ([]schedules.Step, error) {
	shard, ok := shardOfID(id)
	if !ok {
		return nil, nil
	}
	var cmd *redis.MapStringStringCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.HGetAll(ctx, s.keys.run(shard, id)+":steps") }); err != nil {
		return nil, s.wrap(err, "read steps of run %s", id)
	}
	steps, err := decodeSteps(cmd.Val())
	if err != nil {
		err = s.wrap(err, "read steps of run %s", id)
	}
	return steps, err
}

// AppendEvents adds to a run's log.
func (s *Store) AppendEvents(ctx context.Context, id string, events ...schedules.Event) error {
	const most = 1000 // the log keeps no more
	if len(events) == 0 {
		return nil
	}
	events = events[max(0, len(events)-most):]
	args, err := appendEvents([]any{newToken()}, events)
	if err != nil {
		return fmt.Errorf("append to log of run %s: %w", id, err)
	}
	if r := s.ofRun(ctx, &eventsScript, id, args...); r.err != nil {
		return s.wrap(r.err, "append to log of run %s", id)
	}
	return nil
}

// Events reads a run's log after a position.
func (s *Store) Events(ctx context.Context, id string, after int64, limit int) ([]schedules.Event, int64, error) {
	shard, ok := shardOfID(id)
	if !ok || limit <= 0 {
		return nil, after, nil
	}
	after = max(0, after)
	var events []schedules.Event
	next := after
	key := s.keys.run(shard, id)
	for from := after; ; {
		var gone *redis.StringCmd
		var list *redis.StringSliceCmd
		err := s.pipe(ctx, func(p redis.Pipeliner) {
			gone = p.HGet(ctx, key, "logged")
			list = p.LRange(ctx, key+":log", from, from+int64(limit)-1)
		})
		if err != nil {
			return nil, after, s.wrap(err, "read log of run %s", id)
		}
		base, err := strconv.ParseInt(cmp.Or(gone.Val(), "0"), 10, 64)
		if err != nil {
			return nil, after, s.wrap(unreadable("field logged", err), "read log of run %s", id)
		}
		if begins := max(0, after-base); begins != from { // the oldest entries are gone
			from = begins
			continue
		}
		for i, text := range list.Val() {
			var e schedules.Event
			_, raw, _ := strings.Cut(text, " ")
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return nil, after, s.wrap(err, "read log of run %s", id)
			}
			events, next = append(events, e), base+from+int64(i)+1
		}
		break
	}
	return events, next, nil
}
