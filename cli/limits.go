package cli

import (
	"errors"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// sizeValue is a flag that takes a number of bytes, with a unit or without: 65536, 64KiB, 1MiB, 2MB.
type sizeValue struct{ bytes *int }

func (v sizeValue) Type() string { return "size" }

func (v sizeValue) String() string {
	if v.bytes == nil || *v.bytes == 0 {
		return ""
	}
	for _, u := range []struct {
		name string
		size int
	}{{"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if *v.bytes%u.size == 0 {
			return strconv.Itoa(*v.bytes/u.size) + u.name
		}
	}
	return strconv.Itoa(*v.bytes)
}

func (v sizeValue) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	switch {
	case err != nil || n > math.MaxInt:
		return errors.New("is no size; write bytes such as 65536, or with a unit, 64KiB or 1MiB")
	case n < 1 || n > schedules.MaxSize:
		return errors.New("must be 1 byte to 64MiB")
	}
	*v.bytes = int(n)
	return nil
}

// stepsValue is a flag that takes a number of steps.
type stepsValue struct{ n *int }

func (v stepsValue) Type() string { return "number" }

func (v stepsValue) String() string {
	if v.n == nil || *v.n == 0 {
		return ""
	}
	return strconv.Itoa(*v.n)
}

func (v stepsValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > schedules.MaxSteps {
		return errors.New("must be a whole number from 1 to " + strconv.Itoa(schedules.MaxSteps))
	}
	*v.n = n
	return nil
}

// limitFlags are the limits that an operator may change; the others are for the program's code (App.SetLimits).
type limitFlags struct{ schedules.Limits }

func (f *limitFlags) register(fs *pflag.FlagSet) {
	f.Limits = schedules.DefaultLimits()
	fs.Var(sizeValue{&f.Input}, "max-input", "largest input of a run or a schedule, as JSON")
	fs.Var(sizeValue{&f.Result}, "max-result", "largest result of a run or a step, as JSON")
	fs.Var(stepsValue{&f.Steps}, "max-steps", "most steps a run may record")
	config.OptIn(fs, config.Plain, "max-input", "max-result", "max-steps")
}

// given are the limits that somebody set; the others are zero.
func (f *limitFlags) given(s *config.Settings) schedules.Limits {
	var l schedules.Limits
	if s.Given("max-input") {
		l.Input = f.Input
	}
	if s.Given("max-result") {
		l.Result, l.StepResult = f.Result, f.Result
	}
	if s.Given("max-steps") {
		l.Steps = f.Steps
	}
	return l
}
