package dashboard

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t)
	w.create("s", daily, func(r *client.CreateRequest) { r.Note = "first" })
	w.get("/schedules/s").has(http.StatusOK, `href="/schedules/s/pause"`).lacks(`href="/schedules/s/resume"`)
	w.get("/schedules/s/pause").has(http.StatusOK, "Pause s?", "Active runs go on", ">\nfirst</textarea>")
	done := w.post("/schedules/s/pause", "note", "moving\r\nhouse").has(http.StatusOK, "Paused s.", "moving\nhouse", `href="/schedules/s/resume"`, "None comes due while it is paused")
	if done.Path != "/schedules/s" || w.schedule("s").Status != schedules.StatusPaused {
		t.Errorf("led to %s; it is %s", done.Path, w.schedule("s").Status)
	}
	w.post("/schedules/s/resume").has(http.StatusOK, "Resumed s.")
	if s := w.schedule("s"); s.Status != schedules.StatusActive || s.Note != "moving\nhouse" {
		t.Errorf("it is %s with note %q", s.Status, s.Note)
	}
	w.post("/schedules/s/pause", "note", "").has(http.StatusOK)
	if s := w.schedule("s"); s.Note != "" {
		t.Errorf("an emptied note is %q", s.Note)
	}
	w.post("/schedules/s/pause", "note", strings.Repeat("n", 5000)).has(http.StatusUnprocessableEntity, "at most 4096", "Pause s?")
	w.post("/schedules/nosuch/pause").has(http.StatusNotFound, "no schedule &#34;nosuch&#34;")
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.create("s", daily)
	w.get("/schedules/s/delete").has(http.StatusOK, "Delete s?", "button danger")
	w.post("/schedules/s/delete", "note", "superseded by t").has(http.StatusOK, "Deleted s.", "This schedule was deleted", "superseded by t").lacks(`href="/schedules/s/pause"`)
	for _, act := range []string{"pause", "resume", "delete", "reset", "trigger", "backfill", "edit"} {
		w.get("/schedules/s/"+act).has(http.StatusNotFound, "was deleted")
	}
	w.post("/schedules/s/delete").has(http.StatusNotFound, "was deleted")
	w.post("/schedules/s/trigger").has(http.StatusNotFound, "was deleted")
	w.get("/schedules").has(http.StatusOK, "No schedule yet")
	w.get("/schedules?status=deleted").has(http.StatusOK, `href="/schedules/s"`)
}

// declare gives the world a schedule that is declared in code.
func (w *world) declare() string {
	w.t.Helper()
	app := pyworkflow.NewApp()
	w.must(app.Register(pyworkflow.DefineFunc("report", func(context.Context) (string, error) { return "", nil }, pyworkflow.Schedule(daily, pyworkflow.Named("morning")))))
	_, err := w.Activate(w.t.Context(), app, client.ActivateOptions{})
	w.must(err)
	return "auto_report_morning"
}

func TestDeclaredSchedules(t *testing.T) {
	w := newWorld(t)
	id := w.declare()
	w.get("/schedules/"+id).has(http.StatusOK, "declared in code").lacks(`/delete"`, `/reset"`, "overridden")
	w.post("/schedules/"+id+"/delete", "note", "away").has(http.StatusUnprocessableEntity, "declared in code: pause it, or take it out of the code")
	if s := w.schedule(id); s.Note != "" || s.Status != schedules.StatusActive {
		t.Errorf("a refused delete left note %q, status %s", s.Note, s.Status)
	}
	if _, err := w.UpdateSchedule(t.Context(), id, schedules.Patch{Overlap: new(schedules.OverlapAllowAll)}); err != nil {
		t.Fatal(err)
	}
	w.get("/schedules/"+id).has(http.StatusOK, "overridden", `/reset"`)
	w.get("/schedules/"+id+"/reset").has(http.StatusOK, "Changed by hand: overlap").lacks("textarea")
	w.post("/schedules/"+id+"/reset").has(http.StatusOK, "Reset "+id+".").lacks("overridden")
	if s := w.schedule(id); s.OverlapPolicy != schedules.OverlapSkip {
		t.Errorf("after the reset overlap is %s", s.OverlapPolicy)
	}
}

