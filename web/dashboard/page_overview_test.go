package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

func (w *world) lives(p store.Process) {
	w.t.Helper()
	w.must(w.store.AnnounceProcess(w.t.Context(), p, time.Hour))
}

// TestOverviewOfAnEmptyStoreTeaches: what is there is ticked off, what is missing has its command.
func TestOverviewOfAnEmptyStoreTeaches(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Client = newRunWorld(t, nil).client })
	w.get("/").has(http.StatusOK, "Nothing is scheduled yet", "pyworkflow init", "scheduler run", "pyworkflow schedules create NAME", `href="/schedules/new"`).lacks(`class="done"`, "Running now")

	w = newWorld(t)
	w.knows("sync")
	w.get("/").has(http.StatusOK, "<strong>report</strong>, <strong>sync</strong>", "pyworkflow schedules create report", "scheduler run").lacks("pyworkflow init")
	w.lives(store.Process{ID: "host:1:a", Host: "host", PID: 1, Worker: true, Local: true, Beat: true})
	if page := w.get("/").has(http.StatusOK, "1 worker and 1 beat live"); strings.Count(page.Body, `class="done"`) != 2 {
		t.Errorf("not two steps are ticked off:\n%s", page.text())
	}
	w.create("first", daily)
	w.get("/").has(http.StatusOK, "Active schedules").lacks("Nothing is scheduled yet")

	w = newWorld(t, func(c *Config) { c.ReadOnly, c.Runtime = true, "asynq" })
	w.get("/").has(http.StatusOK, "Nothing is scheduled yet", "worker run --beat").lacks(`href="/schedules/new"`)
}

func TestOverviewShowsWhatRunsComesAndFailed(t *testing.T) {
	w := newWorld(t)
	w.knows("sync")
	w.create("half-hourly", schedules.Spec{Cron: "*/30 * * * *"}, func(r *client.CreateRequest) { r.Catchup = schedules.CatchupNone })
	w.create("quarterly", schedules.Spec{Cron: "*/15 * * * *"}, func(r *client.CreateRequest) { r.Catchup = schedules.CatchupNone })
	note := "later"
	w.create("held", daily)
	_, err := w.Pause(t.Context(), "held", &note)
	w.must(err)
	w.pass(61*time.Minute, "half-hourly", "quarterly") // 11:01:30: two and four ticks are missed
	running, failed, done := w.run("sync", ""), w.run("sync", ""), w.run("report", "")
	for _, id := range []string{running, failed, done} {
		w.claim(id)
	}
	w.now = w.now.Add(3 * time.Second)
	w.fail(failed, schedules.RunError{Kind: "error", Message: "no answer from the other side"}, false)
	w.end(done, schedules.RunCompleted)
	w.run("sync", "")
	w.lives(store.Process{ID: "host-2:7:abcd", Host: "host-2", PID: 7, Local: true, Beat: true, Workflows: []string{"report", "sync"}, Running: []string{running}, Capacity: 4, Shards: []int{0}})

	page := w.get("/").has(http.StatusOK,
		`Active runs</span><span class="tile-number tone-busy">2<`, `Ticks in the next hour</span><span class="tile-number">6<`, `Completed, 24 h</span><span class="tile-number">1<`, "50% succeeded",
		`Failed, 24 h</span><span class="tile-number tone-bad">1<`, `Missed ticks, 24 h</span><span class="tile-number tone-lost">6<`, `Active schedules</span><span class="tile-number">2<`, "1 paused",
		"6 ticks in the next 1h; the most at a time: 2, at 11:30 UTC.", "<title>2 ticks at 11:30 UTC</title>", "<title>1 tick at 11:15 UTC</title>", ">&#43;15m</text>",
		"/runs/"+running, "on host-2", "1 of 4", "worker, beat, shards 0", "/runs/"+failed, "no answer from the other side", "2 ticks</span>", "4 ticks</span>", "nothing polled when it was due",
		`data-events="/api/v1/events?"`, `data-refresh="15"`)
	page.lacks("/runs/"+done, "No tick was missed", "Nothing is scheduled yet")
	if next := w.get("/?").Body; !strings.Contains(next, `/schedules/quarterly"`) || strings.Index(next, `/schedules/quarterly"`) > strings.Index(next, `/schedules/half-hourly"`) {
		t.Error("the schedule that ticks next is not the first of the list")
	} else if n := strings.Count(next, `row-link clip" href="/schedules/quarterly"`); n != 2 {
		t.Errorf("a schedule with missed ticks that ticks again and again is listed %d times, want once as next and once as missed", n)
	}
}

