package budget_test

import (
	"slices"
	"testing"
	"time"
)

func TestFreePlacesAreTakenAtOnce(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		a := w.join("a")
		a.call(2)
		a.want(2, 0, 0, 0, 0)
		a.finish(2)
		a.call(2)
		a.want(1, 2, 0, 0, 1)
		if w.b.Scarce() != true {
			t.Error("nothing is idle, one is claimed, and places are not scarce")
		}
		a.lose()
		a.want(1, 2, 0, 0, 1) // granted anew
	})
}

func TestLeastRecentlyUsedGivesWay(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, b, c, d := w.join("a"), w.join("b"), w.join("c"), w.join("d")
		for _, m := range []*fake{a, b, c} {
			m.lend(1)
			w.sleep(time.Second)
			m.release(1)
			w.sleep(time.Second)
		}
		a.lend(1) // is used since, which the Budget was not told
		a.release(1)
		w.sleep(time.Second)
		d.lend(1)
		if len(w.gave) != 0 {
			t.Fatal("one gave way though a place was free")
		}
		d.call(3)
		if want := []*fake{b, c, a}; !slices.Equal(w.gave, want) {
			t.Errorf("%v gave way, want b, c and a", names(w.gave))
		}
		b.bury(1)
		d.want(1, 1, 0, 0, 2)
	})
}

func names(ms []*fake) (ns []string) {
	for _, m := range ms {
		ns = append(ns, m.name)
	}
	return ns
}

// What idles since the same instant gives way once each, whoever has it.
func TestEqualInstants(t *testing.T) {
	inWorld(t, 6, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		a.lend(3)
		b.lend(3)
		w.sleep(time.Second)
		a.release(3)
		b.release(3)
		c.call(6)
		a.want(0, 0, 0, 3, 0)
		b.want(0, 0, 0, 3, 0)
	})
}

// A member's own idle things do not count for what it claims, but they may lie
// between two others.
func TestStaleBoundsAreSortedAnew(t *testing.T) {
	inWorld(t, 40, func(w *world) {
		taker := w.join("taker")
		var ms []*fake
		for i := range 40 {
			m := w.join(string(rune('A' + i)))
			m.lend(1)
			m.release(1)
			ms = append(ms, m)
		}
		// Used again in another order, so that every bound is stale.
		order := []int{}
		for i := range 40 {
			order = append(order, i*27%40)
		}
		for _, i := range order {
			w.sleep(time.Second)
			ms[i].lend(1)
			ms[i].release(1)
		}
		var want []*fake
		for _, i := range order {
			taker.call(1)
			want = append(want, ms[i])
			if !slices.Equal(w.gave, want) {
				t.Fatalf("%v gave way, want %v", names(w.gave), names(want))
			}
			ms[i].bury(1)
			taker.finish(1)
			w.sleep(time.Second)
		}
	})
}

func TestPoorestIsServedFirst(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		c.lend(2)
		b.lend(1)
		a.lend(1)
		b.call(2) // has 1
		w.sleep(time.Second)
		d := w.join("d")
		d.call(2) // has none, and came later
		c.discard()
		c.bury(1)
		d.want(1, 0, 0, 0, 1)
		w.sleep(time.Second)
		c.discard()
		c.bury(1)
		b.want(1, 1, 0, 0, 1) // as poor as d, and claims for longer than d does beyond its first
	})
}

// Of two that want more, one with two more gives one up as it comes back.
func TestBalance(t *testing.T) {
	for _, tc := range []struct{ rich, poor, gives int }{
		{2, 1, 0}, {3, 1, 1}, {4, 1, 1}, {5, 1, 2}, {9, 1, 4}, {10, 0, 5}, {3, 3, 0},
	} {
		inWorld(t, tc.rich+tc.poor, func(w *world) {
			rich, poor := w.join("rich"), w.join("poor")
			rich.lend(tc.rich)
			poor.lend(tc.poor)
			rich.call(20)
			w.sleep(time.Second)
			poor.call(20)
			// All come back at once, while nothing has ended yet.
			rich.raw = true
			rich.release(tc.rich)
			rich.want(0, tc.rich-tc.gives, 0, tc.gives, 20-tc.rich+tc.gives)
			if n := len(w.gave); n != tc.gives {
				t.Errorf("%d and %d: %d gave way, want %d", tc.rich, tc.poor, n, tc.gives)
			}
			rich.bury(rich.dying)
			poor.finish(poor.making)
			if got := poor.leased; got != tc.poor+tc.gives {
				t.Errorf("%d and %d: the poor one got %d", tc.rich, tc.poor, got-tc.poor)
			}
			// It stays so.
			rich.release(rich.leased)
			poor.release(poor.leased)
			if n := len(w.gave); n != tc.gives {
				t.Errorf("%d and %d: %d more gave way for nothing", tc.rich, tc.poor, n-tc.gives)
			}
		})
	}
}

