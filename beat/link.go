package beat

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	probeTimeout = 2 * time.Second
	probeMin     = 50 * time.Millisecond
	probeMax     = time.Second
)

// pinger is what a link needs of a store.
type pinger interface {
	Ping(ctx context.Context) error
	Now(ctx context.Context) (time.Time, error)
	Describe() string
}

// link knows whether the store answers. Whoever's call failed reports a suspicion; the link then asks the store itself, says once that it is
// lost and once that it is back, and calls back. A single failing record is no outage: the link's own question is answered.
type link struct {
	store pinger
	every time.Duration // how often the store's clock is read when nothing else happens
	log   *slog.Logger
	quiet bool   // somebody else logs outages
	back  func() // called when the store answers (again); must not block

	suspects chan struct{}

	mu      sync.Mutex
	up      bool
	cause   error     // of the last suspicion
	trouble time.Time // of the last suspicion, by the process's own clock
	lost    time.Time // when it was found lost; zero: it answers
	since   time.Time // when it was found to answer, by the process's own clock
	errs    int64
}

// suspect reports a failed call. An answer that says no is none, and neither is a call that failed because ctx was cancelled.
func (l *link) suspect(ctx context.Context, err error) {
	if err == nil || answered(err) || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	l.mu.Lock()
	l.cause, l.trouble = err, time.Now()
	l.errs++
	l.mu.Unlock()
	select {
	case l.suspects <- struct{}{}:
	default:
	}
}

// answers reports whether the store is thought to answer.
func (l *link) answers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// answersFor reports whether the store has been thought to answer for so long.
func (l *link) answersFor(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up && time.Since(l.since) >= d
}

// calmSince reports whether no call has failed since t and the store answers.
func (l *link) calmSince(t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up && l.trouble.Before(t)
}

func (l *link) run(ctx context.Context) {
	timer := time.NewTimer(0) // the first question is asked at once
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.suspects:
		case <-timer.C:
		}
		if !l.restore(ctx) {
			return
		}
		timer.Reset(l.every)
	}
}

// restore asks until the store answers; false: ctx has ended.
func (l *link) restore(ctx context.Context) bool {
	for wait := probeMin; ; wait = min(2*wait, probeMax) {
		err := l.probe(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			l.found()
			return true
		}
		l.missed(err)
		if !pause(ctx, wait) {
			return false
		}
	}
}

func (l *link) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := l.store.Ping(ctx); err != nil {
		return err
	}
	_, err := l.store.Now(ctx)
	return err
}

func (l *link) missed(err error) {
	l.mu.Lock()
	first := l.lost.IsZero()
	if first {
		l.lost = time.Now()
	}
	l.up, l.cause, l.trouble = false, err, time.Now()
	l.errs++
	l.mu.Unlock()
	if first {
		l.log.Log(context.Background(), l.level(slog.LevelWarn), "the store does not answer; trying again until it does", "store", l.store.Describe(), "error", err)
	}
}

func (l *link) found() {
	l.mu.Lock()
	was, lost := l.up, l.lost
	l.up, l.lost = true, time.Time{}
	if !was {
		l.since = time.Now()
	}
	l.mu.Unlock()
	if !lost.IsZero() {
		l.log.Log(context.Background(), l.level(slog.LevelInfo), "the store answers again", "store", l.store.Describe(), "after", time.Since(lost).Round(time.Millisecond).String())
	}
	if !was {
		l.back()
	}
}

func (l *link) level(normal slog.Level) slog.Level {
	if l.quiet {
		return slog.LevelDebug
	}
	return normal
}

func (l *link) status() (lost time.Time, errs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.errs
}

// answered reports whether an error says nothing against the store: it is its own answer, or somebody else's failure.
func answered(err error) bool {
	for _, no := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrStale, store.ErrClock, store.ErrFormat, store.ErrUnreadable} {
		if errors.Is(err, no) {
			return true
		}
	}
	_, other := errors.AsType[transportError](err)
	return other
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
