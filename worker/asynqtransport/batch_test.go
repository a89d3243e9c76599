package asynqtransport_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

func messages(queue string, n int) []store.Message {
	all := make([]store.Message, n)
	for i := range all {
		all[i] = msg(queue, i)
		all[i].Workflow = "flow with spaces"
	}
	return all
}

// taken keeps what handlers were given.
type taken struct {
	mu  sync.Mutex
	all []store.Message
}

func (k *taken) add(m store.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, m)
}

func (k *taken) sorted() []store.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.SortedFunc(slices.Values(k.all), func(a, b store.Message) int { return strings.Compare(a.RunID, b.RunID) })
}

func TestMessagesOfABurstGoTogether(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	all := messages("default", 40)
	dispatch(t, tr, all...)
	dispatch(t, tr, all...) // harmless
	client, prefix := server.Client(t), "asynq:{pyworkflow:"+ns+":default}:"
	if n := client.LLen(t.Context(), prefix+"pending").Val(); n != 2 {
		t.Errorf("%d tasks for 40 messages; want 2, of 32 and 8", n)
	}
	queues, err := tr.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Waiting != 40 {
		t.Errorf("queues: %+v, %v", queues, err)
	}
	if states := look(t, tr, all[0], all[39], msg("default", 99)); !slices.Equal(states, []store.MessageState{store.MessageQueued, store.MessageQueued, store.MessageGone}) {
		t.Errorf("waiting, waiting, unknown: %v", states)
	}
	k, goOn := &taken{}, make(chan struct{})
	stop := serve(t, tr, map[string]int{"default": 1}, 64, func(_ context.Context, m store.Message) error {
		k.add(m)
		<-goOn
		return nil
	})
	eventually(t, "all are handled", func() bool { return len(k.sorted()) == 40 })
	if states := look(t, tr, all[0], all[39]); !slices.Equal(states, []store.MessageState{store.MessageActive, store.MessageActive}) {
		t.Errorf("handled: %v", states)
	}
	close(goOn)
	eventually(t, "asynq forgets what is done", func() bool { return look(t, tr, all[0])[0] == store.MessageGone })
	stop()
	if got := k.sorted(); !slices.Equal(got, all) {
		t.Errorf("handled %v", got)
	}
	if n := client.Exists(t.Context(), prefix+"pending", prefix+"active", prefix+"lease").Val(); n != 0 {
		t.Errorf("%d of asynq's lists are left", n)
	}
}

// After short runs as many batches are taken as fill twice the slots; one that waits stays with asynq.
func TestBatchesAreTakenAheadWhileRunsAreShort(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	short, long, goOn := &taken{}, &taken{}, make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	stop := serve(t, tr, map[string]int{"default": 1}, 4, func(_ context.Context, m store.Message) error {
		if m.RunID < "run_100" {
			short.add(m)
			return nil
		}
		long.add(m)
		<-goOn
		return nil
	})
	t.Cleanup(release) // before it is waited for
	dispatch(t, tr, messages("default", 8)...)
	eventually(t, "the short ones have ended", func() bool { return len(short.sorted()) == 8 })
	var all []store.Message
	for i := range 12 {
		all = append(all, msg("default", 100+i))
	}
	dispatch(t, tr, all[:4]...)
	eventually(t, "the slots are full", func() bool { return len(long.sorted()) == 4 })
	dispatch(t, tr, all[4:8]...)
	eventually(t, "another batch is taken ahead", func() bool { return len(long.sorted()) == 8 })
	dispatch(t, tr, all[8:]...)
	queues, err := tr.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Waiting != 4 {
		t.Errorf("queues: %+v, %v", queues, err)
	}
	release()
	eventually(t, "all have ended", func() bool { return len(long.sorted()) == 12 })
	stop()
}

// A worker that has fewer slots than a batch has messages leaves the others to whom has one.
func TestABatchKeepsNothingFromIdleWorkers(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	all := messages("default", 30)
	dispatch(t, tr, all...)
	goOn := make(chan struct{})
	handler := func(slots int, k *taken) worker.Handler {
		free := make(chan struct{}, slots)
		return func(ctx context.Context, m store.Message) error {
			select {
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-ctx.Done():
				return worker.ErrNotTaken
			}
			k.add(m)
			<-goOn
			return nil
		}
	}
	busy, idle := &taken{}, &taken{}
	stopBusy := serve(t, tr, map[string]int{"default": 1}, 2, handler(2, busy))
	eventually(t, "the small one has its part", func() bool { return len(busy.sorted()) == 2 })
	eventually(t, "it has put back the others", func() bool {
		queues, err := tr.Queues(t.Context())
		return err == nil && queues[0].Waiting == 28
	})
	other, _ := open(t, server, ns)
	stopIdle := serve(t, other, map[string]int{"default": 1}, 50, handler(50, idle))
	eventually(t, "the large one has all others", func() bool { return len(idle.sorted()) == 28 })
	close(goOn)
	stopBusy()
	stopIdle()
	if got := append(busy.sorted(), idle.sorted()...); len(got) != 30 {
		t.Errorf("%d were handled: %v", len(got), got)
	}
}

func TestMembersThatAreNotTakenComeBackAlone(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	all := messages("default", 8)
	dispatch(t, tr, all...)
	k := &taken{}
	var mu sync.Mutex
	seen := map[string]int{}
	serve(t, tr, map[string]int{"default": 1}, 10, func(_ context.Context, m store.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[m.RunID]++; seen[m.RunID] == 1 {
			switch m.RunID {
			case "run_001":
				return worker.ErrNotTaken
			case "run_002":
				return worker.ErrTooNew
			}
		}
		k.add(m)
		return nil
	})
	eventually(t, "all are taken in the end", func() bool { return slices.Equal(k.sorted(), all) })
}

