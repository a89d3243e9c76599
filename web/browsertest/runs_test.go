package browsertest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// start starts a run of the workflow with this input.
func (s *site) start(in order) string {
	s.Helper()
	input, err := json.Marshal(in)
	s.must(err)
	id, err := s.StartRun(s.Context(), "report", input, pyworkflow.StartOptions{})
	s.must(err)
	return id
}

// status is where the run stands.
func (s *site) status(id string) schedules.RunStatus {
	s.Helper()
	r, err := s.GetRun(s.Context(), id)
	s.must(err)
	return r.Status
}

// shown is the id of the run that the tab shows.
func (s *site) shown() string {
	s.Helper()
	s.until("a run is shown", `location.pathname.startsWith("/runs/run_") && document.readyState === "complete"`)
	return strings.TrimPrefix(s.js(`location.pathname`), "/runs/")
}

// badge waits until the head of a run's page says where it stands.
func (s *site) badge(status string) {
	s.Helper()
	s.until("the run is "+status, `document.querySelector("#run-head .badge")?.innerText === `+quoted(status))
}

// TestRunActs: a run is started from the empty overview, watched, cancelled with a reason, and run again.
func TestRunActs(t *testing.T) {
	s := open(t, desktop)
	s.visit("/")
	s.sees("Nothing is scheduled yet", "1 worker and 1 beat live.", `pyworkflow schedules create report`)
	s.shot("empty")
	s.click(`#overview a[href="/runs/start"]`)
	s.sees("The workflow is executed once, now")
	s.typeIn("dialog #f-input", `{"takes": "1h"`)
	s.refused(422)
	s.click("dialog button[type=submit]")
	s.sees("is not JSON")
	s.shot("wrong-input")
	s.typeIn("dialog #f-input", `{"takes": "1h"}`)
	s.click("dialog button[type=submit]")
	first := s.shown()
	s.sees("of report started.", "writing the report")
	s.badge("running")
	s.until("its step is drawn", `document.querySelector("#steps .step .wb-running") !== null`)

	// The picture goes on by itself; what was opened stays open.
	s.click("#steps .step summary")
	s.sees("write#1")
	took := s.js(`document.querySelector("#steps .step .water-took").textContent`)
	s.until("the step grows", `document.querySelector("#steps .step .water-took").textContent !== `+quoted(took))
	if open := s.js(`document.querySelector("#steps details.step").open`); open != "true" {
		t.Errorf("after the page was fetched anew the step is open: %s", open)
	}
	s.shot("running")

	s.click(`#run-head a[href$="/json"]`)
	s.sees(`"run_id": "` + first + `"`)
	s.click("dialog [data-copy]")
	s.until("it is copied, or selected where that is forbidden", `["Copied", "Selected"].includes(document.querySelector("dialog [data-copy]").textContent)`)
	s.press(kb.Escape)
	s.until("the dialog is closed", `!document.querySelector("dialog").open`)

	// Who changes their mind cancels nothing.
	s.click(`#run-head a[href$="/cancel"]`)
	s.sees("Cancel this run of report?")
	s.click("dialog [data-close]")
	s.until("the dialog is closed", `!document.querySelector("dialog").open`)
	if got := s.status(first); got != schedules.RunRunning {
		t.Errorf("a cancel that was not sent made the run %s", got)
	}
	s.click(`#run-head a[href$="/cancel"]`)
	s.focused("dialog #f-reason")
	s.typeIn("dialog #f-reason", "the wrong month")
	s.shot("cancel")
	s.click("dialog button[type=submit]")
	s.badge("cancelled")
	s.sees("cancelled: the wrong month")
	s.eventually("the run is cancelled", func() bool { return s.status(first) == schedules.RunCancelled })
	s.until("it can't be cancelled any more", `document.querySelector('#run-head a[href$="/cancel"]') === null`)
	s.shot("cancelled")

	s.click(`#run-head a[href$="/again"]`)
	s.sees("Run report again?")
	s.click("dialog button[type=submit]")
	s.sees("This is a new run")
	second := s.shown()
	s.badge("running")
	if r, err := s.GetRun(t.Context(), second); err != nil || second == first || string(r.Input) != `{"takes":"1h"}` {
		t.Errorf("run again: %+v, %v", r, err)
	}

	s.visit("/runs")
	s.until("both are listed", `document.querySelectorAll("#runs tbody tr").length === 2`)
	s.choose(`select[name=status]`, "cancelled")
	s.until("one is left", `location.search === "?status=cancelled" && document.querySelectorAll("#runs tbody tr").length === 1`)
	s.sees("cancelled")
	s.shot("list")
	_, err := s.CancelRun(t.Context(), second, "")
	s.must(err)
}

// TestRunEnds: the page of a run that ends shows its result, or its error, without being asked.
func TestRunEnds(t *testing.T) {
	s := open(t, desktop)
	good, bad := s.start(order{Takes: "3s"}), s.start(order{Takes: "3s", Fail: "no paper"})
	s.visit("/runs/" + good)
	s.badge("completed")
	s.sees("Result", `"written"`, "completed in")
	s.visit("/runs/" + bad)
	s.badge("failed")
	s.sees("Failed", "no paper")
	s.until("the step is marked", `document.querySelector("#steps .step .wb-failed") !== null`)
	s.shot("failed")
}

