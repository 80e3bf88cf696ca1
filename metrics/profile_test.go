package metrics_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// leaky forgets what it has acquired.
//
//go:noinline
func leaky(t *testing.T, p *resource.Pool[int]) resource.Lease[int] { return acquireDeep(t, p, 3) }

// careful gives it back.
//
//go:noinline
func careful(t *testing.T, p *resource.Pool[int]) { acquireDeep(t, p, 3).Release() }

func acquireDeep(t *testing.T, p *resource.Pool[int], depth int) resource.Lease[int] {
	if depth > 0 {
		return acquireDeep(t, p, depth-1)
	}
	l, err := p.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// top is what go tool pprof says of a profile, with the whole names of functions
// that it shows in the order of what they and those they call hold.
func top(t *testing.T, write func(io.Writer) error, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "leases.pprof")
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"tool", "pprof", "-top", "-cum"}, flags...), file)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// A leak is found by the name of its function, in the profile of runtime/pprof
// and in the one that is written; and no frame of the pool stands before those of
// its user.
func TestProfile_FindsTheLeak(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	p, err := resource.New(resource.Config[int]{
		Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 10, Trace: m.Trace(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	var leaked []resource.Lease[int]
	for range 7 {
		for range 1000 {
			careful(t, p)
		}
		leaked = append(leaked, leaky(t, p))
	}
	// Of these the first lease of a resource, which careful had, was sampled,
	// and so perhaps not the one that leaked. Now four fifths of the pool are
	// used up, and each is.
	for range 3 {
		leaked = append(leaked, leaky(t, p))
	}
	standard := func(w io.Writer) error { return pprof.Lookup(metrics.ProfileName).WriteTo(w, 0) }
	own := func(w io.Writer) error { return metrics.WriteLeases(w) }
	for what, write := range map[string]func(io.Writer) error{"runtime/pprof": standard, "WriteLeases": own} {
		out := top(t, write)
		if !strings.Contains(out, "metrics_test.leaky") || strings.Contains(out, "careful") {
			t.Errorf("%s: the profile is\n%s", what, out)
		}
		if strings.Contains(out, "respool/resource.") || strings.Contains(out, "respool/metrics.") {
			t.Errorf("%s: the pool's own frames are in it\n%s", what, out)
		}
	}
	if n := len(m.Snapshot(100).Held); n < 3 {
		t.Errorf("%d are held, of which three were surely sampled", n)
	}
	out := top(t, own, "-sample_index=held", "-tagfocus=pool="+regexp.QuoteMeta(t.Name()))
	if !strings.Contains(out, "metrics_test.leaky") || !strings.Contains(out, "Type: held") {
		t.Errorf("by time and name of the pool it is\n%s", out)
	}
	for _, l := range leaked {
		l.Release()
	}
	if out := top(t, own); strings.Contains(out, "leaky") {
		t.Errorf("with all given back it is\n%s", out)
	}
	if n := pprof.Lookup(metrics.ProfileName).Count(); n != 0 {
		t.Errorf("with all given back there are %d in the profile", n)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What goes into the profile of runtime/pprof is bounded, and comes out again;
// what WriteLeases writes is all.
func TestProfile_Budget(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	profile := pprof.Lookup(metrics.ProfileName)
	for id := range uint64(3000) {
		trace.Leased(context.Background(), resource.LeaseEvent{ID: id + 1, Lease: 1})
	}
	if n := profile.Count(); n < 1000 || n >= 3000 {
		t.Errorf("%d are in the profile", n)
	}
	out := top(t, func(w io.Writer) error { return metrics.WriteLeases(w, m) })
	if !strings.Contains(out, " of 3000 total") && !strings.Contains(out, "100% of 3000") {
		t.Errorf("all are not in\n%s", out)
	}
	m.Close()
	if n := profile.Count(); n != 0 {
		t.Errorf("after Close %d are in the profile", n)
	}
}

type brokenWriter struct{ after int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, fmt.Errorf("disk is full: %w", io.ErrShortWrite)
	}
	return len(p), nil
}

func TestWriteLeases_Fails(t *testing.T) {
	for _, after := range []int{0, 5, 20} {
		if err := metrics.WriteLeases(&brokenWriter{after}); err == nil {
			t.Errorf("with room for %d bytes it does not fail", after)
		}
	}
}
