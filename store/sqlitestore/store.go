package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	// FileName is the database's file in Config.Dir; SQLite keeps two more beside it while it is open (-wal, -shm).
	FileName = "pyworkflow.db"
	// DefaultBusyTimeout is Config.BusyTimeout when it is zero.
	DefaultBusyTimeout = 15 * time.Second
	// PollEvery is how often Listen looks for changes other processes made.
	PollEvery = 100 * time.Millisecond

	maxReaders = 4
	// lockWait is how long SQLite itself waits for a lock. It looks ever more seldom, so that a process that writes all the time would keep the others out;
	// retryBusy begins again instead, until Config.BusyTimeout.
	lockWait = 20 * time.Millisecond
)

var _ store.Store = (*Store)(nil)

// Config says where a store lies. Dir is required unless Memory is set.
type Config struct {
	Dir       string           // the folder that holds FileName; created when it does not exist, unless ReadOnly or MustExist is set
	Memory    bool             // in memory, for tests: each Open has a database of its own, gone when it is closed
	ReadOnly  bool             // open what is there for reading; writing methods give store.ErrReadOnly. Nothing is created
	MustExist bool             // open for writing too, but only what is there
	Namespace string           // "default" when empty; namespaces in one file do not see each other
	Clock     func() time.Time // the host's when nil

	// BusyTimeout is how long a call waits for other processes to let go of the file before it fails with ErrBusy; zero: DefaultBusyTimeout.
	BusyTimeout time.Duration
	Logger      *slog.Logger // nothing is logged when nil
}

// Store keeps schedules and runs in a SQLite file. Safe for concurrent use, also by several processes.
type Store struct {
	cfg  Config
	path string // of the file, for people
	ns   int64
	db   *sql.DB

	turn   chan struct{} // held by whoever uses writer
	lead   chan struct{} // held by whoever wants the turn for calls that may wait
	calm   chan struct{} // held by whoever waits for a pause
	writer *conn
	slots  chan struct{} // one per reader in use

	closing chan struct{} // closed by Close
	once    sync.Once
	ended   error // what Close came to

	pages  int            // written to the log since it was last copied; of whoever has the turn
	beside sync.WaitGroup // of the copy

	written atomic.Int64 // pages, to the log

	known known

	mu        sync.Mutex
	queue     []*job        // calls that wait to be written
	later     []*job        // those of them that may wait for longer
	burstAt   time.Time     // when the last transaction with many calls that may not wait ended
	readers   []*conn       // free ones
	trimFrom  schedules.Ref // after which the next Trim goes on
	auditAt   auditPlace    // where the next Audit goes on
	copying   bool          // the log is being copied into the file
	listeners *listeners
}

// Open opens or creates the database. With Config.ReadOnly or MustExist it gives a *NoDatabaseError when there is none.
// Its other errors are one line that names the folder or file and the remedy: store.ErrReadOnly, store.ErrFormat, ErrFull, ErrDamaged, ErrBusy.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.BusyTimeout <= 0 {
		cfg.BusyTimeout = DefaultBusyTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Memory && (cfg.Dir != "" || cfg.ReadOnly || cfg.MustExist):
		return nil, errors.New("open store: Memory goes with none of Dir, ReadOnly and MustExist")
	case !cfg.Memory && cfg.Dir == "":
		return nil, errors.New("open store: Dir is empty: name a folder, such as ./workflow_data")
	}
	s := &Store{
		cfg: cfg, path: filepath.Join(cfg.Dir, FileName), turn: make(chan struct{}, 1), lead: make(chan struct{}, 1), calm: make(chan struct{}, 1), slots: make(chan struct{}, maxReaders),
		closing: make(chan struct{}), listeners: newListeners(),
	}
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		return nil, s.explain(err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if s.cfg.Memory {
		return s.connect(ctx, "file::memory:")
	}
	abs, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	if s.cfg.ReadOnly || s.cfg.MustExist {
		if st, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
			return &NoDatabaseError{Dir: s.cfg.Dir}
		} else if err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return err
	}
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // C:/…
	}
	mode := map[bool]string{true: "ro", false: "rwc"}[s.cfg.ReadOnly]
	if s.cfg.MustExist && !s.cfg.ReadOnly {
		mode = "rw"
	}
	dsn := func(extra string) string {
		return (&url.URL{Scheme: "file", Path: slashed, RawQuery: fmt.Sprintf("mode=%s&_pragma=busy_timeout(%d)%s", mode, min(lockWait, s.cfg.BusyTimeout).Milliseconds(), extra)}).String()
	}
	err = s.connect(ctx, dsn(""))
	if err == nil || !s.cfg.ReadOnly {
		return err
	}
	// A folder that cannot be written, and nobody has the file open: its log was folded in, so the file is whole and will not change.
	if _, statErr := os.Stat(abs + "-wal"); !errors.Is(statErr, fs.ErrNotExist) || errors.Is(err, store.ErrFormat) {
		return err
	}
	if s.db != nil {
		_ = s.disconnect()
	}
	return s.connect(ctx, dsn("&immutable=1"))
}

