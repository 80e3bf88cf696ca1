package readiness_test

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/readiness"
)

// TestMain checks that the poller ends with its last bell.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// pair returns a connection on loopback; both ends are closed at the end of the test.
func pair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func rawOf(t testing.TB, c *net.TCPConn) syscall.RawConn {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// bell returns a bell of c that counts in rings; it is closed at the end of the test.
func bell(t testing.TB, c *net.TCPConn) (b *readiness.Bell, rings chan int) {
	t.Helper()
	rings = make(chan int, 100)
	n := 0
	b = readiness.New(rawOf(t, c), func() { n++; rings <- n })
	if b == nil {
		t.Fatal("no bell")
	}
	t.Cleanup(b.Close)
	return b, rings
}

func rung(t testing.TB, rings <-chan int) {
	t.Helper()
	select {
	case <-rings:
	case <-time.After(patience):
		t.Fatal("it did not ring")
	}
}

// quiet checks that a bell does not ring: another bell, which becomes readable later, rings
// first.
func quiet(t testing.TB, rings <-chan int) {
	t.Helper()
	ours, theirs := pair(t)
	other, others := bell(t, ours)
	theirs.Write([]byte("x"))
	if !other.Arm() {
		t.Fatal("not armed")
	}
	rung(t, others)
	select {
	case <-rings:
		t.Fatal("it rang")
	default:
	}
}

func arm(t testing.TB, b *readiness.Bell) {
	t.Helper()
	if !b.Arm() {
		t.Fatal("not armed")
	}
}

func TestRing(t *testing.T) {
	for name, strike := range map[string]func(*net.TCPConn){
		"bytes": func(c *net.TCPConn) { c.Write([]byte("x")) },
		"end":   func(c *net.TCPConn) { c.CloseWrite() },
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		t.Run(name+" after", func(t *testing.T) {
			ours, theirs := pair(t)
			b, rings := bell(t, ours)
			arm(t, b)
			quiet(t, rings)
			strike(theirs)
			rung(t, rings)
			quiet(t, rings) // once per Arm, although the byte is still unread
			arm(t, b)
			rung(t, rings)
		})
		t.Run(name+" before", func(t *testing.T) {
			ours, theirs := pair(t)
			b, rings := bell(t, ours)
			strike(theirs)
			quiet(t, rings) // not armed
			arm(t, b)
			rung(t, rings)
		})
	}
}

func TestDisarm(t *testing.T) {
	ours, theirs := pair(t)
	b, rings := bell(t, ours)
	b.Disarm() // of a bell that was never armed
	arm(t, b)
	arm(t, b)
	b.Disarm()
	theirs.Write([]byte("x"))
	quiet(t, rings)
	arm(t, b)
	rung(t, rings)
	b.Disarm()
	theirs.Write([]byte("y"))
	quiet(t, rings)
}

// Arm fails after the connection was closed, and Close does not.
func TestClosed(t *testing.T) {
	for _, before := range []bool{false, true} {
		ours, _ := pair(t)
		b, rings := bell(t, ours)
		if before {
			arm(t, b)
		}
		ours.Close()
		if b.Arm() {
			t.Error("armed")
		}
		b.Disarm()
		quiet(t, rings)
	}
}

// A bell that reuses a slot does not get events of the previous one, even if the kernel
// still has its registration: here a duplicate keeps the file description alive.
func TestPlaceTakenOver(t *testing.T) {
	keep, _ := pair(t)
	bell(t, keep) // keeps the poller alive
	ours, theirs := pair(t)
	copied, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	old, oldRings := readiness.New(rawOf(t, ours), nil), make(chan int)
	arm(t, old)
	ours.Close() // the registration stays because of the duplicate
	old.Close()
	next, _ := pair(t)
	b, rings := bell(t, next)
	arm(t, b)
	theirs.Write([]byte("x"))
	quiet(t, rings)
	quiet(t, oldRings)
}

// Bells and pollers are created and closed concurrently; every Arm of a readable socket
// rings.
func TestMany(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 10
	}
	var all sync.WaitGroup
	var lost atomic.Int64
	for range 16 {
		ours, theirs := pair(t)
		all.Go(func() {
			buf := make([]byte, 10)
			for i := range rounds {
				rings := make(chan struct{}, 10)
				b := readiness.New(rawOf(t, ours), func() { rings <- struct{}{} })
				for j := range 5 {
					late := (i+j)%2 == 0
					if !late {
						theirs.Write([]byte("x"))
					}
					if !b.Arm() {
						t.Error("not armed")
					}
					if late {
						theirs.Write([]byte("x"))
					}
					select {
					case <-rings:
					case <-time.After(patience):
						lost.Add(1)
					}
					b.Disarm()
					ours.Read(buf)
				}
				b.Close()
			}
		})
	}
	all.Wait()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d rings were lost", n)
	}
}

// The poller ends with the last bell and is started again with the next.
func TestPollerEnds(t *testing.T) {
	ours, theirs := pair(t)
	theirs.Write([]byte("x"))
	for range 20 {
		ring := make(chan int, 1)
		b := readiness.New(rawOf(t, ours), func() { ring <- 1 })
		arm(t, b)
		rung(t, ring)
		b.Close()
	}
	if err := goleak.Find(); err != nil {
		t.Error(err)
	}
}
