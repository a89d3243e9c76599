package dashboard

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// listed are the ids of the list's rows, in their order.
func listed(a answer) []string {
	var ids []string
	for _, m := range regexp.MustCompile(`<tr id="row-([^"]+)">`).FindAllStringSubmatch(a.Body, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

func TestScheduleListTeachesWhereThereIsNone(t *testing.T) {
	w := newWorld(t)
	w.get("/schedules").has(http.StatusOK, "No schedule yet", "pyworkflow schedules create report --cron", `href="/schedules/new"`).lacks(`type="search"`)
	newWorld(t, func(c *Config) { c.ReadOnly = true }).get("/schedules").has(http.StatusOK, "No schedule yet", "Read only").lacks(`href="/schedules/new"`)
}

func TestScheduleListFilters(t *testing.T) {
	w := newWorld(t)
	w.create("alpha", daily)
	w.create("beta", schedules.Spec{Cron: "0 8 * * *"}, func(r *client.CreateRequest) { r.Workflow, r.Overlap = "sync", schedules.OverlapBufferAll })
	w.create("gamma", schedules.Spec{Interval: "1h"})
	if _, err := w.Pause(t.Context(), "alpha", nil); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"", []string{"alpha", "beta", "gamma"}},
		{"?q=ALPH", []string{"alpha"}},
		{"?status=paused", []string{"alpha"}},
		{"?workflow=sync", []string{"beta"}},
		{"?overlap=buffer_all", []string{"beta"}},
		{"?sort=next", []string{"gamma", "beta"}},
		{"?status=paused&workflow=sync", nil},
		{"?q=zzz", nil},
	} {
		page := w.get("/schedules"+tc.query).has(http.StatusOK, `type="search"`)
		if got := listed(page); !slices.Equal(got, tc.want) {
			t.Errorf("%q lists %v, want %v", tc.query, got, tc.want)
		}
		if len(tc.want) == 0 {
			page.has(http.StatusOK, "No schedule matches", `href="/schedules">Clear`).lacks("No schedule yet")
		}
	}
	w.get("/schedules?sort=size").has(http.StatusBadRequest, "size")
}

// TestScheduleListPages: following the links to the next page gives every schedule once, in order, and the way back.
func TestScheduleListPages(t *testing.T) {
	w := newWorld(t)
	var want []string
	for _, c := range "abcdefg" {
		want = append(want, "s-"+string(c))
		w.create("s-"+string(c), daily)
	}
	next := regexp.MustCompile(`href="([^"]+)" rel="next"`)
	var got []string
	path := "/schedules?limit=3&q=s-"
	for i := 0; path != "" && i < 5; i++ {
		page := w.get(path).has(http.StatusOK)
		got = append(got, listed(page)...)
		if i > 0 {
			page.has(http.StatusOK, "From the start", `href="/schedules?limit=3&amp;q=s-"`)
		}
		path = ""
		if m := next.FindStringSubmatch(page.Body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func TestBulkActs(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c"} {
		w.create(id, daily, func(r *client.CreateRequest) { r.Note = "old " + id })
	}
	status := func(id string) string { return string(w.schedule(id).Status) + ", " + string(w.schedule(id).Note) }

	w.get("/schedules/act?act=pause&id=a&id=b").has(http.StatusOK, "Pause 2 schedules?", `name="id" value="a"`, `name="id" value="b"`, `name="act" value="pause"`)
	done := w.post("/schedules/act", "act", "pause", "id", "a", "id", "b", "id", "a", "note", "maintenance").has(http.StatusOK, "Paused 2 schedules.")
	if done.Path != "/schedules" {
		t.Errorf("led to %s", done.Path)
	}
	w.get("/schedules").lacks("Paused 2 schedules.") // it is shown once
	for id, want := range map[string]string{"a": "paused, maintenance", "b": "paused, maintenance", "c": "active, old c"} {
		if got := status(id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	w.post("/schedules/act", "act", "resume", "id", "a", "id", "c", "note", "").has(http.StatusOK, "Resumed 2 schedules.")
	if got := status("a"); got != "active, maintenance" {
		t.Errorf("a is %s", got)
	}
	// One that can't be acted on does not keep the others from it, and is named.
	w.post("/schedules/act", "act", "delete", "id", "b", "id", "nosuch", "note", "tidy").has(http.StatusOK, "Deleted 1 schedule, but not nosuch: no schedule &#34;nosuch&#34;")
	if got := status("b"); got != "deleted, tidy" {
		t.Errorf("b is %s", got)
	}
	w.post("/schedules/act", "act", "pause", "id", "a", "note", strings.Repeat("n", 5000)).has(http.StatusUnprocessableEntity, "at most 4096", "Pause 1 schedule?")
	if got := status("a"); got != "active, maintenance" {
		t.Errorf("a is %s after a refused pause", got)
	}
	// It leads back to the list as it was narrowed, and nowhere else.
	w.get("/schedules?q=a").has(http.StatusOK, `name="back" value="/schedules?q=a"`)
	for back, want := range map[string]string{"/schedules?q=a&cursor=a": "/schedules?cursor=a&q=a", "https://example.org/schedules?q=a": "/schedules?q=a", "//example.org": "/schedules", "/runs": "/schedules", "%zz": "/schedules"} {
		w.get("/schedules/act?act=pause&id=a&back="+url.QueryEscape(back)).has(http.StatusOK, `href="`+strings.ReplaceAll(want, "&", "&amp;")+`" data-close`)
		if got := w.post("/schedules/act", "act", "resume", "id", "a", "back", back).has(http.StatusOK, "Resumed 1 schedule.").Path; got != want {
			t.Errorf("from %q it led to %s, want %s", back, got, want)
		}
	}
	w.get("/schedules/act?act=pause").has(http.StatusBadRequest, "no schedule is selected")
	w.get("/schedules/act?act=explode&id=a").has(http.StatusBadRequest, "act &#34;explode&#34;: must be pause, resume or delete")
	w.post("/schedules/act", "act", "reset", "id", "a").has(http.StatusBadRequest, "must be pause, resume or delete")
}
