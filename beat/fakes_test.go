package beat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

var errDown = errors.New("connection refused")

// fakeStore is a clock, leases and a due index in memory, with a switch.
type fakeStore struct {
	shards int

	mu     sync.Mutex
	down   bool
	ahead  time.Duration // of the host's clock
	leases map[string]fakeLease
	index  map[int]map[target]time.Time
	wake   func(store.Wake)
	mute   bool // wakes are lost
	polls  int
	pings  int
}

type fakeLease struct {
	holder string
	until  time.Time
}

func newFakeStore(shards int) *fakeStore {
	return &fakeStore{shards: shards, leases: make(map[string]fakeLease), index: make(map[int]map[target]time.Time)}
}

func (f *fakeStore) up() error {
	if f.down {
		return errDown
	}
	return nil
}

func (f *fakeStore) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeStore) Shards() int      { return f.shards }
func (f *fakeStore) Describe() string { return "fake" }
func (f *fakeStore) clock() time.Time {
	return time.Now().Add(f.ahead).UTC().Truncate(time.Millisecond)
}
func (f *fakeStore) Now(context.Context) (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock(), f.up()
}

func (f *fakeStore) Estimate() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock()
}

func (f *fakeStore) Ping(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pings++
	return f.up()
}

func (f *fakeStore) HoldLeases(_ context.Context, holder string, ttl time.Duration, names ...string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var held []string
	for _, n := range names {
		if l := f.leases[n]; l.holder == holder || !l.until.After(f.clock()) {
			f.leases[n] = fakeLease{holder, f.clock().Add(ttl)}
			held = append(held, n)
		}
	}
	return held, f.up()
}

func (f *fakeStore) ReleaseLeases(_ context.Context, holder string, names ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		if !f.down && f.leases[n].holder == holder {
			delete(f.leases, n)
		}
	}
	return f.up()
}

func (f *fakeStore) LeaseHolders(_ context.Context, names ...string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]string, len(names))
	for i, n := range names {
		if l := f.leases[n]; l.until.After(f.clock()) {
			out[i] = l.holder
		}
	}
	return out, f.up()
}

func (f *fakeStore) Listen(ctx context.Context, wake func(store.Wake)) error {
	f.mu.Lock()
	f.wake = wake
	f.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// put writes an entry of the index and wakes; a zero time removes it.
func (f *fakeStore) put(shard int, t target, due time.Time) {
	f.mu.Lock()
	if f.index[shard] == nil {
		f.index[shard] = make(map[target]time.Time)
	}
	if due.IsZero() {
		delete(f.index[shard], t)
	} else {
		f.index[shard][t] = due.UTC()
	}
	wake, mute := f.wake, f.mute
	f.mu.Unlock()
	if wake != nil && !mute {
		wake(store.Wake{Shard: shard, Ticks: true, Timers: true})
	}
}

// muted makes f lose its wakes during change.
func (f *fakeStore) muted(change func()) {
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	change()
	f.mu.Lock()
	f.mute = false
	f.mu.Unlock()
}

func (f *fakeStore) read(_ context.Context, shard int, until time.Time, limit int) ([]entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	var out []entry
	for t, due := range f.index[shard] {
		if !due.After(until) {
			out = append(out, entry{target: t, shard: shard, due: due})
		}
	}
	slices.SortFunc(out, func(a, b entry) int {
		if c := a.due.Compare(b.due); c != 0 {
			return c
		}
		return strings.Compare(a.ref.ID, b.ref.ID)
	})
	return out[:min(limit, len(out))], f.up()
}

func (f *fakeStore) counts() (polls, pings int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polls, f.pings
}

func sched(n int) target {
	return target{ref: schedules.Ref{ID: fmt.Sprintf("s%05d", n), Incarnation: "1"}}
}

// rung is one entry acted on.
type rung struct {
	target
	at time.Time
}

// acts records what a core acts on; next says what becomes of it.
type acts struct {
	mu   sync.Mutex
	all  []rung
	next func(e entry) outcome
}

func (a *acts) act(_ context.Context, due []entry) []outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	outs := make([]outcome, len(due))
	for i, e := range due {
		a.all = append(a.all, rung{e.target, time.Now()})
		outs[i] = a.next(e)
	}
	return outs
}

func (a *acts) of(t target) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var at []time.Time
	for _, r := range a.all {
		if r.target == t {
			at = append(at, r.at)
		}
	}
	return at
}

func (a *acts) rungs() []rung {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

// once removes an entry that rings: it is done.
func once(f *fakeStore) func(entry) outcome {
	return func(e entry) outcome {
		f.put(e.shard, e.target, time.Time{})
		return outcome{known: true}
	}
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), part)
}

// startCore runs a core over f in a bubble until the returned stop.
func startCore(t *testing.T, f *fakeStore, every time.Duration, a *acts, log *slog.Logger) (c *core, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c = newCore(coreConfig{
		name: "beat", id: t.Name(), every: every, log: log, store: f, read: f.read, act: a.act,
		wakes: func(store.Wake) bool { return true }, held: func([]int) {},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx)
	}()
	synctest.Wait()
	return c, func() {
		cancel()
		<-done
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