func TestTrigger(t *testing.T) {
	w := newWorld(t)
	w.create("s", daily, func(r *client.CreateRequest) { r.Input = []byte(`{"shop":"north"}`) })
	w.get("/schedules/s/trigger").has(http.StatusOK, "&#34;shop&#34;: &#34;north&#34;", "as the schedule: skip", `name="key"`)
	w.post("/schedules/s/trigger", "input", `{"shop":`).has(http.StatusUnprocessableEntity, "is not JSON", "line 1, column 8", "{&#34;shop&#34;:</textarea>")
	w.post("/schedules/s/trigger", "overlap", "sometimes").has(http.StatusUnprocessableEntity, "must be skip, buffer_one")
	if n := w.schedule("s").TotalRuns; n != 0 {
		t.Fatalf("refused triggers started %d runs", n)
	}
	w.post("/schedules/s/trigger", "input", `{"shop": "south"}`, "key", "k1").has(http.StatusOK, "Triggered: run run_", "started.")
	run, err := w.GetRun(t.Context(), string(w.schedule("s").LastRunID))
	if err != nil || string(run.Input) != `{"shop":"south"}` || run.Trigger != schedules.TriggerManual {
		t.Fatalf("%s, %s, %v", run.Input, run.Trigger, err)
	}
	w.post("/schedules/s/trigger", "input", `{"shop": "south"}`, "key", "k1").has(http.StatusOK, "Triggered: run "+run.RunID+" started.") // the form was sent twice
	w.post("/schedules/s/trigger", "key", "k2").has(http.StatusOK, "Skipped: a run was in the way ("+run.RunID+")", "flash-warn")
	w.post("/schedules/s/trigger", "overlap", "buffer_one").has(http.StatusOK, "waits for the end of "+run.RunID, "Active and waiting")
	w.post("/schedules/s/trigger", "overlap", "allow_all").has(http.StatusOK, "started.")
	if s := w.schedule("s"); s.TotalRuns != 2 || s.BufferedRuns != 1 {
		t.Errorf("%d runs, %d waiting", s.TotalRuns, s.BufferedRuns)
	}
	w.post("/schedules/s/trigger", "key", strings.Repeat("k", 300)).has(http.StatusUnprocessableEntity, "idempotency_key")
}

