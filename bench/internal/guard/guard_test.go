package guard

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/report"
)

func TestWriteReadCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard.json")
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "-update") {
		t.Errorf("no file: %v, want what to do", err)
	}
	r := report.Result{Commands: 60, Reads: 5, BytesPerSchedule: 1000, BytesPerRun: 5000, Mallocs: map[string]float64{"beat": 400, "worker": 450}}
	if err := Write(path, Of(r)); err != nil {
		t.Fatal(err)
	}
	limits, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines, grown := Compare(limits, Of(r)); grown != 0 || len(lines) != 6 {
		t.Errorf("what was written compares as\n%s", strings.Join(lines, "\n"))
	}
	r.Commands *= 1.2
	lines, grown := Compare(limits, Of(r))
	if grown != 1 || !strings.Contains(lines[0], "HAS GROWN") {
		t.Errorf("a fifth more compares as\n%s", strings.Join(lines, "\n"))
	}
	delete(limits.Limits, "redis_bytes_per_schedule")
	if _, grown := Compare(limits, Of(r)); grown != 2 {
		t.Errorf("%d have grown, want 2: one has no limit", grown)
	}
}
