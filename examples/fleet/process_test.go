package main

import (
	"strings"
	"testing"
	"time"
)

// fleetOf returns a process with these orders, ended when the test has.
func fleetOf(t *testing.T, o order) *process {
	t.Helper()
	p, err := launch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end(time.Minute) })
	return p
}

// A process that exits by itself is reported once, with what it said.
func TestProcess_Crashed(t *testing.T) {
	p := fleetOf(t, order{Name: "a", Kind: "no such engine"})
	<-p.exited
	err := p.crashed()
	if err == nil || !strings.Contains(err.Error(), "process a ended by itself: exit status 1: there is no engine") {
		t.Errorf("%v, want its exit status and its words", err)
	}
	if err := p.crashed(); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := p.end(time.Minute); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// A process that does not end in time is killed, and end says so.
func TestProcess_EndKills(t *testing.T) {
	p := fleetOf(t, order{Name: "a", URL: "ws://127.0.0.1:1", Kind: kindRedis, Engine: "127.0.0.1:1", Lease: time.Second, Lost: lostClosed})
	if err := p.stop(); err != nil {
		t.Skip(err)
	}
	p.set(running) // as if it had hung by itself: end does not continue it
	if err := p.end(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("%v, want that it was killed", err)
	}
}

// A killed process is no failure.
func TestProcess_Killed(t *testing.T) {
	p := fleetOf(t, order{Name: "a", URL: "ws://127.0.0.1:1", Kind: kindRedis, Engine: "127.0.0.1:1", Lease: time.Second, Lost: lostClosed})
	p.kill()
	if err := p.end(time.Minute); err != nil {
		t.Error(err)
	}
	if err := p.crashed(); err != nil {
		t.Error(err)
	}
}

// Only the last bytes are kept of what a process says.
func TestTail(t *testing.T) {
	var s tail
	for range 10 {
		if _, err := s.Write([]byte(strings.Repeat("x", tailSize/2) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = s.Write([]byte(" end \n"))
	if got := s.String(); len(got) > tailSize || !strings.HasSuffix(got, "end") {
		t.Errorf("%d bytes, the last are %q", len(got), got[max(0, len(got)-10):])
	}
}
