package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	result := func(system string, round int, p99 float64) Result {
		return Result{Load: "L1", Text: "1,000 × 1 s", System: system, Round: round, Expected: 45_000, Started: 44_999, Lost: 1, P99: p99, Max: 2 * p99, CPU: map[string]float64{"beat": 0.1}, CPUSum: 0.1}
	}
	var out strings.Builder
	Write(&out, "A machine.", []Result{result("pyworkflow", 1, 50), result("asynq", 1, 100), result("pyworkflow", 2, 300), result("asynq", 2, 200), result("pyworkflow", 3, 80), result("asynq", 3, 100)}, "asynq")
	for _, want := range []string{
		"A machine.",
		"| load | system | expected | started | lost | doubled | p99 ms | max ms | p99 ÷ asynq | max ÷ asynq |",
		"| L1: 1,000 × 1 s | pyworkflow | 135,000 | 134,997 | 3 | 0 | 80.0 | 160.0 | 0.80 (0.50–1.50) | 0.80 (0.50–1.50) |",
		"| L1: 1,000 × 1 s | asynq | 135,000 | 134,997 | 3 | 0 | 100.0 | 200.0 | – | – |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestWriteBeyond(t *testing.T) {
	percent := func(load string, stored int, beat float64) Result {
		return Result{Load: load, System: "pyworkflow", Round: 1, Stored: stored, CPUPercent: map[string]float64{"beat": beat}}
	}
	var out strings.Builder
	Write(&out, "", []Result{percent("M-base", 0, 3), percent("M", 1_000_000, 4.5)}, "asynq")
	if want := "with 1,000,000 schedules stored: 1.50 % of a core (4.50 with them, 3.00 without)"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

func TestWriteNodes(t *testing.T) {
	r := Result{Load: "cluster-1", Text: "a cluster", System: "pyworkflow", Round: 1}
	r.SetNodes([]Node{{Commands: 10, CPU: 0.1, In: 100, Memory: 5}, {Commands: 30, CPU: 0.1, In: 300, Memory: 7}})
	if r.Commands != 40 || r.In != 400 || r.BusiestCommands != 0.75 || r.BusiestCPU != 0.5 {
		t.Errorf("%+v", r)
	}
	var out strings.Builder
	Write(&out, "", []Result{r}, "asynq")
	for _, want := range []string{
		"| load | system | commands per fire | network bytes in per fire | CPU s per 1,000 | used memory MB | % of commands (all: the busiest) | % of CPU (all: the busiest) |",
		"| cluster-1: a cluster | pyworkflow | 40.0 | 400 | 0.200 | 12.0 | 75.0 | 50.0 |",
		"| cluster-1: a cluster | pyworkflow, node 1 | 10.0 | 100 | 0.100 | 5.0 | 25.0 | 50.0 |",
		"| cluster-1: a cluster | pyworkflow, node 2 | 30.0 | 300 | 0.100 | 7.0 | 75.0 | 50.0 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	Write(&out, "", []Result{{Load: "L1", Nodes: r.Nodes[:1]}}, "asynq")
	if strings.Contains(out.String(), "node by node") {
		t.Error("nodes are told of a load that is no cluster's")
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	for round := range 2 {
		if err := (Result{Load: "L0", Round: round}).Append(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var last Result
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 2 || last.Round != 1 {
		t.Errorf("%d lines, the last %+v, %v", len(lines), last, err)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestCPUModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpuinfo")
	if err := os.WriteFile(path, []byte("processor\t: 0\nmodel name\t: Fast One @ 3 GHz\nmodel name\t: Other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := cpuModel(path); got != "Fast One @ 3 GHz" {
		t.Errorf("got %q", got)
	}
	if got := cpuModel(path + "x"); got != "unknown processor" {
		t.Errorf("without a file: %q", got)
	}
}
