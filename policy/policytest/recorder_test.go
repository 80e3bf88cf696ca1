package policytest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// recorder is a testing.TB that keeps what a check complains of.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.said, "\n")
}

// broken is a policy that breaks a promise, and what the kit must say of it.
type broken struct {
	name string
	want []string // in the complaints, all of them
	run  func(t testing.TB, free <-chan struct{})
}

// wantComplaints runs the kit on broken policies, each in a bubble of its own.
// What hangs ends when free is closed.
func wantComplaints(t *testing.T, all []broken) {
	t.Helper()
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free := make(chan struct{})
				r := &recorder{TB: t}
				b.run(r, free)
				close(free)
				synctest.Wait()
				said := r.all()
				if said == "" {
					t.Fatalf("the kit has no complaint; it should say %q", b.want)
				}
				for _, want := range b.want {
					if !strings.Contains(said, want) {
						t.Errorf("the kit does not say %q, but:\n%s", want, said)
					}
				}
				if testing.Verbose() {
					t.Log(said)
				}
			})
		})
	}
}
