package beat

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeTidier counts.
type fakeTidier struct {
	fakeTransport

	tmu   sync.Mutex
	times int
	hangs bool
}

func (f *fakeTidier) Tidy(ctx context.Context) error {
	f.tmu.Lock()
	defer f.tmu.Unlock()
	f.times++
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return errors.New("no answer")
}

func (f *fakeTidier) tidied() int {
	f.tmu.Lock()
	defer f.tmu.Unlock()
	return f.times
}

// startTidy runs a keeper in a bubble until the returned stop.
func startTidy(t *testing.T, f *fakeKeep, id string, looker Looker, every time.Duration) (stop func()) {
	t.Helper()
	k, err := NewKeeper(KeeperConfig{Store: f, Engine: f, Looker: looker, ID: id, TidyInterval: every})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
}

func TestOneKeeperTidiesTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKeep()
		a, b := &fakeTidier{}, &fakeTidier{}
		stop := startTidy(t, f, "a", a, 0)
		defer startTidy(t, f, "b", b, 0)()
		wait(61 * time.Second)
		if a.tidied() != 4 || b.tidied() != 0 {
			t.Errorf("tidied %d and %d times in a minute, want 4 times by who holds the shard", a.tidied(), b.tidied())
		}
		f.setDown(true)
		wait(time.Minute)
		if a.tidied()+b.tidied() != 4 {
			t.Errorf("tidied while the store did not answer")
		}
		f.setDown(false)
		wait(10 * time.Second)
		stop()
		before := a.tidied()
		wait(time.Minute)
		if a.tidied() != before || b.tidied() < 3 {
			t.Errorf("tidied %d times by who stopped, %d by who took over", a.tidied()-before, b.tidied())
		}
	})
}

func TestTidyingCanBeOffAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		off := &fakeTidier{}
		stop := startTidy(t, newFakeKeep(), "a", off, -1)
		wait(5 * time.Minute)
		stop()
		if off.tidied() != 0 {
			t.Errorf("tidied %d times although it is off", off.tidied())
		}
		hangs := &fakeTidier{hangs: true}
		stop = startTidy(t, newFakeKeep(), "a", hangs, time.Second)
		wait(30 * time.Second)
		began := time.Now()
		stop()
		if n := hangs.tidied(); n < 2 || n > 3 || time.Since(began) > time.Second {
			t.Errorf("%d looks in 30 s of 10 s each, the last ended %s after the stop", n, time.Since(began))
		}
	})
}
