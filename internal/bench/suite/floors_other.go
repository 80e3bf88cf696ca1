//go:build !unix

package suite

import "errors"

func openPeek() (peek func(n int), end func() error, err error) {
	return nil, nil, errors.ErrUnsupported
}
