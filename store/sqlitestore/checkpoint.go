package sqlitestore

import (
	"context"
	"time"

	"modernc.org/sqlite"
)

const (
	// checkpointPages is how many pages are written to the log before they are copied into the file.
	checkpointPages = 1000
	// checkpointMost is how many pages the log may hold before writers wait for the copy, because it does not come to an end beside them.
	checkpointMost = 16 * checkpointPages
	// checkpointPause is how long after a copy it is looked whether writers have overtaken it, doubling, checkpointTries times at most.
	checkpointPause = 200 * time.Millisecond
	checkpointTries = 5
)

// SQLite itself would copy the log into the file within a commit, whose caller, and all behind it, would wait for that and its two fsyncs. Here another connection does it,
// beside the writer: what was answered lies in the log in any case.

// logged counts the pages of a transaction. The caller has the turn.
func (s *Store) logged() {
	if s.cfg.Memory {
		return
	}
	n, _, err := s.writer.driver.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
	s.written.Add(int64(n))
	if s.pages += n; err != nil || s.pages < checkpointPages {
		return
	}
	s.pages = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copying || s.closed() {
		return
	}
	s.copying = true
	s.beside.Go(func() {
		s.copyLog()
		s.mu.Lock()
		s.copying = false
		s.mu.Unlock()
	})
}

// copyLog copies the log. Only the writer that finds all of it copied begins the log anew, so it is tried to come to an end in a pause of the writers. What fails is tried
// again after further pages.
func (s *Store) copyLog() {
	ctx := context.Background()
	c, err := newConn(ctx, s.db)
	if err != nil {
		return
	}
	defer func() { _ = c.close() }()
	for try := range checkpointTries {
		before := s.written.Load()
		pages, copied, err := c.checkpoint()
		if err != nil {
			return
		}
		if pages > checkpointMost {
			if s.take(ctx, s.turn) != nil {
				return
			}
			_, _, _ = c.checkpoint()
			<-s.turn
			return
		}
		select {
		case <-time.After(checkpointPause << try):
		case <-s.closing:
			return
		}
		if copied == pages && s.written.Load() == before {
			return
		}
	}
}

// checkpoint copies what it can without waiting for anybody; it gives how many pages the log has, and how many of them were copied.
func (c *conn) checkpoint() (pages, copied int64, err error) {
	var busy int64
	_, err = c.one([]any{&busy, &pages, &copied}, `PRAGMA wal_checkpoint(PASSIVE)`)
	return pages, copied, err
}

// closed reports whether Close was called.
func (s *Store) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}
