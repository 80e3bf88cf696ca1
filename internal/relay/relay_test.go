package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds events that must happen. No successful test waits for it to pass.
const patience = 20 * time.Second

// glance is how long a test waits for an event that must not happen. If it is too short the
// test may miss the event, but never fails by chance.
const glance = 30 * time.Millisecond

// target listens for the connections of one relay.
type target struct {
	*relay.Relay
	l net.Listener
}

func start(t *testing.T) *target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); l.Close() })
	return &target{r, l}
}

// pair returns the two ends of a connection through the relay.
func (r *target) pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := r.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c.SetDeadline(time.Now().Add(patience))
	s.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// one returns a pair and its Conn, after a byte has passed.
func (r *target) one(t *testing.T) (client, server *net.TCPConn, c *relay.Conn) {
	t.Helper()
	client, server = r.pair(t)
	say(t, server, "hello")
	hear(t, client, "hello")
	return client, server, r.Conns()[0]
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if n, err := io.ReadFull(c, p); err != nil || string(p) != want {
		t.Fatalf("heard %q, %v, want %q", p[:n], err, want)
	}
}

// ends checks that the next read fails with want.
func ends(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d, %v, want %v", n, err, want)
	}
}

// silent checks that nothing arrives within glance.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(glance))
	ends(t, c, os.ErrDeadlineExceeded)
	c.SetReadDeadline(time.Now().Add(patience))
}

// Without faults all bytes are forwarded, and EOF of each direction independently.
func TestPass(t *testing.T) {
	r := start(t)
	client, server, _ := r.one(t)
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		client.Write(big)
		client.CloseWrite()
	}()
	if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(big), err)
	}
	say(t, server, "answer")
	server.Close()
	hear(t, client, "answer")
	ends(t, client, io.EOF)
	for by := time.Now().Add(patience); len(r.Conns()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			t.Fatal("a connection that has ended is still listed")
		}
	}
}

// A reset of one side resets the other.
func TestPassReset(t *testing.T) {
	client, server, _ := start(t).one(t)
	client.SetLinger(0)
	client.Close()
	ends(t, server, syscall.ECONNRESET)
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T, client, server *net.TCPConn, c *relay.Conn){
		"cut": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Down().Cut()
			ends(t, client, io.EOF)
			say(t, server, "dropped")
			say(t, client, "up")
			hear(t, server, "up")
			client.CloseWrite()
			ends(t, server, io.EOF)
		},
		"reset": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Reset()
			ends(t, client, syscall.ECONNRESET)
			ends(t, server, syscall.ECONNRESET)
		},
		"reset of one side": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Down().Reset()
			ends(t, client, syscall.ECONNRESET)
			say(t, server, "into nothing")
			silent(t, server)
		},
		"close": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Close()
			ends(t, client, io.EOF)
			ends(t, server, io.EOF)
		},
		"black hole": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.BlackHole()
			say(t, client, "lost")
			say(t, server, "lost")
			client.CloseWrite()
			silent(t, server)
			silent(t, client)
		},
		"pause": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Pause()
			say(t, client, "up")
			say(t, server, "down")
			server.CloseWrite()
			silent(t, client)
			silent(t, server)
			c.Resume()
			hear(t, server, "up")
			hear(t, client, "down")
			ends(t, client, io.EOF)
		},
		"delay": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			began := time.Now()
			c.Up().Delay(glance)
			say(t, client, "late")
			hear(t, server, "late")
			if d := time.Since(began); d < glance {
				t.Errorf("delayed by %v", d)
			}
			c.Up().Delay(time.Hour)
			say(t, client, "later")
			silent(t, server)
			c.Up().Delay(0)
			hear(t, server, "later")
		},
		"trickle": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			began := time.Now()
			c.Up().Trickle(glance)
			say(t, client, "1234")
			hear(t, server, "1234")
			if d := time.Since(began); d < 4*glance {
				t.Errorf("4 bytes in %v", d)
			}
		},
		"slow close": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Down().SlowClose(time.Hour)
			say(t, server, "at once")
			server.CloseWrite()
			hear(t, client, "at once")
			silent(t, client)
			c.Down().SlowClose(0)
			ends(t, client, io.EOF)
		},
		"after so many bytes": func(t *testing.T, client, server *net.TCPConn, c *relay.Conn) {
			c.Up().After(4, c.Up().Cut)
			say(t, client, "12")
			say(t, client, "3456")
			hear(t, server, "1234")
			ends(t, server, io.EOF)
			if n := c.Down().Passed(); n != 5 { // of "hello", which was received
				t.Errorf("%d passed of 5", n)
			}
			for range 2 { // the second time all have passed already
				called := make(chan bool, 1)
				c.Down().After(5, func() { called <- true })
				select {
				case <-called:
				case <-time.After(patience):
					t.Error("not called")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server, c := start(t).one(t)
			fault(t, client, server, c)
		})
	}
}

// The hook can set a fault from the first byte on.
func TestHook(t *testing.T) {
	r := start(t)
	r.OnConn(func(c *relay.Conn) { c.Down().After(3, c.Down().Cut) })
	client, server := r.pair(t)
	say(t, server, "12345")
	hear(t, client, "123")
	ends(t, client, io.EOF)

	r.OnConn((*relay.Conn).Reset)
	dialReset(t, r.Addr())
}

func TestRefuse(t *testing.T) {
	r := start(t)
	client, server, _ := r.one(t)
	r.Refuse()
	if c, err := net.Dial("tcp", r.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		t.Errorf("dial: %v", err)
	}
	say(t, client, "still")
	hear(t, server, "still")
}

// If the target refuses, the client is reset.
func TestNoTarget(t *testing.T) {
	r := start(t)
	r.l.Close()
	dialReset(t, r.Addr())
}

// dialReset checks that a dial is accepted and then reset.
func dialReset(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return // the reset arrived before the dial returned
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	ends(t, c, syscall.ECONNRESET)
}

// Close ends blocked writes, pauses, delays and black holes.
func TestCloseStuck(t *testing.T) {
	for name, stick := range map[string]func(*relay.Conn){
		"full":        func(*relay.Conn) {},
		"paused":      (*relay.Conn).Pause,
		"black hole":  (*relay.Conn).BlackHole,
		"delay":       func(c *relay.Conn) { c.Up().Delay(time.Hour) },
		"trickle":     func(c *relay.Conn) { c.Up().Trickle(time.Hour) },
		"one is gone": func(c *relay.Conn) { c.Up().Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			client, _, c := r.one(t)
			stick(c)
			client.SetWriteDeadline(time.Now().Add(glance))
			client.Write(make([]byte, 32<<20)) // the server does not read
			done := make(chan struct{})
			go func() { defer close(done); r.Close() }()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("Close hangs")
			}
		})
	}
}

// A black hole unblocks a write that the receiver had blocked.
func TestHoleFreesWriter(t *testing.T) {
	client, _, c := start(t).one(t)
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, 32<<20))
		sent <- err
	}()
	select {
	case err := <-sent:
		t.Fatalf("the write completed although the server does not read: %v", err)
	case <-time.After(glance):
	}
	c.BlackHole()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
