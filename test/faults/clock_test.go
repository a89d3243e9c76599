//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// day is a day on which a zone's clocks change, with what a daily schedule does on it.
type day struct {
	zone  string
	cron  string
	begin string   // of the store's clock
	due   []string // within two hours of it, jumps included
}

var days = []day{
	// 02:30 does not exist: once, at the first instant after the gap.
	{"America/New_York", "30 2 * * *", "2026-03-08T06:59:45Z", []string{"2026-03-08T07:00:00Z"}},
	// 01:30 comes twice, 05:30Z and 06:30Z: the first time only.
	{"America/New_York", "30 1 * * *", "2026-11-01T05:29:45Z", []string{"2026-11-01T05:30:00Z"}},
	// Every hour of the long day, by the local reading: 01:00 twice (05:00Z is before).
	{"America/New_York", "30 * * * *", "2026-11-01T05:29:45Z", []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}},
	// Half an hour is skipped at 02:00 (15:30Z); 02:15 fires after the gap.
	{"Australia/Lord_Howe", "15 2 * * *", "2026-10-03T15:29:45Z", []string{"2026-10-03T15:30:00Z"}},
	{"Europe/Berlin", "30 2 * * *", "2026-10-25T00:29:45Z", []string{"2026-10-25T00:30:00Z"}},
}

// clocks moves the store's clock on a day that is changed for daylight saving, an hour forward, back, and forward again.
var clocks = scenario{name: "clocks", kind: 4, lasts: 40 * time.Second, many: 30,
	build: func(w *world) {
		w.useServer(redistest.FakeClock())
		w.day = days[w.draw(len(days))]
		begin, err := time.Parse(time.RFC3339, w.day.begin)
		if err != nil {
			w.tb.Fatal(err)
		}
		w.server.StepClock(time.Until(begin))
		w.jump = time.Hour
		w.scene.Stepped = true
	},
	breaks: func(ctx context.Context, w *world) {
		w.create(ctx, client.CreateRequest{ID: "daily", Workflow: "faults_quick", Force: true, Definition: schedules.Definition{
			Spec: schedules.Spec{Cron: w.day.cron, Timezone: w.day.zone}, Input: json.RawMessage(`{}`)}})
		w.hit("clock: " + w.day.zone + " " + w.day.cron)
		w.faulting.Go(func() {
			pause(w.mending, 18*time.Second) // the daily tick is due 15 s after the beginning
			for _, by := range []time.Duration{time.Hour, -time.Hour, time.Hour} {
				if isClosed(w.mending) {
					break
				}
				w.step(by)
				pause(w.mending, 6*time.Second)
			}
		})
	},
	after: func(ctx context.Context, w *world) {
		var got []string
		for f, err := range w.client.History(ctx, "daily", client.FateFilter{}) {
			if err != nil {
				w.find("lost", "history of the daily schedule: %v", err)
				return
			}
			got = append([]string{f.NominalTime.UTC().Format(time.RFC3339)}, got...)
		}
		if fmt.Sprint(got) != fmt.Sprint(w.day.due) {
			w.find("lost", "on the day of %s %q came due at %v; want %v", w.day.zone, w.day.cron, got, w.day.due)
		}
		if _, err := w.client.Delete(ctx, "daily"); err != nil {
			w.find("stuck", "delete the daily schedule: %v", err)
		}
	},
}

// step moves the store's clock.
func (w *world) step(by time.Duration) {
	w.fault(check.FaultClock, 0, by.String())()
	w.server.StepClock(by)
	w.mu.Lock()
	w.offset += by
	w.mu.Unlock()
}

// hosts gives processes clocks of their own: some seconds apart, one of them stepping back and forth.
var hosts = scenario{name: "hosts", kind: 4, lasts: 25 * time.Second, full: true, many: 40, ownClocks: true,
	begin: func(_ context.Context, w *world) {
		for i, offset := range []string{"-7", "9"} {
			w.add(fmt.Sprintf("beat%d", i), beatRole, []string{"FAULTS_CLOCK=" + offset})
		}
		for i, offset := range []string{"5", "-11", "0:8:3600", "0:8:-3600"} {
			w.add(fmt.Sprintf("worker%d", i), bothRole, []string{"FAULTS_CLOCK=" + offset}, "--concurrency", "20", "--drain-timeout", "5s")
			w.hit("clock: host " + offset)
		}
	},
	breaks: func(_ context.Context, w *world) { w.kills(4*time.Second, 8*time.Second) },
}

// overlayClock writes a copy of package time whose Now is off by the seconds that FAULTS_CLOCK says: "offset", or "offset:after:by", which adds by once the process
// has lived for some seconds. Only Now's reading of the wall changes, as on a host whose clock is off.
func overlayClock(tb testing.TB) string {
	tb.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.clock != "" {
		return builds.clock
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	const reading = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), reading) != 1 {
		tb.Fatalf("%s: Now does not begin as expected: adapt the overlay to this Go", name)
	}
	text := strings.Replace(string(source), reading, reading+"\tsec += faultClock(mono)\n", 1) + `
var faultClockAt = func() (at [3]int64) {
	text, _ := syscall.Getenv("FAULTS_CLOCK")
	i, negative := 0, false
	for _, c := range text {
		switch {
		case c == ':':
			if negative {
				at[i] = -at[i]
			}
			i, negative = i+1, false
		case c == '-':
			negative = true
		default:
			at[i] = 10*at[i] + int64(c-'0')
		}
	}
	if negative {
		at[i] = -at[i]
	}
	return at
}()

func faultClock(mono int64) int64 {
	if faultClockAt[2] != 0 && mono-startNano > faultClockAt[1]*1e9 {
		return faultClockAt[0] + faultClockAt[2]
	}
	return faultClockAt[0]
}
`
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1)
	changed := filepath.Join(folder(tb), "time.go")
	if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	builds.clock = writeOverlay(tb, folder(tb), map[string]string{name: changed})
	return builds.clock
}
