package worker

import (
	"context"
	"errors"
	"fmt"
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

type visitKey struct{}

// Visit is what a transport of one process and a Handler tell each other about a message.
type Visit struct {
	// Ahead says that the message may be claimed before there is a slot for it, because runs have been so short that there soon will be; it then need not wait for its claim.
	// One that has waited for a slot for AheadPatience goes back.
	Ahead bool
	// Begun says that its run was claimed, Took how long that waited for a slot afterwards and had it. The Handler sets them before it returns.
	Begun bool
	Took  time.Duration
}

// WithVisit is for transports: it gives a Handler the context of a message.
func WithVisit(ctx context.Context, v *Visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

func visitOf(ctx context.Context) *Visit {
	if v, ok := ctx.Value(visitKey{}).(*Visit); ok {
		return v
	}
	return &Visit{}
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
