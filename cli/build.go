package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/modbuild"
)

// ownModule marks a command that deals with --module itself, or has no use for it.
const ownModule = "pyworkflow_own_module"

func newBuild(p *program) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a static binary with the module's workflows inside",
		Long: `Builds this command line and the workflows of --module into one static binary, which needs neither Go nor --module. GOOS and GOARCH in the environment choose
another platform.`,
		Example: `  pyworkflow --module ./workflows build -o app
  ./app worker run --beat`,
		Args:        takes(),
		Annotations: map[string]string{ownModule: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			module := p.settings.Value("module")
			switch {
			case p.register != nil:
				return config.Usagef("build: this program has its workflows inside already: copy it, or use pyworkflow itself")
			case module == "":
				return config.Usagef("build: name the package to build in with --module")
			case out == "":
				return config.Usagef("build: name the file to write with -o")
			}
			file, err := modbuild.Build(cmd.Context(), modbuild.Options{Package: module, Dir: p.dir, Output: out, Static: true, Stderr: p.stderr})
			if err != nil {
				return err
			}
			return p.print(map[string]string{"binary": file}, func() error {
				_, err := fmt.Fprintln(p.stdout, file)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write")
	return cmd
}

func newConfig(p *program) *cobra.Command {
	show := &cobra.Command{
		Use:         "show",
		Short:       "Show every setting and where it came from, secrets masked",
		Example:     "  pyworkflow config show\n  PYWORKFLOW_NAMESPACE=test pyworkflow config show --output json",
		Args:        takes(),
		Annotations: map[string]string{ownModule: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := p.allSettings(cmd)
			if err != nil {
				return err
			}
			if _, _, err := config.Choose(settings); err != nil {
				return err
			}
			all := settings.All()
			return p.print(map[string]any{"items": all, "next_cursor": nil}, func() error {
				t := table{columns: []string{"setting", "value", "source"}}
				for _, s := range all {
					t.add(s.Name, s.Shown, s.Source.String())
				}
				return p.printTable(t)
			})
		},
	}
	c := group("config", "Show the settings in force", show)
	return c
}

// allSettings resolves the settings of all commands, not only those of cmd.
func (p *program) allSettings(cmd *cobra.Command) (*config.Settings, error) {
	all := pflag.NewFlagSet(cmd.CommandPath(), pflag.ContinueOnError)
	all.AddFlagSet(cmd.Flags())
	for _, set := range flagSets(cmd.Root()) {
		all.AddFlagSet(set) // the first of a name stays
	}
	return config.Resolve(all, p.env, p.dir)
}

// releaseVersion is the program's version, set by the linker for releases.
var releaseVersion string

// version is the release, else the version of the module that the program was built from.
func version() string {
	if releaseVersion != "" {
		return releaseVersion
	}
	const module = "github.com/pyworkflow-go/pyworkflow"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == module && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}

func newVersion(p *program) *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		Short:       "Print the version",
		Example:     "  pyworkflow version\n  pyworkflow version --output json",
		Args:        takes(),
		Annotations: map[string]string{ownModule: "yes", needsNothing: "yes"},
		RunE: func(*cobra.Command, []string) error {
			v := version()
			return p.print(map[string]string{"version": v}, func() error {
				_, err := fmt.Fprintln(p.stdout, "pyworkflow "+v)
				return err
			})
		},
	}
}
