package engine

import (
	"context"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Witness is an Observer that is told more than decisions and transitions, for metrics and traces: an observer that implements it is. Methods must not block.
type Witness interface {
	Observer
	// Created is told of runs that a commit of this process created. ctx is that of the call which led to it.
	Created(ctx context.Context, runs []schedules.Run)
	// Moved is told of a committed transition together with the run as it was before, right before RunChanged.
	Moved(before schedules.Run, c schedules.RunChange)
	// Dispatched is told of messages that the transport was asked to take, and which of them it took. written is when this process committed them, zero for
	// messages that others left in the outbox; began is when the transport was asked. Both are by this process's own clock.
	Dispatched(msgs, sent []store.Message, written, began time.Time)
}

// witnesses are the observers that want to be told more.
func witnesses(of []Observer) []Witness {
	var out []Witness
	for _, o := range of {
		if w, ok := o.(Witness); ok {
			out = append(out, w)
		}
	}
	return out
}

func (e *Engine) created(ctx context.Context, runs []schedules.Run) {
	if len(runs) == 0 {
		return
	}
	for _, w := range e.witnesses {
		w.Created(ctx, runs)
	}
}

// unsent names the first run whose message was not handed over.
func unsent(msgs, sent []store.Message) string {
	for _, m := range msgs {
		if !slices.Contains(sent, m) {
			return m.RunID
		}
	}
	return ""
}
