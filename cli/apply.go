package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/schedulefile"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newSchedulesApply(p *program) *cobra.Command {
	var path string
	var force bool
	var req client.ApplyRequest
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make schedules what a file says",
		Long: `Reads schedules from a YAML file, shows what it will do, and creates and changes what differs. All is checked first: when anything is wrong nothing is written.
Applying a file again changes nothing. The file has the fields of "schedules show --output json":

  name: ops                     # of the set (default the name of the file, without its ending)
  schedules:
    - schedule_id: nightly
      workflow: daily_report
      spec: {cron: "0 9 * * *", timezone: Europe/Berlin}
      overlap_policy: buffer_one
      input: {region: north}

The schedules belong to the set "file:NAME". Those of the set that are no longer in the file are reported, and deleted with --prune; other schedules are never deleted.`,
		Example: `  pyworkflow schedules apply -f schedules.yaml --dry-run
  pyworkflow schedules apply -f schedules.yaml --prune
  generate | pyworkflow schedules apply -f - --name ops`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := p.readSchedules(cmd, path)
			if err != nil {
				return err
			}
			if err := p.nameSet(cmd, &req, file, path); err != nil {
				return err
			}
			for _, e := range file.Schedules {
				e.Force = force
				req.Schedules = append(req.Schedules, e.CreateRequest)
			}
			planned := req
			planned.DryRun = true
			located := func(a client.Applied, err error) (client.Applied, error) {
				return a, locate(err, file, shownPath(path))
			}
			show := func(a client.Applied) error { return p.print(a, func() error { return p.printApplied(a) }) }
			if req.DryRun {
				return p.withClient(cmd, reads, func(c *client.Client) error {
					a, err := located(c.Apply(cmd.Context(), planned))
					if err != nil {
						return err
					}
					defer p.noteApplied(a, req.Prune)
					return show(a)
				})
			}
			check := func(c *client.Client) error {
				_, err := located(c.Apply(cmd.Context(), planned))
				return err
			}
			return p.withNewStore(cmd, check, func(c *client.Client) error {
				if p.global.Output != "json" { // the plan goes before the act
					a, err := located(c.Apply(cmd.Context(), planned))
					if err == nil {
						err = p.printApplied(a)
					}
					if err != nil {
						return err
					}
				}
				a, err := located(c.Apply(cmd.Context(), req))
				if err != nil {
					return err
				}
				defer p.noteApplied(a, req.Prune)
				if p.global.Output == "json" {
					return p.printJSON(a)
				}
				return nil
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&path, "file", "f", "", "the file, - for standard input")
	fs.StringVar(&req.Name, "name", "", "name of the set that the schedules belong to (default the file's)")
	fs.BoolVar(&req.Prune, "prune", false, "delete the schedules of this set that are not in the file; the set must have a name of its own")
	fs.BoolVar(&req.DryRun, "dry-run", false, "write nothing, show the difference")
	fs.BoolVar(&force, "force", false, "create schedules though no worker and no activation has announced their workflow")
	return cmd
}

