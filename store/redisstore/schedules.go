package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Resolve gives the current incarnation under an id.
func (s *Store) Resolve(ctx context.Context, id string) (schedules.Ref, error) {
	ref := schedules.Ref{ID: id}
	var cmd *redis.StringCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.HGet(ctx, s.keys.of(ref, "ids"), id) }); err != nil {
		return ref, s.wrap(err, "resolve schedule %s", id)
	}
	if isNil(cmd.Err()) {
		return schedules.Ref{}, s.wrap(store.ErrNotFound, "resolve schedule %s", id)
	}
	ref.Incarnation = cmd.Val()
	return ref, nil
}

// Load reads what a decision needs of each.
func (s *Store) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	if len(refs) == 0 {
		now, err := s.Now(ctx)
		return nil, now, err
	}
	calls := make([]call, len(refs))
	for i, ref := range refs {
		calls[i] = call{&loadScript, []string{s.keys.schedule(ref)}, nil}
	}
	replies := s.do(ctx, calls...)
	if earliest(replies).IsZero() { // what the server makes of one schedule is that one's
		return nil, time.Time{}, s.wrap(replies[0].err, "load %s", several(refs))
	}
	loaded := make([]store.Loaded, len(refs))
	for i := range replies {
		st, err := s.decodeState(refs[i], &replies[i])
		if err != nil {
			err = s.wrap(err, "load schedule %s", refs[i])
		}
		loaded[i] = store.Loaded{State: st, Err: err}
	}
	return loaded, earliest(replies), nil
}

// several names what a call of many is about.
func several(refs []schedules.Ref) string {
	if len(refs) == 1 {
		return "schedule " + refs[0].String()
	}
	return fmt.Sprintf("%d schedules", len(refs))
}

func (s *Store) decodeState(ref schedules.Ref, r *reply) (schedules.State, error) {
	var st schedules.State
	if errors.Is(r.err, store.ErrUnreadable) {
		return st, fmt.Errorf("%w: field head is none, or rec, hot or tally is missing; put it back from a copy", store.ErrUnreadable)
	}
	if r.err != nil {
		return st, r.err
	}
	var err error
	if st.Schedule, err = decodeSchedule(ref, r.str(0), r.str(1), r.str(2), r.str(3), s.records.decode); err != nil {
		return st, err
	}
	if st.Regular, err = decodeAll(r.list(4), formatOf(st.Schedule.Format), decodeWaiting); err != nil {
		return st, unreadable("waiting ticks", err)
	}
	if st.Manual, err = decodeAll(r.list(5), formatOf(st.Schedule.Format), decodeWaiting); err != nil {
		return st, unreadable("waiting ticks", err)
	}
	active := r.list(6)
	for i := 0; i+1 < len(active); i += 2 {
		score, err := strconv.ParseFloat(active[i+1], 64)
		if err != nil {
			return st, unreadable("active runs", err)
		}
		st.Active = append(st.Active, schedules.ActiveRun{ID: active[i], CancelRequested: score >= 1, Backfill: score != math.Trunc(score)})
	}
	if bf := r.list(7); len(bf) == 2 && bf[0] != "" {
		b, err := decodeBackfill(bf[0], bf[1])
		if err != nil {
			return st, unreadable("its first backfill", err)
		}
		st.Backfill = &b
	}
	return st, nil
}

