package museum

import (
	"context"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// Works is where the items come from and where they end, and keeps the books that
// the pool's own cannot be asked for. Its fields are set before the pool opens.
type works struct {
	takes  time.Duration                          // each make
	ends   time.Duration                          // each destroy
	making func(ctx context.Context, n int) error // called in the nth make, from 1; nil: nothing
	ending func()                                 // called in each destroy; nil: nothing

	mu      sync.Mutex
	begun   int // makes
	made    int // that succeeded
	failed  int // that returned an error
	alive   int // from the begin of the make to the end of the destroy
	top     int // of alive
	ended   map[int]time.Time
	born    map[int]time.Time
	checked map[int]int
	ill     map[int]bool
}

// make is Make of the pool.
func (w *works) make(ctx context.Context) (*peer.Item, error) {
	w.mu.Lock()
	w.begun++
	n := w.begun
	w.alive++
	w.top = max(w.top, w.alive)
	takes := w.takes
	w.mu.Unlock()
	ok := false
	defer func() {
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed++
		return nil, err
	}
	ok = true
	w.made++
	note(&w.born, n, time.Now())
	return &peer.Item{ID: n}, nil
}

// destroy is Destroy of the pool.
func (w *works) destroy(it *peer.Item) {
	w.mu.Lock()
	note(&w.ended, it.ID, time.Now())
	w.mu.Unlock()
	time.Sleep(w.ends)
	if w.ending != nil {
		w.ending()
	}
	w.mu.Lock()
	w.alive--
	w.mu.Unlock()
}

// dead says whether it was destroyed, or is being.
func (w *works) dead(it *peer.Item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.ended[it.ID]
	return ok
}

// tally returns how many makes have begun so far, how many items are alive, and
// how many were at most.
func (w *works) tally() (begun, alive, top int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun, w.alive, w.top
}

// setTakes changes how long makes take from now on.
func (w *works) setTakes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes = d
}

// note sets m[k], and makes the map if need be.
func note[V any](m *map[int]V, k int, v V) {
	if *m == nil {
		*m = map[int]V{}
	}
	(*m)[k] = v
}

// pause waits for d, or for ctx and returns its error.
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
