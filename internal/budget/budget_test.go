package budget_test

import (
	"slices"
	"testing"
	"testing/synctest"
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
			t.Error("nothing is idle, one is claimed, and slots are not scarce")
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
		a.lend(1) // uses it again, unknown to the Budget
		a.release(1)
		w.sleep(time.Second)
		d.lend(1)
		if len(w.gave) != 0 {
			t.Fatal("a resource gave way although a slot was free")
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

// Resources idle since the same instant give way once each, whichever member has them.
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

	// One that has nothing idle is asked once, whichever is asked first.
	for _, first := range []int{0, 1} {
		inWorld(t, 2, func(w *world) {
			ms := []*fake{w.join("a"), w.join("b")}
			ms[0].lend(1)
			ms[1].lend(1)
			ms[first].release(1)
			w.join("c").call(1)
			ms[first].want(0, 0, 0, 1, 0)
			if w.b.Scarce() {
				t.Error("slots are scarce, and a resource was idle")
			}
		})
	}
}

// The idle resources of a member do not give way for its own claim, but may be between
// two others in the order.
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
		// Use them again in another order, so that every bound is stale.
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
		d.call(2) // has none, and arrived later
		c.discard()
		c.bury(1)
		d.want(1, 0, 0, 0, 1)
		w.sleep(time.Second)
		c.discard()
		c.bury(1)
		b.want(1, 1, 0, 0, 1) // as poor as d, and has claimed longer than d with the rest of its claim
	})
}

// Of two members that want more, one that has two more gives up the next that is returned.
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
			// All are returned at once, before any has ended.
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
			// The numbers remain.
			rich.release(rich.leased)
			poor.release(poor.leased)
			if n := len(w.gave); n != tc.gives {
				t.Errorf("%d and %d: %d more gave way without effect", tc.rich, tc.poor, n-tc.gives)
			}
		})
	}
}

// With fewer slots than members, callers of all members are served in order of arrival.
func TestOlderCallersOfOneThatHasNothingComeFirst(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(1)
		a.call(1)
		w.sleep(time.Second)
		b.call(1)
		w.sleep(time.Second)
		a.call(1)
		a.release(1) // to a's own caller, which arrived first
		a.want(0, 1, 0, 0, 1)
		a.raw = true
		a.release(1) // to a's own caller: the resource has not lived long enough
		a.want(0, 1, 0, 0, 0)
		a.call(1)
		a.raw = false
		a.release(1)
		a.want(0, 0, 0, 1, 1)
		a.bury(1)
		b.want(1, 0, 0, 0, 0)
	})
}

// By the third rule, at most one resource per member without any gives way.
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
			t.Error("Fits and Levels disagree")
		}
		a.bury(3)
		b.bury(1)
		if !w.b.Fits() || w.b.Over() {
			t.Error("the excess has ended, and Fits is false")
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

// No resource gives way for a claim that has ended.
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
			t.Errorf("%d gave way without a claim", len(w.gave))
		}
		b.call(1) // resources that became idle meanwhile are found
		b.want(0, 0, 0, 0, 1)
		a.want(0, 0, 1, 1, 0)
		b.leave()
		a.bury(1)
		a.want(0, 0, 1, 0, 0)
		if used := w.used(); used != 1 {
			t.Errorf("%d slots are taken, want 1", used)
		}
	})
}

// Scarcity ends after a claim was served by a release.
func TestScarcityEnds(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		a.lend(3)
		b.call(1)
		if !w.b.Scarce() {
			t.Fatal("nothing is idle, and slots are not scarce")
		}
		a.release(1)
		a.bury(1)
		b.finish(1)
		for range 10 {
			b.release(1)
			b.call(1)
		}
		if w.b.Scarce() {
			t.Error("scarcity does not end")
		}
		b.release(1)
		c.call(1)
		c.want(0, 0, 0, 0, 1)
		b.want(0, 0, 0, 1, 0)

		// The same after the total was lowered, once the excess has ended.
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
			t.Error("scarcity does not end after Resize")
		}
	})
}

// A grant that is no longer wanted goes to the next claimant.
func TestGrantsAreNotLost(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b, c := w.join("a"), w.join("b"), w.join("c")
		a.lend(1)
		b.call(1)
		w.sleep(time.Second)
		c.call(1)
		b.wait = nil // without telling the Budget
		a.discard()
		a.bury(1)
		b.want(0, 0, 0, 0, 0)
		c.want(1, 0, 0, 0, 0)
	})
}

