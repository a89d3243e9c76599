package proc

import (
	"strings"
	"testing"
	"time"
)

func TestCPUOf(t *testing.T) {
	const line = "4711 (a (very) odd) name) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 1234 567 89"
	if d, err := cpuOf(line); err != nil || d != 3*time.Second {
		t.Errorf("%s, %v; want 3s", d, err)
	}
	for _, bad := range []string{"", "4711 (name", "4711 (name) S 1 2", strings.Replace(line, "250", "x", 1)} {
		if d, err := cpuOf(bad); err == nil {
			t.Errorf("%q gives %s", bad, d)
		}
	}
}

func TestPeakOf(t *testing.T) {
	if n, err := peakOf("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"); err != nil || n != 2<<20 {
		t.Errorf("%d, %v; want 2 MB", n, err)
	}
	if n, err := peakOf("Name:\tx\n"); err == nil {
		t.Errorf("without VmHWM it gives %d", n)
	}
}

func TestProcess(t *testing.T) {
	p, err := Start(Spec{Name: "sleeper", Path: "/bin/sh", Args: []string{"-c", "echo awake >&2; exec sleep 60"}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	err = p.Await(t.Context(), "its word", func() (bool, error) { return p.LogTail() == "awake", nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.CPU(); err != nil {
		t.Error(err)
	}
	if rss, err := p.PeakRSS(); err != nil || rss == 0 {
		t.Errorf("peak RSS %d, %v", rss, err)
	}
	if err := p.Stop(time.Minute); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("stopped with %v, want what SIGTERM does to a shell", err)
	}
	if err := p.Died(); !strings.Contains(err.Error(), "awake") {
		t.Errorf("%v: nothing of its log", err)
	}
	if _, err := p.CPU(); err == nil {
		t.Error("a process that is gone has CPU time")
	}
}
