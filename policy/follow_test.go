package policy_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// poolWith creates a pool with that Admission, which is closed at the end of the test.
func poolWith(t *testing.T, max int, a resource.Admission) *resource.Pool[int] {
	t.Helper()
	p, err := resource.New(resource.Config[int]{
		Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: max, Admission: a,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// lendAll starts n concurrent callers with a timeout of a second, and returns how many got a
// lease. All leases are released.
func lendAll(p *resource.Pool[int], n int) (lent int) {
	var callers sync.WaitGroup
	leases := make([]resource.Lease[int], n)
	got := make([]bool, n)
	for i := range n {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			var err error
			leases[i], err = p.Acquire(ctx)
			got[i] = err == nil
		})
	}
	callers.Wait()
	for i, l := range leases {
		if got[i] {
			lent++
		}
		l.Release()
	}
	return lent
}

// After a Resize the pool lends as many as its new size, whatever size its policies were
// given.
func TestFollow_Resize(t *testing.T) {
	for name, new := range map[string]func() resource.Admission{
		"both": func() resource.Admission {
			return policy.All(policy.BoundedQueue(4, 4), policy.WithinDeadline(4))
		},
		"queue":    func() resource.Admission { return policy.BoundedQueue(4, 4) },
		"deadline": func() resource.Admission { return policy.WithinDeadline(4) },
		"shares":   func() resource.Admission { return policy.Shares(4, map[string]int{"a": 1}) },
		"within others": func() resource.Admission {
			return policy.Any(policy.Named("mine", policy.Reserve(1, 0, policy.BoundedQueue(4, 0))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := poolWith(t, 4, new())
				usual := 4
				if name == "shares" {
					usual = 3 // one is guaranteed to another class
				}
				for _, max := range []int{4, 16, 2, 9} {
					if err := p.Resize(max); err != nil {
						t.Fatal(err)
					}
					if n, want := lendAll(p, 100), max-4+usual; n != want {
						t.Errorf("of %d %d were lent, want %d", max, n, want)
					}
				}
			})
		})
	}
}

// As many callers may wait after a Resize as before.
func TestFollow_Waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := policy.BoundedQueue(4, 3)
		p := poolWith(t, 4, q)
		for _, max := range []int{1, 10} {
			if err := p.Resize(max); err != nil {
				t.Fatal(err)
			}
			if n := q.Limit(); n != max+3 {
				t.Errorf("with a maximum of %d the limit is %d, want %d", max, n, max+3)
			}
		}
	})
}

// A limit other than the size of the pool does not follow it.
func TestFollow_OwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resized := policy.BoundedQueue(4, 4)
		resized.Resize(20)
		deadline := policy.WithinDeadline(4)
		deadline.Resize(7)
		for name, l := range map[string]interface {
			resource.Admission
			policy.Gauge
		}{
			"limit":                 policy.Limit(4),
			"another size":          policy.BoundedQueue(5, 4),
			"resized by its user":   resized,
			"shares of another one": policy.Shares(5, map[string]int{"a": 1}),
		} {
			before := l.Limit()
			if err := poolWith(t, 4, policy.All(l, deadline)).Resize(16); err != nil {
				t.Fatal(err)
			}
			if after := l.Limit(); after != before {
				t.Errorf("%s: the limit went from %d to %d", name, before, after)
			}
			if s := deadline.State(); s != "0 in flight, 7 served at once" {
				t.Errorf("WithinDeadline, resized by its user, says %q", s)
			}
		}
	})
}

// A policy used in two fields applies a change of the size once.
func TestFollow_Twice(t *testing.T) {
	q := policy.BoundedQueue(4, 4)
	for range 2 {
		q.FollowSize(4, 16)
	}
	if n := q.Limit(); n != 20 {
		t.Errorf("the limit is %d, want 20", n)
	}
	q = policy.BoundedQueue(4, math.MaxInt-4)
	q.FollowSize(4, 16)
	if n := q.Limit(); n != math.MaxInt {
		t.Errorf("the limit is %d, want %d", n, math.MaxInt)
	}
}