func decodeAll[T any](list []string, format int, decode func(string, int) (T, error)) ([]T, error) {
	var all []T
	for _, e := range list {
		v, err := decode(e, format)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Commit writes each change atomically by itself, or refuses it.
func (s *Store) Commit(ctx context.Context, changes ...schedules.Change) []error {
	errs := make([]error, len(changes))
	var calls []call
	var which []int
	for i := range changes {
		args, err := commitArgs(&changes[i])
		if err != nil {
			errs[i] = fmt.Errorf("commit schedule %s: %w", changes[i].Schedule.Ref(), err)
			continue
		}
		calls = append(calls, call{&commitScript, []string{s.keys.schedule(changes[i].Schedule.Ref())}, args})
		which = append(which, i)
	}
	for n, r := range s.do(ctx, calls...) {
		if i := which[n]; r.err != nil {
			errs[i] = s.wrap(r.err, "commit schedule %s", changes[i].Schedule.Ref())
		}
	}
	return errs
}

var errIncomplete = errors.New("the change lacks its time, the schedule's id, incarnation or status")

// commitArgs are those of commit.lua.
func commitArgs(c *schedules.Change) ([]any, error) {
	sch := &c.Schedule
	// A script that fails in the middle has written the half of it: what it cannot take is refused here.
	if c.Now.IsZero() || sch.ID == "" || sch.Incarnation == "" || sch.Status == "" || strings.ContainsAny(string(sch.Status), " \t\r\n\v\f") {
		return nil, errIncomplete
	}
	rec, err := encodeRecord(sch.Record, formatOf(sch.Format))
	if err != nil {
		return nil, err
	}
	hot, err := encodeProgress(sch.Progress)
	if err != nil {
		return nil, err
	}
	tally, err := encodeTally(sch.Tally)
	if err != nil {
		return nil, err
	}
	timer := ""
	switch {
	case c.More:
		timer = ms(c.Now)
	case sch.Waiting() > 0 || len(sch.Backfills) > 0:
		timer = ms(c.Now.Add(store.SafetyLook))
	}
	token := newToken()
	args := make([]any, 0, 32+4*len(c.Fates)+16*len(c.Start))
	args = append(args, token, c.Expect, ms(c.Now), ms(c.Now.Add(-store.MaxClockLead)), sch.ID, sch.Incarnation, string(sch.Status), sch.Workflow,
		formatOf(sch.Format), rec, hot, tally, ms(sch.NextRunTime()), timer, hasWaited(c), len(c.Cancel))
	for _, r := range c.Cancel {
		args = append(args, r.RunID, r.Reason, ms(r.Deadline))
	}
	var missed []any
	args = append(args, len(c.Fates))
	for i := range c.Fates {
		b, err := encodeFate(c.Fates[i])
		if err != nil {
			return nil, err
		}
		args = append(args, num(c.Fates[i].Tick.Nominal), c.Fates[i].Tick.Key(), b)
		if c.Fates[i].Fate == schedules.FateMissed {
			missed = append(missed, missedMember(sch.Ref(), &c.Fates[i]))
		}
	}
	args = append(append(args, store.MissedMost, len(missed)), missed...)
	for _, l := range []struct {
		pop  int
		push []schedules.WaitingTick
	}{{c.PopRegular, c.PushRegular}, {c.PopManual, c.PushManual}} {
		args = append(args, l.pop, len(l.push))
		for _, w := range l.push {
			b, err := encodeWaiting(w)
			if err != nil {
				return nil, err
			}
			args = append(args, b)
		}
	}
	args = append(args, len(c.Start))
	for i := range c.Start {
		r := &c.Start[i]
		list, err := runFields(r, token, true)
		if err != nil {
			return nil, err
		}
		args = append(args, r.ID, num(r.CreatedAt), ms(r.Due), leaseOf(r), activeScore(r), outboxOf(r), r.Workflow)
		args = append(args, list...)
	}
	args = append(args, len(c.Backfills))
	for _, b := range c.Backfills {
		row, counts, err := encodeBackfill(b)
		if err != nil {
			return nil, err
		}
		args = append(args, b.ID, num(b.CreatedAt), row, counts)
	}
	return args, nil
}

// hasWaited reports whether a tick of the change may have waited before, and so have a row in the history.
func hasWaited(c *schedules.Change) bool {
	return c.PopRegular+c.PopManual > 0 || slices.ContainsFunc(c.Fates, func(f schedules.Fate) bool { return f.Waited > 0 })
}

// leaseOf is the run's place in the leases index: none unless it runs.
func leaseOf(r *schedules.Run) string {
	if r.Status != schedules.RunRunning {
		return ""
	}
	return ms(r.Lease)
}

// activeScore is the run's score in the active set: 0, or the deadline of the cancel request, and a half more if it belongs to a backfill. So those
// that are neither asked to cancel nor of a backfill come first.
func activeScore(r *schedules.Run) string {
	score := "0"
	switch {
	case r.CancelAt.IsZero():
	case r.CancelDeadline.IsZero():
		score = "1"
	default:
		score = ms(r.CancelDeadline)
	}
	if r.BackfillID != "" {
		score += ".5"
	}
	return score
}

func outboxOf(r *schedules.Run) string {
	return outboxMember(store.Message{RunID: r.ID, Dispatch: r.Dispatch, Queue: r.Queue})
}

// ActiveRuns lists ids of active runs.
func (s *Store) ActiveRuns(ctx context.Context, ref schedules.Ref, limit int) ([]string, error) {
	if limit <= 0 {
		return nil, nil
	}
	var cmd *redis.StringSliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.ZRange(ctx, s.keys.schedule(ref)+":active", 0, int64(limit-1)) })
	if err != nil {
		return nil, s.wrap(err, "list active runs of schedule %s", ref)
	}
	return cmd.Val(), nil
}

