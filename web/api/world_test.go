package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/web/api"
	"github.com/pyworkflow-go/pyworkflow/web/live"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

// world is an API over a real store.
type world struct {
	t      *testing.T
	store  store.Store
	engine *engine.Engine
	client *client.Client
	hub    *live.Hub
	api    http.Handler
}

// app has a workflow, and one with a schedule that is declared.
func app(t *testing.T) *pyworkflow.App {
	t.Helper()
	a := pyworkflow.NewApp()
	done := func(context.Context) (string, error) { return "done", nil }
	if err := a.Register(pyworkflow.DefineFunc("minute_task", done), pyworkflow.DefineFunc("pulse", done, pyworkflow.Schedule(pyworkflow.Cron("0 9 * * *")))); err != nil {
		t.Fatal(err)
	}
	return a
}

// distributed is a world on Redis whose runs go through asynq's queues.
func distributed(t *testing.T) *world {
	t.Helper()
	namespace := redistest.Namespace(t)
	rdb := redistest.Shared(t).Client(t)
	st, err := redisstore.New(rdb, redisstore.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	transport, err := asynqtransport.New(asynqtransport.Config{Client: rdb, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Store: st, Dispatcher: transport})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st, engine: e}
	w.serve(client.Config{Store: st, Engine: e, App: app(t), Queues: transport}, api.Config{Namespace: namespace, Runtime: "asynq", Version: "v0.0.0", Doctor: client.DoctorOptions{Carrier: transport}})
	return w
}

// local is a world in memory, without queues.
func local(t *testing.T, change ...func(*api.Config)) *world {
	t.Helper()
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	e, err := engine.New(engine.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st, engine: e}
	cfg := api.Config{}
	for _, f := range change {
		f(&cfg)
	}
	w.serve(client.Config{Store: st, Engine: e, App: app(t)}, cfg)
	return w
}

func (w *world) serve(cc client.Config, ac api.Config) {
	w.t.Helper()
	var err error
	if w.client, err = client.New(cc); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.client.Activate(w.t.Context(), cc.App, client.ActivateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.hub = live.New(w.client, nil)
	ac.Client, ac.Live = w.client, w.hub
	if w.api, err = api.New(ac); err != nil {
		w.t.Fatal(err)
	}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// decode reads the body into v.
func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// problem reads the body as one, and holds it against what every problem is.
func (r reply) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	r.decode(t, &p)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" || p.Type != "about:blank" || p.Status != r.status || p.Title != http.StatusText(r.status) ||
		p.Code == "" || p.Detail == "" || strings.ContainsAny(p.Detail, "\n\r") {
		t.Errorf("no problem details: %s %s", got, r.body)
	}
	return p
}

// ask sends a request. Headers are pairs of name and value. A body is JSON as text, or a value that is encoded.
func (w *world) ask(method, path string, body any, header ...string) reply {
	w.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, api.Prefix+path, in)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out := httptest.NewRecorder()
	w.api.ServeHTTP(out, r)
	return reply{out.Code, out.Header(), out.Body.String()}
}

// create makes a schedule that never ticks by itself while the test runs.
func (w *world) create(id string, more ...string) client.Schedule {
	w.t.Helper()
	fields := strings.Join(append([]string{`"schedule_id":"` + id + `","workflow":"minute_task","spec":{"cron":"0 9 1 1 *"}`}, more...), ",")
	got := w.ask("POST", "/schedules", "{"+fields+"}")
	if got.status != http.StatusCreated {
		w.t.Fatalf("create %s: %d %s", id, got.status, got.body)
	}
	var s client.Schedule
	got.decode(w.t, &s)
	return s
}

// claim makes a run one that a worker executes.
func (w *world) claim(id string) schedules.Run {
	w.t.Helper()
	r, err := w.store.GetRun(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if r, err = w.store.Claim(w.t.Context(), id, r.Dispatch, store.Claim{Worker: "host-2:7:abcd", Token: "t" + id}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// end ends a run as a worker would, with a step and a line in its log.
func (w *world) end(id string, failure *schedules.RunError) {
	w.t.Helper()
	ctx := w.t.Context()
	r := w.claim(id)
	now := time.Now().UTC().Truncate(time.Millisecond)
	step := schedules.Step{Name: "fetch", Key: "fetch#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: now, EndedAt: now, Result: json.RawMessage("42")}
	if err := w.store.RecordStep(ctx, id, r.Dispatch, step); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.AppendEvents(ctx, id, schedules.Event{At: now, Kind: "log", Level: "INFO", Message: "fetched", Attrs: map[string]any{"rows": 42}}); err != nil {
		w.t.Fatal(err)
	}
	_, err := w.engine.ChangeRun(ctx, id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		o := schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage(`{"ok":true}`)}
		if failure != nil {
			o = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: failure}
		}
		return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if r.ScheduleID != "" {
		w.engine.Decide(ctx, r.Ref()) // what a keeper does
	}
}

// trigger starts a run of a schedule.
func (w *world) trigger(id string) string {
	w.t.Helper()
	got := w.ask("POST", "/schedules/"+id+"/trigger", `{"overlap_policy":"allow_all"}`)
	var res struct {
		RunID string `json:"run_id"`
	}
	if got.decode(w.t, &res); got.status != http.StatusOK || res.RunID == "" {
		w.t.Fatalf("trigger %s: %d %s", id, got.status, got.body)
	}
	return res.RunID
}
