package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// ErrNotTaken: the worker is stopping and has not touched the message. The transport keeps it for another worker.
var ErrNotTaken = errors.New("message not taken")

// ErrTooNew: a newer version of the program wrote the run, and this worker has not touched it. It is an ErrNotTaken; another worker is best asked a little
// later.
var ErrTooNew = fmt.Errorf("%w: its run was written by a newer version of the program", ErrNotTaken)

// Handler deals with one message and returns when the slot it took is free again: nil when the message is done with, ErrNotTaken when it is not. With the end of ctx it
// waits for a slot no longer; what has one goes on. The end of the run may be recorded a little later.
type Handler func(ctx context.Context, m store.Message) error

// aheadMost and shortRun are for Row.
const (
	aheadMost = 128
	shortRun  = 50 * time.Millisecond
)

// Row is for transports: it counts the runs that were short, 50 ms with their wait for a slot, in a row, so that a long one begins it anew. While there are some, as many
// messages may be handed over beyond the slots; their runs are then claimed together. One that was claimed and has waited for a slot for AheadPatience goes back.
// The zero value is ready for use; it is safe for concurrent use.
type Row struct {
	short    atomic.Int64
	unseated atomic.Int64 // visits that go ahead and have no slot yet
}

// Ahead is how many messages may be handed over beyond the slots: at most 128.
func (r *Row) Ahead() int { return int(r.short.Load()) }

// Visit gives a Handler the context of a message; ended is to be called when it has returned.
func (r *Row) Visit(ctx context.Context) (_ context.Context, ended func()) {
	v, began := &visit{row: r}, time.Now()
	return context.WithValue(ctx, visitKey{}, v), func() {
		v.sit()
		if !v.begun {
			v.took = time.Since(began)
		}
		if v.took > shortRun {
			r.short.Store(0)
		} else if r.short.Add(1) > aheadMost {
			r.short.Store(aheadMost)
		}
	}
}

type visitKey struct{}

// visit is what a Row and a Handler tell each other about a message.
type visit struct {
	row   *Row          // nil: of no transport that has one
	ahead bool          // it is claimed before there is a slot for it, and has none yet
	begun bool          // its run was claimed
	took  time.Duration // how long that waited for a slot afterwards and had it
}

// goAhead reports whether the message's run may be claimed before there is a slot for it: there soon will be. No more do at a time than runs were short, however many
// messages were handed over together.
func (v *visit) goAhead() bool {
	if v.row == nil {
		return false
	}
	if v.ahead = v.row.unseated.Add(1) <= v.row.short.Load(); !v.ahead {
		v.row.unseated.Add(-1)
	}
	return v.ahead
}

// sit notes that the run has its slot, or needs none any more.
func (v *visit) sit() {
	if v.ahead {
		v.ahead = false
		v.row.unseated.Add(-1)
	}
}

func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

type sentKey struct{}

// WithSent is for transports: it gives a Handler the context of a message that was handed over at that time.
func WithSent(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, sentKey{}, at)
}

// sentAt is when a message was handed over; zero: not known.
func sentAt(ctx context.Context) time.Time {
	at, _ := ctx.Value(sentKey{}).(time.Time)
	return at
}

// Transport carries messages to workers. It may lose, repeat and reorder them: the store decides what becomes of a run. Implementations are safe for
// concurrent use.
type Transport interface {
	// Serve hands messages of the queues to handle, at most concurrency at a time, weighed by the queues' numbers, until ctx ends; it then takes no
	// more messages, waits for the handlers that are under way, and returns nil. Nil queues mean every queue; a transport that cannot tell
	// which there are returns an error. An error says that serving was not possible at all; outages are waited out.
	Serve(ctx context.Context, queues map[string]int, concurrency int, handle Handler) error
	// Dispatch hands messages over and returns those that were: see engine.Dispatcher.
	Dispatch(ctx context.Context, msgs []store.Message) (sent []store.Message, err error)
	// Look says what the transport knows of messages, in their order.
	Look(ctx context.Context, msgs ...store.Message) ([]store.MessageState, error)
}
