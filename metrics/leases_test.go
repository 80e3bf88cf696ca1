package metrics_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		trace := m.Trace(nil)
		for id := range uint64(40) {
			begin(trace, id+1, 7)
			time.Sleep(time.Second)
		}
		held := m.Snapshot(3).Held
		if len(held) != 3 {
			t.Fatalf("held are %+v", held)
		}
		for i, h := range held {
			if h.ID != uint64(i+1) || h.Lease != 7 || h.For != time.Duration(40-i)*time.Second || h.Overdue {
				t.Errorf("number %d is %+v", i, h)
			}
			if len(h.Class) > 64 || !strings.HasPrefix(h.Class, "batch x") {
				t.Errorf("its class is %q", h.Class)
			}
			if len(h.Stack) == 0 || !strings.HasSuffix(h.Stack[0].Func, "metrics_test.begin") || !strings.HasSuffix(h.Stack[0].File, "fixtures_test.go") || h.Stack[0].Line == 0 {
				t.Errorf("its stack is %+v", h.Stack)
			}
		}
		for id := range uint64(40) {
			end(trace, id+1, 7)
			end(trace, id+1, 7) // tells nothing new
		}
		if held := m.Snapshot(100).Held; len(held) != 0 {
			t.Errorf("with all ended, held are %+v", held)
		}
	})
}

// Whatever the limit, they are those that have lasted longest, in order.
func TestHeld_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		m := newMeter(t, metrics.Config{})
		trace := m.Trace(nil)
		rnd := rand.New(rand.NewPCG(1, 2)) // a fixed mix
		for _, id := range rnd.Perm(n) {
			begin(trace, uint64(id+1), 1)
			time.Sleep(time.Duration(rnd.IntN(2)) * time.Second)
		}
		all := m.Snapshot(n + 1).Held
		if len(all) != n {
			t.Fatalf("%d are held", len(all))
		}
		for i := 1; i < n; i++ {
			if a, b := all[i-1], all[i]; a.For < b.For || a.For == b.For && a.ID >= b.ID {
				t.Fatalf("%+v stands before %+v", a, b)
			}
		}
		for _, limit := range []int{1, 2, 7, 249, 250, 251, 499, 500} {
			held := m.Snapshot(limit).Held
			if len(held) != limit {
				t.Fatalf("with limit %d there are %d", limit, len(held))
			}
			for i, h := range held {
				if h.ID != all[i].ID {
					t.Errorf("with limit %d number %d is %+v, not %+v", limit, i, h, all[i])
				}
			}
		}
	})
}

// The end of a lease may be reported after the beginning of the next.
func TestHeld_OutOfOrder(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	want := func(number uint64) {
		t.Helper()
		held := m.Snapshot(10).Held
		if number == 0 && len(held) == 0 || len(held) == 1 && held[0].Lease == number {
			return
		}
		t.Errorf("held are %+v, want %d", held, number)
	}
	begin(trace, 1, 1)
	begin(trace, 1, 2)
	want(2)
	end(trace, 1, 1)
	want(2)
	begin(trace, 1, 1) // long over
	want(2)
	end(trace, 1, 3) // of one that was not sampled
	want(2)
	end(trace, 1, 2)
	want(0)
}

// The cause of an end is not ours either: if its methods panic the lease has
// ended all the same.
func TestHeld_EndedByAnErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		begin(w.trace, 1, 1)
		begin(w.trace, 2, 1)
		time.Sleep(2 * time.Minute)
		w.want(t, 2, 0)
		for id := range uint64(2) {
			w.trace.Ended(resource.EndEvent{ID: id + 1, Lease: 1, Held: 2 * time.Minute, Sampled: 1, Cause: badError{}})
		}
		w.want(t, 2, 2)
		if s := w.m.Snapshot(10); len(s.Held) != 0 || s.Overdue != 0 || s.Hold.Count != 2 {
			t.Errorf("held are %+v, %d overdue, %d have ended", s.Held, s.Overdue, s.Hold.Count)
		}
	})
}

