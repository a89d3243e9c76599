package asynqtransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// allQueues is asynq's list of queues.
const allQueues = "asynq:queues"

const (
	defaultLeaseGrace = 30 * time.Second // as long as asynq itself waits
	tidyPage          = 500              // tasks of one queue, and of one script call
	tidyLines         = 20               // log lines about one queue; the rest is counted
	searched          = 1000             // entries of a list of waiting tasks that are looked through
	scanPage          = 1000             // keys of a server
)

// removeCmd removes tasks, whatever a queue holds of them, but those whose lease lasts longer than is said.
//
// KEYS[1]: asynq:{<queue>}:active. ARGV: the prefix of the queue's keys; the latest end of a lease in seconds, empty for any; the longest list of waiting tasks
// that is searched; task ids. Returns the ids that were removed.
var removeCmd = redis.NewScript(`
local prefix, latest = ARGV[1], tonumber(ARGV[2])
local search = redis.call("LLEN", prefix .. "pending") <= tonumber(ARGV[3])
local removed = {}
for i = 4, #ARGV do
	local id = ARGV[i]
	local lease = redis.call("ZSCORE", prefix .. "lease", id)
	if not lease or not latest or tonumber(lease) <= latest then
		redis.call("LREM", KEYS[1], 0, id)
		if search then
			redis.call("LREM", prefix .. "pending", 0, id)
		end
		for _, set in ipairs({"lease", "scheduled", "retry", "archived", "completed"}) do
			redis.call("ZREM", prefix .. set, id)
		end
		redis.call("DEL", prefix .. "t:" .. id)
		table.insert(removed, id)
	end
end
return removed`)

// adoptCmd gives tasks that are active without a lease one.
//
// KEYS[1]: asynq:{<queue>}:active, KEYS[2]: asynq:{<queue>}:lease. ARGV: the end of the lease in seconds; task ids. Returns the ids that were given one.
var adoptCmd = redis.NewScript(`
local given = {}
for i = 2, #ARGV do
	if redis.call("LPOS", KEYS[1], ARGV[i]) and redis.call("ZADD", KEYS[2], "NX", ARGV[1], ARGV[i]) == 1 then
		table.insert(given, ARGV[i])
	end
end
return given`)

// forgetCmd removes what only active tasks have, a lease and a record that says so, of tasks that are not active.
//
// KEYS[1]: asynq:{<queue>}:active, KEYS[2]: asynq:{<queue>}:lease. ARGV: the prefix of the queue's task records; task ids. Returns the ids of which something was
// removed.
var forgetCmd = redis.NewScript(`
local forgotten = {}
for i = 2, #ARGV do
	local id, key = ARGV[i], ARGV[1] .. ARGV[i]
	local active = redis.pcall("HGET", key, "state") == "active"
	local lease = redis.call("ZSCORE", KEYS[2], id)
	if (active or lease) and not redis.call("LPOS", KEYS[1], id) then
		redis.call("ZREM", KEYS[2], id)
		if active then
			redis.call("DEL", key)
		end
		table.insert(forgotten, id)
	end
end
return forgotten`)

// strayCmd removes records of tasks that no list and no set of the queue has: asynq writes and removes the two together.
//
// KEYS[1]: asynq:{<queue>}:active. ARGV: the prefix of the queue's keys; the longest list of waiting tasks that is searched; task ids. Returns the ids that were
// removed.
var strayCmd = redis.NewScript(`
local prefix = ARGV[1]
local removed = {}
if redis.call("LLEN", prefix .. "pending") > tonumber(ARGV[2]) then
	return removed
end
for i = 3, #ARGV do
	local id = ARGV[i]
	local held = redis.call("LPOS", KEYS[1], id) or redis.call("LPOS", prefix .. "pending", id)
	for _, set in ipairs({"scheduled", "retry", "archived", "completed"}) do
		held = held or redis.call("ZSCORE", prefix .. set, id)
	end
	if not held and redis.call("DEL", prefix .. "t:" .. id) == 1 then
		redis.call("ZREM", prefix .. "lease", id)
		table.insert(removed, id)
	end
end
return removed`)

// keys are those of a queue in asynq.
type keys struct{ prefix string }

func keysOf(queue string) keys { return keys{"asynq:{" + queue + "}:"} }

func (k keys) active() string  { return k.prefix + "active" }
func (k keys) lease() string   { return k.prefix + "lease" }
func (k keys) pending() string { return k.prefix + "pending" }
func (k keys) tasks() string   { return k.prefix + "t:" }

