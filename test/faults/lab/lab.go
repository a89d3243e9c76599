// Package lab holds the workflows that the fault suite's worker processes execute. Each keeps a log of its own, apart from everything the product records:
// a JSON line (check.Line) for every start, step, cancellation and end, on the disk before the code goes on. That log is what the suite's checker believes.
//
// The folder of the logs is the environment's FAULTS_LOG_DIR; without it nothing is logged. FAULTS_RELEASE=old or new makes the program one of two
// releases, of which each has a workflow that the other lacks.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// Environment variables that the program reads.
const (
	LogDir  = "FAULTS_LOG_DIR" // the folder of the logs, which must exist; empty: no logs
	Release = "FAULTS_RELEASE" // old, new, or empty for both in one
)

// The workflows.
const (
	Quick    = "faults_quick"    // QuickInput
	Steps    = "faults_steps"    // StepsInput
	Sleep    = "faults_sleep"    // SleepInput
	Fragile  = "faults_fragile"  // SleepInput; the default number of recoveries
	Stubborn = "faults_stubborn" // StubbornInput
	Flaky    = "faults_flaky"    // FlakyInput
	Big      = "faults_big"      // BigInput
	Panic    = "faults_panic"    // PanicInput
	OldOnly  = "faults_old_only" // QuickInput; known to the old release
	NewOnly  = "faults_new_only" // QuickInput; known to the new release
)

// recoveries is how often a run may lose its worker: more often than a scenario kills workers.
const recoveries = 50

// Register hands the workflows to the program.
func Register(app *pyworkflow.App) error {
	j, err := newJournal(os.Getenv(LogDir))
	if err != nil {
		return err
	}
	often := pyworkflow.MaxRecoveries(recoveries)
	all := []pyworkflow.Registrable{
		pyworkflow.Define(Quick, witnessed(j, quick), often),
		pyworkflow.Define(Steps, witnessed(j, steps), often),
		pyworkflow.Define(Sleep, witnessed(j, sleep), often),
		pyworkflow.Define(Fragile, witnessed(j, sleep)),
		pyworkflow.Define(Stubborn, witnessed(j, stubborn), often),
		pyworkflow.Define(Flaky, witnessed(j, flaky), often, pyworkflow.MaxRetries(3), pyworkflow.RetryBackoff(pyworkflow.Fixed(300*time.Millisecond))),
		pyworkflow.Define(Big, witnessed(j, big), often),
		pyworkflow.Define(Panic, witnessed(j, panics), often, pyworkflow.MaxRetries(1), pyworkflow.RetryBackoff(pyworkflow.Fixed(300*time.Millisecond))),
	}
	release := os.Getenv(Release)
	switch release {
	case "", "old", "new":
	default:
		return fmt.Errorf("%s %q is no release; write old or new, or leave it out", Release, release)
	}
	if release != "new" {
		all = append(all, pyworkflow.Define(OldOnly, witnessed(j, quick), often))
	}
	if release != "old" {
		all = append(all, pyworkflow.Define(NewOnly, witnessed(j, quick), often))
	}
	return app.Register(all...)
}

// wait takes d, or less when ctx is cancelled: then the error is the cause.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// QuickInput is what faults_quick is told.
type QuickInput struct {
	For schedules.Duration `json:"for"` // how long it takes
}

// None is a result with nothing in it.
type None struct{}

func quick(ctx context.Context, _ *execution, in QuickInput) (None, error) {
	if in.For == 0 {
		return None{}, nil
	}
	return None{}, wait(ctx, time.Duration(in.For))
}

// StepsInput is what faults_steps is told. Zero: 3 steps of 100 ms.
type StepsInput struct {
	Steps int                `json:"steps"`
	For   schedules.Duration `json:"for"` // how long each takes
}

// StepsOutput is what faults_steps returns: what each step returned, which is its own number.
type StepsOutput struct {
	Did []int `json:"did"`
}

