package housetest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRooms holds the code against the table.
func TestRooms(t *testing.T) {
	files, err := sources(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		seen[f.path] = true
		for _, fault := range faults(f) {
			t.Error(fault)
		}
	}
	// Guards against a walk that finds nothing.
	if !seen["internal/housetest/rooms.go"] {
		t.Errorf("the walk of %d files missed this package", len(files))
	}
}

func TestFaults(t *testing.T) {
	const ours = `"` + module
	for _, tc := range []struct {
		path, src string
		want      string // part of the only fault; "": none
	}{
		{"app.go", `import ` + ours + `/schedules"`, ""},
		{"app.go", `import ` + ours + `/store"`, "app.go:2: the root package may not import"},
		{"app.go", `import "github.com/google/uuid"`, "standard library alone"},
		{"app.go", `import "log/slog"`, ""},
		{"app_test.go", `import ` + ours + `/client"`, ""},
		{"schedules/a.go", `import ` + ours + `"`, "schedules may not import"},
		{"schedules/a_test.go", `import ` + ours + `/store"`, "a test of schedules"},
		{"schedules/a.go", `import "log/slog"`, "does not log"},
		{"schedules/a.go", `import "net/http"`, "does no I/O"},
		{"schedules/a.go", `import "network/x"`, ""},
		{"schedules/a_test.go", `import "os"`, ""},
		{"schedules/a.go", "import \"time\"\nvar t = time.Now()", "schedules/a.go:3: package schedules uses time.Now"},
		{"schedules/a.go", "import \"time\"\nvar now = time.Now", "uses time.Now"},
		{"schedules/a.go", "import \"time\"\nvar t = time.Unix(0, 0)", ""},
		{"schedules/a_test.go", "import \"time\"\nvar t = time.Now()", ""},
		{"store/a.go", `import ` + ours + `/store/redisstore"`, "store may not import"},
		{"store/redisstore/a.go", `import ` + ours + `/store"`, ""},
		{"store/redisstore/a.go", `import ` + ours + `/store/sqlitestore"`, "store/redisstore may not import"},
		{"store/redisstore/a_test.go", `import ` + ours + `/store/storetest"`, ""},
		{"store/redisstore/a.go", `import ` + ours + `/store/storetest"`, "no other room's code may import"},
		{"store/storetest/a.go", `import ` + ours + `/internal/redistest"`, "no other room's code may import"},
		{"beat/a.go", `import ` + ours + `/worker"`, "beat and worker never call each other"},
		{"beat/sub/a.go", `import ` + ours + `/beat"`, ""},
		{"beat/a_test.go", `import ` + ours + `/internal/redistest"`, ""},
		{"worker/a.go", `import ` + ours + `/client"`, "worker may not import"},
		{"web/a.go", `import ` + ours + `/store"`, "web may not import"},
		{"cli/a.go", `import ` + ours + `/store/sqlitestore"`, ""},
		{"cli/a.go", `import ` + ours + `/examples/lab"`, "no other room's code may import"},
		{"cmd/pyworkflow/main.go", `import ` + ours + `/cli"`, ""},
		{"cmd/pyworkflow/main.go", `import ` + ours + `/beat"`, "main is three lines"},
		{"examples/lab/a.go", `import ` + ours + `/worker"`, ""},
		{"client/a.go", `import ` + ours + `/internal/nearest"`, ""},
		{"internal/nearest/a.go", `import ` + ours + `/schedules"`, "everybody may import it"},
		{"store/redisstore/a.go", `import ` + ours + `/internal/redisurl"`, ""},
		{"app.go", `import ` + ours + `/internal/redisurl"`, "stays tiny"},
		{"beats/a.go", ``, "lies in no room"},
		{"cli/a.go", `import ` + ours + `/beats"`, "lies in no room"},
	} {
		files, err := sources(fstest.MapFS{tc.path: {Data: []byte("package p\n" + tc.src)}})
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files, %v", tc.path, len(files), err)
		}
		got := faults(files[0])
		switch {
		case tc.want == "" && len(got) > 0:
			t.Errorf("%s with %s: %q, want no fault", tc.path, tc.src, got)
		case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
			t.Errorf("%s with %s: %q, want one fault with %q", tc.path, tc.src, got, tc.want)
		}
	}
}

func TestSourcesLeavesOutWhatIsNotOurs(t *testing.T) {
	src := &fstest.MapFile{Data: []byte("package p")}
	files, err := sources(fstest.MapFS{
		"a.go": src, "sub/b.go": src, "sub/c.txt": src,
		"sub/testdata/d.go": src, ".hidden/e.go": src, "_old/f.go": src,
		"other/go.mod": {Data: []byte("module other")}, "other/g.go": src,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.path)
	}
	if strings.Join(got, " ") != "a.go sub/b.go" {
		t.Errorf("parsed %v, want a.go and sub/b.go", got)
	}
}
