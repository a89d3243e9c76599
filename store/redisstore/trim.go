package redisstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// One call of Trim goes through so many schedules, removes at most so much of each, and looks at no more of it than that.
const (
	trimSchedules = 64
	trimRemove    = 200
	trimLook      = 1000
)

// Trim removes a bounded batch of what retention no longer keeps. Backfills and deleted schedules go when they are older than fates.
func (s *Store) Trim(ctx context.Context, shard int, l store.Limits) (bool, error) {
	if shard < 0 || shard >= shards {
		return false, nil
	}
	more, err := s.trim(ctx, shard, l)
	if err != nil {
		return false, s.wrap(err, "trim shard %d", shard)
	}
	return more, nil
}

func (s *Store) trim(ctx context.Context, shard int, l store.Limits) (more bool, err error) {
	prefix := s.keys.shard[shard]
	rest := s.one(ctx, &trimRestScript, prefix+"backfills", l.FreeRunAge.Milliseconds(), l.FateAge.Milliseconds(), trimRemove, trimLook, store.MissedFor.Milliseconds())
	if rest.err != nil {
		return false, rest.err
	}
	next := s.one(ctx, &trimNextScript, prefix+"trim", trimSchedules)
	if next.err != nil {
		return false, next.err
	}
	list := next.list(0) // list, member, ref; in turn
	var calls []call
	var refs []schedules.Ref
	for i := 0; i+2 < len(list); i += 3 {
		ref := parseRef(list[i+2])
		refs = append(refs, ref)
		calls = append(calls, call{&trimScript, []string{s.keys.schedule(ref)}, []any{ref.ID, ref.Incarnation, l.RunAge.Milliseconds(), l.RunCount, l.RunKeep,
			l.FateAge.Milliseconds(), l.FateCount, trimRemove, trimLook}})
	}
	replies := s.do(ctx, calls...)
	done := len(refs) // those before it have nothing more to remove
	var empty []schedules.Ref
	for i := range replies {
		switch r := &replies[i]; {
		case errors.Is(r.err, store.ErrFormat): // a newer program's: left to it
		case r.err != nil:
			return false, r.err
		case r.int(0) == 1:
			done = min(done, i)
		case r.int(1) == 1:
			empty = append(empty, refs[i])
		}
	}
	if err := s.dropDeleted(ctx, empty, next, l); err != nil {
		return false, err
	}
	err = s.pipe(ctx, func(p redis.Pipeliner) {
		switch {
		case done == 0 && len(refs) > 0: // again from here
		case done == len(refs) && len(refs) < trimSchedules: // the round ends
			p.Del(ctx, prefix+"trim")
		default:
			p.Set(ctx, prefix+"trim", list[3*(done-1)]+" "+list[3*(done-1)+1], 0)
		}
	})
	return done < len(refs) || rest.int(0) == 1, err
}

// dropDeleted removes the records of deleted schedules of which nothing is left, if they were deleted long enough ago.
func (s *Store) dropDeleted(ctx context.Context, refs []schedules.Ref, at reply, l store.Limits) error {
	if len(refs) == 0 {
		return nil
	}
	loaded, _, err := s.Load(ctx, refs...)
	if err != nil {
		return err
	}
	var calls []call
	for i, ref := range refs {
		sch := &loaded[i].State.Schedule
		if loaded[i].Err != nil || at.now.Sub(sch.UpdatedAt) < l.FateAge {
			continue
		}
		calls = append(calls, call{&dropScript, []string{s.keys.schedule(ref)}, []any{ref.ID, ref.Incarnation, sch.Revision}})
	}
	return firstError(s.do(ctx, calls...))
}
