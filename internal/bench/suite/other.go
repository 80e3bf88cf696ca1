//go:build !unix

package suite

import (
	"errors"
	"time"
)

// cpuNow fails the row that needs it.
func cpuNow() time.Duration {
	check(errors.ErrUnsupported)
	return 0
}

var peeks func(n int) // not supported
