package policytest_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// Policies that violate their contract only in a pool.
func TestInPool_Broken(t *testing.T) {
	wantFailures(t, []broken{
		{"an Eviction blocks", []string{"a caller of a pool with it has not returned after 2m0s", "does not close", "4 leased", "the state of the pool was: max 4"},
			func(t testing.TB, free <-chan struct{}) {
				policytest.Eviction(t, func() resource.Eviction {
					return evictFunc(func(resource.Info) error {
						if inPool() {
							<-free
						}
						return nil
					})
				})
			}},
		{"an Admission is late", []string{"returned 2", "after the end of its context"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Admission(t, func() resource.Admission {
				return admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
					if inPool() {
						time.Sleep(3 * time.Second)
					}
					return nil, nil
				})
			})
		}},
		{"a Quota leaks a permit", []string{"as Quota of a pool", "a pool used it and was closed; now at most 0"}, func(t testing.TB, _ <-chan struct{}) {
			made := 0
			policytest.Admission(t, func() resource.Admission {
				made++
				quota := made == 14
				return &limiter{max: 4, lose: func(resource.Outcome) bool { return quota && inPool() }}
			})
		}},
		{"a Health takes for ever", []string{"was neither served nor refused for 1m0s"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Health(t, func() resource.Health[int] {
				return &probe{check: func(ctx context.Context, _ int) error {
					if inPool() {
						<-ctx.Done()
					}
					return ctx.Err()
				}}
			}, values())
		}},
		{"a Health fails at times", []string{"a pool destroyed a good value: dead"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Health(t, func() resource.Health[int] {
				var n atomic.Int32
				return &probe{check: func(context.Context, int) error {
					if inPool() && n.Add(1) == 5 {
						return errDead
					}
					return nil
				}}
			}, values())
		}},
	})
}

// The seed is in the message, and repeats the run.
func TestSeed(t *testing.T) {
	t.Setenv("RESPOOL_SEED", "7")
	failingRun := func(t *testing.T) string {
		r := &recorder{TB: t}
		synctest.Test(t, func(t *testing.T) {
			policytest.Queue(r, func() resource.Queue {
				return &queue{push: func(q *queue, w *resource.Waiter) {
					if w.Request.Priority != 2 {
						q.all = append(q.all, w)
					}
				}}
			})
		})
		return r.all()
	}
	first := failingRun(t)
	if want := "Queue, histories (RESPOOL_SEED=7): Pop returned nil"; !strings.HasPrefix(first, want) {
		t.Errorf("reported %q, want it to begin with %q", first, want)
	}
	if again := failingRun(t); again != first {
		t.Errorf("the same seed reported first\n%s\nthen\n%s", first, again)
	}
	t.Setenv("RESPOOL_SEED", "many")
	r := &recorder{TB: t}
	synctest.Test(t, func(*testing.T) {
		policytest.Queue(r, func() resource.Queue { return &queue{} })
	})
	if want := `RESPOOL_SEED: strconv.ParseUint: parsing "many"`; !strings.Contains(r.all(), want) {
		t.Errorf("reported %q, want %q in it", r.all(), want)
	}
}
