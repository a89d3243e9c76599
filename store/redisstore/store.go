package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/roundtrip"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Config says how a Store is used. The zero value is good for New.
type Config struct {
	// URL names the server for Open: redis://, rediss://, redis-sentinel:// or redis-cluster://, see NewClient. New ignores it.
	URL string
	// TLS secures the connections that Open makes to a URL with TLS. New ignores it.
	TLS TLS
	// PasswordFile holds the password of the URL's user, without which it is the default user's; for Open, which reads it for every connection.
	// Empty: the URL has it, or there is none. New ignores it.
	PasswordFile string
	// Namespace keeps deployments on one Redis apart: letters, digits, dot, underscore and dash. Empty: default.
	Namespace string
	// Clock is read in place of the server's own clock, for tests. Nil: the server's.
	Clock func() time.Time
	// Logger hears of lost subscriptions. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is a store.Store on Redis.
type Store struct {
	client   redis.UniversalClient
	owned    bool
	describe string
	keys     keys
	time     func() time.Time // nil: the server's
	clock    clock
	records  records
	claims   *roundtrip.Group[*ask] // of runs: for a claim a slot of a worker waits
	group    *roundtrip.Group[*ask] // of all else
	log      *slog.Logger
	closed   atomic.Bool
	close    func() error
}

var _ store.Store = (*Store)(nil)

var namespacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Open connects to Config.URL and makes sure that a server answers. Close ends the connection.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	client, err := cfg.newClient()
	if err != nil {
		return nil, err
	}
	s, err := New(client, cfg)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	s.owned, s.describe = true, describeURL(cfg.URL, s.describe)
	if err := client.Ping(ctx).Err(); err != nil {
		_ = client.Close()
		return nil, s.wrap(err, "open store")
	}
	return s, nil
}

// New makes a store of a client that stays the caller's: Close leaves it open. It does no I/O. The client must reach a server that can be written,
// and must not be closed before the store is done with.
func New(client redis.UniversalClient, cfg Config) (*Store, error) {
	if client == nil {
		return nil, errors.New("redis store: a client is needed")
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	if !namespacePattern.MatchString(cfg.Namespace) {
		return nil, fmt.Errorf("namespace: %q is not a name; use up to 64 letters, digits, dots, underscores and dashes, a letter or digit first", cfg.Namespace)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{client: client, keys: newKeys(cfg.Namespace), time: cfg.Clock, log: cfg.Logger, describe: describeClient(client)}
	s.claims, s.group = roundtrip.New(s.send), roundtrip.New(s.send)
	s.close = sync.OnceValue(func() error {
		s.closed.Store(true)
		if !s.owned {
			return nil
		}
		return s.client.Close()
	})
	return s, nil
}

// Describe names the server, without secrets.
func (s *Store) Describe() string { return s.describe }

// Client is the client the store uses, for what else goes to the same server.
func (s *Store) Client() redis.UniversalClient { return s.client }

// Close frees the connections of a store made by Open; the client given to New stays open.
func (s *Store) Close() error { return s.close() }

// Ping writes a key that is gone after a second into each shard.
func (s *Store) Ping(ctx context.Context) error {
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for _, prefix := range s.keys.shard {
			p.Set(ctx, prefix+"ping", 1, time.Second)
		}
	})
	if err != nil {
		return s.wrap(err, "ping store")
	}
	return nil
}

// pipe sends plain commands in one go. Its error is the first of theirs; that a key or field does not exist is none.
func (s *Store) pipe(ctx context.Context, queue func(p redis.Pipeliner)) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	cmds, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		queue(p)
		return nil
	})
	if isNil(err) {
		err = nil
		for _, c := range cmds {
			if e := c.Err(); e != nil && !isNil(e) {
				return e
			}
		}
	}
	return err
}

// usable fails for what has ended already: the client would not always look.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return redis.ErrClosed
	}
	return ctx.Err()
}

// Shards is the number of shards.
func (s *Store) Shards() int { return shards }

// now is the clock argument of a script: empty is the server's own.
func (s *Store) now() string {
	if s.time == nil {
		return ""
	}
	return ms(s.time())
}

