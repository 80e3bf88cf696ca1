package wsconn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// deferral is a deferred write of one test.
type deferral struct {
	w    *RawConn
	done chan struct{} // closed when done was called
	left uint64
	err  error
}

// deferWrite writes p as a deferred write, as far as EndDefer.
func deferWrite(t *testing.T, w *RawConn, p string) (d *deferral, later bool) {
	t.Helper()
	d = &deferral{w: w, done: make(chan struct{})}
	w.Defer()
	if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
		t.Errorf("a deferred write of %d bytes: %d, %v", len(p), n, err)
	}
	w.Mark()
	later, left, err := w.EndDefer(func(left uint64, err error) {
		d.left, d.err = left, err
		close(d.done)
	})
	if !later {
		d.left, d.err = left, err
	}
	return d, later
}

// slowReader reads n bytes, one each millisecond.
func slowReader(c net.Conn, n int) string {
	var b strings.Builder
	one := make([]byte, 1)
	for range n {
		time.Sleep(time.Millisecond) // in the bubble of its caller: the pace of a slow peer
		if _, err := io.ReadFull(c, one); err != nil {
			break
		}
		b.Write(one)
	}
	return b.String()
}

// A deferred write and what is written behind it arrive in order, and no Write waits. The next
// deferred write finds nothing left of the one before.
func TestBacklog_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, time.Minute)
		for _, text := range []string{"0123456789", "abcdefghijklmnop", "x"} {
			began := time.Now()
			buf := []byte(text)
			d := &deferral{done: make(chan struct{})}
			w.Defer()
			if n, err := w.Write(buf); n != len(buf) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			clear(buf) // it is the caller's again
			w.Mark()
			later, _, _ := w.EndDefer(func(left uint64, err error) {
				d.left, d.err = left, err
				close(d.done)
			})
			if !later {
				t.Error("nothing is left to be written")
			}
			control := []byte("<>")
			if n, err := w.Write(control); n != 2 || err != nil {
				t.Errorf("behind it: %d, %v", n, err)
			}
			clear(control)
			if took := time.Since(began); took > 0 {
				t.Errorf("the writes took %v", took)
			}
			if got := slowReader(b, len(text)+2); got != text+"<>" {
				t.Errorf("got %q, want %q", got, text+"<>")
			}
			<-d.done
			if d.left != 0 || d.err != nil || w.Severed() {
				t.Errorf("left %d, %v", d.left, d.err)
			}
			synctest.Wait()
			if w.backlog.on.Load() || w.backlog.buf != nil {
				t.Error("a goroutine writes still")
			}
		}
	})
}

// A write that has ended before EndDefer, with or without an error, is reported by that and not by
// done.
func TestBacklog_EndedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		w := NewRawConn(a, false, time.Minute)
		for range 2 {
			w.Defer()
			for _, s := range []string{"0123456789", "abcdefghij"} {
				if n, err := w.Write([]byte(s)); n != 10 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				if got := slowReader(b, 10); got != s {
					t.Errorf("got %q", got)
				}
				synctest.Wait()
			}
			w.Mark()
			later, left, err := w.EndDefer(func(uint64, error) { t.Error("done is called") })
			if later || left != 0 || err != nil {
				t.Errorf("later %v, left %d, %v", later, left, err)
			}
		}
		w.Defer()
		w.Write([]byte("0123456789"))
		w.Mark()
		b.Close()
		synctest.Wait()
		later, left, err := w.EndDefer(func(uint64, error) { t.Error("done is called") })
		if later || left != 10 || !errors.Is(err, syscall.EPIPE) {
			t.Errorf("after the end: later %v, left %d, %v", later, left, err)
		}
	})
}

// A deferred write that fails reports how many of its own bytes were not written, whatever was
// written behind it, and however much the writes before it have sent.
func TestBacklog_Left(t *testing.T) {
	const text, behind = "0123456789", "<control frames>"
	for taken := range len(text) + len(behind) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memnet.Pipe(1)
			defer a.Close()
			w := NewRawConn(a, false, time.Minute)
			first, later := deferWrite(t, w, "before")
			if !later || slowReader(b, 6) != "before" {
				t.Error("the write before is lost")
			}
			<-first.done
			d, later := deferWrite(t, w, text)
			if !later {
				t.Fatal("not deferred")
			}
			w.Write([]byte(behind))
			synctest.Wait()
			got := slowReader(b, taken)
			synctest.Wait()
			b.Close()
			if taken == len(text+behind)-1 { // the last byte is in the network
				<-d.done
				return
			}
			<-d.done
			sent := taken + 1 // one byte is in the network
			if want := uint64(max(0, len(text)-sent)); d.left != want || !errors.Is(d.err, syscall.EPIPE) {
				t.Errorf("after %q: left %d, %v; want %d", got, d.left, d.err, want)
			}
			if !w.Severed() {
				t.Error("not severed behind part of a frame")
			}
			if n, err := w.Write([]byte("more")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("afterwards: %d, %v", n, err)
			}
		})
	}
}

// A peer that reads nothing, and makes this side write on, loses the connection at the limit; the
// deferred write itself may be longer.
func TestBacklog_Limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, time.Hour)
		w.Defer()
		piece := make([]byte, maxQueued)
		for range 3 {
			if n, err := w.Write(piece); n != len(piece) || err != nil || w.Severed() {
				t.Errorf("within: %d, %v", n, err)
			}
		}
		w.Mark()
		failed := make(chan error, 1)
		if later, _, _ := w.EndDefer(func(_ uint64, err error) { failed <- err }); !later {
			t.Error("nothing is left to be written")
		}
		synctest.Wait()
		w.mu.Lock()
		w.backlog.buf = w.backlog.buf[:0:0] // as if that were written
		w.mu.Unlock()
		control := make([]byte, 1<<10)
		for range maxQueued / len(control) {
			if n, err := w.Write(control); n != len(control) || err != nil || w.Severed() {
				t.Fatalf("behind it: %d, %v", n, err)
			}
		}
		if n, err := w.Write([]byte{1}); n != 1 || err != nil || !w.Severed() {
			t.Errorf("over the limit: %d, %v, severed %v", n, err, w.Severed())
		}
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Without Defer a write waits for the network, for as long as its context allows.
func TestBacklog_NotDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, time.Minute)
		d, later := deferWrite(t, w, "now")
		if !later { // where the network is no socket, all is written in the background
			t.Error("not deferred")
		}
		<-d.done
		if got := slowReader(b, 3); got != "now" {
			t.Errorf("got %q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		w.BeginMessage(ctx)
		n, err := w.Write(make([]byte, 10))
		w.EndMessage()
		if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(began))
		}
	})
}
