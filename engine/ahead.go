package engine

import (
	"context"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	aheadAge  = 5 * time.Second // a state that was read ahead is not used after that
	aheadMost = 16_384          // states that are kept at a time
)

// ahead holds states that were read before their schedules are due. One that has changed since is refused by its revision, and read again.
type ahead struct {
	mu     sync.Mutex
	states map[schedules.Ref]foreseen
}

type foreseen struct {
	state schedules.State
	at    time.Time
}

// Prepare reads the schedules' states, so that the next Decide of theirs, soon, need not. It changes nothing; what cannot be read, is too much, or is about to change
// because a run is active, is left to Decide.
func (e *Engine) Prepare(ctx context.Context, refs ...schedules.Ref) {
	loaded, _, err := e.cfg.Store.Load(ctx, refs...)
	if err != nil {
		return // Decide will tell
	}
	e.ahead.mu.Lock()
	defer e.ahead.mu.Unlock()
	now := time.Now()
	if len(e.ahead.states)+len(refs) > aheadMost {
		for ref, f := range e.ahead.states {
			if now.Sub(f.at) > aheadAge {
				delete(e.ahead.states, ref)
			}
		}
	}
	if e.ahead.states == nil {
		e.ahead.states = make(map[schedules.Ref]foreseen)
	}
	for i, l := range loaded {
		// The end of a run would change it before it is used.
		if l.Err == nil && l.State.Schedule.Active == 0 && len(e.ahead.states) < aheadMost {
			e.ahead.states[refs[i]] = foreseen{l.State, now}
		}
	}
}

// take gives the state that was read ahead, once.
func (a *ahead) take(ref schedules.Ref) (schedules.State, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, ok := a.states[ref]
	if ok {
		delete(a.states, ref)
	}
	return f.state, ok && time.Since(f.at) <= aheadAge
}
