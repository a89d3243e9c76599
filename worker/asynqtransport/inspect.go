package asynqtransport

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redisrights"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Inspect finds out whether the user may do all that asynq does.
func (t *Transport) Inspect(ctx context.Context) ([]store.Finding, error) {
	find := func(ctx context.Context, c *redis.Client) (store.Finding, error) {
		missing, err := redisrights.Find(ctx, c, t.needs())
		f := store.Finding{Check: "queue_rights", Status: store.FindingOK, Message: fmt.Sprintf("user %s may do all that asynq's queues need", missing.User)}
		switch {
		case err != nil:
			return store.Finding{Check: "queue_rights", Status: store.FindingSkipped, Message: err.Error(), Remedy: "allow the user MULTI and DISCARD, to let rights be tried without effect"}, nil
		case !missing.None():
			f.Status, f.Message, f.Remedy = store.FindingError, missing.Text(), missing.Remedy()
		}
		return f, nil
	}
	switch c := t.cfg.Client.(type) {
	case *redis.Client:
		f, err := find(ctx, c)
		return []store.Finding{f}, err
	case *redis.ClusterClient:
		turn := make(chan struct{}, 1) // primaries are asked at once, and found is one
		var found []store.Finding
		err := c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			f, err := find(ctx, c)
			turn <- struct{}{}
			defer func() { <-turn }()
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
			return err
		})
		return found, err
	default:
		return nil, fmt.Errorf("a client of type %T cannot be looked at", c)
	}
}

// needs lists what asynq does on a server for this transport, by commands that would do no harm: every command it sends, and every one its scripts call, on the
// keys of the namespace's queues, of its servers and of all.
func (t *Transport) needs() []redisrights.Need {
	key, ofQueues := "asynq:{"+t.queue("inspect")+"}:inspect", "~asynq:{"+t.queue("*")
	var needs []redisrights.Need
	on := func(command string, args ...any) {
		needs = append(needs, redisrights.Need{Args: append([]any{command, key}, args...), Key: ofQueues})
	}
	on("DEL")
	on("EXISTS")
	on("EXPIRE", 1)
	on("EXPIREAT", 1)
	on("GET")
	on("HDEL", "field")
	on("HGET", "field")
	on("HMGET", "field")
	on("HSET", "field", "1")
	on("INCR")
	on("LLEN")
	on("LPOS", "1")
	on("LPUSH", "1")
	on("LRANGE", 0, 0)
	on("LREM", 1, "1")
	on("RPOPLPUSH", key)
	on("RPUSH", "1")
	on("SET", "1", "PX", 1)
	on("SETEX", 1, "1")
	on("SMEMBERS")
	on("ZADD", 0, "member")
	on("ZCARD")
	on("ZRANGE", 0, 0)
	on("ZRANGEBYSCORE", 0, 0)
	on("ZREM", "member")
	on("ZREMRANGEBYSCORE", 0, 0)
	on("ZSCORE", "member")
	return append(needs,
		redisrights.Need{Args: []any{"EVAL", "return 1", 1, key}, Key: ofQueues},
		redisrights.Need{Args: []any{"EVALSHA", strings.Repeat("0", 40), 1, key}, Key: ofQueues},
		redisrights.Need{Args: []any{"SADD", "asynq:queues", "inspect"}, Key: "~asynq:queues"},
		redisrights.Need{Args: []any{"SETEX", "asynq:servers:{inspect}", 1, "1"}, Key: "~asynq:servers*"},
		redisrights.Need{Args: []any{"ZADD", "asynq:servers", 0, "inspect"}, Key: "~asynq:servers*"},
		redisrights.Need{Args: []any{"HSET", "asynq:workers:{inspect}", "field", "1"}, Key: "~asynq:workers*"},
		redisrights.Need{Args: []any{"ZADD", "asynq:workers", 0, "inspect"}, Key: "~asynq:workers*"},
		redisrights.Need{Args: []any{"SUBSCRIBE", "asynq:cancel"}, Channel: "&asynq:cancel"},
		redisrights.Need{Args: []any{"PUBLISH", t.link.channel, ""}, Channel: "&" + t.link.channel},
		redisrights.Need{Args: []any{"SUBSCRIBE", t.link.channel}, Channel: "&" + t.link.channel},
		redisrights.Need{Args: []any{"PING"}},
		redisrights.Need{Args: []any{"SCAN", 0, "COUNT", 1}},
	)
}
