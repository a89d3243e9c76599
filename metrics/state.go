package metrics

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	stateEvery   = 5 * time.Second  // readings are no closer to each other
	stateOld     = 60 * time.Second // an older reading is not shown any more
	statePatient = time.Second      // how long a scrape waits for a reading
	stateTimeout = 4 * time.Second  // how long a reading may take

	// OutboxStuck is how old a message in the outbox must be to count as stuck: keepers send it after a second.
	OutboxStuck = 30 * time.Second
	// outboxMost and overdueMost bound what is read of one shard.
	outboxMost  = 1000
	overdueMost = 100
)

// State is what is the same for all processes.
type State struct {
	Schedules   map[string]int64 // by status
	ActiveRuns  int64            // runs that have not ended
	Workers     int              // live processes that execute runs
	Beats       int              // live processes that decide ticks
	Running     int              // runs in the hands of live workers, as they announce them
	Capacity    int              // runs that live workers execute at a time
	Outbox      int              // messages to be handed to the transport, at most 1,000 of a shard
	OutboxStuck int              // those of them that are older than OutboxStuck
	Overdue     int              // schedules that are due for longer than the bound, at most 100 of a shard
	MostOverdue time.Duration    // by how much the one that is due for the longest time is
	Queues      []store.QueueState
	Workflows   []store.Workflow // announced
}

// StateReader reads the State.
type StateReader func(ctx context.Context) (State, error)

// StateStore is what ReadState needs of a store.
type StateStore interface {
	Now(ctx context.Context) (time.Time, error)
	Shards() int
	Counts(ctx context.Context, since time.Time) (store.Counts, error)
	Processes(ctx context.Context) ([]store.Process, error)
	Workflows(ctx context.Context) ([]store.Workflow, error)
	Unsent(ctx context.Context, shard int, until time.Time, limit int) ([]store.Message, error)
	DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error)
}

// Queues lists the transport's queues.
type Queues interface {
	Queues(ctx context.Context) ([]store.QueueState, error)
}

// ReadState makes a StateReader of a store and a transport; the transport may be nil. A schedule counts as overdue when it is due for longer than the bound. One reading
// takes some forty calls that are bounded each.
func ReadState(st StateStore, queues Queues, overdueAfter time.Duration) StateReader {
	return func(ctx context.Context) (State, error) {
		var s State
		now, err := st.Now(ctx)
		if err != nil {
			return s, err
		}
		counts, err := st.Counts(ctx, now)
		if err != nil {
			return s, err
		}
		s.ActiveRuns, s.Schedules = counts.Active, make(map[string]int64, len(counts.Schedules))
		for status, n := range counts.Schedules {
			s.Schedules[string(status)] = n
		}
		procs, err := st.Processes(ctx)
		if err != nil {
			return s, err
		}
		for _, p := range procs {
			if p.Worker {
				s.Workers++
				s.Running += len(p.Running)
				s.Capacity += p.Capacity
			}
			if p.Beat {
				s.Beats++
			}
		}
		if s.Workflows, err = st.Workflows(ctx); err != nil {
			return s, err
		}
		for shard := range st.Shards() {
			if err := s.readShard(ctx, st, shard, now, overdueAfter); err != nil {
				return s, err
			}
		}
		if queues != nil {
			s.Queues, err = queues.Queues(ctx)
		}
		return s, err
	}
}

func (s *State) readShard(ctx context.Context, st StateStore, shard int, now time.Time, overdueAfter time.Duration) error {
	unsent, err := st.Unsent(ctx, shard, now, outboxMost)
	if err != nil {
		return err
	}
	if s.Outbox += len(unsent); len(unsent) > 0 {
		stuck, err := st.Unsent(ctx, shard, now.Add(-OutboxStuck), outboxMost)
		if err != nil {
			return err
		}
		s.OutboxStuck += len(stuck)
	}
	due, err := st.DueTicks(ctx, shard, now.Add(-overdueAfter), overdueMost)
	if err != nil || len(due) == 0 {
		return err
	}
	s.Overdue += len(due)
	s.MostOverdue = max(s.MostOverdue, now.Sub(due[0].Due))
	return nil
}

var (
	stateUp        = describe("state_up", "1 when what is read from the store (the metrics below that are the same for every process) could be read; they are absent when it is long ago.")
	stateSchedules = describe("schedules", "Schedules by status.", "status")
	stateActive    = describe("runs_active", "Runs that have not ended: on their way, running, or waiting for a retry.")
	stateProcesses = describe("processes", "Live processes by role; one that does both counts in both.", "role")
	stateRunning   = describe("runs_running", "Runs in the hands of live workers, at most 100 of each.")
	stateCapacity  = describe("capacity_runs", "Runs that all live workers execute at a time at most.")
	stateOutbox    = describe("outbox_messages", "Messages that are to be handed to the transport, at most 1,000 of a shard.")
	stateStuck     = describe("outbox_stuck_messages", "Messages that have been in the outbox for more than 30 s.")
	stateOverdue   = describe("overdue_schedules", "Schedules overdue by more than the bound (--overdue-after), at most 100 of a shard.")
	stateMost      = describe("overdue_seconds", "By how much the schedule that is overdue for the longest time is; 0: none is.")
	queueMessages  = describe("queue_messages", "Messages of a queue by state: waiting for a worker, active, scheduled, retry, archived.", "queue", "state")
	queueOldest    = describe("queue_oldest_seconds", "How long the oldest waiting message of a queue has waited; 0: none waits.", "queue")
	queuePaused    = describe("queue_paused", "1 while the queue is paused.", "queue")
)

