//go:build !linux

package proc

import (
	"errors"
	"os/exec"
	"time"
)

var errLinuxOnly = errors.New("known on Linux only")

func apart(*exec.Cmd) {}

// CPU is known on Linux only.
func (p *Process) CPU() (time.Duration, error) { return 0, errLinuxOnly }

// PeakRSS is known on Linux only.
func (p *Process) PeakRSS() (int64, error) { return 0, errLinuxOnly }
