package conformance

import (
	"context"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// The works make and destroy the items, and keep the counts that the pool's own
// statistics cannot be trusted for.
type works struct {
	ends   time.Duration                          // how long each destroy takes
	making func(ctx context.Context, n int) error // called in the nth make, from 1; nil: nothing
	ending func()                                 // called in each destroy; nil: nothing

	mu      sync.Mutex
	takes   time.Duration // how long each make takes
	begun   int           // makes
	alive   int           // items, from the begin of their make to the end of their destroy
	top     int           // the most that were alive at once
	ended   map[int]time.Time
	born    map[int]time.Time
	checked map[int]int
	ill     map[int]bool
}

// make is the pool's Make.
func (w *works) make(ctx context.Context) (*peer.Item, error) {
	w.mu.Lock()
	w.begun++
	n := w.begun
	w.alive++
	w.top = max(w.top, w.alive)
	takes := w.takes
	w.mu.Unlock()
	ok := false
	defer func() { // also after a panic or Goexit
		w.mu.Lock()
		defer w.mu.Unlock()
		if !ok {
			w.alive--
		}
	}()
	err := pause(ctx, takes)
	if err == nil && w.making != nil {
		err = w.making(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ok = true
	set(&w.born, n, time.Now())
	return &peer.Item{ID: n}, nil
}

// destroy is the pool's Destroy.
func (w *works) destroy(it *peer.Item) {
	w.mu.Lock()
	set(&w.ended, it.ID, time.Now())
	w.mu.Unlock()
	time.Sleep(w.ends)
	if w.ending != nil {
		w.ending()
	}
	w.mu.Lock()
	w.alive--
	w.mu.Unlock()
}

// check is the pool's Check: it fails for an item that is ill.
func (w *works) check(it *peer.Item) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	set(&w.checked, it.ID, w.checked[it.ID]+1)
	if w.ill[it.ID] {
		return errIll
	}
	return nil
}

// dead says whether the destroy of it has begun.
func (w *works) dead(it *peer.Item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.ended[it.ID]
	return ok
}

func (w *works) makes() int    { w.mu.Lock(); defer w.mu.Unlock(); return w.begun }
func (w *works) living() int   { w.mu.Lock(); defer w.mu.Unlock(); return w.alive }
func (w *works) mostEver() int { w.mu.Lock(); defer w.mu.Unlock(); return w.top }

// setTakes changes how long makes take from now on.
func (w *works) setTakes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes = d
}

// set sets m[k], and makes the map if need be.
func set[V any](m *map[int]V, k int, v V) {
	if *m == nil {
		*m = map[int]V{}
	}
	(*m)[k] = v
}

// pause waits for d, or until ctx ends and returns its error.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
