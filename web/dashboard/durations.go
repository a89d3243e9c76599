package dashboard

import (
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// durations is a picture of how long the latest runs took, oldest first.
type durations struct {
	Width, Height, Floor int
	Bars                 []durationBar
	Lines                []durationLine
	Label                string
}

// durationBar is one run.
type durationBar struct {
	X, Y, W, H float64
	Status     string
	Title      string
	Href       string
}

// durationLine is a labelled height.
type durationLine struct {
	Y     float64
	Label string
}

const (
	durationsWidth  = 520
	durationsHeight = 160
	durationsTop    = 12
	durationsLeft   = 52
	durationsFloor  = durationsHeight - 8
)

// newDurations draws the runs of ticks, newest first, as they stand at now.
func newDurations(ticks []client.TimelineTick, now time.Time) durations {
	p := durations{Width: durationsWidth, Height: durationsHeight, Floor: durationsFloor}
	var longest time.Duration
	var runs []client.TimelineTick
	for _, t := range slices.Backward(ticks) {
		if !t.Started.IsZero() {
			runs = append(runs, t)
			longest = max(longest, ranFor(t, now))
		}
	}
	if len(runs) == 0 {
		return p
	}
	top := roundUp(longest)
	y := func(d time.Duration) float64 {
		return tenth(durationsFloor - float64(d)/float64(top)*(durationsFloor-durationsTop))
	}
	for _, d := range []time.Duration{0, top / 2, top} {
		label := "0"
		if d > 0 {
			label = schedules.Duration(d).String()
		}
		p.Lines = append(p.Lines, durationLine{y(d), label})
	}
	width := min(float64(durationsWidth-durationsLeft)/float64(len(runs)), 24)
	left := durationsWidth - width*float64(len(runs))
	for i, t := range runs {
		height := max(y(0)-y(ranFor(t, now)), 2)
		p.Bars = append(p.Bars, durationBar{X: tenth(left + width*float64(i)), W: tenth(width * .75), Y: tenth(durationsFloor - height), H: tenth(height), Status: string(t.Status),
			Title: tickTitle(t, now), Href: href("runs", t.RunID)})
	}
	most, _ := span(longest)
	count, _ := plural(len(runs), "run") // an int is a whole number
	p.Label = fmt.Sprintf("The last %s; the longest took %s.", count, most)
	return p
}

func ranFor(t client.TimelineTick, now time.Time) time.Duration {
	end := t.Ended.Time
	if end.IsZero() {
		end = now
	}
	return max(end.Sub(t.Started.Time), 0)
}

// roundUp is the next round span of time, of which half is round enough, too.
func roundUp(d time.Duration) time.Duration {
	for unit := time.Millisecond; unit <= 10*time.Second; unit *= 10 {
		for _, n := range []int{1, 2, 4, 6} {
			if round := time.Duration(n) * unit; d <= round {
				return round
			}
		}
	}
	for _, unit := range []time.Duration{time.Minute, time.Hour} {
		for _, n := range []int{1, 2, 4, 10, 20, 30, 60} {
			if round := time.Duration(n) * unit; d <= round {
				return round
			}
		}
	}
	const day = 24 * time.Hour
	days := int((d + day - 1) / day)
	return time.Duration((days+3)/4*4) * day
}