// remove removes tasks of a queue, whatever it holds of them: but those whose lease lasts beyond latest, if that is not zero. A task among very many that wait is
// not searched for: a worker receives it without its content, and Tidy removes it then.
func (t *Transport) remove(ctx context.Context, queue string, latest time.Time, ids []string) (removed []string, err error) {
	until := ""
	if !latest.IsZero() {
		until = fmt.Sprint(latest.Unix())
	}
	k := keysOf(queue)
	return t.inPages(ctx, removeCmd, []string{k.active()}, []any{k.prefix, until, searched}, ids)
}

// inPages calls a script with ids after its other arguments, some at a time, and returns the ids that it returned.
func (t *Transport) inPages(ctx context.Context, script *redis.Script, keys []string, args []any, ids []string) (all []string, err error) {
	for page := range slices.Chunk(ids, tidyPage) {
		full := slices.Clone(args)
		for _, id := range page {
			full = append(full, id)
		}
		got, err := script.Run(ctx, t.cfg.Client, keys, full...).StringSlice()
		if err != nil {
			return all, err
		}
		all = append(all, got...)
	}
	return all, nil
}

// Drop removes messages that nobody is to receive any more, whatever asynq holds of them.
func (t *Transport) Drop(ctx context.Context, msgs ...store.Message) error {
	byQueue := make(map[string][]string)
	for _, m := range msgs {
		byQueue[m.Queue] = append(byQueue[m.Queue], taskID(m))
	}
	var errs []error
	for q, ids := range byQueue {
		if _, err := t.remove(ctx, t.queue(q), time.Time{}, ids); err != nil {
			errs = append(errs, fmt.Errorf("drop messages of queue %s: %w", q, err))
		}
	}
	return errors.Join(errs...)
}

// place is how far Tidy's round through a queue has come.
type place struct{ active, expired int64 }

// Tidy removes what damage to asynq's records leaves behind in the namespace's queues, and what would keep asynq from putting back the messages of dead workers.
// It looks at some hundred tasks of each queue at a time and goes on where it stopped. What a live worker has is left alone: its lease lasts, since asynq renews it.
//
//   - An active task without a lease, which asynq would never look at again, gets one that ends now. If a worker has the task it renews the lease, within seconds;
//     if not, asynq puts the task back.
//   - A task whose lease ran out LeaseGrace ago is removed if it has no content or one that asynq cannot read. The latter would keep asynq from putting back
//     anything in any queue of its workers.
//   - What is left of a task that has a lease, and is not active, is removed.
//   - So is the record of a task that waits nowhere, as when a list of waiting ones was lost: what is found among the next thousand keys of the server.
func (t *Transport) Tidy(ctx context.Context) error {
	all, err := t.cfg.Client.SMembers(ctx, allQueues).Result()
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	t.tidying.Lock()
	defer t.tidying.Unlock()
	places := make(map[string]place)
	var errs []error
	for _, q := range all {
		if !strings.HasPrefix(q, t.queue("")) {
			continue
		}
		next, err := t.tidyQueue(ctx, q, t.places[q])
		if err != nil {
			errs = append(errs, fmt.Errorf("tidy queue %s: %w", strings.TrimPrefix(q, t.queue("")), err))
		}
		places[q] = next
	}
	t.places = places
	if err := t.sweepRecords(ctx); err != nil {
		errs = append(errs, fmt.Errorf("tidy task records: %w", err))
	}
	return errors.Join(errs...)
}

// sweepRecords goes on with the round through each server's keys, and removes the records of tasks that wait nowhere.
func (t *Transport) sweepRecords(ctx context.Context) error {
	prefix := "asynq:{" + t.queue("")
	sweep := func(ctx context.Context, c *redis.Client) error {
		server := c.Options().Addr
		t.sweeping.Lock()
		at := t.cursors[server]
		t.sweeping.Unlock()
		found, next, err := c.Scan(ctx, at, prefix+"*}:t:*", scanPage).Result()
		if err != nil {
			return err
		}
		t.sweeping.Lock()
		t.cursors[server] = next
		t.sweeping.Unlock()
		byQueue := make(map[string][]string)
		for _, key := range found {
			name, id, ok := strings.Cut(strings.TrimPrefix(key, prefix), "}:t:")
			if ok {
				byQueue[name] = append(byQueue[name], id)
			}
		}
		var errs []error
		for name, ids := range byQueue {
			queue := t.queue(name)
			k := keysOf(queue)
			removed, err := t.inPages(ctx, strayCmd, []string{k.active()}, []any{k.prefix, searched}, ids)
			t.told(ctx, slog.LevelInfo, queue, "record of a task is removed", "it waits nowhere", removed)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	switch c := t.cfg.Client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, sweep)
	case *redis.Client:
		return sweep(ctx, c)
	default:
		return fmt.Errorf("a client of type %T cannot be swept", c)
	}
}

