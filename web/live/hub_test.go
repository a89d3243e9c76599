package live_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted is a client that counts looks, and fails when it is told to.
type counted struct {
	*client.Client
	mu     sync.Mutex
	looks  int
	broken error
}

func (c *counted) Processes(ctx context.Context) ([]client.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	if c.broken != nil {
		return nil, c.broken
	}
	return c.Client.Processes(ctx)
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

func (c *counted) breakIt(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
}

type world struct {
	t      *testing.T
	store  store.Store
	source *counted
	hub    *live.Hub
}

// inBubble runs a test with a hub on a store in memory, in fake time.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		app := pyworkflow.NewApp()
		if err := app.Register(pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "", nil })); err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Config{Store: st, App: app})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, store: st, source: &counted{Client: c}}
		w.hub = live.New(w.source, nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.hub.Run(ctx) }()
		test(t, w)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) subscribe(f live.Filter, from live.From) *live.Subscription {
	w.t.Helper()
	s, err := w.hub.Subscribe(f, from)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) start() string {
	w.t.Helper()
	id, err := w.source.StartRun(w.t.Context(), "minute_task", nil, pyworkflow.StartOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) cancel(id string) {
	w.t.Helper()
	if _, err := w.source.CancelRun(w.t.Context(), id, ""); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// got are the kinds and contents of the events that wait, and the place behind the last.
func got(s *live.Subscription) (all []string, last live.Position) {
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				return append(all, "end"), last
			}
			all, last = append(all, e.Kind+" "+string(e.Data)), e.Position
		default:
			return all, last
		}
	}
}

func expect(t *testing.T, what string, s *live.Subscription, want ...string) live.Position {
	t.Helper()
	all, last := got(s)
	same := len(all) == len(want)
	for i := 0; same && i < len(all); i++ {
		same = strings.Contains(all[i], want[i])
	}
	if !same {
		t.Errorf("%s: %q, want %q", what, all, want)
	}
	return last
}

func TestLooksOnlyWhileSomebodyListens(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pass(time.Hour)
		if n := w.source.count(); n != 0 {
			t.Fatalf("%d looks though nobody listens", n)
		}
		a, b := w.subscribe(live.Filter{}, live.From{}), w.subscribe(live.Filter{}, live.From{})
		pass(10 * time.Second)
		if n := w.source.count(); n < 9 || n > 15 {
			t.Errorf("%d looks in ten seconds", n)
		}
		a.Close()
		a.Close()
		b.Close()
		pass(2 * time.Minute)
		n := w.source.count()
		if pass(time.Hour); w.source.count() != n || n > 60 {
			t.Errorf("%d looks, then %d: it goes on though nobody listens", n, w.source.count())
		}
		c := w.subscribe(live.Filter{}, live.From{})
		pass(time.Second)
		expect(t, "it begins again", c, "reset {}")
	})
}

func TestTellsWhatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		before := w.start()
		all := w.subscribe(live.Filter{}, live.From{})
		pass(time.Second)
		expect(t, "what was there is no news", all, "reset")
		w.cancel(before)
		id := w.start()
		pass(2 * time.Second)
		events, _ := got(all)
		for _, want := range []string{`"run_id":"` + before + `"`, `"run_id":"` + id + `"`} {
			if !slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, want) }) {
				t.Errorf("nothing of %s in %q", want, events)
			}
		}
		pass(5 * time.Second)
		expect(t, "nothing changed", all)
		p := store.Process{ID: "h:1:a", Host: "h", PID: 1, Worker: true}
		if err := w.store.AnnounceProcess(t.Context(), p, time.Hour); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		expect(t, "a worker came", all, `process {"id":"h:1:a","host":"h","pid":1,"live":true}`)
		pass(2 * time.Second)
		if err := w.store.AnnounceProcess(t.Context(), p, time.Hour); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		expect(t, "it lives on", all)
		if err := w.store.WithdrawProcess(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		expect(t, "it went", all, `process {"id":"h:1:a","host":"h","pid":1,"live":false}`)

		watch := w.subscribe(live.Filter{Runs: []string{id}}, live.From{})
		pass(2 * time.Second)
		expect(t, "what is watched anew", watch, "reset")
		if err := w.store.AppendEvents(t.Context(), id, schedules.Event{At: time.Now(), Kind: "log", Message: "x"}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		expect(t, "a line in its log", watch, `run {"run_id":"`+id+`"`)
		w.cancel(before) // has ended: no change
		w.start()
		pass(2 * time.Second)
		expect(t, "another's change", watch)
	})
}

func TestGoesOnWhereItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.subscribe(live.Filter{}, live.From{})
		pass(time.Second)
		place := expect(t, "begin", s, "reset")
		s.Close()
		a, b := w.start(), w.start()
		pass(3 * time.Second)
		again := w.subscribe(live.Filter{}, live.From{Last: place})
		ids := []string{a, b}
		slices.Sort(ids)
		expect(t, "what came meanwhile", again, ids[0], ids[1])
		now, ok := again.Here()
		if !ok {
			t.Fatal("nothing waits, so it is somewhere")
		}
		if read, ok := live.ParsePosition(now.String()); !ok || read.String() != now.String() {
			t.Errorf("%s reads as %s", now, read)
		}
		again.Close()
		again = w.subscribe(live.Filter{}, live.From{Last: now})
		pass(time.Second)
		expect(t, "nothing came meanwhile", again)
		since := w.subscribe(live.Filter{}, live.From{Since: time.Now().Add(-4 * time.Second)})
		expect(t, "since then", since, ids[0], ids[1])
		early := w.subscribe(live.Filter{}, live.From{Since: time.Now().Add(-time.Hour)})
		pass(time.Second)
		expect(t, "since before it looked", early, "reset")
		news := w.subscribe(live.Filter{Schedules: []string{"s"}}, live.From{Last: now})
		pass(time.Second)
		expect(t, "what nobody watched until now", news, "reset")

		// A minute without anybody, and the place is not known any more.
		for _, s := range []*live.Subscription{again, since, early, news} {
			s.Close()
		}
		pass(2 * time.Minute)
		late := w.subscribe(live.Filter{}, live.From{Last: now})
		pass(time.Second)
		expect(t, "after it stopped looking", late, "reset")

		// More than are kept.
		place, _ = late.Here()
		late.Close()
		for range 11 {
			for range 100 {
				w.start()
			}
			pass(time.Second)
		}
		lost := w.subscribe(live.Filter{}, live.From{Last: place})
		pass(time.Second)
		expect(t, "too far back", lost, "reset")
	})
}

func TestSlowReaderIsSentAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s, quick := w.subscribe(live.Filter{}, live.From{}), w.subscribe(live.Filter{}, live.From{})
		pass(time.Second)
		seen := 0
		for range 5 {
			for range 80 {
				w.start()
			}
			pass(2 * time.Second)
			all, _ := got(quick)
			seen += len(all)
		}
		all, _ := got(s)
		if !s.Slow() || all[len(all)-1] != "end" || len(all) > 300 {
			t.Errorf("slow %v, %d events, the last %q", s.Slow(), len(all), all[len(all)-1])
		}
		if quick.Slow() || seen != 401 {
			t.Errorf("slow %v, %d events", quick.Slow(), seen)
		}
	})
}

func TestStoreThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.subscribe(live.Filter{}, live.From{})
		pass(time.Second)
		got(s)
		w.source.breakIt(errors.New("gone"))
		pass(5 * time.Second)
		id := w.start()
		pass(2 * time.Second)
		expect(t, "while it does not answer", s)
		w.source.breakIt(nil)
		pass(2 * time.Second)
		expect(t, "when it answers again", s, id)
	})
}

func TestNoMoreThanMayListen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var err error
		n := 0
		for ; err == nil && n < 5000; n++ {
			_, err = w.hub.Subscribe(live.Filter{}, live.From{})
		}
		if !errors.Is(err, live.ErrFull) || n != 1001 {
			t.Errorf("%d: %v", n, err)
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		var err error
		n := 0
		for ; err == nil && n < 5000; n++ {
			f := live.Filter{}
			for i := range live.MaxWatched {
				f.Schedules = append(f.Schedules, fmt.Sprintf("s%d-%d", n, i))
			}
			_, err = w.hub.Subscribe(f, live.From{})
		}
		if !errors.Is(err, live.ErrFull) || n != 26 {
			t.Errorf("%d: %v", n, err)
		}
	})
}

func TestNothingAfterTheEnd(t *testing.T) {
	hub := live.New(nil, nil)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := hub.Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := hub.Subscribe(live.Filter{}, live.From{}); !errors.Is(err, live.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestPlacesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "x", "a-b-c", "a-1", "-1-2", "a-1-2-3", "a-1-x", strings.Repeat("9", 5000)} {
		if p, ok := live.ParsePosition(text); ok {
			t.Errorf("%q reads as %s", text, p)
		}
	}
}
