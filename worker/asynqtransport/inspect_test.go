package asynqtransport_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

func TestInspectFindsMissingRights(t *testing.T) {
	server := redistest.Start(t)
	ctx, admin := t.Context(), server.Client(t)
	for _, c := range []struct {
		rights       []string
		status       store.FindingStatus
		text, remedy string
	}{
		{[]string{"+@all", "-@dangerous", "~*", "&*"}, store.FindingOK, "user app may do all", ""},
		{[]string{"+@all", "-@dangerous", "-rpoplpush", "~*", "&*"}, store.FindingError, "refused the commands rpoplpush", "ACL SETUSER app +rpoplpush"},
		{[]string{"+@all", "-@dangerous", "~pyworkflow:*", "~asynq:{*", "&*"}, store.FindingError, "refused the keys ~asynq:queues ~asynq:servers* ~asynq:workers*", "~asynq:queues"},
		{[]string{"+@all", "-@dangerous", "~asynq:*", "resetchannels"}, store.FindingError, "refused the channels &asynq:cancel", "&asynq:cancel"},
		{[]string{"+@all", "-@admin", "-multi", "~*"}, store.FindingSkipped, "MULTI", "MULTI and DISCARD"},
	} {
		if err := admin.ACLSetUser(ctx, "app", append([]string{"reset", "on", ">secret"}, c.rights...)...).Err(); err != nil {
			t.Fatal(err)
		}
		user := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "app", Password: "secret"})
		t.Cleanup(func() { _ = user.Close() })
		tr, err := asynqtransport.New(asynqtransport.Config{Client: user})
		if err != nil {
			t.Fatal(err)
		}
		list, err := tr.Inspect(ctx)
		if err != nil || len(list) != 1 || list[0].Status != c.status || !strings.Contains(list[0].Message, c.text) || !strings.Contains(list[0].Remedy, c.remedy) {
			t.Errorf("%q: %+v, %v", c.rights, list, err)
		}
	}
	if keys, err := admin.Keys(ctx, "*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("left behind: %q, %v", keys, err)
	}
}

func TestQueuesAreThoseOfTheNamespace(t *testing.T) {
	server := redistest.Start(t)
	ctx := t.Context()
	tr, _ := open(t, server, "mine")
	other, _ := open(t, server, "mine2")
	message := func(run, queue string) store.Message { return store.Message{RunID: run, Dispatch: 1, Queue: queue} }
	if _, err := tr.Dispatch(ctx, []store.Message{message("run_1", "b"), message("run_2", "b"), message("run_3", "a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Dispatch(ctx, []store.Message{message("run_4", "c")}); err != nil {
		t.Fatal(err)
	}
	if err := tr.PauseQueue(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := tr.PauseQueue(ctx, "a"); err != nil {
		t.Errorf("a second pause: %v", err)
	}
	got, err := tr.Queues(ctx)
	for i := range got {
		if got[i].Oldest <= 0 || got[i].Oldest > time.Minute {
			t.Errorf("queue %s: the oldest message has waited %s", got[i].Queue, got[i].Oldest)
		}
		got[i].Oldest = 0
	}
	want := []store.QueueState{{Queue: "a", Waiting: 1, Paused: true, Resume: "redis-cli DEL 'asynq:{pyworkflow:mine:a}:paused'"},
		{Queue: "b", Waiting: 2, Resume: "redis-cli DEL 'asynq:{pyworkflow:mine:b}:paused'"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	inspector := asynq.NewInspectorFromRedisClient(server.Client(t))
	info, err := inspector.GetQueueInfo("pyworkflow:mine:a")
	if err != nil || !info.Paused {
		t.Errorf("asynq does not see the pause: %+v, %v", info, err)
	}
	for range 2 {
		if err := tr.ResumeQueue(ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err = inspector.GetQueueInfo("pyworkflow:mine:a"); err != nil || info.Paused {
		t.Errorf("asynq still sees a pause: %+v, %v", info, err)
	}
}
