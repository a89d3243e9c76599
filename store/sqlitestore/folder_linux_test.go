package sqlitestore_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// asNobody runs f so that the file system treats it as an ordinary user, also when the tests run as root.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A folder that cannot be written: writing says so, reading works, whether the log was folded in or was left by a crash.
func TestFolderNotWritable(t *testing.T) {
	parent := t.TempDir()
	chmod(t, filepath.Dir(parent), 0o755)
	dir := filepath.Join(parent, "data")
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ref := create(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	chmod(t, filepath.Join(dir, sqlitestore.FileName), 0o444)
	chmod(t, dir, 0o555)
	chmod(t, parent, 0o555)
	defer chmod(t, parent, 0o755)
	defer chmod(t, dir, 0o755)

	asNobody(t, func() {
		_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: filepath.Join(parent, "new")})
		wantOneLine(t, err, store.ErrReadOnly, filepath.Join(parent, "new"), "permission denied")

		s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir})
		if err == nil {
			err = s.Commit(t.Context(), storetest.Create("b", "inc1", s.Estimate()))[0]
			_ = s.Close()
		}
		wantOneLine(t, err, store.ErrReadOnly, dir)

		r, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, ReadOnly: true})
		if err != nil {
			t.Fatalf("open for reading: %v", err)
		}
		defer func() { _ = r.Close() }()
		if got, err := r.Resolve(t.Context(), "a"); err != nil || got != ref {
			t.Errorf("resolve: %v, %v", got, err)
		}
	})
}
