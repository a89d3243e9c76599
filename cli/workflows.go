package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newWorkflows(p *program) *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the workflows of this program and those that workers have announced",
		Example: "  pyworkflow --module ./workflows workflows list",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				ws, err := c.Workflows(cmd.Context())
				if err != nil {
					return err
				}
				return p.print(client.Page[client.Workflow]{Items: ws}, func() error { return p.printWorkflows(c, ws) })
			})
		},
	}
	info := &cobra.Command{
		Use:     "info NAME",
		Short:   "Show a workflow and its options",
		Example: "  pyworkflow workflows info daily_report",
		Args:    takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				w, err := c.GetWorkflow(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return p.print(w, func() error { return p.printWorkflow(w) })
			})
		},
	}
	return group("workflows", "List workflows, and run one", list, info, newWorkflowsRun(p))
}

func (p *program) printWorkflows(c *client.Client, ws []client.Workflow) error {
	t := table{columns: []string{"workflow", "queue", "retries", "timeout", "live workers", "from", "doc"}}
	for _, w := range ws {
		t.add(w.Name, w.Queue, strconv.Itoa(w.MaxRetries), limit(w.Timeout), strconv.Itoa(w.Workers), whence(w), string(w.Doc))
	}
	if len(ws) > 0 {
		return p.printTable(t)
	}
	p.note("no workflows in this program, and none announced in %s; name their package with --module", p.place(c.Describe()))
	return nil
}

func limit(d client.Duration) string {
	if d.Duration == 0 {
		return ""
	}
	return d.String()
}

func whence(w client.Workflow) string {
	if w.Here {
		return "this program"
	}
	return "announced"
}

func (p *program) printWorkflow(w client.Workflow) error {
	wait := fmt.Sprintf("after %s", w.Backoff.Initial)
	if w.Backoff.Factor > 1 {
		wait += fmt.Sprintf(", then each %g times as long", w.Backoff.Factor)
	}
	if w.MaxRetries == 0 {
		wait = ""
	}
	return p.printPairs(
		"workflow", w.Name,
		"doc", string(w.Doc),
		"from", whence(w),
		"queue", w.Queue,
		"retries", joined(strconv.Itoa(w.MaxRetries), wait),
		"timeout", limit(w.Timeout),
		"recoveries", strconv.Itoa(w.MaxRecoveries),
		"live workers", strconv.Itoa(w.Workers),
		"announced", p.whenExact(w.Seen),
	)
}

func newWorkflowsRun(p *program) *cobra.Command {
	var opts pyworkflow.StartOptions
	var args []string
	var wait bool
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Run a workflow now, outside any schedule",
		Long: `Starts a run. In the local runtime a live scheduler executes it, and where none lives this process does, and returns when the run has ended (exit 1 unless it
completed). On asynq a worker executes it. With --wait the result is printed.`,
		Example: `  pyworkflow --module ./workflows workflows run daily_report --wait
  pyworkflow workflows run resize --arg width=200 --arg 'name="cat.png"' --queue images
  pyworkflow workflows run import --input '{"day": "2026-03-01"}' --idempotency-key import-2026-03-01`,
		Args: takes("NAME"),
		RunE: func(cmd *cobra.Command, names []string) error {
			input, err := argInput(cmd, args)
			if err == nil {
				err = p.app.Limits().CheckInput(input)
			}
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("queue") {
				if err := schedules.ValidateQueue(opts.Queue); err != nil {
					return err
				}
			}
			known := func(ctx context.Context, c *client.Client) (string, error) {
				return names[0], c.CheckWorkflow(ctx, names[0])
			}
			mode := changes
			if _, here := p.app.Workflow(names[0]); here {
				mode = creates
			}
			return p.withExecution(cmd, mode, known, func(x *execution) error {
				id, err := x.client.StartRun(cmd.Context(), names[0], input, opts)
				if err != nil {
					return err
				}
				run, err := x.finishRun(cmd.Context(), id, wait)
				if err != nil {
					return err
				}
				if err := p.print(run, func() error { return p.printStarted(run, wait) }); err != nil {
					return err
				}
				return x.failure(run, wait)
			})
		},
	}
	fs := cmd.Flags()
	fs.String("input", "", "input as JSON (default null)")
	fs.StringArrayVar(&args, "arg", nil, "a field of the input, key=value with a JSON value; may be repeated")
	fs.StringVar(&opts.Queue, "queue", "", "queue to use (default the workflow's)")
	fs.StringVar(&opts.IdempotencyKey, "idempotency-key", "", "a second start with the same key is the same run")
	fs.BoolVar(&wait, "wait", false, "wait until the run has ended and print its result")
	return cmd
}

// printStarted prints the result of a run that was waited for, else how the run stands.
func (p *program) printStarted(r client.Run, wait bool) error {
	if wait {
		if r.Status != schedules.RunCompleted {
			return nil // the error says it
		}
		_, err := fmt.Fprintln(p.stdout, string(r.Result))
		return err
	}
	result := ""
	if r.Status == schedules.RunCompleted {
		result = strings.TrimSpace(string(r.Result))
	}
	return p.printPairs("run", r.RunID, "status", string(r.Status), "took", took(r.StartedAt, r.EndedAt), "result", result)
}