func TestBackfill(t *testing.T) {
	w := newWorld(t)
	w.create("s", schedules.Spec{Cron: "0 * * * *", Timezone: "Europe/Berlin"})
	w.get("/schedules/s/backfill").has(http.StatusOK, `value="2026-03-01 11:00"`, "Times are in Europe/Berlin")
	preview := []string{"start", "2026-03-02 06:00", "end", "2026-03-02 09:00", "parallel", "2", "step", "preview"}
	w.post("/schedules/s/backfill", preview...).has(http.StatusOK, "3 runs", "Mon 2026-03-02 06:00:00", "Mon 2026-03-02 08:00:00", "Start 3 runs", `value="2026-03-02 06:00"`).lacks("Mon 2026-03-02 09:00:00")
	if n := w.schedule("s").TotalRuns; n != 0 {
		t.Fatalf("a preview started %d runs", n)
	}
	for _, tc := range []struct {
		pairs []string
		want  string
	}{
		{[]string{"start", "soon"}, "“soon” is no time"},
		{[]string{"start", ""}, "is required"},
		{[]string{"start", "2026-03-02 06:00", "end", "2026-03-02 05:00"}, "must be later than start"},
		{[]string{"start", "2026-03-02 06:00", "end", "2027-01-01 00:00"}, "must not be later than now"},
		{[]string{"start", "2026-03-02 06:00", "parallel", "0"}, "“0” must be a whole number of 1 or more"},
		{[]string{"start", "2026-03-02 06:00", "max_runs", "1"}, "the range holds more runs than that"},
	} {
		for _, step := range []string{"preview", "start"} {
			w.post("/schedules/s/backfill", append(tc.pairs, "step", step)...).has(http.StatusUnprocessableEntity, tc.want, `aria-invalid="true"`)
		}
	}
	w.post("/schedules/s/backfill", "start", "2026-03-02 06:30", "end", "2026-03-02 06:45", "step", "start").has(http.StatusOK, "Nothing to run")
	w.post("/schedules/s/backfill", "start", "2026-03-02T05:00:00Z", "end", "2026-03-02 09:00", "parallel", "2", "step", "start").has(http.StatusOK, "Backfill bf_", "began: 3 runs.", "0 / 3")
	var bf client.Backfill
	for b, err := range w.Backfills(t.Context(), "s") {
		w.must(err)
		bf = b
	}
	if bf.Count != 3 || bf.Parallel != 2 || bf.Active != 2 {
		t.Fatalf("%+v", bf)
	}
	runs := w.schedule("s").ActiveRunIDs
	w.claim(runs[0])
	w.now = w.now.Add(time.Second)
	w.end(runs[0], schedules.RunFailed)
	w.get("/schedules/s").has(http.StatusOK, "1 / 3", "1 of 3 ended, 1 failed, 2 active")
	// Those with a run are left out.
	w.post("/schedules/s/backfill", "start", "2026-03-02 05:00", "end", "2026-03-02 09:00", "missing_only", "on", "step", "preview").has(http.StatusOK, "1 run<", "Start 1 run<")
	w.post("/schedules/s/backfill", "start", "2026-03-01 05:00", "end", "2026-03-01 09:00", "step", "start").has(http.StatusOK, "began: 4 runs.")
	for b, err := range w.Backfills(t.Context(), "s") {
		w.must(err)
		bf = b
		break
	}
	cancel := "/backfills/" + bf.BackfillID + "/cancel"
	w.get("/schedules/s").has(http.StatusOK, `href="`+cancel+`"`)
	w.get(cancel).has(http.StatusOK, "Cancel this backfill?", "is dropped: 4 runs")
	if to := w.post(cancel).has(http.StatusOK, "Cancelled backfill "+bf.BackfillID+": 4 dropped.").Path; to != "/schedules/s" {
		t.Errorf("led to %s", to)
	}
	if got, err := w.GetBackfill(t.Context(), bf.BackfillID); err != nil || got.Dropped != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	w.get("/backfills/bf_no/cancel").has(http.StatusNotFound, "no backfill")
	w.post("/backfills/bf_no/cancel").has(http.StatusNotFound, "no backfill")
}

// TestReadOnly: a page that only shows offers no act, and refuses each.
func TestReadOnly(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ReadOnly = true })
	w.lived("s", schedules.OverlapSkip)
	_, err := w.Backfill(t.Context(), "s", client.BackfillRequest{Start: start.Add(-time.Hour), End: start})
	w.must(err)
	before := w.schedule("s").Version
	for _, page := range []string{"/schedules", "/schedules/s"} {
		w.get(page).has(http.StatusOK, "Read only").lacks(`method="post"`, "data-dialog", "data-row", "/pause", "/edit", "/new", "/cancel")
	}
	for _, act := range []string{"/schedules/new", "/schedules/act?act=pause&id=s", "/schedules/s/pause", "/schedules/s/resume", "/schedules/s/delete", "/schedules/s/reset", "/schedules/s/trigger",
		"/schedules/s/backfill", "/schedules/s/edit", "/backfills/bf_x/cancel"} {
		w.get(act).has(http.StatusForbidden, "--read-only")
		w.post(act, "act", "pause", "id", "s").has(http.StatusForbidden, "--read-only")
	}
	w.post("/schedules/preview").has(http.StatusForbidden)
	if s := w.schedule("s"); s.Version != before || s.Status != schedules.StatusActive {
		t.Errorf("it is %s of version %d", s.Status, s.Version)
	}
}
