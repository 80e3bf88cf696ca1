package claim_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/internal/claim"
)

// row is words that two goroutines go along at once. Who is behind fails, which
// is faster, so that they meet.
type row struct {
	words [1 << 14]claim.Word
	won   [2][1 << 14]bool
}

// along has op at every word, when both goroutines are ready.
func (r *row) along(who int, ready *atomic.Int64, op func(w *claim.Word) bool) {
	for ready.Add(1); ready.Load() < 2; {
		runtime.Gosched()
	}
	for i := range r.words {
		r.won[who][i] = op(&r.words[i])
	}
}

// TestAtOnce has two operations race for one word. Of those that exclude each
// other one succeeds; of the others both do, and Invalidate is not lost.
func TestAtOnce(t *testing.T) {
	open := func(w *claim.Word) { w.Park(0) }
	leased := func(w *claim.Word) { w.Park(0); w.Take(at(0)) }
	takes := func(w *claim.Word) bool { _, _, ok := w.Take(at(1)); return ok }
	returns := func(w *claim.Word) bool { return w.Return(1, 1) }
	ends := func(w *claim.Word) bool { return w.End(1) }
	claims := func(w *claim.Word) bool { return w.Claim() }
	invalidates := func(w *claim.Word) bool { w.Invalidate(); return true }
	for _, c := range []struct {
		name        string
		prepare     func(w *claim.Word)
		a, b        func(w *claim.Word) bool
		least, most int // of the two, how many succeed
		invalidated bool
	}{
		{"Take, Take", open, takes, takes, 1, 1, false},
		{"Take, Claim", open, takes, claims, 1, 1, false},
		{"Claim, Claim", open, claims, claims, 1, 1, false},
		{"Return, Return", leased, returns, returns, 1, 1, false},
		{"Return, End", leased, returns, ends, 1, 1, false},
		{"End, End", leased, ends, ends, 1, 1, false},
		{"Take, Invalidate", open, takes, invalidates, 1, 2, true},
		{"Return, Invalidate", leased, returns, invalidates, 1, 2, true},
		{"Claim, Invalidate", open, claims, invalidates, 2, 2, true},
		{"End, Invalidate", leased, ends, invalidates, 2, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rounds = 10
			bad := 0
			for range rounds {
				r := new(row)
				for i := range r.words {
					c.prepare(&r.words[i])
				}
				var ready atomic.Int64
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					r.along(1, &ready, c.b)
				}()
				r.along(0, &ready, c.a)
				<-ended
				for i := range r.words {
					n := 0
					for who := range r.won {
						if r.won[who][i] {
							n++
						}
					}
					if n < c.least || n > c.most || r.words[i].Invalidated() != c.invalidated {
						bad++
					}
				}
			}
			if bad > 0 {
				t.Errorf("wrong at %d of %d words", bad, rounds*len(new(row).words))
			}
		})
	}
}
