package driver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/judge"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/redisd"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/role"
)

// metricsPath is where a beat whose polls are measured serves its metrics.
const metricsPath = "/metrics"

// ours is pyworkflow: stand-alone beats and workers on Redis, or the local runtime.
type ours struct{}

func (ours) launch(ctx context.Context, w *world) (registration, error) {
	estimate, err := w.rehearse(ctx)
	if err != nil {
		return registration{}, err
	}
	if !w.load.Local {
		if err := w.openRedis(ctx); err != nil {
			return registration{}, err
		}
	}
	reg, err := w.register(ctx, estimate)
	if err != nil {
		return reg, err
	}
	if w.load.Local {
		_, err := w.start(ctx, workerRole, role.Pyworkflow, "scheduler", "run", "--runtime", "local", "--storage", "sqlite", "--storage-path", w.dir, "--namespace", namespace, "--log-level", "warn")
		return reg, err
	}
	for range w.load.Processes {
		args := []string{role.Pyworkflow, "worker", "run", "--concurrency", strconv.Itoa(w.concurrency), "--drain-timeout", "5", "--redis-url", w.url, "--namespace", namespace, "--log-level", "warn"}
		if queues := queues(w.load); len(queues) > 0 {
			args = append(args, "--queues", strings.Join(queues, ","))
		}
		if _, err := w.start(ctx, workerRole, args...); err != nil {
			return reg, err
		}
	}
	for range w.load.Processes {
		if _, err := w.startBeat(ctx); err != nil {
			return reg, err
		}
	}
	if err := w.awaitAlive(ctx); err != nil {
		return reg, err
	}
	if left := time.Until(reg.first); w.load.Burst && left < time.Second {
		return reg, fmt.Errorf("registering and starting took too long: the burst is due in %s", left.Round(time.Millisecond))
	}
	return reg, nil
}

func (w *world) startBeat(ctx context.Context) (*member, error) {
	args := []string{role.Pyworkflow, "scheduler", "run", "--redis-url", w.url, "--namespace", namespace, "--log-level", "warn"}
	if w.load.Fresh {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		w.metrics = "http://" + addr + metricsPath
		args = append(args, "--http-listen", addr)
	}
	return w.start(ctx, beatRole, args...)
}

// awaitAlive waits until every process has announced itself, and the beats have their shards.
func (w *world) awaitAlive(ctx context.Context) error {
	c, done, err := w.openClient(ctx, redisd.URL(w.redis), w.dir, namespace)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return w.members[len(w.members)-1].Await(ctx, "signs of life", func() (bool, error) {
		procs, err := c.Processes(ctx)
		if err != nil {
			return false, err
		}
		beats, workers, shards := 0, 0, 0
		for _, p := range procs {
			if slices.Contains(p.Roles, "beat") {
				beats++
			}
			if slices.Contains(p.Roles, "worker") {
				workers++
			}
			shards += len(p.Shards)
		}
		return beats >= w.load.Processes && workers >= w.load.Processes && shards > 0, nil
	})
}

func (ours) started(ctx context.Context, w *world, g judge.Grid) (tally, error) {
	var t tally
	var errs [3]error
	t.all, errs[0] = w.countBefore(ctx, workerRole, math.MaxInt64)
	t.window, errs[1] = w.countBefore(ctx, workerRole, g.End)
	low, err := w.countBefore(ctx, workerRole, g.Begin)
	t.window, errs[2] = max(0, t.window-low), err
	return t, errors.Join(errs[:]...)
}

// countBefore is how many starts with a nominal time before ms the processes of a role have seen.
func (w *world) countBefore(ctx context.Context, kind string, ms int64) (int, error) {
	sum := 0
	for _, m := range w.of(kind) {
		n, err := m.probe.CountBefore(ctx, ms)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (ours) fires(w *world) ([]fires.Fire, error) { return readAll[fires.Fire](w, workerRole) }

// readAll reads what the processes of a role wrote down.
func readAll[T fires.Entry](w *world, kind string) ([]T, error) {
	var all []T
	for _, m := range w.of(kind) {
		some, err := fires.Read[T](m.fires)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// pollTime is the median of what some polls of the beat took, as it tells itself.
func (w *world) pollTime(ctx context.Context) (float64, error) {
	const looks = 5
	var all []float64
	for range looks {
		seconds, err := scrape(ctx, w.metrics, `pyworkflow_loop_poll_seconds{loop="beat"}`)
		if err != nil {
			return 0, fmt.Errorf("measure polls: %w", err)
		}
		all = append(all, 1000*seconds)
		if err := w.wait(ctx, time.Now().Add(time.Second), nil); err != nil {
			return 0, err
		}
	}
	return judge.Median(all), nil
}

// scrape reads one number of a page of metrics.
func scrape(ctx context.Context, url, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("no %s at %s", name, url), lines.Err())
}

// freshBeat ends the beats and starts one anew; it returns when that was. Ticks come due all the time, so that its first start is the first one after it.
func (w *world) freshBeat(ctx context.Context) (time.Time, error) {
	for _, m := range w.of(beatRole) {
		if err := m.Stop(stopTimeout); err != nil {
			return time.Time{}, err
		}
	}
	w.members = slices.DeleteFunc(w.members, func(m *member) bool { return m.role == beatRole })
	if err := w.wait(ctx, time.Now().Add(2*time.Second), nil); err != nil { // what was under way has started
		return time.Time{}, err
	}
	at := time.Now()
	if _, err := w.startBeat(ctx); err != nil {
		return at, err
	}
	w.progress.say("started a fresh beat")
	return at, w.wait(ctx, at.Add(5*time.Second), nil)
}

// freeAddr is a loopback address that nobody listens at.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
