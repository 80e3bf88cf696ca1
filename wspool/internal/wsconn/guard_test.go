package wsconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// scripted is a connection of which each method does what do says, and returns that error.
type scripted struct {
	net.Conn
	do     func(method string) error
	closed int
}

func (c *scripted) Read([]byte) (int, error)           { return 1, c.do("Read") }
func (c *scripted) TryRead([]byte) (int, error)        { return 1, c.do("TryRead") }
func (c *scripted) Write([]byte) (int, error)          { return 1, c.do("Write") }
func (c *scripted) SetDeadline(time.Time) error        { return c.do("SetDeadline") }
func (c *scripted) SetReadDeadline(time.Time) error    { return c.do("SetReadDeadline") }
func (c *scripted) SetWriteDeadline(t time.Time) error { return c.do("SetWriteDeadline") }
func (c *scripted) Close() error {
	c.closed++
	return c.do("Close")
}

// methodsOf returns the methods of a guarded connection, by name.
func methodsOf(c net.Conn) map[string]func() error {
	at := time.Now()
	return map[string]func() error{
		"Read":             func() error { _, err := c.Read(nil); return err },
		"TryRead":          func() error { _, err := c.(tryReader).TryRead(nil); return err },
		"Write":            func() error { _, err := c.Write(nil); return err },
		"SetDeadline":      func() error { return c.SetDeadline(at) },
		"SetReadDeadline":  func() error { return c.SetReadDeadline(at) },
		"SetWriteDeadline": func() error { return c.SetWriteDeadline(at) },
		"Close":            func() error { return c.Close() },
	}
}

// A guarded connection passes results through. A panic or Goexit in a method becomes an error, which
// is reported, closes the connection once, and is what later reads and writes fail with.
func TestGuard(t *testing.T) {
	for method := range methodsOf(new(scripted)) {
		var reported []string
		contained := errors.New("contained")
		inner := &scripted{do: func(string) error { return io.ErrNoProgress }}
		c := Guard(inner, func(where string, v any) error {
			reported = append(reported, fmt.Sprint(where, ": ", v))
			return contained
		})
		if err := methodsOf(c)[method](); err != io.ErrNoProgress || reported != nil {
			t.Errorf("%s: %v; reported %q", method, err, reported)
		}

		for _, goexit := range []bool{false, true} {
			reported, inner.closed, inner.do = nil, 0, func(called string) error {
				switch {
				case called != method:
					return nil
				case goexit:
					runtime.Goexit()
				}
				panic("boom")
			}
			c := Guard(inner, func(where string, v any) error {
				reported = append(reported, fmt.Sprint(where, ": ", v))
				return contained
			})
			err := errors.New("the goroutine has ended")
			done := make(chan struct{})
			go func() {
				defer close(done)
				err = methodsOf(c)[method]()
			}()
			<-done
			want := "the " + method + " of what NetDial returned: boom"
			if goexit {
				want = "the " + method + " of what NetDial returned: <nil>"
			} else if !errors.Is(err, contained) {
				t.Errorf("%s: %v", method, err)
			}
			if len(reported) != 1 || reported[0] != want || inner.closed != 1 {
				t.Errorf("%s: reported %q, want %q; closed %d times", method, reported, want, inner.closed)
			}
			for _, later := range []string{"Read", "TryRead", "Write"} {
				if err := methodsOf(c)[later](); !errors.Is(err, contained) {
					t.Errorf("%s after %s: %v", later, method, err)
				}
			}
		}
	}
	socket := new(net.TCPConn)
	if c := Guard(socket, nil); c != socket {
		t.Errorf("a socket is guarded: %T", c)
	}
}

// A rune that arrives in pieces is judged as a whole, also the one that stands for what is no rune.
func TestTextCheck_Pieces(t *testing.T) {
	for text, want := range map[string]bool{"\ufffd": true, "\u20ac": true, "\U0001f642": true, "\xe2\x82x": false, "\xe2\x28\xa1": false, "\xf0\x9f\x99": false} {
		var c TextCheck
		valid := true
		for i := range len(text) {
			valid = valid && c.Feed([]byte{text[i]}, i == len(text)-1)
		}
		if valid != want {
			t.Errorf("%q is valid: %v", text, valid)
		}
	}
}
