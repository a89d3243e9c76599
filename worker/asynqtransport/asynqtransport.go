// Package asynqtransport carries messages to workers over Redis, with asynq: client and server side by side, so that they cannot drift.
//
// asynq is a carrier and no more. It knows a message by "run:dispatch", which makes a repeated dispatch harmless; whether a run is executed, tried again or
// recovered is decided by the store, so handlers always end well, asynq's retries, time limits and cancellation are not used, and its leases decide
// nothing. Our queue q is asynq's "pyworkflow:<namespace>:<q>".
package asynqtransport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

const (
	taskType      = "pyworkflow:run"
	formatVersion = 1

	// A dispatch in flight is nobody's to limit: the run's own time limit is ours. asynq needs a number, and takes zero for 30 minutes.
	noLimit = 10 * 365 * 24 * time.Hour
	// A message of a crashed worker comes back through asynq's retries and is dropped when it is outdated; without any it would be archived.
	asynqRetries = 25

	defaultCheckInterval = 20 * time.Millisecond
	forwardEvery         = time.Second // messages that a stopping worker did not take
	inFlight             = 16          // calls of one Dispatch or Look at a time
	// asynq would put messages back whose handlers it no longer waits for, while these still execute. The worker ends them when it has drained.
	shutdownTimeout = 24 * time.Hour
)

// Config holds a Transport's parts. Client is required and stays the caller's to close.
type Config struct {
	Client    redis.UniversalClient
	Namespace string // keeps deployments apart; empty: default
	// CheckInterval is how often an idle worker looks for messages, on average; zero: 20 ms, which costs Redis some fifty small calls a second and worker.
	CheckInterval time.Duration
	Log           *slog.Logger // asynq's own log goes there, at level debug; nil discards
}

// Transport is a worker.Transport over asynq.
type Transport struct {
	cfg       Config
	client    *asynq.Client
	inspector *asynq.Inspector
}

// New makes a Transport. It does not connect: that is left to the first use.
func New(cfg Config) (*Transport, error) {
	if cfg.Client == nil {
		return nil, errors.New("asynq transport: Config.Client is nil")
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	if cfg.CheckInterval <= 0 {
		cfg.CheckInterval = defaultCheckInterval
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Transport{cfg: cfg, client: asynq.NewClientFromRedisClient(cfg.Client), inspector: asynq.NewInspectorFromRedisClient(cfg.Client)}, nil
}

// payload is what travels. The record of the run is authoritative; the queue is for the eyes of people.
type payload struct {
	Version int `json:"v"`
	store.Message
}

func (t *Transport) queue(q string) string { return "pyworkflow:" + t.cfg.Namespace + ":" + q }

func taskID(m store.Message) string { return fmt.Sprintf("%s:%d", m.RunID, m.Dispatch) }

// Dispatch enqueues messages, several at a time. One that asynq has already counts as handed over.
func (t *Transport) Dispatch(ctx context.Context, msgs []store.Message) ([]store.Message, error) {
	errs := each(msgs, func(_ int, m store.Message) error { return t.enqueue(ctx, m) })
	sent := make([]store.Message, 0, len(msgs))
	var failed error
	for i, m := range msgs {
		if errs[i] == nil {
			sent = append(sent, m)
		} else if failed == nil {
			failed = fmt.Errorf("enqueue run %s: %w", m.RunID, errs[i])
		}
	}
	return sent, failed
}

// each calls f for all messages, several at a time, and returns its errors in their order.
func each(msgs []store.Message, f func(i int, m store.Message) error) []error {
	errs := make([]error, len(msgs))
	slots := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	for i, m := range msgs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i, m)
		})
	}
	wg.Wait()
	return errs
}

func (t *Transport) enqueue(ctx context.Context, m store.Message) error {
	raw, err := json.Marshal(payload{Version: formatVersion, Message: m})
	if err != nil {
		return err
	}
	_, err = t.client.EnqueueContext(ctx, asynq.NewTask(taskType, raw), asynq.TaskID(taskID(m)), asynq.Queue(t.queue(m.Queue)),
		asynq.MaxRetry(asynqRetries), asynq.Timeout(noLimit))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	return err
}

