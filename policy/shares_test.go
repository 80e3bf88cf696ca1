package policy_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func class(name string, cost int) resource.Request {
	return resource.Request{Class: name, Cost: cost}
}

func TestShares(t *testing.T) {
	l := policy.Shares(6, map[string]int{"gold": 2, "silver": 1}) // 3 are common
	if l.Limit() != 6 {
		t.Errorf("the limit is %d, want 6", l.Limit())
	}
	for range 3 {
		defer admit(t, l, class("unknown", 1))(ok)
	}
	refused(t, l, class("unknown", 1), "shares", policy.ErrFull, 0)
	refused(t, l, class("another", 1), "shares", policy.ErrFull, 0)
	// The guarantees are available although the common part is in use.
	gold := admit(t, l, class("gold", 2))
	refused(t, l, class("gold", 1), "shares", policy.ErrFull, 0)
	silver := admit(t, l, class("silver", 0))
	wantInFlight(t, l, 6)
	refused(t, l, class("silver", 1), "shares", policy.ErrFull, 0)
	// The unused guarantee of gold stays reserved.
	gold(ok)
	refused(t, l, class("silver", 1), "shares", policy.ErrFull, 0)
	silver(ok)
	wantInFlight(t, l, 3)
}

// A class returns borrowed units first, whichever of its permits ends.
func TestSharesReturnTheCommonPartFirst(t *testing.T) {
	l := policy.Shares(3, map[string]int{"a": 2}) // 1 is common
	own := admit(t, l, class("a", 1))
	both := admit(t, l, class("a", 2)) // one guaranteed, one common
	refused(t, l, class("", 1), "shares", policy.ErrFull, 0)
	own(ok) // the two that are left fit in the guarantee of a
	other := admit(t, l, class("", 1))
	both(ok)
	admit(t, l, class("a", 2))(ok)
	refused(t, l, class("a", 3), "shares", policy.ErrFull, 0)
	other(ok)
	admit(t, l, class("a", 3))(ok)
	refused(t, l, class("a", 4), "shares", policy.ErrCost, 0)
	refused(t, l, class("", 2), "shares", policy.ErrCost, 0)
	wantInFlight(t, l, 0)
}

// The largest costs do not overflow.
func TestSharesExtremes(t *testing.T) {
	l := policy.Shares(math.MaxInt, map[string]int{"a": 5})
	for _, name := range []string{"", "a"} {
		most := admit(t, l, class(name, math.MaxInt-5))
		refused(t, l, class(name, math.MaxInt-5), "shares", policy.ErrFull, 0)
		wantInFlight(t, l, math.MaxInt-5)
		most(ok)
		wantInFlight(t, l, 0)
	}
}

// Compared with the definition: a request fits if the sum over all classes of the units
// above their guarantees is at most the common part.
func TestSharesAgainstTheRule(t *testing.T) {
	seed := newSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		guaranteed, sum := map[string]int{}, 0
		for _, name := range []string{"a", "b"}[:rnd.IntN(3)] {
			guaranteed[name] = 1 + rnd.IntN(4)
			sum += guaranteed[name]
		}
		total := max(1, sum+rnd.IntN(6))
		l := policy.Shares(total, guaranteed)
		used := map[string]int{}
		type permit struct {
			done  resource.Done
			class string
			cost  int
		}
		var out []permit
		for range 300 {
			if len(out) > 0 && rnd.IntN(2) == 0 {
				i := rnd.IntN(len(out))
				out[i].done(ok)
				used[out[i].class] -= out[i].cost
				out[i] = out[len(out)-1]
				out = out[:len(out)-1]
				continue
			}
			name, cost := []string{"a", "b", "c"}[rnd.IntN(3)], 1+rnd.IntN(4)
			used[name] += cost
			borrowed := 0
			for c, n := range used {
				borrowed += max(0, n-guaranteed[c])
			}
			fits := borrowed <= total-sum
			done, err := l.Admit(t.Context(), class(name, cost))
			if fits != (err == nil) {
				t.Fatalf("total %d, guaranteed %v, with one more of %d for %q used %v: %v", total, guaranteed, cost, name, used, err)
			}
			if err != nil {
				used[name] -= cost
				continue
			}
			out = append(out, permit{done, name, cost})
		}
		for _, p := range out {
			p.done(ok)
		}
		wantInFlight(t, l, 0)
	}
}

// Other classes that take all they can get never reduce a guarantee, and the total is never
// exceeded.
func TestSharesGuaranteeUnderContention(t *testing.T) {
	const guarantee, turns = 2, 20_000
	l := policy.Shares(4, map[string]int{"a": guarantee})
	var wg sync.WaitGroup
	for range guarantee {
		wg.Go(func() {
			for range turns {
				done, err := l.Admit(t.Context(), class("a", 1))
				if err != nil {
					t.Errorf("refused below the guarantee: %v", err)
					return
				}
				done(ok)
			}
		})
	}
	var inside atomic.Int64 // units in flight
	for i := range 3 {
		wg.Go(func() {
			for range turns {
				cost := 1 + i%2
				done, err := l.Admit(t.Context(), class("others", cost))
				if err != nil {
					continue
				}
				if n := inside.Add(int64(cost)); n > 4-guarantee {
					t.Errorf("the others hold %d units", n)
				}
				inside.Add(int64(-cost))
				done(ok)
			}
		})
	}
	wg.Wait()
	wantInFlight(t, l, 0)
	admit(t, l, class("others", 2))(ok) // the whole common part is available again
	admit(t, l, class("a", 4))(ok)
}
