package initproject

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
)

func TestGoVersionIsOurs(t *testing.T) {
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", data, nil)
	if err != nil || mod.Go.Version != goVersion {
		t.Errorf("go.mod says go %+v, projects are made with %s (%v)", mod.Go, goVersion, err)
	}
}

// With a release go.mod names it and nothing else; where nothing is known the user is told what to do.
func TestSources(t *testing.T) {
	for _, tc := range []struct {
		version, checkout string
		next              []string
	}{
		{"v1.2.3", "", []string{"cd p", "go mod tidy", "go test ./...", "go run . scheduler run", "docker compose up --build"}},
		{"", "", []string{"cd p", "go mod edit -replace " + pyworkflow + "=/path/to/your/clone", "go mod tidy", "go test ./...", "go run . scheduler run", "go mod vendor",
			"docker compose up --build"}},
	} {
		base := t.TempDir()
		p, err := Create(Options{Dir: "p", Base: base, Version: tc.version, Checkout: tc.checkout})
		if err != nil || p.Module != "p" || !slices.Equal(p.Next, tc.next) {
			t.Fatalf("%+v, %v", p, err)
		}
		name := filepath.Join(base, "p", "go.mod")
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		mod, err := modfile.Parse(name, data, nil)
		want := tc.version
		if want == "" {
			want = "v0.0.0"
		}
		if err != nil || len(mod.Require) != 1 || mod.Require[0].Mod.Version != want || len(mod.Replace) != 0 {
			t.Errorf("go.mod (%v):\n%s", err, data)
		}
		for _, f := range p.Files {
			text, err := os.ReadFile(filepath.Join(base, "p", f))
			if err != nil || strings.Contains(string(text), "{{") || len(text) == 0 {
				t.Errorf("%s: %q, %v", f, text, err)
			}
		}
	}
}

// What cannot be written leaves nothing behind.
func TestNothingHalfWritten(t *testing.T) {
	base := t.TempDir()
	files := map[string][]byte{"go.mod": []byte("x"), "deep/er/a.go": []byte("y"), "go.mod/below": []byte("z")} // the last cannot be
	for range 10 {                                                                                              // whatever the order
		if err := write(filepath.Join(base, "new", "project"), false, files); err == nil {
			t.Fatal("written")
		}
		left, err := os.ReadDir(base)
		if err != nil || len(left) != 0 {
			t.Fatalf("left over: %v, %v", left, err)
		}
	}
}

func TestCheckout(t *testing.T) {
	clone, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	for _, tc := range []struct{ source, folder, want string }{
		{filepath.Join(clone, "cli", "init.go"), elsewhere, clone},
		{"github.com/pyworkflow-go/pyworkflow/cli/init.go", filepath.Join(clone, "docs"), clone}, // built with -trimpath
		{"github.com/pyworkflow-go/pyworkflow/cli/init.go", elsewhere, ""},
		{filepath.Join(elsewhere, "cli", "init.go"), elsewhere, ""},
	} {
		if got := Checkout(tc.source, tc.folder); got != tc.want {
			t.Errorf("Checkout(%s, %s) = %q, want %q", tc.source, tc.folder, got, tc.want)
		}
	}
}

func TestModulePaths(t *testing.T) {
	for name, ok := range map[string]bool{
		"reports": true, "example.com/a/b": true, "my-app": true, "a_b.c": true,
		"": false, "a b": false, "/abs": false, "a/../b": false, "fmt": false, "time/reports": false, pyworkflow: false, pyworkflow + "/x": false, "ümlaut": false,
	} {
		err := checkModule(name, true)
		var usage *config.UsageError
		if (err == nil) != ok || err != nil && (!errors.As(err, &usage) || !strings.HasPrefix(err.Error(), "--module-path ")) {
			t.Errorf("%q: %v, want accepted: %v", name, err, ok)
		}
	}
}

func TestShellQuoted(t *testing.T) {
	for word, want := range map[string]string{"a/b-1": "a/b-1", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := shellQuoted(word); got != want {
			t.Errorf("%s is written %s, want %s", word, got, want)
		}
	}
}