func TestOverviewShowsFindings(t *testing.T) {
	w := newWorld(t)
	w.create("lonely", daily)
	w.get("/").has(http.StatusOK, "<strong>workers</strong>: no live worker: runs wait", "<strong>beats</strong>: no live beat", "findings above")
	w.lives(store.Process{ID: "host-2:7:abcd", Host: "host-2", PID: 7, Local: true, Beat: true, Workflows: []string{"report"}})
	w.now = w.now.Add(healthFor / 2)
	w.get("/").has(http.StatusOK, "no live worker: runs wait")
	w.now = w.now.Add(healthFor / 2)
	w.get("/").has(http.StatusOK, "nothing to complain about", "live workers: 1").lacks("no live worker")
}

// TestHealthIsLookedAtByOne: while one request looks, others get what was found before, however old.
func TestHealthIsLookedAtByOne(t *testing.T) {
	w := newWorld(t)
	var h health
	ctx := t.Context()
	first := h.read(ctx, w.Client, client.DoctorOptions{}, w.now)
	if !first.complete || len(first.Good) == 0 || first.Problem != "" {
		t.Fatalf("the first look found %+v", first)
	}
	later := w.now.Add(healthFor)
	h.looking = true
	if got := h.read(ctx, w.Client, client.DoctorOptions{}, later); !got.At.Equal(w.now) {
		t.Errorf("while another one looks: found at %s", got.At)
	}
	h.looking = false
	gone, leave := context.WithCancel(ctx)
	leave()
	h.read(gone, w.Client, client.DoctorOptions{}, later)
	if h.seen.Problem != "" || !h.seen.At.Equal(w.now) || h.looking {
		t.Errorf("a viewer who left is kept as a finding: %+v", h.seen)
	}
	w.must(w.store.Close())
	if got := h.read(ctx, w.Client, client.DoctorOptions{}, later); got.Problem == "" || !got.At.Equal(later) {
		t.Errorf("a store that does not answer: %+v", got)
	}
}

func TestSkyline(t *testing.T) {
	u := client.Upcoming{From: at(0), Width: schedules.Duration(time.Minute), Counts: make([]int64, 60), Complete: true}
	if s := newSkyline(u); len(s.Bars) != 0 || s.Label() != "No tick in the next 1h." || !s.Peak.IsZero() {
		t.Errorf("of nothing: %+v, %q", s.Bars, s.Label())
	}
	u.Counts[0], u.Counts[30], u.Counts[45], u.Counts[59] = 1, 1000, 500, 1000
	s := newSkyline(u)
	got := ""
	for _, b := range s.Bars {
		got += fmt.Sprintf("%d: %g+%g, %g high, peak %v, %s\n", b.Count, b.X, b.W, b.H, b.Peak, b.Title)
	}
	want := "1: 0.2+1.27, 10.09 high, peak false, 1 tick at 12:00 UTC\n1000: 50.2+1.27, 100 high, peak true, 1,000 ticks at 12:30 UTC\n" +
		"500: 75.2+1.27, 55 high, peak false, 500 ticks at 12:45 UTC\n1000: 98.53+1.27, 100 high, peak false, 1,000 ticks at 12:59 UTC\n"
	if got != want {
		t.Errorf("bars are\n%swant\n%s", got, want)
	}
	if fmt.Sprint(s.Marks) != "[{25 +15m} {50 +30m} {75 +45m}]" || s.Label() != "2,501 ticks in the next 1h; the most at a time: 1000, at 12:30 UTC." {
		t.Errorf("marks %v, label %q", s.Marks, s.Label())
	}
	u.Counts = []int64{0, 1, 0}
	if s := newSkyline(u); len(s.Bars) != 1 || s.Bars[0].Peak || s.Bars[0].H != 40 {
		t.Errorf("a single tick looks like a pile: %+v", s.Bars)
	}
}

func TestMissedTicksOfOneKindAreOneLine(t *testing.T) {
	missed := func(id, reason string, seconds float64) client.MissedTick {
		return client.MissedTick{ScheduleID: id, Fate: client.Fate{NominalTime: at(seconds), Reason: client.Text(reason)}}
	}
	got := groupMisses([]client.MissedTick{missed("a", "catchup", 30), missed("b", "catchup", 25), missed("a", "catchup", 20), missed("a", "window", 10)})
	if fmt.Sprint(got) != fmt.Sprint([]missGroup{{"a", "catchup", 2, at(20).Time, at(30).Time}, {"b", "catchup", 1, at(25).Time, at(25).Time}, {"a", "window", 1, at(10).Time, at(10).Time}}) {
		t.Errorf("groups are %+v", got)
	}
}
