package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/modbuild"
	"github.com/pyworkflow-go/pyworkflow/internal/nearest"
)

// plainCommand marks a command that neither needs the workflows of --module nor settings that make sense together.
const plainCommand = "pyworkflow_plain"

// needsNothing marks a command that answers whatever is wrong with the settings.
const needsNothing = "pyworkflow_needs_nothing"

// newRoot makes the whole tree of commands.
func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "pyworkflow",
		Short: "Run Go functions as workflows, on schedules",
		Long: `pyworkflow runs Go functions as workflows: on schedules (cron, intervals, calendars), by hand, in this process or on many workers.

Workflows come from a Go package that exports  func Register(app *pyworkflow.App) error:  name it with --module.
Global, server and worker flags may also be given in the environment (PYWORKFLOW_REDIS_URL for --redis-url) and in
pyworkflow.config.yaml, in this folder or one above it; "pyworkflow config show" says what is in force.`,
		Example: `  pyworkflow --module ./workflows scheduler run          # everything in this process, no Redis needed
  pyworkflow --module ./workflows worker run --beat      # on Redis: a worker that also schedules
  pyworkflow schedules create daily_report --cron "0 9 * * *" --timezone Europe/Berlin
  pyworkflow schedules list`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          groupRun,
		Args:          cobra.ArbitraryArgs,
	}
	p.global = config.GlobalFlags(root.PersistentFlags())
	p.limits.register(root.PersistentFlags())
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageOf(cmd, err) })
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return p.prepare(cmd) }
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		newWorker(p), newScheduler(p), newBeat(p), newHealth(p), newSchedules(p), newBackfills(p), newRuns(p), newWorkflows(p), newQueues(p),
		newDashboard(p), newDev(p), newBuild(p), newInit(p), newDoctor(p), newConfig(p), newVersion(p),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			markPlain(c)
		}
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.ArbitraryArgs, groupRun
			c.Example = "  source <(pyworkflow completion bash)"
			for _, shell := range c.Commands() {
				shell.Example = "  pyworkflow completion " + shell.Name()
			}
		}
	}
	p.addCompletions(root)
	return root
}

func markPlain(c *cobra.Command) {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[plainCommand] = "yes"
	for _, sub := range c.Commands() {
		markPlain(sub)
	}
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: groupRun, Annotations: map[string]string{plainCommand: "yes"}}
	c.AddCommand(subs...)
	for _, sub := range subs { // the first of each
		first, _, _ := strings.Cut(sub.Example, "\n")
		c.Example = strings.TrimPrefix(c.Example+"\n"+first, "\n")
	}
	return c
}

// groupRun shows the help of a command that only holds others, and refuses what is not one of them.
func groupRun(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if near := nearest.Names(args[0], names, 3); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return config.Usagef("%s: unknown command %q: %s", cmd.CommandPath(), args[0], hint)
}

// usageOf turns what pflag says about the flags into an error of usage.
func usageOf(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var required *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &value):
		return config.Usagef("%s", flagError(value))
	case errors.As(err, &required):
		return config.Usagef("--%s needs a value", required.GetFlag().Name)
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		hint := "see " + cmd.CommandPath() + " --help"
		if near := nearest.Names(unknown.GetSpecifiedName(), names, 2); len(near) > 0 {
			hint = "did you mean --" + strings.Join(near, " or --") + "?"
		}
		return config.Usagef("unknown flag --%s: %s", unknown.GetSpecifiedName(), hint)
	default:
		return config.Usagef("%v", err)
	}
}

// takes checks the number of arguments: what names each, "..." at the end of the last for any number of them.
func takes(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		most := len(what)
		many := most > 0 && strings.HasSuffix(what[most-1], "...")
		optional := most > 0 && strings.HasPrefix(what[most-1], "[")
		least := most
		if optional {
			least--
		}
		if len(args) < least {
			return config.Usagef("%s needs %s: see %s --help", cmd.CommandPath(), strings.TrimSuffix(what[len(args)], "..."), cmd.CommandPath())
		}
		if len(args) > most && !many {
			return config.Usagef("%s: unexpected argument %q: see %s --help", cmd.CommandPath(), args[most], cmd.CommandPath())
		}
		return nil
	}
}

// prepare resolves the settings and, when --module asks for it, goes on as the program with those workflows.
func (p *program) prepare(cmd *cobra.Command) error {
	if plain(cmd) || cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	settings, err := config.Resolve(cmd.Flags(), p.env, p.dir, flagSets(cmd.Root())...)
	if err != nil && cmd.Annotations[needsNothing] != "" {
		return nil // it has an answer all the same
	}
	if err != nil {
		return err
	}
	p.settings, p.log = settings, p.newLog()
	redis.SetLogger(redisLog{p.log}) // the library has one log for the whole process
	if cmd.Annotations[ownModule] == "" {
		if err := p.enterModule(cmd.Context()); err != nil {
			return err
		}
	}
	if err := p.startTracing(cmd); err != nil {
		return err
	}
	p.app = pyworkflow.NewApp()
	limits := p.limits.given(p.settings)
	if err := p.app.SetLimits(limits); err != nil || p.register == nil {
		return err
	}
	if err := p.register(p.app); err != nil {
		return fmt.Errorf("register workflows: %w", err)
	}
	return p.app.SetLimits(limits) // they go before what the program's code says
}

func plain(cmd *cobra.Command) bool { return cmd.Annotations[plainCommand] != "" || cmd == cmd.Root() }

// flagSets are those of all commands: the config file may hold keys of any of them.
func flagSets(cmd *cobra.Command) []*pflag.FlagSet {
	sets := []*pflag.FlagSet{cmd.LocalFlags()}
	for _, sub := range cmd.Commands() {
		sets = append(sets, flagSets(sub)...)
	}
	return sets
}

// enterModule builds the program with the workflows of --module and goes on as it; it returns only when that is not asked for, or failed.
func (p *program) enterModule(ctx context.Context) error {
	module, _ := p.settings.Lookup("module")
	switch {
	case module.Value == "" || p.inside:
		return nil
	case p.register != nil && module.Source.Origin == config.FromFlag:
		return config.Usagef("--module %s: this program has its workflows inside: leave it out, or use pyworkflow itself", module.Value)
	case p.register != nil:
		return nil
	}
	binary, err := modbuild.Build(ctx, modbuild.Options{Package: module.Value, Dir: p.dir, Stderr: p.stderr})
	if err != nil {
		return err
	}
	args, env, _ := veil(p.args, os.Environ())
	code, err := modbuild.Exec(binary, args, env)
	if err != nil {
		return err
	}
	return &childExit{code}
}

// childExit says that the program went on as a child, which has ended with this code and has said all there was to say.
type childExit struct{ code int }

func (e *childExit) Error() string { return "" }
