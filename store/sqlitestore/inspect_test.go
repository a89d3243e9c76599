package sqlitestore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

func has(list []store.Finding, check string, status store.FindingStatus, message, remedy string) bool {
	return slices.ContainsFunc(list, func(f store.Finding) bool {
		return f.Check == check && f.Status == status && strings.Contains(f.Message, message) && strings.Contains(f.Remedy, remedy)
	})
}

func TestInspect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if list := InspectMissing(dir); !has(list, "folder", store.FindingOK, "there is no database", "") || !has(list, "disk", store.FindingOK, "MiB free", "") {
		t.Errorf("before there is one: %+v", list)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("a look created %s", dir)
	}
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	look := func() []store.Finding {
		t.Helper()
		list, err := s.Inspect(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := look(); !has(list, "folder", store.FindingOK, "can be written", "") || !has(list, "records", store.FindingOK, "format", "") ||
		!has(list, "processes", store.FindingOK, ": 0", "") {
		t.Errorf("of a good folder: %+v", list)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".pyworkflow-probe-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	for _, id := range []string{"host-1:7:a", "host-1:8:b", "host-2:7:c"} {
		if err := s.AnnounceProcess(t.Context(), store.Process{ID: id, Worker: true}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if list := look(); !has(list, "processes", store.FindingWarning, "on 2 hosts use this file (host-1, host-2)", "use Redis") {
		t.Errorf("of two hosts: %+v", list)
	}

	// The file is replaced by what cannot be opened for writing, whoever runs this.
	if err := os.Rename(s.path, s.path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if f := s.inspectFolder(); f.Status != store.FindingError || !strings.Contains(f.Message, "cannot be written") || !strings.Contains(f.Remedy, "--storage-path") {
		t.Errorf("of a file that cannot be written: %+v", f)
	}
	if f := probe(s.path+".away", dir); f.Status != store.FindingError || !strings.Contains(f.Message, "nothing can be written in folder") || f.Remedy == "" {
		t.Errorf("of a folder that takes no files: %+v", f)
	}
}

func TestDiskFindings(t *testing.T) {
	for _, c := range []struct {
		disk    disk
		status  store.FindingStatus
		message string
	}{
		{disk{free: 1 << 40}, store.FindingOK, "MiB free"},
		{disk{free: lowSpace - 1}, store.FindingWarning, "255 MiB are free"},
		{disk{free: 1 << 40, network: true}, store.FindingWarning, "network file system"},
	} {
		if f := diskFinding("data", c.disk, nil); f.Status != c.status || !strings.Contains(f.Message, c.message) {
			t.Errorf("%+v: %+v", c.disk, f)
		}
	}
	if f := diskFinding("data", disk{}, os.ErrInvalid); f.Status != store.FindingSkipped || f.Remedy == "" {
		t.Errorf("of a disk that tells nothing: %+v", f)
	}
}
