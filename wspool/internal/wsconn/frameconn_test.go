package wsconn

import (
	"bufio"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pieces is a connection that returns its pieces, at most one per Read, and then fails like
// one whose deadline has passed.
type pieces struct {
	net.Conn
	of [][]byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.of) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.of[0])
	if p.of[0] = p.of[0][n:]; len(p.of[0]) == 0 {
		p.of = p.of[1:]
	}
	return n, nil
}

func (p *pieces) SetReadDeadline(time.Time) error { return nil }

const answer = "HTTP/1.1 101 x\r\n\r\n"

// framesOf returns a FrameConn that has read the HTTP answer and has yet to read came.
func framesOf(t *testing.T, came ...string) *FrameConn {
	t.Helper()
	p := &pieces{of: [][]byte{[]byte(answer)}}
	for _, s := range came {
		if s == "" {
			continue
		}
		p.of = append(p.of, []byte(s))
	}
	w := NewRawConn(p, false, time.Second)
	f := NewFrameConn(w, w, NewClock(), 0, 100, true)
	if n, err := f.Read(make([]byte, 100)); n != len(answer) || err != nil {
		t.Fatal(n, err)
	}
	return f
}

// A watcher that is dismissed returns, also where part of a frame has arrived just
// then. Nothing is lost: the next reader gets the rest.
func TestDismissed(t *testing.T) {
	const ping = "\x89\x04ping"
	for n := range len(ping) + 1 {
		f := framesOf(t, ping[:n], ping[n:])
		for range min(n, 1) {
			f.Watch()
		}
		f.Raw.read.dismissed = true
		p := f.Raw.Conn.(*pieces)
		rest := p.of
		p.of = nil
		if f.Watch() {
			t.Errorf("after %d bytes it stays", n)
		}
		p.of = rest
		f.Raw.EndDismissal()
		for len(p.of) > 0 {
			f.Watch()
		}
		if got := f.TakeControls(); len(got) != 1 || got[0] != (Control{Opcode: Ping, Payload: "ping"}) || !f.Drained() {
			t.Errorf("after %d bytes: %q, drained %v", n, got, f.Drained())
		}
	}
}

// keeper reads from below once, and returns the error of that read for ever, as crypto/tls
// does with the error of a handshake.
type keeper struct {
	net.Conn
	kept error
}

func (k *keeper) Read(p []byte) (n int, err error) {
	if k.kept == nil {
		n, k.kept = k.Conn.Read(p)
	}
	return n, k.kept
}

// A notice that the connection above keeps is the end of the connection: a reader would
// otherwise take it for that of its own read for ever.
func TestKeptNotice(t *testing.T) {
	p := &pieces{}
	w := NewRawConn(p, false, time.Second)
	f := NewFrameConn(&keeper{Conn: w}, w, NewClock(), 0, 100, true)
	w.read.dismissed = true
	if f.Watch() || f.EndPending() {
		t.Error("the first notice is not one")
	}
	w.EndDismissal()
	if !f.Watch() || !f.EndPending() {
		t.Error("the connection goes on")
	}
	if n, err := f.Read(make([]byte, 10)); n != 0 || err != errKept {
		t.Errorf("%d, %v", n, err)
	}
}

// A dismissal ends when the watcher has stopped: the next reader, a lease or the
// goroutine that closes the connection, is not dismissed in its place.
func TestDismissalEnds(t *testing.T) {
	w := NewRawConn(&pieces{}, false, time.Second)
	w.parked = true
	if !w.Dismiss(func() bool { return true }) || !w.read.dismissed {
		t.Fatal("not dismissed")
	}
	w.EndDismissal()
	if w.read.dismissed || w.read.dated {
		t.Error("the dismissal goes on")
	}
	if _, err := w.Read(make([]byte, 1)); err == errDismissed {
		t.Error("the next reader is dismissed")
	}
}

