package peer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// Transport is the pool in net/http's Transport: a lease is a request whose
// answer is not yet read. What it costs is a request, so it has no loops; it is
// here because it gives a caller what comes first, an idle connection or its dial.
var Transport = Kind{Name: "net/http", Lasting: true, Trip: true, Open: openTransport}

type transport struct{ *http.Transport }

func openTransport(c Config) (Pool, error) {
	if c.Check != nil || c.MaxAge > 0 || c.MinIdle > 0 {
		return nil, errors.ErrUnsupported
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if c.MakeTimeout > 0 { // net.Dialer's Timeout, which the package sets for its own Transport
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.MakeTimeout)
			defer cancel()
		}
		it, err := c.Make(ctx)
		if err != nil {
			return nil, err
		}
		client, server := net.Pipe()
		go answerAll(server)
		return &itemConn{Conn: client, it: it, destroy: c.Destroy}, nil
	}
	return transport{&http.Transport{DialContext: dial, MaxConnsPerHost: c.Max, MaxIdleConnsPerHost: c.Max}}, nil
}

// answerAll answers every request with one byte, at once.
func answerAll(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		r.Body.Close()
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n."); err != nil {
			return
		}
	}
}

// An itemConn is a connection that stands for an item.
type itemConn struct {
	net.Conn
	it      *Item
	destroy func(*Item)
	once    sync.Once // some close a connection twice
	due     bool      // for a check, in a pool that has such
}

func (c *itemConn) Close() error {
	if c.destroy != nil {
		c.once.Do(func() { c.destroy(c.it) })
	}
	return c.Conn.Close()
}

func (p transport) Acquire(ctx context.Context) (Lease, error) {
	l := &transportLease{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { l.it = i.Conn.(*itemConn).it },
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pool.invalid/", nil)
	if err != nil {
		return Lease{}, err
	}
	resp, err := p.RoundTrip(r)
	if err != nil {
		return Lease{}, err
	}
	l.body = resp.Body
	return Lend(l), nil
}

func (p transport) Warm(ctx context.Context, n int) error { return WarmBySet(ctx, p, n) }

// Close closes what is idle: a Transport has no other end.
func (p transport) Close(context.Context) error {
	p.CloseIdleConnections()
	return nil
}

type transportLease struct {
	it   *Item
	body io.ReadCloser
}

func (l *transportLease) Item() *Item { return l.it }

// Release reads the answer: only then is the connection idle.
func (l *transportLease) Release() {
	_, _ = io.Copy(io.Discard, l.body)
	_ = l.body.Close()
}

// Use reads on, and so uses the lease up unless it has ended.
func (l *transportLease) Use() error {
	_, err := l.body.Read(make([]byte, 1))
	return err
}

// Destroy leaves the answer unread, which costs the connection.
func (l *transportLease) Destroy() { _ = l.body.Close() }
