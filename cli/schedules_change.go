package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newSchedulesCreate(p *program) *cobra.Command {
	var f definitionFlags
	var req client.CreateRequest
	var replace bool
	cmd := &cobra.Command{
		Use:   "create WORKFLOW",
		Short: "Create a schedule",
		Long: `Creates a schedule of a workflow. Give exactly one of --cron, --interval and --calendar. An interval without --start-at runs first at once; each further
run follows one interval after the end of the one before, or on a fixed grid with --interval-from start.`,
		Example: `  pyworkflow schedules create daily_report --cron "0 9 * * *" --timezone Europe/Berlin
  pyworkflow schedules create sync_data --interval 5m --overlap buffer_one --id sync --replace
  pyworkflow schedules create payroll --calendar "day_of_month=1,15 hour=0" --input '{"dry": true}'`,
		Args: takes("WORKFLOW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			def, err := f.definition(cmd.Flags())
			if err == nil {
				_, err = schedules.Normalize(def) // before any store is asked
			}
			if err != nil {
				return err
			}
			req.Workflow, req.Definition, req.Note = args[0], def, f.note
			if replace && req.ID == "" {
				return config.Usagef("--replace: needs --id, the schedule to replace")
			}
			check := func(c *client.Client) error { return c.CheckCreate(cmd.Context(), req) }
			return p.withNewStore(cmd, check, func(c *client.Client) error {
				act := c.CreateSchedule
				if replace {
					act = c.EnsureSchedule
				}
				s, err := act(cmd.Context(), req)
				if err != nil {
					return err
				}
				return p.print(s, func() error { return p.printSchedule(s) })
			})
		},
	}
	fs := cmd.Flags()
	f.register(fs)
	fs.StringVar(&req.ID, "id", "", "its id (default sched_ and 12 hex digits)")
	fs.BoolVar(&replace, "replace", false, "when the id is taken, make that schedule what is asked for")
	fs.BoolVar(&req.Force, "force", false, "create it though no worker and no activation has announced the workflow")
	return cmd
}

