//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
)

func detach(*exec.Cmd) {}

// suspend and wake need signals that only Unix has.
func suspend(*os.Process) error { return errors.ErrUnsupported }
func wake(*os.Process) error    { return errors.ErrUnsupported }
