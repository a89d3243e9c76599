package redisstore

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Revisions gives the current incarnation under each id and its revision.
func (s *Store) Revisions(ctx context.Context, ids ...string) ([]store.Revision, error) {
	fail := func(err error) ([]store.Revision, error) {
		return nil, s.wrap(err, "read revisions of %d schedules", len(ids))
	}
	refs, err := s.current(ctx, ids)
	if err != nil {
		return fail(err)
	}
	heads := make([]*redis.StringCmd, len(refs))
	err = s.pipe(ctx, func(p redis.Pipeliner) {
		for i, ref := range refs {
			if ref.Incarnation != "" {
				heads[i] = p.HGet(ctx, s.keys.schedule(ref), "head")
			}
		}
	})
	if err != nil {
		return fail(err)
	}
	out := make([]store.Revision, len(refs))
	for i, cmd := range heads {
		if cmd == nil || cmd.Val() == "" {
			continue
		}
		_, rest, _ := strings.Cut(cmd.Val(), " ")
		rev, _, _ := strings.Cut(rest, " ")
		n, _ := strconv.ParseInt(rev, 10, 64) // of a damaged head: 0
		out[i] = store.Revision{Ref: refs[i], Revision: n}
	}
	return out, nil
}

// ActiveRunsOf lists ids of active runs of each schedule.
func (s *Store) ActiveRunsOf(ctx context.Context, refs []schedules.Ref, limit int) ([][]string, error) {
	out := make([][]string, len(refs))
	if limit <= 0 {
		return out, nil
	}
	cmds := make([]*redis.StringSliceCmd, len(refs))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, ref := range refs {
			cmds[i] = p.ZRange(ctx, s.keys.schedule(ref)+":active", 0, int64(limit-1))
		}
	})
	if err != nil {
		return nil, s.wrap(err, "list active runs of %s", several(refs))
	}
	for i, cmd := range cmds {
		out[i] = cmd.Val()
	}
	return out, nil
}

// RecentFates gives the newest rows of each schedule's history.
func (s *Store) RecentFates(ctx context.Context, refs []schedules.Ref, limit int) ([][]schedules.Fate, error) {
	out := make([][]schedules.Fate, len(refs))
	if limit <= 0 {
		return out, nil
	}
	cmds := make([]*redis.StringSliceCmd, len(refs))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, ref := range refs {
			cmds[i] = p.ZRevRange(ctx, s.keys.schedule(ref)+":fates", 0, int64(limit-1))
		}
	})
	for i, cmd := range cmds {
		if err != nil {
			break
		}
		for _, member := range cmd.Val() {
			_, text, _ := strings.Cut(member, " ")
			var f schedules.Fate
			if f, err = decodeFate(text); err != nil {
				break
			}
			out[i] = append(out[i], f)
		}
	}
	if err != nil {
		return nil, s.wrap(err, "read history of %s", several(refs))
	}
	return out, nil
}

// RunHeads reads runs without what may be large.
func (s *Store) RunHeads(ctx context.Context, ids ...string) (map[string]schedules.Run, error) {
	fields := []string{"fix", "mut", "lease"}
	cmds := make([]*redis.SliceCmd, len(ids))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			if shard, ok := shardOfID(id); ok {
				cmds[i] = p.HMGet(ctx, s.keys.run(shard, id), fields...)
			}
		}
	})
	if err != nil {
		return nil, s.wrap(err, "read %d runs", len(ids))
	}
	found := make(map[string]schedules.Run, len(ids))
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		row := map[string]string{}
		for j, v := range stringsOf(cmd.Val()) {
			if v != "" {
				row[fields[j]] = v
			}
		}
		if len(row) == 0 {
			continue
		}
		run, err := decodeRun(ids[i], row)
		if err != nil {
			return nil, s.wrap(err, "read run %s", ids[i])
		}
		found[run.ID] = run
	}
	return found, nil
}

// StepsOf reads the steps of each run.
func (s *Store) StepsOf(ctx context.Context, ids ...string) ([][]schedules.Step, error) {
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			if shard, ok := shardOfID(id); ok {
				cmds[i] = p.HGetAll(ctx, s.keys.run(shard, id)+":steps")
			}
		}
	})
	if err != nil {
		return nil, s.wrap(err, "read steps of %d runs", len(ids))
	}
	out := make([][]schedules.Step, len(ids))
	for i, cmd := range cmds {
		if cmd != nil {
			out[i], _ = decodeSteps(cmd.Val())
		}
	}
	return out, nil
}

// Counts counts schedules and runs by the lengths of their lists.
func (s *Store) Counts(ctx context.Context, since time.Time) (store.Counts, error) {
	statuses := []schedules.Status{schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished, schedules.StatusDeleted}
	c := store.Counts{Schedules: map[schedules.Status]int64{}}
	var sums []func()
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		add := func(to *int64, cmd *redis.IntCmd) { sums = append(sums, func() { *to += cmd.Val() }) }
		from := ms(since)
		if since.IsZero() {
			from = "-inf"
		}
		for _, prefix := range s.keys.shard {
			for _, status := range statuses {
				cmd := p.ZCard(ctx, prefix+"list:"+string(status))
				sums = append(sums, func() { c.Schedules[status] += cmd.Val() })
			}
			add(&c.Active, p.ZCard(ctx, prefix+"runs:active"))
			add(&c.Created, p.ZCount(ctx, prefix+"runs", from, "+inf"))
			add(&c.Ongoing, p.ZCount(ctx, prefix+"runs:active", from, "+inf"))
			add(&c.Failed, p.ZCount(ctx, prefix+"runs:failed", from, "+inf"))
			add(&c.Cancelled, p.ZCount(ctx, prefix+"runs:cancelled", from, "+inf"))
			add(&c.Missed, p.ZCount(ctx, prefix+"missed", from, "+inf"))
		}
	})
	if err != nil {
		return c, s.wrap(err, "count schedules and runs")
	}
	for _, sum := range sums {
		sum()
	}
	return c, nil
}

