package peer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Factory makes and destroys items, and keeps the log that a pool's own statistics
// cannot be trusted for. Its fields are set before the pool opens.
type Factory struct {
	Takes  time.Duration                          // each make; see SetTakes
	Ends   time.Duration                          // each destroy
	Making func(ctx context.Context, n int) error // begins the nth make, from 1, which ends with its error; nil: none
	Ending func()                                 // called in each destroy; nil: none

	mu         sync.Mutex
	log        Spans
	alive, top int // items from the begin of their make to the end of their destroy, and the most
}

// A Span is the life of an item. A time is zero while the event has not happened.
type Span struct {
	Begin, End time.Time // of the make
	OK         bool      // the make succeeded
	Destroyed  time.Time // begin of the destroy
}

// Spans are lives in the order of their begin.
type Spans []Span

// Make is the pool's Make. The ID of an item is its number, from 1.
func (f *Factory) Make(ctx context.Context) (it *Item, err error) {
	f.mu.Lock()
	f.log = append(f.log, Span{Begin: time.Now()})
	n := len(f.log)
	f.alive++
	f.top = max(f.top, f.alive)
	takes := f.Takes
	f.mu.Unlock()
	defer func() { // also after a panic or Goexit
		f.mu.Lock()
		defer f.mu.Unlock()
		s := &f.log[n-1]
		if s.End = time.Now(); it == nil {
			f.alive--
		}
		s.OK = it != nil
	}()
	if f.Making != nil {
		err = f.Making(ctx, n)
	}
	if takes > 0 {
		if perr := Pause(ctx, takes); perr != nil {
			err = perr
		}
	}
	if err != nil {
		return nil, err
	}
	return &Item{ID: n}, nil
}

// Destroy is the pool's Destroy.
func (f *Factory) Destroy(it *Item) {
	f.mu.Lock()
	f.log[it.ID-1].Destroyed = time.Now()
	f.mu.Unlock()
	time.Sleep(f.Ends)
	if f.Ending != nil {
		f.Ending()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive--
}

// SetTakes changes how long later makes take.
func (f *Factory) SetTakes(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Takes = d
}

// Alive returns how many items are alive, and how many were at most.
func (f *Factory) Alive() (now, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive, f.top
}

// Since returns the lives that began at t or later.
func (f *Factory) Since(t time.Time) Spans {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.log), func(s Span) bool { return s.Begin.Before(t) })
}

// Makes is how many makes have begun.
func (f *Factory) Makes() int { return len(f.Since(time.Time{})) }

// Dead says whether the destroy of it has begun.
func (f *Factory) Dead(it *Item) bool { return !f.Since(time.Time{})[it.ID-1].Destroyed.IsZero() }

// Pause waits for d, or until ctx ends and returns its error.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Before counts the makes that began before t.
func (s Spans) Before(t time.Time) (n int) {
	for _, m := range s {
		if m.Begin.Before(t) {
			n++
		}
	}
	return n
}

// Peak is the most makes that ran at once between from and until.
func (s Spans) Peak(from, until time.Time) (top int) {
	for _, m := range s {
		at := m.Begin // concurrency rises only where a make begins
		if at.Before(from) {
			at = from
		}
		if !at.Before(until) {
			continue
		}
		n := 0
		for _, other := range s {
			if !other.Begin.After(at) && (other.End.IsZero() || other.End.After(at)) {
				n++
			}
		}
		top = max(top, n)
	}
	return top
}

// FirstSuccess is when the first successful make ended; zero: there is none.
func (s Spans) FirstSuccess() (first time.Time) {
	for _, m := range s {
		if m.OK && (first.IsZero() || m.End.Before(first)) {
			first = m.End
		}
	}
	return first
}
