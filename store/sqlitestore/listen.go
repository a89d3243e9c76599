package sqlitestore

import (
	"context"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// listeners are the callbacks of the Listen calls in progress, and how far they have been told of changes.
type listeners struct {
	mu            sync.Mutex
	next          int
	wakes         map[int]func(store.Wake)
	ticks, timers int64 // the namespace's counters as last told
}

func newListeners() *listeners { return &listeners{wakes: map[int]func(store.Wake){}} }

func (l *listeners) add(wake func(store.Wake)) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.wakes[id] = wake
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.wakes, id)
	}
}

// changed tells listeners that the counters have come this far.
func (s *Store) changed(ticks, timers int64) {
	l := s.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	w := store.Wake{Ticks: ticks > l.ticks, Timers: timers > l.timers}
	l.ticks, l.timers = max(l.ticks, ticks), max(l.timers, timers)
	if !w.Ticks && !w.Timers {
		return
	}
	for _, wake := range l.wakes {
		wake(w)
	}
}

// Listen calls wake for this process's commits as they are made, and for those of other processes within PollEvery. The first look may wake for
// changes made before it.
func (s *Store) Listen(ctx context.Context, wake func(store.Wake)) error {
	if err := s.usable(ctx); err != nil {
		return wrap(err, "listen to", "store", s.Describe())
	}
	defer s.listeners.add(wake)()
	if s.cfg.Memory {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		}
	}
	t := time.NewTicker(PollEvery)
	defer t.Stop()
	failing := false
	for {
		var ticks, timers int64
		err := s.view(ctx, func(c *conn) error {
			_, err := c.one([]any{&ticks, &timers}, `SELECT ticks, timers FROM namespaces WHERE ns = ?`, s.ns)
			return err
		})
		if err == nil {
			s.changed(ticks, timers)
		} else if ctx.Err() == nil && !failing {
			s.cfg.Logger.Warn("cannot see changes of other processes", "store", s.Describe(), "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		case <-t.C:
		}
	}
}