// Look says what asynq knows of messages. An archived one is gone: nobody would take it out of the archive.
func (t *Transport) Look(ctx context.Context, msgs ...store.Message) ([]store.MessageState, error) {
	states := make([]store.MessageState, len(msgs))
	for i, err := range each(msgs, func(i int, m store.Message) (err error) {
		states[i], err = t.look(ctx, m)
		return err
	}) {
		if err != nil {
			return nil, fmt.Errorf("look for run %s: %w", msgs[i].RunID, err)
		}
	}
	return states, nil
}

func (t *Transport) look(ctx context.Context, m store.Message) (store.MessageState, error) {
	info, err := t.inspector.GetTaskInfo(t.queue(m.Queue), taskID(m))
	switch {
	case errors.Is(err, asynq.ErrQueueNotFound), errors.Is(err, asynq.ErrTaskNotFound):
		return store.MessageGone, nil
	case err != nil:
		return store.MessageGone, err
	}
	switch info.State {
	case asynq.TaskStateActive:
		return store.MessageActive, nil
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		return store.MessageGone, nil
	case asynq.TaskStatePending:
		// A task that says it is pending while nothing is has just been received, or asynq's list was lost and nobody ever will: two looks tell.
		n, err := t.cfg.Client.LLen(ctx, "asynq:{"+t.queue(m.Queue)+"}:pending").Result()
		if err == nil && n == 0 {
			return store.MessageActive, nil
		}
		return store.MessageQueued, err
	default:
		return store.MessageQueued, nil
	}
}

// Serve runs an asynq server for the queues until ctx ends, then waits for the handlers under way, which ought to end soon. Outages of Redis are waited out.
func (t *Transport) Serve(ctx context.Context, queues map[string]int, concurrency int, handle worker.Handler) error {
	if len(queues) == 0 {
		return errors.New("asynq transport: no queues are named; asynq must know them at the start")
	}
	if concurrency < 1 {
		return errors.New("asynq transport: concurrency is below 1")
	}
	weights := make(map[string]int, len(queues))
	for q, weight := range queues {
		weights[t.queue(q)] = weight
	}
	server := asynq.NewServerFromRedisClient(t.cfg.Client, asynq.Config{
		Concurrency:              concurrency,
		Queues:                   weights,
		TaskCheckInterval:        t.cfg.CheckInterval,
		DelayedTaskCheckInterval: forwardEvery,
		ShutdownTimeout:          shutdownTimeout,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return 0 },
		IsFailure:                func(err error) bool { return !errors.Is(err, worker.ErrNotTaken) },
		Logger:                   asynqLog{t.cfg.Log},
		LogLevel:                 asynq.InfoLevel,
	})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error { // their context says nothing we need
		return t.receive(ctx, task, handle)
	}))
	if err != nil {
		return fmt.Errorf("start asynq server: %w", err)
	}
	<-ctx.Done()
	server.Shutdown() // takes no more, and waits for the handlers
	return nil
}

// receive hands one message on. What cannot be read is dropped: the run's keeper sends it anew.
func (t *Transport) receive(ctx context.Context, task *asynq.Task, handle worker.Handler) error {
	var p payload
	if err := json.Unmarshal(task.Payload(), &p); err != nil || p.RunID == "" || task.Type() != taskType {
		t.cfg.Log.Warn("message cannot be read and is dropped", "type", task.Type(), "error", err)
		return nil
	}
	if p.Version > formatVersion {
		t.cfg.Log.Warn("message was written by a newer version of the program; only its run is read", "run_id", p.RunID, "version", p.Version)
	}
	err := handle(ctx, p.Message)
	if err != nil && !errors.Is(err, worker.ErrNotTaken) {
		t.cfg.Log.Warn("message was not dealt with", "run_id", p.RunID, "error", err)
		return nil
	}
	return err
}

// asynqLog turns asynq's log into debug lines of ours: what matters to people is said by the worker.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) line(level string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("asynq: "+fmt.Sprint(args...), "asynq_level", level)
	}
}

func (l asynqLog) Debug(args ...any) { l.line("debug", args) }
func (l asynqLog) Info(args ...any)  { l.line("info", args) }
func (l asynqLog) Warn(args ...any)  { l.line("warn", args) }
func (l asynqLog) Error(args ...any) { l.line("error", args) }
func (l asynqLog) Fatal(args ...any) { l.line("fatal", args) } // does not end the process, as asynq's own would
