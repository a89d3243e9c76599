package beat

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	leaseTTL   = 2 * time.Second
	leaseRenew = 500 * time.Millisecond
	// leaseTries is how often a round begins again because others took what it wanted.
	leaseTries = 4
	opTimeout  = 5 * time.Second
)

// shares holds this process's part of the shards. Besides one lease per shard there is one seat per shard: whoever lives takes one free seat, and
// the seats taken say how many share. Who finds no seat stands by. A newcomer's seat makes the others give up their excess; the leases of one that
// died expire together with its seat.
type shares struct {
	store   store.Leases
	prefix  string // "beat" or "keeper"
	holder  string
	shards  int
	changed func(held []int) // called when the part has changed; must not block
	link    *link
	log     *slog.Logger

	seat int // -1: none

	mu   sync.Mutex
	held []int
}

// now gives the shards held.
func (s *shares) now() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.held)
}

func newShares(st store.Leases, prefix, holder string, shards int, l *link, log *slog.Logger, changed func([]int)) *shares {
	return &shares{store: st, prefix: prefix, holder: holder, shards: shards, changed: changed, link: l, log: log, seat: -1}
}

func (s *shares) shardName(n int) string { return s.prefix + "/" + strconv.Itoa(n) }
func (s *shares) seatName(n int) string  { return s.prefix + "/seat/" + strconv.Itoa(n) }

// run holds the part until ctx ends, then gives it up.
func (s *shares) run(ctx context.Context) {
	defer s.release(ctx)
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		s.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round renews what is held and levels it out with the others. When the store does not answer the part is kept: nothing rests on it.
func (s *shares) round(ctx context.Context) {
	// A round that has begun is ended, so that the release afterwards is the last word.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	var held []int
	for try := range leaseTries {
		got, want, err := s.level(ctx)
		if err != nil {
			s.link.suspect(ctx, err)
			return
		}
		if held = got; len(got) >= want || try == leaseTries-1 {
			break
		}
	}
	s.mu.Lock()
	same := slices.Equal(held, s.held)
	s.held = held
	s.mu.Unlock()
	if !same {
		s.log.Debug("shards held", "part", s.prefix, "shards", fmt.Sprint(held))
		s.changed(slices.Clone(held))
	}
}

// level makes one attempt: it returns the shards now held, and how many there were to be had.
func (s *shares) level(ctx context.Context) (held []int, want int, err error) {
	names := make([]string, 0, 2*s.shards)
	for n := range s.shards {
		names = append(names, s.shardName(n))
	}
	for n := range s.shards {
		names = append(names, s.seatName(n))
	}
	holders, err := s.store.LeaseHolders(ctx, names...)
	if err != nil {
		return nil, 0, fmt.Errorf("read lease holders: %w", err)
	}
	ofShard, ofSeat := holders[:s.shards], holders[s.shards:]
	p := s.plan(ofShard, ofSeat)
	if len(p.give) > 0 {
		if err := s.store.ReleaseLeases(ctx, s.holder, s.named(p.give)...); err != nil {
			return nil, 0, fmt.Errorf("release leases: %w", err)
		}
	}
	ask := s.named(p.keep)
	if p.seat >= 0 {
		ask = append(ask, s.seatName(p.seat))
	}
	if len(ask) == 0 {
		return nil, 0, nil
	}
	got, err := s.store.HoldLeases(ctx, s.holder, leaseTTL, ask...)
	if err != nil {
		return nil, 0, fmt.Errorf("hold leases: %w", err)
	}
	s.seat = -1
	if p.seat >= 0 && slices.Contains(got, s.seatName(p.seat)) {
		s.seat = p.seat
	}
	for _, n := range p.keep {
		if slices.Contains(got, s.shardName(n)) {
			held = append(held, n)
		}
	}
	slices.Sort(held)
	return held, len(p.keep), nil
}

func (s *shares) named(shards []int) []string {
	names := make([]string, len(shards))
	for i, n := range shards {
		names[i] = s.shardName(n)
	}
	return names
}

// plan is what a round asks for.
type plan struct {
	seat int   // -1: none is free
	keep []int // shards to hold
	give []int // shards to give up
}

// plan levels out: each of the live gets as many shards as the next whole number above the even part.
func (s *shares) plan(ofShard, ofSeat []string) plan {
	p := plan{seat: -1}
	live := map[string]bool{s.holder: true}
	from := s.rotation()
	for i := range ofSeat {
		n := (from + i) % len(ofSeat)
		switch ofSeat[n] {
		case s.holder:
			if p.seat < 0 || ofSeat[p.seat] != s.holder {
				p.seat = n
			}
		case "":
			if p.seat < 0 {
				p.seat = n
			}
		default:
			live[ofSeat[n]] = true
		}
	}
	if p.seat < 0 { // all seats are taken: whatever was held before is somebody's part
		for n, h := range ofShard {
			if h == s.holder {
				p.give = append(p.give, n)
			}
		}
		return p
	}
	for _, h := range ofShard {
		if h != "" {
			live[h] = true
		}
	}
	fair := (s.shards + len(live) - 1) / len(live)
	for n, h := range ofShard {
		if h != s.holder {
			continue
		}
		if len(p.keep) < fair {
			p.keep = append(p.keep, n)
		} else {
			p.give = append(p.give, n)
		}
	}
	for i := range ofShard {
		n := (from + i) % len(ofShard)
		if ofShard[n] == "" && len(p.keep) < fair {
			p.keep = append(p.keep, n)
		}
	}
	return p
}

// rotation spreads where holders begin to look for something free.
func (s *shares) rotation() int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.holder)) // never fails
	return int(h.Sum32() % uint32(s.shards))
}

// release gives up everything, also what an unanswered call may have taken.
func (s *shares) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	names := make([]string, 0, 2*s.shards)
	for n := range s.shards {
		names = append(names, s.shardName(n), s.seatName(n))
	}
	if err := s.store.ReleaseLeases(ctx, s.holder, names...); err != nil {
		s.log.Debug("leases not released; they expire by themselves", "part", s.prefix, "error", err)
	}
}
