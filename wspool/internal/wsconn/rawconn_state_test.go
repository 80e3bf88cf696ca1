package wsconn

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// dated is a connection that notes its deadlines.
type dated struct {
	net.Conn
	read, write time.Time
	sets        int // how often the read deadline was set
}

func (d *dated) SetReadDeadline(t time.Time) error {
	d.read = t
	d.sets++
	return nil
}

func (d *dated) SetWriteDeadline(t time.Time) error {
	d.write = t
	return nil
}

func (d *dated) Write(p []byte) (int, error) { return len(p), nil }

// unbounded interrupts no read and bounds no write.
var unbounded context.Context

// newDated returns a RawConn over a connection that notes its deadlines.
func newDated() (*RawConn, *dated) {
	d := new(dated)
	return NewRawConn(d, false, 8*time.Second), d
}

// An interruption of a read that blocks outside gorilla does no harm: it ends that read alone.
func TestReadState_Interrupted(t *testing.T) {
	w, d := newDated()
	w.Interrupt()
	if w.BeginRead(unbounded, false); !w.beginAwait() {
		t.Error("the read is interrupted before it began")
	}
	w.Interrupt()
	if d.read != longAgo {
		t.Error("the read that blocks is not ended")
	}
	if err := w.interruption(os.ErrDeadlineExceeded); err != errInterrupted {
		t.Errorf("it ends with %v", err)
	}
	if w.endAwait(true) || !d.read.IsZero() || w.read.inside {
		t.Errorf("after the wait: deadline %v, inside %v", d.read, w.read.inside)
	}
	if w.beginAwait() || w.Enter() {
		t.Error("a read that was interrupted goes on")
	}
	w.EndRead(false)
	if w.Uncut() {
		t.Error("reading has ended for good")
	}
	w.BeginRead(unbounded, false)
	if !w.beginAwait() || !w.endAwait(false) || !w.Enter() {
		t.Error("the next read is interrupted")
	}
	w.StayOutside()
	w.Interrupt()
	if w.read.cut || !d.read.IsZero() {
		t.Error("a read that is outside is cut")
	}
	w.EndRead(false)
}

// An interruption inside gorilla ends all reading, unless the message turns out to have been read.
func TestReadState_Cut(t *testing.T) {
	for _, whole := range []bool{false, true} {
		w, d := newDated()
		w.BeginRead(unbounded, false)
		if !w.beginAwait() || !w.endAwait(true) {
			t.Fatal("interrupted")
		}
		w.Interrupt()
		if d.read != longAgo || w.interruption(os.ErrDeadlineExceeded) != os.ErrDeadlineExceeded {
			t.Error("gorilla is not interrupted")
		}
		w.EndRead(whole)
		if d.read.IsZero() != whole {
			t.Errorf("whole %v: deadline %v at the end", whole, d.read)
		}
		if was := w.Uncut(); was == whole || !d.read.IsZero() {
			t.Errorf("whole %v: cut %v, deadline %v", whole, was, d.read)
		}
		if w.Uncut() {
			t.Error("cut twice")
		}
		sets := d.sets
		w.EndRead(false)
		if d.sets != sets {
			t.Error("a deadline is removed that is not set")
		}
	}
}

// A context interrupts its own read, if it is hooked, and no other one.
func TestReadState_Hook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newDated()
		begin := func(soft bool) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			w.BeginRead(ctx, soft)
			return cancel
		}
		interrupted := func() bool {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.read.interrupted
		}

		cancel := begin(false)
		w.HookContext(true) // the read has begun since the last tick
		cancel()
		if interrupted() {
			t.Error("the first tick hooks the context")
		}
		w.HookContext(true)
		if !interrupted() {
			t.Error("the second tick does not hook the context")
		}
		w.EndRead(false)

		cancel = begin(false)
		w.HookContext(false)
		w.HookContext(false)
		unhook := w.FinishRead(false)
		if unhook == nil || !unhook() {
			t.Error("a hook is left, or was none")
		}
		next := begin(false)
		cancel()
		if interrupted() {
			t.Error("the context of one read interrupts the next")
		}
		w.HookContext(false)
		w.UnhookContext()
		next()
		if interrupted() {
			t.Error("a context that was unhooked interrupts")
		}
		w.EndRead(false)
		w.HookContext(false) // no read is under way
		if w.read.unhook != nil {
			t.Error("a hook without a read")
		}

		cancel = begin(true)
		w.HookContext(false)
		if !w.beginAwait() || !w.endAwait(true) {
			t.Fatal("interrupted")
		}
		cancel()
		if interrupted() || w.read.cut || !d.read.IsZero() {
			t.Error("a soft read is interrupted inside gorilla")
		}
		hard, harder := context.WithCancel(t.Context())
		w.Harden(hard)
		if interrupted() {
			t.Error("a hardened read is interrupted by its first context")
		}
		harder()
		if !interrupted() || !w.read.cut || d.read != longAgo {
			t.Error("a hardened read is not interrupted")
		}
		w.EndRead(true)

		cancel = begin(true)
		w.HookContext(false)
		if !w.beginAwait() {
			t.Fatal("interrupted")
		}
		cancel()
		if !interrupted() || d.read != longAgo || w.endAwait(true) {
			t.Error("a soft read is not interrupted outside gorilla")
		}
		w.EndRead(false)

		cancel = begin(false)
		cancel()
		w.Harden(unbounded)
		w.HookContext(false)
		if interrupted() {
			t.Error("a read is interrupted that nothing may interrupt")
		}
		w.EndRead(false)
	})
}

