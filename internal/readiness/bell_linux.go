package readiness

import (
	"os"
	"sync"
	"syscall"
)

// New returns an unarmed bell for the socket of raw, or nil if that is impossible. ring is
// called on a goroutine that all bells of the process share, so it must not block. A call
// may be late, after Disarm or Close. The connection must outlive the bell or be closed.
func New(raw syscall.RawConn, ring func()) *Bell {
	b := &Bell{ring: ring, socket: socket{raw: raw}}
	if b.poller = enter(b); b.poller == nil {
		return nil
	}
	b.socket.control = b.socket.apply
	return b
}

// socket is the registration of a bell in the kernel's epoll instance.
type socket struct {
	raw        syscall.RawConn
	control    func(fd uintptr) // apply as a func value, created once: arming does not allocate
	slot       int32            // index in the poller's slots
	generation int32            // of that slot
	known      bool             // registered with the kernel

	// Arguments and result of the current call of control.
	epoll  int
	op     int
	events uint32
	err    error
}

// set requests one event, or none. With EPOLLONESHOT the kernel checks the current state
// and reports one event.
func (s *socket) set(p *poller, armed bool) bool {
	s.op, s.events = syscall.EPOLL_CTL_MOD, syscall.EPOLLONESHOT
	if armed {
		s.events |= syscall.EPOLLIN | syscall.EPOLLRDHUP
	}
	if !s.known {
		if !armed {
			return true
		}
		s.op = syscall.EPOLL_CTL_ADD
	}
	ok := s.call(p)
	s.known = s.known || ok
	return ok
}

// remove removes the registration. Closing the connection does so implicitly.
func (s *socket) remove(p *poller) {
	if s.known {
		s.op = syscall.EPOLL_CTL_DEL
		s.call(p)
	}
}

func (s *socket) call(p *poller) bool {
	s.epoll = p.fd
	return s.raw.Control(s.control) == nil && s.err == nil
}

func (s *socket) apply(fd uintptr) {
	e := syscall.EpollEvent{Events: s.events, Fd: s.slot, Pad: s.generation}
	s.err = syscall.EpollCtl(s.epoll, s.op, int(fd), &e)
}

// poller waits for the events of all bells on one goroutine, which runs while there are
// bells.
type poller struct {
	fd   int
	file *os.File // of fd: the runtime's network poller waits for it

	// Guarded by mu.
	slots []slot
	free  []int32
	bells int
}

// slot holds a bell. Its generation is incremented when the bell leaves, so that a late
// event of that bell is not delivered to the next one (ABA).
type slot struct {
	bell       *Bell
	generation int32
}

// mu guards current, and the slots of every poller.
var (
	mu      sync.Mutex
	current *poller // nil while there are no bells
)

// enter assigns a slot to b.
func enter(b *Bell) *poller {
	mu.Lock()
	defer mu.Unlock()
	if current == nil {
		current = newPoller()
	}
	p := current
	if p == nil {
		return nil
	}
	if n := len(p.free); n > 0 {
		b.socket.slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b.socket.slot = int32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[b.socket.slot]
	s.bell, b.socket.generation = b, s.generation
	p.bells++
	return p
}

// leave frees the slot of b. The last bell ends the poller.
func (p *poller) leave(b *Bell) {
	mu.Lock()
	defer mu.Unlock()
	s := &p.slots[b.socket.slot]
	s.bell = nil
	s.generation++
	p.free = append(p.free, b.socket.slot)
	if p.bells--; p.bells == 0 {
		current = nil // p is the current poller as long as it has bells
		p.file.Close()
	}
}

func newPoller() *poller {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		return nil
	}
	go p.run(raw)
	return p
}

// run rings bells until the poller ends. An epoll descriptor is itself pollable, so the
// runtime's network poller reports when it has events.
func (p *poller) run(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, 64)
	n := 0
	wait := func(fd uintptr) bool {
		var err error
		for n, err = syscall.EpollWait(int(fd), events, 0); err == syscall.EINTR; {
			n, err = syscall.EpollWait(int(fd), events, 0) // raw.Read is edge-triggered: events left behind would not be reported again
		}
		return n > 0
	}
	for raw.Read(wait) == nil {
		for _, e := range events[:n] {
			if b := p.lookup(e.Fd, e.Pad); b != nil {
				b.ring()
			}
		}
	}
}

func (p *poller) lookup(slot, generation int32) *Bell {
	mu.Lock()
	defer mu.Unlock()
	if s := p.slots[slot]; s.generation == generation {
		return s.bell
	}
	return nil
}
