package dashboard

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

func TestWorkersOfTheLocalRuntime(t *testing.T) {
	w := newWorld(t)
	w.get("/workers").has(http.StatusOK, "Nobody is there", "scheduler run", "in the local runtime runs execute in the process that schedules them", "report", "none lives").lacks("worker run --beat", "Pause")
	w.lives(store.Process{ID: "laptop:7:a", Host: "laptop", PID: 7, StartedAt: w.now.Add(-time.Hour), Worker: true, Local: true, Beat: true, Workflows: []string{"report"}, Running: []string{"run_0123456789abcdef012345"}, Capacity: 10, Shards: []int{0}, Version: "v1.2.3"})
	w.get("/workers").has(http.StatusOK, "laptop", "pid 7", ">worker, beat<", "1 of 10", `href="/runs/run_0123456789abcdef012345"`, "v1.2.3", "1h 00m ago", `href="/runs/start?workflow=report"`).lacks("Nobody is there", "none lives", "differ in their version")
	w.get("/queues/default/pause").has(http.StatusConflict, "in the local runtime runs execute where they are scheduled")
	w.post("/queues/default/pause").has(http.StatusConflict, "in the local runtime")
	w.post("/queues/default/resume").has(http.StatusConflict, "in the local runtime")
}

func TestWorkersDifferInTheirVersion(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Runtime = "asynq" })
	w.get("/workers").has(http.StatusOK, "No worker and no beat lives", "worker run --beat", "Nothing was sent to a queue yet")
	for _, p := range []store.Process{
		{ID: "a:1:x", Host: "a", PID: 1, Worker: true, Queues: []string{"default", hostile}, Version: "v2", Capacity: 5},
		{ID: "b:1:x", Host: "b", PID: 1, Beat: true, Shards: []int{3, 1, 2, 9, 14, 15}, Version: "v2"},
		{ID: hostile, Host: hostile, PID: 1, Worker: true, Workflows: []string{hostile}, Version: "v1"},
	} {
		w.lives(p)
	}
	page := w.get("/workers").has(http.StatusOK, "differ in their version: v2 (2), v1 (1)", "1–3, 9, 14, 15", "0 of 5")
	escaped(t, page)
	escaped(t, w.get("/"))
}

func TestShardsAreNamedInRanges(t *testing.T) {
	for want, list := range map[string][]int{"": nil, "0": {0}, "0, 1": {1, 0}, "0–2": {2, 0, 1}, "0–3, 5, 7, 8": {0, 1, 2, 3, 5, 7, 8}} {
		if got := shardText(list); got != want {
			t.Errorf("shards %v are %q, want %q", list, got, want)
		}
	}
}

// redisWorld is a dashboard over a real Redis, with asynq's queues.
func redisWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start, app: pyworkflow.NewApp()}
	c := redistest.Shared(t).Client(t)
	namespace := redistest.Namespace(t)
	st, err := redisstore.New(c, redisstore.Config{Namespace: namespace})
	w.must(err)
	transport, err := asynqtransport.New(asynqtransport.Config{Client: c, Namespace: namespace})
	w.must(err)
	w.store = st
	w.engine, err = engine.New(engine.Config{Store: st, Dispatcher: transport})
	w.must(err)
	w.Client, err = client.New(client.Config{Store: st, Engine: w.engine, App: w.app, Queues: transport})
	w.must(err)
	h, err := New(Config{Client: w.Client, Runtime: "asynq", Doctor: client.DoctorOptions{Carrier: transport}})
	w.must(err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	w.must(err)
	w.url, w.web = server.URL, &http.Client{Jar: jar, Transport: server.Client().Transport}
	return w
}

func TestQueuesArePausedAndResumed(t *testing.T) {
	w := redisWorld(t)
	w.knows("sync")
	for range 3 {
		_, err := w.StartRun(t.Context(), "sync", json.RawMessage("1"), pyworkflow.StartOptions{Queue: "reports"})
		w.must(err)
	}
	w.lives(store.Process{ID: "a:1:x", Host: "a", PID: 1, Worker: true, Queues: []string{"default"}, Workflows: []string{"sync"}, Capacity: 5})
	w.get("/workers").has(http.StatusOK, "reports", "no worker", `data-label="Waiting">3<`, `href="/queues/reports/pause"`, "default").lacks("paused")
	w.get("/").has(http.StatusOK, "reports", `no live worker serves queue &#34;reports&#34;`, `data-label="Waiting">3<`).lacks("/queues/reports/pause")

	w.get("/queues/reports/pause").has(http.StatusOK, "Pause queue reports?", "3 runs wait in it now.")
	w.post("/queues/reports/pause").has(http.StatusOK, "Queue reports is paused", "paused</span>", `href="/queues/reports/resume"`)
	w.paused("reports", true)
	w.get("/queues/reports/resume").has(http.StatusOK, "Resume queue reports?", "Waiting now: 3 runs.")
	w.post("/queues/reports/resume").has(http.StatusOK, "Workers take runs from queue reports again.", `href="/queues/reports/pause"`).lacks("paused</span>")
	w.paused("reports", false)

	w.get("/queues/none/pause").has(http.StatusNotFound, "there is no queue none")
	w.post("/queues/none/pause").has(http.StatusNotFound, "none")
	w.post("/queues/none/resume").has(http.StatusNotFound, "none")

	id := w.run("sync", "")
	w.must(w.store.WithdrawProcess(t.Context(), "a:1:x"))
	w.get("/runs/"+id).has(http.StatusOK, string(schedules.RunPending), "It waits: no live worker has workflow")
}

func (w *world) paused(queue string, want bool) {
	w.t.Helper()
	all, err := w.Queues(w.t.Context())
	w.must(err)
	for _, q := range all {
		if q.Name == queue {
			if q.Paused != want {
				w.t.Errorf("queue %s is paused: %v, want %v", queue, q.Paused, want)
			}
			return
		}
	}
	w.t.Errorf("no queue %s among %+v", queue, all)
}
