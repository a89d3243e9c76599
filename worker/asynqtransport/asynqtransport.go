// Package asynqtransport carries messages to workers over Redis, with asynq: client and server side by side, so that they cannot drift.
//
// asynq is a carrier and no more. It knows a message by "run:dispatch", which makes a repeated dispatch harmless; whether a run is executed, tried again or
// recovered is decided by the store, so handlers always end well, asynq's retries, time limits and cancellation are not used, and its leases decide
// nothing. Our queue q is asynq's "pyworkflow:<namespace>:<q>".
package asynqtransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/engine"
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

	defaultCheckInterval = 200 * time.Millisecond
	forwardEvery         = time.Second     // messages that a stopping worker did not take
	tooNewDelay          = 5 * time.Second // until a message whose run this worker cannot read is offered again: a newer worker may get it then
	inFlight             = 256             // calls of one Dispatch or Look at a time, most of which share round trips
	// asynq would put messages back whose handlers it no longer waits for, while these still execute. The worker ends them when it has drained.
	shutdownTimeout = 24 * time.Hour
)

// Config holds a Transport's parts. Client is required and stays the caller's to close.
type Config struct {
	Client    redis.UniversalClient
	Namespace string // keeps deployments apart; empty: default
	// CheckInterval is how often an idle worker looks for messages that no sender told it of; zero: 200 ms. Senders tell of every message, but that may be lost.
	CheckInterval time.Duration
	// LeaseGrace is how long asynq's lease of a task must have run out before Tidy may remove what is left of it. Zero: 30 s, as long as asynq itself waits. Not so
	// short that workers' clocks could differ by it, or a moment's outage last as long.
	LeaseGrace time.Duration
	// SettleTime is how long after a message was dealt with it is checked that asynq has forgotten it. Zero: 10 s.
	SettleTime time.Duration
	// Headers, when given, are put on the task of a message, for other tooling's eyes: a W3C traceparent, say. They decide nothing.
	Headers func(m store.Message) map[string]string
	Log     *slog.Logger // asynq's own log goes there, at level debug; nil discards
}

// Transport is a worker.Transport over asynq.
type Transport struct {
	cfg       Config
	link      *link
	client    *asynq.Client
	inspector *asynq.Inspector

	tidying sync.Mutex
	places  map[string]place // by asynq's name of a queue

	sweeping sync.Mutex
	cursors  map[string]uint64 // of the round through a server's keys, by its address
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
	if cfg.LeaseGrace <= 0 {
		cfg.LeaseGrace = defaultLeaseGrace
	}
	if cfg.SettleTime <= 0 {
		cfg.SettleTime = defaultSettleTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := newLink(cfg.Client, "pyworkflow:{"+cfg.Namespace+"}:sent")
	return &Transport{cfg: cfg, link: l, client: asynq.NewClientFromRedisClient(l), inspector: asynq.NewInspectorFromRedisClient(cfg.Client),
		cursors: make(map[string]uint64)}, nil
}

func (t *Transport) queue(q string) string { return "pyworkflow:" + t.cfg.Namespace + ":" + q }

// Dispatch enqueues messages, those of one queue in batches where there are some. What asynq has already counts as handed over.
func (t *Transport) Dispatch(ctx context.Context, msgs []store.Message) ([]store.Message, error) {
	parcels := pack(msgs)
	errs := each(parcels, func(_ int, p parcel) error { return t.enqueue(ctx, p.msgs) })
	failed := make([]error, len(msgs))
	var first error
	for n, p := range parcels {
		for _, i := range p.which {
			failed[i] = errs[n]
		}
	}
	sent := make([]store.Message, 0, len(msgs))
	for i, m := range msgs {
		if failed[i] == nil {
			sent = append(sent, m)
		} else if first == nil {
			first = fmt.Errorf("enqueue run %s: %w", m.RunID, failed[i])
		}
	}
	return sent, first
}

// each calls f for all of a list, several at a time, and returns its errors in their order.
func each[T any](list []T, f func(i int, v T) error) []error {
	errs := make([]error, len(list))
	slots := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	for i, v := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i, v)
		})
	}
	wg.Wait()
	return errs
}

