package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pyworkflow-go/pyworkflow"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// document is what the API says of itself.
type document struct {
	t        *testing.T
	paths    map[string]map[string]operation
	compiler *jsonschema.Compiler
}

type operation struct {
	OperationID string `json:"operationId"`
	Summary     string
	RequestBody *struct {
		Content map[string]media
	} `json:"requestBody"`
	Responses map[string]struct{ Content map[string]media }
}

type media struct {
	Schema  any
	Example any
}

const documentURL = "https://pyworkflow.test/openapi.json"

func readDocument(t *testing.T, w *world) *document {
	t.Helper()
	got := w.ask("GET", "/openapi.json", nil)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v", got.status, got.header)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]operation
	}
	got.decode(t, &doc)
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 20 {
		t.Fatalf("OpenAPI %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, parsed); err != nil {
		t.Fatal(err)
	}
	return &document{t, doc.Paths, c}
}

// check holds JSON against the schema at a place in the document.
func (d *document) check(what, text string, place ...string) {
	d.t.Helper()
	for i, p := range place {
		place[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	schema, err := d.compiler.Compile(documentURL + "#/" + strings.Join(place, "/"))
	if err != nil {
		d.t.Errorf("%s: %v", what, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		d.t.Errorf("%s: %v: %s", what, err, text)
		return
	}
	if err := schema.Validate(v); err != nil {
		d.t.Errorf("%s does not fit its schema: %v\n%s", what, err, text)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestExamplesFitTheirSchemas: every body of every operation has an example, and it is one.
func TestExamplesFitTheirSchemas(t *testing.T) {
	d := readDocument(t, local(t))
	for path, item := range d.paths {
		for method, op := range item {
			if op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s %s has no id or no summary", method, path)
			}
			if op.RequestBody != nil {
				m := op.RequestBody.Content["application/json"]
				if m.Example == nil {
					t.Errorf("%s: no example of the request", op.OperationID)
					continue
				}
				d.check(op.OperationID+" request example", text(t, m.Example), "paths", path, method, "requestBody", "content", "application/json", "schema")
			}
			for status, r := range op.Responses {
				for kind, m := range r.Content {
					if m.Example == nil {
						t.Errorf("%s %s: no example of the answer", op.OperationID, status)
						continue
					}
					d.check(op.OperationID+" "+status+" example", text(t, m.Example), "paths", path, method, "responses", status, "content", kind, "schema")
				}
			}
			if _, ok := op.Responses["default"]; !ok {
				t.Errorf("%s: says nothing of problems", op.OperationID)
			}
		}
	}
}

// call is one request of the test, and the status it is answered with.
type call struct {
	id, method, path string // path: as in the document
	names            string // what {id} or {name} is
	query            string
	body             string
	want             int
}

// TestEveryOperationFitsItsSchema calls every operation of the document on a real store, and holds what was sent and what was answered against the document.
func TestEveryOperationFitsItsSchema(t *testing.T) {
	w := distributed(t)
	d := readDocument(t, w)
	ctx := t.Context()
	if err := w.store.AnnounceProcess(ctx, store.Process{ID: "host-2:7:abcd", Host: "host-2", PID: 7, StartedAt: time.Now(), Worker: true, Beat: true, Queues: []string{"default"},
		Workflows: []string{"minute_task"}, Capacity: 3, Shards: []int{0, 1}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	// A schedule with runs of every kind of end, one that waits, and one that is skipped.
	w.create("a", `"overlap_policy":"buffer_one","input":{"n":[1,"<b>",null]},"note":"a <note> & more"`)
	w.create("hourly")
	if got := w.ask("PATCH", "/schedules/hourly", `{"spec":{"cron":"0 * * * *","jitter":"5s","end_at":"2999-01-01T00:00:00Z"}}`); got.status != http.StatusOK {
		t.Fatal(got)
	}
	completed, failed, running := w.trigger("a"), w.trigger("a"), w.trigger("a")
	w.end(completed, nil)
	w.end(failed, &schedules.RunError{Message: "broken <script>alert(1)</script>", Kind: schedules.ErrorFailed, Stack: "goroutine 1\n\tmain.go:1"})
	w.claim(running)
	w.ask("POST", "/schedules/a/trigger", nil) // it waits
	free, err := w.client.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	yesterday := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	plan := url.Values{"start": {yesterday}, "missing_only": {"true"}}.Encode()
	got := w.ask("POST", "/schedules/hourly/backfill", `{"start":"`+yesterday+`"}`)
	var made struct {
		ID string `json:"backfill_id"`
	}
	if got.decode(t, &made); made.ID == "" {
		t.Fatal(got)
	}

	calls := []call{
		{"list-schedules", "get", "/schedules", "", "workflow=minute_task&status=active&overlap=buffer_one&search=A&sort=id&limit=10", "", 200},
		{"list-schedules", "get", "/schedules", "", "sort=next", "", 200},
		{"create-schedule", "post", "/schedules", "", "", `{"workflow":"minute_task","spec":{"interval":"1h30m","interval_from":"start","timezone":"Europe/Berlin"},"input":[1]}`, 201},
		{"create-schedule", "post", "/schedules", "", "", `{"schedule_id":"cal","workflow":"unheard_of","force":true,"queue":null,"spec":{"calendar":[{"day_of_month":"1,last","hour":9,"day_of_week":["mon",2]}]},"catchup":"none","buffer_limit":5,"cancel_grace":"1m","catchup_window":"2d"}`, 201},
		{"get-schedule", "get", "/schedules/{id}", "a", "", "", 200},
		{"get-schedule", "get", "/schedules/{id}", "cal", "", "", 200},
		{"get-schedule", "get", "/schedules/{id}", "auto_pulse", "", "", 200},
		{"ensure-schedule", "put", "/schedules/{id}", "ensured", "", `{"workflow":"minute_task","spec":{"interval":"5m"}}`, 200},
		{"update-schedule", "patch", "/schedules/{id}", "cal", "", `{"spec":{"cron":"@daily","timezone":null},"overlap_policy":"cancel_other","buffer_limit":7,"cancel_grace":"45s","catchup":"all","catchup_window":"1d12h","queue":null,"input":null,"note":"n"}`, 200},
		{"pause-schedule", "post", "/schedules/{id}/pause", "cal", "", `{"note":"why"}`, 200},
		{"pause-schedule", "post", "/schedules/{id}/pause", "auto_pulse", "", "", 200},
		{"resume-schedule", "post", "/schedules/{id}/resume", "cal", "", `{"note":null}`, 200},
		{"update-schedule", "patch", "/schedules/{id}", "auto_pulse", "", `{"note":"changed by hand","spec":{"cron":"0 10 * * *"}}`, 200},
		{"reset-schedule", "post", "/schedules/{id}/reset", "auto_pulse", "", "", 200},
		{"trigger-schedule", "post", "/schedules/{id}/trigger", "cal", "", `{"overlap_policy":"allow_all","input":{"x":1}}`, 200},
		{"trigger-schedule", "post", "/schedules/{id}/trigger", "a", "", `{"overlap_policy":"skip"}`, 409},
		{"list-history", "get", "/schedules/{id}/history", "a", "limit=3", "", 200},
		{"list-history", "get", "/schedules/{id}/history", "a", "fate=started&start=2020-01-01T00:00:00Z&end=2999-01-01T00:00:00%2B02:00", "", 200},
		{"timeline", "get", "/schedules/{id}/timeline", "a", "count=50", "", 200},
		{"strips", "get", "/strips", "", "schedule=a&schedule=cal&schedule=nobody&count=5", "", 200},
		{"next-ticks", "get", "/schedules/{id}/next", "hourly", "count=3&after=2026-03-08T00:00:00Z", "", 200},
		{"preview-ticks", "get", "/next", "", "cron=0+9+*+*+*&timezone=America/New_York&count=2&jitter=30s", "", 200},
		{"preview-ticks", "get", "/next", "", "calendar=day_of_month=1+hour=9&calendar=month=jan&until=2030-01-01T00:00:00Z", "", 200},
		{"start-backfill", "post", "/schedules/{id}/backfill", "a", "", `{"start":"2020-01-01T00:00:00Z","end":"2024-06-01T00:00:00Z","parallel":2,"max_runs":10,"missing_only":false}`, 202},
		{"start-backfill", "post", "/schedules/{id}/backfill", "a", "", `{"start":"2020-01-02T00:00:00Z","end":"2020-01-03T00:00:00Z"}`, 202}, // none
		{"plan-backfill", "get", "/schedules/{id}/backfill/plan", "hourly", plan, "", 200},
		{"list-backfills", "get", "/backfills", "", "schedule=hourly", "", 200},
		{"get-backfill", "get", "/backfills/{id}", made.ID, "", "", 200},
		{"cancel-backfill", "post", "/backfills/{id}/cancel", made.ID, "", "", 200},
		{"list-runs", "get", "/runs", "", "workflow=minute_task&schedule=a&since=1h&limit=50", "", 200},
		{"list-runs", "get", "/runs", "", "status=failed&since=2020-01-01T00:00:00Z", "", 200},
		{"start-run", "post", "/runs", "", "", `{"workflow":"minute_task","input":{"a":1},"queue":"other"}`, 201},
		{"get-run", "get", "/runs/{id}", completed, "", "", 200},
		{"get-run", "get", "/runs/{id}", failed, "", "", 200},
		{"get-run", "get", "/runs/{id}", running, "", "", 200},
		{"list-run-events", "get", "/runs/{id}/events", completed, "after=0", "", 200},
		{"run-again", "post", "/runs/{id}/again", failed, "", "", 201},
		{"cancel-run", "post", "/runs/{id}/cancel", running, "", `{"reason":"wrong"}`, 200},
		{"cancel-run", "post", "/runs/{id}/cancel", free, "", "", 200},
		{"list-workflows", "get", "/workflows", "", "", "", 200},
		{"get-workflow", "get", "/workflows/{name}", "minute_task", "", "", 200},
		{"list-processes", "get", "/processes", "", "", "", 200},
		{"list-queues", "get", "/queues", "", "", "", 200},
		{"pause-queue", "post", "/queues/{name}/pause", "default", "", "", 204},
		{"list-queues", "get", "/queues", "", "", "", 200},
		{"resume-queue", "post", "/queues/{name}/resume", "default", "", "", 204},
		{"overview", "get", "/overview", "", "", "", 200},
		{"upcoming", "get", "/upcoming", "", "width=1h&count=24", "", 200},
		{"doctor", "get", "/doctor", "", "", "", 200},
		{"version", "get", "/version", "", "", "", 200},
		{"delete-schedule", "delete", "/schedules/{id}", "a", "", "", 200},
		{"list-schedules", "get", "/schedules", "", "status=deleted", "", 200},
		{"delete-schedule", "delete", "/schedules/{id}", "nobody", "", "", 404},
	}
	tested := map[string]bool{"events": true} // it never ends: see TestEvents
	for _, c := range calls {
		name := strings.TrimSpace(fmt.Sprintf("%s %s %s?%s", c.id, c.method, c.path, c.query))
		op, ok := d.paths[c.path][c.method]
		if !ok || op.OperationID != c.id {
			t.Errorf("%s: the document has %q there", name, op.OperationID)
			continue
		}
		path := strings.NewReplacer("{id}", c.names, "{name}", c.names).Replace(c.path)
		if c.query != "" {
			path += "?" + c.query
		}
		var body any
		if c.body != "" {
			body = c.body
			d.check(name+" request", c.body, "paths", c.path, c.method, "requestBody", "content", "application/json", "schema")
		}
		got := w.ask(strings.ToUpper(c.method), path, body)
		if got.status != c.want {
			t.Errorf("%s: %d, want %d: %s", name, got.status, c.want, got.body)
			continue
		}
		status, kind := fmt.Sprint(got.status), "application/json"
		if got.status >= 400 {
			status, kind = "default", "application/problem+json"
		} else {
			tested[c.id] = true
		}
		if got.status == http.StatusNoContent {
			if got.body != "" {
				t.Errorf("%s: 204 with %q", name, got.body)
			}
			continue
		}
		if got.header.Get("Content-Type") != kind {
			t.Errorf("%s: Content-Type %q", name, got.header.Get("Content-Type"))
		}
		d.check(name, got.body, "paths", c.path, c.method, "responses", status, "content", kind, "schema")
	}
	for path, item := range d.paths {
		for _, method := range slices.Sorted(maps.Keys(item)) {
			if !tested[item[method].OperationID] {
				t.Errorf("%s %s (%s) has no successful call in this test", method, path, item[method].OperationID)
			}
		}
	}
}
