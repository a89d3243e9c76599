//go:build !unix

package lab

import "time"

// hostClock is the process's clock: nobody gives it another one here.
func hostClock() time.Time { return time.Now().UTC() }
