package beat

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sharer is one member that shares shards out.
type sharer struct {
	s    *shares
	kill context.CancelFunc
	done chan struct{}
}

// deadStore is f for a process that can die without a word.
type deadStore struct {
	*fakeStore
	dead bool
}

func (d *deadStore) ReleaseLeases(ctx context.Context, holder string, names ...string) error {
	if d.dead {
		return errDown
	}
	return d.fakeStore.ReleaseLeases(ctx, holder, names...)
}

func join(t *testing.T, f *fakeStore, id string) (*sharer, *deadStore) {
	d := &deadStore{fakeStore: f}
	l := &link{store: f, log: quiet(), suspects: make(chan struct{}, 1)}
	s := newShares(d, "beat", id, f.shards, l, quiet(), func([]int) {})
	ctx, cancel := context.WithCancel(t.Context())
	m := &sharer{s: s, kill: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		s.run(ctx)
	}()
	return m, d
}

// split checks that every shard has exactly one holder, and says how many each has.
func split(t *testing.T, shards int, ms []*sharer) []int {
	t.Helper()
	var counts []int
	holder := make(map[int]string)
	for _, m := range ms {
		held := m.s.now()
		counts = append(counts, len(held))
		for _, n := range held {
			if other, taken := holder[n]; taken {
				t.Errorf("shard %d is held by %s and %s", n, other, m.s.holder)
			}
			holder[n] = m.s.holder
		}
	}
	if len(holder) != shards {
		t.Errorf("%d of %d shards are held: %v", len(holder), shards, counts)
	}
	return counts
}

func TestShardsAreSharedOutEvenly(t *testing.T) {
	for _, members := range []int{1, 2, 3, 5, 16, 20} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeStore(16)
				var ms []*sharer
				for i := range members {
					m, _ := join(t, f, fmt.Sprintf("host:%d:x", i))
					ms = append(ms, m)
					if i == 0 {
						synctest.Wait()
						if n := split(t, 16, ms); n[0] != 16 {
							t.Errorf("alone it holds %d shards, want all at once", n[0])
						}
					}
				}
				wait(4 * time.Second)
				fair := (16 + members - 1) / members
				for _, n := range split(t, 16, ms) {
					if n > fair {
						t.Errorf("one holds %d shards, want at most %d", n, fair)
					}
				}
				before := fmt.Sprint(holders(ms))
				wait(time.Minute)
				if after := fmt.Sprint(holders(ms)); after != before {
					t.Errorf("shards wander: %s, then %s", before, after)
				}
				for _, m := range ms {
					m.kill()
					<-m.done
				}
				wait(0)
				if len(f.leases) != 0 {
					t.Errorf("leases are left after all have stopped: %v", f.leases)
				}
			})
		})
	}
}

func holders(ms []*sharer) [][]int {
	var all [][]int
	for _, m := range ms {
		all = append(all, m.s.now())
	}
	return all
}

func TestDeathAndStopAreTakenOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		dies   bool
		within time.Duration
	}{{"stop", false, time.Second}, {"death", true, 2510 * time.Millisecond}} {
		t.Run(c.name, func(t *testing.T) {
			for phase := range 10 {
				synctest.Test(t, func(t *testing.T) {
					f := newFakeStore(16)
					var ms []*sharer
					var stores []*deadStore
					for i := range 4 {
						m, d := join(t, f, fmt.Sprintf("host:%d:x", i))
						ms, stores = append(ms, m), append(stores, d)
						wait(time.Duration(37*i) * time.Millisecond)
					}
					wait(5*time.Second + time.Duration(phase)*50*time.Millisecond)
					stores[1].dead = c.dies
					ms[1].kill()
					<-ms[1].done
					rest := []*sharer{ms[0], ms[2], ms[3]}
					wait(c.within)
					split(t, 16, rest)
					for _, m := range rest {
						m.kill()
						<-m.done
					}
				})
			}
		})
	}
}

// rival takes what is asked for first, once.
type rival struct {
	*fakeStore
	once sync.Once
}

func (r *rival) HoldLeases(ctx context.Context, holder string, ttl time.Duration, names ...string) ([]string, error) {
	r.once.Do(func() { _, _ = r.fakeStore.HoldLeases(ctx, "rival", ttl, names[:4]...) })
	return r.fakeStore.HoldLeases(ctx, holder, ttl, names...)
}

func TestWhoLosesARaceForShardsTakesOthersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore(16)
		for n := range 8 { // a third holds half of them and has a seat
			_, _ = f.HoldLeases(t.Context(), "third", time.Hour, fmt.Sprintf("beat/%d", n), "beat/seat/0")
		}
		l := &link{store: f, log: quiet(), suspects: make(chan struct{}, 1)}
		s := newShares(&rival{fakeStore: f}, "beat", "host:1:x", f.shards, l, quiet(), func([]int) {})
		s.round(t.Context())
		if held := s.now(); len(held) != 4 {
			t.Errorf("holds %v after one round, want the four that neither the third nor the rival has", held)
		}
	})
}