// WaitingTicks lists waiting ticks in the order they will start: of the two lists, each in its own order, the older entry first.
func (s *Store) WaitingTicks(ctx context.Context, ref schedules.Ref, limit int) ([]schedules.WaitingTick, error) {
	if limit <= 0 {
		return nil, nil
	}
	var r, m *redis.StringSliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		r = p.LRange(ctx, s.keys.schedule(ref)+":wait:r", 0, int64(limit-1))
		m = p.LRange(ctx, s.keys.schedule(ref)+":wait:m", 0, int64(limit-1))
	})
	var regular, manual []schedules.WaitingTick
	if err == nil {
		regular, err = decodeAll(r.Val(), reads, decodeWaiting)
	}
	if err == nil {
		manual, err = decodeAll(m.Val(), reads, decodeWaiting)
	}
	if err != nil {
		return nil, s.wrap(err, "list waiting ticks of schedule %s", ref)
	}
	all := make([]schedules.WaitingTick, 0, min(limit, len(regular)+len(manual)))
	for len(all) < limit && len(regular)+len(manual) > 0 {
		from := &regular
		if len(regular) == 0 || len(manual) > 0 && manual[0].Seq < regular[0].Seq {
			from = &manual
		}
		all = append(all, (*from)[0])
		*from = (*from)[1:]
	}
	return all, nil
}

// Backfill reads one backfill.
func (s *Store) Backfill(ctx context.Context, id string) (schedules.Backfill, error) {
	found, err := s.backfills(ctx, []string{id})
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return schedules.Backfill{}, s.wrap(err, "read backfill %s", id)
	}
	return found[0], nil
}

// backfills reads those of ids that exist.
func (s *Store) backfills(ctx context.Context, ids []string) ([]schedules.Backfill, error) {
	var cmds []*redis.SliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for _, id := range ids {
			if shard, ok := shardOfID(id); ok {
				cmds = append(cmds, p.HMGet(ctx, s.keys.backfill(shard, id), "row", "tally"))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var found []schedules.Backfill
	for i, cmd := range cmds {
		f := stringsOf(cmd.Val())
		if f[0] == "" {
			continue
		}
		b, err := decodeBackfill(f[0], f[1])
		if err = unreadable("row or tally of the backfill", err); errors.Is(err, store.ErrUnreadable) && len(ids) > 1 {
			s.log.WarnContext(ctx, "a list leaves out a backfill whose record cannot be read", "backfill_id", ids[i], "error", err)
			continue
		} else if err != nil {
			return nil, err
		}
		found = append(found, b)
	}
	return found, nil
}
