package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
	"github.com/pyworkflow-go/pyworkflow/metrics"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// openMode says what a command wants of the store.
type openMode int

const (
	reads   openMode = iota // nothing is created
	changes                 // what is there is changed, nothing is created where there is nothing
	creates                 // the store is created where there is none
)

const (
	// reachTimeout bounds how long a command tries to reach a Redis.
	reachTimeout = 2 * time.Second
	// splitTimeout bounds the look for workers that the default storage would miss.
	splitTimeout = 50 * time.Millisecond
)

// session is an opened store and what works on it.
type session struct {
	p       *program
	runtime config.Runtime
	storage config.Storage
	store   store.Store
	redis   redis.UniversalClient // nil: records live in SQLite
	ends    *worker.Ends          // tells the program of the ends of runs

	metrics   *metrics.Metrics // nil: nothing is counted
	transport worker.Transport // nil: what is started stays in the outbox for another process
	engine    *engine.Engine
	client    *client.Client
}

// open opens the store that the settings choose. In the asynq runtime what is started is sent to its queues; in the local one it stays in the outbox
// unless useLocal is called.
func (p *program) open(ctx context.Context, mode openMode, forWorker bool) (*session, error) {
	choose := config.Choose
	if forWorker {
		choose = config.ChooseForWorker
	}
	runtime, storage, err := choose(p.settings)
	if err != nil {
		return nil, err
	}
	s := &session{p: p, runtime: runtime, storage: storage}
	if storage.Kind == config.SQLite {
		if storage.ByDefault {
			if err := p.refuseSplit(ctx); err != nil {
				return nil, err
			}
		}
		err = s.openSQLite(ctx, mode)
	} else {
		err = s.openRedis(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.ends = worker.NewEnds(p.app, p.log)
	if runtime == config.Asynq {
		carrier := asynqtransport.Config{Client: s.redis, Namespace: p.global.Namespace, Log: p.log}
		if p.tracer != nil {
			carrier.Headers = p.tracer.Headers
		}
		s.transport, err = asynqtransport.New(carrier)
	}
	if err == nil {
		err = s.wire()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) openSQLite(ctx context.Context, mode openMode) error {
	cfg := sqlitestore.Config{Dir: s.storage.Path, Namespace: s.p.global.Namespace, ReadOnly: mode == reads, MustExist: mode == changes, Logger: s.p.log}
	st, err := sqlitestore.Open(ctx, cfg)
	var none *sqlitestore.NoDatabaseError
	if errors.As(err, &none) {
		empty, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
		if err != nil {
			return err
		}
		s.store = standIn{empty, s.storage.Path}
		return nil
	}
	if err != nil {
		return err
	}
	s.store = st
	return nil
}

// standIn is an empty store in the place of one that nobody has created.
type standIn struct {
	store.Store
	name string
}

func (s standIn) Describe() string { return s.name }

func (s *session) openRedis(ctx context.Context) error {
	c := dialRedis(s.storage.Redis, 0)
	ping, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := c.Ping(ping).Err(); err != nil && !redis.HasErrorPrefix(err, "NOPERM") { // a refusal is an answer: doctor says which rights are missing
		_ = c.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unreachable(s.storage.Redis, err)
	}
	st, err := redisstore.New(c, redisstore.Config{Namespace: s.p.global.Namespace, Logger: s.p.log})
	if err != nil {
		_ = c.Close()
		return err
	}
	s.redis, s.store = c, st
	return nil
}

// redisLog sends what the Redis library says, which is about single connections, to the log.
type redisLog struct{ log *slog.Logger }

// Printf logs at level debug.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, args...))
}

// dialRedis makes a client; it connects when it is used. A timeout of 0 is what the URL says, or the default.
func dialRedis(target *redisurl.Target, timeout time.Duration) redis.UniversalClient {
	return target.Client(func(opts *redis.UniversalOptions) {
		if opts.DialTimeout == 0 {
			opts.DialTimeout = reachTimeout
		}
		if timeout > 0 {
			opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.MaxRetries = timeout, timeout, timeout, -1
		}
	})
}

// unreachable is the line for a Redis that does not answer.
func unreachable(target *redisurl.Target, err error) error {
	var why string
	remedy := "; start it, or name another with --redis-url"
	var op *net.OpError
	var dns *net.DNSError
	var secure *redisurl.TLSError
	var file *redisurl.SettingError
	switch {
	case errors.As(err, &secure): // it says what to do
		why, remedy = config.FlagsIn(secure.Error()), ""
	case errors.As(err, &file):
		why, remedy = config.FlagsIn(file.Error()), ""
	case errors.As(err, &dns):
		why = "no such host"
	case errors.As(err, &op):
		why = strings.TrimPrefix(op.Err.Error(), "connect: ")
	case errors.Is(err, io.EOF) && !target.TLS:
		why, remedy = "it ended the connection without a word", "; if it wants TLS, begin the URL with rediss"
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		why, remedy = err.Error(), "; give user and password in --redis-url, or the password with --redis-password-file"
	case errors.Is(err, context.DeadlineExceeded):
		why = fmt.Sprintf("no answer within %s", reachTimeout)
	default:
		why = err.Error()
	}
	return &exitError{client.CodeUnavailable, fmt.Sprintf("cannot use Redis at %s: %s%s", target, oneLine(why), remedy)}
}

// refuseSplit refuses the default storage when workers of the namespace live on the default Redis: jobs would be split over two stores unnoticed.
func (p *program) refuseSplit(ctx context.Context) error {
	url := p.defaultRedis
	if url == "" {
		url = config.DefaultRedisURL
	}
	target, err := redisurl.Parse(url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, splitTimeout)
	defer cancel()
	c := dialRedis(target, splitTimeout)
	defer func() { _ = c.Close() }()
	st, err := redisstore.New(c, redisstore.Config{Namespace: p.global.Namespace})
	if err != nil {
		return err
	}
	procs, err := st.Processes(ctx)
	if err != nil || len(procs) == 0 {
		return nil //nolint:nilerr // no answer in time: nobody lives there
	}
	return config.Usagef("workers of namespace %s live on %s, but no Redis URL was given: use --redis-url %s to work with them, or --storage sqlite to keep records in %s all the same",
		p.global.Namespace, url, url, p.global.StoragePath)
}

// wire makes engine and client of what is there.
func (s *session) wire(observers ...engine.Observer) error {
	cfg := engine.Config{Store: s.store, Observers: append(s.observers(), observers...), Log: s.p.log}
	if s.transport != nil {
		cfg.Dispatcher = s.transport
	}
	var err error
	if s.engine, err = engine.New(cfg); err != nil {
		return err
	}
	queues, _ := s.transport.(client.QueueKeeper)
	s.client, err = client.New(client.Config{Store: s.store, Engine: s.engine, App: s.p.app, Queues: queues, Log: s.p.log})
	return err
}

// useLocal makes this process execute what it starts.
func (s *session) useLocal(observers ...engine.Observer) error {
	s.transport = localtransport.New()
	return s.wire(observers...)
}

func (s *session) close() {
	if s.ends != nil {
		s.ends.Close(5 * time.Second)
	}
	if err := s.store.Close(); err != nil {
		s.p.log.Debug("store did not close well", "error", err)
	}
	if s.redis != nil {
		_ = s.redis.Close()
	}
	if t, ok := s.transport.(io.Closer); ok {
		_ = t.Close()
	}
}

// place names where records live, for people.
func (p *program) place(store string) string { return store + ", namespace " + p.global.Namespace }

func (s *session) place() string { return s.p.place(s.store.Describe()) }

// withClient opens the store for one act.
func (p *program) withClient(cmd *cobra.Command, mode openMode, act func(*client.Client) error) error {
	s, err := p.open(cmd.Context(), mode, false)
	if err != nil {
		return err
	}
	defer s.close()
	return act(s.client)
}

// withNewStore opens the store for an act that creates it where there is none, but only once check has passed.
func (p *program) withNewStore(cmd *cobra.Command, check, act func(*client.Client) error) error {
	s, err := p.open(cmd.Context(), changes, false)
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	if _, empty := s.store.(standIn); empty {
		if err := check(s.client); err != nil {
			return err
		}
		created, err := p.open(cmd.Context(), creates, false)
		if err != nil {
			return err
		}
		s.close()
		s = created
	}
	return act(s.client)
}
