package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// The kinds of engines.
const (
	kindRedis = "redis"
	kindEtcd  = "etcd"
)

// patience bounds one step of the work with an engine.
const patience = 5 * time.Second

// backend is an engine, started by the program or not.
type backend struct {
	kind    string                          // one of the kinds above
	what    string                          // for people
	target  func() string                   // its address now
	through func(relay string) string       // its address for the processes, through the relay there
	forget  func(ctx context.Context) error // makes it lose what it knows of this run
	close   func()                          // ends it, or the connection to it
}

// engine is what the processes share the quota through. All of them reach it through one
// relay, which can cut it off.
type engine struct {
	*backend
	*relay
}

// address is where a process reaches the engine.
func (e *engine) address() string { return e.through(e.lis.Addr().String()) }

// Close ends the relay, and the engine if it is the program's own.
func (e *engine) Close() {
	e.relay.Close()
	e.close()
}

// startEngine starts the engine of the settings, or connects to it. All that the run stores
// in it begins with prefix.
func startEngine(ctx context.Context, s settings, prefix string) (*engine, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var b *backend
	var err error
	switch {
	case s.redis != "":
		b, err = ownRedis(ctx, s.redis, prefix)
	case s.etcd != "":
		b, err = ownEtcd(ctx, s.etcd, prefix)
	default:
		b, err = embedded()
	}
	if err != nil {
		return nil, err
	}
	r, err := newRelay(b.target)
	if err != nil {
		b.close()
		return nil, err
	}
	return &engine{b, r}, nil
}

// relay forwards TCP connections to a server. It keeps its address while the server is
// replaced, and can cut the server off.
type relay struct {
	server  func() string // its address
	lis     net.Listener
	serving sync.WaitGroup

	mu     sync.Mutex // guards the rest
	closed bool
	isCut  bool
	conns  map[net.Conn]struct{} // both ends
}

func newRelay(server func() string) (*relay, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{server: server, lis: lis, conns: make(map[net.Conn]struct{})}
	r.serving.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		c, err := r.lis.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // too many files, for example
			continue
		}
		r.serving.Go(func() { r.forward(c) })
	}
}

// forward connects c to the server until either closes, or the relay is cut.
func (r *relay) forward(c net.Conn) {
	defer c.Close()
	if !r.add(c) {
		return
	}
	defer r.remove(c)
	s, err := net.DialTimeout("tcp", r.server(), time.Second)
	if err != nil {
		return
	}
	defer s.Close()
	if !r.add(s) {
		return
	}
	defer r.remove(s)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, s)
		c.Close()
	})
	_, _ = io.Copy(s, c)
	s.Close()
	back.Wait()
}

// add keeps c to be closed by a cut. It returns false if the relay is cut or closed.
func (r *relay) add(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isCut || r.closed {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *relay) remove(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// cut ends all connections, and new ones as soon as they are made, until mend.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = true
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = false
}

// Close ends all connections and waits for the goroutines of the relay.
func (r *relay) Close() {
	_ = r.lis.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.serving.Wait()
}
