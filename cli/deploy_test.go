package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
)

// checkLine parses the arguments of a deployed process as the program would.
func checkLine(t *testing.T, where string, args []string) {
	t.Helper()
	root := newRoot(&program{stdout: io.Discard, stderr: io.Discard})
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root || cmd.HasSubCommands() {
		t.Errorf("%s: %q is no command (%v)", where, args, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: %q: %v", where, args, err)
		return
	}
	if left := cmd.Flags().Args(); len(left) > 0 {
		t.Errorf("%s: %q: unexpected %q", where, args, left)
	}
}

// checkVariable refuses an environment variable that is no setting.
func checkVariable(t *testing.T, where, name string) {
	t.Helper()
	for _, set := range flagSets(newRoot(&program{})) {
		if flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, config.EnvPrefix), "_", "-")); strings.HasPrefix(name, config.EnvPrefix) && set.Lookup(flag) != nil {
			return
		}
	}
	t.Errorf("%s: %s is no setting", where, name)
}

// The arguments and variables of the manifests and units are those of this program.
func TestDeployedCommandsExist(t *testing.T) {
	lines, variables := 0, 0
	manifests, err := filepath.Glob("../deploy/kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifests {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		docs := yaml.NewDecoder(f)
		for {
			var doc struct {
				Kind string
				Data map[string]string
				Spec struct {
					Template struct {
						Spec struct {
							Containers []struct{ Args []string }
						}
					}
				}
			}
			if err := docs.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil && doc.Kind == "" {
				t.Fatalf("%s: %v", name, err)
			}
			for _, c := range doc.Spec.Template.Spec.Containers {
				lines++
				checkLine(t, name, c.Args)
			}
			for variable := range doc.Data {
				variables++
				checkVariable(t, name, variable)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	units, err := filepath.Glob("../deploy/systemd/*")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/pyworkflow (.*)$`)
	assigned := regexp.MustCompile(`(?m)^(PYWORKFLOW_\w+)=`)
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range start.FindAllStringSubmatch(string(text), -1) {
			lines++
			checkLine(t, name, strings.Fields(strings.ReplaceAll(m[1], "%i", "8091")))
		}
		for _, m := range assigned.FindAllStringSubmatch(string(text), -1) {
			variables++
			checkVariable(t, name, m[1])
		}
	}
	if lines != 6 || variables < 6 {
		t.Errorf("found %d commands and %d variables", lines, variables)
	}
}
