package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const units = "../../deploy/systemd"

// verify has systemd look at units, in a folder that has what they need, and gives what it has to say against them.
func verify(t *testing.T, files map[string][]byte, names ...string) string {
	t.Helper()
	root := t.TempDir()
	put := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	// What systemd itself brings along: the targets that units stand in.
	own := "/usr/lib/systemd/system"
	entries, err := os.ReadDir(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{".target", ".slice", ".mount", ".socket"}, filepath.Ext(e.Name())) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(own, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		put(filepath.Join(own, e.Name()), data, 0o644)
	}
	put("/usr/local/bin/pyworkflow", []byte("#!/bin/sh\n"), 0o755)
	for name, data := range files {
		put("/etc/systemd/system/"+name, data, 0o644)
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--root=" + root}, names...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return string(out)
}

func readUnits(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob(units + "/*.service")
	if err != nil || len(names) != 3 {
		t.Fatalf("units %v, %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	return files
}

func TestUnits(t *testing.T) {
	files := readUnits(t)
	if said := verify(t, files, "pyworkflow-worker@8091.service", "pyworkflow-scheduler.service", "pyworkflow-dashboard.service"); said != "" {
		t.Errorf("systemd says:\n%s", said)
	}
	// The check itself.
	files["pyworkflow-scheduler.service"] = []byte(strings.Replace(string(files["pyworkflow-scheduler.service"]), "ProtectClock=", "ProtectClok=", 1))
	if said := verify(t, files, "pyworkflow-scheduler.service"); !strings.Contains(said, "ProtectClok") {
		t.Errorf("of a key that there is not systemd says %q", said)
	}
}

var drain = regexp.MustCompile(`(?m)^ExecStart=.* --drain-timeout (\S+)`)
var stop = regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`)

func TestUnitsAreGivenTimeToStop(t *testing.T) {
	for name, data := range readUnits(t) {
		least := 10 * time.Second
		if m := drain.FindSubmatch(data); m != nil {
			d, err := time.ParseDuration(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			least += d
		} else if strings.Contains(name, "worker") {
			t.Errorf("%s: no --drain-timeout", name)
		}
		m := stop.FindSubmatch(data)
		if m == nil {
			t.Fatalf("%s: no TimeoutStopSec", name)
		}
		if grace, err := time.ParseDuration(string(m[1])); err != nil || grace < least {
			t.Errorf("%s: TimeoutStopSec %s, want %s or more (%v)", name, m[1], least, err)
		}
	}
}