// A patient claimant gets idle resources of others, but none for which callers wait, and
// its own do not give way.
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
		a.want(0, 0, 0, 2, 7) // to callers, which come first
		a.bury(2)
		b.want(2, 2, 0, 0, 3)
		b.finish(2)
		b.release(3)
		b.want(0, 4, 0, 0, 0) // it gave nothing to a patient claimant
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
			t.Errorf("two patient claimants make each other give way: %s", w)
		}
	})
}

// Two patient claimants share evenly.
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

// A resource whose end hangs is not waited for.
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
		w.sleep(1400 * time.Millisecond)
		w.check()
		a.want(0, 0, 2, 0, 0) // it may still end
		w.sleep(200 * time.Millisecond)
		w.check()
		a.want(0, 0, 1, 1, 0)
		hung.bury(1)
		b.want(1, 0, 0, 0, 0)
		a.bury(1) // its slot is free
		b.call(1)
		b.want(2, 0, 0, 0, 0)
	})
}

// A member that has only resources whose end hangs has nothing, and is served before
// members that have something.
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

// The same for one that begins to end after the clock has stopped.
func TestHungEndsOneAfterTheOther(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		hung, a, b := w.join("hung"), w.join("a"), w.join("b")
		hung.lend(2)
		a.lend(2)
		a.release(2)
		hung.discard()
		w.sleep(5 * time.Second)
		hung.discard()
		b.call(1)
		w.sleep(1400 * time.Millisecond)
		w.check()
		a.want(0, 0, 2, 0, 0) // the second may still end
		w.sleep(200 * time.Millisecond)
		w.check()
		a.want(0, 0, 1, 1, 0)
		a.bury(1)
		b.want(1, 0, 0, 0, 0)
		hung.bury(2)
	})
}

// Of claimants that have the same number the one that has claimed longest is served first: not
// the one that was served longest ago, and although it has claimed more since.
func TestLongestClaimIsServedFirst(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		x, a, b := w.join("x"), w.join("a"), w.join("b")
		x.lend(2)
		for _, m := range []*fake{b, a} {
			m.call(1)
			w.sleep(time.Second)
			x.discard()
			x.bury(1) // m is served
			m.finish(1)
			w.sleep(time.Second)
			m.discard()
			m.bury(1)
			x.lend(1)
		}
		a.call(1)
		w.sleep(time.Second)
		b.call(1)
		w.sleep(time.Second)
		a.call(1)
		x.discard()
		x.bury(1)
		a.want(1, 0, 0, 0, 1)
		b.want(0, 0, 0, 0, 1)
	})
}

// A claim for callers counts from the first caller, however long the member has claimed
// resources to keep idle.
func TestPatienceIsNoClaimOfCallers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		x, a, b := w.join("x"), w.join("a"), w.join("b")
		x.lend(1)
		a.ready = 1
		a.call(0)
		w.sleep(time.Second)
		b.call(1)
		w.sleep(time.Second)
		a.call(1)
		a.want(0, 0, 0, 0, 1)
		x.discard()
		x.bury(1)
		b.want(1, 0, 0, 0, 0)
	})
}

// A member whose callers wait without a claim, since it has as many as it may have, gives way to
// the only claimant.
func TestOnlyClaimant(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.most = 2
		a.lend(2)
		a.call(1)
		a.want(0, 2, 0, 0, 0)
		b.call(1)
		a.release(1)
		a.want(0, 1, 0, 1, 0)
		if _, _, gave := w.b.Levels(); gave != 1 {
			t.Errorf("%d gave way, want 1", gave)
		}
	})
}

// Of three claimants NoRicher compares with the best of the other two.
func TestNoRicherOfThree(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		inWorld(t, 3, func(w *world) {
			s, rich, poor := w.join("s"), w.join("rich"), w.join("poor")
			rich.lend(3)
			s.call(1)
			w.sleep(time.Second)
			for _, i := range order {
				[]*fake{rich, poor}[i].call(1)
				w.sleep(time.Second)
			}
			if s.share.NoRicher() {
				t.Error("the next claimant has nothing, and is to get a slot")
			}
			poor.leave()
			if !s.share.NoRicher() {
				t.Error("s has nothing, and is richer than one that has three")
			}
		})
	}
}

// A member that keeps its idle resources since it is patient is asked once, though it has lost all
// and has one again before it is looked at.
func TestExemptAndBack(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		p := w.join("p")
		p.ready = 5
		p.call(0)
		p.finish(3)
		p.want(0, 0, 3, 0, 2)
		p.share.Claim(0, false)
		for range 3 {
			p.share.Free(false)
		}
		p.ready, p.idle = 0, nil
		p.leased = p.share.Take(1, 0, false)
		w.settle()
		p.want(0, 1, 0, 0, 0)
		p.release(1)
		q := w.join("q")
		q.call(3)
		p.want(0, 0, 0, 1, 0)
	})
}

