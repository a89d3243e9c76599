package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/web/api"
)

func TestProblems(t *testing.T) {
	w := local(t, func(c *api.Config) { c.MaxBody = 4 << 10 })
	where := w.client.Describe()
	w.create("taken")
	w.create("gone")
	if got := w.ask("DELETE", "/schedules/gone", nil); got.status != http.StatusOK {
		t.Fatal(got)
	}
	const spec = `"spec":{"cron":"0 9 * * *"}`
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     client.Code
		field, detail            string
	}{
		// Each sentinel.
		{"no schedule", "GET", "/schedules/nope", "", nil, 404, client.CodeNotFound, "", `no schedule "nope" in ` + where + `; GET /api/v1/schedules lists those there are`},
		{"deleted", "POST", "/schedules/gone/trigger", "", nil, 404, client.CodeNotFound, "", `schedule "gone" was deleted`},
		{"no run", "GET", "/runs/nonsense", "", nil, 404, client.CodeNotFound, "", `no run "nonsense" in ` + where + `; GET /api/v1/runs lists those there are`},
		{"no backfill", "POST", "/backfills/nonsense/cancel", "", nil, 404, client.CodeNotFound, "", `no backfill "nonsense" in ` + where + `; GET /api/v1/backfills lists those there are`},
		{"no workflow", "GET", "/workflows/nonsense", "", nil, 404, client.CodeNotFound, "", `no workflow "nonsense" in ` + where + `; GET /api/v1/workflows lists those there are`},
		{"id taken", "POST", "/schedules", `{"schedule_id":"taken","workflow":"minute_task",` + spec + `}`, nil, 409, client.CodeConflict, "schedule_id",
			`schedule_id "taken": schedule "taken" already exists; choose another, or make it what you ask for with PUT /api/v1/schedules/taken`},
		{"another workflow", "PUT", "/schedules/taken", `{"workflow":"pulse",` + spec + `}`, nil, 409, client.CodeConflict, "",
			`schedule "taken" runs workflow "minute_task", not "pulse"; delete it first, or choose another id`},
		{"version", "PATCH", "/schedules/taken", `{"note":"x"}`, []string{"If-Match", `"9"`}, 412, client.CodeConflict, "If-Match", `If-Match: schedule taken is of version 1, not 9; read it again`},
		{"declared", "DELETE", "/schedules/auto_pulse", "", nil, 409, client.CodeConflict, "", `schedule auto_pulse is declared in code: pause it, or take it out of the code`},
		{"unknown workflow", "POST", "/schedules", `{"workflow":"minute_tsk",` + spec + `}`, nil, 400, client.CodeInvalid, "workflow",
			`workflow "minute_tsk" is neither in this program nor announced by a worker or an activation; did you mean minute_task?; "force": true creates the schedule all the same`},
		{"run of an unknown workflow", "POST", "/runs", `{"workflow":"minute_tsk"}`, nil, 400, client.CodeInvalid, "workflow",
			`workflow "minute_tsk" is neither in this program nor announced by a worker or an activation; did you mean minute_task?`},
		{"no queues", "POST", "/queues/default/pause", "", nil, 409, client.CodeConflict, "", client.ErrNoQueues.Error()},
		{"bad cursor", "GET", "/runs?cursor=made-up", "", nil, 400, client.CodeInvalid, "cursor", store.BadCursor("made-up").Error()},

		// What the domain refuses.
		{"no unit", "POST", "/schedules", `{"workflow":"minute_task","spec":{"interval":"30"}}`, nil, 400, client.CodeInvalid, "interval", `interval "30": needs a unit; write 30s, 30m, 30h or 30d`},
		{"two kinds", "POST", "/schedules", `{"workflow":"minute_task","spec":{"interval":"30s","cron":"@daily"}}`, nil, 400, client.CodeInvalid, "cron, interval",
			`cron, interval: exclude each other; give exactly one of cron, interval and calendar`},
		{"no kind", "POST", "/schedules", `{"workflow":"minute_task","spec":{}}`, nil, 400, client.CodeInvalid, "cron, interval, calendar", `cron, interval, calendar: none is given; give exactly one of them`},
		{"unknown field of the spec", "POST", "/schedules", `{"workflow":"minute_task","spec":{"crom":"@daily"}}`, nil, 400, client.CodeInvalid, "spec",
			`spec "crom": is no field of it; the fields are cron, interval, calendar, interval_from, timezone, start_at, end_at and jitter`},
		{"no workflow named", "POST", "/schedules", `{` + spec + `}`, nil, 400, client.CodeInvalid, "workflow", `workflow: is missing; name the workflow to run`},
		{"zero", "POST", "/schedules", `{"workflow":"minute_task",` + spec + `,"buffer_limit":0}`, nil, 400, client.CodeInvalid, "buffer_limit", `buffer_limit "0": must be more than 0`},
		{"zero duration", "PATCH", "/schedules/taken", `{"cancel_grace":"0s"}`, nil, 400, client.CodeInvalid, "cancel_grace", `cancel_grace "0s": must be more than 0`},
		{"field of the body", "POST", "/schedules", `{"workflow":"minute_task",` + spec + `,"overlap_policy":"x"}`, nil, 400, client.CodeInvalid, "overlap_policy", `overlap_policy "x": must be skip`},
		{"parameter", "GET", "/schedules?overlap=x", "", nil, 400, client.CodeInvalid, "overlap", `overlap "x": must be skip`},
		{"preview", "GET", "/next?cron=61+*+*+*+*", "", nil, 400, client.CodeInvalid, "cron", `cron "61 * * * *": `},
		{"preview's jitter", "GET", "/next?cron=@daily&jitter=5", "", nil, 400, client.CodeInvalid, "jitter", `jitter "5": needs a unit; write 5s, 5m, 5h or 5d`},
		{"upcoming's width", "GET", "/upcoming?width=5", "", nil, 400, client.CodeInvalid, "width", `width "5": needs a unit; write 5s, 5m, 5h or 5d`},
		{"backfill without a start", "POST", "/schedules/taken/backfill", `{}`, nil, 400, client.CodeInvalid, "start", `start: is missing; give the first nominal time of the range, such as 2026-01-15T00:00:00Z`},
		{"backfill of what is to come", "POST", "/schedules/taken/backfill", `{"start":"` + future + `"}`, nil, 400, client.CodeInvalid, "start",
			`start "` + future + `": must not be later than now; what is to come runs by itself`},
		{"backfill backwards", "POST", "/schedules/taken/backfill", `{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}`, nil, 400, client.CodeInvalid, "end",
			`end "2026-01-01T00:00:00Z": must be later than start 2026-01-02T00:00:00Z`},
		{"backfill with no run at a time", "POST", "/schedules/taken/backfill", `{"start":"2026-01-02T00:00:00Z","parallel":0}`, nil, 400, client.CodeInvalid, "parallel", `parallel "0": must be 1 or more`},
		{"plan without a start", "GET", "/schedules/taken/backfill/plan", "", nil, 400, client.CodeInvalid, "start", `start: is missing; give it as a parameter, ?start=…`},
		{"long key", "POST", "/runs", `{"workflow":"minute_task"}`, []string{"Idempotency-Key", strings.Repeat("k", 201)}, 400, client.CodeInvalid, "idempotency_key", `has 201 bytes, but at most 200 are taken; shorten it`},

		// What cannot be read.
		{"no JSON", "POST", "/schedules", `{"workflow":`, nil, 400, client.CodeInvalid, "body", `body "{\"workflow\":": is not JSON: unexpected end of JSON input`},
		{"no object", "POST", "/schedules", `[1]`, nil, 400, client.CodeInvalid, "body", `body "[1]": is not a JSON object`},
		{"two objects", "POST", "/schedules", `{} {}`, nil, 400, client.CodeInvalid, "body", `is not JSON: invalid character '{' after top-level value`},
		{"no body", "POST", "/schedules", "", nil, 400, client.CodeInvalid, "body", `body: is missing; send a JSON object`},
		{"unknown field", "POST", "/schedules", `{"workflow":"minute_task","cron":"@daily"}`, nil, 400, client.CodeInvalid, "body",
			`body "cron": is no field of it; the fields are schedule_id, workflow, spec, overlap_policy, buffer_limit, cancel_grace, catchup, catchup_window, queue, input, note and force`},
		{"a counter is no field", "PATCH", "/schedules/taken", `{"total_runs":0}`, nil, 400, client.CodeInvalid, "body", `body "total_runs": is no field of it`},
		{"the only field", "POST", "/schedules/taken/pause", `{"reason":"x"}`, nil, 400, client.CodeInvalid, "body", `body "reason": is no field of it; the only field is note`},
		{"repeated field", "POST", "/runs", `{"workflow":"minute_task","workflow":"pulse"}`, nil, 400, client.CodeInvalid, "body", `body "workflow": is given twice; give it once`},
		{"a number for a text", "POST", "/runs", `{"workflow":7}`, nil, 400, client.CodeInvalid, "workflow", `workflow "7": is no JSON string; write one`},
		{"a text for a number", "PATCH", "/schedules/taken", `{"buffer_limit":"7"}`, nil, 400, client.CodeInvalid, "buffer_limit", `buffer_limit "\"7\"": must be a whole number`},
		{"a text for a truth", "POST", "/schedules", `{"workflow":"minute_task",` + spec + `,"force":"yes"}`, nil, 400, client.CodeInvalid, "force", `force "\"yes\"": must be true or false`},
		{"a number for a duration", "PATCH", "/schedules/taken", `{"cancel_grace":30}`, nil, 400, client.CodeInvalid, "cancel_grace", `cancel_grace "30": is no JSON string; write one`},
		{"no time", "POST", "/schedules/taken/backfill", `{"start":"yesterday"}`, nil, 400, client.CodeInvalid, "start",
			`start "yesterday": is no time; write RFC 3339, such as 2026-03-01T09:00:00Z or 2026-03-01T09:00:00+01:00`},
		{"null for a policy", "PATCH", "/schedules/taken", `{"overlap_policy":null}`, nil, 400, client.CodeInvalid, "overlap_policy", `overlap_policy "null": is no value; leave it out to keep what is there`},
		{"null for a spec", "PATCH", "/schedules/taken", `{"spec":null}`, nil, 400, client.CodeInvalid, "spec", `spec "null": is no value; leave it out to keep what is there`},
		{"nothing to change", "PATCH", "/schedules/taken", `{}`, nil, 400, client.CodeInvalid, "body", `body: has nothing to change; give at least one field`},
		{"a spec without a field", "PATCH", "/schedules/taken", `{"spec":{}}`, nil, 400, client.CodeInvalid, "body", `body: has nothing to change; give at least one field`},
		{"an ETag without quotes", "DELETE", "/schedules/taken", "", []string{"If-Match", "1"}, 400, client.CodeInvalid, "If-Match",
			`If-Match "1": is no ETag of a schedule; send the one that its answers carry, such as "3" with its quotes`},
		{"a body that nobody reads", "DELETE", "/schedules/taken", `{"note":"x"}`, nil, 400, client.CodeInvalid, "body", `is not read by this request; leave it out`},
		{"a large body", "POST", "/runs", `{"workflow":"minute_task","input":"` + strings.Repeat("x", 5000) + `"}`, nil, 413, client.CodeInvalid, "", `the body has more than 4096 bytes; put what is large into a file`},
		{"another type", "POST", "/runs", `{"workflow":"minute_task"}`, []string{"Content-Type", "text/plain"}, 415, client.CodeInvalid, "Content-Type", `Content-Type "text/plain": must be application/json`},

		// Parameters.
		{"limit that is no number", "GET", "/schedules?limit=x", "", nil, 400, client.CodeInvalid, "limit", `limit "x": must be a whole number`},
		{"limit of none", "GET", "/runs?limit=0", "", nil, 400, client.CodeInvalid, "limit", `limit "0": must be 1 to 1000`},
		{"limit of many", "GET", "/runs?limit=1001", "", nil, 400, client.CodeInvalid, "limit", `limit "1001": must be 1 to 1000`},
		{"status", "GET", "/schedules?status=lost", "", nil, 400, client.CodeInvalid, "status", `status "lost": must be active, paused, finished or deleted`},
		{"time", "GET", "/schedules/taken/history?start=now", "", nil, 400, client.CodeInvalid, "start", `start "now": is no time; write RFC 3339`},
		{"since", "GET", "/runs?since=now", "", nil, 400, client.CodeInvalid, "since", `since "now": is no time; write RFC 3339, such as 2026-03-01T09:00:00Z, or how long ago, such as 30m or 1d`},
		{"truth", "GET", "/schedules/taken/backfill/plan?start=2026-01-01T00:00:00Z&missing_only=1", "", nil, 400, client.CodeInvalid, "missing_only", `missing_only "1": must be true or false`},
		{"unknown parameter", "GET", "/runs?state=failed", "", nil, 400, client.CodeInvalid, "state", `state: is no parameter of this request; it has limit, cursor, workflow, schedule, status and since`},
		{"parameter of none", "GET", "/processes?limit=3", "", nil, 400, client.CodeInvalid, "limit", `limit: is no parameter of this request; it has none`},
		{"twice", "GET", "/runs?limit=3&limit=4", "", nil, 400, client.CodeInvalid, "limit", `limit "3, 4": is given twice; give it once`},
		{"escape", "GET", "/runs?workflow=%zz", "", nil, 400, client.CodeInvalid, "query", `cannot be read; escape special characters`},
		{"kind of event", "GET", "/events?kind=tick", "", nil, 400, client.CodeInvalid, "kind", `kind "tick": must be run, schedule or process`},
		{"many to watch", "GET", "/events?run=" + strings.Repeat("r&run=", 200) + "r", "", nil, 400, client.CodeInvalid, "run", `run: names 201; at most 200 can be watched in one stream`},

		// Paths.
		{"nothing there", "GET", "/nothing", "", nil, 404, client.CodeNotFound, "", `there is nothing at /api/v1/nothing; GET /api/v1/openapi.json says what there is`},
		{"wrong method", "PUT", "/schedules", `{}`, nil, 405, client.CodeInvalid, "", `method PUT is not for /api/v1/schedules; use GET and POST`},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		got := w.ask(c.method, c.path, body, c.header...)
		if got.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, got.status, c.status, got.body)
			continue
		}
		p := got.problem(t)
		if p.Code != c.code || p.Field != c.field || !strings.Contains(p.Detail, c.detail) || len(p.Detail) > 400 {
			t.Errorf("%s: code %s, field %q: %s", c.name, p.Code, p.Field, p.Detail)
		}
	}
	if got := w.ask("PUT", "/schedules", `{}`); got.header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", got.header.Get("Allow"))
	}
	var list struct{ Items []client.Schedule }
	w.ask("GET", "/schedules", nil).decode(t, &list)
	if len(list.Items) != 2 || list.Items[1].ScheduleID != "taken" || list.Items[1].Version != 1 || list.Items[1].TotalRuns != 0 {
		t.Errorf("something was written: %+v", list.Items)
	}
	var runs struct{ Items []client.Run }
	if w.ask("GET", "/runs", nil).decode(t, &runs); len(runs.Items) != 0 {
		t.Errorf("something was started: %+v", runs.Items)
	}
}

