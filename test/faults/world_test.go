//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

// world is one scenario's Redis, processes and people.
type world struct {
	tb         *testing.T
	seed       uint64
	bin        string
	dir        string // logs of processes
	logs       string // the workers' own logs
	failpoints string // what failpoints did
	logLevel   string
	namespace  string
	lasts      time.Duration // how long schedules tick
	many       int           // schedules

	server   *redistest.Server // nil: a topology of its own
	forBeat  *redistest.Proxy  // nil: processes speak to Redis directly
	forWork  *redistest.Proxy
	url      string // of Redis, past the proxies
	sentinel *redistest.Sentinel
	cluster  *redistest.Cluster
	day      day           // of the scenario clocks
	jump     time.Duration // how far the store's clock will have stepped when schedules end
	ends     time.Time     // of all schedules' specs, by the store's clock

	redis  redis.UniversalClient
	client *client.Client
	store  *redisstore.Store

	mending  chan struct{} // closed when faults are to end
	over     chan struct{} // closed when processes are to end
	faulting sync.WaitGroup

	mu        sync.Mutex
	rng       *rand.Rand
	chance    map[string]float64 // failpoint=action → chance, of processes started from now on
	processes []*process
	scene     check.Scene
	found     []check.Finding
	counts    map[string]int
	offset    time.Duration              // of the store's clock against ours
	runs      []string                   // some recent runs of triggers
	inputs    map[string]json.RawMessage // of schedules, by id
}

func newWorld(t *testing.T, bin string, seed uint64, lasts time.Duration, many int) *world {
	dir := t.TempDir()
	if *keep != "" {
		dir = filepath.Join(*keep, fmt.Sprintf("%s-%d", filepath.Base(t.Name()), seed))
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{tb: t, seed: seed, bin: bin, dir: dir, logs: filepath.Join(dir, "own"), failpoints: filepath.Join(dir, "failpoints"), logLevel: "info",
		namespace: "faults", lasts: lasts, many: many, mending: make(chan struct{}), over: make(chan struct{}),
		rng: rand.New(rand.NewPCG(seed, 0xfa)), chance: map[string]float64{}, inputs: map[string]json.RawMessage{}, counts: map[string]int{}}
	if err := os.MkdirAll(w.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// useServer gives the world a Redis that keeps its word, behind a proxy for beats and one for workers.
func (w *world) useServer(opts ...redistest.Option) {
	w.server = redistest.Start(w.tb, append([]redistest.Option{redistest.AppendOnly()}, opts...)...)
	w.url = w.server.URL()
	w.forBeat, w.forWork = redistest.ProxyTo(w.tb, w.server), redistest.ProxyTo(w.tb, w.server)
}

func (w *world) urlFor(r role) string {
	switch {
	case w.forBeat == nil:
		return w.url
	case r == beatRole:
		return w.forBeat.URL()
	default:
		return w.forWork.URL()
	}
}

// open connects the world's people.
func (w *world) open() {
	ctx := w.tb.Context()
	c, err := redisstore.NewClient(w.url)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.redis = c
	w.tb.Cleanup(func() { _ = c.Close() })
	if w.store, err = redisstore.New(c, redisstore.Config{Namespace: w.namespace}); err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = w.store.Close() })
	transport, err := asynqtransport.New(asynqtransport.Config{Client: c, Namespace: w.namespace})
	if err != nil {
		w.tb.Fatal(err)
	}
	e, err := engine.New(engine.Config{Store: w.store, Dispatcher: transport})
	if err != nil {
		w.tb.Fatal(err)
	}
	if w.client, err = client.New(client.Config{Store: w.store, Engine: e}); err != nil {
		w.tb.Fatal(err)
	}
	now, err := w.client.Now(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.scene.Client, w.scene.Redis, w.scene.Namespace, w.scene.Logs, w.scene.Began = w.client, w.redis, w.namespace, w.logs, now
	if w.offset = time.Until(now); w.offset.Abs() < time.Second { // the same host's clock, but for the way there
		w.offset = 0
	}
}

// now is the store's clock, as far as the driver knows.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset).UTC()
}

// between draws a duration.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.draw(int(most-least)+1))
}

// draw draws a number below n.
func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// add puts a process into the world.
func (w *world) add(name string, r role, env []string, args ...string) *process {
	p := &process{w: w, name: name, role: r, args: args, env: env}
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	if err := p.start(w.arm(p)); err != nil {
		w.tb.Fatal(err)
	}
	p.keep()
	return p
}

// arm draws failpoints for a process that is about to start.
func (w *world) arm(*process) string {
	if isClosed(w.mending) {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := ""
	for name, chance := range w.chance {
		s += fmt.Sprintf("%s:%g,", name, chance)
	}
	return s
}

func (w *world) byPID(pid int) *process {
	w.mu.Lock()
	all := w.processes
	w.mu.Unlock()
	for _, p := range all {
		if p.pid() == pid {
			return p
		}
		p.mu.Lock()
		was := p.cmd != nil && p.cmd.Process.Pid == pid
		p.mu.Unlock()
		if was {
			return p
		}
	}
	return nil
}

// some draws a process of one of the roles that is alive; nil when there is none.
func (w *world) some(roles ...role) *process {
	w.mu.Lock()
	all := w.processes
	w.mu.Unlock()
	var fit []*process
	for _, p := range all {
		for _, r := range roles {
			if p.role == r && p.live() {
				fit = append(fit, p)
			}
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.draw(len(fit))]
}

// fault notes a fault that begins now; the returned function ends it.
func (w *world) fault(kind string, pid int, note string) (end func()) {
	w.hit(kind)
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now().Add(w.offset).UTC()
	n := len(w.scene.Faults)
	w.scene.Faults = append(w.scene.Faults, check.Fault{Began: at, Ended: at, Kind: kind, PID: pid, Note: note})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.scene.Faults[n].Ended = time.Now().Add(w.offset).UTC()
	}
}

// hit counts something that was done.
func (w *world) hit(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// find notes a broken promise that the driver itself saw.
func (w *world) find(kind, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, check.Finding{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// keys lists all keys of the server or the cluster.
func (w *world) keys(ctx context.Context) []string {
	var mu sync.Mutex
	var all []string
	scan := func(ctx context.Context, c redis.Cmdable) error {
		it := c.Scan(ctx, 0, "", 1000).Iterator()
		for it.Next(ctx) {
			mu.Lock()
			all = append(all, it.Val())
			mu.Unlock()
		}
		return it.Err()
	}
	var err error
	if c, ok := w.redis.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return scan(ctx, c) })
	} else {
		err = scan(ctx, w.redis)
	}
	if err != nil {
		w.tb.Fatalf("list keys: %v", err)
	}
	return all
}

// close ends all processes.
func (w *world) close() {
	if !isClosed(w.mending) {
		close(w.mending)
	}
	if !isClosed(w.over) {
		close(w.over)
	}
	w.faulting.Wait()
	for _, p := range w.processes {
		p.end()
	}
}
