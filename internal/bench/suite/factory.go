package suite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

var errDead = errors.New("the factory is dead")

// A factory makes items slowly, fails while it is dead, and keeps a log.
type factory struct {
	takes time.Duration

	mu   sync.Mutex
	dead bool
	log  []span
	ok   int
	made chan struct{} // closed at the first success since the last expect
}

// A span is one make. A zero end is one that still runs.
type span struct {
	begin, end time.Time
	ok         bool
}

// make is a maker. What it will do is settled when it begins.
func (f *factory) make(ctx context.Context) (*peer.Item, error) {
	f.mu.Lock()
	i := len(f.log)
	f.log = append(f.log, span{begin: time.Now()})
	dead := f.dead
	f.mu.Unlock()

	err := pause(ctx, f.takes)
	if err == nil && dead {
		err = errDead
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.log[i].end = time.Now()
	if err != nil {
		return nil, err
	}
	f.log[i].ok = true
	f.ok++
	if f.made != nil {
		close(f.made)
		f.made = nil
	}
	return &peer.Item{ID: i}, nil
}

func (f *factory) setDead(dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = dead
}

// expect returns a channel that closes at the next success.
func (f *factory) expect() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = make(chan struct{})
	return f.made
}

// since returns the makes that began at t or later.
func (f *factory) since(t time.Time) spans {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out spans
	for _, s := range f.log {
		if !s.begin.Before(t) {
			out = append(out, s)
		}
	}
	return out
}

// spans are makes in the order of their begin.
type spans []span

// before counts those that began before t.
func (s spans) before(t time.Time) int {
	n := 0
	for _, m := range s {
		if m.begin.Before(t) {
			n++
		}
	}
	return n
}

// peak is how many ran at once at most between from and until.
func (s spans) peak(from, until time.Time) int {
	top := 0
	for _, m := range s {
		at := m.begin // concurrency only rises where one begins
		if at.Before(from) {
			at = from
		}
		if !at.Before(until) {
			continue
		}
		n := 0
		for _, other := range s {
			if !other.begin.After(at) && (other.end.IsZero() || other.end.After(at)) {
				n++
			}
		}
		top = max(top, n)
	}
	return top
}

// success is when the first make succeeded.
func (s spans) success() (time.Time, bool) {
	var first time.Time
	for _, m := range s {
		if m.ok && (first.IsZero() || m.end.Before(first)) {
			first = m.end
		}
	}
	return first, !first.IsZero()
}

// pause waits for d, or for ctx and returns its error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