// The guarantees hold whatever the total is, and units borrowed from the common part are
// returned.
func TestShares_Resize(t *testing.T) {
	l := policy.Shares(6, map[string]int{"a": 2, "b": 1})
	in := func(class string) resource.Request { return resource.Request{Class: class} }
	var others []resource.Done
	for range 3 {
		others = append(others, admit(t, l, in("")))
	}
	l.Resize(2) // less than the sum of the guarantees
	if n := l.Limit(); n != 3 {
		t.Errorf("the limit is %d, want the sum of the guarantees", n)
	}
	refused(t, l, in(""), "shares", policy.ErrCost, 0)
	for _, done := range []resource.Done{admit(t, l, in("a")), admit(t, l, in("a")), admit(t, l, in("b"))} {
		done(ok)
	}
	for _, done := range others {
		done(ok)
	}
	refused(t, l, in(""), "shares", policy.ErrCost, 0)
	l.Resize(8)
	if got := l.State(); got != "0 of 8 in use; common 0 of 5; a 0 of 2 guaranteed; b 0 of 1 guaranteed" {
		t.Error(got)
	}
	for range 7 {
		admit(t, l, in("a"))
	}
	refused(t, l, in("a"), "shares", policy.ErrFull, 0)
	admit(t, l, in("b"))
}

// After a Resize the estimate is that of the new size, and callers with enough time are not
// refused.
func TestWithinDeadline_Resize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policy.WithinDeadline(2)
		serve := func(at, rounds int) { // leases of a second, without pause
			for range rounds {
				var all []resource.Done
				for range at {
					all = append(all, admit(t, l, resource.Request{}))
				}
				wait := admit(t, l, resource.Request{}) // saturates the limiter
				time.Sleep(time.Second)
				for _, done := range all {
					done(ok)
				}
				wait(resource.Outcome{})
			}
		}
		serve(2, 20)
		waits := func(n int) time.Duration {
			var all []resource.Done
			for range n {
				all = append(all, admit(t, l, resource.Request{}))
			}
			d := l.EstimatedWait()
			for _, done := range slices.Backward(all) {
				done(resource.Outcome{})
			}
			return d
		}
		before := waits(2 + 8) // two completions per second
		l.Resize(8)
		after := waits(8 + 8) // eight per second
		if before < 3*time.Second || before > 5*time.Second || after < before/5 || after > before/3 {
			t.Errorf("8 callers behind 2 wait for %v, and behind 8 for %v", before, after)
		}
		if d := waits(7); d != 0 {
			t.Errorf("with one free the wait is %v", d)
		}
	})
}

// Resize is concurrent with callers.
func TestFollow_Stress(t *testing.T) {
	l := policy.All(policy.BoundedQueue(4, 100), policy.WithinDeadline(4), policy.Shares(4, map[string]int{"a": 2}))
	p := poolWith(t, 4, l)
	stop := make(chan struct{})
	var resizer, callers sync.WaitGroup
	resizer.Go(func() {
		for n := 1; ; n = n%20 + 1 {
			select {
			case <-stop:
				return
			default:
			}
			if err := p.Resize(n); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 8 {
		callers.Go(func() {
			for range 500 {
				lease, err := p.AcquireWith(context.Background(), resource.Request{Class: []string{"a", ""}[i%2]})
				if err != nil && !errors.Is(err, resource.ErrRejected) {
					t.Error(err)
				}
				lease.Release()
			}
		})
	}
	callers.Wait()
	close(stop)
	resizer.Wait()
	if err := p.Resize(10); err != nil {
		t.Fatal(err)
	}
	if n := lendAll(p, 20); n != 8 { // two are guaranteed to class a
		t.Errorf("of 10 %d were lent, want 8", n)
	}
}

// sharer is an Admission that shares quotas with other processes.
type sharer []string

func (s sharer) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, nil }

func (s sharer) SharedQuotas() (all []resource.SharedQuota) {
	for _, name := range s {
		all = append(all, resource.SharedQuota{Name: name})
	}
	return all
}

// Limit and InFlight make it a [policy.Gauged], for Reserve.
func (s sharer) Limit() int    { return 8 }
func (s sharer) InFlight() int { return 0 }

// Combinators report the quotas of their members, in order.
func TestCombinators_SharedQuotas(t *testing.T) {
	plain := policy.Limit(1)
	p := policy.All(
		plain,
		policy.Named("n", sharer{"a", "b"}),
		policy.Any(plain, sharer{"c"}, policy.Reserve(1, 1, sharer{"d"})),
		policy.All(sharer{"e"}),
	)
	r, ok := p.(resource.QuotaReporter)
	if !ok {
		t.Fatal("All reports no quotas")
	}
	var got []string
	for _, q := range r.SharedQuotas() {
		got = append(got, q.Name)
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("the quotas are %q, want %q", got, want)
	}
}
