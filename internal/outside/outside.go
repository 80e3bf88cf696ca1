// Package outside finds external programs that tests need: a browser, Node, nginx. With
// RESPOOL_E2E=1, which .ci/run sets, it installs missing ones, as root on Debian.
// Without it the test is skipped with a message that says how to run it.
package outside

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// installWait bounds one installation, including the wait for other processes.
const installWait = 5 * time.Minute

// Wanted skips the test unless RESPOOL_E2E=1. what names what the test needs.
func Wanted(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RESPOOL_E2E") != "1" {
		t.Skipf("needs %s: run it with RESPOOL_E2E=1, which installs missing programs as root on Debian", what)
	}
}

// Program returns the path of the first of names that exists. If none does it installs the
// Debian packages and looks again. It skips the test like [Wanted], and fails it if
// the program is still missing.
func Program(t testing.TB, names []string, packages ...string) string {
	t.Helper()
	return Path(t, names[0], func() string { return find(names) }, packages...)
}

// Path is [Program] for a program that look finds; look returns "" if it is missing. what
// is its name in errors.
func Path(t testing.TB, what string, look func() string, packages ...string) string {
	t.Helper()
	Wanted(t, what)
	if path := look(); path != "" {
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), installWait)
	defer cancel()
	// Tests of other packages run concurrently and may install the same program.
	unlock, err := lock(ctx)
	if err != nil {
		t.Fatalf("%s is missing, and the lock for installing it was not acquired: %v", what, err)
	}
	defer unlock()
	if path := look(); path != "" {
		return path
	}
	if err := install(ctx, packages); err != nil {
		t.Fatalf("%s is missing: %v", what, err)
	}
	path := look()
	if path == "" {
		t.Fatalf("%s is missing although %s was installed", what, strings.Join(packages, " "))
	}
	return path
}

func find(names []string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// install runs apt-get. The package lists may be outdated and a mirror may fail once, so it
// updates first and tries twice.
func install(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("install %s; the test installs it only as root on Debian", strings.Join(packages, " "))
	}
	var err error
	for range 2 {
		if err = apt(ctx, "update"); err == nil {
			err = apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=240"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // lets apt-get clean up
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(out))
	}
	return nil
}

// tail returns the end of the output of a program, where the reason is.
func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }
