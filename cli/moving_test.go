package cli

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/cli/initproject"
)

// exported lists what a package of ours declares.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), dir+"/"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						names[s.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}

var (
	goNames    = regexp.MustCompile(`\b(pyworkflow|workflowtest)\.([A-Z]\w*)`)
	flagNamed  = regexp.MustCompile(`(?:^|[\s` + "`" + `(])--([a-z][a-z-]*)`)
	ourCommand = regexp.MustCompile("(?m)(?:`|^)pyworkflow ((?:[a-z]+ ?)+)([^`\n]*)")
)

// TestMovingNamesWhatThereIs: every command, flag and Go name of ours that docs/moving.md names exists, and every Go name of docs/workflows.md.
func TestMovingNamesWhatThereIs(t *testing.T) {
	raw, err := os.ReadFile("../docs/moving.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	guide, err := os.ReadFile("../docs/workflows.md")
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]map[string]bool{"pyworkflow": exported(t, ".."), "workflowtest": exported(t, "../workflowtest")}
	count := 0
	for _, m := range goNames.FindAllStringSubmatch(text+string(guide), -1) {
		count++
		if !packages[m[1]][m[2]] {
			t.Errorf("package %s has no %s", m[1], m[2])
		}
	}
	root := newRoot(&program{})
	all := map[string]bool{}
	for _, set := range flagSets(root) {
		set.VisitAll(func(f *pflag.Flag) { all[f.Name] = true })
	}
	flags := 0
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Split(line, " | "); len(cells) > 1 { // the first column is theirs
			line = strings.Join(cells[1:], " | ")
		} else if strings.Contains(line, "temporal ") || strings.HasPrefix(line, "  ") && !strings.Contains(line, "pyworkflow") {
			continue
		}
		for _, m := range flagNamed.FindAllStringSubmatch(line, -1) {
			flags++
			if !all[m[1]] {
				t.Errorf("no command has --%s: %s", m[1], line)
			}
		}
	}
	commands := 0
	for _, m := range ourCommand.FindAllStringSubmatch(text, -1) {
		commands++
		cmd, rest, err := root.Find(strings.Fields(m[1]))
		if err != nil || cmd == root || cmd.HasSubCommands() || len(rest) > 1 {
			t.Errorf("%q is no command (%v)", strings.TrimSpace(m[0]), err)
			continue
		}
		for _, f := range flagNamed.FindAllStringSubmatch(" "+m[2], -1) {
			if cmd.Flags().Lookup(f[1]) == nil && root.PersistentFlags().Lookup(f[1]) == nil {
				t.Errorf("%q has no --%s", cmd.CommandPath(), f[1])
			}
		}
	}
	// Guards against expressions that find nothing.
	if count < 80 || flags < 80 || commands < 15 {
		t.Errorf("found %d Go names, %d flags, %d commands", count, flags, commands)
	}
}

// The worked examples that are commands create what they say.
func TestMovingExamplesWork(t *testing.T) {
	raw, err := os.ReadFile("../docs/moving.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var ids []string
	for line := range strings.SplitSeq(string(raw), "\n") {
		args, ours := strings.CutPrefix(line, "pyworkflow ")
		if !ours {
			continue
		}
		got := runCommand(t, &program{dir: dir}, append(shellWords(args), "--force", "--storage-path", dir, "--output", "json")...)
		if got.code != 0 {
			t.Errorf("%s: exit %d, %s", line, got.code, got.stderr)
		}
		ids = append(ids, line)
	}
	if len(ids) < 3 {
		t.Errorf("found %d examples", len(ids))
	}
}

// shellWords splits a line as a shell does, as far as the documentation's lines need it.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	in := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, in = r, true
		case quote == 0 && r == ' ':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return slices.Clip(words)
}

// TestGuideCompiles builds and tests the project that docs/workflows.md shows.
func TestGuideCompiles(t *testing.T) {
	guide, err := os.ReadFile("../docs/workflows.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	made, err := initproject.Create(initproject.Options{Dir: "shop", Base: dir, Module: "example.com/shop", Checkout: initproject.Checkout("", mustAbs(t, ".."))})
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, block := range regexp.MustCompile("(?s)```go\n(package .*?)```").FindAllStringSubmatch(string(guide), -1) {
		files = append(files, block[1])
	}
	if len(files) != 2 {
		t.Fatalf("the guide shows %d files", len(files))
	}
	folder := filepath.Join(dir, made.Dir, "workflows")
	for name, text := range map[string]string{"workflows.go": files[0], "workflows_test.go": files[1]} {
		if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
			t.Errorf("%s is not formatted (%v)", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOPROXY=off", "CGO_ENABLED=0", "GOFLAGS=-trimpath") // as the scripts compile
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go test: %v\n%s", err, out)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