// TickCounts counts the ticks that are due next in each stretch of time.
func (s *Store) TickCounts(ctx context.Context, bounds []time.Time) ([]int64, error) {
	if len(bounds) < 2 {
		return nil, nil
	}
	var cmds []*redis.IntCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i := range bounds[1:] {
			for _, prefix := range s.keys.shard {
				cmds = append(cmds, p.ZCount(ctx, prefix+"ticks", num(bounds[i]), "("+num(bounds[i+1])))
			}
		}
	})
	if err != nil {
		return nil, s.wrap(err, "count ticks")
	}
	counts := make([]int64, len(bounds)-1)
	for i, cmd := range cmds {
		counts[i/shards] += cmd.Val()
	}
	return counts, nil
}

// missedMember is a missed tick's entry in the list of missed ones, whose score is the time of the decision.
func missedMember(ref schedules.Ref, f *schedules.Fate) string {
	return ref.String() + " " + num(f.Tick.Nominal) + " " + f.Reason
}

func parseMissed(z redis.Z) (store.MissedTick, bool) {
	ref, rest, _ := strings.Cut(memberOf(z), " ")
	nominal, reason, ok := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(nominal, 10, 64)
	return store.MissedTick{Ref: parseRef(ref), Fate: schedules.Fate{
		Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: time.UnixMilli(n).UTC()}, DecidedAt: fromMS(z.Score), Fate: schedules.FateMissed, Reason: reason,
	}}, ok && err == nil
}

// MissedTicks lists the latest missed ticks of all shards.
func (s *Store) MissedTicks(ctx context.Context, since time.Time, limit int) ([]store.MissedTick, error) {
	if limit <= 0 {
		return nil, nil
	}
	var cmds []*redis.ZSliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		from := ms(since)
		if since.IsZero() {
			from = "-inf"
		}
		for _, prefix := range s.keys.shard {
			cmds = append(cmds, p.ZRevRangeByScoreWithScores(ctx, prefix+"missed", &redis.ZRangeBy{Min: from, Max: "+inf", Count: int64(limit)}))
		}
	})
	if err != nil {
		return nil, s.wrap(err, "list missed ticks")
	}
	var all []store.MissedTick
	for _, cmd := range cmds {
		for _, z := range cmd.Val() {
			if t, ok := parseMissed(z); ok {
				all = append(all, t)
			}
		}
	}
	slices.SortStableFunc(all, latestFirst)
	return all[:min(limit, len(all))], nil
}

func latestFirst(a, b store.MissedTick) int {
	if c := b.Fate.DecidedAt.Compare(a.Fate.DecidedAt); c != 0 {
		return c
	}
	if c := b.Fate.Tick.Nominal.Compare(a.Fate.Tick.Nominal); c != 0 {
		return c
	}
	return strings.Compare(a.Ref.ID, b.Ref.ID)
}

// FateByKey finds what became of the trigger with an idempotency key.
func (s *Store) FateByKey(ctx context.Context, ref schedules.Ref, key string) (schedules.Fate, error) {
	f, err := s.fateByKey(ctx, ref, schedules.KeyNonce(key))
	if err != nil {
		return f, s.wrap(err, "find a trigger of schedule %s by its key", ref)
	}
	return f, nil
}

func (s *Store) fateByKey(ctx context.Context, ref schedules.Ref, nonce string) (schedules.Fate, error) {
	row := s.keys.schedule(ref)
	var at *redis.StringCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { at = p.HGet(ctx, row+":keys", nonce) }); err != nil {
		return schedules.Fate{}, err
	}
	if isNil(at.Err()) {
		return schedules.Fate{}, store.ErrNotFound
	}
	var rows *redis.StringSliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		rows = p.ZRangeByScore(ctx, row+":fates", &redis.ZRangeBy{Min: at.Val(), Max: at.Val()})
	})
	if err != nil {
		return schedules.Fate{}, err
	}
	for _, member := range rows.Val() {
		key, text, _ := strings.Cut(member, " ")
		if strings.HasSuffix(key, "-"+nonce) {
			f, err := decodeFate(text)
			return f, unreadable("a row of the history", err)
		}
	}
	return schedules.Fate{}, store.ErrNotFound // trimmed just now
}

// decodeSteps puts steps in the order they were first recorded. Those that cannot be read are left out, and the error names one of them.
func decodeSteps(row map[string]string) ([]schedules.Step, error) {
	type placed struct {
		place int
		step  schedules.Step
	}
	var all []placed
	var bad error
	for key, value := range row {
		place, text, _ := strings.Cut(value, " ")
		n, err := strconv.Atoi(place)
		var step schedules.Step
		if err == nil {
			err = json.Unmarshal([]byte(text), &step)
		}
		if err != nil {
			bad = unreadable("step "+key, err)
			continue
		}
		all = append(all, placed{n, step})
	}
	slices.SortFunc(all, func(a, b placed) int { return a.place - b.place })
	steps := make([]schedules.Step, len(all))
	for i, p := range all {
		steps[i] = p.step
	}
	return steps, bad
}
