package dashboard

import (
	"fmt"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// strip is a row of the latest ticks, oldest first, each a bar of its own shape and colour.
type strip struct {
	Bars  []bar
	Width int
	Label string // what it says, for those who can't see it
}

// bar is one tick of a strip.
type bar struct {
	X     int
	Shape string // class: completed, failed, cancelled, running, pending, retrying, buffered, dropped, skipped, missed
	Title string
}

const (
	barStep   = 7 // from one bar to the next
	stripBars = 20
)

// stripLegend are the bars whose meaning is told below a list.
var stripLegend = []string{"completed", "failed", "cancelled", "running", "buffered", "skipped", "missed"}

// newStrip lays ticks out, the newest at the right end.
func newStrip(ticks []client.StripTick) strip {
	if len(ticks) > stripBars {
		ticks = ticks[len(ticks)-stripBars:]
	}
	s := strip{Width: stripBars*barStep - 2}
	counts := map[string]int{}
	for i, t := range ticks {
		shape := string(t.RunStatus)
		if shape == "" {
			shape = string(t.Fate)
		}
		title := exactText(t.NominalTime.Time) + ": " + shape
		if t.Reason != "" {
			title += " (" + reasonWords(t.Reason) + ")"
		}
		if t.Took.Duration > 0 {
			took, _ := span(t.Took) // a Duration is a span of time
			title += ", took " + took
		}
		counts[shape]++
		s.Bars = append(s.Bars, bar{X: (stripBars - len(ticks) + i) * barStep, Shape: shape, Title: title})
	}
	if len(ticks) == 0 {
		s.Label = "no tick yet"
		return s
	}
	var parts []string
	for _, shape := range []string{"completed", "failed", "cancelled", "running", "retrying", "pending", "started", "buffered", "dropped", "skipped", "missed"} {
		if n := counts[shape]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, shape))
		}
	}
	s.Label = fmt.Sprintf("last %d ticks: %s", len(ticks), strings.Join(parts, ", "))
	return s
}

// reasonWords says what a fate's reason means.
func reasonWords(reason any) string {
	switch r := fmt.Sprint(reason); r {
	case schedules.ReasonOverlap:
		return "a run was in the way"
	case schedules.ReasonBufferFull:
		return "no more ticks may wait"
	case schedules.ReasonSuperseded:
		return "a newer tick took its place"
	case schedules.ReasonCatchup:
		return "nothing polled when it was due"
	case schedules.ReasonWindow:
		return "older than the catchup window"
	case schedules.ReasonPaused:
		return "due when the schedule was paused"
	case schedules.ReasonDeleted:
		return "due when the schedule was deleted"
	case schedules.ReasonCancelled:
		return "its backfill was cancelled"
	default:
		return r
	}
}
