package dashboard

import (
	"net/http"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var minutely = schedules.Spec{Cron: "* * * * *"}

// lived is a schedule with something of everything in its history: a completed run, a failed one, one that runs, ticks skipped for it, and missed ones.
func (w *world) lived(id string, overlap schedules.OverlapPolicy) {
	w.t.Helper()
	w.create(id, minutely, func(r *client.CreateRequest) { r.Overlap = overlap })
	w.pass(30 * time.Second) // the minute is full
	for i, status := range []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed} {
		w.pass(time.Duration(i)*time.Minute, id)
		run := string(w.schedule(id).LastRunID)
		w.claim(run)
		w.now = w.now.Add(5 * time.Second)
		w.end(run, status)
		w.now = w.now.Add(-5 * time.Second)
	}
	w.pass(4*time.Minute, id) // three are missed, the latest starts
	w.claim(string(w.schedule(id).LastRunID))
	for range 4 {
		w.pass(time.Minute, id)
	}
}

func TestSchedulePageShowsAll(t *testing.T) {
	w := newWorld(t)
	w.lived("lived", schedules.OverlapSkip)
	page := w.get("/schedules/lived").has(http.StatusOK, "Every minute", "Blocked by", "running", "on host-2", "completed after 5.0s", "failed after 5.0s",
		"missed (nothing polled when it was due)", "skipped (a run was in the way)", "50%", `<h2 id="history-title">`, "cron * * * * *")
	if s := w.schedule("lived"); s.SkippedRuns != 4 || s.MissedRuns != 3 || s.ActiveRuns != 1 {
		t.Errorf("skipped %d, missed %d, active %d", s.SkippedRuns, s.MissedRuns, s.ActiveRuns)
	}
	page.lacks("No tick yet")
	w.get("/schedules/lived?fate=skipped").has(http.StatusOK, "4 ticks").lacks("nothing polled when it was due</td>")
	w.get("/schedules/lived?fate=buffered").has(http.StatusOK, "No tick was buffered")
	w.get("/schedules/lived?fate=lost").has(http.StatusBadRequest, "must be started, buffered, dropped, skipped or missed")
	w.get("/schedules/lived?cursor=nonsense").has(http.StatusBadRequest, "nonsense")
	w.get("/schedules/none").has(http.StatusNotFound, "no schedule &#34;none&#34;")
}
