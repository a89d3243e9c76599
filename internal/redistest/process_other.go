//go:build !linux

package redistest

import "os/exec"

// dieWithParent does nothing: only Linux has a parent-death signal. Cleanup and Main end the servers.
func dieWithParent(*exec.Cmd) {}
