package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// TestPhone walks through the pages on a phone: nothing is wider than it, and an act works.
func TestPhone(t *testing.T) {
	s := open(t, phone)
	s.create("a-schedule-with-a-name-that-is-longer-than-a-phone-is-wide:eu-central-1", schedules.Spec{Cron: "*/2 * * * * *"}, order{})
	s.create("mail", yearly, order{})
	s.visit("/schedules")
	s.fits()
	s.shot("list")
	s.click(`#list a.row-link`)
	s.until("runs come in", `document.querySelectorAll("#timeline-ticks .bar-completed").length >= 2`)
	s.fits()
	s.shot("schedule")
	s.click("#act-pause")
	s.typeIn("dialog #f-note", "from the train")
	s.fits()
	s.shot("pause")
	s.click("dialog button[type=submit]")
	s.sees("Paused a-schedule", "from the train")
	for _, path := range []string{"/", "/schedules/new", "/schedules/mail/edit", "/schedules/mail/backfill", "/runs", "/workers"} {
		s.visit(path)
		s.fits()
	}
	s.visit("/")
	s.click(`nav[aria-label=Main] a[href="/schedules"]`)
	s.at("/schedules")
	s.theme("dark")
	s.shot("dark")
}

// TestKeyboard creates a schedule, reads its timeline and pauses it without a mouse.
func TestKeyboard(t *testing.T) {
	s := open(t, desktop)
	s.create("ticking", schedules.Spec{Interval: "1s", IntervalFrom: schedules.FromStart}, order{})
	s.visit("/schedules")
	s.press(kb.Tab)
	s.focused("a.skip")
	s.press(kb.Enter)
	s.until("the content is reached", `document.activeElement.id === "main"`)
	s.tabTo(`a[href="/schedules/new"]`)
	s.press(kb.Enter)
	s.at("/schedules/new")
	s.tabTo("#f-workflow")
	s.press("r", "e", "p", "o", "r", "t", kb.Tab)
	s.focused("#f-id")
	s.press("k", "e", "y", "s", kb.Tab)
	s.focused("input[name=kind]")
	s.press(kb.ArrowRight)
	s.until("an interval is chosen", `document.querySelector("input[name=kind]:checked").value === "interval"`)
	s.press(kb.Tab)
	s.focused("#f-interval")
	s.press("1", "h", kb.Enter)
	s.at("/schedules/keys")

	s.visit("/schedules/ticking")
	s.until("it ticks", `document.querySelectorAll("#timeline-ticks a[href]").length >= 3`)
	s.until("the timeline is one stop for Tab all the same", `document.querySelectorAll('#timeline-ticks a[tabindex="0"]').length === 1 && document.querySelectorAll('#timeline-ticks a:not([tabindex])').length === 0`)
	s.tabTo("#act-pause")
	s.press(kb.Enter)
	s.focused("dialog #f-note")
	s.press("h", "u", "s", "h", kb.Tab, kb.Tab, kb.Enter)
	s.sees("Paused ticking.", "hush")
	s.eventually("it is paused", func() bool {
		d, err := s.GetSchedule(t.Context(), "ticking")
		s.must(err)
		return d.Status == schedules.StatusPaused && d.ActiveRuns == 0
	})
	s.visit("/schedules/ticking")
	s.tabTo("#timeline-ticks a")
	last := s.js(`document.activeElement.getAttribute("aria-label")`)
	s.press(kb.ArrowLeft)
	s.until("the tick before has the focus", `document.activeElement.matches("#timeline-ticks a") && document.activeElement.getAttribute("aria-label") !== `+quoted(last))
	s.until("it is written out", `document.querySelector("[data-readout=timeline-ticks]").innerText === document.activeElement.getAttribute("aria-label")`)
	s.shot("timeline")
	s.press(kb.Enter)
	s.until("its run is shown", `location.pathname.startsWith("/runs/run_")`)
}

// tabTo presses Tab until what a CSS selector finds has the focus.
func (s *site) tabTo(selector string) {
	s.Helper()
	began := time.Now()
	for n := 0; s.js(`document.activeElement.matches(`+quoted(selector)+`)`) != "true"; n++ {
		if n == 100 || time.Since(began) > patience {
			s.Fatalf("%d times Tab did not reach %s\n%s", n, selector, s.page())
		}
		s.press(kb.Tab)
	}
}