// With fewer places than members callers are served by age, whoever's they are.
func TestOlderCallersOfOneThatHasNothingComeFirst(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(1)
		a.call(1)
		w.sleep(time.Second)
		b.call(1)
		w.sleep(time.Second)
		a.call(1)
		a.release(1) // to a's own, who came first
		a.want(0, 1, 0, 0, 1)
		a.raw = true
		a.release(1) // to a's own: it has not lived long enough
		a.want(0, 1, 0, 0, 0)
		a.call(1)
		a.raw = false
		a.release(1)
		a.want(0, 0, 0, 1, 1)
		a.bury(1)
		b.want(1, 0, 0, 0, 0)
	})
}

// By the third rule, too, no more gives way than there are members without.
func TestThirdRuleGivesOneEach(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		var a [4]*fake
		for i := range a {
			a[i] = w.join(string(rune('a' + i)))
			a[i].lend(1)
		}
		b, c := w.join("b"), w.join("c")
		b.call(4)
		c.call(4)
		w.sleep(time.Second)
		for _, m := range a {
			m.call(1)
		}
		for _, m := range a {
			m.release(1)
		}
		if n := len(w.gave); n != 2 {
			t.Errorf("%d gave way for two that have nothing", n)
		}
	})
}

func TestResize(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(1)
		w.sleep(time.Second)
		b.lend(1)
		a.call(3)
		w.resize(4)
		a.want(2, 1, 0, 0, 1)
		a.finish(2)
		w.resize(9)
		a.finish(1)
		a.want(0, 4, 0, 0, 0)
		a.release(2)
		w.sleep(time.Second)
		b.release(1)
		w.resize(4)
		a.want(0, 2, 1, 1, 0) // 5 were there, and the oldest idle one goes
		w.resize(1)
		a.want(0, 2, 0, 2, 0)
		b.want(0, 0, 0, 1, 0)
		a.release(2)
		a.want(0, 0, 1, 3, 0) // one may stay
		if !w.b.Fits() == (w.used() <= 1) {
			t.Error("Fits says something else than Levels")
		}
		a.bury(3)
		b.bury(1)
		if !w.b.Fits() || w.b.Over() {
			t.Error("all is ended that was too much, and it does not fit")
		}
	})
}

func (w *world) resize(max int) {
	w.t.Helper()
	w.shrunk = w.shrunk || max < w.max
	w.max = max
	w.b.Resize(max)
	w.settle()
}

func (w *world) used() int {
	_, used, _ := w.b.Levels()
	return used
}

// What is claimed by nobody any more is given up by nobody.
func TestClaimsDropped(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(2)
		a.call(1)
		w.sleep(time.Second)
		b.call(2)
		b.leave()
		b.leave()
		b.want(0, 0, 0, 0, 0)
		a.release(2)
		a.want(0, 1, 1, 0, 0)
		a.release(1)
		if len(w.gave) != 0 {
			t.Errorf("%d gave way for nobody", len(w.gave))
		}
		b.call(1) // what is idle by now is found
		b.want(0, 0, 0, 0, 1)
		a.want(0, 0, 1, 1, 0)
		b.leave()
		a.bury(1)
		a.want(0, 0, 1, 0, 0)
		if used := w.used(); used != 1 {
			t.Errorf("%d places are taken, want 1", used)
		}
	})
}

