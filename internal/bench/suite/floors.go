package suite

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// floorsRow is what the parts of an acquire cost that no pool can do without: the rest
// of a figure is the pool's own.
func floorsRow() row {
	r := row{name: "floors", entrants: []entrant{{"respool", func(x *setup) measurement {
		peek, end := openPeek()
		if end != nil {
			x.cleanup(func() error { end(); return nil })
		}
		return func(ctx context.Context) sample {
			out := sample{
				"cas ns": floor(ctx, casPair), "mutex ns": floor(ctx, mutexPair), "channel ns": floor(ctx, channelPair),
				"hop ns": floor(ctx, hops), "wake us": floor(ctx, wakes) / 1000, "clock ns": floor(ctx, clocks),
			}
			if peek != nil {
				out["peek ns"] = floor(ctx, peek)
			}
			return out
		}
	}}}}
	for _, f := range [][2]string{
		{"floors: two compare-and-swaps without contention", "cas ns"},
		{"  a mutex, locked and unlocked twice", "mutex ns"},
		{"  into a channel and out of it, one goroutine", "channel ns"},
		{"  from one goroutine to the next, on one processor", "hop ns"},
		{"  from one thread to the next, asleep: a futex wake-up", "wake us"},
		{"  a look at the clock", "clock ns"},
		{"  a look into a socket without data", "peek ns"},
	} {
		r.figures = append(r.figures, figure{work: f[0], metric: f[1]})
	}
	return r
}

// floor is the best of five tries, in nanoseconds.
func floor(ctx context.Context, f func(n int)) float64 {
	best := 0.0
	for range 5 {
		got := meter(ctx, 20*ms, func(_ context.Context, n int) error { return attempt(func() { f(n) }) })
		if v := got["ns/op"]; best == 0 || v < best {
			best = v
		}
	}
	return best
}

func casPair(n int) {
	var word atomic.Uint64
	for range n {
		if !word.CompareAndSwap(0, 1) || !word.CompareAndSwap(1, 0) {
			panic("bug: another goroutine has the word")
		}
	}
}

func mutexPair(n int) {
	var mu sync.Mutex
	held := 0
	for range 2 * n {
		mu.Lock()
		held++
		mu.Unlock()
	}
}

func channelPair(n int) {
	c := make(chan int, 1)
	for i := range n {
		c <- i
		<-c
	}
}

func clocks(n int) {
	var last time.Time
	for range n {
		last = time.Now()
	}
	_ = last
}

// hops passes a word between two goroutines, n times in all.
func hops(n int) {
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	pass(n, func() {}, func() {})
}

// wakes does so between two threads.
func wakes(n int) { pass(n, runtime.LockOSThread, runtime.UnlockOSThread) }

func pass(n int, begin, end func()) {
	there, back := make(chan int), make(chan int)
	var done sync.WaitGroup
	done.Go(func() {
		begin()
		defer end()
		for i := range there {
			back <- i
		}
	})
	begin()
	defer end()
	for i := range (n + 1) / 2 {
		there <- i
		<-back
	}
	close(there)
	done.Wait()
}
