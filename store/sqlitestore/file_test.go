package sqlitestore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// wantOneLine fails unless err is want and reads as one line with these words.
func wantOneLine(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "SQLITE_") {
		t.Errorf("not a line for people: %q", err)
	}
}

func create(t *testing.T, s *sqlitestore.Store, id string) schedules.Ref {
	t.Helper()
	c := storetest.Create(id, "inc1", s.Estimate())
	if err := s.Commit(t.Context(), c)[0]; err != nil {
		t.Fatal(err)
	}
	return c.Schedule.Ref()
}

func runSQL(t *testing.T, dir string, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlitestore.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, q := range queries {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestReadingNeverCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for _, cfg := range []sqlitestore.Config{{Dir: dir, ReadOnly: true}, {Dir: dir, MustExist: true}, {Dir: dir, ReadOnly: true, MustExist: true}} {
		_, err := sqlitestore.Open(t.Context(), cfg)
		wantOneLine(t, err, store.ErrNotFound, dir)
		var none *sqlitestore.NoDatabaseError
		if !errors.As(err, &none) || none.Dir != dir {
			t.Errorf("got %v, want a NoDatabaseError with the folder", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder was created")
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, MustExist: true})
	wantOneLine(t, err, store.ErrNotFound)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	w := open(t, sqlitestore.Config{Dir: dir})
	ref := create(t, w, "a")
	r := open(t, sqlitestore.Config{Dir: dir, ReadOnly: true})
	if got, err := r.Resolve(t.Context(), "a"); err != nil || got != ref {
		t.Fatalf("resolve: %v, %v", got, err)
	}
	create(t, w, "b") // seen by one that is open
	if _, err := r.Resolve(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	wantOneLine(t, r.Commit(t.Context(), storetest.Create("c", "inc1", r.Estimate()))[0], store.ErrReadOnly, dir)
	wantOneLine(t, r.Ping(t.Context()), store.ErrReadOnly, dir)
	_, err := r.Trim(t.Context(), 0, store.DefaultLimits())
	wantOneLine(t, err, store.ErrReadOnly)
	if _, err := w.Resolve(t.Context(), "c"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a read-only store wrote: %v", err)
	}
	other := open(t, sqlitestore.Config{Dir: dir, ReadOnly: true, Namespace: "unused"})
	if list, _, err := other.ListSchedules(t.Context(), store.ScheduleFilter{}, store.Page{}); err != nil || len(list) != 0 {
		t.Fatalf("an unused namespace: %v, %v", list, err)
	}
}

func TestNamespaces(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, sqlitestore.Config{Dir: dir, Namespace: "one"}), open(t, sqlitestore.Config{Dir: dir, Namespace: "two"})
	ref := create(t, one, "a")
	run := storetest.FreeRun("flow", "x", one.Estimate())
	if _, _, err := one.CreateRun(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if got, err := one.HoldLeases(t.Context(), "h", time.Minute, "n"); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if err := one.PublishWorkflows(t.Context(), store.Workflow{Name: "flow"}); err != nil {
		t.Fatal(err)
	}
	if err := one.AnnounceProcess(t.Context(), store.Process{ID: "p"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	far := one.Estimate().Add(time.Hour)
	ticks, err1 := two.DueTicks(t.Context(), 0, far, 10)
	timers, err2 := two.DueTimers(t.Context(), 0, far, 10)
	unsent, err3 := two.Unsent(t.Context(), 0, far, 10)
	runs, _, err4 := two.ListRuns(t.Context(), store.RunFilter{}, store.Page{})
	workflows, err5 := two.Workflows(t.Context())
	processes, err6 := two.Processes(t.Context())
	held, err7 := two.HoldLeases(t.Context(), "other", time.Minute, "n")
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	if n := len(ticks) + len(timers) + len(unsent) + len(runs) + len(workflows) + len(processes); n != 0 || len(held) != 1 {
		t.Fatalf("one namespace sees the other: %v %v %v %v %v %v %v", ticks, timers, unsent, runs, workflows, processes, held)
	}
	if _, err := two.Resolve(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("resolve: %v", err)
	}
	if create(t, two, "a") != ref {
		t.Fatal("the same id and incarnation in another namespace")
	}
	if _, created, err := two.CreateRun(t.Context(), run); err != nil || !created {
		t.Fatalf("the same run in another namespace: %v, %v", created, err)
	}
	if list, _, err := one.ListRuns(t.Context(), store.RunFilter{}, store.Page{}); err != nil || len(list) != 1 {
		t.Fatalf("runs: %v, %v", list, err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c?d#e", "ü")
	s := open(t, sqlitestore.Config{Dir: dir})
	ref := create(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, sqlitestore.Config{Dir: dir})
	if loaded, _, err := s.Load(t.Context(), ref); err != nil || loaded[0].Err != nil {
		t.Fatal(err, loaded)
	}
	if _, err := os.Stat(filepath.Join(dir, sqlitestore.FileName)); err != nil {
		t.Fatal(err)
	}
	if s.Describe() != dir {
		t.Errorf("Describe gives %q", s.Describe())
	}
}

// Many create the same database at once: each opens it, and nobody takes one that another is creating for some other program's.
func TestCreateAtOnce(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "workflow_data")
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
				if err != nil {
					t.Error(err)
				} else if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlitestore.Config{Dir: dir})
	create(t, s, "a")
	runSQL(t, dir, `PRAGMA user_version = 999`)
	// One that has it open reads and writes no more; one that opens it is refused, and both say why.
	wantOneLine(t, s.Commit(t.Context(), storetest.Create("b", "inc1", s.Estimate()))[0], store.ErrFormat, "999", dir)
	_, _, err := s.ListSchedules(t.Context(), store.ScheduleFilter{}, store.Page{})
	wantOneLine(t, err, store.ErrFormat, "999", "upgrade this process", dir)
	_, err = sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
	wantOneLine(t, err, store.ErrFormat, "999", dir)
	_, err = sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, ReadOnly: true})
	wantOneLine(t, err, store.ErrFormat, "999", dir)
}

func TestNotOurs(t *testing.T) {
	for name, content := range map[string][]byte{
		"text":    bytes.Repeat([]byte("this is no database\n"), 500),
		"garbage": append([]byte("SQLite format 3\x00"), bytes.Repeat([]byte{0xa5}, 20_000)...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, sqlitestore.FileName)
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{false, true} {
				_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, ReadOnly: readOnly})
				wantOneLine(t, err, sqlitestore.ErrDamaged, path)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the file was touched: %v", err)
			}
		})
	}
	t.Run("another program's", func(t *testing.T) {
		dir := t.TempDir()
		runSQL(t, dir, `CREATE TABLE theirs(x)`)
		_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
		wantOneLine(t, err, sqlitestore.ErrDamaged, "another program's", dir)
	})
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlitestore.Config{Dir: dir})
	var refs []schedules.Ref
	for _, id := range strings.Fields(strings.Repeat("s ", 50)) {
		refs = append(refs, create(t, s, id+time.Now().Format(".000000000")+string(rune('a'+len(refs)%26))))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sqlitestore.FileName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(content); i++ {
		content[i] = 0xa5
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err = sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
	if err == nil {
		defer func() { _ = s.Close() }()
		_, _, err = s.Load(t.Context(), refs...)
	}
	wantOneLine(t, err, sqlitestore.ErrDamaged, path)
}

func TestFolderIsAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "below")} {
		_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: d})
		wantOneLine(t, err, store.ErrReadOnly, d, "not a directory")
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []sqlitestore.Config{{}, {Memory: true, Dir: "x"}, {Memory: true, ReadOnly: true}} {
		if s, err := sqlitestore.Open(t.Context(), cfg); err == nil {
			_ = s.Close()
			t.Errorf("%+v was taken", cfg)
		}
	}
}

