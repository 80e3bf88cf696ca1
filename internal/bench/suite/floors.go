package suite

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// floorsRow is what the parts cost that no pool can do without, or would like to
// do without: what is left of a figure beyond them is the pool's own.
func floorsRow() row {
	return row{"floors", []entrant{{"respool", func(context.Context, size) (session, error) {
		return session{measure: floors}, nil
	}}}}
}

func floorsGoals() []goal {
	tell := func(work, metric string) goal { return goal{row: "floors", work: work, metric: metric} }
	return []goal{
		tell("floors: two compare-and-swaps that nobody disturbs", "cas ns"),
		tell("  a mutex, locked and unlocked twice", "mutex ns"),
		tell("  into a channel and out of it, one goroutine", "channel ns"),
		tell("  from one goroutine to the next, on one processor", "hop ns"),
		tell("  from one thread to the next, asleep: a futex wake-up", "wake us"),
		tell("  a look at the clock", "clock ns"),
		tell("  a look into a socket that has nothing", "peek ns"),
	}
}

// floors times each of them, and leaves out what the system has not.
func floors(ctx context.Context) (sample, error) {
	out := sample{}
	for name, f := range map[string]func(n int){
		"cas ns": casPair, "mutex ns": mutexPair, "channel ns": channelPair, "hop ns": hops, "clock ns": clocks,
	} {
		if err := floor(ctx, out, name, 1, f); err != nil {
			return nil, err
		}
	}
	if err := floor(ctx, out, "wake us", 1000, wakes); err != nil {
		return nil, err
	}
	peek, end, err := openPeek()
	if errors.Is(err, errors.ErrUnsupported) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return out, errors.Join(floor(ctx, out, "peek ns", 1, peek), end())
}

// floor notes the best of some tries, in nanoseconds of which each unit has so many.
func floor(ctx context.Context, into sample, name string, unit float64, f func(n int)) error {
	for range 5 {
		got, err := meter(ctx, 20*time.Millisecond, func(_ context.Context, n int) error { f(n); return nil })
		if err != nil {
			return err
		}
		v := got["ns/op"] / unit
		if old, ok := into[name]; !ok || v < old {
			into[name] = v
		}
	}
	return nil
}

func casPair(n int) {
	var word atomic.Uint64
	for range n {
		if !word.CompareAndSwap(0, 1) || !word.CompareAndSwap(1, 0) {
			panic("somebody else has the word")
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

// hops passes a word between two goroutines, n times in all.
func hops(n int) {
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	relayed(n, false)
}

// wakes does so between two threads.
func wakes(n int) { relayed(n, true) }

func relayed(n int, threads bool) {
	there, back := make(chan int), make(chan int)
	var done sync.WaitGroup
	done.Go(func() {
		if threads {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		for i := range there {
			back <- i
		}
	})
	if threads {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	for i := range (n + 1) / 2 {
		there <- i
		<-back
	}
	close(there)
	done.Wait()
}

func clocks(n int) {
	var last time.Time
	for range n {
		last = time.Now()
	}
	_ = last
}
