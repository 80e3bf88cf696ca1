package fleet

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// judge is a server that counts its sessions, as a provider does. A session begins when the
// name of its process arrives. It ends when its client has closed it, also if the judge
// has not read that yet, and when nothing has arrived for as long as silence: as a provider's
// server does, since a process that is stopped cannot close its sessions.
type judge struct {
	t       testing.TB
	limit   int
	silence time.Duration
	lis     net.Listener
	began   time.Time
	serving sync.WaitGroup

	mu       sync.Mutex
	sessions map[*seat]struct{}
	by       map[string]int // sessions by process
	area     time.Duration  // the integral of min(sessions, limit) over time
	since    time.Time      // until then area is counted
	most     int
	reached  chan struct{} // closed when there are limit sessions
	excesses []string
	allowed  func(total int, by map[string]int) int // how many sessions there may be; nil: limit
	timeline []string
	closed   bool
}

// seat is one session.
type seat struct {
	process string
	conn    *net.TCPConn
}

func newJudge(t testing.TB, limit int, silence time.Duration) *judge {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	j := &judge{t: t, limit: limit, silence: silence, lis: lis, began: now, since: now, sessions: make(map[*seat]struct{}), by: make(map[string]int),
		reached: make(chan struct{})}
	j.serving.Go(j.accept)
	t.Cleanup(j.close)
	return j
}

func (j *judge) addr() string { return j.lis.Addr().String() }

func (j *judge) close() {
	j.lis.Close()
	j.mu.Lock()
	j.closed = true
	for s := range j.sessions {
		s.conn.Close()
	}
	j.mu.Unlock()
	j.serving.Wait()
}

func (j *judge) accept() {
	for {
		c, err := j.lis.Accept()
		if err != nil {
			return
		}
		j.serving.Go(func() { j.serve(c.(*net.TCPConn)) })
	}
}

func (j *judge) serve(c *net.TCPConn) {
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	name, err := in.ReadString('\n')
	if err != nil {
		return
	}
	s := &seat{strings.TrimSpace(name), c}
	if !j.begin(s) {
		return
	}
	defer j.end(s)
	buf := make([]byte, 1024)
	for {
		c.SetReadDeadline(time.Now().Add(j.silence))
		if _, err := in.Read(buf); err == nil {
			continue
		} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			return
		}
		// The judge may be late itself: the kernel knows when something arrived.
		if state, quiet := tcpInfo(c); state != established || quiet >= j.silence {
			return
		}
	}
}

// begin counts a session, unless its client has closed it already.
func (j *judge) begin(s *seat) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if state, _ := tcpInfo(s.conn); state != established || j.closed {
		return false
	}
	if len(j.sessions) >= j.limit {
		for o := range j.sessions {
			if state, quiet := tcpInfo(o.conn); state != established || quiet >= j.silence {
				j.endLocked(o)
			}
		}
	}
	j.countLocked()
	j.sessions[s] = struct{}{}
	j.by[s.process]++
	n := len(j.sessions)
	j.most = max(j.most, n)
	if n >= j.limit {
		select {
		case <-j.reached:
		default:
			close(j.reached)
		}
	}
	allowed := j.limit
	if j.allowed != nil {
		allowed = j.allowed(n, j.by)
	}
	if n > allowed {
		j.excesses = append(j.excesses, fmt.Sprintf("%d sessions, %d allowed: %v", n, allowed, j.by))
		j.noteLocked("EXCESS %s", j.excesses[len(j.excesses)-1])
	}
	return true
}

func (j *judge) end(s *seat) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endLocked(s)
}

func (j *judge) endLocked(s *seat) {
	if _, ok := j.sessions[s]; !ok {
		return
	}
	j.countLocked()
	delete(j.sessions, s)
	j.by[s.process]--
}

// countLocked adds to the integral.
func (j *judge) countLocked() {
	now := time.Now()
	j.area += time.Duration(min(len(j.sessions), j.limit)) * now.Sub(j.since)
	j.since = now
}

// awaitFull returns a channel that is closed when there are limit sessions after now.
func (j *judge) awaitFull() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reached = make(chan struct{})
	if len(j.sessions) >= j.limit {
		close(j.reached)
	}
	return j.reached
}

// used returns the integral of the sessions so far.
func (j *judge) used() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.countLocked()
	return j.area
}

// counts returns the number of sessions by process.
func (j *judge) counts() (by map[string]int, total int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	by = make(map[string]int)
	for name, n := range j.by {
		if n > 0 {
			by[name] = n
		}
	}
	return by, len(j.sessions)
}

// note adds a line to the time line.
func (j *judge) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(format, args...)
}

func (j *judge) noteLocked(format string, args ...any) {
	j.timeline = append(j.timeline, fmt.Sprintf("%8.3fs %3d sessions: ", time.Since(j.began).Seconds(), len(j.sessions))+fmt.Sprintf(format, args...))
}

// verdict fails the test for each excess, with what happened before the first.
func (j *judge) verdict() {
	j.t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.excesses) == 0 {
		return
	}
	first := slices.IndexFunc(j.timeline, func(line string) bool { return strings.Contains(line, "EXCESS") })
	j.t.Errorf("%d excesses, the most sessions were %d of %d; until then:\n%s", len(j.excesses), j.most, j.limit,
		strings.Join(j.timeline[max(0, first-120):min(len(j.timeline), first+5)], "\n"))
}

const established = 1 // TCP_ESTABLISHED

// tcpInfo returns the state of a connection, and for how long nothing has arrived. A state
// other than established means that the other side has closed it.
func tcpInfo(c *net.TCPConn) (state uint8, quiet time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || infoErr != nil {
		return 0, 0
	}
	return info.State, time.Duration(info.Last_data_recv) * time.Millisecond
}
