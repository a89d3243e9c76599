package live

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// The kinds of events.
const (
	KindRun      = "run"      // a run became active, changed its status or its attempt, or ended; or one that is watched by its id has new lines in its log
	KindSchedule = "schedule" // a schedule that is watched by its id changed in any way
	KindProcess  = "process"  // a process came or went, or took or left runs or shards
	KindReset    = "reset"    // read anew what you show: what came before is not known, or not any more
)

const (
	// ringSize is how many events are kept for those who come back.
	ringSize = 1000
	// queueSize is how many events may wait for a subscriber.
	queueSize = 256
	// maxSubscribers is how many may listen at a time.
	maxSubscribers = 1000
	// MaxWatched is how many schedules, and how many runs, one subscriber may name.
	MaxWatched = 200
	// maxInterest is how many schedules, and how many runs, are looked at by their ids, over all subscribers.
	maxInterest = 5000
)

const (
	pollInterval = time.Second
	// wakeInterval is how soon after a look a wake brings the next.
	wakeInterval = 250 * time.Millisecond
	// linger is how long the hub goes on when nobody listens: a reader that lost its connection is back by then.
	linger = 30 * time.Second
	// pollTimeout bounds a look.
	pollTimeout = 10 * time.Second
)

// ErrFull: as many listen as may.
var ErrFull = errors.New("too many listen already; try again later")

// ErrClosed: the hub has ended.
var ErrClosed = errors.New("the event stream has ended")

// Source is what a Hub looks at: a *client.Client.
type Source interface {
	RunHeads(ctx context.Context, f client.RunFilter, n int) ([]client.RunHead, error)
	RunHeadsOf(ctx context.Context, ids []string) ([]client.RunHead, error)
	RunEvents(ctx context.Context, id string, after int64) ([]client.Event, int64, error)
	Revisions(ctx context.Context, ids []string) (map[string]int64, error)
	Processes(ctx context.Context) ([]client.Process, error)
	Listen(ctx context.Context, wake func()) error
}

// Event is one thing that changed.
type Event struct {
	Position Position // behind it
	Kind     string
	Data     json.RawMessage // an object: of a run a client.RunHead, of a schedule its schedule_id, of a process id, host, pid and whether it lives; of a reset empty

	schedule, run string // it is about
}

// Filter says what a subscriber wants to hear of. The zero value: all runs and all processes, and no schedule.
type Filter struct {
	Schedules []string // these schedules and their runs
	Runs      []string // these runs
	Kinds     []string // these kinds only; empty: all
}

func (f *Filter) wants(e Event) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind) {
		return false
	}
	switch e.Kind {
	case KindRun:
		return len(f.Schedules)+len(f.Runs) == 0 || slices.Contains(f.Runs, e.run) || e.schedule != "" && slices.Contains(f.Schedules, e.schedule)
	case KindSchedule:
		return slices.Contains(f.Schedules, e.schedule)
	default:
		return true
	}
}

// Hub finds what changed and tells it. Make it with New; it is safe for concurrent use.
type Hub struct {
	source Source
	log    *slog.Logger
	boot   string

	arrived chan struct{} // somebody came
	woken   chan struct{} // the store told of a change

	mu      sync.Mutex
	closed  bool
	subs    map[*Subscription]bool
	ring    []Event // oldest first, without gaps
	seq     int64   // of the newest event
	looked  time.Time
	covered time.Time // since when every change of runs and processes becomes an event; zero: the hub is not looking
	// schedules and runs are looked at by their ids.
	schedules, runs map[string]*interest
}

// interest is that somebody wants to hear of a schedule or a run, or did lately.
type interest struct {
	wanted  time.Time // last
	covered time.Time // since when every change becomes an event; zero: not yet
}

// New makes a Hub; it looks once Run is called. A nil log discards.
func New(source Source, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Hub{source: source, log: log, boot: rand.Text()[:10], subs: map[*Subscription]bool{}, schedules: map[string]*interest{}, runs: map[string]*interest{},
		arrived: make(chan struct{}, 1), woken: make(chan struct{}, 1)}
}

