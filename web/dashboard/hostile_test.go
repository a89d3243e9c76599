package dashboard

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// hostileTexts try to leave the text, an attribute, a textarea, a comment, a template or an address.
var hostileTexts = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</textarea></title></svg><script>alert(1)</script>`,
	`{{.}} {{template "layout"}} <!-- -->`,
	`javascript:alert(1)`,
	"\u202e\x00\x1b[31m\r\nSet-Cookie: x=y",
}

var hostileMarkup = regexp.MustCompile(`(?i)<script>alert|<img|\sonmouseover='alert|href="javascript|onerror=alert\(1\)>`)

// harmless fails the test if hostile text became markup, or the page holds code that its policy forbids.
func (a answer) harmless() answer {
	a.t.Helper()
	for _, found := range []string{hostileMarkup.FindString(a.Body), inlineCode.FindString(withoutText(a.Body))} {
		if found != "" {
			a.t.Errorf("%s holds %q", a.Path, found)
		}
	}
	if a.Header.Get("Set-Cookie") != "" && strings.Contains(a.Header.Get("Set-Cookie"), "x=y") {
		a.t.Errorf("%s sets %q", a.Path, a.Header.Get("Set-Cookie"))
	}
	return a
}

// withoutText keeps the tags of a page, with what stands in attributes taken out where it is text for people.
func withoutText(body string) string {
	quoted := regexp.MustCompile(`(title|value|aria-label|placeholder|href|action)="[^"]*"`)
	return quoted.ReplaceAllString(strings.Join(regexp.MustCompile(`<[^>]*>`).FindAllString(body, -1), ""), `$1=""`)
}

// TestHostileTexts: whatever people write is shown as text, wherever it is shown.
func TestHostileTexts(t *testing.T) {
	w := newWorld(t)
	w.create("s", minutely)
	for i, text := range hostileTexts {
		note := strings.NewReplacer("\x00", "").Replace(text)
		value, err := json.Marshal(map[string]string{"k": text})
		w.must(err)
		if _, err := w.UpdateSchedule(t.Context(), "s", schedules.Patch{Note: &note, Input: new(json.RawMessage(value))}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/schedules", "/schedules/s", "/schedules/s/edit", "/schedules/s/pause", "/schedules/s/trigger", "/schedules/s/delete"} {
			w.get(path).has(http.StatusOK).harmless()
		}
		if shown := w.get("/schedules/s"); i < 6 && !strings.Contains(html.UnescapeString(shown.Body), note) {
			t.Errorf("the note %q is not shown as it is", note)
		}
		escaped := url.QueryEscape(text)
		for _, path := range []string{"/schedules?q=" + escaped, "/schedules?workflow=" + escaped, "/schedules?status=" + escaped, "/schedules?overlap=" + escaped, "/schedules?sort=" + escaped, "/schedules?cursor=" + escaped,
			"/schedules/" + url.PathEscape(text), "/schedules/" + url.PathEscape(text) + "/pause", "/schedules/s?fate=" + escaped, "/schedules/s?cursor=" + escaped, "/schedules/new?workflow=" + escaped,
			"/schedules/act?act=" + escaped + "&id=" + escaped, "/schedules/act?act=pause&id=" + escaped, "/backfills/" + url.PathEscape(text) + "/cancel"} {
			w.get(path).harmless()
		}
		var all []string
		for _, field := range append([]string{"kind", "version", "start", "end", "parallel", "max_runs", "step", "key", "force", "act"}, definitionFields...) {
			all = append(all, field, text)
		}
		for _, path := range []string{"/schedules/new", "/schedules/preview", "/schedules/s/edit", "/schedules/s/trigger", "/schedules/s/backfill", "/schedules/act"} {
			w.post(path, all...).harmless()
		}
		w.post("/schedules/act", "act", "pause", "id", text).has(http.StatusOK, "Paused 0 schedules, but not").harmless() // in the message that is shown once
	}
}

// TestForgedMessage: a cookie that is no message of ours is text at most.
func TestForgedMessage(t *testing.T) {
	w := newWorld(t)
	at, err := url.Parse(w.url)
	w.must(err)
	for _, value := range []string{"%%%", "bm9wZQ", "eyJrIjoiPHNjcmlwdD4iLCJ0IjoiPHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0PiJ9", "eyJrIjoib2siLCJ0IjoiIn0"} {
		w.web.Jar.SetCookies(at, []*http.Cookie{{Name: flashCookie, Value: value, Path: "/"}})
		w.get("/schedules").has(http.StatusOK).harmless()
	}
}

// TestHostileErrors: what code of others says when it fails is text, too.
// A large input does not make a large page, which is fetched again whenever something changes.
func TestLargeInputIsCut(t *testing.T) {
	w := newWorld(t)
	w.create("s", minutely)
	value := json.RawMessage(`"` + strings.Repeat("x", 1<<19) + `"`)
	if _, err := w.UpdateSchedule(t.Context(), "s", schedules.Patch{Input: &value}); err != nil {
		t.Fatal(err)
	}
	page := w.get("/schedules/s")
	if len(page.Body) > 200<<10 || !strings.Contains(page.Body, "more bytes are not shown here") {
		t.Errorf("a page of %d bytes for an input of %d", len(page.Body), len(value))
	}
}

func TestHostileErrors(t *testing.T) {
	w := newWorld(t)
	w.create("s", minutely, func(r *client.CreateRequest) { r.Workflow = "w" })
	w.pass(30*time.Second, "s")
	id := string(w.schedule("s").LastRunID)
	if _, err := w.CancelRun(t.Context(), id, `<img src=x onerror=alert(1)>`); err != nil {
		t.Fatal(err)
	}
	w.get("/schedules/s").has(http.StatusOK, "cancelled").harmless()
}
