package schedules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle finds ticks by walking through the seconds and looking at a clock.
type oracle struct {
	sets    [6][]bool // of second, minute, hour, day of month, month, day of week
	either  bool
	elapsed bool
}

// matches reports whether the set holds what a clock shows; the reading's location does not matter.
func (o *oracle) matches(reading time.Time) bool {
	if !o.sets[0][reading.Second()] || !o.sets[1][reading.Minute()] || !o.sets[2][reading.Hour()] || !o.sets[4][reading.Month()] {
		return false
	}
	date, weekday := o.sets[3][reading.Day()], o.sets[5][reading.Weekday()]
	if o.either {
		return date || weekday
	}
	return date && weekday
}

// ticks lists the ticks in [from, to), looking at the clock every step seconds.
func (o *oracle) ticks(loc *time.Location, from, to, step int64) []int64 {
	var ticks []int64
	seen := make(map[int64]bool)
	show := func(sec int64) int64 {
		_, offset := time.Unix(sec, 0).In(loc).Zone()
		return sec + int64(offset)
	}
	previous := show(from - step)
	for sec := from; sec < to; sec += step {
		shown := show(sec)
		due := false
		first := shown
		if !o.elapsed && shown > previous+step {
			first = previous + step // the clock skipped these
		}
		for reading := first; reading <= shown; reading += step {
			if o.matches(time.Unix(reading, 0).UTC()) && (o.elapsed || !seen[reading]) {
				seen[reading] = true
				due = true
			}
		}
		if due {
			ticks = append(ticks, sec)
		}
		previous = shown
	}
	return ticks
}

// drawField draws the text of a field and the values it stands for.
func drawField(t *rapid.T, f *field) (string, []bool) {
	set := make([]bool, f.max+1)
	var parts []string
	for range rapid.IntRange(1, 3).Draw(t, f.name+" elements") {
		low := rapid.IntRange(f.min, f.max).Draw(t, f.name)
		high := rapid.IntRange(low, f.max).Draw(t, f.name+" to")
		step := rapid.IntRange(1, f.max-f.min+1).Draw(t, f.name+" step")
		var text string
		switch rapid.IntRange(0, 5).Draw(t, f.name+" form") {
		case 0:
			text, low, high, step = "*", f.min, f.max, 1
		case 1:
			text, low, high = fmt.Sprintf("*/%d", step), f.min, f.max
		case 2:
			text, high, step = fmt.Sprint(low), low, 1
		case 3:
			text, step = fmt.Sprintf("%d-%d", low, high), 1
		case 4:
			text, high = fmt.Sprintf("%d/%d", low, step), f.max
		case 5:
			text = fmt.Sprintf("%d-%d/%d", low, high, step)
		}
		parts = append(parts, text)
		for v := low; v <= high; v += step {
			set[v] = true
		}
	}
	if rapid.Bool().Draw(t, f.name+" any") {
		for v := f.min; v <= f.max; v++ {
			set[v] = true
		}
		return "*", set
	}
	return strings.Join(parts, ","), set
}

// Around every kind of shift, and of specs that name hours or mean elapsed time, Next finds what looking at the clock finds.
func TestNextAgainstClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(oddZones).Draw(t, "zone")
		z, err := loadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		around, size := rapid.Int64Range(minSecond+cycle, maxSecond-cycle).Draw(t, "around")/60*60, int64(0)
		wholeMinutes := true
		if n := len(z.shifts); n > 1 && rapid.IntRange(0, 9).Draw(t, "near a shift") > 0 {
			i := rapid.IntRange(1, n-1).Draw(t, "shift")
			around, size = z.shifts[i].at, max(z.shifts[i].offset-z.shifts[i-1].offset, z.shifts[i-1].offset-z.shifts[i].offset)
			wholeMinutes = z.shifts[i].offset%60 == 0 && z.shifts[i-1].offset%60 == 0 && around%60 == 0
		} else if offset, _, _ := z.span(around); offset%60 != 0 {
			wholeMinutes = false
		}

		var o oracle
		var texts [6]string
		for i, f := range clockFields {
			texts[i], o.sets[i] = drawField(t, f)
		}
		step, margin := int64(60), int64(30*3600)
		if !wholeMinutes || size < 3*3600 && rapid.Bool().Draw(t, "seconds") {
			step, margin = 1, size+3600
		} else {
			texts[0], o.sets[0] = "0", append([]bool{true}, make([]bool, 59)...)
		}
		s := Spec{Timezone: name}
		if rapid.Bool().Draw(t, "cron") {
			s.Cron = strings.Join(texts[:], " ")
			o.elapsed = texts[2] == "*"
			o.either = texts[3] != "*" && texts[5] != "*"
		} else {
			s.Calendar = []Calendar{{Second: Field(texts[0]), Minute: Field(texts[1]), Hour: Field(texts[2]),
				DayOfMonth: Field(texts[3]), Month: Field(texts[4]), DayOfWeek: Field(texts[5])}}
		}
		timing, err := Compile(s)
		if err != nil {
			if strings.Contains(err.Error(), "never") {
				return
			}
			t.Fatal(err)
		}

		from, to := around-margin, around+margin
		want := o.ticks(loc, from, to, step)
		var got []int64
		for tick := range timing.Between(time.Time{}, time.Unix(from, 0), time.Unix(to, 0)) {
			got = append(got, tick.Unix())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v around %s:\n got %v\nwant %v", s, time.Unix(around, 0).UTC(), readable(got), readable(want))
		}
		after := rapid.Int64Range(from, to-1).Draw(t, "after")
		next, _ := timing.Next(time.Unix(after, 0))
		if i := slices.IndexFunc(want, func(sec int64) bool { return sec > after }); i >= 0 && next.Unix() != want[i] {
			t.Fatalf("%+v after %s: got %s, want %s", s, time.Unix(after, 0).UTC(), next, time.Unix(want[i], 0).UTC())
		}
	})
}

func readable(secs []int64) []string {
	var out []string
	for _, sec := range secs[:min(len(secs), 100)] {
		out = append(out, time.Unix(sec, 0).UTC().Format("01-02 15:04:05"))
	}
	return out
}

// The oracle itself sees what a person knows of the clocks.
func TestOracle(t *testing.T) {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	only := func(size int, values ...int) []bool {
		set := make([]bool, size)
		for _, v := range values {
			set[v] = true
		}
		return set
	}
	days := slices.Repeat([]bool{true}, 32)
	o := oracle{sets: [6][]bool{only(60, 0), only(60, 30), only(24, 2), days, days, days}}
	for when, want := range map[string]string{"2026-03-29T01:00:00Z": "[03-29 01:00:00]", "2025-10-26T01:00:00Z": "[10-26 00:30:00]"} {
		shift := at(when)
		if got := fmt.Sprint(readable(o.ticks(loc, shift.Unix()-7200, shift.Unix()+7200, 60))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	o.elapsed = true
	shift := at("2025-10-26T01:00:00Z").Unix()
	if got := fmt.Sprint(readable(o.ticks(loc, shift-7200, shift+7200, 60))); got != "[10-26 00:30:00 10-26 01:30:00]" {
		t.Errorf("elapsed: got %s", got)
	}
}