func TestBadCursor(t *testing.T) {
	s := open(t, sqlitestore.Config{Memory: true})
	ref := create(t, s, "a")
	p := store.Page{Cursor: "what's this"}
	_, _, err1 := s.ListRuns(t.Context(), store.RunFilter{}, p)
	_, _, err2 := s.ListFates(t.Context(), ref, store.FateFilter{}, p)
	_, _, err3 := s.ListBackfills(t.Context(), "", p)
	for _, err := range []error{err1, err2, err3} {
		if err == nil || !strings.Contains(err.Error(), "what's this") {
			t.Errorf("got %v, want an error that names the cursor", err)
		}
	}
}

// Two stores on one folder: each hears of the other's commits.
func TestListenAcross(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, sqlitestore.Config{Dir: dir}), open(t, sqlitestore.Config{Dir: dir})
	other := open(t, sqlitestore.Config{Dir: dir, Namespace: "other"})
	ctx, cancel := context.WithCancel(t.Context())
	wakes := make(chan store.Wake, 1000)
	var wg sync.WaitGroup
	wg.Go(func() { _ = two.Listen(ctx, func(w store.Wake) { wakes <- w }) })
	defer wg.Wait()
	defer cancel()
	next := func(what string) store.Wake {
		t.Helper()
		select {
		case w := <-wakes:
			return w
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: no wake", what)
			return store.Wake{}
		}
	}
	create(t, one, "a")
	if w := next("create"); !w.Ticks {
		t.Errorf("create woke with %+v", w)
	}
	// Another namespace's commits and those that make nothing due wake nobody: the next wake is that of the run.
	create(t, other, "a")
	if err := one.PublishWorkflows(t.Context(), store.Workflow{Name: "flow"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.CreateRun(t.Context(), storetest.FreeRun("flow", "x", one.Estimate())); err != nil {
		t.Fatal(err)
	}
	if w := next("a run"); w.Ticks || !w.Timers {
		t.Errorf("a run woke with %+v", w)
	}
	if err := two.Close(); err != nil { // ends Listen, too
		t.Fatal(err)
	}
}
