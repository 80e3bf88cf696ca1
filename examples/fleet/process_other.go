//go:build !unix

package main

import (
	"errors"
	"os"
)

// suspend and wake need signals that only Unix has.
func suspend(*os.Process) error { return errors.ErrUnsupported }
func wake(*os.Process) error    { return errors.ErrUnsupported }
