package alert

import (
	"slices"
	"time"
)

const (
	// foldTime is how long facts are gathered after a message of the same kind about the same schedule.
	foldTime = time.Minute
	// maxLoud is how many schedules have messages of their own at a time, per kind; what further ones have to say is gathered in one.
	maxLoud = 20
)

// fold keeps a flood of facts from being a flood of messages. The first fact of a kind about a schedule passes at once and opens a window; those that follow within
// it are one message at its end, which opens the next. It has at most maxLoud+1 windows per kind. It is not safe for concurrent use.
type fold struct {
	open  map[foldKey]*window
	order []*window // the first to end first
	loud  map[Kind]int
}

type foldKey struct {
	kind  Kind
	about string // empty: the rest
}

type window struct {
	key  foldKey
	ends time.Time
	held Message // Count 0: none
}

func newFold() *fold { return &fold{open: map[foldKey]*window{}, loud: map[Kind]int{}} }

// add takes a fact in; ok says that it is a message now.
func (f *fold) add(now time.Time, m Message) (ready Message, ok bool) {
	key := foldKey{m.Kind, m.about}
	w := f.open[key]
	if w == nil && f.loud[m.Kind] >= maxLoud {
		key.about = ""
		if w = f.open[key]; w == nil {
			w = f.begin(key, now)
		}
	}
	if w == nil {
		f.loud[m.Kind]++
		f.begin(key, now)
		return m, true
	}
	old := w.held
	w.held = m
	w.held.rest = key.about == ""
	if old.Count > 0 {
		w.held.Count += old.Count
		w.held.Since, w.held.ScheduleIDs = old.Since, old.ScheduleIDs
		for _, id := range m.ScheduleIDs {
			if len(w.held.ScheduleIDs) < maxIDs && !slices.Contains(w.held.ScheduleIDs, id) {
				w.held.ScheduleIDs = append(w.held.ScheduleIDs, id)
			}
		}
	}
	return Message{}, false
}

func (f *fold) begin(key foldKey, now time.Time) *window {
	w := &window{key: key, ends: now.Add(foldTime)}
	f.open[key] = w
	f.order = append(f.order, w)
	return w
}

// due gives the messages of the windows that have ended by now, and when the next one ends; zero: none is open.
func (f *fold) due(now time.Time) (ready []Message, next time.Time) {
	for len(f.order) > 0 && !f.order[0].ends.After(now) {
		w := f.order[0]
		f.order = f.order[1:]
		delete(f.open, w.key)
		if w.held.Count > 0 {
			ready = append(ready, w.held)
			f.begin(w.key, now)
		} else if w.key.about != "" {
			f.loud[w.key.kind]--
		}
	}
	if len(f.order) > 0 {
		next = f.order[0].ends
	}
	return ready, next
}

// all ends every window.
func (f *fold) all() (ready []Message) {
	for _, w := range f.order {
		if w.held.Count > 0 {
			ready = append(ready, w.held)
		}
	}
	*f = *newFold()
	return ready
}
