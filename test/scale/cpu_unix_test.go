//go:build unix

package scale

import (
	"syscall"
	"time"
)

// ownCPU is how long the processors have worked for this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
