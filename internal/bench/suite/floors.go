package suite

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// floorsRow is what the parts of an acquire cost that no pool can do without: the rest
// of a figure is the pool's own.
func floorsRow() row {
	floors := []struct {
		work, metric string
		per          float64 // nanoseconds
		step         func(n int)
	}{
		{"floors: two compare-and-swaps without contention", "cas ns", 1, casPair},
		{"  a mutex, locked and unlocked twice", "mutex ns", 1, mutexPair},
		{"  into a channel and out of it, one goroutine", "channel ns", 1, channelPair},
		{"  from one goroutine to the next, on one processor", "hop ns", 1, hops},
		{"  from one thread to the next, asleep: a futex wake-up", "wake us", 1000, wakes},
		{"  a look at the clock", "clock ns", 1, clocks},
		{"  a look into a socket without data", "peek ns", 1, peeks},
	}
	r := row{name: "floors", entrants: []entrant{{"respool", func(*setup) measurement {
		return func(ctx context.Context) sample {
			out := sample{}
			for _, f := range floors {
				if f.step != nil {
					out[f.metric] = floor(ctx, f.step) / f.per
				}
			}
			return out
		}
	}}}}
	for _, f := range floors {
		r.figures = append(r.figures, figure{work: f.work, metric: f.metric})
	}
	return r
}

// floor is the best of five tries, in nanoseconds.
func floor(ctx context.Context, f func(n int)) float64 {
	best := math.Inf(1)
	for range 5 {
		got := meter(ctx, 20*ms, func(_ context.Context, n int) error { return attempt(func() { f(n) }) })
		best = min(best, got["ns/op"])
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
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	passTurns(n, func() {}, func() {})
}

// wakes does so between two threads.
func wakes(n int) { passTurns(n, runtime.LockOSThread, runtime.UnlockOSThread) }

func passTurns(n int, begin, end func()) {
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
