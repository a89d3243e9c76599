package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// TestVersions: every answer with a schedule carries its version, and a change that expects another is refused and writes nothing.
func TestVersions(t *testing.T) {
	w := local(t)
	made := w.ask("POST", "/schedules", `{"schedule_id":"s","workflow":"minute_task","spec":{"cron":"0 9 1 1 *"}}`)
	if made.status != http.StatusCreated || made.header.Get("ETag") != `"1"` || made.header.Get("Location") != "/api/v1/schedules/s" {
		t.Fatalf("%d %v", made.status, made.header)
	}
	if got := w.ask("GET", "/schedules/s", nil); got.header.Get("ETag") != `"1"` {
		t.Errorf("ETag %q", got.header.Get("ETag"))
	}
	stale := []struct{ method, path, body string }{
		{"PATCH", "/schedules/s", `{"note":"stale"}`},
		{"POST", "/schedules/s/pause", `{"note":"stale"}`},
		{"POST", "/schedules/s/resume", ""},
		{"DELETE", "/schedules/s", ""},
	}
	body := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	for i, c := range stale {
		now := fmt.Sprintf("%q", fmt.Sprint(i+1))
		before := w.ask("GET", "/schedules/s", nil)
		for _, tag := range []string{`"99"`, fmt.Sprintf("%q", fmt.Sprint(i+2))} {
			got := w.ask(c.method, c.path, body(c.body), "If-Match", tag)
			if p := got.problem(t); got.status != http.StatusPreconditionFailed || p.Code != client.CodeConflict || p.Field != "If-Match" {
				t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
			}
		}
		if after := w.ask("GET", "/schedules/s", nil); after.body != before.body || after.header.Get("ETag") != now {
			t.Errorf("%s %s wrote though it was refused: %s", c.method, c.path, after.body)
		}
		got := w.ask(c.method, c.path, body(c.body), "If-Match", now)
		if got.status != http.StatusOK || got.header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(i+2)) {
			t.Errorf("%s %s of the version: %d %q %s", c.method, c.path, got.status, got.header.Get("ETag"), got.body)
		}
	}
	w.create("any")
	if got := w.ask("PATCH", "/schedules/any", `{"note":"x"}`, "If-Match", "*"); got.status != http.StatusOK {
		t.Errorf("any version: %d %s", got.status, got.body)
	}
}

