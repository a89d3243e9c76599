package report

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Machine is where the measurement was made.
type Machine struct {
	Cores int    `json:"cores"`
	CPU   string `json:"cpu"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	Redis string `json:"redis"`
}

// ThisMachine looks at the machine.
func ThisMachine(redis string) Machine {
	return Machine{Cores: runtime.NumCPU(), CPU: cpuModel("/proc/cpuinfo"), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Redis: redis}
}

// cpuModel is the name of the processor, as far as the system tells it.
func cpuModel(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}

// Words says it in one line.
func (m Machine) Words(at time.Time) string {
	return fmt.Sprintf("%s. %d cores of %s, everything on one machine; %s, %s, Redis %s.", at.UTC().Format("2 January 2006, 15:04 UTC"), m.Cores, m.CPU, m.OS, m.Go, m.Redis)
}
