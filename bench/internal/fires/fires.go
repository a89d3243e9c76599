// Package fires is how a process of the benchmark remembers what it started: entries of fixed size in memory that was set aside beforehand, written to a file
// when the process ends. Adding one takes a mutex and no allocation. It judges nothing: that is for package judge.
package fires

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Entry is one of the types below.
type Entry interface {
	Fire | Enqueued | Taken
	Before(ms int64) bool
}

// Fire is the start of a handler that knows its nominal time.
type Fire struct {
	Index   int64 // of the schedule
	Nominal int64 // ms since 1970
	Start   int64 // ns since 1970
}

// Before reports whether its nominal time lies before ms.
func (f Fire) Before(ms int64) bool { return f.Nominal < ms }

// Key names a task of asynq: its UUID.
type Key [16]byte

// Enqueued is a task that asynq's scheduler put into the queue.
type Enqueued struct {
	Key     Key
	Index   int64
	Nominal int64 // ms since 1970
}

// Before reports whether its nominal time lies before ms.
func (e Enqueued) Before(ms int64) bool { return e.Nominal < ms }

// Taken is the start of a handler of a task.
type Taken struct {
	Key   Key
	Start int64 // ns since 1970
}

// Before holds for all: the handler does not know the nominal time.
func (Taken) Before(int64) bool { return true }

// Log remembers entries. It is safe for concurrent use.
type Log[T Entry] struct {
	mu      sync.Mutex
	entries []T
}

// New sets memory aside for capacity entries; more are taken too, at the price of an allocation.
func New[T Entry](capacity int) *Log[T] { return &Log[T]{entries: make([]T, 0, capacity)} }

// Add remembers an entry.
func (l *Log[T]) Add(e T) {
	l.mu.Lock()
	l.entries = append(l.entries, e)
	l.mu.Unlock()
}

// CountBefore counts the entries whose nominal time lies before ms.
func (l *Log[T]) CountBefore(ms int64) int {
	l.mu.Lock()
	seen := l.entries // entries never change once they are there
	l.mu.Unlock()
	n := 0
	for _, e := range seen {
		if e.Before(ms) {
			n++
		}
	}
	return n
}

// Write writes all entries to a file, which appears whole or not at all.
func (l *Log[T]) Write(path string) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.CreateTemp(filepath.Dir(path), ".fires-*")
	if err != nil {
		return fmt.Errorf("write fires %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write fires %s: %w", path, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	for chunk := l.entries; len(chunk) > 0; {
		n := min(len(chunk), 4096)
		if err := binary.Write(w, binary.LittleEndian, chunk[:n]); err != nil {
			return errors.Join(err, f.Close())
		}
		chunk = chunk[n:]
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Read reads what Write wrote.
func Read[T Entry](path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read fires: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read fires %s: %w", path, err)
	}
	var one T
	size := int64(binary.Size(one))
	if st.Size()%size != 0 {
		return nil, fmt.Errorf("read fires %s: %d bytes are not a multiple of %d", path, st.Size(), size)
	}
	all := make([]T, st.Size()/size)
	if err := binary.Read(bufio.NewReaderSize(f, 1<<20), binary.LittleEndian, all); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read fires %s: %w", path, err)
	}
	return all, nil
}
