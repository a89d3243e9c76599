package asynqtransport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// Queues lists the namespace's queues that asynq knows, by name: those that anything was ever sent to. It takes three round trips, however many there are.
func (t *Transport) Queues(ctx context.Context) ([]store.QueueState, error) {
	all, err := t.cfg.Client.SMembers(ctx, allQueues).Result()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	var names []string
	for _, q := range all {
		if name, ours := strings.CutPrefix(q, t.queue("")); ours {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	type asked struct {
		waiting, active, scheduled, retry, archived, paused *redis.IntCmd
		first, held                                         *redis.StringSliceCmd // tasks that wait, the oldest last, and active ones
	}
	answers := make([]asked, len(names))
	_, err = t.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			k := keysOf(t.queue(name))
			answers[i] = asked{
				waiting: p.LLen(ctx, k.pending()), active: p.LLen(ctx, k.active()), scheduled: p.ZCard(ctx, k.prefix+"scheduled"),
				retry: p.ZCard(ctx, k.prefix+"retry"), archived: p.ZCard(ctx, k.prefix+"archived"), paused: p.Exists(ctx, pausedKey(t.queue(name))),
				first: p.LRange(ctx, k.pending(), -searched, -1), held: p.LRange(ctx, k.active(), 0, searched-1),
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	states := make([]store.QueueState, len(names))
	since := make([]*redis.StringCmd, len(names))
	_, err = t.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			a := answers[i]
			states[i] = store.QueueState{Queue: name, Waiting: messagesIn(a.first.Val(), a.waiting.Val()), Active: messagesIn(a.held.Val(), a.active.Val()), Scheduled: int(a.scheduled.Val()),
				Retry: int(a.retry.Val()), Archived: int(a.archived.Val()), Paused: a.paused.Val() > 0, Resume: fmt.Sprintf("redis-cli DEL '%s'", pausedKey(t.queue(name)))}
			if ids := a.first.Val(); len(ids) > 0 {
				since[i] = p.HGet(ctx, keysOf(t.queue(name)).tasks()+ids[len(ids)-1], "pending_since")
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	for i, cmd := range since {
		if cmd == nil {
			continue
		}
		if at, err := strconv.ParseInt(cmd.Val(), 10, 64); err == nil && at > 0 { // else it was taken meanwhile, or is damaged
			states[i].Oldest = max(time.Millisecond, time.Since(time.Unix(0, at)))
		}
	}
	return states, nil
}

// messagesIn is how many messages a list of tasks carries. Of a long one some are looked at, and the others taken to be like them.
func messagesIn(ids []string, tasks int64) int {
	n := 0
	for _, id := range ids {
		n += sizeOf(id)
	}
	if tasks > int64(len(ids)) && len(ids) > 0 {
		return int(int64(n) * tasks / int64(len(ids)))
	}
	return n
}

// PauseQueue tells all workers to take nothing more from a queue; what they have goes on. It lasts until ResumeQueue, over restarts too. A queue that nothing was
// sent to yet can be paused as well. Pausing a paused queue changes nothing.
func (t *Transport) PauseQueue(ctx context.Context, name string) error {
	err := t.cfg.Client.SAdd(ctx, allQueues, t.queue(name)).Err() // or Queues would not know of it
	if err == nil {
		err = t.cfg.Client.SetArgs(ctx, pausedKey(t.queue(name)), time.Now().Unix(), redis.SetArgs{Mode: "NX"}).Err()
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("pause queue %s: %w", name, err)
	}
	return nil
}

// ResumeQueue ends the pause of a queue; of one that is not paused it changes nothing.
func (t *Transport) ResumeQueue(ctx context.Context, name string) error {
	if err := t.cfg.Client.Del(ctx, pausedKey(t.queue(name))).Err(); err != nil {
		return fmt.Errorf("resume queue %s: %w", name, err)
	}
	return nil
}

func pausedKey(queue string) string { return "asynq:{" + queue + "}:paused" }