// enqueue hands asynq one task for messages of one queue.
func (t *Transport) enqueue(ctx context.Context, msgs []store.Message, opts ...asynq.Option) error {
	encode, id := encodeBatch, ""
	if len(msgs) == 1 {
		encode, id = func(msgs []store.Message) ([]byte, error) { return encodeMessage(msgs[0]) }, taskID(msgs[0])
	} else {
		id = batchID(msgs)
	}
	raw, err := encode(msgs)
	if err != nil {
		return err
	}
	task := asynq.NewTask(taskType, raw)
	if t.cfg.Headers != nil {
		headers := make(map[string]string)
		if len(msgs) == 1 {
			maps.Copy(headers, t.cfg.Headers(msgs[0]))
		}
		headers[sentHeader] = strconv.FormatInt(time.Now().UnixMilli(), 10)
		task = asynq.NewTaskWithHeaders(taskType, raw, headers)
	}
	_, err = t.client.EnqueueContext(ctx, task, append(opts, asynq.TaskID(id), asynq.Queue(t.queue(msgs[0].Queue)),
		asynq.MaxRetry(asynqRetries), asynq.Timeout(noLimit))...)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	return err
}

// Look says what asynq knows of messages. An archived one is gone: nobody would take it out of the archive. While the oldest task of a queue has waited for longer than
// after which runs are looked for, its messages count as waiting, unseen: workers have more to do than they can, and to look for each would leave them less.
func (t *Transport) Look(ctx context.Context, msgs ...store.Message) ([]store.MessageState, error) {
	states := make([]store.MessageState, len(msgs))
	unknown := make([]bool, len(msgs))
	behind := make(map[string]bool) // queues whose oldest task has waited for long
	for _, m := range msgs {
		if _, asked := behind[m.Queue]; asked {
			continue
		}
		long, err := t.waitsLong(ctx, t.queue(m.Queue))
		if err != nil {
			return nil, fmt.Errorf("look for run %s: %w", m.RunID, err)
		}
		behind[m.Queue] = long
	}
	for i, err := range each(msgs, func(i int, m store.Message) (err error) {
		if behind[m.Queue] {
			states[i] = store.MessageQueued
			return nil
		}
		states[i], err = t.look(ctx, m)
		if unknown[i] = errors.Is(err, asynq.ErrTaskNotFound); unknown[i] {
			err = nil
		}
		return err
	}) {
		if err != nil {
			return nil, fmt.Errorf("look for run %s: %w", msgs[i].RunID, err)
		}
	}
	absent := make(map[string][]int)
	for i, m := range msgs {
		if unknown[i] {
			absent[m.Queue] = append(absent[m.Queue], i)
		}
	}
	for q, which := range absent { // by themselves
		asked := make([]store.Message, len(which))
		for n, i := range which {
			asked[n] = msgs[i]
		}
		found, err := t.inBatches(ctx, t.queue(q), asked)
		if err != nil {
			return nil, fmt.Errorf("look for run %s among batches: %w", asked[0].RunID, err)
		}
		for _, i := range which {
			states[i] = found[taskID(msgs[i])]
		}
	}
	return states, nil
}

func (t *Transport) look(ctx context.Context, m store.Message) (store.MessageState, error) {
	queue, id := t.queue(m.Queue), taskID(m)
	info, err := t.inspector.GetTaskInfo(queue, id)
	if errors.Is(err, asynq.ErrQueueNotFound) { // asynq lists a queue once in a process's life; a list that was lost since is not its tasks' end
		if err := t.cfg.Client.SAdd(ctx, allQueues, queue).Err(); err != nil {
			return store.MessageGone, err
		}
		info, err = t.inspector.GetTaskInfo(queue, id)
	}
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound): // there is no task of its own
		return store.MessageGone, asynq.ErrTaskNotFound
	case err != nil && unreadable(err):
		return store.MessageGone, t.discard(ctx, m)
	case err != nil:
		return store.MessageGone, err
	}
	listed := true
	switch info.State {
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		return store.MessageGone, nil
	case asynq.TaskStateActive:
		return store.MessageActive, nil
	case asynq.TaskStatePending:
		listed, err = t.waits(ctx, queue, id)
	case asynq.TaskStateRetry:
		err = t.cfg.Client.ZScore(ctx, keysOf(queue).prefix+"retry", id).Err()
	case asynq.TaskStateScheduled:
		err = t.cfg.Client.ZScore(ctx, keysOf(queue).prefix+"scheduled", id).Err()
	}
	if errors.Is(err, redis.Nil) {
		listed, err = false, nil
	}
	if err == nil && !listed { // it has just been received, or asynq's list was lost and nobody ever will: two looks tell
		return store.MessageActive, nil
	}
	return store.MessageQueued, err
}

