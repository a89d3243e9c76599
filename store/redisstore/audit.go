package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// auditActive is how many active runs of one schedule an audit of it looks at; the round comes by all of them.
const auditActive = 100

// auditRuns stands in the place of a list's name where the round goes through active runs.
const auditRuns = "runs"

// Audit goes on with a shard's round: schedules by status and id, as retention does, then active runs by creation.
func (s *Store) Audit(ctx context.Context, shard, limit int) (store.Audited, error) {
	if shard < 0 || shard >= shards || limit <= 0 {
		return store.Audited{Round: true}, nil
	}
	a, err := s.auditPage(ctx, shard, limit)
	if err != nil {
		return store.Audited{}, s.wrap(err, "audit shard %d", shard)
	}
	return a, nil
}

func (s *Store) auditPage(ctx context.Context, shard, limit int) (a store.Audited, err error) {
	prefix := s.keys.shard[shard]
	place := prefix + "audit"
	var cmd *redis.StringCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.Get(ctx, place) }); err != nil {
		return a, err
	}
	at := cmd.Val()
	var targets []string
	if list, _, _ := strings.Cut(at, " "); list != auditRuns {
		r := s.one(ctx, &trimNextScript, place, limit)
		if r.err != nil {
			return a, r.err
		}
		next := r.list(0) // list, member, ref; in turn
		for i := 0; i+2 < len(next); i += 3 {
			targets = append(targets, "s"+next[i+2])
			at = next[i] + " " + next[i+1]
		}
		if len(targets) < limit {
			at = auditRuns + "  "
		}
	}
	if rest, ok := strings.CutPrefix(at, auditRuns+" "); ok {
		score, member, _ := strings.Cut(rest, " ")
		n := limit - len(targets)
		r := s.one(ctx, &pageScript, prefix+"runs:active", score, member, n)
		if r.err != nil {
			return a, r.err
		}
		runs := r.list(0)
		for i := 0; i+1 < len(runs); i += 2 {
			targets = append(targets, "r"+runs[i])
			at = auditRuns + " " + runs[i+1] + " " + runs[i]
		}
		a.Round = len(runs)/2 < n
	}
	a.Looked = len(targets)
	if a.Mended, err = s.audit(ctx, shard, targets); err != nil {
		return a, err
	}
	return a, s.pipe(ctx, func(p redis.Pipeliner) {
		if a.Round {
			p.Del(ctx, place)
		} else {
			p.Set(ctx, place, at, 0)
		}
	})
}

// Reindex audits what is named, whether there is a record of it or not.
func (s *Store) Reindex(ctx context.Context, of ...store.Timer) ([]store.Mend, error) {
	const most = 100 // in one script
	var byShard [shards][]string
	for _, t := range of {
		if t.RunID == "" {
			n := shardOf(t.Ref)
			byShard[n] = append(byShard[n], "s"+t.Ref.String())
		} else if n, ok := shardOfID(t.RunID); ok {
			byShard[n] = append(byShard[n], "r"+t.RunID)
		}
	}
	var all []store.Mend
	for shard, targets := range byShard {
		for part := range slices.Chunk(targets, most) {
			mended, err := s.audit(ctx, shard, part)
			if err != nil {
				return all, s.wrap(err, "mend indexes of shard %d", shard)
			}
			all = append(all, mended...)
		}
	}
	return all, nil
}

// audit compares records of one shard with their index entries and mends those.
func (s *Store) audit(ctx context.Context, shard int, targets []string) ([]store.Mend, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	args := []any{(store.SafetyLook + time.Second).Milliseconds(), auditActive, len(targets)}
	for _, t := range targets {
		args = append(args, t)
	}
	r := s.one(ctx, &auditScript, s.keys.shard[shard]+"audit", args...)
	if r.err != nil {
		return nil, r.err
	}
	list := r.list(0)
	var mended []store.Mend
	for i := 0; i+3 < len(list); i += 4 {
		m := store.Mend{Index: store.Index(list[i+1])}
		if ref, ok := strings.CutPrefix(list[i], "s"); ok {
			m.Ref = parseRef(ref)
		} else {
			m.RunID = strings.TrimPrefix(list[i], "r")
		}
		var err error
		if m.Was, err = scoreTime(list[i+2]); err == nil {
			m.Is, err = scoreTime(list[i+3])
		}
		if err != nil {
			return nil, err
		}
		mended = append(mended, m)
	}
	return mended, nil
}

// scoreTime reads a score as a time; empty: zero, for no entry.
func scoreTime(score string) (time.Time, error) {
	if score == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseFloat(score, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("score %q is not a number", score)
	}
	return fromMS(n), nil
}