// A buffer that holds bytes is in use, also after a read that found nothing, and one that holds
// none goes back to the pool of buffers once.
func TestBufferInUse(t *testing.T) {
	reused := 0 // the race detector has a sync.Pool drop some of what it is given
	look := func(f *FrameConn, was *[]byte) {
		t.Helper()
		var free []*[]byte
		for range 10 {
			free = append(free, aheadBuffers.Get().(*[]byte))
		}
		for i, b := range free {
			switch {
			case b == f.buf:
				t.Errorf("a buffer with %d bytes in it is free", len(f.ahead))
			case slices.Contains(free[:i], b):
				t.Error("a buffer is free twice")
			case len(*b) != aheadSize:
				t.Errorf("a buffer of %d bytes is free", len(*b))
			}
			if was != nil && b == was {
				reused++
			}
		}
	}
	nothing := func(f *FrameConn) {
		f.Raw.read.dismissed = true
		if f.Watch() {
			t.Fatal("something was read")
		}
		f.Raw.read.dismissed = false
	}
	for range 20 {
		f := framesOf(t)
		nothing(f)
		look(f, nil)
		for _, part := range []string{"\x81", "\x03", "ab"} {
			f.come(part)
			for range 2 {
				nothing(f)
				look(f, nil)
			}
		}
		f.come("c")
		look(f, nil)
		was := f.buf
		if _, got, ok := f.TakeMessage(10, nil); !ok || string(got) != "abc" || f.buf != nil || f.ahead != nil {
			t.Errorf("%q, %v; %d bytes are kept", got, ok, len(f.ahead))
		}
		look(f, was)
		if f.come("\x89\x01p"); f.buf != nil {
			t.Error("a buffer with nothing but a ping in it is kept")
		}
		look(f, nil)
		f.come("\x81\x01x\x89") // gorilla takes the message and the first byte of the ping
		if n, err := f.Read(make([]byte, 10)); n != 4 || err != nil || f.buf != nil {
			t.Error(n, err)
		}
		look(f, nil)
	}
	if reused == 0 {
		t.Error("no buffer was used again")
	}
}

// nextFrame reads one frame as gorilla does, which has its own buffer.
func nextFrame(t *testing.T, br *bufio.Reader) string {
	t.Helper()
	b := make([]byte, 2)
	if _, err := io.ReadFull(br, b); err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, b[1])...)
	if _, err := io.ReadFull(br, b[2:]); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// However the stream is cut, and however far gorilla reads ahead, gorilla is given
// every data frame whole, and never a part of a control frame.
func TestGorillaStream(t *testing.T) {
	stream := []string{"\x89\x02p1", "\x01\x03abc", "\x89\x02p2", "\x80\x01d", "\x8a\x02p3", "\x89\x00", "\x82\x05hello", "\x89\x02p4", "\x89\x02p5", "\x88\x02\x03\xe8"}
	all := strings.Join(stream, "")
	for cut := 1; cut <= len(all); cut++ {
		for _, size := range []int{16, 20, 512} {
			var came []string
			for s := all; s != ""; s = s[min(cut, len(s)):] {
				came = append(came, s[:min(cut, len(s))])
			}
			f := framesOf(t, came...)
			br := bufio.NewReaderSize(f, size)
			var given, controls []string
			for closed := false; !closed; {
				for _, c := range f.TakeControls() {
					controls = append(controls, c.Payload)
				}
				if !f.gorillaNeeded() {
					f.Watch()
					continue
				}
				for message := true; message; {
					frame := nextFrame(t, br)
					switch {
					case frame[0] == 0x88:
						closed, message = true, false
					case frame[0]&0x88 == 0x80:
						f.MessageDone()
						message = false
					}
					if frame[0]&8 == 0 || closed {
						given = append(given, frame)
					} else if !slices.Contains(stream, frame) {
						t.Fatalf("pieces of %d, buffer of %d: a frame %q", cut, size, frame)
					}
				}
			}
			for _, c := range f.TakeControls() {
				controls = append(controls, c.Payload)
			}
			if got := strings.Join(controls, ","); got != "p1,p2,p3,,p4,p5" {
				t.Fatalf("pieces of %d, buffer of %d: controls %q", cut, size, got)
			}
			if want := []string{stream[1], stream[3], stream[6], stream[9]}; !slices.Equal(given, want) {
				t.Fatalf("pieces of %d, buffer of %d: gorilla was given %q", cut, size, given)
			}
		}
	}
}

