package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// step records a step of a run that is claimed.
func (w *world) step(id string, s schedules.Step) {
	w.t.Helper()
	r, err := w.store.GetRun(w.t.Context(), id)
	w.must(err)
	w.must(w.store.RecordStep(w.t.Context(), id, r.Dispatch, s))
}

func TestRunPageTellsTheWholeStory(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	id := w.run("sync", `{"region": "eu"}`)

	w.get("/runs/"+id).has(http.StatusOK, "pending", "It waits: no live worker has workflow &#34;sync&#34;", "waiting for a worker", `&#34;region&#34;: &#34;eu&#34;`,
		`data-events="/api/v1/events?run=`+id, `data-refresh="2"`, "/runs/"+id+"/cancel", "Nothing yet.")

	w.now = w.now.Add(4 * time.Second)
	w.claim(id)
	w.must(w.store.AppendEvents(t.Context(), id, schedules.Event{At: w.now, Kind: "log", Level: "warn", Message: "slow", Attrs: map[string]any{"url": "https://example.org"}}))
	w.step(id, schedules.Step{Name: "fetch", Key: "fetch#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: w.now, EndedAt: w.now.Add(time.Second), Result: json.RawMessage(`{"rows":7}`)})
	w.step(id, schedules.Step{Name: "store", Key: "store:a", Status: schedules.RunRunning, Attempt: 2, StartedAt: w.now.Add(time.Second)})
	w.now = w.now.Add(5 * time.Second)
	w.get("/runs/"+id).has(http.StatusOK, "running", "2 steps", `wb wb-completed" x="44.44%"`, `wb wb-running" x="55.56%" width="44.44%"`, ">store</span>", ">:a</span>", "×2", "&#34;rows&#34;: 7",
		`log-line log-warn`, `<span class="log-key">url=</span>https://example.org`, "host-2").lacks("It waits", "No step recorded", ">Result<")

	w.fail(id, schedules.RunError{Kind: "panic", Message: "boom", Stack: "goroutine 1 [running]:\nmain.go:7"}, true)
	w.get("/runs/"+id).has(http.StatusOK, "retrying", "attempt 1 failed: boom", "Next attempt <time", "<title>stopped, 4.0s</title>", `<span class="failure-line">attempt 1 failed: boom</span>`)

	_, err := w.CancelRun(t.Context(), id, "enough")
	w.must(err)
	w.get("/runs/"+id).has(http.StatusOK, "Cancelled", "cancelled: enough", "Run again").lacks("data-events", "data-refresh", "/cancel\"", "Next attempt")
}

func TestRunPageShowsResultOrError(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	good, bad := w.run("sync", ""), w.run("sync", "")
	w.claim(good)
	w.claim(bad)
	w.end(good, schedules.RunCompleted)
	w.fail(bad, schedules.RunError{Kind: "panic", Message: "boom", Stack: "goroutine 1 [running]:\nmain.go:7"}, false)
	w.get("/runs/"+good).has(http.StatusOK, ">Result<", `&#34;ok&#34;: true`).lacks("Failed")
	w.get("/runs/"+bad).has(http.StatusOK, "Failed", "boom", `<span class="tag">panic</span>`, "goroutine 1 [running]:\nmain.go:7").lacks(">Result<")
	w.get("/runs/run_000000000000000000000f").has(http.StatusNotFound, "run_000000000000000000000f")
	w.get("/runs/nonsense/json").has(http.StatusNotFound)
	w.get("/runs/"+good+"/json").has(http.StatusOK, "&#34;run_id&#34;: &#34;"+good+"&#34;", `href="/api/v1/runs/`+good+`"`, `data-copy="run-json"`)
}

// TestRunPageOfHostileTexts: whatever people and code put into names, values, errors and logs stays text.
func TestRunPageOfHostileTexts(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	input, err := json.Marshal(hostile)
	w.must(err)
	id := w.run("sync", string(input))
	r, err := w.store.GetRun(t.Context(), id)
	w.must(err)
	_, err = w.store.Claim(t.Context(), id, r.Dispatch, store.Claim{Worker: hostile + ":1:a", Token: "t"})
	w.must(err)
	w.must(w.store.AppendEvents(t.Context(), id, schedules.Event{At: w.now, Kind: hostile, Level: hostile, Message: hostile, Attrs: map[string]any{hostile: hostile}}))
	w.step(id, schedules.Step{Name: hostile, Key: hostile + ":" + hostile, Status: schedules.RunFailed, Attempt: 1, StartedAt: w.now, EndedAt: w.now, Error: &schedules.RunError{Message: hostile, Kind: hostile, Stack: hostile}})
	w.step(id, schedules.Step{Name: "ok", Key: "ok#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: w.now, EndedAt: w.now, Result: input})
	escaped(t, w.get("/runs/"+id))
	w.fail(id, schedules.RunError{Message: hostile, Kind: hostile, Stack: hostile}, true)
	escaped(t, w.get("/runs/"+id))
	_, err = w.CancelRun(t.Context(), id, hostile)
	w.must(err)
	for _, path := range []string{"", "/json"} {
		page := w.get("/runs/" + id + path).has(http.StatusOK)
		page.lacks("<script>alert", "<img src=x")
	}
	escaped(t, w.get("/runs/"+id))
	w.get("/").has(http.StatusOK).lacks("<script>alert", "<img src=x")
	w.get("/runs").has(http.StatusOK).lacks("<script>alert", "<img src=x")
}

func TestRunPageCutsWhatIsLong(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	id := w.run("sync", `"`+strings.Repeat("ü", maxShown)+`"`)
	page := w.get("/runs/"+id).has(http.StatusOK, "more bytes are not shown here")
	if n := strings.Count(page.Body, "ü"); n < maxShown/2-2 || n > maxShown/2 {
		t.Errorf("%d of %d letters are shown", n, maxShown)
	}
	w.get("/runs/"+id+"/json").has(http.StatusOK, strings.Repeat("ü", maxShown))
}

func TestRunPagePagesStepsAndLog(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	id := w.run("sync", "")
	w.claim(id)
	var events []schedules.Event
	for i := range 450 {
		w.step(id, schedules.Step{Name: fmt.Sprintf("step-%03d-", i+1), Key: fmt.Sprint("k", i), Status: schedules.RunCompleted, Attempt: 1, StartedAt: w.now, EndedAt: w.now})
		events = append(events, schedules.Event{At: w.now, Kind: "log", Level: "info", Message: fmt.Sprintf("line-%03d-", i+1)})
	}
	w.must(w.store.AppendEvents(t.Context(), id, events...))
	path := "/runs/" + id
	w.get(path).has(http.StatusOK, "450 steps, 251 to 450 are shown", "step-251-", "step-450-", "lines 251 to 450 of 450", "line-251-", "line-450-",
		`href="`+path+`?steps=250#steps"`, `href="`+path+`?log=250#log"`).lacks("step-250-", "line-250-", ">Newest<")
	w.get(path+"?log=250").has(http.StatusOK, "lines 51 to 250", "line-051-", "line-250-", "step-450-", `href="`+path+`?log=50#log"`, `href="`+path+`?log=450#log"`, `href="`+path+`#log"`).lacks("line-251-", "line-050-")
	w.get(path+"?steps=50&log=50").has(http.StatusOK, "1 to 200 are shown", "step-001-", "step-200-", "line-001-", `href="`+path+`?log=50&amp;steps=400#steps"`).lacks("step-201-", "line-201-")
	w.get(path+"?steps=x&log=-1").has(http.StatusOK, "251 to 450 are shown", "lines 251 to 450")
}

func TestCancelARun(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	waiting, running := w.run("sync", ""), w.run("sync", "")
	w.claim(running)
	w.get("/runs/"+waiting+"/cancel").has(http.StatusOK, "Cancel this run of sync?", "it ends at once", "Let it run")
	w.get("/runs/"+running+"/cancel").has(http.StatusOK, "Its code is told to stop")

	w.post("/runs/"+waiting+"/cancel", "reason", strings.Repeat("x", 5000)).has(http.StatusUnprocessableEntity, "f-reason-error")
	w.post("/runs/"+waiting+"/cancel", "reason", "not needed").has(http.StatusOK, "is cancelled.", "cancelled: not needed")
	w.post("/runs/"+running+"/cancel", "reason", "wrong input").has(http.StatusOK, "was asked to cancel.", "asked to cancel: wrong input", "running")
	w.end(running, schedules.RunCompleted) // its code does not heed
	w.post("/runs/"+running+"/cancel").has(http.StatusOK, "had ended before it could be cancelled: completed")
	w.get("/runs/"+running+"/cancel").has(http.StatusOK, "The run has ended already: completed")
	w.post("/runs/run_000000000000000000000f/cancel").has(http.StatusNotFound)
}

func TestRunAgain(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	old := w.run("sync", `{"region":"eu"}`)
	w.get("/runs/"+old+"/again").has(http.StatusOK, "Run sync again?", "has not ended yet: both will be active")
	w.claim(old)
	w.fail(old, schedules.RunError{Message: "broken", Kind: "error"}, false)
	w.get("/runs/"+old+"/again").has(http.StatusOK, "begins at the first step").lacks("both will be active")
	w.now = w.now.Add(time.Second)
	page := w.post("/runs/"+old+"/again").has(http.StatusOK, "This is a new run, with the input of "+shortID(old), "pending")
	list := w.runs()
	if len(list) != 2 || page.Path != "/runs/"+list[0].RunID || list[1].RunID != old {
		t.Fatalf("led to %s; runs: %+v", page.Path, list)
	}
	if r := list[0]; r.Workflow != "sync" || string(r.Input) != `{"region":"eu"}` || r.Status != schedules.RunPending {
		t.Errorf("the new run is %+v", r)
	}
	w.post("/runs/run_000000000000000000000f/again").has(http.StatusNotFound)
}
