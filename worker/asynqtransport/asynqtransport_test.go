package asynqtransport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

var _ worker.Transport = (*asynqtransport.Transport)(nil)

// logged keeps what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func open(t *testing.T, server *redistest.Server, namespace string) (*asynqtransport.Transport, *logged) {
	t.Helper()
	l := &logged{}
	tr, err := asynqtransport.New(asynqtransport.Config{Client: server.Client(t), Namespace: namespace,
		Log: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return tr, l
}

// serve runs the transport's server until stop is called.
func serve(t *testing.T, tr *asynqtransport.Transport, queues map[string]int, concurrency int, h worker.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Serve(ctx, queues, concurrency, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func dispatch(t *testing.T, tr *asynqtransport.Transport, msgs ...store.Message) {
	t.Helper()
	sent, err := tr.Dispatch(t.Context(), msgs)
	if err != nil || !slices.Equal(sent, msgs) {
		t.Fatalf("sent %v: %v", sent, err)
	}
}

// dispatchEach hands messages over one by one, each in a task of its own.
func dispatchEach(t *testing.T, tr *asynqtransport.Transport, msgs ...store.Message) {
	t.Helper()
	for _, m := range msgs {
		dispatch(t, tr, m)
	}
}

func look(t *testing.T, tr *asynqtransport.Transport, msgs ...store.Message) []store.MessageState {
	t.Helper()
	states, err := tr.Look(t.Context(), msgs...)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}

func msg(queue string, run int) store.Message {
	return store.Message{RunID: fmt.Sprintf("run_%03d", run), Dispatch: 1, Queue: queue}
}

func TestMessagesReachAHandler(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	other, _ := open(t, server, ns+"-other")
	got := make(chan store.Message, 200)
	stop := serve(t, tr, map[string]int{"default": 1, "fast": 3}, 10, func(_ context.Context, m store.Message) error {
		got <- m
		return nil
	})
	dispatch(t, other, msg("default", 999)) // another namespace
	var want []store.Message
	for i := range 100 {
		want = append(want, msg([]string{"default", "fast"}[i%2], i))
	}
	dispatch(t, tr, want...)
	var all []store.Message
	for range want {
		all = append(all, <-got)
	}
	slices.SortFunc(all, func(a, b store.Message) int { return strings.Compare(a.RunID, b.RunID) })
	if !slices.Equal(all, want) {
		t.Errorf("got %v", all)
	}
	eventually(t, "asynq forgets what is done", func() bool { return look(t, tr, want[0])[0] == store.MessageGone })
	stop()
	if len(got) > 0 {
		t.Errorf("more came: %v", <-got)
	}
	if states := look(t, other, msg("default", 999)); states[0] != store.MessageQueued {
		t.Errorf("the other namespace's message is %s", states[0])
	}
	client := server.Client(t)
	if n, err := client.Exists(t.Context(), "asynq:{pyworkflow:"+ns+":default}:t:run_000:1").Result(); err != nil || n != 0 {
		t.Errorf("task of a message that was dealt with: %d, %v", n, err)
	}
}

func TestIdleWorkerTakesAMessageSoon(t *testing.T) {
	tr, _ := open(t, redistest.Shared(t), redistest.Namespace(t))
	got := make(chan time.Time, 1)
	serve(t, tr, map[string]int{"default": 1}, 1, func(context.Context, store.Message) error {
		got <- time.Now()
		return nil
	})
	var waits []time.Duration
	for i := range 30 {
		began := time.Now()
		dispatch(t, tr, msg("default", i))
		waits = append(waits, (<-got).Sub(began))
	}
	slices.Sort(waits)
	if median := waits[len(waits)/2]; median > 40*time.Millisecond {
		t.Errorf("median %s of %v; want some milliseconds: senders tell of what they send", median, waits)
	}
}

func TestDispatchAgainIsHarmless(t *testing.T) {
	tr, _ := open(t, redistest.Shared(t), redistest.Namespace(t))
	m := msg("default", 1)
	dispatch(t, tr, m)
	dispatch(t, tr, m, m)
	var mu sync.Mutex
	n := 0
	begun, goOn := make(chan struct{}, 3), make(chan struct{})
	stop := serve(t, tr, map[string]int{"default": 1}, 3, func(context.Context, store.Message) error {
		mu.Lock()
		n++
		mu.Unlock()
		begun <- struct{}{}
		<-goOn
		return nil
	})
	<-begun
	dispatch(t, tr, m) // while it is handled
	if states := look(t, tr, m); states[0] != store.MessageActive {
		t.Errorf("a message that is handled is %s", states[0])
	}
	next := m
	next.Dispatch = 2
	dispatch(t, tr, next)
	<-begun
	close(goOn)
	stop()
	if n != 2 {
		t.Errorf("handled %d messages; want 2", n)
	}
}

func TestLookTellsWhatAsynqKnows(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, _ := open(t, server, ns)
	if states := look(t, tr, msg("default", 1)); states[0] != store.MessageGone {
		t.Errorf("a message of a queue that never was is %s", states[0])
	}
	dispatch(t, tr, msg("default", 1), msg("default", 2))
	inspector := asynq.NewInspectorFromRedisClient(server.Client(t))
	if err := inspector.ArchiveTask("pyworkflow:"+ns+":default", "run_002:1"); err != nil {
		t.Fatal(err)
	}
	got := look(t, tr, msg("default", 1), msg("default", 2), msg("default", 3))
	if want := []store.MessageState{store.MessageQueued, store.MessageGone, store.MessageGone}; !slices.Equal(got, want) {
		t.Errorf("waiting, archived, unknown: %v; want %v", got, want)
	}
	if err := server.Client(t).Del(t.Context(), "asynq:{pyworkflow:"+ns+":default}:pending").Err(); err != nil {
		t.Fatal(err)
	}
	if got := look(t, tr, msg("default", 1)); got[0] != store.MessageActive {
		t.Errorf("pending in a list that is lost: %v; two looks must be able to tell that it is gone", got)
	}
}

func TestMessageThatIsNotTakenGoesToAnother(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	stopping, _ := open(t, server, ns)
	refused := make(chan struct{}, 10)
	stop := serve(t, stopping, map[string]int{"default": 1}, 1, func(context.Context, store.Message) error {
		refused <- struct{}{}
		return worker.ErrNotTaken
	})
	m := msg("default", 1)
	dispatch(t, stopping, m)
	<-refused
	stop()
	if states := look(t, stopping, m); states[0] != store.MessageQueued {
		t.Errorf("message is %s", states[0])
	}
	got := make(chan store.Message, 1)
	other, _ := open(t, server, ns)
	serve(t, other, map[string]int{"default": 1}, 1, func(_ context.Context, m store.Message) error {
		got <- m
		return nil
	})
	select {
	case again := <-got:
		if again != m {
			t.Errorf("got %v", again)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody got it")
	}
}

func TestMessagesThatCannotBeRead(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	tr, l := open(t, server, ns)
	client := asynq.NewClientFromRedisClient(server.Client(t))
	queue := asynq.Queue("pyworkflow:" + ns + ":default")
	for i, task := range []*asynq.Task{asynq.NewTask("pyworkflow:run", []byte("no JSON")), asynq.NewTask("pyworkflow:run", nil),
		asynq.NewTask("pyworkflow:run", []byte(`{"v":1}`)), asynq.NewTask("somebody else's", []byte(`{"v":1,"run_id":"run_1"}`)),
		asynq.NewTask("pyworkflow:run", []byte(`{"v":2,"run_id":"run_newer","dispatch":3,"queue":"default","more":[1]}`))} {
		if _, err := client.EnqueueContext(t.Context(), task, queue, asynq.TaskID(fmt.Sprint("bad", i))); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan store.Message, 10)
	stop := serve(t, tr, map[string]int{"default": 1}, 1, func(_ context.Context, m store.Message) error {
		got <- m
		return errors.New("broken handler")
	})
	if m := <-got; m.RunID != "run_newer" || m.Dispatch != 3 {
		t.Errorf("got %v", m)
	}
	stop()
	if n := strings.Count(l.String(), "message cannot be read and is dropped"); n != 4 || len(got) != 0 {
		t.Errorf("%d were dropped, %d more got through", n, len(got))
	}
	if !strings.Contains(l.String(), "message was not dealt with") {
		t.Error("the handler's error is not logged")
	}
	info, err := asynq.NewInspectorFromRedisClient(server.Client(t)).GetQueueInfo("pyworkflow:" + ns + ":default")
	if err != nil || info.Size != 0 {
		t.Errorf("left in asynq: %+v, %v", info, err)
	}
}

func TestStopTakesNoMoreAndWaits(t *testing.T) {
	tr, _ := open(t, redistest.Shared(t), redistest.Namespace(t))
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tr.Serve(ctx, map[string]int{"default": 1}, 1, func(context.Context, store.Message) error {
			begun <- struct{}{}
			<-goOn
			return nil
		})
	}()
	dispatch(t, tr, msg("default", 1), msg("default", 2))
	<-begun
	cancel()
	select {
	case err := <-done:
		t.Fatalf("ended before the handler: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(begun) != 0 {
		t.Error("the second message was taken")
	}
}

func TestOutageOfRedisIsWaitedOut(t *testing.T) {
	server := redistest.Start(t, redistest.AppendOnly())
	tr, l := open(t, server, "")
	got := make(chan store.Message, 10)
	serve(t, tr, map[string]int{"default": 1}, 2, func(_ context.Context, m store.Message) error {
		got <- m
		return nil
	})
	dispatch(t, tr, msg("default", 1))
	<-got
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	sent, err := tr.Dispatch(ctx, []store.Message{msg("default", 2), msg("default", 3)})
	if err == nil || len(sent) != 0 || !strings.Contains(err.Error(), "enqueue run run_002") {
		t.Errorf("sent %v: %v", sent, err)
	}
	if _, err := tr.Look(ctx, msg("default", 1)); err == nil || !strings.Contains(err.Error(), "look for run run_001") {
		t.Errorf("look: %v", err)
	}
	server.Restart()
	eventually(t, "a message gets through again", func() bool {
		_, err := tr.Dispatch(t.Context(), []store.Message{msg("default", 2)})
		return err == nil
	})
	if m := <-got; m.RunID != "run_002" {
		t.Errorf("got %v", m)
	}
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "asynq: ") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("asynq's own words reach people: %s", line)
		}
	}
}

func TestMisuse(t *testing.T) {
	if _, err := asynqtransport.New(asynqtransport.Config{}); err == nil {
		t.Error("no client: no error")
	}
	tr, _ := open(t, redistest.Shared(t), redistest.Namespace(t))
	if err := tr.Serve(t.Context(), nil, 1, nil); err == nil || !strings.Contains(err.Error(), "no queues are named") {
		t.Errorf("no queues: %v", err)
	}
	if err := tr.Serve(t.Context(), map[string]int{"default": 1}, 0, nil); err == nil {
		t.Error("no concurrency: no error")
	}
}
