package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// waterfall is the picture of a run: how long it waited, its attempts, its steps, on one axis of time. All x and widths are percents of the axis.
type waterfall struct {
	Marks []scaleMark
	Lead  []waterRow // the wait for a worker and the run's own attempts
	Steps []waterRow
	Span  time.Duration // that the axis shows
	Live  bool          // the right end is now
}

// scaleMark is a mark of the axis.
type scaleMark struct {
	X    float64
	Text string // "10s": since the axis began
}

// waterRow is one line of the picture.
type waterRow struct {
	Name, Suffix string // of a step: "fetch" and "#1"
	Status       string // a run's status; "wait" for the wait; "stopped" for a step that its run's end, or a dead worker, cut off
	Bars         []waterBar
	Began, Ended time.Time // Ended is zero while it goes on
	Took         time.Duration
	Attempt      int
	Step         *client.Step // nil in the lead
	Result       shown        // of the step, where the page shows it
}

// waterBar is one stretch of a row.
type waterBar struct {
	X, W  float64
	Class string // a status, "wait" or "pause"
	Title string
}

// barSpan is a bar before it has its place.
type barSpan struct {
	from, to time.Time
	class    string
	title    string
}

// newWaterfall draws a run as it is at now. Events are the run's log, oldest first: they tell where attempts ended; without them a row is one bar.
func newWaterfall(r client.Run, events []client.Event, now time.Time) waterfall {
	end := r.EndedAt.Time
	if end.IsZero() {
		end = now
	}
	begin := r.CreatedAt.Time
	if s := r.StartedAt.Time; !s.IsZero() && s.Sub(begin) > 3*max(end.Sub(s), time.Millisecond) {
		begin = s // a long wait would leave the steps no room
	}
	a := scale{from: begin, span: max(end.Sub(begin), time.Millisecond)}
	w := waterfall{Marks: a.marks(5), Span: a.span, Live: r.EndedAt.IsZero()}

	if waited := r.StartedAt.Sub(r.CreatedAt.Time); r.StartedAt.IsZero() || begin.Equal(r.CreatedAt.Time) && waited > a.span/200 {
		until := cmp.Or(r.StartedAt.Time, end)
		w.Lead = append(w.Lead, waterRow{Name: "waiting for a worker", Status: "wait", Began: r.CreatedAt.Time, Ended: r.StartedAt.Time, Took: until.Sub(r.CreatedAt.Time),
			Bars: a.bars(barSpan{r.CreatedAt.Time, until, "wait", "waiting for a worker"})})
	}
	var cut time.Time // until when a step that never ended can have lasted
	if !r.StartedAt.IsZero() {
		parts := runParts(r, events, end)
		for _, p := range parts {
			if p.class != "pause" {
				cut = p.to
			}
		}
		w.Lead = append(w.Lead, waterRow{Name: "run", Status: string(r.Status), Began: r.StartedAt.Time, Ended: r.EndedAt.Time, Took: end.Sub(r.StartedAt.Time),
			Attempt: r.Attempt, Bars: a.bars(parts...)})
	}
	breaks := stepBreaks(events, r.Steps)
	for i := range r.Steps {
		w.Steps = append(w.Steps, a.step(&r.Steps[i], breaks[r.Steps[i].Key], r.Status, cut, now))
	}
	return w
}

// step draws a step; cut is where it stopped if its run is not executing it any more.
func (a scale) step(s *client.Step, breaks []stepBreak, run schedules.RunStatus, cut, now time.Time) waterRow {
	row := waterRow{Name: s.Name, Suffix: strings.TrimPrefix(s.Key, s.Name), Status: string(s.Status), Began: s.StartedAt.Time, Ended: s.EndedAt.Time, Attempt: s.Attempt, Step: s}
	if s.Status == schedules.RunRunning || s.Status == schedules.RunRetrying {
		row.Ended = time.Time{}
		if run != schedules.RunRunning {
			row.Status, row.Ended = "stopped", later(cut, s.StartedAt.Time)
		}
	}
	end := cmp.Or(row.Ended, later(now, s.StartedAt.Time))
	row.Took = max(0, end.Sub(s.StartedAt.Time))
	from := s.StartedAt.Time
	var parts []barSpan
	for _, b := range breaks {
		if b.at.Before(from) || b.at.After(end) {
			continue
		}
		parts = append(parts, barSpan{from, b.at, "failed", fmt.Sprintf("attempt %d failed after %s", b.next-1, lasted(b.at.Sub(from)))})
		from = earlier(b.at.Add(b.wait), end)
		parts = append(parts, barSpan{b.at, from, "pause", fmt.Sprintf("waits %s for attempt %d", lasted(b.wait), b.next)})
	}
	if ended := s.Status == schedules.RunCompleted || s.Status == schedules.RunFailed; from.Before(end) || ended || len(parts) == 0 {
		parts = append(parts, barSpan{from, end, row.Status, fmt.Sprintf("%s, %s", row.Status, lasted(end.Sub(from)))})
	}
	row.Bars = a.bars(parts...)
	return row
}