// counted is a context that counts the functions that wait for its end.
type counted struct {
	context.Context
	done    chan struct{} // never closed
	waiting int
}

func (c *counted) Done() <-chan struct{} { return c.done }

func (c *counted) AfterFunc(func()) (stop func() bool) {
	c.waiting++
	return func() bool { c.waiting--; return true }
}

// Whatever ends a read, nothing waits any more for the end of its context, and nothing refers to that.
func TestReadState_Unhooked(t *testing.T) {
	w, _ := newDated()
	for name, end := range map[string]func(){
		"EndRead":       func() { w.EndRead(false) },
		"EndRead, read": func() { w.EndRead(true) },
		"FinishRead":    func() { w.FinishRead(false)() },
		"UnhookContext": func() { w.UnhookContext() },
		"Harden":        func() { w.Harden(unbounded) },
	} {
		ctx := &counted{Context: context.Background(), done: make(chan struct{})}
		w.BeginRead(ctx, false)
		w.HookContext(false)
		w.HookContext(false)
		if ctx.waiting != 1 {
			t.Errorf("%s: %d functions wait before it", name, ctx.waiting)
		}
		if end(); ctx.waiting != 0 || w.read.ctx != nil || w.read.unhook != nil {
			t.Errorf("%s: %d functions wait after it; context %v", name, ctx.waiting, w.read.ctx)
		}
		w.BeginRead(ctx, false)
		if end := w.FinishRead(false); end != nil || w.read.ctx != nil {
			t.Errorf("%s: a context that was not hooked is unhooked", name)
		}
	}
}

// A dismissal needs a reader that is parked with nothing left to do.
func TestReadState_Dismissed(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	w, d := newDated()
	if w.Dismiss(yes) {
		t.Error("dismissed without a reader")
	}
	w.parked = true
	if w.Dismiss(no) || w.read.dismissed || !d.read.IsZero() {
		t.Error("dismissed with something left to do")
	}
	if !w.Dismiss(yes) || d.read != longAgo || w.interruption(os.ErrDeadlineExceeded) != errDismissed {
		t.Error("not dismissed")
	}
	w.EndDismissal()
	if !d.read.IsZero() || w.interruption(os.ErrDeadlineExceeded) == errDismissed {
		t.Error("the dismissal goes on")
	}
	sets := d.sets
	w.EndDismissal()
	if d.sets != sets {
		t.Error("a dismissal ends twice")
	}
}

// A write that waits gets the time until the first of: its explicit deadline, the end of its
// context, and the limit after the last progress. Until then it is interrupted after each eighth of
// the limit, to see whether the network makes progress.
func TestSlowDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newDated()
		now := time.Now()
		until := func(d time.Duration) context.Context {
			ctx, cancel := context.WithDeadline(t.Context(), now.Add(d))
			t.Cleanup(cancel)
			return ctx
		}
		const s = time.Second
		for _, tc := range []struct {
			name     string
			ctx      context.Context
			progress time.Duration // since now
			explicit time.Duration // 0: none
			by       time.Duration
			final    bool
		}{
			{"first part", nil, 0, 0, s, false},
			{"no context that ends", t.Context(), 0, 0, s, false},
			{"last part", nil, -7500 * time.Millisecond, 0, 500 * time.Millisecond, true},
			{"exactly the last part", nil, -7 * s, 0, s, true},
			{"the limit is over just now", nil, -8 * s, 0, 0, true},
			{"the process was stopped", nil, -20 * s, 0, s, true},
			{"context ends soon", until(300 * time.Millisecond), 0, 0, 300 * time.Millisecond, true},
			{"context ends later than the limit", until(20 * s), -7500 * time.Millisecond, 0, 500 * time.Millisecond, true},
			{"context has ended", until(0), 0, 0, 0, true},
			{"context ended while the process was stopped", until(-s), -20 * s, 0, -12 * s, true},
			{"explicit", until(300 * time.Millisecond), 0, 5 * s, 5 * s, true},
			{"explicit, over", nil, 0, -5 * s, -5 * s, true},
		} {
			explicit := int64(0)
			if tc.explicit != 0 {
				explicit = now.Add(tc.explicit).UnixNano()
			}
			by, final := w.slowDeadline(tc.ctx, now, now.Add(tc.progress), explicit)
			if !by.Equal(now.Add(tc.by)) || final != tc.final {
				t.Errorf("%s: by %v, final %v; want %v, %v", tc.name, by.Sub(now), final, tc.by, tc.final)
			}
		}
		w.limit = time.Millisecond
		if by, _ := w.slowDeadline(unbounded, now, now.Add(time.Second), 0); !by.Equal(now.Add(time.Millisecond)) {
			t.Errorf("a part of %v", by.Sub(now))
		}
	})
}

