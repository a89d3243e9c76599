package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var yearly = schedules.Spec{Cron: "0 0 1 1 *"}

// TestFirstSchedule: a newcomer creates a schedule in the browser, sees it fire, breaks it, finds out why, and repairs it.
func TestFirstSchedule(t *testing.T) {
	s := open(t, desktop)
	s.sees("No schedule yet", "pyworkflow schedules create report")
	s.shot("empty")
	s.click(`main a[href="/schedules/new"]`)
	s.at("/schedules/new")
	s.typeIn("#f-workflow", "report")
	s.typeIn("#f-id", "first")
	// A wrong spec shows its message as one types, a right one its next ticks.
	s.typeIn("#f-cron", "0 9 * *")
	s.until("the message stands beside the field", `document.querySelector("#f-cron").getAttribute("aria-invalid") === "true" && document.querySelector("#f-cron-error").innerText !== ""`)
	s.shot("wrong-spec")
	s.typeIn("#f-cron", "*/2 * * * * *")
	s.typeIn("#f-timezone", "Europe/Berlin")
	s.sees("Every 2 seconds", "On the clock of Europe/Berlin")
	s.until("the message is gone", `!document.querySelector("#f-cron").hasAttribute("aria-invalid")`)
	s.typeIn("#f-input", `{"fail": "no paper"}`)
	s.shot("new")
	s.click(`form.editor button[type=submit]`)
	s.at("/schedules/first")
	s.sees("Created first.", "Every 2 seconds")

	// It fires, and the page shows it without being asked.
	s.until("runs come in", `document.querySelectorAll("#history tbody tr").length >= 2`)
	s.until("the timeline grows", `document.querySelectorAll("#timeline-ticks .bar-failed").length >= 2`)
	s.until("it is live", `document.querySelector("#live-state").dataset.state === "on"`)
	s.sees("Europe/Berlin", "America/New_York (yours)")
	s.shot("failing")
	s.click(`#history tbody tr:first-child a[href^="/runs/"]`)
	s.sees("no paper")

	s.visit("/schedules/first/edit")
	s.typeIn("#f-input", `{"fail": ""}`)
	s.click(`form.editor button[type=submit]`)
	s.at("/schedules/first")
	s.sees("Saved first.")
	s.until("runs complete", `document.querySelectorAll("#timeline-ticks .bar-completed").length >= 1`)
	s.shot("repaired")
}

// TestActs: each act on a schedule, asked about in a dialog.
func TestActs(t *testing.T) {
	s := open(t, desktop)
	s.create("job", schedules.Spec{Cron: "0 * * * *"}, order{})
	status := func() schedules.Status {
		d, err := s.GetSchedule(t.Context(), "job")
		s.must(err)
		return d.Status
	}
	s.visit("/schedules/job")

	s.click("#act-pause")
	s.focused("#f-note")
	s.sees("Pause job?")
	s.typeIn("dialog #f-note", "the printer is away")
	s.shot("pause")
	s.click("dialog button[type=submit]")
	s.sees("Paused job.", "the printer is away", "None comes due while it is paused.")
	if got := status(); got != schedules.StatusPaused {
		t.Errorf("it is %s", got)
	}

	// Escape and Cancel change nothing.
	s.click("#act-resume")
	s.sees("Resume job?")
	s.press(kb.Escape)
	s.until("the dialog is closed", `!document.querySelector("#dialog").open`)
	s.focused("#act-resume")
	s.click("#act-resume")
	s.click("dialog [data-close]")
	s.until("the dialog is closed", `!document.querySelector("#dialog").open`)
	if got := status(); got != schedules.StatusPaused {
		t.Errorf("after Escape and Cancel it is %s", got)
	}
	s.click("#act-resume")
	s.typeIn("dialog #f-note", "")
	s.click("dialog button[type=submit]")
	s.sees("Resumed job.")

	// A wrong input is refused in the dialog, and stays.
	s.click("#act-trigger")
	s.typeIn("dialog #f-input", `{"takes": `)
	s.refused(422)
	s.click("dialog button[type=submit]")
	s.sees("is not JSON")
	s.shot("refused")
	s.typeIn("dialog #f-input", `{"takes": "1h"}`)
	s.click("dialog button[type=submit]")
	s.sees("Triggered: run run_")
	s.until("the run is shown", `document.querySelector("#work")?.innerText.includes("running")`)
	s.click("#act-trigger")
	s.click("dialog button[type=submit]")
	s.sees("Skipped: a run was in the way")
	s.click("#act-trigger")
	s.choose("dialog #f-overlap", "buffer_one")
	s.click("dialog button[type=submit]")
	s.sees("waits for the end of run_", "Blocked by run_")
	s.shot("waiting")
	d, err := s.GetSchedule(t.Context(), "job")
	s.must(err)
	_, err = s.CancelRun(t.Context(), d.ActiveRunIDs[0], "")
	s.must(err)
	s.until("what waited has run", `document.querySelectorAll("#timeline-ticks .bar-completed").length >= 1`)

	s.click("#act-delete")
	s.sees("Delete job?")
	s.typeIn("dialog #f-note", "no longer wanted")
	s.shot("delete")
	s.click("dialog button[type=submit]")
	s.sees("Deleted job.", "This schedule was deleted", "no longer wanted")
	s.visit("/schedules")
	s.sees("No schedule yet")
}