// A claim that a release has served leaves nothing behind.
func TestScarcityEnds(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		a.lend(3)
		b.call(1)
		if !w.b.Scarce() {
			t.Fatal("nothing is idle, and places are not scarce")
		}
		a.release(1)
		a.bury(1)
		b.finish(1)
		for range 10 {
			b.release(1)
			b.call(1)
		}
		if w.b.Scarce() {
			t.Error("places are scarce for ever")
		}
		b.release(1)
		c.call(1)
		c.want(0, 0, 0, 0, 1)
		b.want(0, 0, 0, 1, 0)

		// Nor does a smaller total, once it fits.
		b.bury(1)
		c.finish(1)
		w.resize(1)
		a.release(2)
		c.release(1)
		a.bury(a.dying)
		c.bury(c.dying)
		for range 10 {
			for _, m := range []*fake{a, c} {
				if len(m.idle) > 0 {
					m.call(1)
					m.release(1)
				}
			}
		}
		if w.b.Scarce() {
			t.Error("places are scarce for ever after Resize")
		}
	})
}

// A grant that is not wanted any more goes to the next.
func TestGrantsAreNotLost(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		a.lend(1)
		b.call(1)
		w.sleep(time.Second)
		c.call(1)
		b.wait = nil // and b has not said so yet
		a.discard()
		a.bury(1)
		b.want(0, 0, 0, 0, 0)
		c.want(1, 0, 0, 0, 0)
	})
}

// One that only wants to be ready takes idle things of others, nothing that
// callers wait for, and never ends its own.
func TestPatient(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		b.lend(3)
		b.release(1)
		a.ready = 9
		a.call(0)
		a.want(1, 0, 0, 0, 8)
		b.want(0, 2, 0, 1, 0)
		a.finish(1)
		b.bury(1)
		a.finish(1)
		a.want(0, 0, 2, 0, 7)
		b.call(5)
		b.want(0, 2, 0, 0, 5)
		a.want(0, 0, 0, 2, 7) // to callers, who come first
		a.bury(2)
		b.want(2, 2, 0, 0, 3)
		b.finish(2)
		b.release(3)
		b.want(0, 4, 0, 0, 0) // it gave nothing to who only wants to be ready
		c.ready = 9
		c.call(0)
		b.release(3)
		b.bury(3)
		a.finish(a.making)
		c.finish(c.making)
		gave := len(w.gave)
		for range 5 {
			w.sleep(time.Second)
			w.b.Resize(4)
			w.settle()
		}
		if len(w.gave) != gave || a.dying+c.dying > 0 {
			t.Errorf("two who want to be ready end each other's: %s", w)
		}
	})
}

// Two who want to be ready share evenly.
func TestPatientBalance(t *testing.T) {
	inWorld(t, 6, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.ready, b.ready = 9, 9
		a.call(0)
		a.finish(6)
		w.sleep(time.Second)
		b.call(0)
		for range 20 {
			a.bury(a.dying)
			b.bury(b.dying)
			a.finish(a.making)
			b.finish(b.making)
		}
		a.want(0, 0, 3, 0, 6)
		b.want(0, 0, 3, 0, 6)
		if len(w.gave) != 3 {
			t.Errorf("%d gave way, want 3", len(w.gave))
		}
	})
}

// What hangs in its end is not waited for.
func TestHungEnds(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		hung, a, b := w.join("hung"), w.join("a"), w.join("b")
		hung.lend(1)
		hung.release(1)
		w.sleep(time.Second)
		a.lend(2)
		a.release(2)
		b.call(1)
		hung.want(0, 0, 0, 1, 0)
		w.sleep(900 * time.Millisecond)
		w.check()
		a.want(0, 0, 2, 0, 0) // it may end yet
		w.sleep(700 * time.Millisecond)
		w.check()
		a.want(0, 0, 1, 1, 0)
		hung.bury(1)
		b.want(1, 0, 0, 0, 0)
		a.bury(1) // and that place is free
		b.call(1)
		b.want(2, 0, 0, 0, 0)
	})
}

// Who has only what hangs in its end has nothing, and is served before those who
// have something.
func TestHungEndsAreNotHad(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		hung, a := w.join("hung"), w.join("a")
		hung.lend(1)
		a.lend(2)
		hung.discard()
		w.sleep(2 * time.Second)
		hung.call(1)
		w.sleep(time.Millisecond)
		a.call(5)
		a.release(1)
		w.check()
		a.want(0, 1, 0, 1, 5)
		a.bury(1)
		w.check()
		hung.want(1, 0, 0, 1, 0)
		hung.bury(1)
		w.check()
		a.want(1, 1, 0, 0, 4)
	})
}
