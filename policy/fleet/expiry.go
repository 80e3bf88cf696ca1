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
// the lease is about to end and [Config.CloseBeforeExpiry] is set. If it has ended f is called
// before OnExpiry returns. f must close what the caller got a permit for, leased or not, without waiting for its
// user. stop forgets f, and returns false if it was called or forgotten before. Without
// CloseBeforeExpiry f is never called.
//
// The creation itself must end too, since what it opens may exist before Make has returned:
// see Context. A pool of subprocesses, say, starts them in Config.Make with
//
//	ctx, _ := quota.Context(ctx) // ctx of Make ends when the resource does
//	cmd := exec.CommandContext(ctx, name)
func (q *Quota) OnExpiry(f func(cause error)) (stop func() bool) {
	if !q.cfg.CloseBeforeExpiry {
		return func() bool { return false }
	}
	x := &expiry{f: f}
	if !q.addExpiry(x) {
		f(ErrExpired)
		return func() bool { return false }
	}
	return func() bool { return q.dropExpiry(x) }
}

// Context returns a copy of ctx that also ends, with the cause [ErrExpired], when functions
// given to OnExpiry are called. It is forgotten when ctx or the copy ends.
func (q *Quota) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	copied, cancel := context.WithCancelCause(ctx)
	if q.cfg.CloseBeforeExpiry {
		stop := q.OnExpiry(func(cause error) { cancel(cause) })
		context.AfterFunc(copied, func() { stop() })
	}
	return copied, func() { cancel(nil) }
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

// dropExpiry forgets x, and returns false if it was called or forgotten before.
func (q *Quota) dropExpiry(x *expiry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, there := q.onExpiry[x]
	delete(q.onExpiry, x)
	return there
}

func (q *Quota) takeExpiriesLocked() (all []*expiry) {
	for x := range q.onExpiry {
		all = append(all, x)
	}
	clear(q.onExpiry)
	q.connSweep = 0
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
// for [Config.CloseBeforeExpiry]. It fails with [ErrExpired] while there is no lease, and
// dials that run are canceled when the lease ends. Its connections are closed before the
// lease ends, leased or not; a TCP connection is reset, so that the other side
// learns of it even if it has not read what was sent before. Without CloseBeforeExpiry it
// returns dial. Nil: that of a net.Dialer.
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
		bounded, cancel := q.Context(ctx)
		defer cancel()
		refused := &net.OpError{Op: "dial", Net: network, Err: ErrExpired}
		q.mu.Lock()
		valid := q.acc.valid(q.now())
		q.mu.Unlock()
		if !valid {
			return nil, refused
		}
		c, err := dial(bounded, network, addr)
		switch {
		case err != nil && context.Cause(bounded) == ErrExpired:
			return nil, refused
		case err != nil || c == nil:
			return c, err
		}
		x, c := q.expiring(c)
		if !q.addExpiry(x) {
			x.f(ErrExpired)
			return nil, refused
		}
		return c, nil
	}
}

// expiring returns how to close c when the lease ends, and c, wrapped if there is no other
// way to know that its user has closed it.
func (q *Quota) expiring(c net.Conn) (*expiry, net.Conn) {
	x := &expiry{f: func(error) { _ = c.Close() }}
	switch c := c.(type) {
	case *net.TCPConn:
		x.f = func(error) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
		x.gone = func() bool { return isClosed(c) }
	case *net.UnixConn:
		x.gone = func() bool { return isClosed(c) }
	default:
		return x, &expiringConn{Conn: c, q: q, x: x}
	}
	return x, c
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
	c.q.dropExpiry(c.x)
	return c.Conn.Close()
}
