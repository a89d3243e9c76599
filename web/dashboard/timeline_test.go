package dashboard

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// tick is a tick of the minute, counted from start, with the run from one second of it to another; to 0: it has not ended; status empty: no run.
func tick(minute int, fate schedules.FateKind, status schedules.RunStatus, from, to int) client.TimelineTick {
	at := start.Truncate(time.Minute).Add(time.Duration(minute) * time.Minute)
	second := func(s int) client.Time { return client.Time{Time: at.Add(time.Duration(s) * time.Second)} }
	t := client.TimelineTick{Fate: client.Fate{NominalTime: client.Time{Time: at}, Trigger: schedules.TriggerSchedule, DecidedAt: second(0), Fate: fate}, Status: status}
	if status != "" {
		t.RunID = "run_x"
		t.Started = second(from)
		t.DecidedAt = second(from)
		t.Waited.Duration = schedules.Duration(time.Duration(from) * time.Second)
		if to > 0 {
			t.Ended = second(to)
		}
	}
	return t
}

// TestTimelineLanes: runs share a lane unless they overlapped; what waited is seen to wait.
func TestTimelineLanes(t *testing.T) {
	now := start.Truncate(time.Minute).Add(10 * time.Minute)
	p := newTimeline([]client.TimelineTick{
		tick(8, schedules.FateStarted, schedules.RunRunning, 0, 0),
		tick(7, schedules.FateSkipped, "", 0, 0),
		tick(6, schedules.FateMissed, "", 0, 0),
		tick(3, schedules.FateBuffered, "", 0, 0),
		tick(2, schedules.FateStarted, schedules.RunFailed, 90, 120),
		tick(1, schedules.FateStarted, schedules.RunCompleted, 0, 150),
		tick(0, schedules.FateStarted, schedules.RunCompleted, 0, 60),
	}, []client.Tick{{NominalTime: client.Time{Time: now.Add(time.Minute)}}, {NominalTime: client.Time{Time: now.Add(time.Hour)}}}, now, time.UTC)
	if len(p.Ticks) != 7 || len(p.Next) != 1 || p.Crowded {
		t.Fatalf("%d ticks, %d to come, crowded %v", len(p.Ticks), len(p.Next), p.Crowded)
	}
	lane := func(i int) int { return (p.Ticks[i].Lane - timelineLanesY) / laneHeight }
	for i, want := range []struct {
		lane int
		wait bool
		run  string
	}{
		{0, false, "completed"}, {0, false, "completed"}, // the second begins as the first ends
		{1, true, "failed"}, // it waited for the second
		{2, true, ""},       // it waits still, and both others had not ended when it came due
		{-1, false, ""}, {-1, false, ""}, {0, false, "running"},
	} {
		m := p.Ticks[i]
		if m.Lane == 0 {
			if want.lane != -1 {
				t.Errorf("tick %d has no lane", i)
			}
			continue
		}
		if lane(i) != want.lane || m.Wait != want.wait || m.Run != want.run {
			t.Errorf("tick %d: lane %d, waits %v, run %q; want %+v", i, lane(i), m.Wait, m.Run, want)
		}
	}
	if !slices.IsSortedFunc(p.Ticks, func(a, b timelineMark) int { return int(a.X*10 - b.X*10) }) {
		t.Errorf("marks are out of order: %+v", p.Ticks)
	}
	first, last := p.Ticks[0], p.Ticks[6]
	if first.X != timelineLeft || last.RunX+last.RunW != p.NowX || p.NowX >= p.Next[0].X || p.Next[0].X > timelineWidth {
		t.Errorf("first at %v, run until %v, now %v, next %v", first.X, last.RunX+last.RunW, p.NowX, p.Next[0].X)
	}
	for i, want := range map[int]string{1: "completed after 2m 30s", 2: "waited 1m 30s, failed after 30s", 3: "buffered", 6: "running for 2m 00s"} {
		if !strings.Contains(p.Ticks[i].Title, want) {
			t.Errorf("tick %d says %q, want %q in it", i, p.Ticks[i].Title, want)
		}
	}
}