// Now reads the clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if s.time != nil {
		return s.time().UTC().Truncate(time.Millisecond), nil
	}
	sent := time.Now()
	var cmd *redis.TimeCmd
	err := s.pipe(ctx, func(p redis.Pipeliner) { cmd = p.Time(ctx) })
	if err != nil {
		return time.Time{}, s.wrap(err, "read clock of store")
	}
	t := cmd.Val().UTC().Truncate(time.Millisecond)
	s.clock.observe(t, sent)
	return t, nil
}

// Estimate carries on the last reading by the process's own clock.
func (s *Store) Estimate() time.Time {
	if s.time != nil {
		return s.time().UTC().Truncate(time.Millisecond)
	}
	return s.clock.estimate().UTC().Truncate(time.Millisecond)
}

// clock carries the server's time on between readings. A reading is taken for the time when its answer arrived: it was read before that, so
// the estimate is behind the server by at most the way of the answer, never ahead.
type clock struct {
	mu     sync.Mutex
	server time.Time // zero: nothing was read yet
	local  time.Time // when server was read, at the latest; with a monotonic reading
}

// observe takes in a reading asked for at sent and just arrived.
func (c *clock) observe(server, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	arrived := time.Now()
	if !c.server.IsZero() {
		// The server's clock now lies between the reading and the reading plus the round trip. An estimate in there is at least as good.
		e := c.server.Add(arrived.Sub(c.local))
		if !e.Before(server) && !e.After(server.Add(arrived.Sub(sent))) {
			return
		}
	}
	c.server, c.local = server, arrived
}

func (c *clock) estimate() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.IsZero() {
		return time.Now()
	}
	return c.server.Add(time.Since(c.local))
}

// wrap says what failed, and at which server. It is one line, and errors.Is finds the store's sentinels.
func (s *Store) wrap(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrStale),
		errors.Is(err, store.ErrClock), errors.Is(err, store.ErrFormat), errors.Is(err, store.ErrUnreadable), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %s: %w", what, s.describe, explain(err))
}

// serverErrors are the refusals of a server that are worth a sentence. The code may come first, or in the middle of what an older server says of a script.
var serverErrors = []struct {
	code, text string
	is         error
}{
	{"READONLY", "the server is a read-only replica; give the address of the primary", store.ErrReadOnly},
	{"OOM", "the server is out of memory (maxmemory); raise the limit or remove data", nil},
	{"MISCONF", "the server refuses writes because it cannot save to its disk", nil},
	{"NOREPLICAS", "the server refuses writes because too few replicas follow it", nil},
	{"BUSY", "the server is busy with a script of somebody's", nil},
	{"LOADING", "the server is loading its data from disk; try again soon", nil},
	{"CLUSTERDOWN", "the cluster is down: some of its slots have no server", nil},
	{"MASTERDOWN", "the server is a replica that has lost its primary", nil},
	{"NOAUTH", "the server asks for a password; put it into the URL", nil},
	{"WRONGPASS", "the server refuses the user or the password", nil},
	{"NOPERM", "the server does not let this user do that", nil},
}

// explainedError has a sentence for people in front of its cause.
type explainedError struct {
	text  string
	cause []error
}

func (e *explainedError) Error() string   { return e.text }
func (e *explainedError) Unwrap() []error { return e.cause }

func explain(err error) error {
	line := strings.Join(strings.Fields(err.Error()), " ")
	var fromServer redis.Error
	if errors.As(err, &fromServer) {
		for _, e := range serverErrors {
			if strings.HasPrefix(line, e.code+" ") || strings.Contains(line, "-"+e.code+" ") {
				cause := []error{err}
				if e.is != nil {
					cause = append(cause, e.is)
				}
				return &explainedError{text: e.text + " (" + e.code + ")", cause: cause}
			}
		}
	}
	if errors.Is(err, redis.ErrClosed) {
		line = "the store is closed"
	}
	if line == err.Error() {
		return err
	}
	return &explainedError{text: line, cause: []error{err}}
}
