package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// hostile is what nobody may get into a page as markup.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}</textarea></pre>`

func escaped(t *testing.T, a answer) {
	t.Helper()
	a.lacks("<script>alert", "<img src=x")
	if !strings.Contains(a.Body, "&lt;script&gt;alert(1)") {
		t.Errorf("%s does not show the hostile text at all:\n%s", a.Path, a.text())
	}
}

// knows makes workflows known to the world, as an activation would.
func (w *world) knows(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.must(w.app.Register(pyworkflow.DefineFunc(name, func(context.Context) (any, error) { return nil, nil }, pyworkflow.MaxRetries(3))))
	}
}

func (w *world) run(workflow, input string) string {
	w.t.Helper()
	id, err := w.StartRun(w.t.Context(), workflow, json.RawMessage(input), pyworkflow.StartOptions{})
	w.must(err)
	return id
}

// fail lets an attempt fail with an error of the test's choice; again: it is not the last one.
func (w *world) fail(id string, e schedules.RunError, again bool) {
	w.t.Helper()
	_, err := w.engine.ChangeRun(w.t.Context(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		o := schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &e, NoRetry: !again, RetryAfter: 30 * time.Second}
		return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
	})
	w.must(err)
}

var runLinks = regexp.MustCompile(`<a class="row-link" href="/runs/(run_[0-9a-f]+)">`)

// listed gives the ids of the runs that a page lists.
func (a answer) listed() string {
	var ids []string
	for _, m := range runLinks.FindAllStringSubmatch(a.Body, -1) {
		ids = append(ids, m[1])
	}
	return strings.Join(ids, " ")
}

func TestRunsAreListedAndFiltered(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	w.get("/runs").has(http.StatusOK, "No run yet", "pyworkflow workflows run NAME", `href="/runs/start"`)

	old := w.run("sync", "")
	w.now = w.now.Add(2 * time.Hour)
	w.create("hourly", schedules.Spec{Cron: "0 * * * *"})
	w.pass(time.Hour, "hourly")
	scheduled := string(w.schedule("hourly").LastRunID)
	w.claim(scheduled)
	w.end(scheduled, schedules.RunFailed)
	fresh := w.run("sync", "")

	for query, want := range map[string]string{
		"":                                  fresh + " " + scheduled + " " + old,
		"?workflow=sync":                    fresh + " " + old,
		"?status=failed":                    scheduled,
		"?schedule=hourly":                  scheduled,
		"?since=1h":                         fresh + " " + scheduled,
		"?since=2026-03-02T10:00:00Z":       fresh + " " + scheduled + " " + old,
		"?workflow=sync&status=pending":     fresh + " " + old,
		"?workflow=sync&since=30m":          fresh,
		"?schedule=hourly&status=cancelled": "",
	} {
		a := w.get("/runs" + query).has(http.StatusOK)
		if got := a.listed(); got != want {
			t.Errorf("/runs%s lists %q, want %q", query, got, want)
		}
		if want == "" {
			a.has(http.StatusOK, "No run matches")
		}
	}
	w.get("/runs?status=failed").has(http.StatusOK, `<option value="failed" selected>`, `href="/schedules/hourly"`, "host-2")
	w.get("/runs?since=90m").has(http.StatusOK, `<option value="90m" selected>`)
	w.get("/runs?status=lost").has(http.StatusUnprocessableEntity, "is no status; choose pending, running")
	w.get("/runs?since=yesterday").has(http.StatusUnprocessableEntity, "“yesterday” is neither an age, such as 90m or 7d")
	escaped(t, w.get("/runs?workflow="+url.QueryEscape(hostile)+"&schedule="+url.QueryEscape(hostile)+"&since="+url.QueryEscape(hostile)))
}

