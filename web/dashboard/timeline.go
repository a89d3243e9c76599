package dashboard

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// timeline is a picture of a schedule's latest ticks on an axis of time: above, each nominal time; below, in lanes, how long its run waited and ran. Runs in two
// lanes overlapped.
type timeline struct {
	Width, Height int
	AxisY         int // of the nominal times
	Marks         []clockMark
	Ticks         []timelineMark // oldest first
	Next          []timelineNext // ticks to come
	NowX          float64
	Zone          string
	Label         string
	Crowded       bool // more runs overlapped than there are lanes
}

// clockMark is a labelled instant on the axis.
type clockMark struct {
	X     float64
	Label string
}

// timelineMark is one tick with what became of it.
type timelineMark struct {
	X       float64
	Shape   string // started, buffered, dropped, skipped or missed
	Trigger string // regular, manual or backfill
	Title   string
	Href    string // of its run; empty: it has none
	Lane    int    // y of the top of its lane; 0: neither waited nor ran
	Wait    bool
	WaitX   float64
	WaitW   float64
	Run     string // status of the run; empty: none began
	RunX    float64
	RunW    float64
	Link    bool // a line leads from the mark to where its lane begins: it is near enough to be followed
}

// timelineNext is a tick to come.
type timelineNext struct {
	X     float64
	Title string
}

// timelineLegend are the marks whose meaning is told below the picture.
var timelineLegend = []timelineMark{
	{Shape: "started", Trigger: "regular", Title: "started"}, {Shape: "started", Trigger: "manual", Title: "triggered"}, {Shape: "started", Trigger: "backfill", Title: "backfilled"},
	{Shape: "buffered", Title: "waits"}, {Shape: "skipped", Title: "skipped"}, {Shape: "missed", Title: "missed"}, {Shape: "dropped", Title: "dropped"},
}

const (
	timelineWidth  = 1000
	timelineLeft   = 10 // room for half a mark
	timelineAxisY  = 34
	timelineLanesY = 52
	laneHeight     = 16
	maxLanes       = 12
	maxLink        = 120
)

// newTimeline draws the ticks, newest first, as they stand at now; next are ticks to come, of which those are shown that fit.
func newTimeline(ticks []client.TimelineTick, next []client.Tick, now time.Time, zone *time.Location) timeline {
	p := timeline{Width: timelineWidth, AxisY: timelineAxisY, Zone: zone.String()}
	if len(ticks) == 0 {
		p.Height = timelineLanesY
		return p
	}
	ticks = slices.Clone(ticks)
	slices.SortStableFunc(ticks, func(a, b client.TimelineTick) int { return a.NominalTime.Compare(b.NominalTime.Time) })
	from, to := ticks[0].NominalTime.Time, now
	for _, t := range ticks {
		for _, at := range []time.Time{t.NominalTime.Time, t.Ended.Time} {
			if at.After(to) {
				to = at // the store's clock stepped back
			}
		}
	}
	room, end := max(to.Sub(from), time.Second), to
	for i, n := range next {
		if i > 0 && n.NominalTime.Sub(end) > room/4 {
			break
		}
		if at := n.NominalTime.Time; i > 0 || at.Sub(end) <= room {
			to = at
		}
	}
	to = to.Add(room / 50)
	x := func(at time.Time) float64 {
		return tenth(timelineLeft + float64(at.Sub(from))/float64(to.Sub(from))*(timelineWidth-2*timelineLeft))
	}
	p.NowX, p.Marks = x(now), clockMarks(from, to, zone, x)
	var busy []time.Time // until when, by lane
	for _, t := range ticks {
		m := timelineMark{X: x(t.NominalTime.Time), Shape: string(t.Fate.Fate), Trigger: "regular", Title: tickTitle(t, now)}
		if !t.Trigger.Regular() {
			m.Trigger = string(t.Trigger)
		}
		begin, end := occupied(t, now)
		if !begin.IsZero() {
			lane := slices.IndexFunc(busy, func(until time.Time) bool { return !begin.Before(until) })
			switch {
			case lane >= 0:
			case len(busy) < maxLanes:
				busy = append(busy, time.Time{})
				lane = len(busy) - 1
			default:
				lane, p.Crowded = maxLanes-1, true
			}
			busy[lane] = end
			m.Lane = timelineLanesY + lane*laneHeight
			m.place(t, now, x)
		}
		if t.RunID != "" && t.Status != "" {
			m.Href = href("runs", t.RunID)
		}
		p.Ticks = append(p.Ticks, m)
	}
	for _, n := range next {
		if at := n.NominalTime.Time; at.Before(to) {
			p.Next = append(p.Next, timelineNext{x(at), exactText(at) + ": to come"})
		}
	}
	p.Height = timelineLanesY + max(len(busy), 1)*laneHeight + 4
	p.Label = fmt.Sprintf("%d ticks from %s to %s", len(ticks), exactText(ticks[0].NominalTime.Time), exactText(ticks[len(ticks)-1].NominalTime.Time))
	return p
}