func (t *Transport) tidyQueue(ctx context.Context, queue string, at place) (place, error) {
	k := keysOf(queue)
	now := time.Now()
	latest := now.Add(-t.cfg.LeaseGrace)
	var active, expired *redis.StringSliceCmd
	_, err := t.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		active = p.LRange(ctx, k.active(), at.active, at.active+tidyPage-1)
		expired = p.ZRangeByScore(ctx, k.lease(), &redis.ZRangeBy{Min: "-inf", Max: fmt.Sprint(latest.Unix()), Offset: at.expired, Count: tidyPage})
		return nil
	})
	if err != nil {
		return at, err
	}
	next := place{active: step(at.active, active.Val()), expired: step(at.expired, expired.Val())}

	given, err := t.adopt(ctx, queue, now, active.Val())
	t.told(ctx, slog.LevelInfo, queue, "task was active without a lease; it gets one, and asynq puts it back if no worker has it", "", given)
	if err != nil {
		return next, err
	}
	forgotten, err := t.forget(ctx, queue, expired.Val())
	if err != nil {
		return next, err
	}
	left := slices.DeleteFunc(expired.Val(), func(id string) bool { return slices.Contains(forgotten, id) })
	bad, err := t.judge(ctx, queue, left)
	if err != nil {
		return next, err
	}
	for _, reason := range slices.Sorted(maps.Keys(bad)) {
		removed, err := t.remove(ctx, queue, latest, bad[reason])
		t.told(ctx, reason.level(), queue, "task that no worker has is removed", string(reason), removed)
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// adopt gives those of the tasks that are active without a lease one until then.
func (t *Transport) adopt(ctx context.Context, queue string, until time.Time, ids []string) (given []string, err error) {
	k := keysOf(queue)
	return t.inPages(ctx, adoptCmd, []string{k.active(), k.lease()}, []any{until.Unix()}, ids)
}

// step is where the next page begins: at the start after the last one.
func step(at int64, page []string) int64 {
	if len(page) < tidyPage {
		return 0
	}
	return at + tidyPage
}

// forget removes what is left of tasks that were active and are not any more.
func (t *Transport) forget(ctx context.Context, queue string, ids []string) (forgotten []string, err error) {
	k := keysOf(queue)
	forgotten, err = t.inPages(ctx, forgetCmd, []string{k.active(), k.lease()}, []any{k.tasks()}, ids)
	t.told(ctx, slog.LevelInfo, queue, "what was left of a task is removed", "it is not active any more", forgotten)
	return forgotten, err
}

// flaw is why asynq will never do anything with a task.
type flaw string

const (
	flawEmpty      flaw = "it has no content"
	flawUnreadable flaw = "asynq cannot read it"
	flawForeign    flaw = "its content names another task"
)

func (f flaw) level() slog.Level {
	if f == flawEmpty {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// judge finds those of the tasks that asynq will never do anything with.
func (t *Transport) judge(ctx context.Context, queue string, ids []string) (map[flaw][]string, error) {
	bad := make(map[flaw][]string)
	for _, id := range ids {
		if ctx.Err() != nil {
			return bad, ctx.Err()
		}
		info, err := t.inspector.GetTaskInfo(queue, id)
		switch {
		case errors.Is(err, asynq.ErrQueueNotFound):
			return bad, nil
		case errors.Is(err, asynq.ErrTaskNotFound), err == nil && info.ID == "":
			bad[flawEmpty] = append(bad[flawEmpty], id)
		case err != nil && unreadable(err):
			bad[flawUnreadable] = append(bad[flawUnreadable], id)
		case err != nil:
			return bad, err
		case info.ID != id || info.Queue != queue:
			bad[flawForeign] = append(bad[flawForeign], id)
		}
	}
	return bad, nil
}

// unreadable tells asynq's and Redis' errors about the record of one task from all others.
func unreadable(err error) bool {
	s := err.Error()
	return strings.Contains(s, "decode task message") || strings.Contains(s, "supported task state") || strings.Contains(s, "WRONGTYPE")
}

// told logs what was done about tasks, a line each, and no more than some.
func (t *Transport) told(ctx context.Context, level slog.Level, queue, what, why string, ids []string) {
	name := strings.TrimPrefix(queue, t.queue(""))
	for i, id := range ids {
		if i == tidyLines {
			t.cfg.Log.Log(ctx, level, "the same of further tasks: "+what, "queue", name, "reason", why, "count", len(ids)-i)
			return
		}
		attrs := []any{"queue", name, "task", clip(id)}
		if why != "" {
			attrs = append(attrs, "reason", why)
		}
		t.cfg.Log.Log(ctx, level, what, attrs...)
	}
}
