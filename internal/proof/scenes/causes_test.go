package scenes_test

import (
	"errors"
	"syscall"

	"github.com/respool/respool/wspool"
)

// The causes with which connections end.

func closed(code int) func(error) bool {
	return func(err error) bool {
		var ce *wspool.CloseError
		return errors.As(err, &ce) && ce.Code == code
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

// wasReset accepts all errors that the kernel reports for a reset, by read or write.
func wasReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func wasResetOrEnded(err error) bool { return wasReset(err) || closed(1006)(err) }