func TestRunsArePaged(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 5 {
		w.now = w.now.Add(time.Second)
		ids = append([]string{w.run("report", "")}, ids...)
	}
	next := regexp.MustCompile(`href="([^"]+)" rel="next"`)
	var got []string
	path := "/runs?workflow=report&limit=2"
	for range 3 {
		a := w.get(path).has(http.StatusOK)
		got = append(got, strings.Fields(a.listed())...)
		m := next.FindStringSubmatch(a.Body)
		if m == nil {
			break
		}
		path = strings.ReplaceAll(m[1], "&amp;", "&")
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("pages list %v, want %v", got, ids)
	}
	w.get(path).has(http.StatusOK, "From the start").lacks(`rel="next"`)
	w.get("/runs?cursor=nonsense").has(http.StatusBadRequest, "nonsense")
}

func TestStartARun(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	form := w.get("/runs/start?workflow=sync").has(http.StatusOK, `<option value="sync" selected>`)
	key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(form.Body)
	if key == nil {
		t.Fatalf("the form has no key:\n%s", form.Body)
	}

	w.post("/runs/start", "workflow", "", "input", "").has(http.StatusUnprocessableEntity, "is missing; choose what to run")
	w.post("/runs/start", "workflow", "sync", "input", "{'a': 1}").has(http.StatusUnprocessableEntity, "is not JSON", "{&#39;a&#39;: 1}", "line 1, column 2")
	w.post("/runs/start", "workflow", "snyc", "input", "").has(http.StatusUnprocessableEntity, "snyc", "sync")
	w.post("/runs/start", "workflow", "sync", "queue", "no spaces").has(http.StatusUnprocessableEntity, "no spaces")
	escaped(t, w.post("/runs/start", "workflow", hostile, "input", hostile, "queue", hostile))
	if list := w.runs(); len(list) != 0 {
		t.Fatalf("refused forms started %d runs", len(list))
	}

	first := w.post("/runs/start", "workflow", "sync", "input", `{"n": 1}`, "queue", "fast", "key", key[1]).has(http.StatusOK, "of sync started.", "sync")
	again := w.post("/runs/start", "workflow", "sync", "input", `{"n": 1}`, "queue", "fast", "key", key[1])
	list := w.runs()
	if len(list) != 1 || again.Path != first.Path || first.Path != "/runs/"+list[0].RunID {
		t.Fatalf("a form sent twice led to %s and %s; runs: %+v", first.Path, again.Path, list)
	}
	if r := list[0]; r.Workflow != "sync" || r.Queue != "fast" || string(r.Input) != `{"n":1}` || r.ScheduleID != "" {
		t.Errorf("the run is %+v", r)
	}
}

// TestStartARunOfWhatNobodyHasAnnounced: where nothing is known, a workflow can be named all the same, and the answer says what is missing.
func TestStartARunOfWhatNobodyHasAnnounced(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Client = newRunWorld(t, nil).client })
	w.get("/runs/start").has(http.StatusOK, "No workflow is known yet", `<input id="f-workflow"`)
	w.post("/runs/start", "workflow", "sync").has(http.StatusUnprocessableEntity, "sync", `<input id="f-workflow"`)
}

func (w *world) runs() []client.Run {
	w.t.Helper()
	page, err := w.ListRuns(w.t.Context(), client.RunFilter{}, client.PageRequest{})
	w.must(err)
	return page.Items
}

func TestReadOnlyShowsRunsAndRefusesActs(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ReadOnly = true })
	id := w.run("report", "")
	for _, path := range []string{"/", "/runs", "/runs/" + id, "/workers"} {
		w.get(path).has(http.StatusOK).lacks("/runs/start", "/cancel", "/again", "<form method=\"post\"")
	}
	for _, path := range []string{"/runs/start", "/runs/" + id + "/cancel", "/runs/" + id + "/again", "/queues/default/pause", "/queues/default/resume"} {
		w.get(path).has(http.StatusForbidden, "this dashboard only shows")
		w.post(path, "workflow", "report", "reason", "x").has(http.StatusForbidden, "this dashboard only shows")
	}
	if list := w.runs(); len(list) != 1 || list[0].Status != schedules.RunPending {
		t.Errorf("after refused acts: %+v", list)
	}
}
