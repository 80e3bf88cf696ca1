//go:build !unix

package suite

import (
	"errors"
	"time"
)

// cpuNow is not to be had here; the row that needs it says so.
func cpuNow() (time.Duration, error) { return 0, errors.ErrUnsupported }
