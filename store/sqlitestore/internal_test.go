package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

func openFile(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The contract in memory; and every statement its tests ever prepare reaches its rows by an index: cost does not grow with what is stored.
func TestContractMemoryAndPlans(t *testing.T) {
	var mu sync.Mutex
	all := map[string]bool{}
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
		s, err := Open(t.Context(), Config{Memory: true, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			mu.Lock()
			if s.writer != nil {
				for q := range s.writer.stmts {
					all[q] = true
				}
			}
			mu.Unlock()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
	if len(all) < 60 {
		t.Fatalf("only %d statements were seen", len(all))
	}
	s := openFile(t, Config{})
	for q := range all {
		verb, _, _ := strings.Cut(q, " ")
		if !slices.Contains([]string{"SELECT", "UPDATE", "DELETE", "INSERT"}, verb) || strings.Contains(q, "sqlite_schema") {
			continue
		}
		args := make([]any, strings.Count(q, "?"))
		for i := range args {
			args[i] = 1
		}
		rows, err := s.writer.c.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+q, args...)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			// Sorting is for the steps of one run and the filtered page of nothing else.
			sorts := strings.Contains(detail, "USE TEMP B-TREE") && !strings.Contains(q, "JOIN steps")
			if strings.HasPrefix(detail, "SCAN ") && detail != "SCAN CONSTANT ROW" || sorts {
				t.Errorf("%s\n   %s", q, detail)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk a commit fails with a line that says so and leaves nothing behind; reads go on; with room again, so do writes.
func TestFullDisk(t *testing.T) {
	s := openFile(t, Config{})
	ctx := t.Context()
	ref := storetest.Create("a", "inc1", s.Estimate())
	if err := s.Commit(ctx, ref)[0]; err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.c.ExecContext(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // no more than there are
	big := storetest.Create("big", "inc1", s.Estimate())
	big.Schedule.Input = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	small := func() schedules.Change {
		loaded, now, err := s.Load(ctx, ref.Schedule.Ref())
		if err != nil || loaded[0].Err != nil {
			t.Fatal(err, loaded)
		}
		c := storetest.Next(loaded[0].State.Schedule, now)
		c.Schedule.Note = "written"
		return c
	}
	errs := s.Commit(ctx, big, small())
	if !errors.Is(errs[0], ErrFull) || !strings.Contains(errs[0].Error(), "disk full") || strings.Contains(errs[0].Error(), "SQLITE") {
		t.Fatalf("got %v", errs[0])
	}
	if errs[1] != nil {
		t.Fatalf("a change that has room is written by itself: %v", errs[1])
	}
	if _, err := s.Resolve(ctx, "big"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("something of it was written: %v", err)
	}
	limit(1 << 30)
	for i, err := range s.Commit(ctx, big, small()) {
		if err != nil {
			t.Fatalf("with room again, change %d: %v", i, err)
		}
	}
}

// hold keeps the file's write lock as another process would, until release.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.cfg.Dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if _, err := c.ExecContext(context.Background(), `ROLLBACK`); err != nil {
			t.Error(err)
		}
		if err := errors.Join(c.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestHeldByAnother(t *testing.T) {
	s := openFile(t, Config{BusyTimeout: 100 * time.Millisecond})
	release := hold(t, s)
	defer release()
	err := s.Ping(t.Context())
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "held by another process") || strings.Contains(err.Error(), "SQLITE") {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Resolve(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a read waits for nobody: %v", err)
	}
	if _, err := Open(t.Context(), Config{Dir: s.cfg.Dir, BusyTimeout: 100 * time.Millisecond}); !errors.Is(err, ErrBusy) {
		t.Fatalf("open: %v", err)
	}
	release()
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A call that waits its turn goes with its context; the others are served in order.
func TestWaitingCalls(t *testing.T) {
	s := openFile(t, Config{})
	entered, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.write(context.Background(), func(*tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second, third := make(chan error, 1), make(chan error, 1)
	ran := false
	go func() { second <- s.write(ctx, func(*tx) error { ran = true; return nil }) }()
	queued(s, 1)
	go func() { third <- s.write(context.Background(), func(*tx) error { return nil }) }()
	queued(s, 2)
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) || ran {
		t.Fatalf("the one whose context ended: %v, ran %v", err, ran)
	}
	close(leave)
	if err := errors.Join(<-first, <-third); err != nil {
		t.Fatal(err)
	}
}

// queued waits until n calls wait.
func queued(s *Store, n int) {
	for {
		s.mu.Lock()
		have := len(s.queue)
		s.mu.Unlock()
		if have >= n {
			return
		}
		<-time.After(time.Millisecond)
	}
}

// Close lets the call in progress end and refuses those that wait.
func TestCloseWhileWaiting(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	first, second, closed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		first <- s.write(context.Background(), func(*tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	go func() { second <- s.Ping(context.Background()) }()
	queued(s, 1)
	go func() { closed <- s.Close() }()
	if err := <-second; !errors.Is(err, ErrClosed) {
		t.Fatalf("the one that waited: %v", err)
	}
	close(leave)
	if err := errors.Join(<-first, <-closed); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(context.Background()); !errors.Is(err, ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
}

// One call's failure undoes the transaction it shares; the others are written all the same, once.
func TestFailureIsOnesOwn(t *testing.T) {
	s := openFile(t, Config{})
	broken := errors.New("broken")
	insert := func(name string) func(*tx) error {
		return func(t *tx) error {
			_, err := t.exec(`INSERT INTO workflows(ns, name, body) VALUES(?, ?, '{}')`, s.ns, name)
			return err
		}
	}
	errs := s.writeAll(t.Context(), &s.queue, []func(*tx) error{
		insert("a"),
		func(t *tx) error { return errors.Join(insert("half")(t), broken) },
		insert("a"), // breaks a constraint
		func(*tx) error { return store.ErrConflict },
		insert("b"),
	}...)
	if errs[0] != nil || !errors.Is(errs[1], broken) || errs[2] == nil || !errors.Is(errs[3], store.ErrConflict) || errs[4] != nil {
		t.Fatalf("answers: %v", errs)
	}
	list, err := s.Workflows(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("written: %v, %v", list, err)
	}
}

// Nothing waits for a lost power supply: what was answered is in the log, synced.
func TestSync(t *testing.T) {
	s := openFile(t, Config{})
	var sync int
	var mode string
	if _, err := s.writer.one([]any{&sync}, `PRAGMA synchronous`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.one([]any{&mode}, `PRAGMA journal_mode`); err != nil {
		t.Fatal(err)
	}
	if sync != 2 || mode != "wal" {
		t.Fatalf("synchronous is %d, want 2 (FULL); journal mode is %s", sync, mode)
	}
}