// runParts splits the time since the run's first claim into its attempts and the pauses between them.
func runParts(r client.Run, events []client.Event, end time.Time) []barSpan {
	var parts []barSpan
	var from time.Time // of the attempt that goes on; zero: none does
	paused := r.StartedAt.Time
	what := ""
	stop := func(at time.Time, class string) {
		if !from.IsZero() {
			parts = append(parts, barSpan{from, at, class, what + ", " + lasted(at.Sub(from))})
			paused, from = at, time.Time{}
		}
	}
	for _, e := range events {
		at := later(e.At.Time, r.StartedAt.Time)
		switch e.Kind {
		case "claimed":
			stop(at, "stopped")
			if at.After(paused) && len(parts) > 0 {
				parts = append(parts, barSpan{paused, at, "pause", "waits to go on, " + lasted(at.Sub(paused))})
			}
			from, what = at, "attempt"
			if n, ok := e.Attrs["attempt"]; ok {
				what = fmt.Sprintf("attempt %v", n)
			}
			if len(parts) == 0 && fmt.Sprint(e.Attrs["dispatch"]) == "1" {
				from = r.StartedAt.Time // the first claim: its line comes a moment after it
			}
		case "retry":
			stop(at, "failed")
		case "sent", "returned":
			stop(at, "stopped")
		}
	}
	switch {
	case !from.IsZero():
		stop(end, string(r.Status))
	case len(parts) == 0: // the log does not reach back so far
		parts = append(parts, barSpan{r.StartedAt.Time, end, string(r.Status), lasted(end.Sub(r.StartedAt.Time))})
	case !r.Status.Ended():
		parts = append(parts, barSpan{paused, end, "pause", "waits to go on, " + lasted(end.Sub(paused))})
	}
	return parts
}

// stepBreak is the end of a step's attempt that was followed by another one.
type stepBreak struct {
	at   time.Time
	next int // number of the next attempt
	wait time.Duration
}

var againIn = regexp.MustCompile(`; attempt (\d+) in (\S+)$`)

// stepBreaks reads from a run's log where its steps were tried again, by key.
func stepBreaks(events []client.Event, steps []client.Step) map[string][]stepBreak {
	known := map[string]bool{}
	for _, s := range steps {
		known[s.Key] = s.Attempt > 1
	}
	out := map[string][]stepBreak{}
	for _, e := range events {
		if e.Kind != "step" || e.Level != "warn" {
			continue
		}
		key, _, ok := strings.Cut(strings.TrimPrefix(e.Message, "step "), " failed: ")
		m := againIn.FindStringSubmatch(e.Message)
		if !ok || m == nil || !known[key] {
			continue
		}
		n, err1 := strconv.Atoi(m[1])
		wait, err2 := time.ParseDuration(m[2])
		if err1 == nil && err2 == nil && wait >= 0 {
			out[key] = append(out[key], stepBreak{at: e.At.Time, next: n, wait: wait})
		}
	}
	return out
}

// scale maps time to percents.
type scale struct {
	from time.Time
	span time.Duration
}

func (a scale) x(t time.Time) float64 {
	return share(float64(t.Sub(a.from)), float64(a.span))
}

// share is part of whole in percents, from 0 to 100, with two decimals.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return hundredth(100 * min(1, max(0, part/whole)))
}

func hundredth(x float64) float64 { return math.Round(100*x) / 100 }

// bars places spans of time. What is too short to be seen is drawn with a least width.
func (a scale) bars(parts ...barSpan) []waterBar {
	const least = 0.4
	var out []waterBar
	for _, p := range parts {
		b := waterBar{X: a.x(p.from), Class: p.class, Title: p.title}
		b.W = hundredth(a.x(p.to) - b.X)
		if b.W < least && p.class != "pause" {
			b.X, b.W = min(b.X, 100-least), least
		}
		if b.W > 0 {
			out = append(out, b)
		}
	}
	return out
}

// spans are the distances that marks of an axis may have.
var spans = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour,
}

// marks gives at most so many marks at round distances, the one at zero and any too near to the right end left out.
func (a scale) marks(most int) []scaleMark {
	step := spans[len(spans)-1]
	if i := slices.IndexFunc(spans, func(d time.Duration) bool { return a.span/d <= time.Duration(most) }); i >= 0 {
		step = spans[i]
	}
	for a.span/step > time.Duration(most) {
		step *= 2
	}
	var out []scaleMark
	for at := step; at < a.span-a.span/16; at += step {
		out = append(out, scaleMark{X: a.x(a.from.Add(at)), Text: roundSpan(at)})
	}
	return out
}

// roundSpan writes a round distance without the units that are zero: "30s", "2m", "1h30m".
func roundSpan(d time.Duration) string {
	if d < time.Second {
		return d.String()
	}
	return schedules.Duration(d).String()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// lasted writes how long something took, however short it was.
func lasted(d time.Duration) string {
	text, _ := span(max(d, time.Microsecond)) // a Duration is a span of time
	return text
}