// waits reports whether a task stands in the list of those that wait, or might: a long list is not looked through to its end.
func (t *Transport) waits(ctx context.Context, queue, id string) (bool, error) {
	list := keysOf(queue).pending()
	err := t.cfg.Client.LPos(ctx, list, id, redis.LPosArgs{Rank: -1, MaxLen: searched}).Err()
	if !errors.Is(err, redis.Nil) {
		return true, err
	}
	n, err := t.cfg.Client.LLen(ctx, list).Result()
	return n > searched, err
}

// discard removes a task that asynq itself cannot read: no worker would ever get it, and it keeps asynq from putting back what other workers left behind.
func (t *Transport) discard(ctx context.Context, m store.Message) error {
	t.cfg.Log.Warn("asynq cannot read its own task; it is removed and the run sent anew", engine.MessageAttrs(m)...)
	if err := t.Drop(ctx, m); err != nil {
		return fmt.Errorf("remove task %s: %w", taskID(m), err)
	}
	return nil
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
	settle := &settler{transport: t}
	pull := &puller{link: t.link, ctx: ctx, queues: len(queues), concurrency: concurrency, every: t.cfg.CheckInterval, woken: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
	server := asynq.NewServerFromRedisClient(pull, asynq.Config{
		Concurrency:              concurrency,
		Queues:                   weights,
		TaskCheckInterval:        asynqPause,
		DelayedTaskCheckInterval: forwardEvery,
		ShutdownTimeout:          shutdownTimeout,
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			if errors.Is(err, worker.ErrTooNew) {
				return tooNewDelay
			}
			return 0
		},
		IsFailure: func(err error) bool { return !errors.Is(err, worker.ErrNotTaken) },
		Logger:    asynqLog{t.cfg.Log},
		LogLevel:  asynq.InfoLevel,
	})
	err := server.Start(asynq.HandlerFunc(func(theirs context.Context, task *asynq.Task) error { // of their context we need the names only
		id, _ := asynq.GetTaskID(theirs)
		queue, _ := asynq.GetQueueName(theirs)
		pull.began()
		defer pull.ended()
		defer settle.add(queue, id)
		return t.receive(ctx, id, task, handle, pull)
	}))
	if err != nil {
		return fmt.Errorf("start asynq server: %w", err)
	}
	var told sync.WaitGroup
	told.Go(func() { pull.listen(ctx) })
	settle.run(ctx)
	server.Shutdown() // takes no more, and waits for the handlers
	pull.putBack()
	settle.last()
	told.Wait()
	return nil
}

// receive hands one message on. What names no run is dropped: nobody waits for it.
func (t *Transport) receive(ctx context.Context, id string, task *asynq.Task, handle worker.Handler, pull *puller) error {
	if at, ok := sentAt(task.Headers()); ok {
		ctx = worker.WithSent(ctx, at)
	}
	if strings.HasPrefix(id, batchPrefix) {
		msgs, err := readBatch(task.Type(), task.Payload())
		if err != nil {
			t.cfg.Log.Warn("a batch of messages cannot be read and is dropped; keepers send its runs anew", "error", fmt.Errorf("task %q: %w", clip(id), err))
			return nil
		}
		t.unpack(ctx, msgs, handle, pull)
		return nil
	}
	pull.unpacked(1)
	m, problem, err := readMessage(id, task.Type(), task.Payload())
	if err != nil {
		t.cfg.Log.Warn("message cannot be read and is dropped", "error", err)
		return nil
	}
	if problem != "" {
		t.cfg.Log.Warn("payload of a message is not ours; its task's id says which run it is for", append(engine.MessageAttrs(m), "problem", problem)...)
	}
	soon, cancel := context.WithTimeout(ctx, onePatience)
	defer cancel()
	soon, ended := pull.row.Visit(soon)
	defer ended()
	err = handle(soon, m)
	if err != nil && !errors.Is(err, worker.ErrNotTaken) {
		t.cfg.Log.Warn("message was not dealt with", append(engine.MessageAttrs(m), "error", err)...)
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
