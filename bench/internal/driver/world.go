package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/probe"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/proc"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/redisd"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/role"
)

// Roles of processes in what is reported. A system of one process is all worker.
const (
	beatRole   = "beat"
	workerRole = "worker"
	redisRole  = "redis"
	netRole    = "network"
)

const (
	readyTimeout = 2 * time.Minute // of a process; gocron takes its time for 50,000 jobs
	stopTimeout  = 30 * time.Second
)

// world is the processes of one measurement.
type world struct {
	options
	load     load.Load
	progress *progress
	dir      string
	program  string // this one

	redis   []*redisd.Server // none, one, or the nodes of a cluster
	url     string           // of Redis as the processes see it
	members []*member
	started int    // how many processes were, for their names
	metrics string // the URL of the beat's metrics; empty: it serves none
}

// member is a process that plays a role.
type member struct {
	*proc.Process
	role  string
	probe *probe.Client // nil: the network
	fires string        // the file for what it started
}

func newWorld(o options, l load.Load, system string, p *progress) (*world, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir := ""
	if o.keep != "" {
		dir = filepath.Join(o.keep, fmt.Sprintf("%s-%s-%s", l.Name, system, time.Now().UTC().Format("150405")))
		err = os.MkdirAll(dir, 0o755)
	} else {
		dir, err = os.MkdirTemp("", "pyworkflow-bench-")
	}
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	return &world{options: o, load: l, progress: p, dir: dir, program: program}, nil
}

// openRedis starts Redis, and the network to it when the load has one: to one server only, since nodes of a cluster tell clients each other's addresses.
func (w *world) openRedis(ctx context.Context) (err error) {
	if w.load.Nodes > 0 {
		w.redis, err = redisd.StartCluster(ctx, w.dir, w.load.Nodes)
	} else if s, failed := redisd.Start(ctx, w.dir); failed == nil {
		w.redis = []*redisd.Server{s}
	} else {
		err = failed
	}
	if err != nil {
		return err
	}
	w.url = redisd.URL(w.redis)
	if w.load.Network == 0 {
		return nil
	}
	file := filepath.Join(w.dir, "network.addr")
	m, err := w.launch("network", netRole, []string{role.Proxy, "-to", w.redis[0].Addr(), "-latency", strconv.FormatInt(w.load.Network.Milliseconds(), 10)}, role.EnvProbe+"="+file)
	if err != nil {
		return err
	}
	return m.Await(ctx, "its address", func() (bool, error) {
		text, err := os.ReadFile(file)
		w.url = "redis://" + string(text) + "/0"
		return err == nil, ignoreMissing(err)
	})
}

// start starts a process that records, and waits until it is ready.
func (w *world) start(ctx context.Context, kind string, args ...string) (*member, error) {
	w.started++
	name := fmt.Sprintf("%s-%d", kind, w.started)
	file, fires := filepath.Join(w.dir, name+".addr"), filepath.Join(w.dir, name+".fires")
	m, err := w.launch(name, kind, args, role.EnvProbe+"="+file, role.EnvFires+"="+fires, role.EnvCapacity+"="+strconv.Itoa(w.capacity()))
	if err != nil {
		return nil, err
	}
	m.fires = fires
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err = m.Await(ctx, "its probe", func() (bool, error) {
		m.probe, err = probe.Open(file)
		return err == nil, ignoreMissing(err)
	})
	return m, err
}

// capacity is how many starts a process sets memory aside for. Memory that is not written to costs nothing.
func (w *world) capacity() int {
	if w.load.Burst {
		return 2*w.load.Schedules + 1000
	}
	lasts := w.warmUp + w.measured + w.settle + time.Minute
	return int(lasts/w.load.Period+1)*w.load.Schedules + 1000
}

func (w *world) launch(name, kind string, args []string, env ...string) (*member, error) {
	p, err := proc.Start(proc.Spec{Name: name, Path: w.program, Args: args, Env: env, Dir: w.dir})
	if err != nil {
		return nil, err
	}
	m := &member{Process: p, role: kind}
	w.members = append(w.members, m)
	return m, nil
}

// of are the processes of a role.
func (w *world) of(kind string) []*member {
	var out []*member
	for _, m := range w.members {
		if m.role == kind {
			out = append(out, m)
		}
	}
	return out
}

// wait waits for an instant, and fails when a process dies before it. Each 5 s it calls tell.
func (w *world) wait(ctx context.Context, until time.Time, tell func()) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := w.died(); err != nil {
			return err
		}
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if tell != nil && n%5 == 0 {
				tell()
			}
		}
	}
}

// died is the error of a process that has ended by itself.
func (w *world) died() error {
	all := make([]*proc.Process, 0, len(w.members)+len(w.redis))
	for _, m := range w.members {
		all = append(all, m.Process)
	}
	for _, s := range w.redis {
		all = append(all, s.Process)
	}
	for _, p := range all {
		select {
		case <-p.Done():
			return p.Died()
		default:
		}
	}
	return nil
}

// stop ends the recording processes in order, the beats first, so that they write down what they started.
func (w *world) stop() error {
	var errs []error
	for _, kind := range []string{beatRole, workerRole} {
		for _, m := range w.of(kind) {
			errs = append(errs, m.Stop(stopTimeout))
		}
	}
	return errors.Join(errs...)
}

// close ends whatever still runs.
func (w *world) close() {
	for _, m := range w.members {
		m.Kill()
	}
	for _, s := range w.redis {
		s.Close()
	}
	if w.keep == "" {
		_ = os.RemoveAll(w.dir) // a leftover in the temporary folder harms nobody
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
