package resource_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

var errLeaving = errors.New("remote is leaving")

// leaving are the items whose remotes have said that they leave.
type leaving struct{ n [8]atomic.Bool }

func (l *leaving) evictIf(it *item, _ resource.Info) error {
	if l.n[it.n].Load() {
		return errLeaving
	}
	return nil
}

// withEvictIf is an edit for a pool with EvictIf and no Eviction.
func withEvictIf(l *leaving, sweep time.Duration) func(h *harness) {
	return func(h *harness) { h.cfg.EvictIf, h.cfg.SweepInterval = l.evictIf, sweep }
}

// An idle one that EvictIf ends is not lent.
func TestEvictIf_AtAcquire(t *testing.T) {
	var l leaving
	script(t, 2, withEvictIf(&l, time.Hour), func(h *harness) {
		its := h.stock(2)
		l.n[its[1].n].Store(true)
		h.acquire().wantItem(its[0])
		h.wantDestroyed(its[1], errLeaving)
		if n := h.p.Stats().Evicted; n != 1 {
			t.Errorf("%d evicted, want 1", n)
		}
	})
}

// A leased one goes when its lease ends, also on the fast path and if callers wait.
func TestEvictIf_AtRelease(t *testing.T) {
	var l leaving
	script(t, 1, withEvictIf(&l, time.Hour), func(h *harness) {
		h.lend().Release()
		lease := h.lend()
		it := lease.Value()
		l.n[it.n].Store(true)
		h.wantAlive(it)
		lease.Release()
		h.wantDestroyed(it, errLeaving)

		lease = h.lend()
		it = lease.Value()
		c := h.acquire()
		l.n[it.n].Store(true)
		lease.Release()
		h.wantDestroyed(it, errLeaving)
		c.wantItem(h.wantMakeWithin(time.Second).finish())
	})
}

// The sweep ends what nobody asks for, and has a successor made for one that is
// in use.
func TestEvictIf_InSweep(t *testing.T) {
	var l leaving
	script(t, 3, withEvictIf(&l, 10*time.Second), func(h *harness) {
		its := h.stock(2)
		lease := h.acquire().wantLease()
		used := lease.Value()
		idle := its[0]
		if idle == used {
			idle = its[1]
		}
		l.n[idle.n].Store(true)
		time.Sleep(11 * time.Second)
		h.wantDestroyed(idle, errLeaving)
		h.wantNoMake()
		l.n[used.n].Store(true)
		next := h.wantMakeWithin(11 * time.Second).finish()
		h.wantAlive(used)
		lease.Release()
		h.wantDestroyed(used, errLeaving)
		h.acquire().wantItem(next)
	})
}

// Eviction is asked first, and what it ends EvictIf does not see.
func TestEvictIf_AfterEviction(t *testing.T) {
	seen := map[int]int{}
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = olderThan(time.Minute)
		h.cfg.EvictIf = func(it *item, i resource.Info) error {
			seen[it.n]++
			if i.Leases >= 2 {
				return errLeaving
			}
			return nil
		}
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		lease := h.lend()
		first := lease.Value()
		lease.Release()
		h.wantDestroyed(first, errLeaving)
		if seen[1] != 4 { // at two acquires and two releases
			t.Errorf("EvictIf was asked %d times, want 4", seen[1])
		}
		lease = h.lend()
		second := lease.Value()
		asked := seen[2]
		time.Sleep(2 * time.Minute)
		lease.Release()
		h.wantDestroyed(second, errOld)
		if seen[2] != asked {
			t.Errorf("EvictIf was asked about one that Eviction had ended")
		}
	})
}

// MinRemaining asks EvictIf too.
func TestEvictIf_MinRemaining(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.SweepInterval = time.Hour
		h.cfg.EvictIf = func(_ *item, i resource.Info) error { return olderThan(time.Minute)(i) }
	}
	script(t, 1, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(50 * time.Second)
		h.acquireWith(resource.Request{MinRemaining: 5 * time.Second}).wantItem(old).Release()
		l := h.acquireWith(resource.Request{MinRemaining: 20 * time.Second}).wantLeaseWithin(time.Second)
		h.wantDestroyed(old, resource.ErrNearEnd)
		l.Release()
	})
}

// I9: a panic in EvictIf keeps the resource, at acquire and at release.
func TestI9_EvictIfPanics(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.EvictIf = func(*item, resource.Info) error { panic(errFault) }
	}
	script(t, 1, edit, func(h *harness) {
		lease := h.lend()
		it := lease.Value()
		lease.Release()
		for range 3 {
			h.acquire().wantItem(it).Release()
		}
		if n := h.p.Stats().Panics; n < 6 {
			t.Errorf("%d panics, want one at each acquire and each release", n)
		}
	})
}

// Inspect shows that there is one.
func TestEvictIf_Inspect(t *testing.T) {
	var l leaving
	script(t, 1, withEvictIf(&l, time.Hour), func(h *harness) {
		all := h.p.Inspect(0).Policies
		if len(all) != 1 || all[0].Moment != "EvictIf" {
			t.Errorf("the policies are %+v", all)
		}
	})
}

// The policies of the examples keep what package policytest asks of a user's.
func TestExamplePolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction { return afterLeases(2) })
	})
	synctest.Test(t, func(t *testing.T) {
		policytest.Admission(t, func() resource.Admission {
			return quota{slots: map[string]chan struct{}{"batch": make(chan struct{}, 3)}}
		}, resource.Request{Class: "batch"}, resource.Request{Class: "other"})
	})
}
