// Package outside finds the programs that tests want and Go does not bring: a
// browser, node, nginx. Where RESPOOL_E2E=1 is set, as .ci/run does, it installs those
// that are missing, as root on Debian; else the test is skipped and says how to
// run it.
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

// installWait bounds one installation, the wait for another's included.
const installWait = 5 * time.Minute

// Wanted skips the test unless RESPOOL_E2E=1. what is what the test wants.
func Wanted(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RESPOOL_E2E") != "1" {
		t.Skipf("wants %s: run it with RESPOOL_E2E=1, which installs what is missing if you are root on Debian", what)
	}
}

// Program returns the path of the first of names that there is. If there is
// none it installs the Debian packages and looks again. It skips the test as
// [Wanted] does, and fails it if there is still none.
func Program(t testing.TB, names []string, packages ...string) string {
	t.Helper()
	return Path(t, names[0], func() string { return find(names) }, packages...)
}

// Path is [Program] for what is found by look, which returns "" where there is
// nothing. what is the name of it in errors.
func Path(t testing.TB, what string, look func() string, packages ...string) string {
	t.Helper()
	Wanted(t, what)
	if path := look(); path != "" {
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), installWait)
	defer cancel()
	// Tests of other packages run beside this one and may want the same.
	unlock, err := lock(ctx)
	if err != nil {
		t.Fatalf("%s is missing, and no turn to install it came: %v", what, err)
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
		t.Fatalf("%s is missing, though %s was installed", what, strings.Join(packages, " "))
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

// install asks apt-get. A machine may have old lists of packages, and a mirror
// a bad moment; so it is asked twice.
func install(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("install %s; the test does so only as root on Debian", strings.Join(packages, " "))
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
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it tidies up
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(out))
	}
	return nil
}

// tail is the end of what a program said, where the reason is.
func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }
