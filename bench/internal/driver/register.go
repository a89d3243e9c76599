package driver

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/redisd"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/role"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

const namespace = "bench"

// creators is how many pages of schedules are created at a time.
const (
	creators   = 4
	createPage = 1024
)

// sampled is how many schedules are created, and thrown away, to learn how long it takes.
const sampled = 300

// openClient opens what schedules are created in: the Redis of that URL, or, for the local runtime, the folder.
func (w *world) openClient(ctx context.Context, url, dir, namespace string) (*client.Client, func(), error) {
	if w.load.Local {
		st, err := sqlitestore.Open(ctx, sqlitestore.Config{Dir: dir, Namespace: namespace})
		if err != nil {
			return nil, nil, fmt.Errorf("open the store: %w", err)
		}
		c, err := client.New(client.Config{Store: st})
		return c, func() { _ = st.Close() }, err
	}
	rdb, err := redisstore.NewClient(fmt.Sprintf("%s?pool_size=%d", url, 4*creators))
	if err != nil {
		return nil, nil, fmt.Errorf("open the store: %w", err)
	}
	st, err := redisstore.New(rdb, redisstore.Config{Namespace: namespace})
	if err != nil {
		return nil, nil, fmt.Errorf("open the store: %w", err)
	}
	c, err := client.New(client.Config{Store: st})
	return c, func() { _, _ = st.Close(), rdb.Close() }, err
}

// createAll creates the schedules with the indexes from, from+1, … below to. It is the one place where the benchmark creates any.
func createAll(ctx context.Context, c *client.Client, from, to int, request func(int) client.CreateRequest, created *atomic.Int64) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for begin := from; begin < to; begin += createPage {
		group.Go(func() error {
			var reqs []client.CreateRequest
			for i := begin; i < min(begin+createPage, to); i++ {
				reqs = append(reqs, request(i))
			}
			for i, made := range c.CreateSchedules(ctx, reqs...) {
				if made.Err != nil {
					return fmt.Errorf("create schedule %d: %w", begin+i, made.Err)
				}
			}
			created.Add(int64(len(reqs)))
			return nil
		})
	}
	return group.Wait()
}

// request is the schedule with that index: the first ones tick as the load says from an instant on, the others once a year.
func (w *world) request(i int, first time.Time) client.CreateRequest {
	l := w.load
	var spec schedules.Spec
	switch {
	case i >= l.Schedules:
		far := first.AddDate(0, 6, 0)
		spec = schedules.Spec{Cron: fmt.Sprintf("%d %d %d %d *", i%60, i/60%24, i%28+1, far.Month())}
	case l.Burst:
		t := first.UTC()
		spec = schedules.Spec{Cron: fmt.Sprintf("%d %d %d %d %d *", t.Second(), t.Minute(), t.Hour(), t.Day(), t.Month())}
	case l.Spread:
		spec = schedules.Spec{Interval: schedules.Duration(l.Period).String(), IntervalFrom: schedules.FromStart, StartAt: first.Add(phase(l, i))}
	default:
		spec = schedules.Spec{Cron: fmt.Sprintf("*/%d * * * * *", int(l.Period.Seconds())), StartAt: first}
	}
	queue := ""
	if queues := queues(l); len(queues) > 0 {
		queue = queues[i%len(queues)]
	}
	return client.CreateRequest{ID: role.ScheduleID(i), Workflow: role.Workflow, Force: true,
		Definition: schedules.Definition{Spec: spec, Overlap: schedules.OverlapAllowAll, Catchup: schedules.Catchup(w.catchup), Queue: queue}}
}

// queues are the names of the queues over which a load's schedules are spread; none: all in the workflow's own. The six of cluster-6 lie two on each of three nodes.
func queues(l load.Load) []string {
	names := make([]string, l.Queues)
	for i := range names {
		names[i] = "queue-" + strconv.Itoa(i+1)
	}
	return names
}

// phase is when a schedule ticks within its period.
func phase(l load.Load, i int) time.Duration {
	if !l.Spread {
		return 0
	}
	return time.Duration(int64(i)*l.Period.Milliseconds()/int64(l.Schedules)) * time.Millisecond
}

// registration is what came of registering.
type registration struct {
	first time.Time // the first tick
	took  time.Duration
	count int
	bytes int64 // of Redis, for all
}

// register creates all schedules of the load, before any process that would decide them runs.
func (w *world) register(ctx context.Context, estimate time.Duration) (registration, error) {
	c, done, err := w.openClient(ctx, redisd.URL(w.redis), w.dir, namespace)
	if err != nil {
		return registration{}, err
	}
	defer done()
	if err := w.loadScripts(ctx); err != nil {
		return registration{}, err
	}
	n := w.load.Schedules
	reg := registration{count: n + w.load.Stored}
	empty, err := w.memory(ctx)
	if err != nil {
		return reg, err
	}
	w.progress.say("registering %d schedules", reg.count)
	var created atomic.Int64
	stopTelling := every(5*time.Second, func() { w.progress.say("registered %d of %d", created.Load(), reg.count) })
	defer stopTelling()
	began := time.Now()
	// First those that do not tick, so that the first tick need not wait for them.
	if err := createAll(ctx, c, n, reg.count, func(i int) client.CreateRequest { return w.request(i, began) }, &created); err != nil {
		return reg, err
	}
	reg.first = w.firstTick(time.Now().Add(estimate))
	if err := createAll(ctx, c, 0, n, func(i int) client.CreateRequest { return w.request(i, reg.first) }, &created); err != nil {
		return reg, err
	}
	reg.took = time.Since(began)
	full, err := w.memory(ctx)
	reg.bytes = full - empty
	if left := time.Until(reg.first); left < time.Second {
		w.progress.say("registering took %s longer than thought: the first ticks are late", (time.Second - left).Round(time.Millisecond))
	}
	return reg, err
}

// loadScripts has Redis, every node of a cluster, know what does not grow with the number of schedules, by creating a few in another namespace.
func (w *world) loadScripts(ctx context.Context) error {
	if len(w.redis) == 0 {
		return nil
	}
	c, done, err := w.openClient(ctx, redisd.URL(w.redis), "", namespace+"-other")
	if err != nil {
		return err
	}
	defer done()
	const few = 64 // enough for each node to have some
	n, now := w.load.Schedules, time.Now()
	return createAll(ctx, c, n, n+few, func(i int) client.CreateRequest { return w.request(i, now) }, new(atomic.Int64)) // tick once a year
}

// rehearse estimates how long it takes until the schedules that tick are registered and all processes run, by registering a few in a place that is thrown away.
func (w *world) rehearse(ctx context.Context) (time.Duration, error) {
	const ready = 4 * time.Second // until processes run and beats have their shards
	dir, err := os.MkdirTemp(w.dir, "rehearsal-")
	if err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	url := ""
	if !w.load.Local {
		redis, err := redisd.Start(ctx, dir)
		if err != nil {
			return 0, fmt.Errorf("rehearse: %w", err)
		}
		defer redis.Close()
		url = redisd.URL([]*redisd.Server{redis})
	}
	c, done, err := w.openClient(ctx, url, dir, namespace)
	if err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	defer done()
	far := time.Now().Add(time.Hour)
	var created atomic.Int64
	create := func(from, to int) (time.Duration, error) {
		began := time.Now()
		err := createAll(ctx, c, from, to, func(i int) client.CreateRequest { return w.request(i, far) }, &created)
		return time.Since(began), err
	}
	if _, err := create(0, creators); err != nil { // connects
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	took, err := create(creators, creators+sampled)
	if err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	return ready + took*time.Duration(w.load.Schedules)/sampled*3/2, nil
}

// firstTick is the first tick of the load after an instant.
func (w *world) firstTick(after time.Time) time.Time {
	period := w.load.Period
	if w.load.Burst {
		period = time.Second
	}
	return after.Truncate(period).Add(period)
}

// memory is what Redis uses, all nodes of a cluster together; zero without one.
func (w *world) memory(ctx context.Context) (int64, error) {
	var sum int64
	for _, s := range w.redis {
		i, err := s.Info(ctx)
		if err != nil {
			return 0, err
		}
		sum += i.Memory
	}
	return sum, nil
}

// every calls f every so often until the returned function is called.
func every(d time.Duration, f func()) (stop func()) {
	quit := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		ended.Wait()
	}
}
