package readiness

import (
	"os"
	"sync"
	"syscall"
)

// New returns a bell for the socket of raw, not armed, or nil if that is impossible. One
// goroutine of the process calls ring for all bells, so ring must not block; it may be called
// late, after Disarm or Close. The connection must outlive the bell, or be closed.
func New(raw syscall.RawConn, ring func()) *Bell {
	b := &Bell{ring: ring, socket: socket{raw: raw}}
	if b.poller = enter(b); b.poller == nil {
		return nil
	}
	b.socket.control = b.socket.apply
	return b
}

// socket is a bell's registration with the kernel.
type socket struct {
	raw     syscall.RawConn
	control func(fd uintptr) // apply, made once: arming allocates nothing
	place   int32            // index in the poller's slots
	turn    int32            // the turn of that slot
	known   bool             // the kernel has the socket

	// Arguments and result of the present call.
	epoll  int
	op     int
	events uint32
	err    error
}

// set asks for one event, or for none. EPOLLONESHOT makes the kernel check at once whether
// there is something, and report it once.
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

// remove removes the socket from the kernel's set. The kernel does so itself when the
// connection is closed.
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
	e := syscall.EpollEvent{Events: s.events, Fd: s.place, Pad: s.turn}
	s.err = syscall.EpollCtl(s.epoll, s.op, int(fd), &e)
}

// poller waits for all bells, on one goroutine, which runs while there are any.
type poller struct {
	fd   int
	file *os.File // of fd, so that the runtime waits for it as for a socket

	// Guarded by mu.
	slots []slot
	free  []int32
	bells int
}

// slot is the location of a bell. Its turn grows when the bell leaves, so that an event of
// that bell is not taken for one of the next.
type slot struct {
	bell *Bell
	turn int32
}

// mu guards current, and the slots of every poller.
var (
	mu      sync.Mutex
	current *poller // nil: there are no bells
)

// enter registers b.
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
		b.socket.place = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b.socket.place = int32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[b.socket.place]
	s.bell, b.socket.turn = b, s.turn
	p.bells++
	return p
}

// leave removes b, and ends the poller with its last bell.
func (p *poller) leave(b *Bell) {
	mu.Lock()
	defer mu.Unlock()
	s := &p.slots[b.socket.place]
	s.bell = nil
	s.turn++
	p.free = append(p.free, b.socket.place)
	if p.bells--; p.bells == 0 {
		current = nil // there is no other poller while this one has bells
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

// run rings until the poller ends. The runtime reports when the kernel has events: an epoll
// descriptor can itself be polled.
func (p *poller) run(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, 64)
	n := 0
	wait := func(fd uintptr) bool {
		var err error
		for n, err = syscall.EpollWait(int(fd), events, 0); err == syscall.EINTR; {
			n, err = syscall.EpollWait(int(fd), events, 0) // the runtime reports only new events
		}
		return n > 0
	}
	for raw.Read(wait) == nil {
		for _, e := range events[:n] {
			if b := p.at(e.Fd, e.Pad); b != nil {
				b.ring()
			}
		}
	}
}

func (p *poller) at(place, turn int32) *Bell {
	mu.Lock()
	defer mu.Unlock()
	if s := p.slots[place]; s.turn == turn {
		return s.bell
	}
	return nil
}
