package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/client"
)

func newRunsAgain(p *program) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "again RUN",
		Short: "Start a run with the workflow, input and queue of another",
		Long: `Starts a run of the same workflow with the same input from the same queue, whatever has become of that one. The new run is outside any schedule: no overlap policy
sees it. It executes where "workflows run" would execute it.`,
		Example: "  pyworkflow runs again run_5e0123456789abcdef0123 --wait",
		Args:    takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			of := func(ctx context.Context, c *client.Client) (string, error) {
				r, err := c.GetRun(ctx, args[0])
				return r.Workflow, err
			}
			return p.withExecution(cmd, changes, of, func(x *execution) error {
				id, err := x.client.RunAgain(cmd.Context(), args[0])
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
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the run has ended and print its result")
	return cmd
}
