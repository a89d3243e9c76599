package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// sentinelMaster is the name that the sentinel knows the primary by.
	sentinelMaster = "main"
	// failoverTimeout is ample: a sentinel that finds itself starved of processor time keeps still for half a minute.
	failoverTimeout = 90 * time.Second
)

// Sentinel is a primary with one replica, both append-only, and a sentinel that changes their roles when the primary is gone for a second.
type Sentinel struct {
	tb       testing.TB
	servers  [2]*Server
	sentinel *Server
}

// StartSentinel starts a primary, its replica and a sentinel that live until the test ends, and waits until they know each other and the replica
// has all the primary has. The options hold for both servers.
func StartSentinel(tb testing.TB, opts ...Option) *Sentinel {
	tb.Helper()
	s := &Sentinel{tb: tb}
	// The sentinel has them write their new role down, so each gets a file for it.
	opts = append([]Option{AppendOnly(), Args("--repl-diskless-sync-delay", "0"), rewritable("")}, opts...)
	for i := range s.servers {
		s.servers[i] = Start(tb, opts...)
	}
	s.follow(s.servers[1], s.servers[0])
	monitor := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 1\nsentinel down-after-milliseconds %[1]s 2000\nsentinel failover-timeout %[1]s 5000\n",
		sentinelMaster, s.servers[0].port)
	s.sentinel = Start(tb, Args("--sentinel"), rewritable(monitor))
	s.awaitKnown()
	return s
}

// rewritable gives the server a configuration file of its own that holds text at first.
func rewritable(text string) Option { return func(c *config) { c.rewritable, c.text = true, text } }

// Addr returns the sentinel's host:port.
func (s *Sentinel) Addr() string { return s.sentinel.Addr() }

// URL returns redis-sentinel://host:port/NAME/0.
func (s *Sentinel) URL() string { return "redis-sentinel://" + s.Addr() + "/" + sentinelMaster + "/0" }

// Client returns a client that asks the sentinel for the primary, closed when tb ends.
func (s *Sentinel) Client(tb testing.TB) *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinelMaster, SentinelAddrs: []string{s.Addr()}})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Primary returns the server that the sentinel calls the primary now.
func (s *Sentinel) Primary() *Server {
	s.tb.Helper()
	return s.servers[s.primary()]
}

// PrimaryAddr asks the sentinel for the primary's host:port.
func (s *Sentinel) PrimaryAddr(ctx context.Context) (string, error) { return s.ask(ctx) }

// Replica returns the other one, which may be down.
func (s *Sentinel) Replica() *Server {
	s.tb.Helper()
	return s.servers[1-s.primary()]
}

// Failover kills the primary and waits until the replica has taken its place. What the primary had acknowledged and not yet passed on is lost.
// The replica must run: Rejoin brings the one that an earlier Failover killed back.
func (s *Sentinel) Failover() {
	s.tb.Helper()
	old := s.Primary()
	old.Kill()
	s.awaitOther(old)
}

// SwitchOver has the sentinel change the roles of two running servers, and waits until it has, and the old primary follows the new one. What the
// old one acknowledges after the other's promotion is lost.
func (s *Sentinel) SwitchOver() {
	s.tb.Helper()
	old := s.Primary()
	s.poll("begin a switch-over", func(ctx context.Context) error {
		c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
		defer func() { _ = c.Close() }()
		// It refuses while the last one is not long enough past.
		return c.Failover(ctx, sentinelMaster).Err()
	})
	s.awaitOther(old)
	s.poll("demote "+old.Addr(), func(ctx context.Context) error {
		return infoHas(ctx, old.Addr(), "role:slave", "master_link_status:up")
	})
}

// Rejoin restarts the replica if it is down, makes it follow the primary, and waits until it has all that one has and the sentinel would promote it.
func (s *Sentinel) Rejoin() {
	s.tb.Helper()
	primary := s.primary()
	replica := s.servers[1-primary]
	if replica.PID() == 0 {
		replica.Restart()
	}
	s.follow(replica, s.servers[primary])
	s.awaitKnown()
}

// awaitOther waits until another server than old is the primary, in the sentinel's eyes and its own.
func (s *Sentinel) awaitOther(old *Server) {
	s.tb.Helper()
	s.poll("change the primary "+old.Addr(), func(ctx context.Context) error {
		addr, err := s.ask(ctx)
		if err != nil {
			return err
		}
		if addr == old.Addr() {
			return fmt.Errorf("sentinel still calls %s the primary", addr)
		}
		return infoHas(ctx, addr, "role:master")
	})
}

// follow makes replica a replica of primary, and waits until it has all that one has.
func (s *Sentinel) follow(replica, primary *Server) {
	s.tb.Helper()
	s.poll("make "+replica.Addr()+" a replica of "+primary.Addr(), func(ctx context.Context) error {
		c := redis.NewClient(&redis.Options{Addr: replica.Addr()})
		defer func() { _ = c.Close() }()
		if err := c.ReplicaOf(ctx, "127.0.0.1", strconv.Itoa(primary.port)).Err(); err != nil {
			return err
		}
		return infoHas(ctx, replica.Addr(), "role:slave", "master_link_status:up", fmt.Sprintf("master_port:%d", primary.port))
	})
}

// awaitKnown waits until the sentinel sees both servers as they are.
func (s *Sentinel) awaitKnown() {
	s.tb.Helper()
	s.poll("make the replica known to the sentinel", func(ctx context.Context) error {
		c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
		defer func() { _ = c.Close() }()
		replicas, err := c.Replicas(ctx, sentinelMaster).Result()
		if err != nil {
			return err
		}
		for _, r := range replicas {
			if r["flags"] == "slave" && r["master-link-status"] == "ok" {
				return nil
			}
		}
		return fmt.Errorf("sentinel sees the replicas %v", replicas)
	})
}

func (s *Sentinel) primary() int {
	s.tb.Helper()
	found := 0
	s.poll("ask the sentinel for the primary", func(ctx context.Context) error {
		addr, err := s.ask(ctx)
		if err != nil {
			return err
		}
		for i, server := range s.servers {
			if server.Addr() == addr {
				found = i
				return nil
			}
		}
		return fmt.Errorf("sentinel calls the stranger %s the primary", addr)
	})
	return found
}

// ask returns the primary's host:port in the sentinel's eyes.
func (s *Sentinel) ask(ctx context.Context) (string, error) {
	c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
	defer func() { _ = c.Close() }()
	at, err := c.GetMasterAddrByName(ctx, sentinelMaster).Result()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(at[0], at[1]), nil
}

// poll tries until try succeeds, and fails the test with its last error.
func (s *Sentinel) poll(what string, try func(context.Context) error) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), failoverTimeout)
	defer cancel()
	tick := time.NewTicker(10 * pollEvery)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.tb.Fatalf("%s: not within %s: %v", what, failoverTimeout, err)
		case <-tick.C:
		}
	}
}

// infoHas returns nil when the server says each of these lines of itself.
func infoHas(ctx context.Context, addr string, lines ...string) error {
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !strings.Contains(info, l+"\r\n") {
			return fmt.Errorf("%s says nothing of %s:\n%s", addr, l, info)
		}
	}
	return nil
}

// writeConfig writes the server's configuration file where it is rewritable.
func (s *Server) writeConfig() error {
	if !s.config.rewritable {
		return nil
	}
	s.config.first = filepath.Join(s.dir, "redis.conf")
	return os.WriteFile(s.config.first, []byte(s.config.text), 0o600)
}