func TestSkippedTrigger(t *testing.T) {
	w := local(t)
	w.create("s")
	first := w.trigger("s")
	got := w.ask("POST", "/schedules/s/trigger", nil)
	p := got.problem(t)
	if got.status != http.StatusConflict || p.Code != client.CodeSkipped || p.Outcome != "skipped" || p.Reason != "overlap" ||
		p.Detail != "schedule s was not triggered: overlap, behind "+first+"; overlap_policy says what else may become of it" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestStoreThatIsGone(t *testing.T) {
	w := local(t)
	w.create("s")
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	got := w.ask("GET", "/schedules/s", nil)
	if p := got.problem(t); got.status != http.StatusInternalServerError || p.Code != client.CodeFailed || !strings.Contains(p.Detail, "s") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestReadOnly(t *testing.T) {
	w := local(t)
	w.create("s")
	shown, err := api.New(api.Config{Client: w.client, Live: w.hub, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	w.api = shown
	d := readDocument(t, w)
	for path, item := range d.paths {
		for method, op := range item {
			if method == "get" {
				continue
			}
			got := w.ask(strings.ToUpper(method), strings.NewReplacer("{id}", "s", "{name}", "s").Replace(path), `{}`)
			if got.status != http.StatusForbidden {
				t.Errorf("%s: %d %s", op.OperationID, got.status, got.body)
				continue
			}
			if p := got.problem(t); p.Code != api.CodeRefused || !strings.Contains(p.Detail, "--read-only") {
				t.Errorf("%s: %s", op.OperationID, got.body)
			}
		}
	}
	var s client.Schedule
	if got := w.ask("GET", "/schedules/s", nil); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	} else if got.decode(t, &s); s.Version != 1 || s.Status != "active" {
		t.Errorf("%+v", s)
	}
	var v struct {
		ReadOnly bool `json:"read_only"`
	}
	if w.ask("GET", "/version", nil).decode(t, &v); !v.ReadOnly {
		t.Error("it does not say that it is read-only")
	}
}
