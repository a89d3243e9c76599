package redisstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// forgetAfter is how much longer than its ttl the server keeps a lock when the clock is not its own: a test's may stand still.
const forgetAfter = time.Hour

// locks runs lock.lua on each name and gives the holders.
func (s *Store) locks(ctx context.Context, act, holder string, ttl time.Duration, names []string) ([]string, error) {
	forget := ttl + time.Millisecond
	if s.time != nil {
		forget += forgetAfter
	}
	calls := make([]call, len(names))
	for i, name := range names {
		calls[i] = call{&lockScript, []string{s.keys.lock(name)}, []any{act, holder, ttl.Milliseconds(), forget.Milliseconds()}}
	}
	replies := s.do(ctx, calls...)
	if err := firstError(replies); err != nil {
		return nil, s.wrap(err, "%s leases %s", act, strings.Join(names[:min(len(names), 5)], " "))
	}
	holders := make([]string, len(names))
	for i := range replies {
		holders[i] = replies[i].str(0)
	}
	return holders, nil
}

// HoldLeases renews and takes leases.
func (s *Store) HoldLeases(ctx context.Context, holder string, ttl time.Duration, names ...string) ([]string, error) {
	holders, err := s.locks(ctx, "hold", holder, ttl, names)
	if err != nil {
		return nil, err
	}
	var held []string
	for i, h := range holders {
		if h == holder {
			held = append(held, names[i])
		}
	}
	return held, nil
}

// ReleaseLeases gives up those the holder has.
func (s *Store) ReleaseLeases(ctx context.Context, holder string, names ...string) error {
	_, err := s.locks(ctx, "release", holder, 0, names)
	return err
}

// LeaseHolders gives the holder of each name. Plain reading is enough: nothing rests on it.
func (s *Store) LeaseHolders(ctx context.Context, names ...string) ([]string, error) {
	now, sent := s.time, time.Now()
	var clock *redis.TimeCmd
	values := make([]*redis.StringCmd, len(names))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		if now == nil {
			clock = p.Time(ctx)
		}
		for i, name := range names {
			values[i] = p.Get(ctx, s.keys.lock(name))
		}
	})
	if err != nil {
		return nil, s.wrap(err, "read leases %s", strings.Join(names[:min(len(names), 5)], " "))
	}
	if now == nil {
		s.clock.observe(clock.Val().UTC().Truncate(time.Millisecond), sent)
		now = clock.Val
	}
	holders := make([]string, len(names))
	for i, v := range values {
		until, holder, _ := strings.Cut(v.Val(), " ")
		if ms, err := strconv.ParseInt(until, 10, 64); err == nil && ms > now().UnixMilli() {
			holders[i] = holder
		}
	}
	return holders, nil
}
