package claim_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/claim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gens  = 1 << 36 // lease numbers
	ticks = 1 << 24
)

// at is a clock that stands at tick.
func at(tick int64) *atomic.Int64 {
	var clock atomic.Int64
	clock.Store(tick)
	return &clock
}

// states are all that a word can be in, but for invalidated. In each the last
// lease, begun or not, has number n.
var states = []struct {
	name string
	make func(n uint64) *claim.Word
	// What succeeds there. If it is the pool's, Lend, Park and Unpark do.
	take, giveBack, end, claim, mine bool
	open, leased                     bool
}{
	{name: "pool", mine: true,
		make: claim.At},
	{name: "pool, parked", mine: true,
		make: func(n uint64) *claim.Word { w := claim.At(n); w.Park(0); w.Claim(); return w }},
	{name: "open", take: true, claim: true, open: true,
		make: func(n uint64) *claim.Word { w := claim.At(n); w.Park(0); return w }},
	{name: "leased", end: true, leased: true,
		make: func(n uint64) *claim.Word { w := claim.At(n - 1); w.Lend(0); return w }},
	{name: "leased, parked", giveBack: true, end: true, leased: true,
		make: func(n uint64) *claim.Word { w := claim.At(n - 1); w.Park(0); w.Take(at(0)); return w }},
}

// panics returns what f panics with, as text; "" if it does not.
func panics(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

// try is one operation: it reports whether it succeeded.
type try func(w *claim.Word) bool

// mine makes a try of an operation on what the pool must hold.
func mine(t *testing.T, f func(w *claim.Word)) try {
	return func(w *claim.Word) bool {
		text := panics(func() { f(w) })
		if text != "" && !strings.Contains(text, "bug") {
			t.Errorf("panic %q does not name a bug", text)
		}
		return text == ""
	}
}

func TestOperationsInEveryState(t *testing.T) {
	const n = 41
	for _, s := range states {
		for _, invalidated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/invalidated=%v", s.name, invalidated), func(t *testing.T) {
				check := func(name string, op try, want bool) {
					t.Helper()
					w := s.make(n)
					if invalidated {
						w.Invalidate()
					}
					before := w.Raw()
					if got := op(w); got != want {
						t.Errorf("%s succeeded: %v, want %v", name, got, want)
					}
					if !want && w.Raw() != before {
						t.Errorf("%s failed and changed the word", name)
					}
					if w.Invalidated() != invalidated {
						t.Errorf("invalidated = %v after %s", w.Invalidated(), name)
					}
				}
				check("Take", func(w *claim.Word) bool {
					gen, idle, ok := w.Take(at(1))
					if !ok && (gen != 0 || idle != 0) {
						t.Errorf("Take failed and returned lease %d, idle %d", gen, idle)
					}
					return ok
				}, s.take && !invalidated)
				check("Lasts", func(w *claim.Word) bool {
					ticks, ok := w.Lasts(n, at(0))
					if ticks != 0 {
						t.Errorf("Lasts returned %d ticks, %t", ticks, ok)
					}
					return ok
				}, s.leased)
				check("Return", func(w *claim.Word) bool { return w.Return(n, 1) }, s.giveBack && !invalidated)
				check("End", func(w *claim.Word) bool { return w.End(n) }, s.end)
				check("Holds", func(w *claim.Word) bool { return w.Holds(n) }, s.leased)
				check("Claim", func(w *claim.Word) bool { return w.Claim() }, s.claim)
				check("Lend", mine(t, func(w *claim.Word) { w.Lend(1) }), s.mine)
				check("Unpark", mine(t, func(w *claim.Word) { w.Unpark() }), s.mine)
				if !invalidated || !s.mine { // the pool destroys what is invalidated, it does not park it
					check("Park", mine(t, func(w *claim.Word) { w.Park(1) }), s.mine)
				}
				for _, gen := range []uint64{0, n - 1, n + 1, n + gens - 1, (n - 1) | 1<<63} {
					check("Return of another", func(w *claim.Word) bool { return w.Return(gen, 1) }, false)
					check("End of another", func(w *claim.Word) bool { return w.End(gen) }, false)
					check("Holds of another", func(w *claim.Word) bool { return w.Holds(gen) }, false)
				}
				// What is above a lease number is of no account.
				check("Return", func(w *claim.Word) bool { return w.Return(n+5*gens, 1) }, s.giveBack && !invalidated)
				check("End", func(w *claim.Word) bool { return w.End(n | 1<<63) }, s.end)
				check("Holds", func(w *claim.Word) bool { return w.Holds(n + gens) }, s.leased)
				check("Load", func(w *claim.Word) bool {
					l := w.Load()
					return l.Open == s.open && l.Leased == s.leased && l.Leases == n
				}, true)
			})
		}
	}
}

