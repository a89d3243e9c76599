package redisstore

import (
	"strings"

	"github.com/pyworkflow-go/pyworkflow/internal/redisrights"
)

// needs lists what the store does on a server, by commands that would do no harm: every command it sends and every one its scripts call, on the keys and
// channels of the namespace.
func (s *Store) needs() []redisrights.Need {
	key, channel := s.keys.shard[0]+"inspect", s.keys.shard[0]+"wake"
	ofShards := strings.TrimSuffix(s.keys.shard[0], "0}:") + "*"
	var needs []redisrights.Need
	on := func(command string, args ...any) {
		needs = append(needs, redisrights.Need{Args: append([]any{command, key}, args...), Key: "~" + ofShards})
	}
	on("DEL")
	on("EXISTS")
	on("GET")
	on("HDEL", "field")
	on("HGET", "field")
	on("HGETALL")
	on("HLEN")
	on("HMGET", "field")
	on("HINCRBY", "field", 1)
	on("HSET", "field", "1")
	on("HSETNX", "field", "1")
	on("LRANGE", 0, 0)
	on("LTRIM", 0, 0)
	on("RPUSH", "1")
	on("SET", "1", "PX", 1)
	on("UNLINK")
	on("ZADD", 0, "member")
	on("ZCARD")
	on("ZCOUNT", 0, 0)
	on("ZRANGE", 0, 0)
	on("ZRANGEBYLEX", "-", "+")
	on("ZRANGEBYSCORE", 0, 0)
	on("ZREM", "member")
	on("ZREMRANGEBYRANK", 0, 0)
	on("ZREMRANGEBYSCORE", 0, 0)
	on("ZREVRANGE", 0, 0)
	on("ZREVRANGEBYSCORE", 0, 0)
	on("ZREVRANK", "member")
	on("ZSCORE", "member")
	for _, args := range [][]any{
		{"EVAL", "return 1", 1, key}, {"EVALSHA", pageScript.sha, 1, key},
	} {
		needs = append(needs, redisrights.Need{Args: args, Key: "~" + ofShards})
	}
	needs = append(needs, redisrights.Need{Args: []any{"HSET", s.keys.global + "inspect", "field", "1"}, Key: "~" + s.keys.global + "*"})
	for _, args := range [][]any{{"PUBLISH", channel, ""}, {"SUBSCRIBE", channel}} {
		needs = append(needs, redisrights.Need{Args: args, Channel: "&" + ofShards})
	}
	return append(needs, redisrights.Need{Args: []any{"PING"}}, redisrights.Need{Args: []any{"TIME"}})
}