// stateCollector reads the state at most every stateEvery, beside the scrape: one that takes too long is shown by a later scrape, and an old reading meanwhile.
type stateCollector struct {
	read   StateReader
	log    *slog.Logger
	queues *bounded
	know   func(workflow, queue string)
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	reading chan struct{} // closed when the reading under way ends; nil: none is
	began   time.Time     // of the last reading
	at      time.Time     // of the last good one
	state   State
	up      bool
	told    bool // that a reading failed
}

func newStateCollector(read StateReader, log *slog.Logger, queues *bounded, know func(workflow, queue string)) *stateCollector {
	ctx, cancel := context.WithCancel(context.Background())
	return &stateCollector{read: read, log: log, queues: queues, know: know, ctx: ctx, cancel: cancel}
}

func (c *stateCollector) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
}

// begin starts a reading unless one is under way or the last is recent; it gives what to wait for, nil: nothing.
func (c *stateCollector) begin() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading != nil || c.closed || !c.began.IsZero() && time.Since(c.began) < stateEvery {
		return c.reading
	}
	done := make(chan struct{})
	c.reading, c.began = done, time.Now()
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, stateTimeout)
		defer cancel()
		s, err := c.read(ctx)
		for _, w := range s.Workflows {
			c.know(w.Name, w.Options.Queue)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.state, c.at = s, time.Now()
		} else if c.up || !c.told {
			c.told = true
			c.log.Warn("metrics of what all processes share cannot be read", "error", err)
		}
		c.up = err == nil
		c.reading = nil
		close(done)
	})
	return done
}

// Describe lists the metrics.
func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stateUp, stateSchedules, stateActive, stateProcesses, stateRunning, stateCapacity, stateOutbox, stateStuck, stateOverdue, stateMost,
		queueMessages, queueOldest, queuePaused} {
		to <- d
	}
}

// Collect shows the last reading.
func (c *stateCollector) Collect(to chan<- prometheus.Metric) {
	if done := c.begin(); done != nil {
		timer := time.NewTimer(statePatient)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	c.mu.Lock()
	s, at, up, late := c.state, c.at, c.up, c.reading != nil && time.Since(c.began) >= statePatient
	c.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(stateUp, one(up && !late))
	if at.IsZero() || time.Since(at) > stateOld {
		return
	}
	for status, n := range s.Schedules {
		gauge(stateSchedules, float64(n), status)
	}
	gauge(stateActive, float64(s.ActiveRuns))
	gauge(stateProcesses, float64(s.Workers), "worker")
	gauge(stateProcesses, float64(s.Beats), "beat")
	gauge(stateRunning, float64(s.Running))
	gauge(stateCapacity, float64(s.Capacity))
	gauge(stateOutbox, float64(s.Outbox))
	gauge(stateStuck, float64(s.OutboxStuck))
	gauge(stateOverdue, float64(s.Overdue))
	gauge(stateMost, s.MostOverdue.Seconds())
	for _, q := range c.together(s.Queues) {
		gauge(queueMessages, float64(q.Waiting), q.Queue, "waiting")
		gauge(queueMessages, float64(q.Active), q.Queue, "active")
		gauge(queueMessages, float64(q.Scheduled), q.Queue, "scheduled")
		gauge(queueMessages, float64(q.Retry), q.Queue, "retry")
		gauge(queueMessages, float64(q.Archived), q.Queue, "archived")
		gauge(queueOldest, q.Oldest.Seconds(), q.Queue)
		gauge(queuePaused, one(q.Paused), q.Queue)
	}
}

// together adds up the queues that are beyond the bound.
func (c *stateCollector) together(queues []store.QueueState) []store.QueueState {
	var out []store.QueueState
	at := make(map[string]int, len(queues))
	for _, q := range queues {
		q.Queue = c.queues.label(q.Queue)
		i, known := at[q.Queue]
		if !known {
			at[q.Queue] = len(out)
			out = append(out, q)
			continue
		}
		sum := &out[i]
		sum.Waiting, sum.Active, sum.Scheduled, sum.Retry, sum.Archived = sum.Waiting+q.Waiting, sum.Active+q.Active, sum.Scheduled+q.Scheduled, sum.Retry+q.Retry, sum.Archived+q.Archived
		sum.Oldest, sum.Paused = max(sum.Oldest, q.Oldest), sum.Paused || q.Paused
	}
	return out
}