func TestWhereOperationsLead(t *testing.T) {
	inHands := func(w *claim.Word) bool { l := w.Load(); return !l.Open && !l.Leased }
	w := new(claim.Word)
	if !inHands(w) || w.Load().Leases != 0 || w.Invalidated() || w.Holds(0) {
		t.Errorf("the zero Word is %+v", w.Load())
	}
	if n := w.Lend(1); n != 1 || !w.Holds(1) || w.Return(1, 2) || !w.End(1) || !inHands(w) {
		t.Errorf("lent without a local slot: %+v", w.Load())
	}
	w.Park(3)
	if n, idle, ok := w.Take(at(5)); n != 2 || idle != 2 || !ok || !w.Holds(2) {
		t.Errorf("taken: lease %d, idle %d, %v", n, idle, ok)
	}
	if !w.Return(2, 6) || w.Return(2, 6) || w.End(2) || !w.Load().Open {
		t.Errorf("returned: %+v", w.Load())
	}
	if !w.Claim() || w.Claim() || !inHands(w) {
		t.Errorf("claimed: %+v", w.Load())
	}
	if got := w.Load().Ticks(10); got != 4 { // the pool wants to know since when it idled
		t.Errorf("claimed after %d ticks, want 4", got)
	}
	if n := w.Lend(7); n != 3 || !w.Return(3, 8) || !w.Claim() {
		t.Errorf("what is lent by the pool keeps its local slot: %+v", w.Load())
	}
	w.Unpark()
	if w.Lend(9); w.Return(4, 9) || !w.Holds(4) {
		t.Errorf("returned to a local slot that it no longer had: %+v", w.Load())
	}
	w.Invalidate()
	if !w.End(4) || !w.Invalidated() || !inHands(w) {
		t.Errorf("invalidated, ended: %+v", w.Load())
	}
}

func TestLeaseNumberWraps(t *testing.T) {
	for name, begin := range map[string]func(w *claim.Word) uint64{
		"Lend": func(w *claim.Word) uint64 { return w.Lend(ticks - 1) },
		"Take": func(w *claim.Word) uint64 { w.Park(0); n, _, _ := w.Take(at(ticks - 1)); return n },
	} {
		t.Run(name, func(t *testing.T) {
			w := claim.At(gens - 2)
			for _, want := range []uint64{gens - 1, 0, 1} {
				if n := begin(w); n != want {
					t.Fatalf("lease %d, want %d", n, want)
				}
				l := w.Load()
				if l.Leases != int64(want) || !l.Leased || l.Open || w.Invalidated() || l.Ticks(ticks-1) != 0 {
					t.Errorf("lease %d: %+v, invalidated %v", want, l, w.Invalidated())
				}
				if w.End((want-1)%gens) || !w.End(want) {
					t.Errorf("lease %d does not end alone", want)
				}
			}
		})
	}
}

