package beat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	sweepPage  = 256                   // entries read at a time
	sweepPages = 8                     // pages of messages sent, and sweepPage lost runs taken, before the other shards have their turn
	sweepGap   = 20 * time.Millisecond // between two sweeps of one shard
	// slowAnswer: a store that takes longer to answer did not answer throughout.
	slowAnswer = time.Second
)

// sweeper looks through what no timer announces: messages left in the outbox, and leases that have run out.
//
// A lease has run out for certain when it is expired by the store's clock and still not renewed LeaseDoubt later by the sweeper's own clock, with the store
// answering throughout: workers that cannot reach the store must not lose their runs for it.
type sweeper struct {
	cfg  KeeperConfig
	link *link
	ring chan struct{}

	mu     sync.Mutex
	shards map[int]*sweepState
}

// sweepState is what a sweeper knows of a shard it holds.
type sweepState struct {
	next  time.Time // by the process's own clock
	woken time.Time // when what the latest wake announced is old enough
	last  time.Time // when it was last swept through without an error
	doubt map[string]doubt
	stuck int // messages that could not be sent last time
}

// doubt is a lease that was found expired.
type doubt struct {
	until time.Time // as it was found
	since time.Time // when, by the process's own clock
}

func newSweeper(cfg KeeperConfig) *sweeper {
	return &sweeper{cfg: cfg, ring: make(chan struct{}, 1), shards: make(map[int]*sweepState)}
}

// hold tells the sweeper which shards it has.
func (s *sweeper) hold(shards []int) {
	s.mu.Lock()
	for n := range s.shards {
		if !slices.Contains(shards, n) {
			delete(s.shards, n)
		}
	}
	for _, n := range shards {
		if s.shards[n] == nil {
			s.shards[n] = &sweepState{next: time.Now(), doubt: make(map[string]doubt)}
		}
	}
	s.mu.Unlock()
	s.nudge()
}

// wake tells the sweeper that a message may have been written: it looks once it is old enough to be swept.
func (s *sweeper) wake(shard int) {
	at := time.Now().Add(s.cfg.SweepAfter + 2*time.Millisecond)
	s.mu.Lock()
	for n, sh := range s.shards {
		if shard < 0 || shard == n {
			s.hurry(sh, at)
			sh.woken = at
		}
	}
	s.mu.Unlock()
	s.nudge()
}

// soon brings a shard's next sweep forward.
func (s *sweeper) soon(sh *sweepState, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry(sh, at)
}

// hurry brings a shard's next sweep forward; s.mu is held.
func (s *sweeper) hurry(sh *sweepState, at time.Time) {
	if at = later(at, time.Now().Add(sweepGap)); at.Before(sh.next) {
		sh.next = at
	}
}

func (s *sweeper) nudge() {
	select {
	case s.ring <- struct{}{}:
	default:
	}
}

func (s *sweeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, wait := s.due()
		if len(due) > 0 && s.link.answers() {
			atOnce(len(due), maxPolls, func(i int) { s.sweep(ctx, due[i]) })
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-s.ring:
		case <-timer.C:
		}
	}
}

// due gives the shards to sweep now, and how long none other is.
func (s *sweeper) due() (due []int, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wait = s.cfg.PollInterval
	for n, sh := range s.shards {
		if in := sh.next.Sub(now); in <= 0 {
			due = append(due, n)
		} else {
			wait = min(wait, in)
		}
	}
	slices.Sort(due)
	return due, wait
}

// sweep looks through one shard.
func (s *sweeper) sweep(ctx context.Context, shard int) {
	s.mu.Lock()
	sh := s.shards[shard]
	if sh != nil {
		now := time.Now()
		sh.next = now.Add(s.cfg.PollInterval)
		if sh.woken.After(now) {
			s.hurry(sh, sh.woken)
		}
	}
	s.mu.Unlock()
	if sh == nil {
		return
	}
	op, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	for _, look := range []func(context.Context, int, *sweepState) error{s.outbox, s.leases} {
		if err := look(op, shard, sh); err != nil {
			s.link.suspect(op, err)
			s.cfg.Log.Debug("shard not swept", "shard", shard, "error", err)
			clear(sh.doubt)
			return
		}
	}
	s.mu.Lock()
	sh.last = time.Now()
	s.mu.Unlock()
}

