package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Errors of a server.
var (
	errDown    = errors.New("connection refused")
	errTooMany = errors.New("too many sessions")
	errReset   = errors.New("connection reset by peer")
)

// phase is a part of a script: what is wrong with a server for a time.
type phase struct {
	from, until time.Duration
	state       state
	limit       int // sessions, if the state is limited
}

type state int

const (
	well    state = iota
	down          // dials are refused, and the sessions end when the phase begins
	silent        // nothing is answered: dials and requests hang
	limited       // no more than limit sessions: the others end when the phase begins, and dials are refused
)

// server is a backend. Its script says what happens to it.
type server struct {
	began       time.Time
	dialTime    time.Duration
	accepts     int           // handshakes at once, which others wait for; 0: any number
	acceptsFrom time.Duration // before, any number
	script      []phase
	every       time.Duration // interval of the timelines

	mu        sync.Mutex
	rand      *rand.Rand
	ends      map[time.Duration]bool // when dials end: each at an instant of its own
	live      []*session             // in the order of their dials
	dialing   int
	accepting int
	queue     []chan struct{} // dials that wait for a handshake
	dials     timeline        // that have begun
	refused   timeline        // that were refused
	dialed    int
	atOnce    int       // most dials at once
	most      int       // most sessions at once
	sessions  timeline  // integral of the sessions over time, in seconds
	counted   time.Time // until then sessions are counted
	stop      chan struct{}
	running   sync.WaitGroup
}

// session is one connection to a server.
type session struct {
	s    *server
	gone chan struct{} // closed when the server has ended it

	mu         sync.Mutex
	over       bool // ended, by either side
	invalidate func(error)
}

// newServer starts a server; end it with close.
func (st *Stage) newServer(every, dialTime time.Duration, script ...phase) *server {
	s := &server{
		rand: st.rand(MaxClients), ends: make(map[time.Duration]bool), began: time.Now(), counted: time.Now(), dialTime: dialTime, script: script, every: every,
		dials: timeline{every: every}, refused: timeline{every: every}, sessions: timeline{every: every}, stop: make(chan struct{}),
	}
	s.running.Go(s.play)
	return s
}

func (s *server) close() {
	close(s.stop)
	s.running.Wait()
}

func (s *server) now() time.Duration { return time.Since(s.began) }

// phase returns the phase of the script at this time.
func (s *server) phase() phase {
	now := s.now()
	for _, p := range s.script {
		if now >= p.from && now < p.until {
			return p
		}
	}
	return phase{}
}

// play ends the sessions that a phase of the script ends.
func (s *server) play() {
	for _, p := range s.script {
		select {
		case <-time.After(p.from - s.now()):
		case <-s.stop:
			return
		}
		switch p.state {
		case down:
			s.keep(0)
		case limited:
			s.keep(p.limit)
		}
	}
}

// keep ends all but the first n sessions.
func (s *server) keep(n int) {
	s.mu.Lock()
	var ended []*session
	if len(s.live) > n {
		ended = append(ended, s.live[n:]...)
	}
	s.mu.Unlock()
	for _, c := range ended {
		// At one instant the goroutines that wake would run in an order that does not follow from
		// the seed.
		c.end(errReset)
		time.Sleep(instant(1))
		close(c.gone)
		time.Sleep(instant(1))
	}
}

// countLocked counts the sessions until now.
func (s *server) countLocked() {
	now := time.Now()
	for s.counted.Before(now) {
		at := s.counted.Sub(s.began)
		next := s.began.Add((at/s.every + 1) * s.every)
		if next.After(now) {
			next = now
		}
		s.sessions.add(at, float64(len(s.live))*next.Sub(s.counted).Seconds())
		s.counted = next
	}
}

// dial makes a session.
func (s *server) dial(ctx context.Context) (*session, error) {
	began := s.now()
	s.mu.Lock()
	s.dialing++
	s.atOnce = max(s.atOnce, s.dialing)
	s.dials.add(began, 1)
	s.dialed++
	takes := s.dialTime + upTo(s.rand, s.dialTime/10)
	for s.ends[began+takes] {
		takes++
	}
	s.ends[began+takes] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dialing--
	}()
	if s.phase().state != down {
		if err := s.handshake(ctx); err != nil {
			return nil, err
		}
		defer s.accepted()
	}
	if s.phase().state == silent {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p := s.phase()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.state == down || p.state == limited && len(s.live) >= p.limit {
		s.refused.add(s.now(), 1)
		if p.state == down {
			return nil, errDown
		}
		return nil, errTooMany
	}
	c := &session{s: s, gone: make(chan struct{})}
	s.countLocked()
	s.live = append(s.live, c)
	s.most = max(s.most, len(s.live))
	return c, nil
}

// handshake waits until the server accepts one more.
func (s *server) handshake(ctx context.Context) error {
	s.mu.Lock()
	if s.accepts == 0 || s.now() < s.acceptsFrom {
		s.accepting++
		s.mu.Unlock()
		return nil
	}
	if s.accepting < s.accepts {
		s.accepting++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.queue = append(s.queue, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		// The server does not notice that the client has left, and its work is lost.
		s.running.Go(func() {
			select {
			case <-turn:
				time.Sleep(s.dialTime)
				s.accepted()
			case <-s.stop:
			}
		})
		return context.Cause(ctx)
	}
}

// accepted ends a handshake: the next one begins.
func (s *server) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.queue) > 0:
		close(s.queue[0])
		s.queue = s.queue[1:]
	default:
		s.accepting--
	}
}

// watch is the Watch of a pool of sessions.
func (c *session) watch(invalidate func(error)) {
	c.mu.Lock()
	over := c.over
	c.invalidate = invalidate
	c.mu.Unlock()
	if over {
		invalidate(errReset)
	}
}

// end ends the session: cause is nil if the client does.
func (c *session) end(cause error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	c.over = true
	invalidate := c.invalidate
	c.mu.Unlock()
	s := c.s
	s.mu.Lock()
	s.countLocked()
	for i, other := range s.live {
		if other == c {
			s.live = append(s.live[:i], s.live[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	if cause != nil && invalidate != nil {
		invalidate(cause)
	}
}

// serve is one request. It fails when the session or ctx has ended.
func (c *session) serve(ctx context.Context, takes time.Duration) error {
	if c.s.phase().state == silent {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.gone:
			return errReset
		}
	}
	done := time.NewTimer(takes)
	defer done.Stop()
	select {
	case <-done.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.gone:
		return errReset
	}
}
