//go:build !unix || solaris || aix

package outside

import (
	"context"
	"errors"
)

func lock(context.Context) (unlock func(), err error) {
	return nil, errors.New("programs are not installed on this system")
}
