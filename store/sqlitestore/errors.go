package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// What can be wrong with the file, beyond the errors of package store; test with errors.Is.
var (
	// ErrFull: the disk has no room left. Nothing was written; once there is room, everything goes on.
	ErrFull = errors.New("disk full")
	// ErrDamaged: the file is no database, or a damaged one.
	ErrDamaged = errors.New("file is damaged")
	// ErrBusy: another process has held the file's write lock for longer than Config.BusyTimeout.
	ErrBusy = errors.New("held by another process")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")

	errForeign = errors.New("is another program's database")
)

// NoDatabaseError says that there is nothing to read: Config.ReadOnly or Config.MustExist was given and the folder holds no database. It is a store.ErrNotFound.
type NoDatabaseError struct {
	Dir string // the folder, as configured
}

func (e *NoDatabaseError) Error() string { return fmt.Sprintf("no database in %s", e.Dir) }

// Is makes it a store.ErrNotFound.
func (e *NoDatabaseError) Is(target error) bool { return target == store.ErrNotFound }

// fileError is an error of the file: one line with the remedy, testable as its kind, with SQLite's own words behind it for logs.
type fileError struct {
	text  string
	kind  error
	cause error
}

func (e *fileError) Error() string   { return e.text }
func (e *fileError) Unwrap() []error { return []error{e.kind, e.cause} }

func formatError(v int) error { return &store.FormatError{Format: v, Reads: reads} }

// code gives SQLite's primary result code, 0 for any other error.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}

// explain turns an error of SQLite or of the file system into one line that says what is wrong with the file and what to do.
// Other errors are given back as they are.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	file := s.path
	wrap := func(kind error, format string, args ...any) error {
		return &fileError{text: fmt.Sprintf(format, args...), kind: kind, cause: err}
	}
	var known *fileError
	if errors.As(err, &known) {
		return err
	}
	switch code(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return wrap(ErrBusy, "database %s has been held by another process for over %s: stop that process, or try again", file, s.cfg.BusyTimeout)
	case sqlite3.SQLITE_FULL:
		return wrap(ErrFull, "disk full: database %s cannot grow: free some space on its disk", file)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return wrap(store.ErrReadOnly, "database %s cannot be written: make it and its folder writable, or choose another folder (--storage-path)", file)
	case sqlite3.SQLITE_CORRUPT:
		return wrap(ErrDamaged, "database %s is damaged: move it away and start anew, or put back a copy", file)
	case sqlite3.SQLITE_NOTADB:
		return wrap(ErrDamaged, "%s is not a database: move it away, or choose another folder (--storage-path)", file)
	case sqlite3.SQLITE_CANTOPEN:
		return wrap(store.ErrReadOnly, "database %s cannot be opened: check that its folder exists and is readable and writable, or choose another (--storage-path)", file)
	case sqlite3.SQLITE_IOERR:
		var e *sqlite.Error
		if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room for the -shm file
			return wrap(ErrFull, "disk full: database %s cannot grow: free some space on its disk", file)
		}
		return wrap(err, "disk error on database %s: %v", file, err)
	}
	var pe *fs.PathError
	switch {
	case errors.Is(err, errForeign):
		return wrap(ErrDamaged, "%s is another program's database: move it away, or choose another folder (--storage-path)", file)
	case errors.Is(err, store.ErrFormat):
		return fmt.Errorf("database %s: %w", file, err)
	case errors.As(err, &pe):
		kind := store.ErrReadOnly
		if errors.Is(err, syscall.ENOSPC) {
			kind = ErrFull
		}
		return wrap(kind, "folder %s cannot be used (%v): make it writable, or choose another (--storage-path)", s.cfg.Dir, pe.Err)
	}
	return err
}

// refused reports whether an answer is one of the contract's refusals, which are given before anything is written.
func refused(err error) bool {
	for _, e := range []error{store.ErrConflict, store.ErrStale, store.ErrNotFound, store.ErrExists, store.ErrClock, store.ErrUnreadable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
