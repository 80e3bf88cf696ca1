package outside

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// witness is a TB that records how the test ended.
type witness struct {
	testing.TB
	skipped, failed string
}

func (w *witness) Helper() {}

func (w *witness) Skipf(format string, args ...any) {
	w.skipped = format
	runtime.Goexit()
}

func (w *witness) Fatalf(format string, args ...any) {
	w.failed = format
	runtime.Goexit()
}

// program calls Program as a test does.
func program(t *testing.T, names []string, packages ...string) (w *witness, path string) {
	w = &witness{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Program(w, names, packages...)
	}()
	<-done
	return w, path
}

func TestProgram(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // use a separate lock file
	t.Setenv("RESPOOL_E2E", "")
	w, path := program(t, []string{"go"}, "golang-go")
	if path != "" || !strings.Contains(w.skipped, "RESPOOL_E2E=1") {
		t.Errorf("without RESPOOL_E2E: %q, skipped with %q", path, w.skipped)
	}
	t.Setenv("RESPOOL_E2E", "1")
	w, path = program(t, []string{"no-such-program", "go"}, "golang-go")
	if path == "" || w.skipped+w.failed != "" {
		t.Errorf("with it: %q, skipped %q, failed %q", path, w.skipped, w.failed)
	}
	t.Setenv("PATH", t.TempDir()) // hide apt-get
	w, path = program(t, []string{"go"}, "golang-go")
	if path != "" || w.skipped != "" || !strings.Contains(w.failed, "is missing") {
		t.Errorf("without programs: %q, skipped %q, failed %q", path, w.skipped, w.failed)
	}
}

// The lock is exclusive, and a waiter can be cancelled.
func TestLock(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	unlock, err := lock(t.Context())
	if err != nil {
		if runtime.GOOS == "windows" {
			return
		}
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second lock: %v", err)
	}
	unlock()
	unlock, err = lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
