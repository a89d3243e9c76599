package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// batchLimit is how many calls are written in one transaction at most, laterLimit how many of those that may wait.
	batchLimit = 256
	laterLimit = 64
	// laterWait is how long calls that may wait do so at most while others are there.
	laterWait = 100 * time.Millisecond
	// burst is how many other calls in one transaction say that more are on their way, burstPause how long after it they may be.
	burst      = 8
	burstPause = 10 * time.Millisecond
)

// tx is one write in progress, as its job sees it.
type tx struct {
	*conn
	ticks, timers bool     // something of these indexes came due sooner: listeners are to be woken
	after         []func() // what is known once it is committed
}

// job is one call that writes. Its function refuses (see refused) before it writes anything or writes everything; it may be run more than once.
type job struct {
	f    func(*tx) error
	err  error
	done chan struct{} // closed when err is the answer
	at   time.Time     // when it was queued
}

// write runs f in a write transaction, shared with whoever writes at the same time.
func (s *Store) write(ctx context.Context, f func(*tx) error) error {
	return s.writeAll(ctx, &s.queue, f)[0]
}

// writeLater is write of what nobody waits for to begin with: what starts runs goes first.
func (s *Store) writeLater(ctx context.Context, f func(*tx) error) error {
	return s.writeAll(ctx, &s.later, f)[0]
}

// writeAll runs each of fs by itself; together they take as few transactions as they can.
//
// There is no writer goroutine: of the callers that wait, the one that gets the turn writes for all of them, in order. When one
// call's failure (not its refusal) undoes the shared transaction, each is written by itself.
func (s *Store) writeAll(ctx context.Context, queue *[]*job, fs ...func(*tx) error) []error {
	errs := make([]error, len(fs))
	fail := func(err error) []error {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	if err := s.usable(ctx); err != nil {
		return fail(err)
	}
	if s.cfg.ReadOnly {
		return fail(s.errReadOnly())
	}
	if len(fs) == 0 {
		return errs
	}
	jobs := make([]*job, len(fs))
	now := time.Now()
	for i, f := range fs {
		jobs[i] = &job{f: f, done: make(chan struct{}), at: now}
	}
	s.mu.Lock()
	*queue = append(*queue, jobs...)
	s.mu.Unlock()

	last := jobs[len(jobs)-1] // a queue is served in order
	ended, closing := ctx.Done(), s.closing
	lead := s.turn
	if queue == &s.later {
		lead = s.lead
	}
wait:
	for {
		select {
		case <-last.done:
			break wait
		case lead <- struct{}{}:
			if queue == &s.later {
				s.serveLater(last)
			} else {
				s.serve(last)
			}
			<-lead
		case <-ended:
			s.withdraw(jobs, ctx.Err())
			ended = nil
		case <-closing:
			s.withdraw(jobs, ErrClosed)
			closing = nil
		}
	}
	for i, j := range jobs {
		<-j.done
		errs[i] = j.err
	}
	return errs
}

// serveLater writes queued jobs, those that may wait among them, until last is answered or the store closes. Between transactions it waits for a pause of what goes first, if
// there is a burst of it: one of those that may wait does so for all of them.
func (s *Store) serveLater(last *job) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(s.pauseIn())
		select {
		case <-last.done:
			return
		case <-s.closing:
			return
		case <-timer.C:
		}
		select {
		case <-s.closing:
			return
		case s.turn <- struct{}{}:
		}
		if s.pauseIn() <= 0 { // else the turn was taken for long
			s.step()
		}
		<-s.turn
	}
}

// awaitPause waits for a pause in a burst of what goes first, for laterWait at most: even to prepare what may wait would take processors from it. One waits for all.
func (s *Store) awaitPause(ctx context.Context) {
	if s.pauseIn() <= 0 {
		return
	}
	began := time.Now()
	if s.take(ctx, s.calm) != nil {
		return
	}
	defer func() { <-s.calm }()
	for {
		wait := min(s.pauseIn(), laterWait-time.Since(began))
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.closing:
			timer.Stop()
			return
		}
	}
}

// pauseIn is how long those that may wait are to wait yet.
func (s *Store) pauseIn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.burstAt.Add(burstPause)
	if len(s.later) > 0 {
		if most := s.later[0].at.Add(laterWait); most.Before(until) {
			until = most
		}
	}
	return time.Until(until)
}

// withdraw answers those of jobs that are still in the queue.
func (s *Store) withdraw(jobs []*job, err error) {
	mine := make(map[*job]bool, len(jobs))
	for _, j := range jobs {
		mine[j] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, queue := range []*[]*job{&s.queue, &s.later} {
		left := (*queue)[:0]
		for _, j := range *queue {
			if mine[j] {
				j.err = err
				close(j.done)
				continue
			}
			left = append(left, j)
		}
		clear((*queue)[len(left):])
		*queue = left
	}
}

// next takes what is to be written next off the queues: what may wait only if nothing else is there, or if it has waited for long. It gives how many calls it is of those
// that may not.
func (s *Store) next() (batch []*job, first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(queue *[]*job, n int) []*job {
		q := *queue
		batch := slices.Clone(q[:n])
		left := copy(q, q[n:])
		clear(q[left:])
		*queue = q[:left]
		return batch
	}
	batch = take(&s.queue, min(len(s.queue), batchLimit))
	first = len(batch)
	if len(s.later) > 0 && (first == 0 || time.Since(s.later[0].at) > laterWait) {
		batch = append(batch, take(&s.later, min(len(s.later), laterLimit))...)
	}
	return batch, first
}

// serve writes queued jobs until last is answered. The caller has the turn.
func (s *Store) serve(last *job) {
	for {
		select {
		case <-last.done:
			return
		default:
		}
		if !s.step() {
			return
		}
	}
}

// step writes one transaction; false when nothing is queued. The caller has the turn.
func (s *Store) step() bool {
	batch, first := s.next()
	if len(batch) == 0 {
		return false
	}
	s.writeBatch(batch)
	s.logged()
	if first >= burst {
		s.mu.Lock()
		s.burstAt = time.Now()
		s.mu.Unlock()
	}
	for _, j := range batch {
		close(j.done)
	}
	return true
}

func (s *Store) writeBatch(batch []*job) {
	err := s.transact(batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].err = s.explain(err)
		return
	}
	for i := range batch {
		if err := s.transact(batch[i : i+1]); err != nil {
			batch[i].err = s.explain(err)
		}
	}
}

// transact writes jobs in one transaction, leaving each its refusal; an error means that nothing was written, or that the end of the transaction failed.
func (s *Store) transact(jobs []*job) error {
	t := &tx{conn: s.writer}
	var ticks, timers int64
	err := s.retryBusy(context.Background(), func() error {
		return t.inTx(`BEGIN IMMEDIATE`, func() error {
			t.ticks, t.timers, t.after = false, false, t.after[:0]
			if err := t.checkFormat(); err != nil {
				return err
			}
			for _, j := range jobs {
				if j.err = j.f(t); j.err != nil && !refused(j.err) {
					return j.err
				}
			}
			if !t.ticks && !t.timers {
				return nil
			}
			_, err := t.one([]any{&ticks, &timers}, `UPDATE namespaces SET ticks = ticks + ?, timers = timers + ? WHERE ns = ? RETURNING ticks, timers`,
				b2i(t.ticks), b2i(t.timers), s.ns)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, f := range t.after {
		f()
	}
	if t.ticks || t.timers {
		s.changed(ticks, timers)
	}
	return nil
}

// then has f called once what is written here is committed.
func (t *tx) then(f func()) { t.after = append(t.after, f) }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// view runs f on one state of the database; f may be run more than once. In memory there is one connection, and the reader takes the writer's turn.
func (s *Store) view(ctx context.Context, f func(*conn) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if s.cfg.Memory {
		if err := s.take(ctx, s.turn); err != nil {
			return err
		}
		defer func() { <-s.turn }()
		return s.explain(f(s.writer))
	}
	if err := s.take(ctx, s.slots); err != nil {
		return err
	}
	defer func() { <-s.slots }()
	c, err := s.reader(ctx)
	if err != nil {
		return s.explain(err)
	}
	defer s.putReader(c)
	return s.explain(s.retryBusy(ctx, func() error {
		return c.inTx(`BEGIN`, func() error {
			if err := c.checkFormat(); err != nil { // somebody may have brought the file up to date meanwhile
				return err
			}
			return f(c)
		})
	}))
}

// take gets a place in a semaphore.
func (s *Store) take(ctx context.Context, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// reader gives a free reading connection, or a new one. The caller has a slot.
func (s *Store) reader(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	if n := len(s.readers); n > 0 {
		c := s.readers[n-1]
		s.readers = s.readers[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	var c *conn
	err := s.retryBusy(ctx, func() (err error) {
		c, err = newConn(ctx, s.db)
		if err == nil {
			err = c.script(`PRAGMA query_only = 1`)
		}
		return err
	})
	return c, err
}

func (s *Store) putReader(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, c)
}

// retryBusy repeats f while another process is in the way (it writes, recovers after a crash, or is the last one and cleans up), for Config.BusyTimeout.
func (s *Store) retryBusy(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(s.cfg.BusyTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 8*time.Millisecond) {
		err := f()
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// wrap puts what was asked for before an error.
func wrap(err error, verb, noun, id string) error {
	switch {
	case err == nil:
		return nil
	case id == "":
		return fmt.Errorf("%s %s: %w", verb, noun, err)
	default:
		return fmt.Errorf("%s %s %s: %w", verb, noun, id, err)
	}
}
