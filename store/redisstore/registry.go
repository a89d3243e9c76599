package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

func (s *Store) processKeys() []string {
	return []string{s.keys.global + "processes", s.keys.global + "processes:live"}
}

// seen is what follows the time in "<ms> <JSON>": an announcement as the process made it.
func seen[T any](text string, v *T) (time.Time, error) {
	at, body, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if err == nil {
		err = json.Unmarshal([]byte(body), v)
	}
	return time.UnixMilli(n).UTC(), err
}

// AnnounceProcess makes the process known as live for ttl.
func (s *Store) AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error {
	p.Seen = time.Time{}
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("announce process %s: %w", p.ID, err)
	}
	if r := s.do(ctx, call{&announceScript, s.processKeys(), []any{p.ID, b, ttl.Milliseconds()}})[0]; r.err != nil {
		return s.wrap(r.err, "announce process %s", p.ID)
	}
	return nil
}

// WithdrawProcess forgets a process.
func (s *Store) WithdrawProcess(ctx context.Context, id string) error {
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		k := s.processKeys()
		p.ZRem(ctx, k[1], id)
		p.HDel(ctx, k[0], id)
	})
	if err != nil {
		return s.wrap(err, "withdraw process %s", id)
	}
	return nil
}

// Processes lists the live ones, by id.
func (s *Store) Processes(ctx context.Context) ([]store.Process, error) {
	const most = 500 // in one script
	var all []store.Process
	for offset := 0; ; offset += most {
		r := s.do(ctx, call{&processesScript, s.processKeys(), []any{offset, most}})[0]
		if r.err != nil {
			return nil, s.wrap(r.err, "list processes")
		}
		part := r.list(0)
		for _, text := range part {
			if text == "" {
				continue // withdrawn meanwhile
			}
			var p store.Process
			at, err := seen(text, &p)
			if err != nil {
				return nil, s.wrap(err, "list processes")
			}
			p.Seen = at
			all = append(all, p)
		}
		if len(part) < most {
			break
		}
	}
	slices.SortFunc(all, func(a, b store.Process) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b store.Process) bool { return a.ID == b.ID }), nil
}

// PublishWorkflows makes workflows known.
func (s *Store) PublishWorkflows(ctx context.Context, ws ...store.Workflow) error {
	const most = 500 // in one script
	var calls []call
	for part := range slices.Chunk(ws, most) {
		args := []any{len(part)}
		for _, w := range part {
			w.Seen = time.Time{}
			b, err := json.Marshal(w)
			if err != nil {
				return fmt.Errorf("publish workflow %s: %w", w.Name, err)
			}
			args = append(args, w.Name, b)
		}
		calls = append(calls, call{&publishScript, []string{s.keys.global + "workflows"}, args})
	}
	if err := firstError(s.do(ctx, calls...)); err != nil {
		return s.wrap(err, "publish %d workflows", len(ws))
	}
	return nil
}

// Workflows lists all published, by name.
func (s *Store) Workflows(ctx context.Context) ([]store.Workflow, error) {
	var cmd *redis.MapStringStringCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.HGetAll(ctx, s.keys.global+"workflows") }); err != nil {
		return nil, s.wrap(err, "list workflows")
	}
	all := make([]store.Workflow, 0, len(cmd.Val()))
	for name, text := range cmd.Val() {
		var w store.Workflow
		at, err := seen(text, &w)
		if err != nil {
			return nil, s.wrap(err, "read workflow %s", name)
		}
		w.Seen = at
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b store.Workflow) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
