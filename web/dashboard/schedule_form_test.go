package dashboard

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// withPairs gives the pairs with others put over them.
func withPairs(pairs []string, over ...string) []string {
	return append(slices.Clone(over), pairs...) // the first value of a name is the one that is read
}

func TestCreateSchedule(t *testing.T) {
	w := newWorld(t)
	w.get("/schedules/new").has(http.StatusOK, "New schedule", `data-preview="/schedules/preview"`, `value="UTC"`, `<option value="report">`, "The next ticks appear here as you type.")
	page := w.post("/schedules/new", "id", "full", "workflow", "report", "kind", "calendar", "cron", "left from before", "calendar", "day_of_month=1,15 hour=9\r\n\r\nday_of_month=last hour=18 minute=30\r\n",
		"timezone", "America/New_York", "start_at", "2026-03-05 09:00", "end_at", "2027-01-01T00:00:00Z", "jitter", "30s", "overlap", "buffer_all", "buffer_limit", "7", "cancel_grace", "45s",
		"catchup", "all", "catchup_window", "2d", "queue", "slow", "input", `{"a": [1, 2]}`, "note", "why\r\nnot").has(http.StatusOK, "Created full.")
	if page.Path != "/schedules/full" {
		t.Errorf("led to %s", page.Path)
	}
	s := w.schedule("full")
	switch {
	case len(s.Spec.Calendar) != 2 || s.Spec.Cron != "" || s.Spec.Timezone != "America/New_York" || s.Spec.Jitter.String() != "30s",
		!s.Spec.StartAt.Equal(time.Date(2026, 3, 5, 14, 0, 0, 0, time.UTC)), !s.Spec.EndAt.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)),
		s.OverlapPolicy != schedules.OverlapBufferAll || s.BufferLimit != 7 || s.CancelGrace.String() != "45s" || s.Catchup != schedules.CatchupAll || s.CatchupWindow.String() != "48h",
		s.Queue != "slow" || string(s.Input) != `{"a":[1,2]}` || s.Note != "why\nnot":
		t.Errorf("%+v", s.Schedule)
	}
	made := w.post("/schedules/new", "workflow", "report", "kind", "interval", "interval", "1h30m", "interval_from", "start").has(http.StatusOK, "Created sched_")
	if s := w.schedule(strings.TrimPrefix(made.Path, "/schedules/")); s.Spec.Interval != "1h30m" || s.Spec.IntervalFrom != schedules.FromStart || s.OverlapPolicy != schedules.OverlapSkip {
		t.Errorf("%+v", s.Schedule)
	}
}

// TestRefusedCreate: what is wrong stands beside its field, what was typed stays, and nothing is written.
func TestRefusedCreate(t *testing.T) {
	w := newWorld(t)
	w.create("taken", daily)
	good := []string{"workflow", "report", "kind", "cron", "cron", "0 9 * * *", "id", "fresh"}
	for _, tc := range []struct {
		over  []string
		field string
		want  string
	}{
		{[]string{"cron", "0 9 * *"}, "cron", "fields"},
		{[]string{"cron", ""}, "cron", "is empty; say when the schedule ticks"},
		{[]string{"kind", "interval", "interval", "30"}, "interval", "“30” needs a unit; write 30s, 30m, 30h or 30d"},
		{[]string{"kind", "interval", "interval", ""}, "interval", "is empty"},
		{[]string{"kind", "interval", "interval", "5m", "interval_from", "end"}, "interval_from", "“end”"},
		{[]string{"kind", "calendar", "calendar", "day=1"}, "calendar", "has no field &#34;day&#34;"},
		{[]string{"kind", "calendar", "calendar", "day_of_month=31 month=2"}, "calendar", "can never match"},
		{[]string{"timezone", "Mars/Olympus"}, "timezone", "Mars/Olympus"},
		{[]string{"start_at", "tomorrow"}, "start_at", "“tomorrow” is no time"},
		{[]string{"end_at", "2020-01-01 00:00"}, "end_at", "is not later than now"},
		{[]string{"jitter", "soon"}, "jitter", "“soon” is no duration"},
		{[]string{"overlap", "maybe"}, "overlap", "must be skip, buffer_one"},
		{[]string{"buffer_limit", "many"}, "buffer_limit", "must be a whole number"},
		{[]string{"cancel_grace", "0s"}, "cancel_grace", "must be more than 0"},
		{[]string{"catchup", "some"}, "catchup", "“some”"},
		{[]string{"catchup_window", "1s"}, "catchup_window", "10s"},
		{[]string{"queue", "a b"}, "queue", "letters, digits"},
		{[]string{"input", "{oops}"}, "input", "is not JSON"},
		{[]string{"note", strings.Repeat("x", 5000)}, "note", "at most 4096"},
		{[]string{"workflow", ""}, "workflow", "is missing"},
		{[]string{"workflow", "reprot"}, "workflow", "did you mean report?"},
		{[]string{"id", "taken"}, "id", "already exists; choose another"},
		{[]string{"id", "no spaces"}, "id", "“no spaces” must be"},
	} {
		page := w.post("/schedules/new", withPairs(good, tc.over...)...)
		_, rest, _ := strings.Cut(page.Body, `data-error-for="`+tc.field+`">`)
		problem, _, _ := strings.Cut(rest, "</p>")
		if page.Status != http.StatusUnprocessableEntity || !strings.Contains(problem, tc.want) {
			t.Errorf("%q: status %d, beside %s %q, want %q\n%s", tc.over, page.Status, tc.field, problem, tc.want, page.text())
		}
		if value := tc.over[len(tc.over)-1]; len(value) < 100 && tc.field != "overlap" && tc.field != "catchup" && tc.field != "interval_from" && !strings.Contains(page.Body, value) {
			t.Errorf("%q: what was typed is gone", tc.over)
		}
	}
	w.post("/schedules/new", withPairs(good, "workflow", "reprot")...).has(http.StatusUnprocessableEntity, `name="force"`)
	if got := listed(w.get("/schedules")); !slices.Equal(got, []string{"taken"}) {
		t.Errorf("refused forms left %v", got)
	}
	w.post("/schedules/new", withPairs(good, "workflow", "reprot", "force", "on")...).has(http.StatusOK, "Created fresh.")
	w.post("/schedules/new", "input", strings.Repeat("x", maxForm)).has(http.StatusRequestEntityTooLarge, "too large")
}

