package scale

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// memory is how much of it the dashboard may take.
const memory = 200 << 20

// pages are what people and programs ask a dashboard for, with %s for a schedule and a run that there are.
var pages = []struct{ name, path string }{
	{"overview", "/"},
	{"schedules", "/schedules"},
	{"schedules_next", "/schedules?sort=next"},
	{"schedules_paused", "/schedules?status=paused"},
	{"schedules_search_few", "/schedules?q=49-report-0004"},
	{"schedules_search_none", "/schedules?q=nowhere"},
	{"schedules_policy_of_few", "/schedules?overlap=allow_all"},
	{"schedule", "/schedules/SCHEDULE"},
	{"schedule_edit", "/schedules/SCHEDULE/edit"},
	{"runs", "/runs"},
	{"runs_failed", "/runs?status=failed"},
	{"runs_failed_of_workflow", "/runs?status=failed&workflow=WORKFLOW"},
	{"run", "/runs/RUN"},
	{"workers", "/workers"},
	{"api_schedules", "/api/v1/schedules?limit=100"},
	{"api_runs", "/api/v1/runs?limit=100"},
	{"api_overview", "/api/v1/overview"},
	{"api_history", "/api/v1/schedules/SCHEDULE/history?limit=100"},
}

// dashboard is a process that serves pages of the stage's Redis.
type dashboard struct{ url string }

// startDashboard builds the program and runs its command dashboard until the benchmark has ended.
func startDashboard(b *testing.B, server *redistest.Server) dashboard {
	b.Helper()
	name := filepath.Join(b.TempDir(), "pyworkflow")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", name, "github.com/pyworkflow-go/pyworkflow/cmd/pyworkflow").CombinedOutput(); err != nil {
		b.Fatalf("build: %v: %s", err, out)
	}
	cmd := exec.Command(name, "dashboard", "--listen", "127.0.0.1:0", "--redis-url", server.URL(), "--namespace", namespace)
	said, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if at := regexp.MustCompile(`http://[^ /]+`).FindString(lines.Text()); at != "" {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return dashboard{at}
		}
	}
	b.Fatalf("the dashboard has not said where it is: %v", lines.Err())
	return dashboard{}
}

// get reads a page to its end.
func (d dashboard) get(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n == 0) {
		err = fmt.Errorf("%s: %s, %d bytes", path, res.Status, n)
	}
	return err
}

// gauge reads one of the process's own metrics.
func (d dashboard) gauge(b *testing.B, name string) float64 {
	b.Helper()
	res, err := http.Get(d.url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}

// measurePages measures each page as its reader waits for it, and holds the process to its memory after all of them.
func measurePages(b *testing.B, s *stage, server *redistest.Server) {
	d := startDashboard(b, server)
	b.Cleanup(http.DefaultClient.CloseIdleConnections)
	fill := strings.NewReplacer("SCHEDULE", s.ids[0], "RUN", s.run, "WORKFLOW", workflow(7))
	other := *s
	other.others = func() time.Duration {
		return time.Duration(d.gauge(b, "process_cpu_seconds_total") * float64(time.Second))
	}
	for _, p := range pages {
		b.Run(p.name, func(b *testing.B) {
			measure(b, &other, func(ctx context.Context, _ *stage) error { return d.get(ctx, fill.Replace(p.path)) })
		})
	}
	b.Run("memory", func(b *testing.B) { // of the process, after all of them
		for b.Loop() {
			used := d.gauge(b, "process_resident_memory_bytes")
			b.ReportMetric(used/(1<<20), "MB")
			if used > memory {
				b.Errorf("the dashboard's process takes %.0f MB of memory, more than %d", used/(1<<20), memory>>20)
			}
		}
	})
}
