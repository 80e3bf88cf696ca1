//go:build !unix

package suite

import (
	"errors"
	"math"
	"time"
)

// cpuNow fails the row that needs it.
func cpuNow() time.Duration {
	check(errors.ErrUnsupported)
	return 0
}

var peeks func(n int) // not supported

// descriptors is not known.
func descriptors() int { return math.MaxInt32 }