// Run looks and tells while somebody listens, until ctx ends; then every subscription ends. Call it once.
func (h *Hub) Run(ctx context.Context) error {
	defer h.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.arrived:
		}
		h.watch(ctx)
	}
}

// watch looks again and again until nobody has listened for a while.
func (h *Hub) watch(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		if err := h.source.Listen(ctx, func() { signal(h.woken) }); err != nil && ctx.Err() == nil {
			h.log.Debug("looking without being woken", "error", err)
		}
	}()
	defer func() {
		stop()
		<-listened
		h.rest()
	}()
	look := newLook(h.source)
	failed := false
	for last := time.Now(); time.Since(last) < linger; {
		if h.refresh() {
			last = time.Now()
		}
		err := h.look(ctx, look)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			h.log.Warn("what changed cannot be seen; pages are as they were until it can", "error", err)
		}
		failed = err != nil
		h.pause(ctx)
	}
}

// pause waits for the next look: a second, or less when something woke.
func (h *Hub) pause(ctx context.Context) {
	soonest := time.NewTimer(wakeInterval)
	defer soonest.Stop()
	latest := time.NewTimer(pollInterval)
	defer latest.Stop()
	select {
	case <-ctx.Done():
		return
	case <-h.arrived: // a newcomer waits for what is looked at for its sake
		return
	case <-soonest.C:
	}
	select {
	case <-ctx.Done():
	case <-h.arrived:
	case <-h.woken:
	case <-latest.C:
	}
}

// refresh notes what is wanted now, forgets what nobody has wanted for a while, and reports whether anybody listens.
func (h *Hub) refresh() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for s := range h.subs {
		h.want(s.filter, now)
	}
	for _, m := range []map[string]*interest{h.schedules, h.runs} {
		for id, i := range m {
			if now.Sub(i.wanted) >= linger {
				delete(m, id)
			}
		}
	}
	return len(h.subs) > 0
}

func (h *Hub) want(f Filter, now time.Time) {
	for _, of := range []struct {
		ids []string
		in  map[string]*interest
	}{{f.Schedules, h.schedules}, {f.Runs, h.runs}} {
		for _, id := range of.ids {
			if i := of.in[id]; i != nil {
				i.wanted = now
				continue
			}
			of.in[id] = &interest{wanted: now}
		}
	}
}

// look looks once and tells what changed.
func (h *Hub) look(ctx context.Context, l *look) error {
	h.mu.Lock()
	schedules, runs := keys(h.schedules), keys(h.runs)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	changes, err := l.take(ctx, schedules, runs)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = time.Now()
	if h.covered.IsZero() {
		h.covered = h.looked
	}
	for _, of := range []struct {
		ids []string
		in  map[string]*interest
	}{{schedules, h.schedules}, {runs, h.runs}} {
		for _, id := range of.ids {
			if i := of.in[id]; i != nil && i.covered.IsZero() {
				i.covered = h.looked
			}
		}
	}
	for _, e := range changes {
		h.tell(e)
	}
	for s := range h.subs {
		if s.waits && h.covers(s.filter, h.looked) {
			s.waits = false
			s.put(h.reset())
		}
	}
	return nil
}

// tell numbers an event, keeps it, and hands it to those who want it.
func (h *Hub) tell(e Event) {
	h.seq++
	e.Position = h.position()
	if len(h.ring) == ringSize {
		h.ring = slices.Delete(h.ring, 0, ringSize/10)
	}
	h.ring = append(h.ring, e)
	for s := range h.subs {
		if s.filter.wants(e) {
			s.put(e)
		}
	}
}

func (h *Hub) position() Position { return Position{boot: h.boot, seq: h.seq, at: h.looked} }

func (h *Hub) reset() Event {
	return Event{Position: h.position(), Kind: KindReset, Data: json.RawMessage("{}")}
}

// rest forgets what was seen: the next look sees everything for the first time.
func (h *Hub) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.covered, h.ring = time.Time{}, nil
	clear(h.schedules)
	clear(h.runs)
	if len(h.subs) > 0 { // came in the last moment
		signal(h.arrived)
	}
}

func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		s.end()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func keys(m map[string]*interest) []string {
	out := make([]string, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