// connect opens the writing connection, brings the schema up to date and finds the namespace.
func (s *Store) connect(ctx context.Context, dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxIdleConns(-1) // connections are kept here, not there
	s.db = db
	return s.retryBusy(ctx, func() error {
		if s.writer == nil {
			if s.writer, err = newConn(ctx, db); err != nil {
				return err
			}
		}
		c := s.writer
		if s.cfg.ReadOnly {
			return s.attach(c)
		}
		if !s.cfg.Memory {
			// In one view of the file: another process may be creating the schema at this moment.
			if err := c.inTx(`BEGIN`, c.checkOurs); err != nil {
				return err
			}
			if err := c.script(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 0`); err != nil {
				return err
			}
		}
		if err := c.script(`PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000`); err != nil {
			return err
		}
		return c.inTx(`BEGIN IMMEDIATE`, func() error {
			if err := c.migrate(); err != nil {
				return err
			}
			if err := c.script(indexes); err != nil {
				return err
			}
			if _, err := c.exec(`INSERT INTO namespaces(name) VALUES(?) ON CONFLICT DO NOTHING`, s.cfg.Namespace); err != nil {
				return err
			}
			_, err := c.one([]any{&s.ns}, `SELECT ns FROM namespaces WHERE name = ?`, s.cfg.Namespace)
			return err
		})
	})
}

// attach looks at a database that is opened for reading. A namespace that is not there is an empty one.
func (s *Store) attach(c *conn) error {
	v, err := c.version()
	switch {
	case err != nil:
		return err
	case v > reads:
		return formatError(v)
	}
	if err := c.checkOurs(); err != nil {
		return err
	}
	if v == 0 {
		return &NoDatabaseError{Dir: s.cfg.Dir}
	}
	if v < writes {
		return &fileError{
			text: fmt.Sprintf("database %s was written by an older version of the program: make it writable, and any command brings it up to date", s.path),
			kind: store.ErrReadOnly, cause: fmt.Errorf("schema version %d", v),
		}
	}
	s.ns = -1
	_, err = c.one([]any{&s.ns}, `SELECT ns FROM namespaces WHERE name = ?`, s.cfg.Namespace)
	return err
}

func (s *Store) errReadOnly() error {
	return fmt.Errorf("database %s was opened for reading: %w", s.path, store.ErrReadOnly)
}

// Close waits for calls in progress, refuses those that wait and all later ones with ErrClosed, and closes the file.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.turn <- struct{}{}
		s.beside.Wait()
		for range cap(s.slots) {
			s.slots <- struct{}{}
		}
		if s.db != nil {
			s.ended = wrap(s.disconnect(), "close", "database", s.Describe())
		}
	})
	return s.ended
}

func (s *Store) disconnect() error {
	var errs []error
	for _, c := range s.readers {
		errs = append(errs, c.close())
	}
	s.readers = nil
	if s.writer != nil {
		errs = append(errs, s.writer.close())
		s.writer = nil
	}
	err := errors.Join(append(errs, s.db.Close())...)
	s.db = nil
	return err
}

// Describe gives the folder as it was configured, or "memory".
func (s *Store) Describe() string {
	if s.cfg.Memory {
		return "memory"
	}
	return s.cfg.Dir
}

// Ping takes the write lock and lets it go.
func (s *Store) Ping(ctx context.Context) error {
	return wrap(s.write(ctx, func(*tx) error { return nil }), "ping", "store", s.Describe())
}

// Now reads the host's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.usable(ctx); err != nil {
		return time.Time{}, wrap(err, "read", "clock", "")
	}
	return s.Estimate(), nil
}

// Estimate reads the host's clock.
func (s *Store) Estimate() time.Time { return s.cfg.Clock().UTC().Truncate(time.Millisecond) }

// checkClock refuses what claims to be made later than the clock allows.
func (s *Store) checkClock(now time.Time) error {
	if lead := now.Sub(s.cfg.Clock()); lead > store.MaxClockLead {
		return fmt.Errorf("%s: %w", lead.Round(time.Millisecond), store.ErrClock)
	}
	return nil
}

// Shards is 1.
func (s *Store) Shards() int { return 1 }
