package peer

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// Transport is the pool in net/http's Transport: a lease is a request whose response
// has not been read. Its cost is that of a request, so that it has no loops. It is
// compared because it hands a caller whichever comes first, an idle connection or the
// caller's own dial.
var Transport = Kind{Name: "net/http", NoClose: true, RoundTrip: true, Open: openTransport}

type transport struct{ *http.Transport }

func openTransport(c Config) (Pool, error) {
	if err := c.lacks(true, true, true, true); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if c.MakeTimeout > 0 { // what net.Dialer's Timeout is to http.DefaultTransport
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.MakeTimeout)
			defer cancel()
		}
		return DialItem(ctx, c, answerAll)
	}
	return transport{&http.Transport{DialContext: dial, MaxConnsPerHost: c.Max, MaxIdleConnsPerHost: c.Max}}, nil
}

// answerAll answers every request with one byte, at once.
func answerAll(c net.Conn, _ *Item) {
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

// An ItemConn is a connection that stands for an item.
type ItemConn struct {
	net.Conn
	Item *Item
	c    Config
	once sync.Once // some pools close a connection twice
	due  bool      // for a check, in pgxpool
}

// DialItem makes an item and returns it as the client's end of a pipe, with serve at
// the server's end.
func DialItem(ctx context.Context, c Config, serve func(net.Conn, *Item)) (net.Conn, error) {
	it, err := c.Make(ctx)
	if err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		serve(server, it)
	}()
	return &ItemConn{Conn: client, Item: it, c: c}, nil
}

// Close closes the connection and destroys the item.
func (c *ItemConn) Close() error {
	c.once.Do(func() { c.c.destroy(c.Item) })
	return c.Conn.Close()
}

func (p transport) Acquire(ctx context.Context) (Lease, error) {
	l := &transportLease{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { l.it = i.Conn.(*ItemConn).Item },
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

func (p transport) Warm(ctx context.Context, n int) error { return WarmByLeases(ctx, p, n) }

// Close closes the idle connections: a Transport has no other end.
func (p transport) Close(context.Context) error {
	p.CloseIdleConnections()
	return nil
}

type transportLease struct {
	it   *Item
	body io.ReadCloser
}

func (l *transportLease) Item() *Item { return l.it }

// Release reads the response: only then is the connection idle.
func (l *transportLease) Release() {
	_, _ = io.Copy(io.Discard, l.body)
	_ = l.body.Close()
}

// Use reads on, and so uses up the lease unless it has ended.
func (l *transportLease) Use() error {
	_, err := l.body.Read(make([]byte, 1))
	return err
}

// Destroy leaves the response unread, so that the Transport closes the connection.
func (l *transportLease) Destroy() { _ = l.body.Close() }