// TestVersionsUnderContention: of many who change the same version one succeeds.
func TestVersionsUnderContention(t *testing.T) {
	w := distributed(t)
	w.create("s")
	var wg sync.WaitGroup
	status := make([]int, 8)
	for i := range status {
		wg.Go(func() {
			status[i] = w.ask("PATCH", "/schedules/s", fmt.Sprintf(`{"note":"by %d"}`, i), "If-Match", `"1"`).status
		})
	}
	wg.Wait()
	slices.Sort(status)
	if status[0] != http.StatusOK || status[1] != http.StatusPreconditionFailed {
		t.Errorf("%v", status)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	w := distributed(t)
	w.create("s", `"overlap_policy":"allow_all"`)
	w.create("other", `"overlap_policy":"allow_all"`)
	trigger := func(id, key string) string {
		t.Helper()
		got := w.ask("POST", "/schedules/"+id+"/trigger", nil, "Idempotency-Key", key)
		var res client.TriggerResult
		if got.decode(t, &res); got.status != http.StatusOK {
			t.Fatal(got)
		}
		return string(res.RunID)
	}
	first := trigger("s", "k")
	if again := trigger("s", "k"); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	ids := []string{first, trigger("s", "l"), trigger("s", ""), trigger("s", ""), trigger("other", "k")}
	if slices.Sort(ids); len(slices.Compact(ids)) != 5 {
		t.Error("other keys and other schedules are others")
	}
	start := func(key string) reply {
		t.Helper()
		got := w.ask("POST", "/runs", `{"workflow":"minute_task"}`, "Idempotency-Key", key)
		if got.status != http.StatusCreated {
			t.Fatal(got)
		}
		return got
	}
	a, b, c := start("k"), start("k"), start("l")
	if a.header.Get("Location") != b.header.Get("Location") || a.header.Get("Location") == c.header.Get("Location") || !strings.HasPrefix(a.header.Get("Location"), "/api/v1/runs/run_") {
		t.Errorf("%q %q %q", a.header.Get("Location"), b.header.Get("Location"), c.header.Get("Location"))
	}
}

// TestChangeOfASpec: what is left out stays, a new kind replaces the old one.
func TestChangeOfASpec(t *testing.T) {
	w := local(t)
	w.create("s")
	for _, step := range []struct{ change, want string }{
		{`{"timezone":"Europe/Berlin"}`, `{"cron":"0 9 1 1 *","interval":null,"calendar":null,"interval_from":null,"timezone":"Europe/Berlin","start_at":null,"end_at":null,"jitter":null}`},
		{`{"interval":"5m","interval_from":"start"}`, `{"cron":null,"interval":"5m","calendar":null,"interval_from":"start","timezone":"Europe/Berlin","start_at":null,"end_at":null,"jitter":null}`},
		{`{"interval":"10m","jitter":"5s"}`, `{"cron":null,"interval":"10m","calendar":null,"interval_from":"start","timezone":"Europe/Berlin","start_at":null,"end_at":null,"jitter":"5s"}`},
		{`{"calendar":[{"hour":9}],"end_at":"2999-01-01T00:00:00+01:00","timezone":null}`,
			`{"cron":null,"interval":null,"calendar":[{"second":null,"minute":null,"hour":9,"day_of_month":null,"month":null,"day_of_week":null,"year":null}],"interval_from":null,"timezone":"UTC","start_at":null,"end_at":"2998-12-31T23:00:00Z","jitter":"5s"}`},
		{`{"cron":"@daily","interval":null,"calendar":null,"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":null}`,
			`{"cron":"@daily","interval":null,"calendar":null,"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":null}`},
	} {
		got := w.ask("PATCH", "/schedules/s", `{"spec":`+step.change+`}`)
		var s struct{ Spec json.RawMessage }
		if got.decode(t, &s); got.status != http.StatusOK || string(s.Spec) != step.want {
			t.Errorf("%s: %d\n%s\n%s", step.change, got.status, s.Spec, step.want)
		}
	}
	if got := w.ask("PATCH", "/schedules/s", `{"spec":{"cron":null}}`); got.problem(t).Field != "cron, interval, calendar" {
		t.Errorf("%s", got.body)
	}
}

// TestPages: a list goes on where the page before ended, and its filters hold.
func TestPages(t *testing.T) {
	w := local(t)
	for i := range 7 {
		w.create(fmt.Sprintf("s%d", i))
	}
	for i := range 5 {
		w.trigger(fmt.Sprintf("s%d", i))
	}
	walk := func(path string, id func(json.RawMessage) string) (ids []string) {
		t.Helper()
		for cursor, pages := "", 0; ; pages++ {
			got := w.ask("GET", path+"&limit=2&cursor="+url.QueryEscape(cursor), nil)
			var p client.Page[json.RawMessage]
			if got.decode(t, &p); got.status != http.StatusOK || len(p.Items) > 2 || pages > 10 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			for _, it := range p.Items {
				ids = append(ids, id(it))
			}
			if p.NextCursor == "" {
				return ids
			}
			cursor = string(p.NextCursor)
		}
	}
	schedule := func(m json.RawMessage) string {
		var s struct {
			ID string `json:"schedule_id"`
		}
		_ = json.Unmarshal(m, &s)
		return s.ID
	}
	if got := walk("/schedules?search=S&workflow=minute_task", schedule); !slices.Equal(got, []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6"}) {
		t.Errorf("%v", got)
	}
	runs := walk("/runs?workflow=minute_task&status=pending", schedule)
	if slices.Sort(runs); !slices.Equal(runs, []string{"s0", "s1", "s2", "s3", "s4"}) {
		t.Errorf("%v", runs)
	}
	if got := walk("/runs?schedule=s3", schedule); !slices.Equal(got, []string{"s3"}) {
		t.Errorf("%v", got)
	}
}

// TestHostileValues: what users write comes back as it was, as JSON and nothing else.
func TestHostileValues(t *testing.T) {
	w := local(t)
	for _, text := range []string{`<script>alert(1)</script>`, "\"'`${7*7}{{.}}", "a\x00b\x1b[31m\u202e\u2028", strings.Repeat("é", 2000), "\r\nSet-Cookie: a=b", "../../etc/passwd", "%00%2e%2e/"} {
		body, err := json.Marshal(map[string]any{"workflow": "minute_task", "spec": map[string]string{"cron": "0 9 1 1 *"}, "note": text, "input": map[string]string{text: text}})
		if err != nil {
			t.Fatal(err)
		}
		got := w.ask("POST", "/schedules", string(body))
		var s client.Schedule
		if got.decode(t, &s); got.status != http.StatusCreated || string(s.Note) != text || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%q: %d %s", text, got.status, got.body)
			continue
		}
		var input map[string]string
		if err := json.Unmarshal(s.Input, &input); err != nil || input[text] != text {
			t.Errorf("%q: %s", text, s.Input)
		}
		for _, path := range []string{"/schedules/", "/runs/", "/backfills/", "/workflows/", "/runs?schedule="} {
			got := w.ask("GET", path+escape(path, text), nil)
			if p := got.problem(t); got.status != http.StatusNotFound || p.Code != client.CodeNotFound {
				t.Errorf("%s%q: %d %s", path, text, got.status, got.body)
			}
		}
		for _, query := range []string{"/schedules?search=", "/schedules?workflow=", "/strips?schedule="} {
			if got := w.ask("GET", query+url.QueryEscape(text), nil); got.status != http.StatusOK {
				t.Errorf("%s%q: %d %s", query, text, got.status, got.body)
			}
		}
		got = w.ask("POST", "/schedules", map[string]any{"schedule_id": text, "workflow": "minute_task", "spec": map[string]string{"cron": "0 9 1 1 *"}})
		if p := got.problem(t); got.status != http.StatusBadRequest || p.Field != "schedule_id" {
			t.Errorf("id %q: %d %s", text, got.status, got.body)
		}
		w.ask("DELETE", "/schedules/"+s.ScheduleID, nil)
	}
	w.create("s")
	id := w.trigger("s")
	w.end(id, &schedules.RunError{Message: "<img src=x onerror=alert(1)>", Kind: schedules.ErrorFailed})
	var r client.Run
	if w.ask("GET", "/runs/"+id, nil).decode(t, &r); r.Error == nil || r.Error.Message != "<img src=x onerror=alert(1)>" {
		t.Errorf("%+v", r.Error)
	}
}

func escape(path, text string) string {
	if strings.HasSuffix(path, "=") {
		return url.QueryEscape(text)
	}
	return url.PathEscape(text)
}