// Of many members that have nothing idle each is asked a bounded number of times, also while
// claims come and go; then the next release gives way.
func TestManyMembersWithNothingIdle(t *testing.T) {
	const members = 200
	for _, changes := range []int{0, 1, 20} {
		inWorld(t, members, func(w *world) {
			for range members {
				w.join("m").lend(1)
			}
			c := w.join("c")
			settle := func() { // as pass does when it has run for long, another goroutine continues
				w.b.Settle()
				synctest.Wait()
			}
			w.asked = func() {
				if changes > 0 && w.asks%40 == 0 {
					changes--
					c.share.Claim(1+changes, false)
				}
			}
			c.wait = append(c.wait, w.now())
			c.grow()
			settle()
			if w.asks > 3*members {
				t.Errorf("%d members were asked %d times", members, w.asks)
			}
			if !w.b.Scarce() {
				t.Error("nothing is idle, and slots are not scarce")
			}
			w.asked = nil
			m := w.members[0]
			m.leased--
			m.put(true)
			settle()
			m.want(0, 0, 0, 1, 0)
		})
	}
}

// Others that die meanwhile do not put off that a resource whose end hangs is no longer waited for.
func TestHungEndsBesideOthers(t *testing.T) {
	inWorld(t, 9, func(w *world) {
		hung, x := w.join("hung"), w.join("x")
		hung.lend(1)
		x.lend(6)
		hung.discard()
		for range 6 {
			w.sleep(300 * time.Millisecond)
			x.discard()
			x.bury(1)
		}
		if n := w.b.Coming(); n != 0 {
			t.Errorf("%d slots are about to be free, and all that is dying has hung for long", n)
		}
		hung.bury(1)
	})
}

// Nothing that callers wait for gives way to a patient claimant.
func TestNothingIsOwedToThePatient(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, p := w.join("a"), w.join("p")
		a.most = 4
		a.lend(4)
		p.ready = 1
		p.call(0)
		p.want(0, 0, 0, 0, 1)
		w.sleep(time.Second)
		a.call(2)
		a.release(2)
		a.want(0, 4, 0, 0, 0)
	})
}

// Offers of an earlier scarcity do not end the next one.
func TestScarcityBeginsAnew(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(2)
		b.call(1)
		b.leave()
		if !w.b.Scarce() {
			t.Fatal("slots are not scarce")
		}
		a.release(1) // the only member that holds something offers it
		if w.b.Scarce() {
			t.Fatal("scarcity does not end")
		}
		a.call(1)
		w.resize(1)
		a.discard()
		a.bury(1)
		if !w.b.Scarce() {
			t.Error("scarcity ends without an offer")
		}
	})
}

// Nothing gives way without a claimant, though slots are still scarce.
func TestNothingIsOwedWithoutClaims(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.most = 2
		a.lend(2)
		b.call(1)
		b.leave()
		a.call(1)
		if !w.b.Scarce() {
			t.Fatal("slots are not scarce")
		}
		a.release(1)
		a.want(0, 2, 0, 0, 0)
	})
}

// A resource that began to die less than a second ago counts as had, and then no longer.
func TestDyingCountsAsHad(t *testing.T) {
	for ago, had := range map[time.Duration]bool{600 * time.Millisecond: true, 1100 * time.Millisecond: false} {
		inWorld(t, 3, func(w *world) {
			d, c, x := w.join("d"), w.join("c"), w.join("x")
			w.sleep(10 * time.Second)
			d.lend(1)
			c.lend(1)
			x.lend(1)
			d.discard()
			w.sleep(ago)
			c.call(1)
			w.sleep(time.Millisecond)
			d.call(1)
			x.discard()
			x.bury(1)
			if had { // the two have equally many, and c has claimed longer
				c.want(1, 1, 0, 0, 0)
				d.want(0, 0, 0, 1, 1)
			} else {
				c.want(0, 1, 0, 0, 1)
				d.want(1, 0, 0, 1, 0)
			}
		})
	}
}

// NoRicher holds up to one more than the next claimant will have.
func TestNoRicher(t *testing.T) {
	for held, want := range map[int]bool{1: true, 2: true, 3: false, 4: false} {
		inWorld(t, held+1, func(w *world) {
			s, next := w.join("s"), w.join("next")
			s.lend(held)
			next.lend(1)
			if s.share.NoRicher() {
				t.Error("there is no claimant, and NoRicher holds")
			}
			next.call(1)
			if got := s.share.NoRicher(); got != want {
				t.Errorf("with %d, beside a claimant that has 1: %t, want %t", held, got, want)
			}
		})
	}
}

