// Package redisstore keeps schedules, runs and everything timed in Redis (6.2 or later, Valkey, a replicated pair behind Sentinel, or a cluster), as package
// store asks of it. Several programs on several hosts share one namespace.
//
//	          commit, load, claim, heartbeat, step, …           what is due
//	processes ───────────── one Lua script each ──────────▶ Redis ─────────▶ ticks, timers, leases, outbox: sorted sets, one of each per shard
//	    ▲                                                     │
//	    └──────────── pub/sub: "look at shard 3" ─────────────┘
//
// Everything of one schedule lies in one of 16 shards, a shard in one hash slot, so that one script changes all of it at once. Every key is named
// in keys.go; every script is a file in lua/ with a header that says what it is given and what it returns. The page docs/redis.md tells people.
//
// Scripts decide nothing. They compare a revision or a dispatch, write what they are given, and keep the indexes. A script may run twice, because the
// client repeats a call whose answer was lost: each writes a random token with its change, and finds it there the second time.
//
// The package does not hand runs to workers, does not retry beyond what the client does, and does not watch over Redis: what Redis loses is lost (see
// Inspect for the settings that matter).
package redisstore