func steps(ctx context.Context, x *execution, in StepsInput) (StepsOutput, error) {
	if in.Steps == 0 {
		in.Steps = 3
	}
	if in.For == 0 {
		in.For = schedules.Duration(100 * time.Millisecond)
	}
	var out StepsOutput
	for n := 1; n <= in.Steps; n++ {
		name := fmt.Sprintf("step_%d", n)
		did, err := pyworkflow.Step(ctx, name, func(ctx context.Context) (int, error) {
			x.note(check.LineStep, name, "")
			if err := wait(ctx, time.Duration(in.For)); err != nil {
				return 0, err
			}
			x.note(check.LineStepDone, name, "")
			return n, nil
		})
		if err != nil {
			return out, err
		}
		if did != n {
			return out, pyworkflow.NoRetry(fmt.Errorf("step %s came back with the result %d", name, did))
		}
		out.Did = append(out.Did, did)
	}
	return out, nil
}

// SleepInput is what faults_sleep and faults_fragile are told. Zero: 20 s.
type SleepInput struct {
	For schedules.Duration `json:"for"`
}

func sleep(ctx context.Context, _ *execution, in SleepInput) (None, error) {
	if in.For == 0 {
		in.For = schedules.Duration(20 * time.Second)
	}
	return None{}, wait(ctx, time.Duration(in.For))
}

// StubbornInput is what faults_stubborn is told. Zero: it takes 8 s, and goes on for up to 4 s after it was cancelled.
type StubbornInput struct {
	For    schedules.Duration `json:"for"`
	Ignore schedules.Duration `json:"ignore"`
}

func stubborn(ctx context.Context, _ *execution, in StubbornInput) (None, error) {
	if in.For == 0 {
		in.For = schedules.Duration(8 * time.Second)
	}
	if in.Ignore == 0 {
		in.Ignore = schedules.Duration(4 * time.Second)
	}
	began := time.Now()
	err := wait(ctx, time.Duration(in.For))
	if err == nil {
		return None{}, nil
	}
	rest := time.Duration(in.For) - time.Since(began)
	if rest > time.Duration(in.Ignore) {
		_ = wait(context.WithoutCancel(ctx), time.Duration(in.Ignore)) // never cancelled
		return None{}, err
	}
	return None{}, wait(context.WithoutCancel(ctx), rest)
}

// FlakyInput is what faults_flaky is told.
type FlakyInput struct {
	Failures int                `json:"failures"` // how many attempts fail; more than 3: the run does
	For      schedules.Duration `json:"for"`      // how long an attempt takes
}

func flaky(ctx context.Context, x *execution, in FlakyInput) (None, error) {
	if err := wait(ctx, time.Duration(in.For)); err != nil {
		return None{}, err
	}
	if x.line.Attempt <= in.Failures {
		return None{}, fmt.Errorf("attempt %d fails, as it was told", x.line.Attempt)
	}
	return None{}, nil
}

// BigInput is what faults_big is told. What its other fields are is nobody's business: they make it as large as wanted.
type BigInput struct {
	Size int    `json:"size"` // of the result as JSON, in bytes; less than 32: 32
	Pad  string `json:"pad"`
}

// BigOutput is what faults_big returns.
type BigOutput struct {
	Got  int    `json:"got"` // length of the pad
	Fill string `json:"fill"`
}

func big(ctx context.Context, _ *execution, in BigInput) (BigOutput, error) {
	if err := ctx.Err(); err != nil {
		return BigOutput{}, errors.Join(context.Cause(ctx), err)
	}
	out := BigOutput{Got: len(in.Pad)}
	bare, err := json.Marshal(out)
	if err != nil {
		return out, err
	}
	out.Fill = strings.Repeat("x", max(in.Size, 32)-len(bare))
	return out, nil
}

// PanicInput is what faults_panic is told.
type PanicInput struct {
	Recover bool `json:"recover"` // the second attempt succeeds
}

func panics(_ context.Context, x *execution, in PanicInput) (None, error) {
	if in.Recover && x.line.Attempt > 1 {
		return None{}, nil
	}
	panic("faults_panic panics, as it is named")
}