// A claimant that has nothing is no reason to give way if a resource that is dying is for it.
func TestNoRicherWhileOneDies(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		s, x, next := w.join("s"), w.join("x"), w.join("next")
		s.lend(2)
		x.lend(1)
		next.call(1)
		if s.share.NoRicher() {
			t.Error("a claimant has nothing, and NoRicher holds")
		}
		x.discard()
		if !s.share.NoRicher() {
			t.Error("the dying resource is for the claimant, and NoRicher does not hold")
		}
	})
}

// A member whose patient claim was served is an ordinary one: what it has idle gives way to the
// next claimant, even a patient one.
func TestPatienceEndsWithTheGrant(t *testing.T) {
	for _, asks := range []bool{false, true} {
		inWorld(t, 1, func(w *world) {
			x, p, q := w.join("x"), w.join("p"), w.join("q")
			x.lend(1)
			p.ready = 1
			p.call(0)
			x.discard()
			x.bury(1)
			p.finish(1)
			p.want(0, 0, 1, 0, 0)
			p.ready, q.ready = 0, 1
			if asks {
				p.share.Take(0, 0, true) // for nothing
			}
			q.call(0)
			p.want(0, 0, 0, 1, 0)
		})
	}
}

// Levels counts the resources that gave way to another member, and not those that ended since the
// number of slots was lowered.
func TestLevelsCountsWhatGave(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(4)
		a.release(3)
		b.call(1)
		a.want(0, 1, 2, 1, 0)
		b.leave()
		a.bury(1)
		w.resize(1)
		a.want(0, 1, 0, 2, 0)
		a.bury(2)
		if max, used, gave := w.b.Levels(); max != 1 || used != 1 || gave != 1 {
			t.Errorf("%d of %d are taken, %d gave way; want 1 of 1, and 1", used, max, gave)
		}
	})
}

// Nothing gives way for a claim that a dying resource will serve.
func TestNothingIsOwedWhileOneDies(t *testing.T) {
	inWorld(t, 10, func(w *world) {
		rich, x, poor := w.join("rich"), w.join("x"), w.join("poor")
		rich.most = 9
		rich.lend(9)
		x.lend(1)
		poor.call(1)
		x.discard()
		rich.call(1)
		rich.release(1)
		rich.want(0, 9, 0, 0, 0)
		x.bury(1)
		poor.want(1, 0, 0, 0, 0)
	})
}

// Offers before the last claim do not end scarcity, whether that claim ended or was served.
func TestScarcityLastsAfterClaim(t *testing.T) {
	for _, served := range []bool{false, true} {
		inWorld(t, 3, func(w *world) {
			a, b, x, c := w.join("a"), w.join("b"), w.join("x"), w.join("c")
			a.lend(1)
			b.lend(1)
			x.lend(1)
			c.call(1)
			c.leave()
			a.release(1)
			a.call(1)
			x.discard()
			if served {
				x.bury(1)
			}
			c.share.Claim(1, false)
			if !served {
				c.share.Claim(0, false)
				x.bury(1)
			}
			w.settle() // c has no caller, and frees what it is granted
			b.release(1)
			if !w.b.Scarce() {
				t.Errorf("served %t: one offer of two members ends scarcity", served)
			}
			b.call(1)
			b.release(1)
			if w.b.Scarce() {
				t.Errorf("served %t: two offers do not end scarcity", served)
			}
		})
	}
}

// Callers that arrived at one instant do not overtake each other: a member keeps its resource for its own.
func TestNothingIsOwedToEquallyOldCallers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.join("a"), w.join("b")
		a.lend(1)
		w.sleep(time.Second)
		a.call(1)
		b.call(1)
		a.release(1)
		a.want(0, 1, 0, 0, 0)
		if len(w.gave) != 0 {
			t.Errorf("%v gave way", names(w.gave))
		}
		a.discard()
		a.bury(1)
		b.want(1, 0, 0, 0, 0)
	})
}

// To report that nothing begins to die changes nothing: a resource that has hung for long is still not had.
func TestDyingOfNothing(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		hung, a := w.join("hung"), w.join("a")
		hung.lend(1)
		a.lend(2)
		hung.discard()
		for range 5 {
			w.sleep(400 * time.Millisecond)
			hung.share.Dying(0)
			w.check()
		}
		hung.call(1)
		w.sleep(time.Millisecond)
		a.call(5)
		a.release(1)
		w.check()
		a.want(0, 1, 0, 1, 5)
		a.bury(1)
		hung.want(1, 0, 0, 1, 0)
		hung.bury(1)
	})
}
