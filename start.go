package pyworkflow

import (
	"context"
	"encoding/json"
	"fmt"
)

// Starter starts runs and waits for their end. The client of package client is one.
type Starter interface {
	// StartRun creates a run and returns its id. With an idempotency key, a second call for the same workflow and key returns the first one's run.
	StartRun(ctx context.Context, workflow string, input json.RawMessage, opts StartOptions) (runID string, err error)
	// AwaitRun waits until the run has ended and returns its result; a *RunError when it failed or was cancelled.
	AwaitRun(ctx context.Context, runID string) (json.RawMessage, error)
}

// StartOptions are what a caller may say about a run it starts. The zero value says nothing.
type StartOptions struct {
	Queue          string // empty: the workflow's own
	IdempotencyKey string // empty: every call starts a run
}

// StartOption sets one of StartOptions.
type StartOption interface {
	applyStart(o *StartOptions)
}

type startOption func(*StartOptions)

func (f startOption) applyStart(o *StartOptions) { f(o) }

// IdempotencyKey makes repeated starts of the same workflow with the same key one run.
func IdempotencyKey(key string) StartOption {
	return startOption(func(o *StartOptions) { o.IdempotencyKey = key })
}

// Start starts a run of the workflow and returns at once; a worker executes it.
func (w *Workflow[In, Out]) Start(ctx context.Context, s Starter, in In, opts ...StartOption) (Handle[Out], error) {
	input, err := json.Marshal(in)
	if err != nil {
		return Handle[Out]{}, fmt.Errorf("start workflow %s: encode input: %w", w.def.name, err)
	}
	var o StartOptions
	for _, opt := range opts {
		opt.applyStart(&o)
	}
	id, err := s.StartRun(ctx, w.def.name, input, o)
	if err != nil {
		return Handle[Out]{}, fmt.Errorf("start workflow %s: %w", w.def.name, err)
	}
	return Handle[Out]{id: id, starter: s}, nil
}

// Run starts a run and waits for its result: Start and Wait in one.
func (w *Workflow[In, Out]) Run(ctx context.Context, s Starter, in In, opts ...StartOption) (Out, error) {
	h, err := w.Start(ctx, s, in, opts...)
	if err != nil {
		var zero Out
		return zero, err
	}
	return h.Wait(ctx)
}

// Handle gives a handle on a run of this workflow whose id is known, such as a trigger's.
func (w *Workflow[In, Out]) Handle(s Starter, runID string) Handle[Out] {
	return Handle[Out]{id: runID, starter: s}
}

// Handle is a run that was started, with the type of its result. It is a small value, safe for concurrent use.
type Handle[Out any] struct {
	id      string
	starter Starter
}

// ID is the run's id.
func (h Handle[Out]) ID() string { return h.id }

// Wait waits until the run has ended and returns its result. The error is a *RunError when the run failed or was cancelled; anything else says that it
// is not known how the run ended: ctx ended first, or the store could not be reached.
func (h Handle[Out]) Wait(ctx context.Context) (Out, error) {
	var out Out
	raw, err := h.starter.AwaitRun(ctx, h.id)
	if err != nil || len(raw) == 0 {
		return out, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("decode result of run %s: %w", h.id, err)
	}
	return out, nil
}