// The network may take as long as it likes while it takes something within the limit, and how many
// bytes it has taken of writes that had to wait is known.
func TestWriteSlow_Progress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(10)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, 8*time.Second)
		got := make(chan int, 1)
		go func() {
			n := 0
			for range 10 {
				time.Sleep(7 * time.Second)
				k, _ := b.Read(make([]byte, 10))
				n += k
			}
			got <- n
		}()
		began := time.Now()
		if n, err := w.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if took := time.Since(began); took != 63*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := <-got; n != 100 {
			t.Errorf("%d bytes have arrived", n)
		}
		if n := w.Progress(); n == 0 || n > 100 {
			t.Errorf("the network took %d bytes of writes that waited", n)
		}

		// A peer that takes nothing has the limit, and not much more.
		before := w.Progress()
		began = time.Now()
		n, err := w.Write(make([]byte, 100))
		if took := time.Since(began); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || took < 8*time.Second || took > 9*time.Second {
			t.Errorf("%d, %v after %v", n, err, took)
		}
		if more := w.Progress() - before; more > 10 {
			t.Errorf("%d bytes of progress", more)
		}
	})
}

// A write that need not wait is no sign that the network makes progress, and leaves no deadline,
// which would pass and fail a later write of TLS.
func TestWriteSlow_NoTrace(t *testing.T) {
	w, d := newDated()
	if n, err := w.Write(make([]byte, 3*slowPiece)); n != 3*slowPiece || err != nil || w.Progress() != 0 || !d.write.IsZero() {
		t.Errorf("%d, %v; progress %d, deadline %v", n, err, w.Progress(), d.write)
	}
	w.Sever()
	if w.Write(make([]byte, 1)); d.write != longAgo {
		t.Errorf("deadline %v after Sever", d.write)
	}
}

// Sever ends the write that waits and all later ones; SeverWaiting does so only while one waits.
func TestSever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, waits := range []bool{false, true} {
			a, b := memnet.Pipe(10)
			w := NewRawConn(a, false, time.Hour)
			if !waits {
				w.SeverWaiting()
				if n, err := w.Write(make([]byte, 5)); n != 5 || err != nil || w.Severed() {
					t.Errorf("severed without a write that waits: %d, %v", n, err)
				}
				a.Close()
				b.Close()
				continue
			}
			time.AfterFunc(time.Second, w.SeverWaiting)
			began := time.Now()
			n, err := w.Write(make([]byte, 50))
			if took := time.Since(began); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
				t.Errorf("%d, %v after %v", n, err, took)
			}
			go b.Read(make([]byte, 10))
			synctest.Wait()
			if n, err := w.Write([]byte{1}); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("behind half a write: %d, %v", n, err)
			}
			a.Close()
			b.Close()
		}
		// The context of a message that has ended severs nothing.
		a, b := memnet.Pipe(10)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.BeginMessage(ctx)
		first := w.message
		w.EndMessage()
		w.severMessage(first)
		w.BeginMessage(ctx)
		w.severMessage(first)
		if w.Severed() {
			t.Error("severed for a message that has ended")
		}
		w.severMessage(w.message)
		if !w.Severed() {
			t.Error("not severed")
		}
	})
}

// A deadline of SetWriteDeadline is that of the next Write alone.
func TestSetWriteDeadline_NextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(10)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, 8*time.Second)
		began := time.Now()
		w.SetWriteDeadline(began.Add(20 * time.Second)) // longer than the limit
		n, err := w.Write(make([]byte, 20))
		if took := time.Since(began); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || took != 20*time.Second {
			t.Errorf("%d, %v after %v", n, err, took)
		}
		began = time.Now()
		_, err = w.Write(make([]byte, 20))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 8*time.Second {
			t.Errorf("the next: %v after %v", err, took)
		}
		w.SetWriteDeadline(time.Now().Add(time.Second))
		w.SetWriteDeadline(time.Time{})
		began = time.Now()
		if _, err = w.Write(make([]byte, 20)); time.Since(began) != 8*time.Second {
			t.Errorf("removed: %v after %v", err, time.Since(began))
		}
		w.handed.Store(true)
		w.SetWriteDeadline(time.Now().Add(time.Second))
		for range 2 { // it stays, as with any net.Conn
			if _, err := w.Write(make([]byte, 20)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 9*time.Second {
				t.Errorf("handed over: %v after %v", err, time.Since(began))
			}
		}
	})
}
