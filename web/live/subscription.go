package live

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in the stream of events: behind the event of that number, at that time. Its text is opaque to those who keep it.
type Position struct {
	boot string
	seq  int64
	at   time.Time
}

// String is what ParsePosition reads.
func (p Position) String() string { return fmt.Sprintf("%s-%d-%d", p.boot, p.seq, p.at.UnixMilli()) }

// ParsePosition reads a Position; ok is false for what is none.
func ParsePosition(text string) (p Position, ok bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 || parts[0] == "" {
		return p, false
	}
	seq, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return p, false
	}
	ms, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return p, false
	}
	return Position{boot: parts[0], seq: seq, at: time.UnixMilli(ms)}, true
}

// From says where in the stream a subscriber begins.
type From struct {
	Last  Position  // behind this place; the zero one: see Since
	Since time.Time // with what changed since, by the clock of the hub's host; zero: not known
}

// Subscription is one who listens. It is for one goroutine.
type Subscription struct {
	hub    *Hub
	filter Filter
	events chan Event

	// Guarded by hub.mu.
	waits bool // for the look after which it is told to read anew
	slow  bool
	ended bool
}

// Subscribe begins to listen. The first events are those since From. Where they are not known, a reset comes as soon as the hub has looked: who reads then what it
// shows misses nothing after it. Close ends it. Errors: ErrFull, ErrClosed.
func (h *Hub) Subscribe(f Filter, from From) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case len(h.subs) >= maxSubscribers, len(h.schedules)+len(f.Schedules) > maxInterest, len(h.runs)+len(f.Runs) > maxInterest:
		return nil, ErrFull
	}
	missed, known := h.since(f, from)
	s := &Subscription{hub: h, filter: f, events: make(chan Event, queueSize+len(missed)), waits: !known}
	for _, e := range missed {
		s.put(e)
	}
	h.subs[s] = true
	h.want(f, time.Now())
	signal(h.arrived)
	return s, nil
}

// since gives the wanted events from a place on; known is false when there may have been others.
func (h *Hub) since(f Filter, from From) (missed []Event, known bool) {
	var after func(Event) bool
	switch last := from.Last; {
	case last.boot != "":
		oldest := h.seq - int64(len(h.ring)) // the number before the oldest kept
		if last.boot != h.boot || last.seq > h.seq || last.seq < oldest || !h.covers(f, last.at) {
			return nil, false
		}
		after = func(e Event) bool { return e.Position.seq > last.seq }
	case !from.Since.IsZero():
		if !h.covers(f, from.Since) || len(h.ring) > 0 && h.ring[0].Position.seq > 1 && from.Since.Before(h.ring[0].Position.at) {
			return nil, false
		}
		after = func(e Event) bool { return !e.Position.at.Before(from.Since) }
	default:
		return nil, false
	}
	for _, e := range h.ring {
		if after(e) && f.wants(e) {
			missed = append(missed, e)
		}
	}
	return missed, true
}

// covers reports whether all that the filter names has been looked at since that time.
func (h *Hub) covers(f Filter, at time.Time) bool {
	at = at.Truncate(time.Millisecond)
	early := func(covered time.Time) bool {
		return !covered.IsZero() && !covered.Truncate(time.Millisecond).After(at)
	}
	if !early(h.covered) {
		return false
	}
	for _, id := range f.Schedules {
		if i := h.schedules[id]; i == nil || !early(i.covered) {
			return false
		}
	}
	for _, id := range f.Runs {
		if i := h.runs[id]; i == nil || !early(i.covered) {
			return false
		}
	}
	return true
}

// put hands over an event; who is too slow to take it is sent away. The caller holds hub.mu.
func (s *Subscription) put(e Event) {
	if s.ended {
		return
	}
	select {
	case s.events <- e:
	default:
		s.slow = true
		s.end()
	}
}

// end ends the subscription. The caller holds hub.mu.
func (s *Subscription) end() {
	delete(s.hub.subs, s)
	if !s.ended {
		s.ended = true
		close(s.events)
	}
}

// Events gives the events as they come. It is closed when the hub ends, or when the subscriber was too slow: see Slow.
func (s *Subscription) Events() <-chan Event { return s.events }

// Slow reports whether the subscription ended because its events were not taken in time: those that came since are lost to it.
func (s *Subscription) Slow() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.slow
}

// Here gives the place up to which there is nothing the subscriber has not been handed; ok is false when there is no such place now.
func (s *Subscription) Here() (p Position, ok bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.ended || s.waits || len(s.events) > 0 {
		return p, false
	}
	return s.hub.position(), true
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.end()
}
