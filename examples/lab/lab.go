// Package lab holds workflows to try things with: one that echoes, one that sleeps, one that fails a few times, one that panics and one that works
// in steps. None has a schedule.
//
//	pyworkflow --module ./examples/lab workflows run lab_echo --input '{"hello": "world"}' --wait
package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
)

// The workflows.
var (
	Echo  = pyworkflow.Define("lab_echo", echo, pyworkflow.Doc("Returns its input and what it knows of its run."))
	Sleep = pyworkflow.Define("lab_sleep", sleep, pyworkflow.Doc(`Sleeps: {"for": "5s", "ignore_cancel": false}.`))
	Flaky = pyworkflow.Define("lab_flaky", flaky, pyworkflow.Doc(`Fails as many attempts as it is told, then succeeds: {"failures": 2}. Up to 5 retries, 1 s apart.`),
		pyworkflow.MaxRetries(5), pyworkflow.RetryBackoff(pyworkflow.Fixed(time.Second)))
	Panic = pyworkflow.DefineFunc("lab_panic", panics, pyworkflow.Doc("Panics."))
	Steps = pyworkflow.Define("lab_steps", steps, pyworkflow.Doc(
		`Works in steps: {"steps": 5, "step_for": "1s", "log": "FILE"}. Each step appends a line "<run id> <step> <attempt>" to FILE when it executes.`))
)

// Register hands the package's workflows to the program.
func Register(app *pyworkflow.App) error { return app.Register(Echo, Sleep, Flaky, Panic, Steps) }

// Duration is a time.Duration that is written as text in JSON, such as "5s".
type Duration time.Duration

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: write one such as 5s or 250ms", text)
	}
	*d = Duration(v)
	return nil
}

// EchoOutput is what lab_echo returns.
type EchoOutput struct {
	Input       json.RawMessage `json:"input"`
	RunID       string          `json:"run_id"`
	ScheduleID  *string         `json:"schedule_id"`
	NominalTime *time.Time      `json:"nominal_time"` // null: the run belongs to no schedule
	Attempt     int             `json:"attempt"`
}

func echo(ctx context.Context, in json.RawMessage) (EchoOutput, error) {
	info := pyworkflow.RunInfo(ctx)
	out := EchoOutput{Input: in, RunID: info.RunID, Attempt: info.Attempt}
	if info.ScheduleID != "" {
		out.ScheduleID = &info.ScheduleID
	}
	if !info.Nominal.IsZero() {
		out.NominalTime = &info.Nominal
	}
	return out, nil
}

// SleepInput is what lab_sleep is told. The zero value sleeps 5 s.
type SleepInput struct {
	For          Duration `json:"for"`
	IgnoreCancel bool     `json:"ignore_cancel"` // sleep on when the context is cancelled
}

// SleepOutput is what lab_sleep returns.
type SleepOutput struct {
	Slept Duration `json:"slept"`
}

func sleep(ctx context.Context, in SleepInput) (SleepOutput, error) {
	if in.For == 0 {
		in.For = Duration(5 * time.Second)
	}
	cancelled := ctx.Done()
	if in.IgnoreCancel {
		cancelled = nil
	}
	timer := time.NewTimer(time.Duration(in.For))
	defer timer.Stop()
	select {
	case <-timer.C:
		return SleepOutput{Slept: in.For}, nil
	case <-cancelled:
		return SleepOutput{}, context.Cause(ctx)
	}
}

// FlakyInput is what lab_flaky is told.
type FlakyInput struct {
	Failures int `json:"failures"` // how many attempts fail
}

// FlakyOutput is what lab_flaky returns.
type FlakyOutput struct {
	Attempt int `json:"attempt"` // the one that succeeded
}

func flaky(ctx context.Context, in FlakyInput) (FlakyOutput, error) {
	attempt := pyworkflow.RunInfo(ctx).Attempt
	if attempt <= in.Failures {
		return FlakyOutput{}, fmt.Errorf("attempt %d fails, as it was told", attempt)
	}
	return FlakyOutput{Attempt: attempt}, nil
}

func panics(context.Context) (struct{}, error) {
	panic("lab_panic panics, as it is named")
}

// StepsInput is what lab_steps is told. The zero value takes 5 steps of 1 s and writes no file.
type StepsInput struct {
	Steps   int      `json:"steps"`
	StepFor Duration `json:"step_for"`
	Log     string   `json:"log"` // the file; empty: none
}

// StepsOutput is what lab_steps returns.
type StepsOutput struct {
	Steps int `json:"steps"` // taken, recorded ones included
}

func steps(ctx context.Context, in StepsInput) (StepsOutput, error) {
	if in.Steps == 0 {
		in.Steps = 5
	}
	if in.StepFor == 0 {
		in.StepFor = Duration(time.Second)
	}
	for n := 1; n <= in.Steps; n++ {
		name := fmt.Sprintf("step_%d", n)
		_, err := pyworkflow.Step(ctx, name, func(ctx context.Context) (int, error) {
			info := pyworkflow.RunInfo(ctx)
			if err := appendLine(in.Log, fmt.Sprintf("%s %s %d\n", info.RunID, name, info.Attempt)); err != nil {
				return 0, err
			}
			_, err := sleep(ctx, SleepInput{For: in.StepFor})
			return n, err
		})
		if err != nil {
			return StepsOutput{}, err
		}
	}
	return StepsOutput{Steps: in.Steps}, nil
}

// appendLine adds a line to a file in one write and sees it to the disk.
func appendLine(file, line string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
