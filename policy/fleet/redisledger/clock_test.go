package redisledger

import (
	"testing"
	"time"
)

// A clock of the server that is set forward ends no lease of a holder that renews, however
// far it jumps and whichever holder claims first.
func TestClockSetForward(t *testing.T) {
	for _, jump := range []time.Duration{lease * 7 / 10, lease, 3 * lease, time.Hour, 20 * time.Hour, 300 * 24 * time.Hour} {
		m := startMini(t)
		l, other := m.open(t, Options{Timeout: time.Second}), m.open(t, Options{Timeout: time.Second})
		m.found(t, l)
		a, b := newHolder(t, l, "a", 10), newHolder(t, other, "b", 10)
		a.wants(0, 6, 6)
		b.wants(0, 10, 4)
		m.pass(lease / 3)
		m.jump(jump)
		if g := b.wants(4, 10, 4); g.Holders != 2 || g.Total != 10 {
			t.Fatalf("after a jump of %v b is told of %d holders with %d", jump, g.Holders, g.Total)
		}
		if g := a.wants(6, 6, 6); g.Holders != 2 || g.Total != 10 || g.Learning {
			t.Fatalf("after a jump of %v a is told of %d holders with %d, learning %v", jump, g.Holders, g.Total, g.Learning)
		}
		// Time goes on from there: a holder that dies is forgotten after its lease.
		for range 4 {
			m.pass(lease / 3)
			b.claim(4, 10)
		}
		b.wants(4, 10, 10)
		checkTotals(t, l)
	}
}

// A clock of the server that is set back neither prolongs leases nor stops the quota.
func TestClockSetBack(t *testing.T) {
	for _, jump := range []time.Duration{time.Second, lease, time.Hour, 300 * 24 * time.Hour} {
		m := startMini(t)
		l := m.open(t, Options{Timeout: time.Second})
		m.found(t, l)
		a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
		before := a.wants(0, 6, 6).Fence
		b.wants(0, 10, 4)
		m.jump(-jump)
		if g := b.wants(4, 10, 4); g.Fence <= before {
			t.Errorf("after a jump back of %v the fence is %d, before it was %d", jump, g.Fence, before)
		}
		m.pass(lease * 99 / 100)
		b.wants(4, 10, 4)
		m.pass(lease / 50)
		b.wants(4, 10, 10)
	}
}

// A process whose first claim follows a jump, before all others, cannot know of it: the
// quota learns, and grants nothing twice.
func TestClockSetForwardBeforeJoin(t *testing.T) {
	m := startMini(t)
	l, other := m.open(t, Options{Timeout: time.Second}), m.open(t, Options{Timeout: time.Second})
	m.found(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, other, "b", 10)
	a.wants(0, 10, 10)
	m.jump(time.Hour)
	if g := b.wants(0, 10, 0); !g.Learning {
		t.Fatalf("b is not told that the quota is learning: %+v", g)
	}
	if g := a.wants(10, 10, 10); g.Total != 10 || g.Holders != 2 {
		t.Fatalf("a is told of %d holders with %d", g.Holders, g.Total)
	}
	b.wants(0, 10, 0)
	// If a had died instead, b would get all when the learning is over.
	m.pass(lease)
	m.pass(1)
	b.wants(0, 10, 10)
}

// A claim that reaches the server after its client has given up changes nothing; the client
// learns that from the time that it stated.
func TestLateClaim(t *testing.T) {
	m := startMini(t)
	l := m.open(t, Options{Timeout: time.Second})
	m.found(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.wants(0, 4, 4)
	stalled := m.now().Add(-5 * time.Second)
	m.pass(5 * time.Second)
	b.wants(0, 6, 6)
	reply, err := l.eval(t.Context(), l.key("q", "quota"), "a", 0, 2, 0, 9, 9, 0, 0, 10, lease.Microseconds(), l.latest("q", stalled), false)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := numbers(reply); err != nil || n[0] != replyLate {
		t.Errorf("a claim that was 5 s late was answered %v, %v", reply, err)
	}
	a.next.Seq = 1
	if g := a.wants(4, 4, 4); g.Total != 10 {
		t.Errorf("the late claim was recorded: %+v", g)
	}
}

// Another process that serves the data, after a restart or a fail-over, may lack the last
// writes: the quota learns for a lease and keeps what it knows.
func TestRestartWithOldData(t *testing.T) {
	m := startMini(t)
	l := m.open(t, Options{})
	m.found(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.wants(0, 3, 3)
	b.wants(0, 1, 1)
	old, err := l.client.HGetAll(t.Context(), l.key("q", "quota")).Result()
	if err != nil {
		t.Fatal(err)
	}
	a.wants(3, 9, 9)
	m.Del(l.key("q", "quota"))
	for f, v := range old {
		m.HSet(l.key("q", "quota"), f, v)
	}
	m.restart("run2")
	if g := b.wants(1, 8, 1); !g.Learning || g.Total != 4 {
		t.Fatalf("after the restart b was answered %+v", g)
	}
	if g := a.wants(9, 9, 9); g.Total != 10 {
		t.Fatalf("after the restart a was answered %+v", g)
	}
	m.pass(lease)
	b.wants(1, 10, 10)
	// A run_id that cannot be read says nothing.
	for _, run := range []string{"", "run2", ""} {
		m.restart(run)
		if g := b.claim(10, 10); g.Learning {
			t.Errorf("the run_id %q makes the quota learn", run)
		}
	}
	m.restart("run3")
	if g := b.claim(10, 10); !g.Learning {
		t.Error("the run_id was forgotten")
	}
}
