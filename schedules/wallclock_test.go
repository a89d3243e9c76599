package schedules

import (
	"testing"
	"time"
)

func TestCivil(t *testing.T) {
	date := time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := dayNumber(-1, 1, 1); n < dayNumber(2801, 1, 1); n++ {
		year, month, d := civil(n)
		if year != date.Year() || month != int(date.Month()) || d != date.Day() || n*secondsPerDay != date.Unix() {
			t.Fatalf("day %d is %d-%d-%d, want %s", n, year, month, d, date)
		}
		if dayNumber(year, month, d) != n {
			t.Fatalf("%d-%d-%d is day %d, want %d", year, month, d, dayNumber(year, month, d), n)
		}
		if d == 1 {
			first, length := monthOfKind(yearKind(year), month)
			if first != int(date.Weekday()) || length != date.AddDate(0, 1, -1).Day() {
				t.Fatalf("%d-%d begins on %d and has %d days", year, month, first, length)
			}
		}
		date = date.AddDate(0, 0, 1)
	}
}
