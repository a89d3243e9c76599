package dashboard

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var (
	linked    = regexp.MustCompile(`(?:href|src|action)="(/[^"]*)"`)
	submitted = regexp.MustCompile(`<form[^>]*method="post"[^>]*action="([^"]*)"|<form[^>]*action="([^"]*)"[^>]*method="post"`)
)

// TestEveryLinkAnswers follows every link of every page, from the front page on, and looks at each page that it comes by.
func TestEveryLinkAnswers(t *testing.T) {
	w := newWorld(t)
	w.lived("skips", schedules.OverlapSkip)
	w.lived("buffers", schedules.OverlapBufferAll)
	w.declare()
	_, err := w.UpdateSchedule(t.Context(), "auto_report_morning", schedules.Patch{Overlap: new(schedules.OverlapAllowAll)})
	w.must(err)
	_, err = w.Backfill(t.Context(), "skips", client.BackfillRequest{Start: start.Add(-time.Hour), End: start})
	w.must(err)
	w.create("gone", daily)
	_, err = w.Delete(t.Context(), "gone")
	w.must(err)

	seen := map[string]bool{"/": true, "/schedules?status=deleted": true}
	queue := []string{"/", "/schedules?status=deleted"}
	for len(queue) > 0 && len(seen) < 2000 {
		path := queue[0]
		queue = queue[1:]
		page := w.get(path).has(http.StatusOK)
		if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
			continue
		}
		page.harmless()
		posted := map[string]bool{}
		for _, m := range submitted.FindAllStringSubmatch(page.Body, -1) {
			posted[m[1]+m[2]] = true
		}
		for _, m := range linked.FindAllStringSubmatch(page.Body, -1) {
			to, _, _ := strings.Cut(html.UnescapeString(m[1]), "#")
			if posted[m[1]] || to == "/schedules/act" || strings.HasPrefix(to, "/api/") || seen[to] {
				continue // forms have tests of their own; the API is mounted beside
			}
			seen[to] = true
			queue = append(queue, to)
		}
		if n := strings.Count(page.Body, "<h1"); n != 1 {
			t.Errorf("%s has %d headings of the first rank", path, n)
		}
	}
	for _, want := range []string{"/schedules/skips", "/schedules/buffers/edit", "/schedules/auto_report_morning/reset", "/schedules/gone", "/schedules/new", "/runs", "/workers"} {
		if !seen[want] {
			t.Errorf("no page links to %s", want)
		}
	}
	ids := regexp.MustCompile(`\sid="([^"]+)"`)
	for _, path := range []string{"/schedules", "/schedules/skips", "/schedules/buffers", "/schedules/new"} {
		count := map[string]int{}
		for _, m := range ids.FindAllStringSubmatch(w.get(path).Body, -1) {
			if count[m[1]]++; count[m[1]] == 2 {
				t.Errorf("%s has two elements with the id %s", path, m[1])
			}
		}
	}
}
