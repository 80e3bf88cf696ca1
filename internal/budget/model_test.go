package budget_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// After every random operation the counts are consistent, at most max slots are taken, the
// least recently used resource gives way and none is idle while another member claims a
// slot; when all leases have ended every caller has been served. (world and fake check
// this at each step.)
func TestRandomSteps(t *testing.T) {
	for seed := range uint64(300) {
		inWorld(t, 1, func(w *world) {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 1 + r.IntN(6) {
				m := w.join(string(rune('a' + len(w.members))))
				m.most = 1 + r.IntN(6)
			}
			w.resize(1 + r.IntN(8))
			for range 300 {
				w.randomStep(r)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			w.drain()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// randomStep performs a random possible operation of one member.
func (w *world) randomStep(r *rand.Rand) {
	w.t.Helper()
	m := w.members[r.IntN(len(w.members))]
	m.raw = r.IntN(4) == 0
	m.quick = r.IntN(4) == 0
	switch n := r.IntN(100); {
	case n < 25:
		m.call(1 + r.IntN(3))
	case n < 32 && len(m.wait) > 0:
		m.leave()
	case n < 55 && m.leased > 0:
		m.release(1 + r.IntN(m.leased))
	case n < 60 && m.leased > 0:
		m.discard()
	case n < 75 && m.making > 0:
		m.finish(1 + r.IntN(m.making))
	case n < 79 && m.making > 0:
		m.lose()
	case n < 90 && m.dying > 0:
		m.bury(1 + r.IntN(m.dying))
	case n < 93:
		w.resize(1 + r.IntN(8))
	case n < 95:
		m.ready = r.IntN(m.most + 1)
		m.call(0)
	case n < 97:
		m.share.Awake(r.IntN(2) == 0)
	default:
		w.sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
	}
}

// drain ends all leases until no caller waits.
func (w *world) drain() {
	w.t.Helper()
	for range 1000 {
		waiting := 0
		for _, m := range w.members {
			m.raw, m.ready = false, 0
			m.call(0)
			m.finish(m.making)
			m.release(m.leased)
			m.bury(m.dying)
			waiting += len(m.wait)
		}
		if waiting == 0 {
			return
		}
		w.sleep(time.Millisecond)
	}
	w.t.Errorf("all leases have ended, and callers still wait: %s", w)
}

// Under constant demand all members soon have the same number of slots, or as many as
// they want.
func TestRandomLoadsEvenOut(t *testing.T) {
	for seed := range uint64(50) {
		inWorld(t, 12, func(w *world) {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 2 + r.IntN(3) {
				w.join(string(rune('a' + len(w.members))))
			}
			first := w.members[r.IntN(len(w.members))]
			first.lend(12)
			for range 400 {
				for _, m := range w.members {
					m.call(max(0, 20-len(m.wait)))
				}
				switch m := w.members[r.IntN(len(w.members))]; r.IntN(3) {
				case 0:
					m.finish(m.making)
				case 1:
					m.release(m.leased)
				default:
					m.bury(m.dying)
				}
				w.sleep(time.Millisecond)
			}
			for _, m := range w.members {
				if n, fair := m.share.Held(), 12/len(w.members); n < fair-1 || n > fair+1 {
					t.Errorf("seed %d: %s has %d of 12, of which its share is %d", seed, m.name, n, fair)
				}
			}
		})
	}
}

// With fewer slots than members all are served equally often.
func TestRandomTurns(t *testing.T) {
	for _, slots := range []int{1, 2, 3} {
		inWorld(t, slots, func(w *world) {
			r := rand.New(rand.NewPCG(uint64(slots), 2))
			for range 7 {
				w.join(string(rune('a' + len(w.members))))
			}
			for range 7000 {
				for _, m := range w.members {
					m.call(max(0, 3-len(m.wait)))
				}
				m := w.members[r.IntN(len(w.members))]
				m.finish(m.making)
				m.release(m.leased)
				m.bury(m.dying)
				w.sleep(time.Millisecond)
			}
			all := 0
			for _, m := range w.members {
				all += m.served
			}
			for _, m := range w.members {
				if m.served < all/7/2 {
					t.Errorf("%d slots: %s was served %d times of %d", slots, m.name, m.served, all)
				}
			}
		})
	}
}
