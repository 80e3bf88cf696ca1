package main

import (
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A caller that never ends its lease keeps its worker until the first Close has timed out:
// then the lease is reclaimed, and the process of the worker ends.
func TestCloseReclaimsWhatLeaked(t *testing.T) {
	pool, destroyed := newPool(t, 2)
	wantAnswer(t, pool, "1 2", "3")
	leaked, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := leaked.Value()
	// Reclaim does nothing in the first second of a lease, so the first Close takes two.
	if err := closePool(pool, 2*time.Second); err != nil {
		t.Errorf("%+v", err)
	}
	e := <-destroyed
	if e.w != w || !errors.Is(e.cause, resource.ErrReclaimed) {
		t.Errorf("pid %d ended: %v, want pid %d reclaimed", e.w.cmd.Process.Pid, e.cause, w.cmd.Process.Pid)
	}
	wantExited(t, w)
	leaked.Release() // does nothing any more
}
