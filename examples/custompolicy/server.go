package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// server answers the line "ping" with "pong" and echoes all others.
type server struct {
	net.Listener
	accepting sync.WaitGroup
	mu        sync.Mutex
	conns     map[net.Conn]bool
	answering sync.WaitGroup
}

func listen() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{Listener: l, conns: make(map[net.Conn]bool)}
	s.accepting.Go(s.accept)
	return s, nil
}

func (s *server) Addr() string { return s.Listener.Addr().String() }

func (s *server) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.answering.Go(func() { s.answer(c) })
	}
}

func (s *server) answer(c net.Conn) {
	defer c.Close()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		if line == "ping" {
			line = "pong"
		}
		if _, err := fmt.Fprintln(c, line); err != nil {
			return
		}
	}
}

// DropAll closes every connection.
func (s *server) DropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	clear(s.conns)
}

// Close ends the server and waits for its goroutines.
func (s *server) Close() error {
	err := s.Listener.Close()
	s.accepting.Wait() // a connection accepted just now is closed too
	s.DropAll()
	s.answering.Wait()
	return err
}

// conn is a connection of a client to the server.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

// ask sends a line and returns the answer.
func (c *conn) ask(ctx context.Context, line string) (string, error) {
	// The end of ctx interrupts a running write or read.
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	answer, err := c.in.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}