// outbox sends what others have left.
func (s *sweeper) outbox(ctx context.Context, shard int, sh *sweepState) error {
	until := s.cfg.Store.Estimate().Add(-s.cfg.SweepAfter)
	tried := make(map[store.Message]bool)
	for range sweepPages {
		limit := sweepPage + max(sh.stuck, len(tried))
		msgs, err := s.cfg.Store.Unsent(ctx, shard, until, limit)
		if err != nil {
			return err
		}
		sh.stuck = 0
		fresh := msgs[:0:0]
		for _, m := range msgs {
			if tried[m] {
				sh.stuck++ // its sending failed: the next sweep tries again
			} else {
				tried[m] = true
				fresh = append(fresh, m)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		for page := range slices.Chunk(fresh, sweepPage) {
			s.cfg.Engine.Send(ctx, page...)
		}
		if len(msgs) < limit {
			return nil
		}
	}
	s.soon(sh, time.Now())
	return nil
}

// leases finds runs whose worker is lost.
func (s *sweeper) leases(ctx context.Context, shard int, sh *sweepState) error {
	began := time.Now()
	if began.Sub(sh.last) > 2*s.cfg.PollInterval+slowAnswer {
		clear(sh.doubt) // not watched throughout
	}
	until := s.cfg.Store.Estimate()
	var expired []store.LeaseEntry
	for limit := sweepPage + len(sh.doubt); ; limit *= 2 {
		var err error
		if expired, err = s.cfg.Store.ExpiredLeases(ctx, shard, until, limit); err != nil {
			return err
		}
		if len(expired) < limit {
			break
		}
	}
	now := time.Now()
	if now.Sub(began) > slowAnswer {
		clear(sh.doubt)
	}
	doubts := make(map[string]doubt, len(expired))
	var lost []store.LeaseEntry
	var matures time.Time // the next doubt
	for _, e := range expired {
		d, ok := sh.doubt[e.RunID]
		if !ok || !d.until.Equal(e.Until) || !s.link.calmSince(d.since) {
			d = doubt{until: e.Until, since: now}
		}
		doubts[e.RunID] = d
		if certain := d.since.Add(schedules.LeaseDoubt); !now.Before(certain) && len(lost) < sweepPage {
			lost = append(lost, e)
		} else if matures.IsZero() || certain.Before(matures) {
			matures = certain
		}
	}
	sh.doubt = doubts
	errs := make([]error, len(lost))
	atOnce(len(lost), runsAtOnce, func(i int) { errs[i] = s.lose(ctx, lost[i]) })
	for i, err := range errs {
		if err == nil {
			delete(sh.doubt, lost[i].RunID)
		} else if !answered(err) {
			return err
		}
	}
	if !matures.IsZero() {
		s.soon(sh, matures)
	}
	return nil
}

// lose takes the run from its worker if it is still held by the lease that has run out.
func (s *sweeper) lose(ctx context.Context, e store.LeaseEntry) error {
	taken := false
	run, err := s.cfg.Engine.ChangeRun(ctx, e.RunID, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		taken = r.Status == schedules.RunRunning && r.Lease.Equal(e.Until) || r.Damage != "" && !r.Status.Ended()
		if !taken {
			return schedules.RunChange{}, false, nil
		}
		return schedules.LoseRun(r, now), true, nil
	})
	if err == nil && taken {
		s.cfg.Log.Warn("a worker stopped renewing its lease; its run was taken from it", append(engine.RunAttrs(run), "worker", run.Worker, "status", string(run.Status), "recoveries", run.Recoveries)...)
	}
	return err
}
