package cli

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/initproject"
)

// source is this file where this program was compiled, as far as it tells: a clone to build with.
var source = func() string {
	_, file, _, _ := runtime.Caller(0)
	return file
}()

func newInit(p *program) *cobra.Command {
	var modulePath string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a new project",
		Long: `Makes a Go module with a package of workflows, a test for them, a program of their own, a config file, and a compose file for Redis, a beat and two workers. The
folder must be new or empty; nothing is downloaded.`,
		Example: `  pyworkflow init reports
  pyworkflow init . --module-path example.com/team/reports`,
		Args:        takes("the folder of the new project"),
		Annotations: map[string]string{ownModule: "yes"},
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "" {
				return config.Usagef("the folder of the new project has no name: name one that is new or empty, or \".\" for this one")
			}
			base, err := filepath.Abs(p.dir)
			if err != nil {
				return fmt.Errorf("find the working directory: %w", err)
			}
			o := initproject.Options{Dir: args[0], Base: base, Module: modulePath, Version: publishedVersion()}
			if o.Version == "" {
				o.Checkout = initproject.Checkout(source, base)
			}
			made, err := initproject.Create(o)
			if err != nil {
				return err
			}
			return p.print(made, func() error {
				_, err := fmt.Fprintf(p.stdout, "%s: module %s, %d files\n\nnext:\n  %s\n", made.Dir, made.Module, len(made.Files), strings.Join(made.Next, "\n  "))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&modulePath, "module-path", "", "path of the Go module (default the folder's name)")
	return cmd
}

// publishedVersion is the version of pyworkflow that this program was built with, if others can have it, too; empty when it was built from a clone.
func publishedVersion() string {
	if semver.IsValid(releaseVersion) {
		return releaseVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == "github.com/pyworkflow-go/pyworkflow" && m.Replace == nil && m.Sum != "" && semver.IsValid(m.Version) { // only what came from a proxy has a sum
			return m.Version
		}
	}
	return ""
}
