//go:build unix && !linux

package faults

import "os/exec"

// dieWithParent is the kernel's on Linux alone: elsewhere a driver that is killed leaves its processes behind.
func dieWithParent(*exec.Cmd) {}