// A limit that is none costs what the list does.
func TestHeld_NoLimit(t *testing.T) {
	const n = 20_000
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	for id := range uint64(n) {
		begin(trace, id+1, 1)
	}
	took := func(limit int) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			if held := m.Snapshot(limit).Held; len(held) != n {
				t.Fatalf("with limit %d there are %d", limit, len(held))
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	if all, none := took(n), took(math.MaxInt); none > 10*all {
		t.Errorf("with the highest limit it takes %v, with that of the list %v", none, all)
	}
}

func TestHeld_AfterClose(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	begin(trace, 1, 1)
	m.Close()
	begin(trace, 2, 1)
	end(trace, 1, 1)
	if s := m.Snapshot(10); len(s.Held) != 0 || s.Hold.Count != 1 {
		t.Errorf("held are %+v, %d have ended", s.Held, s.Hold.Count)
	}
}

func TestHeld_Concurrent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	stop := make(chan struct{})
	var readers, wg sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, h := range m.Snapshot(50).Held {
				if h.ID == 0 || h.Lease == 0 || len(h.Stack) == 0 || !strings.Contains(h.Stack[0].Func, "metrics_test") {
					t.Errorf("held is %+v", h)
					return
				}
			}
		}
	})
	for g := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, g))
			out := make(map[uint64]uint64)
			number := uint64(0)
			for range 4000 {
				id := g*64 + rnd.Uint64N(64) + 1
				if n := out[id]; n != 0 {
					end(trace, id, n)
					delete(out, id)
					continue
				}
				number++
				out[id] = number
				begin(trace, id, number)
			}
			for id, n := range out {
				end(trace, id, n)
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	if held := m.Snapshot(10).Held; len(held) != 0 {
		t.Errorf("held are %+v", held)
	}
}

// Once warm, a sampled lease takes no memory, but for what goes into the profile of
// runtime/pprof, now and then.
func TestLeasedAndEnded_Allocate(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	ctx := context.Background()
	number := uint64(0)
	cycle := func() {
		number++
		trace.Leased(ctx, resource.LeaseEvent{ID: 1 + number%7, Lease: number})
		trace.Ended(resource.EndEvent{ID: 1 + number%7, Lease: number, Held: time.Millisecond, Sampled: 128})
	}
	for range 5000 { // the budget of the profile is spent
		cycle()
	}
	if n := testing.AllocsPerRun(1000, cycle); n != 0 {
		t.Errorf("a sampled lease allocates %v times", n)
	}
}

func BenchmarkSampledLease(b *testing.B) {
	m, err := metrics.New("bench", metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	trace := m.Trace(nil)
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		trace.Leased(context.Background(), resource.LeaseEvent{ID: 1 + n%7, Lease: n})
		trace.Ended(resource.EndEvent{ID: 1 + n%7, Lease: n, Held: time.Millisecond, Sampled: 128})
	}
}

// Stacks are kept as lines, and not for ever: however many there are, and used
// again, each lease has its own; and what a reader does to them is unseen by others.
func TestHeld_Stacks(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	const kinds = 3000 // some more than are kept
	for range 2 {
		for i := range uint64(kinds) {
			ways(i, func() { begin(trace, i+1, 1) })
		}
		for range 2 {
			held := m.Snapshot(kinds).Held
			if len(held) != kinds {
				t.Fatalf("%d are held", len(held))
			}
			for _, h := range held {
				n := h.ID - 1
				if h.Stack[0].Func == "" || !strings.HasSuffix(h.Stack[0].Func, ".begin") {
					t.Fatalf("the stack of %d begins with %+v", h.ID, h.Stack[0])
				}
				for at := 2; n > 0; n, at = n/2, at+2 { // before it begin and a closure, between them closures
					if want := []string{".even", ".odd"}[n%2]; !strings.HasSuffix(h.Stack[at].Func, want) {
						t.Fatalf("the stack of %d has %s at %d, want %s", h.ID, h.Stack[at].Func, at, want)
					}
				}
			}
			clear(held[0].Stack)
		}
		if n := metrics.StacksKept(); n == 0 || n > 1024 {
			t.Errorf("%d stacks are kept", n)
		}
		for i := range uint64(kinds) {
			end(trace, i+1, 1)
		}
	}
}

// ways calls f by one of many ways, which the bits of n choose, the lowest last.
func ways(n uint64, f func()) {
	for ; n > 0; n /= 2 {
		inner := f
		if n%2 == 0 {
			f = func() { even(inner) }
		} else {
			f = func() { odd(inner) }
		}
	}
	f()
}

//go:noinline
func even(f func()) { f() }

//go:noinline
func odd(f func()) { f() }
