package dashboard

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestStaticFiles: every file is served under its hashed name, for good, and is not sent again to who has it.
func TestStaticFiles(t *testing.T) {
	w := newWorld(t)
	page := w.get("/schedules").has(http.StatusOK)
	urls := regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`).FindAllStringSubmatch(page.Body, -1)
	if len(urls) != 5 {
		t.Fatalf("%d static files in the page: %v", len(urls), urls)
	}
	for _, u := range urls {
		got := w.get(u[1])
		tag := got.Header.Get("ETag")
		if got.Status != http.StatusOK || got.Body == "" || tag == "" || !strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", u[1], got.Status, got.Header)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+u[1], nil)
		w.must(err)
		req.Header.Set("If-None-Match", tag)
		if again := w.do(req); again.Status != http.StatusNotModified || again.Body != "" {
			t.Errorf("%s with its ETag: %d, %d bytes", u[1], again.Status, len(again.Body))
		}
	}
	w.get("/static/app.css").has(http.StatusNotFound)
	w.get("/static/../dashboard.go").has(http.StatusNotFound)
}

// TestTemplatesHoldNoInlineCode: pages are served under a content security policy that forbids it.
func TestTemplatesHoldNoInlineCode(t *testing.T) {
	entries, err := os.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile("templates/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := inlineCode.FindString(string(text)); found != "" {
			t.Errorf("templates/%s has inline code: %s", e.Name(), found)
		}
	}
	if len(entries) < 5 {
		t.Errorf("only %d templates were read", len(entries))
	}
}

// inlineCode finds what the policy forbids: style attributes and elements, script without src, handlers, javascript: addresses.
var inlineCode = regexp.MustCompile(`(?i)<style|<script>|<script [^>]*[^>]>[^<]|\sstyle\s*=|<[^>]+\son[a-z]+\s*=|javascript:`)

func TestUnknownPage(t *testing.T) {
	w := newWorld(t)
	w.get("/no/such/page").has(http.StatusNotFound, "Not found", "there is no page /no/such/page")
	w.get("/%3Cscript%3Ealert(1)%3C/script%3E").has(http.StatusNotFound, "&lt;script&gt;").lacks("<script>alert")
}

// TestStoreThatDoesNotAnswer: the page says so, and the log is told.
func TestStoreThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.must(w.store.Close())
	w.get("/schedules").has(http.StatusInternalServerError, "That went wrong", "pyworkflow doctor")
	if !strings.Contains(w.log.String(), "request failed") {
		t.Errorf("log: %s", &w.log)
	}
}