func newSchedulesUpdate(p *program) *cobra.Command {
	var f definitionFlags
	var expect int64
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change a schedule",
		Long: `Changes what the given flags say; the rest stays. A new --cron, --interval or --calendar replaces the old one, whichever it was. Only a change of spec, zone,
bounds or jitter computes the next tick anew.`,
		Example: `  pyworkflow schedules update sync --interval 10m
  pyworkflow schedules update sync --overlap skip --expect-version 3`,
		Args: takes("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			fs := cmd.Flags()
			if err := f.checkPatch(fs); err != nil {
				return err
			}
			if !f.changed(fs) && !anyChanged(fs, "overlap", "buffer-limit", "cancel-grace", "catchup", "catchup-window", "queue", "input", "note") {
				return config.Usagef("schedules update: nothing to change: give at least one flag, see schedules update --help")
			}
			if fs.Changed("expect-version") && expect < 1 {
				return config.Usagef("--expect-version %q: must be 1 or more", fs.Lookup("expect-version").Value.String())
			}
			return p.withClient(cmd, changes, func(c *client.Client) error {
				s, err := c.EditSchedule(cmd.Context(), args[0], func(old schedules.Schedule) (schedules.Patch, error) {
					patch, err := f.patch(fs, old.Spec)
					patch.ExpectVersion = expect
					return patch, err
				})
				if err != nil {
					return err
				}
				return p.print(s, func() error { return p.printSchedule(s) })
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().Int64Var(&expect, "expect-version", 0, "refuse when the schedule is of another version (default any)")
	return cmd
}

// newSchedulesAct makes one of the acts that take several schedules.
func newSchedulesAct(p *program, verb, shortText, long string, noted bool) *cobra.Command {
	var note string
	var many manySchedules
	var yes bool
	cmd := &cobra.Command{
		Use:   verb + " ID...",
		Short: shortText,
		Long:  shortText + ".\n" + long,
		Example: fmt.Sprintf(`  pyworkflow schedules %[1]s auto_daily_report
  pyworkflow schedules %[1]s --workflow daily_report`, verb),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := many.check(cmd, args); err != nil {
				return err
			}
			return p.withClient(cmd, changes, func(c *client.Client) error {
				ids, err := many.ids(cmd.Context(), p, c, args, verb)
				if err != nil {
					return err
				}
				if len(args) == 0 && len(ids) > 0 {
					if err := p.confirm(cmd, yes, "%s %d schedule(s) in %s?", verb, len(ids), p.place(c.Describe())); err != nil {
						return err
					}
				}
				done := []client.Schedule{}
				var failed []error
				for _, id := range ids {
					s, err := scheduleAct(cmd, c, verb, id, note)
					if err != nil {
						failed = append(failed, err)
						continue
					}
					done = append(done, s)
				}
				if err := p.printActed(c, verb, args, done); err != nil {
					return err
				}
				return p.several(cmd, failed)
			})
		},
	}
	fs := cmd.Flags()
	if noted {
		fs.StringVar(&note, "note", "", "a note for people, such as why")
	}
	many.register(cmd)
	fs.BoolVarP(&yes, "yes", "y", false, "do not ask; on a terminal --workflow and --all ask first")
	return cmd
}

func scheduleAct(cmd *cobra.Command, c *client.Client, verb, id, note string) (client.Schedule, error) {
	var given *string
	if f := cmd.Flags().Lookup("note"); f != nil && f.Changed {
		given = &note
	}
	switch verb {
	case "pause":
		return c.Pause(cmd.Context(), id, given)
	case "resume":
		return c.Resume(cmd.Context(), id, given)
	case "delete":
		return c.Delete(cmd.Context(), id)
	default:
		return c.Reset(cmd.Context(), id)
	}
}

func (p *program) printActed(c *client.Client, verb string, args []string, done []client.Schedule) error {
	single := len(args) == 1
	if single && len(done) == 0 {
		return nil // the error says it
	}
	return p.print(one(single, done), func() error {
		switch {
		case len(done) == 0:
			p.note("no schedules to %s in %s", verb, p.place(c.Describe()))
			return nil
		default:
			t := table{columns: []string{"id", "status", "next run", "note"}}
			for _, s := range done {
				t.add(s.ScheduleID, string(s.Status), p.when(s.NextRunTime), string(s.Note))
			}
			return p.printTable(t)
		}
	})
}

// one is the item when one was named, else the list of all.
func one[T any](single bool, items []T) any {
	if single {
		return items[0]
	}
	return client.Page[T]{Items: items}
}

// several reports what went wrong with some of many: all but the last on lines of their own.
func (p *program) several(cmd *cobra.Command, failed []error) error {
	if len(failed) == 0 {
		return nil
	}
	for _, err := range failed[:len(failed)-1] {
		p.report(cmd, nil, err)
	}
	return failed[len(failed)-1]
}

// manySchedules are the flags that name schedules by what they are.
type manySchedules struct {
	workflow string
	all      bool
}

func (m *manySchedules) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.workflow, "workflow", "", "all schedules of this workflow")
	cmd.Flags().BoolVar(&m.all, "all", false, "all schedules")
}

