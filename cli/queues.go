package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/client"
)

func newQueues(p *program) *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the queues between processes, how much waits in each and for how long",
		Long: `Lists the queues of the asynq runtime: runs that wait, that workers have, messages that are offered later or again, how old the oldest waiting one is, and how many
live workers serve the queue. In the local runtime there are none.`,
		Example: "  pyworkflow --redis-url redis://redis:6379/0 queues list\n  pyworkflow queues list --output json",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				queues, err := c.Queues(cmd.Context())
				if err != nil {
					return err
				}
				return p.print(client.Page[client.Queue]{Items: queues}, func() error {
					if len(queues) == 0 {
						p.note("no queues in %s", p.place(c.Describe()))
						return nil
					}
					return p.printTable(queueTable(queues))
				})
			})
		},
	}
	return group("queues", "List the queues between processes, pause and resume them", list,
		newQueuesAct(p, "pause", "Let workers take nothing more from queues", "What workers have already goes on. It lasts until the queue is resumed, over restarts too.", (*client.Client).PauseQueue),
		newQueuesAct(p, "resume", "Let workers take from queues again", "A queue that is not paused stays as it is.", (*client.Client).ResumeQueue))
}

func queueTable(queues []client.Queue) table {
	t := table{columns: []string{"queue", "status", "waiting", "active", "scheduled", "retrying", "archived", "oldest", "workers"}}
	for _, q := range queues {
		status, oldest := "active", ""
		if q.Paused {
			status = "paused"
		}
		if q.Oldest.Duration > 0 {
			oldest = q.Oldest.String()
		}
		t.add(q.Name, status, strconv.Itoa(q.Waiting), strconv.Itoa(q.Active), strconv.Itoa(q.Scheduled), strconv.Itoa(q.Retry), strconv.Itoa(q.Archived), oldest, strconv.Itoa(q.Workers))
	}
	return t
}

func newQueuesAct(p *program, verb, shortText, long string, act func(*client.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " QUEUE...",
		Short:   shortText,
		Long:    shortText + ".\n" + long,
		Example: fmt.Sprintf("  pyworkflow queues %[1]s default\n  pyworkflow queues %[1]s images reports", verb),
		Args:    takes("QUEUE..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, changes, func(c *client.Client) error {
				var failed []error
				done := map[string]bool{}
				for _, name := range args {
					if err := act(c, cmd.Context(), name); err != nil {
						failed = append(failed, err)
						continue
					}
					done[name] = true
				}
				if len(done) > 0 {
					if err := p.printQueues(cmd, c, len(args) == 1, done); err != nil {
						return err
					}
				}
				return p.several(cmd, failed)
			})
		},
	}
}

// printQueues prints the named queues as they now are.
func (p *program) printQueues(cmd *cobra.Command, c *client.Client, single bool, names map[string]bool) error {
	all, err := c.Queues(cmd.Context())
	if err != nil {
		return err
	}
	var some []client.Queue
	for _, q := range all {
		if names[q.Name] {
			some = append(some, q)
		}
	}
	return p.print(one(single && len(some) == 1, some), func() error { return p.printTable(queueTable(some)) })
}
