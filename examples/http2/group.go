package main

import (
	"context"
	"errors"
	"sync"

	"github.com/respool/respool/resource"
)

// group gives each request a stream on one of the connections that it leases from a pool. It leases
// another one when those that it has are full, and keeps the leases until the pool recalls them or the
// connections end.
type group struct {
	pool    *resource.Pool[*conn]
	streams int           // on each connection
	room    chan struct{} // a value for each stream of all connections that may be in use

	mu      sync.Mutex
	shared  []*shared
	opening chan struct{} // closed when the acquire that runs has ended; nil: none runs
}

// shared is a leased connection.
type shared struct {
	lease resource.Lease[*conn]
	conn  *conn
	users int
	spent error // why it takes no more requests; nil: it does
	over  bool  // the lease has ended, or is about to
}

func newGroup(pool *resource.Pool[*conn], streams, most int) *group {
	return &group{pool: pool, streams: streams, room: make(chan struct{}, streams*most)}
}

// do calls f with a connection that has a stream for it. It blocks while all streams are in use, and
// for a connection to be made. If the connection has not taken the request, because the server has
// asked its clients to go, f is called again with another one.
func (g *group) do(ctx context.Context, f func(*conn) error) error {
	select {
	case g.room <- struct{}{}:
		defer func() { <-g.room }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		s, err := g.join(ctx)
		if err != nil {
			return err
		}
		err = f(s.conn)
		again := errors.Is(err, errSpent)
		if again {
			g.spend(s, errSpent)
		}
		g.leave(s)
		if !again || ctx.Err() != nil {
			return err
		}
	}
}

// join returns a connection with a free stream, which it reserves.
func (g *group) join(ctx context.Context) (*shared, error) {
	for {
		g.mu.Lock()
		if s := g.leastLocked(); s != nil {
			s.users++
			g.mu.Unlock()
			return s, nil
		}
		if opening := g.opening; opening != nil { // one acquire at a time: its connection may have room for all
			g.mu.Unlock()
			select {
			case <-opening:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		opening := make(chan struct{})
		g.opening = opening
		g.mu.Unlock()
		err := g.open(ctx)
		g.mu.Lock()
		g.opening = nil
		g.mu.Unlock()
		close(opening)
		if err != nil {
			return nil, err
		}
	}
}

// leastLocked returns the connection with the fewest streams in use that has room; nil: none has.
func (g *group) leastLocked() (least *shared) {
	for _, s := range g.shared {
		if s.spent == nil && s.users < g.streams && (least == nil || s.users < least.users) {
			least = s
		}
	}
	return least
}

// open leases one more connection.
func (g *group) open(ctx context.Context) error {
	l, err := g.pool.AcquireWith(ctx, resource.Request{Shared: true})
	if err != nil {
		return err
	}
	s := &shared{lease: l, conn: l.Value()}
	g.mu.Lock()
	g.shared = append(g.shared, s)
	g.mu.Unlock()
	s.conn.onRecall(func(cause error) { g.spend(s, cause) })
	s.conn.socket.onEnd(func() { g.spend(s, errEnded) })
	return nil
}

// spend lets a connection take no more requests. Its lease ends with the last one that is under way.
func (g *group) spend(s *shared, cause error) {
	g.mu.Lock()
	if s.spent == nil {
		s.spent = cause
	}
	g.mu.Unlock()
	g.settle(s)
}

func (g *group) leave(s *shared) {
	g.mu.Lock()
	s.users--
	g.mu.Unlock()
	g.settle(s)
}

// settle ends the lease of a connection that is spent and not in use.
func (g *group) settle(s *shared) {
	g.mu.Lock()
	if s.over || s.spent == nil || s.users > 0 {
		g.mu.Unlock()
		return
	}
	s.over = true
	for i, o := range g.shared {
		if o == s {
			g.shared = append(g.shared[:i], g.shared[i+1:]...)
			break
		}
	}
	g.mu.Unlock()
	s.conn.onRecall(nil)
	s.lease.Discard(s.spent)
}

// gone waits until no connection is leased.
func (g *group) gone(ctx context.Context) error {
	for {
		g.mu.Lock()
		var first *shared
		if len(g.shared) > 0 {
			first = g.shared[0]
		}
		g.mu.Unlock()
		if first == nil {
			return nil
		}
		select {
		case <-first.conn.socket.ended:
			g.spend(first, errEnded)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
