package linear

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// sightings is how many histories a fault may hide in: most show within a few.
const sightings = 300

// TestCheckerRefuses puts a store with one fault built in before a real one, in every process's way, and sees the checker find it.
func TestCheckerRefuses(t *testing.T) {
	for name, fault := range map[string]func(store.Store) store.Store{
		"a commit that ignores the schedule's revision":            func(s store.Store) store.Store { return unguarded{s} },
		"a commit that is answered and not written":                func(s store.Store) store.Store { return &forgetful{Store: s} },
		"a commit that is written and answered as a lost race":     func(s store.Store) store.Store { return &denying{Store: s} },
		"a commit that loses the counters":                         func(s store.Store) store.Store { return countless{s} },
		"a second schedule under a taken id is claimed to be made": func(s store.Store) store.Store { return crowded{s} },
		"a read from a replica that lags behind":                   func(s store.Store) store.Store { return &lagging{Store: s, seen: map[schedules.Ref]store.Loaded{}} },
		"a claim that ignores the dispatch":                        func(s store.Store) store.Store { return careless{s} },
		"a claim that two workers get":                             func(s store.Store) store.Store { return generous{s} },
		"a heartbeat that never says lost":                         func(s store.Store) store.Store { return soothing{s} },
		"a step of an old dispatch that is answered as recorded":   func(s store.Store) store.Store { return unfenced{s} },
		"an end of a run that its schedule does not hear of":       func(s store.Store) store.Store { return orphaning{s} },
		"an end of a run that ignores the run's revision":          func(s store.Store) store.Store { return trampling{s} },
		"a cancel request that is not written":                     func(s store.Store) store.Store { return deaf{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for service, w := range map[string]*world{"redis": newRedis(t), "sqlite": newSQLite(t)} {
				found := 0
				for n, seed := range seeds(t, sightings) {
					if v := judge(w.play(t, seed, false, fault)); v.refused != "" {
						found = n + 1
						break
					}
				}
				if found == 0 {
					t.Errorf("%s: not refused in %d histories", service, sightings)
				}
				t.Logf("%s: refused in history %d", service, found)
			}
		})
	}
}

type unguarded struct{ store.Store }

// Commit writes what lost a race all the same.
func (s unguarded) Commit(ctx context.Context, changes ...schedules.Change) []error {
	errs := s.Store.Commit(ctx, changes...)
	for i, c := range changes {
		for tries := 0; errors.Is(errs[i], store.ErrConflict) && tries < 10; tries++ {
			loaded, _, err := s.Load(ctx, c.Schedule.Ref())
			if err != nil {
				break
			}
			forced := c
			forced.Expect = loaded[0].State.Schedule.Revision
			forced.Schedule.Revision = forced.Expect + 1
			errs[i] = s.Store.Commit(ctx, forced)[0]
		}
	}
	return errs
}

// seldom lets a fault show once in so many calls.
type seldom struct {
	mu sync.Mutex
	n  int
}

func (s *seldom) now(every int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.n%every == 0
}

type forgetful struct {
	store.Store
	seldom
}

// Commit forgets one change in five.
func (s *forgetful) Commit(ctx context.Context, changes ...schedules.Change) []error {
	if s.now(5) {
		return make([]error, len(changes))
	}
	return s.Store.Commit(ctx, changes...)
}

type denying struct {
	store.Store
	seldom
}

// Commit denies one success in five.
func (s *denying) Commit(ctx context.Context, changes ...schedules.Change) []error {
	errs := s.Store.Commit(ctx, changes...)
	if s.now(5) {
		for i := range errs {
			errs[i] = store.ErrConflict
		}
	}
	return errs
}

type countless struct{ store.Store }

// Commit loses the counters.
func (s countless) Commit(ctx context.Context, changes ...schedules.Change) []error {
	lossy := make([]schedules.Change, len(changes))
	for i, c := range changes {
		c.Schedule.Total, c.Schedule.Active = 0, 0
		lossy[i] = c
	}
	return s.Store.Commit(ctx, lossy...)
}

type crowded struct{ store.Store }

// Commit says yes to every creation.
func (s crowded) Commit(ctx context.Context, changes ...schedules.Change) []error {
	errs := s.Store.Commit(ctx, changes...)
	for i := range errs {
		if errors.Is(errs[i], store.ErrExists) {
			errs[i] = nil
		}
	}
	return errs
}

type lagging struct {
	store.Store
	seen map[schedules.Ref]store.Loaded
}

// Load answers every other time what it answered before.
func (s *lagging) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	loaded, now, err := s.Store.Load(ctx, refs...)
	for i := range loaded {
		if old, before := s.seen[refs[i]]; before && rand.IntN(4) == 0 {
			loaded[i] = old
		} else {
			s.seen[refs[i]] = loaded[i]
		}
	}
	return loaded, now, err
}

type careless struct{ store.Store }

// Claim gives the run to whoever asks, under its current dispatch.
func (s careless) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	if r, err := s.GetRun(ctx, id); err == nil {
		dispatch = r.Dispatch
	}
	return s.Store.Claim(ctx, id, dispatch, c)
}

type generous struct{ store.Store }

// Claim gives a running run to another worker, too.
func (s generous) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	run, err := s.Store.Claim(ctx, id, dispatch, c)
	if errors.Is(err, store.ErrStale) {
		if r, err := s.GetRun(ctx, id); err == nil && r.Status == schedules.RunRunning && r.Dispatch == dispatch {
			return r, nil
		}
	}
	return run, err
}

type soothing struct{ store.Store }

// Heartbeat finds every run held.
func (s soothing) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	answers, err := s.Store.Heartbeat(ctx, beats)
	for i := range answers {
		answers[i].Lost = false
	}
	return answers, err
}

type unfenced struct{ store.Store }

// RecordStep records under the current dispatch what comes from another, and says that all went well.
func (s unfenced) RecordStep(ctx context.Context, id string, _ int, step schedules.Step) error {
	r, err := s.GetRun(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Store.RecordStep(ctx, id, r.Dispatch, step); !errors.Is(err, store.ErrStale) {
		return err
	}
	return nil
}

type orphaning struct{ store.Store }

// CommitRun hides from the store whose run it is.
func (s orphaning) CommitRun(ctx context.Context, c schedules.RunChange) error {
	if c.Run.Status.Ended() {
		c.Run.ScheduleID, c.Run.Incarnation, c.Run.BackfillID = "", "", ""
	}
	return s.Store.CommitRun(ctx, c)
}

type trampling struct{ store.Store }

// CommitRun writes what lost a race all the same.
func (s trampling) CommitRun(ctx context.Context, c schedules.RunChange) error {
	err := s.Store.CommitRun(ctx, c)
	for tries := 0; errors.Is(err, store.ErrConflict) && tries < 3; tries++ {
		r, readErr := s.GetRun(ctx, c.Run.ID)
		if readErr != nil || r.Status.Ended() {
			break
		}
		c.Expect = r.Revision
		c.Run.Revision = r.Revision + 1
		err = s.Store.CommitRun(ctx, c)
	}
	return err
}

type deaf struct{ store.Store }

// Commit loses what it is to ask of runs.
func (s deaf) Commit(ctx context.Context, changes ...schedules.Change) []error {
	lossy := make([]schedules.Change, len(changes))
	for i, c := range changes {
		c.Cancel = nil
		lossy[i] = c
	}
	return s.Store.Commit(ctx, lossy...)
}
