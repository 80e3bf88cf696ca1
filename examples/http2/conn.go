package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// errSpent: the connection takes no more requests, so this one was not sent.
var errSpent = errors.New("http2: the connection takes no more requests")

// errEnded is the cause if the connection ended by itself.
var errEnded = errors.New("http2: the connection has ended")

// conn is one HTTP/2 connection, on which any number of goroutines may send requests.
type conn struct {
	url       string
	client    *http.Client // of this connection alone
	transport *http.Transport
	socket    *socket

	mu       sync.Mutex
	recalled func(cause error) // called when the pool wants the connection back; nil: not leased
	cause    error             // the pool has asked for it before that
}

// config returns the configuration of a pool of connections to addr.
func config(addr string, secure *tls.Config, size int) resource.Config[*conn] {
	return resource.Config[*conn]{
		Make:  func(ctx context.Context) (*conn, error) { return dial(ctx, addr, secure) },
		Watch: func(c *conn, invalidate func(error)) { c.socket.onEnd(func() { invalidate(errEnded) }) },
		Destroy: func(c *conn, _ error) {
			c.transport.CloseIdleConnections()
			c.socket.Close()
		},
		Recall:   (*conn).recall,
		Eviction: policy.MaxAge(30*time.Minute, 0.1), // new connections reach servers that have joined
		MaxSize:  size,
	}
}

// dial is Config.Make: it connects and has the server answer once.
func dial(ctx context.Context, addr string, secure *tls.Config) (*conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{url: "https://" + addr, socket: &socket{Conn: raw, ended: make(chan struct{})}}
	secure = secure.Clone()
	secure.NextProtos = []string{"h2"}
	if secure.ServerName == "" {
		secure.ServerName, _, _ = net.SplitHostPort(addr) // Dial has accepted it
	}
	shaken := tls.Client(c.socket, secure)
	if err := shaken.HandshakeContext(ctx); err != nil {
		c.socket.Close()
		return nil, err
	}
	if p := shaken.ConnectionState().NegotiatedProtocol; p != "h2" {
		c.socket.Close()
		return nil, fmt.Errorf("http2: the server chose protocol %q", p)
	}
	var used atomic.Bool
	c.transport = &http.Transport{
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second}, // finds a silent peer
		// The transport gets this connection, and no other one: the pool decides about those. It asks
		// for another when the server wants no more requests on this one.
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errSpent
			}
			return shaken, nil
		},
	}
	c.client = &http.Client{Transport: c.transport}
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, c.url+"/", nil)
	if err == nil {
		var reply *http.Response
		if reply, err = c.client.Do(r); err == nil {
			err = reply.Body.Close()
		}
	}
	if err != nil {
		c.socket.Close()
		return nil, err
	}
	return c, nil
}

// recall is Config.Recall: the pool wants the connection back.
func (c *conn) recall(cause error) {
	c.mu.Lock()
	c.cause = cause
	f := c.recalled
	c.mu.Unlock()
	if f != nil {
		f(cause)
	}
}

// onRecall has f called when the pool wants the connection back; at once, if it does already. Nil: the
// lease has ended.
func (c *conn) onRecall(f func(error)) {
	c.mu.Lock()
	c.recalled = f
	cause := c.cause
	if f == nil {
		c.cause = nil // it was for the lease that has ended
	}
	c.mu.Unlock()
	if f != nil && cause != nil {
		f(cause)
	}
}

// socket reports the end of a connection. HTTP/2 reads the connection all the time, so it finds at once
// that the peer has closed it.
type socket struct {
	net.Conn
	once  sync.Once
	ended chan struct{} // closed at its end
}

func (s *socket) end() { s.once.Do(func() { close(s.ended) }) }

func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		s.end()
	}
	return n, err
}

func (s *socket) Close() error {
	s.end()
	return s.Conn.Close()
}

// onEnd calls f when the connection has ended.
func (s *socket) onEnd(f func()) {
	go func() {
		<-s.ended
		f()
	}()
}
