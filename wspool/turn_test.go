package wspool

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A turn is given to waiters in the order in which they joined, without those that left.
func TestTurn_Order(t *testing.T) {
	var turn turn
	if !turn.try() || turn.try() {
		t.Fatal("the first try takes the turn, and no other does")
	}
	line := make([]chan struct{}, 4)
	for i := range line {
		line[i] = turn.join()
	}
	turn.leave(line[1])
	for _, i := range []int{0, 2, 3} {
		for k, c := range line {
			if len(c) > 0 {
				t.Fatalf("%d has the turn before it was given back", k)
			}
		}
		turn.give()
		select {
		case <-line[i]:
		default:
			t.Fatalf("%d does not have the turn", i)
		}
	}
	turn.give()
	if !turn.try() {
		t.Fatal("the turn is not free at the end")
	}
}

// A waiter that leaves after the turn was given to it passes it on.
func TestTurn_LeaveTooLate(t *testing.T) {
	var turn turn
	turn.try()
	first, second := turn.join(), turn.join()
	turn.give()
	turn.leave(first)
	<-second
	turn.give()
	third := turn.join() // has it at once
	turn.leave(third)
	if !turn.try() {
		t.Error("the turn is not free")
	}
}

// A turn whose only waiter has left is free after it was given back.
func TestTurn_NoneLeft(t *testing.T) {
	var turn turn
	turn.try()
	turn.leave(turn.join())
	turn.give()
	if !turn.try() {
		t.Error("the turn is not free")
	}
}

// At most one goroutine has the turn, and no goroutine waits for ever, while others give up.
func TestTurn_Storm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn turn
		var all sync.WaitGroup
		held, taken, left := 0, 0, 0 // the turn guards them, but for left
		var mu sync.Mutex
		for i := range uint64(16) {
			random := rand.New(rand.NewPCG(i, 0)) // the same choices each time
			all.Go(func() {
				for range 200 {
					if random.IntN(2) == 0 && turn.try() {
						held++
					} else {
						c := turn.join()
						limit := time.NewTimer(time.Duration(random.IntN(40)) * time.Microsecond)
						select {
						case <-c:
							limit.Stop()
							held++
						case <-limit.C:
							turn.leave(c)
							mu.Lock()
							left++
							mu.Unlock()
							continue
						}
					}
					if held != 1 {
						t.Errorf("%d goroutines have the turn", held)
					}
					taken++
					if random.IntN(4) == 0 {
						time.Sleep(time.Duration(random.IntN(10)) * time.Microsecond) // in the bubble: holds the turn
					}
					held--
					turn.give()
				}
			})
		}
		all.Wait()
		if taken == 0 || left == 0 || taken+left != 16*200 {
			t.Errorf("%d turns taken and %d waits given up", taken, left)
		}
		if !turn.try() {
			t.Error("the turn is not free at the end")
		}
	})
}

// A free turn allocates nothing.
func TestTurn_Allocations(t *testing.T) {
	var turn turn
	if n := testing.AllocsPerRun(100, func() { turn.try(); turn.give() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
