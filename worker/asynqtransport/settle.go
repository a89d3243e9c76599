package asynqtransport

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	defaultSettleTime = 10 * time.Second
	settleMost        = 20_000 // messages that are remembered at a time
	settleLast        = 2 * time.Second
)

// settler makes sure that asynq has forgotten messages that were dealt with. asynq does that in steps of which a later one fails when the task's lease was lost:
// then the task's record stays, in no list, where nobody would ever find it.
type settler struct {
	transport *Transport

	mu   sync.Mutex
	done []settled // oldest first
}

// settled is a message whose handler has returned.
type settled struct {
	queue, id string
	at        time.Time
}

// add remembers a message. Of very many the oldest are left unchecked.
func (s *settler) add(queue, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.done) == settleMost {
		s.done = s.done[1:]
	}
	s.done = append(s.done, settled{queue, id, time.Now()})
}

// run checks messages some time after they were dealt with, until ctx ends.
func (s *settler) run(ctx context.Context) {
	tick := time.NewTicker(max(s.transport.cfg.SettleTime/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.check(ctx, time.Now().Add(-s.transport.cfg.SettleTime))
		}
	}
}

// last checks all that are left when the server has ended.
func (s *settler) last() {
	ctx, cancel := context.WithTimeout(context.Background(), settleLast)
	defer cancel()
	s.check(ctx, time.Now())
}

// check looks at the messages that were dealt with before a time.
func (s *settler) check(ctx context.Context, before time.Time) {
	s.mu.Lock()
	n := 0
	byQueue := make(map[string][]string)
	for n < len(s.done) && !s.done[n].at.After(before) {
		byQueue[s.done[n].queue] = append(byQueue[s.done[n].queue], s.done[n].id)
		n++
	}
	s.done = append([]settled(nil), s.done[n:]...)
	s.mu.Unlock()
	for queue, ids := range byQueue {
		left, err := s.transport.recorded(ctx, queue, ids)
		if err == nil {
			_, err = s.transport.forget(ctx, queue, left)
		}
		if err != nil {
			s.transport.cfg.Log.Debug("not checked whether asynq has forgotten what is done", "queue", queue, "count", len(ids), "error", err)
		}
	}
}

// recorded gives the pages of tasks among which some have a record: usually none, and one question to the server finds that out.
func (t *Transport) recorded(ctx context.Context, queue string, ids []string) (left []string, err error) {
	prefix := keysOf(queue).tasks()
	for page := range slices.Chunk(ids, tidyPage) {
		names := make([]string, len(page))
		for i, id := range page {
			names[i] = prefix + id
		}
		n, err := t.cfg.Client.Exists(ctx, names...).Result()
		if err != nil {
			return left, err
		}
		if n > 0 {
			left = append(left, page...)
		}
	}
	return left, nil
}