func TestForgedBatches(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, l := open(t, server, ns)
	client := asynq.NewClientFromRedisClient(server.Client(t))
	for id, payload := range map[string]string{
		"batch:2:a": `{"v":1,"queue":"default","batch":["run_1 1 w","nothing 1 w"]}`, "batch:2:b": `{"v":1,"queue":"default","batch":[]}`,
		"batch:2:c": `{"v":1,"batch":["run_1 0 w"]}`, "batch:9999999:d": `[1`, "batch:": "", "batch:1:e": `{"v":0,"batch":["run_1 1 w"]}`,
		"batch:2:f": `{"v":1,"batch":["run_1 1 w"` + strings.Repeat(`,"run_1 1 w"`, 40) + `]}`,
	} {
		task := asynq.NewTask("pyworkflow:run", []byte(payload))
		if _, err := client.EnqueueContext(t.Context(), task, asynq.Queue("pyworkflow:"+ns+":default"), asynq.TaskID(id)); err != nil {
			t.Fatal(err)
		}
	}
	if states := look(t, tr, msg("default", 1)); states[0] != store.MessageGone {
		t.Errorf("a run that forged batches name is %s", states[0])
	}
	k := &taken{}
	serve(t, tr, map[string]int{"default": 1}, 4, func(_ context.Context, m store.Message) error {
		k.add(m)
		return nil
	})
	all := messages("default", 5)
	dispatch(t, tr, all...)
	eventually(t, "good messages arrive", func() bool { return slices.Equal(k.sorted(), all) })
	eventually(t, "each forged batch is told of", func() bool { return strings.Count(l.String(), "a batch of messages cannot be read") == 7 })
}

// What asynq cannot read takes no slot for good.
func TestUnreadableTasksDoNotStopAWorker(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	k, goOn := &taken{}, make(chan struct{})
	serve(t, tr, map[string]int{"default": 1, "other": 1}, 2, func(_ context.Context, m store.Message) error {
		k.add(m)
		<-goOn
		return nil
	})
	client, prefix := server.Client(t), "asynq:{pyworkflow:"+ns+":default}:"
	dispatch(t, tr, msg("default", 0)) // it is never idle
	eventually(t, "the first is handled", func() bool { return len(k.sorted()) == 1 })
	for _, id := range []string{"bad1", "bad2", "bad3"} {
		if err := client.HSet(t.Context(), prefix+"t:"+id, "msg", "\x00\xff", "state", "pending").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.LPush(t.Context(), prefix+"pending", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, tr, msg("default", 1))
	eventually(t, "the next is handled though three cannot be read", func() bool { return len(k.sorted()) == 2 })
	close(goOn)
	all := messages("default", 20)
	dispatch(t, tr, all...)
	dispatch(t, tr, messages("other", 20)...)
	eventually(t, "all others are handled", func() bool { return len(k.sorted()) == 42 })
}

// A slot that one message of a batch has left is another's, whatever else of the batch goes on.
func TestSlotsOfABatchAreFreedOneByOne(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	dispatch(t, tr, messages("default", 5)...)
	free, k := make(chan struct{}, 2), &taken{}
	ends := make(chan struct{})
	goOn := make(chan struct{})
	serve(t, tr, map[string]int{"default": 1}, 2, func(ctx context.Context, m store.Message) error {
		if m.RunID == "run_000" { // the first ends before the others
			return nil
		}
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		case <-ctx.Done():
			return worker.ErrNotTaken
		}
		k.add(m)
		select {
		case <-ends:
		case <-goOn:
		}
		return nil
	})
	letGo := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(letGo) // a test that fails ends, too
	eventually(t, "the others are put back", func() bool {
		queues, err := tr.Queues(t.Context())
		return err == nil && queues[0].Waiting == 2
	})
	for n := 2; n < 4; n++ {
		eventually(t, "two are handled at a time", func() bool { return len(k.sorted()) == n })
		select {
		case ends <- struct{}{}: // one of them ends, the other goes on
		case <-time.After(20 * time.Second):
			t.Fatal("none of the two waits for its end")
		}
	}
	eventually(t, "the last begins", func() bool { return len(k.sorted()) == 4 })
	letGo()
}

// What is taken for soon is not kept from idle workers when runs turn out to be long.
func TestWhatIsTakenIsBegun(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	short, long, goOn := &taken{}, &taken{}, make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	handler := func(slots int) worker.Handler {
		free := make(chan struct{}, slots)
		return func(ctx context.Context, m store.Message) error {
			select {
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-ctx.Done():
				return worker.ErrNotTaken
			}
			if m.RunID < "run_100" {
				short.add(m)
				return nil
			}
			long.add(m)
			<-goOn
			return nil
		}
	}
	const n = 12
	for i := range 20 {
		dispatch(t, tr, msg("default", i)) // each by itself
	}
	for i := range n {
		dispatch(t, tr, msg("default", 100+i))
	}
	stop := serve(t, tr, map[string]int{"default": 1}, 4, handler(4))
	t.Cleanup(release) // before it is waited for
	eventually(t, "the slots are full", func() bool { return len(long.sorted()) == 4 })
	other, _ := open(t, server, ns)
	stopOther := serve(t, other, map[string]int{"default": 1}, 2*n, handler(2*n))
	t.Cleanup(release)
	eventually(t, "the idle worker has the others", func() bool { return len(long.sorted()) == n })
	release()
	stop()
	stopOther()
}
