package policytest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// recorder is a testing.TB that records errors.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	msgs []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.msgs = append(r.msgs, fmt.Sprintf(format, args...))
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.msgs, "\n")
}

// broken is a policy that violates its contract, and the failure to be reported.
type broken struct {
	name string
	want []string // parts of the report
	run  func(t testing.TB, free <-chan struct{})
}

// wantFailures tests broken policies, each in a bubble of its own. Calls that block do so
// until free is closed.
func wantFailures(t *testing.T, all []broken) {
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
					t.Fatalf("no failure was reported; want %q", b.want)
				}
				for _, want := range b.want {
					if !strings.Contains(said, want) {
						t.Errorf("want %q in the report:\n%s", want, said)
					}
				}
				if testing.Verbose() {
					t.Log(said)
				}
			})
		})
	}
}
