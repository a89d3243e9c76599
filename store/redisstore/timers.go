package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// due reads an index up to a time, oldest first.
func (s *Store) due(ctx context.Context, shard int, name string, until time.Time, limit int) ([]redis.Z, error) {
	if shard < 0 || shard >= shards || limit <= 0 {
		return nil, nil
	}
	var cmd *redis.ZSliceCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		cmd = p.ZRangeByScoreWithScores(ctx, s.keys.shard[shard]+name, &redis.ZRangeBy{Min: "-inf", Max: ms(until), Count: int64(limit)})
	})
	if err != nil {
		return nil, s.wrap(err, "read %s of shard %d", name, shard)
	}
	return cmd.Val(), nil
}

func memberOf(z redis.Z) string {
	m, _ := z.Member.(string)
	return m
}

// DueTicks reads schedules whose next tick is due.
func (s *Store) DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error) {
	list, err := s.due(ctx, shard, "ticks", until, limit)
	if err != nil {
		return nil, err
	}
	due := make([]store.DueSchedule, len(list))
	for i, z := range list {
		due[i] = store.DueSchedule{Ref: parseRef(memberOf(z)), Due: fromMS(z.Score)}
	}
	return due, nil
}

// DueTimers reads schedules and runs that are to be looked at.
func (s *Store) DueTimers(ctx context.Context, shard int, until time.Time, limit int) ([]store.Timer, error) {
	list, err := s.due(ctx, shard, "timers", until, limit)
	if err != nil {
		return nil, err
	}
	due := make([]store.Timer, 0, len(list))
	for _, z := range list {
		t := store.Timer{Due: fromMS(z.Score)}
		switch m := memberOf(z); {
		case len(m) > 1 && m[0] == 's':
			t.Ref = parseRef(m[1:])
		case len(m) > 1 && m[0] == 'r':
			t.RunID = m[1:]
		default:
			continue
		}
		due = append(due, t)
	}
	return due, nil
}

// ExpiredLeases reads running runs whose lease has run out.
func (s *Store) ExpiredLeases(ctx context.Context, shard int, until time.Time, limit int) ([]store.LeaseEntry, error) {
	list, err := s.due(ctx, shard, "leases", until, limit)
	if err != nil {
		return nil, err
	}
	expired := make([]store.LeaseEntry, len(list))
	for i, z := range list {
		expired[i] = store.LeaseEntry{RunID: memberOf(z), Until: fromMS(z.Score)}
	}
	return expired, nil
}

// Unsent reads messages not yet struck off.
func (s *Store) Unsent(ctx context.Context, shard int, until time.Time, limit int) ([]store.Message, error) {
	list, err := s.due(ctx, shard, "outbox", until, limit)
	if err != nil {
		return nil, err
	}
	msgs := make([]store.Message, 0, len(list))
	for _, z := range list {
		if m, ok := parseOutboxMember(memberOf(z)); ok {
			msgs = append(msgs, m)
		}
	}
	return msgs, nil
}

// StrikeOff removes messages that were handed over.
func (s *Store) StrikeOff(ctx context.Context, msgs ...store.Message) error {
	var byShard [shards][]any
	for _, m := range msgs {
		if shard, ok := shardOfID(m.RunID); ok {
			byShard[shard] = append(byShard[shard], outboxMember(m))
		}
	}
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for shard, members := range byShard {
			if len(members) > 0 {
				p.ZRem(ctx, s.keys.shard[shard]+"outbox", members...)
			}
		}
	})
	if err != nil {
		return s.wrap(err, "strike off %d messages", len(msgs))
	}
	return nil
}

const (
	// listenQuiet is how long a subscription may be silent before the server is asked for a sign of life, and then before it is given up.
	listenQuiet = 3 * time.Second
	// listenRetry is the pause before a lost subscription is tried anew; it doubles up to listenRetryMax.
	listenRetry, listenRetryMax = 100 * time.Millisecond, 5 * time.Second
)

// Listen calls wake for what other processes made due. It also wakes for all shards whenever the subscription stands (anew), since what happened before was
// not heard. In a testing/synctest bubble it keeps fake time from moving: it always waits for the network.
func (s *Store) Listen(ctx context.Context, wake func(store.Wake)) error {
	shardOfChannel := make(map[string]int, shards)
	channels := make([]string, shards)
	for i, prefix := range s.keys.shard {
		channels[i] = prefix + "wake"
		shardOfChannel[channels[i]] = i
	}
	pause := listenRetry
	for {
		if s.closed.Load() {
			return s.wrap(redis.ErrClosed, "listen")
		}
		stood, err := s.subscribed(ctx, channels, shardOfChannel, wake)
		if ctx.Err() != nil {
			return nil
		}
		if stood {
			pause = listenRetry
		}
		s.log.WarnContext(ctx, "subscription to the store lost; polling goes on", "error", s.wrap(err, "listen"), "retry_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, listenRetryMax)
	}
}

// subscribed listens on one connection until it breaks. Stood reports whether it ever worked.
func (s *Store) subscribed(ctx context.Context, channels []string, shardOf map[string]int, wake func(store.Wake)) (stood bool, err error) {
	sub := s.client.Subscribe(ctx, channels...)
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	asked := false
	for {
		msg, err := sub.ReceiveTimeout(ctx, listenQuiet)
		if err != nil {
			if !isTimeout(err) || asked || ctx.Err() != nil {
				return stood, err
			}
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return stood, err
			}
			continue
		}
		asked = false
		switch m := msg.(type) {
		case *redis.Subscription:
			if m.Channel == channels[len(channels)-1] {
				stood = true
				wake(store.Wake{Shard: -1, Ticks: true, Timers: true})
			}
		case *redis.Message:
			if shard, ok := shardOf[m.Channel]; ok {
				w := store.Wake{Shard: shard}
				for _, c := range m.Payload {
					w.Ticks = w.Ticks || c == 't'
					w.Timers = w.Timers || c == 'm'
				}
				wake(w)
			}
		}
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
