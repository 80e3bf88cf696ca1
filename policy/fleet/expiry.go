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

// OnExpiry arranges for f to be called once, with [ErrExpired], [Config.Margin] before the lease
// ends, if [Config.CloseBeforeExpiry] is set; otherwise f is never called. f runs on a goroutine
// of its own, and a panic in it is contained. If there is no lease, because it has ended or the
// ledger has not granted one yet, OnExpiry calls f itself before it returns. f must close the
// resource that the caller got a permit for, leased or not, without waiting for its holder.
//
// stop removes f, and returns false if f was called or removed before. Call it when the
// resource has ended.
//
// A creation that runs must end too, because a session may exist before Make has returned:
// see Context. For example, a pool of subprocesses starts them in Config.Make with
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
// given to OnExpiry are called; if there is no lease, at once. The quota refers to the copy until
// ctx or the copy ends.
func (q *Quota) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	copied, cancel := context.WithCancelCause(ctx)
	if q.cfg.CloseBeforeExpiry {
		stop := q.OnExpiry(func(cause error) { cancel(cause) })
		context.AfterFunc(copied, func() { stop() })
	}
	return copied, func() { cancel(nil) }
}

// addExpiry adds x, or returns false if there is no lease. When the set has doubled since the
// last search it removes those whose connections are closed.
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

// dropExpiry removes x, and returns false if x was called or removed before.
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

// expireAll calls each function on a goroutine of its own, so that a function that blocks does
// not delay the others. A panic is contained.
func expireAll(all []*expiry) {
	for _, x := range all {
		go func() {
			defer func() { _ = recover() }()
			x.f(ErrExpired)
		}()
	}
}

// Dial returns a function like dial, for wspool.Config.NetDial or net/http's DialContext, that
// serves [Config.CloseBeforeExpiry]; without that it returns dial itself. A nil dial means that
// of a zero net.Dialer.
//
// While there is no lease the function fails with a *net.OpError that matches [ErrExpired].
// [Config.Margin] before the lease ends, dials that run are canceled, with the same error, and all
// connections are closed, leased or not. A TCP connection is reset, so that the peer notices even
// if it has not read what was sent before. A *net.TCPConn or *net.UnixConn is returned as it is;
// other connections are wrapped. The function blocks as dial does.
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

// expiring returns the expiry that closes c, and c, wrapped if there is no other way to know
// that the caller has closed it.
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

// isClosed reports whether a socket was closed on this side.
func isClosed(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(uintptr) {})
	}
	return err != nil && errors.Is(err, net.ErrClosed)
}

// expiringConn is a connection whose Close also removes its expiry.
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
