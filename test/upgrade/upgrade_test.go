package upgrade

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	t.Run("side by side and back", func(t *testing.T) { sideBySide(w.anew(t)) })
	t.Run("two releases apart", func(t *testing.T) { twoApart(w.anew(t)) })
}

// Three releases over one set of schedules that tick all the time: n with n+1, back to n, n+1 with n+2, back to n+1. At the end no tick is lost or doubled.
func sideBySide(w *world) {
	w.create(now, 8)
	n1 := w.start(now)
	n2 := w.start(next)
	w.more(8, now, next)
	w.wantFormats("n beside n+1", "1")

	n2.stop() // rolled back
	w.more(16, now)
	w.wantFormats("rolled back to n", "1")

	n2 = w.start(next)
	w.more(4, next)
	n1.stop()
	n3 := w.start(after)
	w.more(8, next, after)
	w.note(after, "made by n+2")
	w.wantFormats("n+1 beside n+2", "2")
	w.wantNote(next, "made by n+2")

	n3.stop() // rolled back
	w.more(16, next)
	w.wantNote(next, "made by n+2") // its commits have kept what format 2 added
	w.note(next, "made by n+1")
	w.wantFormats("rolled back to n+1", "2") // a record keeps its format

	n3 = w.start(after)
	w.more(4, after)
	w.wantNote(after, "made by n+1")
	n2.stop()
	w.settle(after)
	n3.stop()
}

const refusal = "written by a newer version of pyworkflow (format 2; this program reads up to 1): upgrade this process"

// What is not allowed, n beside n+2: n leaves alone what it cannot read, says so once for each of its parts, and damages nothing.
func twoApart(w *world) {
	w.create(now, 6)
	n1 := w.start(now)
	w.more(6, now)
	n3 := w.start(after)
	w.more(3, after)
	w.note(after, "made by n+2")
	w.until("n says that it leaves schedules alone", func() bool { return strings.Contains(n1.says(), refusal) })
	w.more(6, after)
	for _, args := range [][]string{{"schedules", "show", w.ids[0]}, {"schedules", "trigger", w.ids[0]}, {"schedules", "list"}, {"schedules", "pause", w.ids[0]},
		{"worker", "run", "--beat"}} {
		if _, errs, code := w.run(now, args...); code != 1 || strings.Count(errs, refusal) != 1 {
			w.t.Errorf("%v by n: exit %d: %s", args, code, errs)
		}
	}
	n1.stop()
	errs := 0
	for line := range strings.Lines(n1.says()) {
		if strings.Contains(line, "level=ERROR") {
			errs++
		}
	}
	if errs < 1 || errs > 3 { // its beat, its keeper, its worker
		w.t.Errorf("n logs %d errors:\n%s", errs, n1.says())
	}
	w.more(12, after)
	w.wantNote(after, "made by n+2")
	w.settle(after)
	n3.stop()
}

func (w *world) note(release, note string) {
	w.t.Helper()
	for _, id := range w.ids {
		w.must(release, "schedules", "update", id, "--note", note)
	}
}

func (w *world) wantNote(release, note string) {
	w.t.Helper()
	for _, id := range w.ids[:2] {
		if out := w.must(release, "schedules", "show", id, "--output", "json"); !strings.Contains(out, fmt.Sprintf("%q", note)) {
			w.t.Errorf("%s shows %s as %s, want note %q", release, id, out, note)
		}
	}
}

func (w *world) wantFormats(when string, want string) {
	w.t.Helper()
	if got := strings.Join(w.formats(), " "); got != want {
		w.t.Errorf("%s: the records have format %s, want %s", when, got, want)
	}
}
