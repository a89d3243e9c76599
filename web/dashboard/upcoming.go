package dashboard

import (
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// skyline is the picture of the ticks to come: one bar a slice of time, so that it can be seen where they pile up. All x, y, widths and heights are percents.
type skyline struct {
	Bars     []skyBar
	Marks    []scaleMark // "+15m"
	Total    int64
	Most     int64     // of one bar
	Peak     time.Time // when the first highest bar begins; zero: nothing is to come
	Slice    time.Duration
	Span     time.Duration // of all slices
	Complete bool          // false: of some schedules only the next tick is counted
	Next     []client.UpcomingTick
}

// skyBar is one slice of the time to come. A slice without a tick has no bar.
type skyBar struct {
	X, Y, W, H float64
	Count      int64
	Peak       bool
	Title      string // "12 ticks at 14:05 UTC"
}

// Middle is where the bar's number stands.
func (b skyBar) Middle() float64 { return hundredth(b.X + b.W/2) }

// newSkyline draws what comes. A bar that has a tick is at least a tenth as high as the highest, so that single ticks are seen beside a pile.
func newSkyline(u client.Upcoming) skyline {
	s := skyline{Slice: time.Duration(u.Width), Span: time.Duration(u.Width) * time.Duration(len(u.Counts)), Complete: u.Complete, Next: u.Next}
	for _, n := range u.Counts {
		s.Total += n
		s.Most = max(s.Most, n)
	}
	slot := 100 / float64(max(1, len(u.Counts)))
	for i, n := range u.Counts {
		if n == 0 {
			continue
		}
		at := u.From.Add(time.Duration(i) * s.Slice)
		const least = 10
		h := least + (100-least)*float64(n)/float64(s.Most)
		if s.Most == 1 {
			h = 40 // one tick is no pile
		}
		b := skyBar{X: hundredth((float64(i) + 0.12) * slot), W: hundredth(0.76 * slot), H: hundredth(h), Count: n, Title: fmt.Sprintf("%s at %s UTC", ticks(n), at.UTC().Format("15:04"))}
		b.Y = hundredth(100 - b.H)
		if n == s.Most && s.Peak.IsZero() {
			s.Peak, b.Peak = at, n > 1
		}
		s.Bars = append(s.Bars, b)
	}
	a := scale{from: u.From.Time, span: s.Span}
	if a.span > 0 {
		for _, m := range a.marks(4) {
			m.Text = "+" + m.Text
			s.Marks = append(s.Marks, m)
		}
	}
	return s
}

// Label says in words what the picture shows, for those who do not see it.
func (s skyline) Label() string {
	span := schedules.Duration(s.Span)
	if s.Total == 0 {
		return fmt.Sprintf("No tick in the next %s.", span)
	}
	return fmt.Sprintf("%s in the next %s; the most at a time: %d, at %s UTC.", ticks(s.Total), span, s.Most, s.Peak.UTC().Format("15:04"))
}

func ticks(n int64) string {
	text, _ := plural(n, "tick") // a whole number has a plural
	return text
}