// A peer that sends only control frames fills no buffer, also behind the end of a
// compressed message that gorilla has still to skip.
func TestControlsOnly(t *testing.T) {
	var came []string
	tail := "\x00" + strings.Repeat("\x89\x00", aheadSize/2-1)
	came = append(came, "\xc1\x02\x00", tail[:1])
	for range 5 {
		came = append(came, tail[1:])
	}
	f := framesOf(t, came...)
	f.limit = 1 << 20
	if n, err := f.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	f.MessageDone()
	n := 0
	for p := f.Raw.Conn.(*pieces); len(p.of) > 0; {
		f.Watch()
		n += len(f.TakeControls())
	}
	if n != 5*(aheadSize/2-1) || !f.Drained() || len(f.ahead) != 1 {
		t.Errorf("%d controls, drained %v, %d bytes ahead", n, f.Drained(), len(f.ahead))
	}
}

// Too many control frames in a second end the reading, behind what has arrived.
func TestControlFlood(t *testing.T) {
	f := framesOf(t, "\x81\x01x"+strings.Repeat("\x89\x00", 101))
	f.Watch()
	if !f.EndPending() {
		t.Fatal("it goes on")
	}
	b, err := io.ReadAll(f)
	if len(b) != 3+202 || err != ControlFloodError(100) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A message that goes on and on behind the end of its inflated form, which gorilla skips
// only once it is asked for the next message, fills no memory.
func TestEndlessTail(t *testing.T) {
	piece := "\x00\x7e\x04\x00" + strings.Repeat("x", 1<<10)
	came := []string{"\x41\x01x"}
	for range 1 << 10 {
		came = append(came, piece)
	}
	f := framesOf(t, came...)
	if n, err := f.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	f.MessageDone()
	for p := f.Raw.Conn.(*pieces); len(p.of) > 0 && !f.EndPending(); {
		f.Watch()
		if len(f.ahead) > 2*maxTail {
			t.Fatalf("%d bytes ahead", len(f.ahead))
		}
	}
	if !f.EndPending() {
		t.Fatal("it goes on")
	}
	if _, err := io.ReadAll(f); err != ErrTail {
		t.Error(err)
	}
}

// The end of a message that fills the buffer exactly is kept, and control frames behind
// it are parsed.
func TestLongTail(t *testing.T) {
	came := []string{"\x41\x01x"}
	for range maxTail/1028 - 1 {
		came = append(came, "\x00\x7e\x04\x00"+strings.Repeat("x", 1<<10))
	}
	rest := maxTail%1028 + 1028 - 4
	came = append(came, "\x80\x7e"+string([]byte{byte(rest >> 8), byte(rest)})+strings.Repeat("x", rest))
	for range 1 << 10 {
		came = append(came, "\x89\x00")
	}
	f := framesOf(t, came...)
	f.limit = 1 << 20
	if n, err := f.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	f.MessageDone()
	n := 0
	for p := f.Raw.Conn.(*pieces); len(p.of) > 0 && !f.EndPending(); {
		f.Watch()
		n += len(f.TakeControls())
	}
	if n != 1<<10 || !f.Drained() || len(f.ahead) > 2*maxTail {
		t.Errorf("%d controls, drained %v, %d bytes ahead, %v", n, f.Drained(), len(f.ahead), f.err)
	}
}
