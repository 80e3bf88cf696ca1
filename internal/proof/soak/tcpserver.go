package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A tcpServer serves sessions of lines. It greets with "hello NUMBER", or with "busy" while it
// refuses, and answers
//
//	work TENANT CALL SIZE MODE    TENANT CALL xxxx…, SIZE times x
//	reset                         clean
//	ping                          pong
//
// A session belongs to the tenant of its first work until it is reset. The server reports a violation
// if another tenant uses it before.
type tcpServer struct {
	journal *journal
	name    string
	listen  net.Listener
	resets  bool // sessions are reset between two tenants
	plant   fault
	all     sync.WaitGroup
	count   atomic.Int64 // connections
	greeted atomic.Int64

	mu       sync.Mutex
	sessions map[net.Conn]bool
	busy     time.Time // it refuses until then
	slow     time.Time // it greets late until then
	closed   bool
}

func newTCPServer(name string, j *journal, secure *tls.Config, resets bool, plant fault) (*tcpServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &tcpServer{journal: j, name: name, listen: l, resets: resets, plant: plant, sessions: map[net.Conn]bool{}}
	s.all.Go(s.accept)
	return s, nil
}

func (s *tcpServer) addr() string    { return s.listen.Addr().String() }
func (s *tcpServer) open() int       { return int(s.count.Load()) }
func (s *tcpServer) accepted() int64 { return s.greeted.Load() }

func (s *tcpServer) accept() {
	for {
		c, err := s.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.sessions[c] = true
		s.mu.Unlock()
		s.count.Add(1)
		s.all.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				delete(s.sessions, c)
				s.mu.Unlock()
				s.count.Add(-1)
			}()
			s.serve(c)
		})
	}
}

func (s *tcpServer) serve(c net.Conn) {
	s.mu.Lock()
	now := time.Now()
	busy, slow := now.Before(s.busy), now.Before(s.slow)
	s.mu.Unlock()
	if busy {
		fmt.Fprintln(c, "busy")
		return
	}
	if slow {
		time.Sleep(30 * time.Millisecond) // a server that greets late
	}
	if _, err := fmt.Fprintf(c, "hello %d\n", s.greeted.Add(1)); err != nil {
		return
	}
	in := bufio.NewReader(c)
	tenant, before := "", ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		answer := ""
		switch {
		case len(f) == 1 && f[0] == "ping":
			answer = "pong"
		case len(f) == 1 && f[0] == "reset":
			tenant, answer = "", "clean"
		case len(f) == 5 && f[0] == "work":
			if s.resets && tenant != "" && tenant != f[1] {
				s.journal.violation(s.name, "I2: a session that tenant %s has left behind without a reset works for tenant %s", tenant, f[1])
			}
			tenant = f[1]
			size := 0
			fmt.Sscan(f[3], &size)
			answer = f[1] + " " + f[2] + " " + strings.Repeat("x", size)
			if s.plant == plantCrossed && before != "" {
				answer, before = before, answer
			} else {
				before = answer
			}
			switch f[4] {
			case "slow":
				time.Sleep(5 * time.Millisecond) // a server that takes its time
			case "never":
				continue
			case "cut":
				answer = answer[:len(answer)/2]
				c.Write([]byte(answer)) // the client may have left
				return
			}
		default:
			s.journal.violation(s.name, "the server received %.80q, which was never sent", line)
			return
		}
		if _, err := c.Write([]byte(answer + "\n")); err != nil {
			return
		}
	}
}

func (s *tcpServer) misbehave(r *rand.Rand) string {
	kind, which, d := r.IntN(4), r.Uint64(), time.Duration(r.Int64N(int64(time.Second)))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case 0:
		s.busy = time.Now().Add(d)
		return fmt.Sprintf("refuses sessions for %v", d.Round(time.Millisecond))
	case 1:
		s.slow = time.Now().Add(d)
		return fmt.Sprintf("greets late for %v", d.Round(time.Millisecond))
	case 2:
		for c := range s.sessions {
			c.Close()
		}
		return "closes all sessions"
	}
	n := uint64(len(s.sessions))
	for c := range s.sessions {
		if n > 0 && which%n == 0 {
			c.Close()
			break
		}
		which++
	}
	return "closes a session"
}

func (s *tcpServer) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.slow = time.Time{}, time.Time{}
}

func (s *tcpServer) close() {
	s.listen.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.sessions {
		c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}