// TestOverviewFollows: the overview shows what starts, ends and fails without being asked.
func TestOverviewFollows(t *testing.T) {
	s := open(t, desktop)
	s.create("often", schedules.Spec{Cron: "*/5 * * * *"}, order{})
	s.create("yearly", yearly, order{})
	s.visit("/")
	s.sees("The coming hour", "No run is active.", "often", "Active schedules")
	s.until("the coming hour has its ticks", `document.querySelectorAll("#overview .sky-bar").length >= 11`)
	id := s.start(order{Takes: "1h"})
	s.until("the run appears", `document.querySelector('#overview a[href="/runs/`+id+`"]') !== null`)
	s.sees("1 of 10")
	s.shot("running")
	_, err := s.CancelRun(t.Context(), id, "")
	s.must(err)
	s.until("the run goes", `document.querySelector('#overview a[href="/runs/`+id+`"]') === null`)
	failed := s.start(order{Fail: "no paper"})
	s.until("the failure appears", `document.querySelector('#overview a[href="/runs/`+failed+`"]') !== null`)
	s.sees("no paper")
	s.shot("failed")
	s.theme("dark")
	s.shot("dark")
}

// TestQueuesOnRedis: a paused queue keeps its runs, and gives them away when it is resumed.
func TestQueuesOnRedis(t *testing.T) {
	s := openOn(t, desktop, (*site).asynq)
	paused := func() bool {
		all, err := s.Queues(t.Context())
		s.must(err)
		return len(all) == 1 && all[0].Name == "default" && all[0].Paused
	}
	before := s.start(order{})
	s.eventually("a run is executed", func() bool { return s.status(before) == schedules.RunCompleted })
	s.visit("/workers")
	s.sees("Workers and beats", "worker", "beat", "0 of 10", "default")
	s.click(`a[href="/queues/default/pause"]`)
	s.sees("Pause queue default?", "Nothing waits in it now.")
	s.shot("pause")
	s.click("dialog button[type=submit]")
	s.sees("Queue default is paused", "paused")
	s.eventually("the queue is paused", paused)

	waits := s.start(order{})
	s.visit("/")
	s.sees("queue \"default\" is paused")
	s.visit("/workers")
	s.until("the run waits", `document.querySelector('#queues td[data-label=Waiting]').textContent === "1"`)
	if got := s.status(waits); got != schedules.RunPending {
		t.Errorf("a run in a paused queue is %s", got)
	}
	s.shot("paused")
	s.click(`a[href="/queues/default/resume"]`)
	s.sees("Waiting now: 1 run.")
	s.click("dialog button[type=submit]")
	s.sees("Workers take runs from queue default again.")
	s.eventually("the run is executed", func() bool { return s.status(waits) == schedules.RunCompleted && !paused() })
	s.visit("/runs")
	s.until("both are completed", `document.querySelectorAll("#runs .tone-good").length === 2`)
	s.shot("runs")
}

// TestPhoneRuns: the pages of runs and workers fit a phone, and a run is cancelled there.
func TestPhoneRuns(t *testing.T) {
	s := open(t, phone)
	id := s.start(order{Takes: "1h"})
	s.create("a-schedule-with-a-name-that-is-longer-than-a-phone-is-wide:eu-central-1", schedules.Spec{Cron: "* * * * *"}, order{}, func(r *client.CreateRequest) { r.Note = "for the phone" })
	for _, path := range []string{"/", "/runs", "/workers", "/runs/start", "/runs/" + id + "/json", "/runs/" + id} {
		s.visit(path)
		s.fits()
	}
	s.badge("running")
	s.click(`#run-head a[href$="/cancel"]`)
	s.typeIn("dialog #f-reason", "from the train")
	s.fits()
	s.click("dialog button[type=submit]")
	s.badge("cancelled")
	s.sees("cancelled: from the train")
	s.fits()
	s.shot("cancelled")
}

// TestKeyboardRuns starts a run, opens its step and cancels it without a mouse.
func TestKeyboardRuns(t *testing.T) {
	s := open(t, desktop)
	s.visit("/runs")
	s.tabTo(`main a[href="/runs/start"]`)
	s.press(kb.Enter)
	s.focused("dialog #f-workflow")
	s.press(kb.Tab)
	s.focused("dialog #f-input")
	s.do(chromedp.SendKeys(chromedp.CSS("dialog #f-input"), `{"takes": "1h"}`))
	s.press(kb.Tab, kb.Enter)
	id := s.shown()
	s.until("its step is drawn", `document.querySelector("#steps .step .wb-running") !== null`)
	s.tabTo("#steps .step summary")
	s.press(kb.Enter)
	s.until("the step is open", `document.querySelector("#steps details.step").open`)
	s.tabTo(".log")
	s.visit("/runs/" + id)
	s.tabTo(`#run-head a[href$="/cancel"]`)
	s.press(kb.Enter)
	s.focused("dialog #f-reason")
	s.press(kb.Escape)
	s.until("the dialog is closed, and the focus back", `!document.querySelector("dialog").open && document.activeElement.matches('#run-head a[href$="/cancel"]')`)
	s.press(kb.Enter)
	s.focused("dialog #f-reason")
	s.press("s", "t", "o", "p", kb.Enter)
	s.badge("cancelled")
	s.sees("cancelled: stop")
}