func TestTickWraps(t *testing.T) {
	for _, c := range []struct{ at, now, want int64 }{
		{0, 0, 0},
		{5, 7, 2},
		{0, ticks - 1, ticks - 1},
		{0, ticks, 0}, // modulo 2^24
		{ticks - 1, ticks - 1, 0},
		{ticks - 1, ticks, 1},
		{ticks - 3, ticks + 4, 7},
		{1<<40 + 3, 1<<40 + 12, 9},
		{1<<62 - 1, 1 << 62, 1},
	} {
		w := claim.At(gens - 1) // a tick too wide would run into it
		w.Park(c.at)
		if got := w.Load().Ticks(c.now); got != c.want {
			t.Errorf("sat at %d: %d ticks at %d, want %d", c.at, got, c.now, c.want)
		}
		n, idle, ok := w.Take(at(c.now))
		if n != 0 || idle != c.want || !ok {
			t.Errorf("sat at %d, taken at %d: lease %d, idle %d, %v; want idle %d", c.at, c.now, n, idle, ok, c.want)
		}
		if !w.Return(n, c.at) || w.Load().Ticks(c.now) != c.want || w.Load().Leases != 0 {
			t.Errorf("returned at %d: %+v", c.at, w.Load())
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	clock := at(2)
	var w claim.Word
	n := testing.AllocsPerRun(1000, func() {
		w.Park(1)
		gen, _, ok := w.Take(clock)
		if !ok || !w.Holds(gen) || !w.Return(gen, 3) || w.Load().Ticks(4) != 1 || !w.Claim() {
			t.Error("no hit")
		}
		if gen = w.Lend(5); !w.End(gen) || w.End(gen) || w.Invalidated() {
			t.Error("no end")
		}
		w.Unpark()
	})
	var invalidated claim.Word
	n += testing.AllocsPerRun(1000, invalidated.Invalidate)
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// A word is spent long before its lease numbers begin anew.
func TestWord_Spent(t *testing.T) {
	if left := int64(gens) - claim.MaxLeases; left != 1<<32 {
		t.Errorf("%d lease numbers are left, want 2^32", left)
	}
	for gen, want := range map[uint64]bool{0: false, claim.MaxLeases - 1: false, claim.MaxLeases: true, gens - 1: true} {
		if w := claim.At(gen); w.Spent() != want {
			t.Errorf("after lease %d: %t", gen, !want)
		}
	}
	w := claim.At(claim.MaxLeases - 1)
	w.Lend(7)
	if !w.Spent() {
		t.Error("not spent while its last lease runs")
	}
}

// Within the bounds TakeWithin is Take. Outside it fails, and changes nothing.
func TestTakeWithin(t *testing.T) {
	const n, parkedAt, now = 41, 7, 12
	inside := claim.Bounds{Tick: now + 1, Idle: now - parkedAt + 1, Leases: n + 1}
	for _, c := range []struct {
		name string
		b    claim.Bounds
		want bool
	}{
		{"inside", inside, true},
		{"tick", claim.Bounds{Tick: now, Idle: inside.Idle, Leases: inside.Leases}, false},
		{"idle", claim.Bounds{Tick: inside.Tick, Idle: now - parkedAt, Leases: inside.Leases}, false},
		{"leases", claim.Bounds{Tick: inside.Tick, Idle: inside.Idle, Leases: n}, false},
		{"zero", claim.Bounds{}, false},
	} {
		for _, invalidated := range []bool{false, true} {
			w := claim.At(n)
			w.Park(parkedAt)
			if invalidated {
				w.Invalidate()
			}
			before := w.Raw()
			gen, idle, ok := w.TakeWithin(at(now), &c.b)
			switch {
			case ok != (c.want && !invalidated):
				t.Errorf("%s, invalidated %v: taken: %v", c.name, invalidated, ok)
			case !ok && (w.Raw() != before || gen != 0 || idle != 0):
				t.Errorf("%s: failed and changed the word, or returned lease %d, idle %d", c.name, gen, idle)
			case ok && (gen != n+1 || idle != now-parkedAt || !w.Holds(n+1)):
				t.Errorf("%s: lease %d, idle %d, %+v", c.name, gen, idle, w.Load())
			}
		}
	}
}
