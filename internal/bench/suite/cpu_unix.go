//go:build unix

package suite

import (
	"fmt"
	"syscall"
	"time"
)

// cpuNow returns the CPU time that this process has taken so far.
func cpuNow() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
