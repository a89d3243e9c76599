package schedules

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oddZones have what makes zones hard: half-hour and two-hour shifts, shifts at midnight and at 00:01, skipped and repeated
// days, negative daylight saving, shifts every few weeks, southern summers, local mean times with seconds.
var oddZones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns",
	"Antarctica/Troll", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Casablanca", "Europe/Dublin", "Asia/Gaza", "Africa/Cairo",
	"America/Nuuk", "America/Santiago", "Pacific/Chatham", "Asia/Tehran", "America/Havana", "Asia/Beirut", "Asia/Amman",
	"Europe/Amsterdam", "Pacific/Kwajalein", "Pacific/Kiritimati", "America/Sitka", "Asia/Manila", "Africa/Monrovia",
	"America/Asuncion", "Asia/Pyongyang", "America/Caracas", "Atlantic/Azores", "EST5EDT", "Etc/GMT+12", "Etc/GMT-14"}

func mustZone(t testing.TB, name string) (*zone, *time.Location) {
	t.Helper()
	z, err := loadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z, loc
}

// The table says the same as package time, at every shift and in between, from the year 1 to 9999.
func TestZoneTable(t *testing.T) {
	for _, name := range oddZones {
		z, loc := mustZone(t, name)
		check := func(sec int64) {
			_, want := time.Unix(sec, 0).In(loc).Zone()
			offset, start, end := z.span(sec)
			if offset != int64(want) || sec < start || sec >= end {
				t.Fatalf("%s at %d: offset %d in [%d, %d), want %d", name, sec, offset, start, end, want)
			}
		}
		for i, s := range z.shifts[1:] {
			check(s.at - 1)
			check(s.at)
			if s.at <= z.shifts[i].at || s.offset == z.shifts[i].offset {
				t.Fatalf("%s: shift %d is none: %v after %v", name, i+1, s, z.shifts[i])
			}
			// nextNamed takes it that a gap and a fold don't overlap.
			if i > 0 && s.at-z.shifts[i].at < 2*maxShift {
				t.Fatalf("%s: shifts %v and %v are very close", name, z.shifts[i], s)
			}
		}
		for sec := int64(minSecond); sec < maxSecond; sec += 37*secondsPerDay + 12345 {
			check(sec)
		}
		for _, sec := range []int64{minSecond, cycleStart - 1, cycleStart, cycleEnd - 1, cycleEnd, cycleEnd + cycle - 1, cycleEnd + cycle, maxSecond} {
			check(sec)
		}
	}
}

// A stretch that span returns holds no other offset.
func TestZoneSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(oddZones).Draw(t, "zone")
		z, err := loadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		sec := rapid.Int64Range(minSecond, maxSecond).Draw(t, "second")
		offset, start, end := z.span(sec)
		start, end = max(start, minSecond), min(end, maxSecond+1)
		for _, other := range []int64{start, end - 1, start + (end-start)/2} {
			if got, _, _ := z.span(other); got != offset {
				t.Fatalf("%s: offset %d at %d, but %d at %d of [%d, %d)", name, offset, sec, got, other, start, end)
			}
		}
	})
}
