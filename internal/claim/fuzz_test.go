package claim_test

import (
	"testing"

	"github.com/respool/respool/internal/claim"
)

// model is a Word said plainly.
type model struct {
	leased, open, parked, invalidated bool
	gen                               uint64
	tick                              int64
}

func (m *model) pools() bool { return !m.leased && !m.open }

// lend begins a lease.
func (m *model) lend(now int64) uint64 {
	m.gen = (m.gen + 1) % gens
	m.open, m.leased, m.tick = false, true, now
	return m.gen
}

// The operations of a script.
const (
	take = iota
	giveBack
	end
	claimIt
	lend
	park
	unpark
	invalidate
	operations
)

// FuzzWord runs a script of two bytes each, an operation and its argument, on a
// Word and on the model.
func FuzzWord(f *testing.F) {
	f.Add(uint64(0), int64(0), []byte{park, 1, take, 2, giveBack, 8, take, 3, end, 0, lend, 1, giveBack, 0, claimIt, 0, unpark, 0, lend, 9, end, 0})
	f.Add(uint64(gens-2), int64(ticks-3), []byte{park, 9, take, 8, giveBack, 0, take, 8, giveBack, 0, take, 8, end, 1, end, 2, end, 0})
	f.Add(uint64(gens-1), int64(1<<50), []byte{lend, 0, invalidate, 0, giveBack, 0, end, 0, park, 0, lend, 0, end, 0})
	f.Add(uint64(7), int64(ticks), []byte{park, 0, invalidate, 0, take, 0, claimIt, 0, unpark, 0, take, 0, unpark, 0, claimIt, 0})
	f.Add(uint64(7), int64(5), []byte{lend, 0, lend, 0, park, 0, unpark, 0, end, 3, park, 0, park, 0, unpark, 0, lend, 0})
	f.Fuzz(func(t *testing.T, gen uint64, now int64, script []byte) {
		gen, now = gen%gens, now&(1<<62-1)
		w, m := claim.At(gen), &model{gen: gen}
		if len(script) > 1<<12 {
			script = script[:1<<12] // so that all of it lasts less than half of the ticks
		}
		w.Park(now)
		w.Claim()
		m.parked, m.tick = true, now
		for i := 0; i+1 < len(script); i += 2 {
			op, arg := script[i], script[i+1]
			now += int64(arg)
			// The lease that is meant: the last, or one near it.
			which := (m.gen + []uint64{0, gens - 1, 1, gens - 2, 2}[arg%5]) % gens
			step(t, w, m, op%operations, now, which)
			compare(t, w, m, now, which)
		}
	})
}

// step does one operation on both.
func step(t *testing.T, w *claim.Word, m *model, op byte, now int64, which uint64) {
	t.Helper()
	var got, want bool
	live := m.leased && which == m.gen
	switch op {
	case take:
		want = m.open && m.parked && !m.invalidated
		gen, idle, ok := w.Take(at(now))
		if got = ok; want {
			if waited := now - m.tick; idle != waited || gen != m.lend(now) {
				t.Fatalf("Take: lease %d, idle %d; want %d, %d", gen, idle, m.gen, waited)
			}
		}
	case giveBack:
		want, got = live && m.parked && !m.invalidated, w.Return(which, now)
		if want {
			m.leased, m.open, m.tick = false, true, now
		}
	case end:
		want, got = live, w.End(which)
		m.leased = m.leased && !live
	case claimIt:
		want, got = m.open, w.Claim()
		m.open = false
	case lend:
		want = m.pools()
		got = panics(func() {
			if gen := w.Lend(now); gen != m.lend(now) {
				t.Errorf("Lend: lease %d, want %d", gen, m.gen)
			}
		}) == ""
	case park:
		if m.pools() && m.invalidated {
			return // is destroyed, not parked
		}
		want, got = m.pools(), panics(func() { w.Park(now) }) == ""
		if want {
			m.open, m.parked, m.tick = true, true, now
		}
	case unpark:
		want, got = m.pools(), panics(w.Unpark) == ""
		m.parked = m.parked && !want
	case invalidate:
		w.Invalidate()
		m.invalidated = true
	}
	if got != want {
		t.Fatalf("operation %d on %+v, lease %d: %v, want %v", op, *m, which, got, want)
	}
}

func compare(t *testing.T, w *claim.Word, m *model, now int64, which uint64) {
	t.Helper()
	s := w.Load()
	if s.Open != m.open || s.Leased != m.leased || s.Leases != int64(m.gen) ||
		s.Ticks(now) != now-m.tick || w.Invalidated() != m.invalidated ||
		w.Holds(m.gen) != m.leased || w.Holds(which) != (m.leased && which == m.gen) {
		t.Fatalf("word %+v (invalidated %v, %d ticks at %d) is not %+v", s, w.Invalidated(), s.Ticks(now), now, *m)
	}
	if n, ok := w.Lasts(m.gen, at(now)); ok != m.leased || ok && n != now-m.tick {
		t.Fatalf("Lasts: %d ticks, %v; the word is %+v at %d", n, ok, *m, now)
	}
	if _, ok := w.Lasts(which, at(now)); ok != w.Holds(which) {
		t.Fatalf("Lasts of lease %d: %v", which, ok)
	}
}