// occupied is from when to when a tick waited or ran; zero: neither.
func occupied(t client.TimelineTick, now time.Time) (begin, end time.Time) {
	switch t.Fate.Fate {
	case schedules.FateBuffered:
		return t.NominalTime.Time, now
	case schedules.FateStarted:
		if t.Status == "" {
			return time.Time{}, time.Time{} // its run is no longer kept
		}
		begin, end = t.DecidedAt.Time, t.Ended.Time
		if !t.Started.IsZero() && t.Started.Before(begin) {
			begin = t.Started.Time
		}
		if t.Waited.Duration > 0 {
			begin = t.DecidedAt.Add(-time.Duration(t.Waited.Duration))
		}
		if end.IsZero() {
			end = now
		}
		if end.Before(begin) {
			end = begin
		}
	}
	return begin, end
}

// place says where the tick's waiting and its run are drawn. A run is never too short to be seen.
func (m *timelineMark) place(t client.TimelineTick, now time.Time, x func(time.Time) float64) {
	begin, end := occupied(t, now)
	ran := t.Started.Time
	if ran.IsZero() { // it waits, or is on its way to a worker
		ran = end
	}
	if m.WaitX = x(begin); x(ran)-m.WaitX >= 2 {
		m.Wait, m.WaitW = true, tenth(x(ran)-m.WaitX)
	}
	if t.Status != "" {
		m.Run, m.RunX = string(t.Status), x(ran)
		m.RunW = tenth(max(x(end)-m.RunX, 3))
		m.Link = m.Wait || m.RunX-m.X < maxLink
	}
}

// tickTitle says all of a tick in a line.
func tickTitle(t client.TimelineTick, now time.Time) string {
	text := exactText(t.NominalTime.Time) + ": " + string(t.Fate.Fate)
	if !t.Trigger.Regular() || t.Trigger == schedules.TriggerCatchup {
		text += ", " + string(t.Trigger)
	}
	if t.Reason != "" {
		text += " (" + reasonWords(t.Reason) + ")"
	}
	if t.Waited.Duration > 0 {
		waited, _ := span(t.Waited) // a Duration is a span of time
		text += ", waited " + waited
	}
	if t.Status == "" {
		return text
	}
	text += ", " + string(t.Status)
	if !t.Started.IsZero() {
		end, word := t.Ended.Time, " after "
		if end.IsZero() {
			end, word = now, " for "
		}
		took, _ := span(max(end.Sub(t.Started.Time), time.Microsecond))
		text += word + took
	}
	if t.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", t.Attempt)
	}
	return text
}

// tenth rounds a place in a picture, so that the markup stays small.
func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// axisSteps are the distances that labels of an axis may have.
var axisSteps = []time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour,
	91 * 24 * time.Hour, 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour,
}

// clockMarks labels round times of the zone's clock, at most eight of them.
func clockMarks(from, to time.Time, zone *time.Location, x func(time.Time) float64) []clockMark {
	step := axisSteps[len(axisSteps)-1]
	for _, s := range axisSteps {
		if to.Sub(from) <= 8*s {
			step = s
			break
		}
	}
	layout := "15:04"
	switch {
	case step < time.Minute:
		layout = "15:04:05"
	case step >= 28*24*time.Hour:
		layout = "2006-01-02"
	case step >= 24*time.Hour:
		layout = "Mon 01-02"
	}
	// Counted on the zone's clock, so that labels are round there, and stay so across a change of its offset.
	_, offset := from.In(zone).Zone()
	shift := time.Duration(offset) * time.Second
	var out []clockMark
	for at := from.Add(shift).Truncate(step); ; at = at.Add(step) {
		wall := time.Date(at.UTC().Year(), at.UTC().Month(), at.UTC().Day(), at.UTC().Hour(), at.UTC().Minute(), at.UTC().Second(), 0, zone)
		if wall.After(to) || len(out) == 10 {
			return out
		}
		if wall.Before(from) {
			continue
		}
		text := wall.Format(layout)
		if layout == "15:04" && (wall.Hour() == 0 && wall.Minute() == 0 || len(out) == 0 && to.Sub(from) > 12*time.Hour) {
			text = wall.Format("Mon 01-02 15:04")
		}
		out = append(out, clockMark{x(wall), text})
	}
}