// shownPath is the file as messages name it.
func shownPath(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// readSchedules reads the file of --file.
func (p *program) readSchedules(cmd *cobra.Command, path string) (*schedulefile.File, error) {
	if path == "" {
		return nil, config.Usagef("schedules apply: name the file with -f, or - for standard input")
	}
	in := cmd.InOrStdin()
	if path != "-" {
		at := path
		if p.dir != "" && !filepath.IsAbs(at) {
			at = filepath.Join(p.dir, at)
		}
		f, err := os.Open(at)
		if err != nil {
			return nil, badFile(path, err)
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, schedulefile.MaxSize+1))
	if err != nil {
		return nil, badFile(path, err)
	}
	if len(data) > schedulefile.MaxSize {
		return nil, config.Usagef("--file %q: is larger than 16MiB; split it", path)
	}
	return schedulefile.Parse(shownPath(path), data)
}

func badFile(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return config.Usagef("--file %q: %v", path, err)
}

// nameSet finds the name of the set: of the flag, else in the file, else that of the file.
func (p *program) nameSet(cmd *cobra.Command, req *client.ApplyRequest, file *schedulefile.File, path string) error {
	switch {
	case cmd.Flags().Changed("name") && file.Name != "" && file.Name != req.Name:
		return config.Usagef("--name %q: the file is named %q already; leave the flag out", req.Name, file.Name)
	case cmd.Flags().Changed("name"):
	case file.Name != "":
		req.Name = file.Name
	case req.Prune:
		return config.Usagef("--prune: give the set a name, with --name or the key name in the file, so that no other file that happens to be called the same can lose its schedules")
	case path == "-":
		return config.Usagef("--file \"-\": what comes from standard input needs a name: the key name, or --name")
	default:
		base := filepath.Base(path)
		req.Name = strings.TrimSuffix(base, filepath.Ext(base))
		if schedules.ValidateID(req.Name) != nil {
			return config.Usagef("--file %q: its name does not do for a set; give one with --name, such as ops", path)
		}
	}
	return nil
}

// locate gives an error of one schedule the line it stands in.
func locate(err error, file *schedulefile.File, path string) error {
	var at *client.ApplyError
	if !errors.As(err, &at) || at.Index >= len(file.Schedules) {
		return err
	}
	entry := &file.Schedules[at.Index]
	line := entry.LineOf("schedule_id")
	var field *schedules.FieldError
	var unknown *client.UnknownWorkflowError
	var mismatch *client.WorkflowMismatchError
	switch {
	case errors.As(err, &field):
		line = entry.LineOf(field.Field)
	case errors.As(err, &unknown), errors.As(err, &mismatch):
		line = entry.LineOf("workflow")
	}
	return &fileError{fmt.Sprintf("%s:%d", path, line), at.Err}
}

// fileError says where in a file something is wrong.
type fileError struct {
	where string
	err   error
}

// Error is one line.
func (e *fileError) Error() string { return e.where + ": " + e.err.Error() }

// Unwrap returns what is wrong.
func (e *fileError) Unwrap() error { return e.err }

func (p *program) printApplied(a client.Applied) error {
	t := table{columns: []string{"action", "id", "workflow", "changes"}}
	for _, c := range a.Changes {
		var changes []string
		for _, f := range c.Fields {
			changes = append(changes, fmt.Sprintf("%s: %s → %s", f.Field, plainValue(f.Old), plainValue(f.New)))
		}
		t.add(string(c.Action), c.ScheduleID, c.Workflow, strings.Join(changes, "; "))
	}
	if len(t.rows) == 0 {
		return nil
	}
	return p.printTable(t)
}

// plainValue is a value as people write it: text without quotes, nothing as a dash.
func plainValue(v json.RawMessage) string {
	var text string
	switch {
	case string(v) == "null" || len(v) == 0:
		return "-"
	case json.Unmarshal(v, &text) == nil:
		return text
	}
	return string(v)
}

// noteApplied says how it went in numbers, and what is left to do.
func (p *program) noteApplied(a client.Applied, prune bool) {
	deleted := 0
	if prune {
		deleted = len(a.Orphaned)
	}
	if a.DryRun {
		p.note("%s: %d to create, %d to update, %d to delete, %d unchanged; nothing was written", a.Origin, len(a.Created), len(a.Updated), deleted, len(a.Unchanged))
	} else {
		p.note("%s: %d created, %d updated, %d deleted, %d unchanged", a.Origin, len(a.Created), len(a.Updated), deleted, len(a.Unchanged))
	}
	if len(a.Orphaned) > 0 && !prune {
		p.note("%d no longer in the file: %s; --prune deletes them", len(a.Orphaned), shorten(strings.Join(a.Orphaned, " "), 200))
	}
}
