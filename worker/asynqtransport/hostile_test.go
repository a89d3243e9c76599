package asynqtransport_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
)

// stranger is a Redis whose queue somebody else writes to.
type stranger struct {
	t  *testing.T
	st *redisstore.Store
	c  *client.Client
	q  string
	aq *asynq.Client
}

func newStranger(t *testing.T, server *redistest.Server, ns string, def pyworkflow.Registrable) *stranger {
	t.Helper()
	st, err := redisstore.New(server.Client(t), redisstore.Config{Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	app := pyworkflow.NewApp()
	if err := app.Register(def); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Store: st, App: app})
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t, st, c, "pyworkflow:" + ns + ":default", asynq.NewClientFromRedisClient(server.Client(t))}
}

func (s *stranger) start(input string) string {
	s.t.Helper()
	id, err := s.c.StartRun(s.t.Context(), "w", []byte(input), pyworkflow.StartOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *stranger) put(id, kind string, payload []byte) {
	s.t.Helper()
	if _, err := s.aq.EnqueueContext(s.t.Context(), asynq.NewTask(kind, payload), asynq.TaskID(id), asynq.Queue(s.q), asynq.MaxRetry(25)); err != nil {
		s.t.Fatal(err)
	}
}

// ended waits for the end of a run.
func (s *stranger) ended(id string) client.Run {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	r, err := s.c.WaitRun(ctx, id)
	if err != nil {
		now, _ := s.c.GetRun(s.t.Context(), id)
		s.t.Fatalf("run %s: %v; it is %s, %+v", id, err, now.Status, now.Error)
	}
	return r
}

// keep runs a beat and a keeper until the test ends.
func (s *stranger) keep(looker beat.Looker) {
	s.t.Helper()
	eng, err := engine.New(engine.Config{Store: s.st, Dispatcher: looker.(engine.Dispatcher)})
	if err != nil {
		s.t.Fatal(err)
	}
	k, err := beat.NewKeeper(beat.KeeperConfig{Store: s.st, Engine: eng, Looker: looker})
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := beat.New(beat.Config{Store: s.st, Engine: eng, PollInterval: 200 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- k.Run(ctx) }()
	go func() { done <- b.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
	})
}

var echo = pyworkflow.Define("w", func(_ context.Context, in map[string]int) (int, error) { return in["n"], nil })

// Whatever lies in the queue under a run's id, the run is executed once, at once; what names no run of ours disturbs nothing.
func TestForgedMessages(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	s := newStranger(t, server, ns, echo)
	forged := map[string]func(id string) (kind string, payload []byte){
		"garbage":   func(string) (string, []byte) { return "pyworkflow:run", []byte{0xff, 0, '\n'} },
		"truncated": func(id string) (string, []byte) { return "pyworkflow:run", []byte(`{"v":1,"run_id":"` + id) },
		"wrong type": func(id string) (string, []byte) {
			return "email:send", []byte(`{"v":1,"run_id":"` + id + `","dispatch":1}`)
		},
		"huge": func(string) (string, []byte) { return "pyworkflow:run", bytes.Repeat([]byte("["), 10<<20) },
		"unknown version": func(id string) (string, []byte) {
			return "pyworkflow:run", []byte(`{"v":99,"run_id":"` + id + `","dispatch":1,"x":1}`)
		},
		"foreign run": func(string) (string, []byte) {
			return "pyworkflow:run", []byte(`{"v":1,"run_id":"` + schedules.FreeRunID("foreign") + `","dispatch":1}`)
		},
		"wrong dispatch": func(id string) (string, []byte) {
			return "pyworkflow:run", []byte(`{"v":1,"run_id":"` + id + `","dispatch":7}`)
		},
	}
	var runs []string
	for name, f := range forged {
		id := s.start(`{"n":7}`)
		kind, payload := f(id)
		s.put(id+":1", kind, payload)
		s.put("not a run: "+name, kind, payload)
		runs = append(runs, id)
	}
	s.put(schedules.FreeRunID("other namespace")+":1", "pyworkflow:run", []byte("{}"))
	plain := s.start(`{"n":8}`)
	s.put(plain+":1", "pyworkflow:run", []byte(fmt.Sprintf(`{"v":1,"run_id":%q,"dispatch":1,"queue":"default"}`, plain)))
	h := newHost(t, server, ns, "host", time.Second, echo)
	for _, id := range append(runs, plain) {
		if r := s.ended(id); r.Status != schedules.RunCompleted || r.Attempt != 1 || r.Dispatch != 1 {
			t.Errorf("run %s: %+v", id, r)
		}
	}
	h.stop()
	if info, err := asynq.NewInspectorFromRedisClient(server.Client(t)).GetQueueInfo(s.q); err != nil || info.Size != 0 {
		t.Errorf("left in asynq: %+v, %v", info, err)
	}
}

// A task that asynq cannot take apart never reaches a worker: it is removed and the run sent anew.
func TestTaskThatAsynqCannotRead(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	s := newStranger(t, server, ns, echo)
	id := s.start(`{"n":7}`)
	tr, _ := open(t, server, ns)
	m := store.Message{RunID: id, Dispatch: 1, Queue: "default"}
	dispatch(t, tr, m)
	key := "asynq:{" + s.q + "}:"
	if err := server.Client(t).HSet(t.Context(), key+"t:"+id+":1", "msg", "\xff\xff garbage").Err(); err != nil {
		t.Fatal(err)
	}
	states, err := tr.Look(t.Context(), m)
	if err != nil || states[0] != store.MessageGone {
		t.Fatalf("%v %v", states, err)
	}
	if n, err := server.Client(t).Exists(t.Context(), key+"t:"+id+":1", key+"pending").Result(); err != nil || n != 0 {
		t.Errorf("%d keys are left, %v", n, err)
	}
	newHost(t, server, ns, "host", time.Second, echo)
	s.keep(tr)
	if r := s.ended(id); r.Status != schedules.RunCompleted {
		t.Errorf("%+v", r)
	}
}

// A run's record that was damaged fails that run and nothing else, wherever it stands; so does a schedule's.
func TestDamagedRecords(t *testing.T) {
	server, ns := redistest.Shared(t), redistest.Namespace(t)
	s := newStranger(t, server, ns, echo)
	rdb, ctx := server.Client(t), t.Context()
	key := func(id string) string {
		b, _ := schedules.IDPlacement(id)
		return fmt.Sprintf("pyworkflow:{%s:%d}:r:%s", ns, b%16, id)
	}
	damages := map[string]struct {
		do   func(key string) error
		kind string
		want string
	}{
		"no fix":      {func(k string) error { return rdb.HDel(ctx, k, "fix").Err() }, schedules.ErrorRecord, "field fix is missing"},
		"fix garbage": {func(k string) error { return rdb.HSet(ctx, k, "fix", "{").Err() }, schedules.ErrorRecord, "field fix: "},
		"mut garbage": {func(k string) error { return rdb.HSet(ctx, k, "mut", "\xff\xfe{").Err() }, schedules.ErrorRecord, "field mut: "},
		"mut empty":   {func(k string) error { return rdb.HSet(ctx, k, "mut", "{}").Err() }, schedules.ErrorRecord, "field mut: "},
		"no mut":      {func(k string) error { return rdb.HDel(ctx, k, "mut").Err() }, schedules.ErrorRecord, "field mut: "},
		"mut typed": {func(k string) error {
			return rdb.HSet(ctx, k, "mut", `{"v":1,"revision":3,"dispatch":1,"status":7}`).Err()
		}, schedules.ErrorRecord, "field mut: "},
		"lease":      {func(k string) error { return rdb.HSet(ctx, k, "lease", "soon").Err() }, schedules.ErrorRecord, "field lease: "},
		"input cut":  {func(k string) error { return rdb.HSet(ctx, k, "in", `{"n":`).Err() }, schedules.ErrorInput, "does not fit"},
		"input type": {func(k string) error { return rdb.HSet(ctx, k, "in", `["n"]`).Err() }, schedules.ErrorInput, "does not fit"},
	}
	every := schedules.Definition{Spec: schedules.Spec{Interval: "1s", IntervalFrom: schedules.FromStart}, Input: []byte(`{"n":1}`)}
	ids := make(map[string]string)
	for name, d := range damages {
		// A run of a schedule that its run blocks: it must be free again afterwards.
		id := "s_" + strings.ReplaceAll(name, " ", "_")
		if _, err := s.c.CreateSchedule(ctx, client.CreateRequest{ID: id, Workflow: "w", Definition: schedules.Definition{Spec: schedules.Spec{Cron: "@yearly"}, Input: []byte(`{"n":1}`)}}); err != nil {
			t.Fatal(err)
		}
		res, err := s.c.Trigger(ctx, id, client.TriggerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = string(res.RunID)
		if err := d.do(key(ids[name])); err != nil {
			t.Fatal(err)
		}
		if r, err := s.c.GetRun(ctx, ids[name]); err != nil || d.kind == schedules.ErrorRecord && (r.Error == nil || !strings.Contains(r.Error.Message, d.want)) {
			t.Errorf("%s: before it ends: %+v %v", name, r.Error, err)
		}
	}
	for _, id := range []string{"bad_rec", "bad_head", "bad_tally", "bad_hot", "good"} {
		if _, err := s.c.CreateSchedule(ctx, client.CreateRequest{ID: id, Workflow: "w", Definition: every}); err != nil {
			t.Fatal(err)
		}
		ref, err := s.st.Resolve(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if field, bad := strings.CutPrefix(id, "bad_"); bad {
			k := fmt.Sprintf("pyworkflow:{%s:%d}:s:%s", ns, ref.Placement()%16, ref)
			if err := rdb.HSet(ctx, k, field, "{garbage").Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	tr, _ := open(t, server, ns)
	newHost(t, server, ns, "host", time.Second, echo)
	s.keep(tr)
	for name, d := range damages {
		r := s.ended(ids[name])
		if r.Status != schedules.RunFailed || r.Error == nil || r.Error.Kind != d.kind || !strings.Contains(r.Error.Message, d.want) || strings.Contains(r.Error.Message, "\n") {
			t.Errorf("%s: %s %+v", name, r.Status, r.Error)
		}
		sch, err := s.c.GetSchedule(ctx, "s_"+strings.ReplaceAll(name, " ", "_"))
		if err != nil || sch.ActiveRuns != 0 || sch.FailedRuns != 1 || sch.TotalRuns != 1 || len(sch.ActiveRunIDs) != 0 {
			t.Errorf("%s: schedule %+v %v", name, sch.Schedule, err)
		}
	}
	for until := time.Now().Add(20 * time.Second); ; {
		good, err := s.c.GetSchedule(ctx, "good")
		if err != nil {
			t.Fatal(err)
		}
		if good.SuccessfulRuns >= 2 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the good schedule does not go on: %+v", good)
		}
		<-time.After(50 * time.Millisecond)
	}
	for _, id := range []string{"bad_rec", "bad_head", "bad_tally", "bad_hot"} {
		_, err := s.c.GetSchedule(ctx, id)
		if err == nil || !strings.Contains(err.Error(), "record cannot be read: field "+strings.TrimPrefix(id, "bad_")) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", id, err)
		}
	}
	page, err := s.c.ListSchedules(ctx, client.ScheduleFilter{}, client.PageRequest{})
	if err != nil || len(page.Items) != len(damages)+1 {
		t.Errorf("list has %d: %v", len(page.Items), err)
	}
	if runs, err := s.c.ListRuns(ctx, client.RunFilter{}, client.PageRequest{}); err != nil || len(runs.Items) < len(damages) {
		t.Errorf("list of runs has %d: %v", len(runs.Items), err)
	}
}