func (m *manySchedules) check(cmd *cobra.Command, args []string) error {
	ways := 0
	for _, given := range []bool{len(args) > 0, m.workflow != "", m.all} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return config.Usagef("%s needs one of ID..., --workflow and --all: see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// ids are those named, or those of all schedules that match and that the act has something to do for.
func (m *manySchedules) ids(ctx context.Context, p *program, c *client.Client, args []string, verb string) ([]string, error) {
	if len(args) > 0 {
		var ids []string
		for _, id := range args {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		return ids, nil
	}
	var ids []string
	declared := 0
	for s, err := range c.Schedules(ctx, client.ScheduleFilter{Workflow: m.workflow}) {
		if err != nil {
			return nil, err
		}
		switch {
		case verb == "delete" && s.DeclaredInCode():
			declared++
			continue
		case verb == "pause" && s.Status == schedules.StatusPaused,
			verb == "resume" && s.Status != schedules.StatusPaused,
			verb == "reset" && len(s.Overridden) == 0:
			continue
		}
		ids = append(ids, s.ScheduleID)
	}
	if declared > 0 {
		p.note("%d declared in code stay: pause them, or take them out of the code", declared)
	}
	return ids, nil
}

func newSchedulesActivate(p *program) *cobra.Command {
	var opts client.ActivateOptions
	cmd := &cobra.Command{
		Use:   "activate",
		Short: "Write the records of all schedules that are declared in code",
		Long: `Gives every schedule that the program's workflows declare its record, and brings records up to their declarations. What people changed by hand stays and is shown as
overridden; "schedules reset" returns it. A beat and a local scheduler do this by themselves when they start.`,
		Example: `  pyworkflow --module ./workflows schedules activate --dry-run
  pyworkflow --module ./workflows schedules activate --prune`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(p.app.Workflows()) == 0 {
				return config.Usagef("schedules activate: no workflows in this program: name their package with --module")
			}
			mode := creates
			if opts.DryRun {
				mode = reads
			}
			return p.withClient(cmd, mode, func(c *client.Client) error {
				a, err := c.Activate(cmd.Context(), p.app, opts)
				if err != nil {
					return err
				}
				return p.print(a, func() error { return p.printActivation(a, opts) })
			})
		},
	}
	cmd.Flags().BoolVar(&opts.Prune, "prune", false, "delete the schedules of this module that left the code")
	cmd.Flags().BoolVar(&opts.DryRun, "dry-run", false, "write nothing, show the difference")
	return cmd
}

func (p *program) printActivation(a client.Activation, opts client.ActivateOptions) error {
	orphaned := "orphaned"
	if opts.Prune {
		orphaned = "deleted"
	}
	t := table{}
	for _, part := range []struct {
		word string
		ids  []string
	}{{"created", a.Created}, {"updated", a.Updated}, {"unchanged", a.Unchanged}, {"overridden", a.Overridden}, {orphaned, a.Orphaned}} {
		for _, id := range part.ids {
			t.add(part.word, id)
		}
	}
	if err := p.printTable(t); err != nil {
		return err
	}
	verb := "activated"
	if opts.DryRun {
		verb = "would activate"
	}
	p.note("%s %d schedule(s)", verb, a.Count())
	if len(a.Orphaned) > 0 && !opts.Prune {
		p.note("orphaned schedules are no longer in the code; --prune deletes them")
	}
	return nil
}

func newSchedulesTrigger(p *program) *cobra.Command {
	var overlap, key string
	var wait bool
	cmd := &cobra.Command{
		Use:   "trigger ID",
		Short: "Start a run of a schedule now",
		Long: `Starts a run now; the regular timing is untouched, and a paused schedule can be triggered too. The overlap policy decides when a run is active: the
answer is started, buffered (it starts when the active run has ended) or skipped (exit 4).`,
		Example: `  pyworkflow schedules trigger auto_daily_report --wait
  pyworkflow schedules trigger sync --overlap allow_all --input '{"full": true}'
  pyworkflow schedules trigger sync --idempotency-key release-2026-11-22`,
		Args: takes("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			input, err := jsonFlag(cmd.Flags(), "input")
			if err != nil {
				return err
			}
			if err := oneOfFlag(cmd, "overlap", "skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"); err != nil {
				return err
			}
			return p.withExecution(cmd, changes, scheduledBy(args[0]), func(x *execution) error {
				x.schedule = args[0]
				res, err := x.client.Trigger(cmd.Context(), args[0], client.TriggerRequest{Overlap: schedules.OverlapPolicy(overlap), Input: input, IdempotencyKey: key})
				if err != nil {
					return err
				}
				return p.afterTrigger(cmd, x, res, wait)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&overlap, "overlap", "", "overlap policy for this trigger only (default the schedule's)")
	fs.String("input", "", "input for this run only, as JSON (default the schedule's)")
	fs.StringVar(&key, "idempotency-key", "", "a second trigger with the same key starts nothing and answers as the first did")
	fs.BoolVar(&wait, "wait", false, "wait until the run has ended; exit 1 unless it completed")
	return cmd
}

func (p *program) afterTrigger(cmd *cobra.Command, x *execution, res client.TriggerResult, wait bool) error {
	err := p.print(res, func() error {
		return p.printPairs("outcome", string(res.Outcome), "run", string(res.RunID), "reason", string(res.Reason))
	})
	if err != nil {
		return err
	}
	if res.Outcome == schedules.FateSkipped {
		text := fmt.Sprintf("trigger skipped: %s", res.Reason)
		if res.BlockedBy != "" {
			remedy := schedules.OverlapBufferOne
			if res.Reason == schedules.ReasonBufferFull {
				remedy = schedules.OverlapAllowAll
			}
			text += fmt.Sprintf(", run %s is active; wait for it, or use --overlap %s", res.BlockedBy, remedy)
		}
		return &exitError{client.CodeSkipped, text}
	}
	run, err := x.finishRun(cmd.Context(), string(res.RunID), wait)
	if err != nil || !wait {
		return err
	}
	return runFailure(run)
}