func TestTimelineOfManyOverlappingRuns(t *testing.T) {
	var ticks []client.TimelineTick
	for i := range 30 {
		ticks = append(ticks, tick(29-i, schedules.FateStarted, schedules.RunRunning, 0, 0))
	}
	p := newTimeline(ticks, nil, start.Add(40*time.Minute), time.UTC)
	if !p.Crowded || p.Height != timelineLanesY+maxLanes*laneHeight+4 {
		t.Errorf("crowded %v, height %d", p.Crowded, p.Height)
	}
	if one := newTimeline(ticks[:1], nil, ticks[0].NominalTime.Time, time.UTC); len(one.Ticks) != 1 || one.Ticks[0].RunW < 3 {
		t.Errorf("a run of no time at all: %+v", one.Ticks)
	}
}

// TestClockMarks: labels stand at round times of the zone's clock, also across a change of its offset.
func TestClockMarks(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		from, to, zone string
		want           []string
	}{
		{"2026-03-02T10:00:30Z", "2026-03-02T10:40:00Z", "UTC", []string{"10:05", "10:10", "10:15", "10:20", "10:25", "10:30", "10:35", "10:40"}},
		{"2026-03-02T10:00:30Z", "2026-03-02T13:40:00Z", "Asia/Kolkata", []string{"16:00", "16:30", "17:00", "17:30", "18:00", "18:30", "19:00"}},
		{"2026-03-02T10:00:00Z", "2026-03-02T10:00:07Z", "UTC", []string{"10:00:00", "10:00:01", "10:00:02", "10:00:03", "10:00:04", "10:00:05", "10:00:06", "10:00:07"}},
		{"2026-03-28T12:00:00Z", "2026-03-30T01:00:00Z", "Europe/Berlin", []string{"Sat 03-28 18:00", "Sun 03-29 00:00", "06:00", "12:00", "18:00", "Mon 03-30 00:00"}},
		{"2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z", "UTC", []string{"Thu 01-01 00:00", "12:00", "Fri 01-02 00:00", "12:00", "Sat 01-03 00:00", "12:00", "Sun 01-04 00:00", "12:00", "Mon 01-05 00:00"}},
	} {
		zone, err := time.LoadLocation(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range clockMarks(at(tc.from), at(tc.to), zone, func(time.Time) float64 { return 0 }) {
			got = append(got, m.Label)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s to %s in %s: %q, want %q", tc.from, tc.to, tc.zone, got, tc.want)
		}
	}
}

func TestDurations(t *testing.T) {
	now := start.Add(time.Hour)
	p := newDurations([]client.TimelineTick{tick(3, schedules.FateStarted, schedules.RunRunning, 0, 0), tick(2, schedules.FateSkipped, "", 0, 0), tick(1, schedules.FateStarted, schedules.RunFailed, 0, 30), tick(0, schedules.FateStarted, schedules.RunCompleted, 0, 90)}, now)
	var got []string
	for _, b := range p.Bars {
		got = append(got, b.Status)
		if b.X < durationsLeft || b.X+b.W > durationsWidth || b.Y < durationsTop || b.Y+b.H > durationsFloor+.1 {
			t.Errorf("a bar leaves the picture: %+v", b)
		}
	}
	if !slices.Equal(got, []string{"completed", "failed", "running"}) || p.Bars[0].H < p.Bars[1].H || p.Lines[2].Label != "1h" {
		t.Errorf("%v, %+v, %+v", got, p.Bars, p.Lines)
	}
	for d, want := range map[time.Duration]time.Duration{time.Microsecond: time.Millisecond, 3 * time.Millisecond: 4 * time.Millisecond, 61 * time.Second: 2 * time.Minute, 61 * time.Minute: 2 * time.Hour, 7 * time.Second: 10 * time.Second,
		50 * time.Hour: 60 * time.Hour, 61 * time.Hour: 96 * time.Hour} {
		if got := roundUp(d); got != want {
			t.Errorf("above %s comes %s, want %s", d, got, want)
		}
	}
}