func TestEditSchedule(t *testing.T) {
	w := newWorld(t)
	for id, spec := range map[string]schedules.Spec{
		"cron":     {Cron: "0 9 * * mon", Timezone: "Europe/Berlin", StartAt: start.Add(time.Hour), Jitter: schedules.Duration(time.Minute)},
		"interval": {Interval: "90m", IntervalFrom: schedules.FromStart},
		"calendar": {Calendar: []schedules.Calendar{{Hour: "9", DayOfMonth: "last"}, {Minute: "30"}}},
	} {
		w.create(id, spec, func(r *client.CreateRequest) { r.Input, r.Note, r.Queue = []byte(`{"x":1}`), "a note", "slow" })
		w.pass(0, id) // an interval's first tick is its creation
		before := w.schedule(id)
		f := formOf(before.Schedule)
		w.get("/schedules/"+id+"/edit").has(http.StatusOK, "Edit "+id, `name="version" value="1"`, "a note")
		var pairs []string
		for name, values := range f.Values {
			pairs = append(pairs, name, values[0])
		}
		// What the form shows is what is stored: saving it changes nothing.
		w.post("/schedules/"+id+"/edit", pairs...).has(http.StatusOK, "Nothing was changed.")
		w.post("/schedules/"+id+"/edit", withPairs(pairs, "note", "another")...).has(http.StatusOK, "Saved "+id+".")
		after := w.schedule(id)
		if after.Version != 2 || after.Note != "another" || !after.NextRunTime.Equal(before.NextRunTime.Time) {
			t.Errorf("%s: version %d, note %q, next %s, was %s", id, after.Version, after.Note, after.NextRunTime, before.NextRunTime)
		}
		// Somebody else was faster: nothing is written, what was typed stays, and can be saved over it.
		w.post("/schedules/"+id+"/edit", withPairs(pairs, "note", "late")...).has(http.StatusUnprocessableEntity, "Somebody changed this schedule", "late</textarea>", `name="version" value="2"`)
		if w.schedule(id).Note != "another" {
			t.Error("an old form was written")
		}
		w.post("/schedules/"+id+"/edit", withPairs(pairs, "note", "late", "version", "2")...).has(http.StatusOK, "Saved "+id+".")
	}
	w.post("/schedules/cron/edit", "kind", "interval", "interval", "5x", "version", "3").has(http.StatusUnprocessableEntity, "Edit cron", "5x")
	w.post("/schedules/cron/edit", "kind", "cron", "cron", "@daily", "version", "zwei").has(http.StatusBadRequest, "zwei")
	w.get("/schedules/nosuch/edit").has(http.StatusNotFound)
	w.post("/schedules/nosuch/edit", "version", "1").has(http.StatusNotFound)
}

// TestPreview: as one types, the next ticks appear, or what is wrong, and what is not typed yet is not complained of.
func TestPreview(t *testing.T) {
	w := newWorld(t)
	w.post("/schedules/preview", "kind", "cron", "cron", "0 9 * * mon-fri", "timezone", "Europe/Berlin").has(http.StatusOK, "Monday to Friday at 09:00 Europe/Berlin", "Tue 2026-03-03 09:00:00", "in 21h 59m", "On the clock of Europe/Berlin")
	w.post("/schedules/preview", "kind", "interval", "interval", "5m").has(http.StatusOK, "Every 5 minutes", "Mon 2026-03-02 10:05:30", "And one at once, when it is created.")
	w.post("/schedules/preview", "kind", "interval", "interval", "5m", "start_at", "2026-03-01 09:00").has(http.StatusOK, "Mon 2026-03-02 10:05:00").lacks("at once, when")
	w.post("/schedules/preview", "kind", "interval", "interval", "5m", "version", "1").has(http.StatusOK, "Mon 2026-03-02 10:05:30").lacks("at once, when")
	w.post("/schedules/preview", "kind", "calendar", "calendar", "day_of_month=last hour=9").has(http.StatusOK, "Tue 2026-03-31 09:00:00")
	w.post("/schedules/preview", "kind", "cron", "cron", "").has(http.StatusOK, "The next ticks appear here as you type.").lacks("is empty", "aria-invalid")
	w.post("/schedules/preview", "kind", "cron", "cron", "61 * * * *").has(http.StatusOK, "61", "once the spec is right", `aria-invalid="true"`)
	w.post("/schedules/preview", "kind", "cron", "cron", "@daily", "jitter", "x").has(http.StatusOK, "“x” is no duration")
	w.post("/schedules/preview", "kind", "cron", "cron", "@daily", "overlap", "x").has(http.StatusOK, "must be skip, buffer_one")
	w.post("/schedules/preview", "kind", "cron", "cron", "@daily", "id", "a b").has(http.StatusOK, "“a b” must be")
	w.post("/schedules/preview", "kind", "cron", "cron", "@daily", "timezone", "Nowhere").has(http.StatusOK, "Nowhere", `aria-invalid="true"`)
	if got := listed(w.get("/schedules")); len(got) != 0 {
		t.Errorf("previews created %v", got)
	}
}