// TestBackfill: a preview of what would run, the run of it with its progress, and the end of one halfway.
func TestBackfill(t *testing.T) {
	s := open(t, desktop)
	s.create("hourly", schedules.Spec{Cron: "0 * * * *"}, order{})
	s.visit("/schedules/hourly")
	s.click("#act-backfill")
	s.typeIn("dialog #f-start", "2026-03-01 06:00")
	s.typeIn("dialog #f-end", "2026-03-01 05:00")
	s.refused(422)
	s.click("dialog button[value=preview]")
	s.sees("must be later than start")
	s.typeIn("dialog #f-end", "2026-03-01 12:00")
	s.click("dialog button[value=preview]")
	s.sees("Start 6 runs", "Sun 2026-03-01 11:00:00")
	s.shot("preview")
	s.click("dialog button[value=start]")
	s.sees("began: 6 runs.", "6 / 6")
	s.until("all are done", `document.querySelector("#backfills").innerText.includes("completed")`)
	s.shot("backfilled")

	s.create("slow", schedules.Spec{Cron: "0 * * * *"}, order{Takes: "1h"})
	_, err := s.Backfill(t.Context(), "slow", client.BackfillRequest{Start: time.Now().Add(-24 * time.Hour)})
	s.must(err)
	s.visit("/schedules/slow")
	s.sees("0 / 24")
	s.click(`#backfills a[data-dialog]`)
	s.sees("Cancel this backfill?", "is dropped: 23 runs")
	s.click("dialog button[type=submit]")
	s.sees("23 dropped", "23 / 24")
}

// TestManySchedules: search, filters, and acts on several at once.
func TestManySchedules(t *testing.T) {
	s := open(t, desktop)
	for _, id := range []string{"billing-a", "billing-b", "billing-c", "mail"} {
		s.create(id, yearly, order{})
	}
	s.visit("/schedules")
	s.press("/")
	s.focused("input[type=search]")
	s.typeIn("input[type=search]", "bill")
	s.press(kb.Enter)
	s.until("the search is done", `location.search === "?q=bill" && document.querySelectorAll("#list tbody tr").length === 3`)
	s.click("input[data-all]")
	s.sees("3 selected")
	s.click("#row-billing-b input[data-row]")
	s.sees("2 selected")
	s.shot("selected")
	s.click(`button[name=act][value=pause]`)
	s.sees("Pause 2 schedules?")
	s.typeIn("dialog #f-note", "end of the year")
	s.click("dialog button[type=submit]")
	s.sees("Paused 2 schedules.")
	s.choose("select[name=status]", "paused")
	s.until("the filter is set", `location.search === "?q=bill&status=paused" && document.querySelectorAll("#list tbody tr").length === 2`)
	s.sees("billing-a", "billing-c")
	s.click("input[data-all]")
	s.click(`button[name=act][value=resume]`)
	s.click("dialog button[type=submit]")
	s.sees("Resumed 2 schedules.", "No schedule matches")
	s.click(`a[href="/schedules"].button`)
	s.until("the filters are cleared", `location.search === "" && document.querySelectorAll("#list tbody tr").length === 4`)
	s.click("#row-mail input[data-row]")
	s.click(`button[name=act][value=delete]`)
	s.sees("Delete 1 schedule?")
	s.click("dialog button[type=submit]")
	s.sees("Deleted 1 schedule.")
	s.until("it is gone", `document.querySelectorAll("#list tbody tr").length === 3`)

	// The theme that is chosen holds on the next page.
	s.click("[data-theme-toggle]")
	s.click("[data-theme-toggle]")
	s.visit("/schedules/billing-a")
	s.until("it is dark", `document.documentElement.dataset.theme === "dark" && getComputedStyle(document.body).colorScheme !== "light"`)
	s.shot("dark")
}
