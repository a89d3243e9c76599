package role

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

func TestFloor(t *testing.T) {
	for _, c := range []struct{ at, phase, period, want int64 }{
		{10_000, 0, 1000, 10_000}, {10_999, 0, 1000, 10_000}, {12_345, 0, 5000, 10_000}, {12_345, 300, 5000, 10_300}, {10_299, 300, 5000, 5300},
	} {
		if got := floor(time.UnixMilli(c.at), c.phase, c.period); got != c.want {
			t.Errorf("floor(%d, %d, %d) = %d, want %d", c.at, c.phase, c.period, got, c.want)
		}
	}
}

func TestIndexOf(t *testing.T) {
	for _, i := range []int{0, 7, 999_999} {
		if got := indexOf(ScheduleID(i)); got != int64(i) {
			t.Errorf("index %d comes back as %d", i, got)
		}
	}
	for _, id := range []string{"", "s", "x1", "s1x"} {
		if got := indexOf(id); got != -1 {
			t.Errorf("%q is index %d", id, got)
		}
	}
}

func TestKeyOf(t *testing.T) {
	want := fires.Key{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	if got := keyOf("01234567-89ab-cdef-0123-456789abcdef"); got != want {
		t.Errorf("%x", got)
	}
}

func TestPendingTimes(t *testing.T) {
	var p pendingTimes
	p.push(1)
	p.push(2)
	if a, b, c := p.pop(), p.pop(), p.pop(); a != 1 || b != 2 || c != 0 {
		t.Errorf("%d %d %d, want 1 2 0", a, b, c)
	}
}
