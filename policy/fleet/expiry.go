package fleet

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// expiry is a function to be called before the lease ends.
type expiry struct {
	f    func(cause error)
	gone func() bool // reports whether there is nothing left to close; nil: not known
}

// OnExpiry arranges for f to be called, on a goroutine of its own, with [ErrExpired], when
// the lease is about to end and [Config.CloseBeforeExpiry] is set; at once if it has ended.
// f must close what the caller got a permit for, leased or not, without waiting for its
// user. stop forgets f, and returns false if it was called or forgotten before. Without
// CloseBeforeExpiry f is never called.
//
// A pool of processes, say, calls it in Config.Make:
//
//	stop := quota.OnExpiry(func(error) { process.Kill() })
//	context.AfterFunc(ctx, func() { stop() }) // ctx of Make ends when the resource does
func (q *Quota) OnExpiry(f func(cause error)) (stop func() bool) {
	if !q.cfg.CloseBeforeExpiry {
		return func() bool { return false }
	}
	x := &expiry{f: f}
	if !q.addExpiry(x) {
		expireAll([]*expiry{x})
		return func() bool { return false }
	}
	return func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		_, there := q.onExpiry[x]
		delete(q.onExpiry, x)
		return there
	}
}

// addExpiry adds x, or returns false if the lease has ended. It forgets those whose
// connections are closed, when there are twice as many as after the last time.
func (q *Quota) addExpiry(x *expiry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.acc.valid(q.now()) {
		return false
	}
	q.onExpiry[x] = struct{}{}
	if len(q.onExpiry) > max(16, 2*q.connSweep) {
		for x := range q.onExpiry {
			if x.gone != nil && x.gone() {
				delete(q.onExpiry, x)
			}
		}
		q.connSweep = len(q.onExpiry)
	}
	return true
}

func (q *Quota) takeExpiriesLocked() (all []*expiry) {
	for x := range q.onExpiry {
		all = append(all, x)
	}
	clear(q.onExpiry)
	q.closedFor += int64(len(all))
	return all
}

// expireAll calls each on a goroutine of its own, so that one that blocks does not delay the
// others. A panic is contained.
func expireAll(all []*expiry) {
	for _, x := range all {
		go func() {
			defer func() { _ = recover() }()
			x.f(ErrExpired)
		}()
	}
}

// Dial returns a function like dial, for wspool.Config.NetDial or net/http's DialContext,
// for [Config.CloseBeforeExpiry]. It fails with [ErrExpired] while there is no lease. Its
// connections are closed before the lease ends, whoever uses them then. Without
// CloseBeforeExpiry, it returns dial. Nil: that of a net.Dialer.
//
// A *net.TCPConn or *net.UnixConn is returned as it is; other connections are wrapped.
func (q *Quota) Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if !q.cfg.CloseBeforeExpiry {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		q.mu.Lock()
		valid := q.acc.valid(q.now())
		q.mu.Unlock()
		if !valid {
			return nil, &net.OpError{Op: "dial", Net: network, Err: ErrExpired}
		}
		c, err := dial(ctx, network, addr)
		if err != nil || c == nil {
			return c, err
		}
		x := &expiry{f: func(error) { _ = c.Close() }}
		switch c := c.(type) {
		case *net.TCPConn:
			x.gone = func() bool { return isClosed(c) }
		case *net.UnixConn:
			x.gone = func() bool { return isClosed(c) }
		default:
			wrapped := &expiringConn{Conn: c, q: q, x: x}
			if !q.addExpiry(x) {
				_ = c.Close()
				return nil, &net.OpError{Op: "dial", Net: network, Err: ErrExpired}
			}
			return wrapped, nil
		}
		if !q.addExpiry(x) {
			_ = c.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Err: ErrExpired}
		}
		return c, nil
	}
}

// isClosed reports whether a socket was closed by its user.
func isClosed(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(uintptr) {})
	}
	return err != nil && errors.Is(err, net.ErrClosed)
}

// expiringConn is a connection that is forgotten when its user closes it.
type expiringConn struct {
	net.Conn
	q *Quota
	x *expiry
}

// Close implements net.Conn.
func (c *expiringConn) Close() error {
	c.q.mu.Lock()
	delete(c.q.onExpiry, c.x)
	c.q.mu.Unlock()
	return c.Conn.Close()
}
