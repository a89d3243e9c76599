package role

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
	"github.com/pyworkflow-go/pyworkflow/cli"
)

// Workflow is the name of the workflow that every load runs. It does nothing.
const Workflow = "bench"

// ScheduleID is the id of the schedule with that index.
func ScheduleID(index int) string { return idPrefix + strconv.Itoa(index) }

const idPrefix = "s"

// pyworkflowRole is the product's own command line: args are its arguments after the name of the role.
func pyworkflowRole(args []string) (int, error) {
	rec, err := newRecorder[fires.Fire]()
	if err != nil {
		return 1, err
	}
	if err := rec.ready(); err != nil {
		return 1, err
	}
	workflow := pyworkflow.DefineFunc(Workflow, func(ctx context.Context) (struct{}, error) {
		start := time.Now().UnixNano()
		info := pyworkflow.RunInfo(ctx)
		rec.Add(fires.Fire{Index: indexOf(info.ScheduleID), Nominal: info.Nominal.UnixMilli(), Start: start})
		return struct{}{}, nil
	})
	os.Args = append(args[:1:1], args[2:]...)
	code := cli.Main(func(app *pyworkflow.App) error { return app.Register(workflow) })
	if err := rec.close(nil); err != nil {
		return max(code, 1), err
	}
	if code != 0 {
		err = errors.New("the command failed: exit code " + strconv.Itoa(code))
	}
	return code, err
}

// indexOf reads the index out of a schedule's id; -1 when it is none of ours.
func indexOf(id string) int64 {
	if len(id) <= len(idPrefix) || id[:len(idPrefix)] != idPrefix {
		return -1
	}
	n, err := strconv.ParseInt(id[len(idPrefix):], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
