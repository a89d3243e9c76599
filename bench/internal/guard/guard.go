// Package guard holds figures that do not depend on the speed of the machine against limits that are kept with the code, so that none grows unnoticed.
package guard

import (
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/report"
)

// What new limits leave above what was measured: more than runs of the same code differ by. How many calls share a round trip, or how many schedules a pass of the
// beat, depends on how busy the machine is; the rest hardly differs at all.
const (
	headroom      = 1.15
	headroomBeat  = 1.3
	headroomReads = 2
)

// Figure is one figure, its name, and what a new limit leaves above it.
type Figure struct {
	Name     string
	Value    float64
	Headroom float64
}

// Of takes the figures that are guarded out of a result.
func Of(r report.Result) []Figure {
	return []Figure{
		{"redis_commands_per_fire", r.Commands, headroom},
		{"redis_reads_per_fire", r.Reads, headroomReads},
		{"redis_bytes_per_schedule", r.BytesPerSchedule, headroom},
		{"redis_bytes_per_kept_run", r.BytesPerRun, headroom},
		{"mallocs_per_fire_beat", r.Mallocs["beat"], headroomBeat},
		{"mallocs_per_fire_worker", r.Mallocs["worker"], headroom},
	}
}

// Limits is the file.
type Limits struct {
	Note   string             `json:"note"`
	Limits map[string]float64 `json:"limits"`
}

const note = "Upper limits of `bench -load guard`: what was measured × 1.15, of reads × 2 (how many calls share a round trip depends on how busy the machine is), of the beat's allocations × 1.3 (likewise): more than runs of the same code differ by. `bench -load guard -update` writes new ones."

// Write makes limits of figures.
func Write(path string, figures []Figure) error {
	l := Limits{Note: note, Limits: map[string]float64{}}
	for _, f := range figures {
		l.Limits[f.Name] = math.Ceil(f.Value*f.Headroom*100) / 100
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write limits: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write limits: %w", err)
	}
	return nil
}

// Read reads the file.
func Read(path string) (Limits, error) {
	var l Limits
	text, err := os.ReadFile(path)
	if err != nil {
		return l, fmt.Errorf("read limits: %w; -update writes new ones", err)
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("read limits %s: %w", path, err)
	}
	return l, nil
}

// Compare says of each figure how it compares, a line each, and counts those that are above their limit or have none.
func Compare(l Limits, figures []Figure) (lines []string, grown int) {
	for _, f := range figures {
		limit, ok := l.Limits[f.Name]
		verdict := "ok"
		switch {
		case !ok:
			verdict = "HAS NO LIMIT"
			grown++
		case f.Value > limit:
			verdict = "HAS GROWN"
			grown++
		}
		lines = append(lines, fmt.Sprintf("%-26s %10.2f  limit %10.2f  %s", f.Name, f.Value, limit, verdict))
	}
	return lines, grown
}
