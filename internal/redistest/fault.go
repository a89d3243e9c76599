package redistest

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// controlTimeout bounds a command that breaks or mends a server.
	controlTimeout = 30 * time.Second
	// busyAfter is how long a script may run, in milliseconds, before a server that is kept Busy says so.
	busyAfter = "50"
)

// Busy keeps the server busy with a script that spins for d, 20 s at most: others' commands are answered by BUSY, from 50 ms on. It returns when the server
// serves again. It ends a script of others that runs just then for longer than that, too.
func (s *Server) Busy(d time.Duration) {
	s.tb.Helper()
	s.refuseShared("Busy")
	s.control("keep busy", func(ctx context.Context, c *redis.Client) error {
		const threshold = "lua-time-limit" // in every version
		was, err := c.ConfigGet(ctx, threshold).Result()
		if err != nil {
			return err
		}
		if err := c.ConfigSet(ctx, threshold, busyAfter).Err(); err != nil {
			return err
		}
		spun := make(chan struct{})
		go func() {
			defer close(spun)
			spinner := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: -1, MaxRetries: -1, ContextTimeoutEnabled: true})
			defer func() { _ = spinner.Close() }()
			_ = spinner.Do(ctx, "EVAL", "while true do end", "0").Err() // it fails by being killed
		}()
		select {
		case <-time.After(d):
		case <-spun: // the server is gone, or somebody else killed the script
		}
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for running := true; running; {
			_ = c.ScriptKill(ctx).Err() // refused before the server takes note of the script
			select {
			case <-spun:
				running = false
			case <-tick.C:
			}
		}
		return c.ConfigSet(ctx, threshold, was[threshold]).Err()
	})
}

// FlushScripts makes the server forget every script it has been sent.
func (s *Server) FlushScripts() {
	s.tb.Helper()
	s.refuseShared("FlushScripts")
	s.control("flush scripts", func(ctx context.Context, c *redis.Client) error { return c.ScriptFlush(ctx).Err() })
}

// KillClients closes every client's connection, subscribers' too; replicas' stay. It returns how many those were.
func (s *Server) KillClients() int {
	s.tb.Helper()
	s.refuseShared("KillClients")
	total := 0
	s.control("kill clients", func(ctx context.Context, c *redis.Client) error {
		for _, kind := range []string{"normal", "pubsub"} {
			n, err := c.ClientKillByFilter(ctx, "TYPE", kind).Result()
			if err != nil {
				return err
			}
			total += int(n)
		}
		return nil
	})
	return total
}

// FillMemory makes the server refuse every write that needs memory (OOM), as one without eviction that is full does. SetMaxMemory(0) ends it.
func (s *Server) FillMemory() {
	s.tb.Helper()
	s.SetMaxMemory(1) // any server is above that
}

// SetMaxMemory sets how many bytes the server may use, 0 for no limit.
func (s *Server) SetMaxMemory(bytes int64) {
	s.tb.Helper()
	s.refuseShared("SetMaxMemory")
	s.control("limit memory", func(ctx context.Context, c *redis.Client) error {
		return c.ConfigSet(ctx, "maxmemory", strconv.FormatInt(bytes, 10)).Err()
	})
}

// ReadOnly makes the server a replica of a primary that is not there: it answers reads with what it has and refuses writes (READONLY), as a
// primary does that was put behind another one. Writable ends it.
func (s *Server) ReadOnly() {
	s.tb.Helper()
	s.refuseShared("ReadOnly")
	// Nobody listens on port 1; a primary there would replace what this server holds.
	s.control("make read-only", func(ctx context.Context, c *redis.Client) error { return c.ReplicaOf(ctx, "127.0.0.1", "1").Err() })
}

// Writable makes a server that is a replica a primary.
func (s *Server) Writable() {
	s.tb.Helper()
	s.refuseShared("Writable")
	s.control("make writable", func(ctx context.Context, c *redis.Client) error { return c.ReplicaOf(ctx, "NO", "ONE").Err() })
}

// control gives act a connection of its own, made before the server is broken, and fails the test with its error.
func (s *Server) control(what string, act func(context.Context, *redis.Client) error) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), PoolSize: 1, ReadTimeout: controlTimeout})
	defer func() { _ = c.Close() }()
	if err := act(ctx, c); err != nil {
		s.tb.Fatalf("%s: redis-server on %s: %v", what, s.Addr(), err)
	}
}
