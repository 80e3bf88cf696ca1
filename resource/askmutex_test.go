package resource

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Goroutines that ask while the lock is held sleep, also beside one another, and one answer is for all.
func TestAskMutex_Sleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m askMutex[int]
		answers := 0
		m.answer = func() int { answers++; return answers }
		m.Lock()
		const askers = 3
		got := make(chan int, askers)
		for range askers {
			go func() { got <- m.Ask() }()
		}
		synctest.Wait() // returns when each of them sleeps
		m.Unlock()
		for range askers {
			if a := <-got; a != 1 {
				t.Errorf("got answer %d, want the first", a)
			}
		}
	})
}

// Ask sees whole states, and is answered however many goroutines come and go.
func TestAskMutex_Stress(t *testing.T) {
	var m askMutex[[2]int]
	var state [2]int
	m.answer = func() [2]int { return state }
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m.Lock()
				state[0]++
				state[1]++
				m.Unlock()
			}
		})
	}
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			last := 0
			for range 20_000 {
				a := m.Ask()
				if a[0] != a[1] || a[0] < last {
					t.Errorf("got %v after %d", a, last)
					return
				}
				last = a[0]
			}
		})
	}
	askers.Wait()
	close(stop)
	wg.Wait()
	if m.Ask() != state { // nobody holds it
		t.Error("not the last state")
	}
}

// Ask takes one hold, not one for each goroutine that waits for the lock.
func TestAskMutex_OvertakesTheQueue(t *testing.T) {
	var m askMutex[int]
	holds := 0
	m.answer = func() int { return holds }
	const crowd = 100
	m.Lock()
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			m.Lock()
			defer m.Unlock()
			holds++
			time.Sleep(2 * time.Millisecond) // a long hold: they queue, and the mutex hands itself over in order
		})
	}
	time.Sleep(20 * time.Millisecond) // most of them wait by then; if not, the test is easier to pass
	answer := make(chan int, 1)
	wg.Go(func() { answer <- m.Ask() })
	time.Sleep(5 * time.Millisecond)
	m.Unlock()
	if a := <-answer; a > crowd/2 {
		t.Errorf("answered after %d holds", a)
	}
	wg.Wait()
}
