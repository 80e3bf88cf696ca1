package budget_test

import (
	"testing"
	"testing/synctest"
)

// wantRecalls checks how often the members were asked for leased resources since the last call.
func wantRecalls(t *testing.T, what string, ms []*fake, want ...int) {
	t.Helper()
	for i, m := range ms {
		if m.recalls != want[i] {
			t.Errorf("%s: %s was asked %d times for a leased resource, want %d", what, m.name, m.recalls, want[i])
		}
		m.recalls = 0
	}
}

// Of members with nothing idle the one that has most is asked for a leased resource, and as many
// are asked as slots are missing, each once.
func TestRecall(t *testing.T) {
	inWorld(t, 6, func(w *world) {
		a, b, c := w.joinRecallable("a"), w.joinRecallable("b"), w.joinRecallable("c")
		all := []*fake{a, b, c}
		b.lend(2)
		a.lend(4)
		c.call(1)
		wantRecalls(t, "one is missing", all, 1, 0, 0)
		c.call(1)
		wantRecalls(t, "two are missing", all, 1, 1, 0)
		c.call(3)
		wantRecalls(t, "five are missing", all, 1, 1, 0)
		a.discard()
		c.leave()
		c.leave()
		c.leave()
		wantRecalls(t, "four to one are missing, and one is dying", all, 3, 2, 0)
		c.leave()
		wantRecalls(t, "one is dying, and none is missing", all, 0, 0, 0)
	})
}

// A member that has something is served by recalls only from those that have two more.
func TestRecallEvensOut(t *testing.T) {
	for _, tc := range []struct{ rich, poor, asked int }{{1, 0, 1}, {2, 1, 0}, {3, 1, 1}, {4, 2, 1}, {4, 3, 0}} {
		inWorld(t, tc.rich+tc.poor, func(w *world) {
			rich, poor := w.joinRecallable("rich"), w.joinRecallable("poor")
			rich.lend(tc.rich)
			poor.lend(tc.poor)
			poor.call(1)
			if rich.recalls != tc.asked || poor.recalls != 0 {
				t.Errorf("%d and %d: asked %d and %d times, want %d and 0", tc.rich, tc.poor, rich.recalls, poor.recalls, tc.asked)
			}
		})
	}
}

// Nothing is recalled for a patient claimant, or from a member that cannot recall; where the total
// is exceeded, from every member, without a claimant too.
func TestRecallForWhom(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		other, a, b := w.join("other"), w.joinRecallable("a"), w.joinRecallable("b")
		all := []*fake{a, b}
		other.lend(3)
		a.lend(1)
		b.ready = 1
		b.call(0)
		wantRecalls(t, "a patient claimant", all, 0, 0)
		b.call(1)
		wantRecalls(t, "a claimant with a caller", all, 1, 0)
		b.ready = 0
		b.leave()
		b.share.Claim(0, false)
		w.settle()
		wantRecalls(t, "no claimant", all, 0, 0)
		w.resize(3)
		wantRecalls(t, "one too many", all, 1, 0)
		b.call(1)
		wantRecalls(t, "one too many, and a claimant", all, 1, 0)
		b.leave()
		wantRecalls(t, "one too many again", all, 1, 0)
		b.ready = 1
		b.call(0)
		wantRecalls(t, "one too many, and a patient claimant", all, 1, 0)
	})
}

// Where more than a pass asks for are missing, no more are asked than are missing.
func TestRecallMany(t *testing.T) {
	const members, missing = 200, 150
	inWorld(t, members, func(w *world) {
		for range members {
			w.joinRecallable("m").lend(1)
		}
		c := w.joinRecallable("c")
		for range missing {
			c.wait = append(c.wait, w.now())
		}
		c.grow()
		w.b.Settle()
		synctest.Wait() // another goroutine continues
		asked := 0
		for _, m := range w.members {
			asked += m.recalls
		}
		if asked > missing || asked < missing/2 {
			t.Errorf("%d members were asked for leased resources, want up to %d", asked, missing)
		}
	})
}

// I12: of many members a bounded number is looked at, so the one that has most is asked only now and
// then.
func TestI12_RecallLooksAtFew(t *testing.T) {
	inWorld(t, 600, func(w *world) {
		rich := w.joinRecallable("rich")
		rich.lend(101)
		for range 499 {
			w.joinRecallable("poor").lend(1)
		}
		// All are asked first whether they have something idle, which another goroutine does.
		c := w.joinRecallable("c")
		c.wait = append(c.wait, w.now())
		c.grow()
		w.b.Settle()
		synctest.Wait()
		c.leave()
		const rounds = 60
		asked := 0
		rich.recalls = 0
		for range rounds {
			for _, m := range w.members {
				if m != rich {
					m.recalls = 0
				}
			}
			before := rich.recalls
			c.call(1)
			asked += rich.recalls - before
			for _, m := range w.members {
				if m != rich {
					asked += m.recalls
				}
			}
			c.leave()
		}
		if asked != rounds || rich.recalls > rounds/2 {
			t.Errorf("%d members were asked, the richest %d times; want %d, and few", asked, rich.recalls, rounds)
		}
	})
}

// A claim that is made again with the same numbers asks no member again.
func TestRecallOnceForTheSameClaim(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		rich, poor := w.joinRecallable("rich"), w.joinRecallable("poor")
		rich.lend(2)
		poor.call(1)
		wantRecalls(t, "one is missing", []*fake{rich, poor}, 1, 0)
		for range 3 {
			poor.share.Claim(1, false)
			w.settle()
		}
		wantRecalls(t, "the same is missing", []*fake{rich, poor}, 0, 0)
	})
}
