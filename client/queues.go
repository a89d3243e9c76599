package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// ErrNoQueues: runs execute in the process that schedules them, so there are no queues to look at or to pause.
var ErrNoQueues = errors.New("there are no queues here: in the local runtime runs execute where they are scheduled; pause their schedules instead")

// QueueKeeper is what a Client asks of the transport between processes about its queues.
type QueueKeeper interface {
	// Queues lists the queues it knows, by name.
	Queues(ctx context.Context) ([]store.QueueState, error)
	// PauseQueue tells workers to take nothing more from a queue; what they have goes on. It lasts until ResumeQueue.
	PauseQueue(ctx context.Context, name string) error
	// ResumeQueue ends the pause. Of a queue that is not paused it changes nothing.
	ResumeQueue(ctx context.Context, name string) error
}

// Queue is a queue that anything was ever sent to, or that a live worker serves.
type Queue struct {
	Name      string   `json:"name"`
	Waiting   int      `json:"waiting"`   // runs that no worker has taken
	Active    int      `json:"active"`    // runs that workers have received
	Scheduled int      `json:"scheduled"` // messages to be offered later
	Retry     int      `json:"retry"`     // messages that a worker gave back, to be offered again
	Archived  int      `json:"archived"`  // messages put aside for good; their runs are sent anew
	Oldest    Duration `json:"oldest"`    // how long the oldest waiting one has waited; none: none waits
	Paused    bool     `json:"paused"`    // workers are told to take nothing
	Workers   int      `json:"workers"`   // live processes that serve it
}

// Queues lists the queues between processes, by name: those that anything was ever sent to and those that a live worker serves. There are none in the local runtime.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	if c.queues == nil {
		return []Queue{}, nil
	}
	procs, err := c.store.Processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("read live processes: %w", err)
	}
	return c.queuesOf(ctx, procs)
}

// queuesOf is Queues with the live processes at hand.
func (c *Client) queuesOf(ctx context.Context, procs []store.Process) ([]Queue, error) {
	out := []Queue{}
	if c.queues == nil {
		return out, nil
	}
	states, err := c.queues.Queues(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		out = append(out, Queue{Name: s.Queue, Waiting: s.Waiting, Active: s.Active, Scheduled: s.Scheduled, Retry: s.Retry, Archived: s.Archived,
			Oldest: Duration{schedules.Duration(s.Oldest)}, Paused: s.Paused})
	}
	for _, p := range procs {
		if !p.Worker {
			continue
		}
		for _, name := range p.Queues {
			i := slices.IndexFunc(out, func(q Queue) bool { return q.Name == name })
			if i < 0 {
				i = len(out)
				out = append(out, Queue{Name: name})
			}
			out[i].Workers++
		}
	}
	slices.SortFunc(out, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// PauseQueue tells all workers to take nothing more from a queue; what they have goes on. It lasts until ResumeQueue, over restarts too. Errors: *NotFoundError,
// ErrNoQueues.
func (c *Client) PauseQueue(ctx context.Context, name string) error {
	if err := c.checkQueue(ctx, name); err != nil {
		return err
	}
	return c.queues.PauseQueue(ctx, name)
}

// ResumeQueue lets workers take from a queue again. Errors as of PauseQueue.
func (c *Client) ResumeQueue(ctx context.Context, name string) error {
	if err := c.checkQueue(ctx, name); err != nil {
		return err
	}
	return c.queues.ResumeQueue(ctx, name)
}

func (c *Client) checkQueue(ctx context.Context, name string) error {
	if c.queues == nil {
		return ErrNoQueues
	}
	if err := schedules.ValidateQueue(name); err != nil {
		return err
	}
	all, err := c.Queues(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(q Queue) bool { return q.Name == name }) {
		return &NotFoundError{Kind: "queue", ID: name, Where: c.store.Describe()}
	}
	return nil
}
