package wsconn

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// come has s arrive at f, and read.
func (f *FrameConn) come(s string) {
	f.Raw.Conn.(*pieces).of = [][]byte{[]byte(s)}
	f.Watch()
}

// What has arrived, and how much of it was dealt with, is known after each byte.
func TestFrameConn_State(t *testing.T) {
	type state struct{ message, whole, partial, controls, end, drained bool }
	f := framesOf(t)
	look := func() state {
		if s := f.State(); s.MessagePending != f.MessagePending() || s.Partial != f.Partial() {
			t.Errorf("State: %+v", s)
		}
		return state{f.MessagePending(), f.WholePending(), f.Partial(), f.ControlsPending(), f.EndPending(), f.Drained()}
	}
	if got := look(); got != (state{drained: true}) {
		t.Errorf("at first: %+v", got)
	}
	for _, step := range []struct {
		come string
		want state
	}{
		{"\x89", state{partial: true}},
		{"\x01p", state{controls: true}},
		{"\x81", state{message: true, partial: true, controls: true}},
		{"\x02h", state{message: true, partial: true, controls: true}},
		{"i", state{message: true, whole: true, controls: true}},
		{"\x01\x01x", state{message: true, whole: true, partial: true, controls: true}},
		{"\x80\x00", state{message: true, whole: true, controls: true}},
	} {
		if f.come(step.come); look() != step.want {
			t.Errorf("after %q: %+v, want %+v", step.come, look(), step.want)
		}
	}
	if all := f.TakeControls(); len(all) != 1 || all[0].Payload != "p" || f.TakeControls() != nil {
		t.Errorf("controls %v", all)
	}
	if _, p, ok := f.TakeMessage(1, nil); ok {
		t.Errorf("%q is longer than the limit", p)
	}
	if kind, p, ok := f.TakeMessage(2, []byte("> ")); !ok || kind != 1 || string(p) != "> hi" {
		t.Errorf("%d %q %v", kind, p, ok)
	}
	if s := f.State(); s.Messages != 2 || s.Taken != 1 {
		t.Errorf("%+v", s)
	}
	if _, _, ok := f.TakeMessage(9, nil); ok { // it has two frames
		t.Error("part of a message is taken")
	}
	if n, err := f.Read(make([]byte, 100)); n != 5 || err != nil {
		t.Error(n, err)
	}
	f.MessageDone()
	if got := look(); got != (state{drained: true}) {
		t.Errorf("when all is read: %+v", got)
	}
	if f.come("\x82\x00"); f.State().Messages != 3 {
		t.Error("a message is not counted")
	}
	if kind, p, ok := f.TakeMessage(0, nil); !ok || kind != 2 || p == nil || len(p) != 0 {
		t.Errorf("an empty message: %d %v %v", kind, p, ok)
	}
	f.come("\x88\x00")
	if got := look(); got != (state{whole: true, end: true}) {
		t.Errorf("after a close frame: %+v", got)
	}
}

// A message may be taken behind one of which gorilla holds nothing more, and not otherwise.
func TestTakeMessage_Aligned(t *testing.T) {
	f := framesOf(t)
	f.come("\x81\x01a\x81\x01b")
	buf := make([]byte, 3)
	if n, _ := f.Read(buf); n != 3 {
		t.Fatal(n)
	}
	f.MessageDone()
	if _, p, ok := f.TakeMessage(9, nil); ok {
		t.Errorf("%q is taken, and gorilla may hold bytes before it", p)
	}
	if n, _ := f.Read(buf); n != 3 || string(buf) != "\x81\x01b" {
		t.Errorf("gorilla gets %q", buf[:n])
	}
	f.MessageDone()
	f.come("\x81\x01c") // into an empty buffer, between two messages
	if _, p, ok := f.TakeMessage(9, nil); !ok || string(p) != "c" {
		t.Errorf("%q, %v", p, ok)
	}
	f.come("\x81\x01d\x8a\x00")
	if _, p, ok := f.TakeMessage(9, nil); !ok || string(p) != "d" || f.ahead != nil {
		t.Errorf("%q, %v; %d bytes are left", p, ok, len(f.ahead))
	}
	f.come("\x81\x01e\x8a\x01") // half a pong stays
	if _, p, ok := f.TakeMessage(9, nil); !ok || string(p) != "e" || string(f.ahead) != "\x8a\x01" {
		t.Errorf("%q, %v; %q is left", p, ok, f.ahead)
	}
	if f.come("x"); !f.ControlsPending() || f.Partial() {
		t.Errorf("the rest of the pong: %q", f.ahead)
	}
	f.come("\x81\x01f\x81\x01g") // a second message stays
	for _, want := range []string{"f", "g"} {
		if _, p, ok := f.TakeMessage(9, nil); !ok || string(p) != want {
			t.Errorf("%q, %v; want %q", p, ok, want)
		}
	}
	if f.come("\x81"); f.HasRoom() != true {
		t.Error("no room behind one byte")
	}
	f.come("\x7e\x20\x00" + strings.Repeat("x", aheadSize-4))
	if f.HasRoom() {
		t.Error("room in a full buffer")
	}
}

// The rest of a control frame whose begin gorilla holds is no message, whatever it looks like.
func TestTakeMessage_RestOfControl(t *testing.T) {
	f := framesOf(t)
	f.come("\x81\x01a\x89\x03")
	if n, _ := f.Read(make([]byte, 10)); n != 5 {
		t.Fatal(n)
	}
	f.MessageDone()
	f.come("\x81\x01z\x81\x01b") // the payload of the ping, and a message
	if _, p, ok := f.TakeMessage(9, nil); ok {
		t.Errorf("%q is taken", p)
	}
	buf := make([]byte, 10)
	if n, _ := f.Read(buf); string(buf[:n]) != "\x81\x01z\x81\x01b" {
		t.Errorf("gorilla gets %q", buf[:n])
	}
	f.MessageDone()
	if all := f.TakeControls(); len(all) != 1 || all[0].Payload != "\x81\x01z" {
		t.Errorf("controls %q", all)
	}
}

// A data frame within a fragmented message breaks the protocol, which gorilla reports: it
// is no message to be taken.
func TestTakeMessage_InMessage(t *testing.T) {
	f := framesOf(t)
	f.come("\x01\x01a")
	if n, _ := f.Read(make([]byte, 10)); n != 3 {
		t.Fatal(n)
	}
	f.come("\x81\x01b")
	if _, p, ok := f.TakeMessage(9, nil); ok {
		t.Errorf("%q is taken", p)
	}
}

// A connection that is handed over behaves as any net.Conn: a deadline is that of all later writes.
func TestSender_HandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		defer a.Close()
		defer b.Close()
		w := NewRawConn(a, false, time.Hour)
		f := NewFrameConn(w, w, NewClock(), 0, 100, false)
		f.BeginFrames()
		f.HandOver()
		began := time.Now()
		f.SetWriteDeadline(began.Add(time.Second))
		for range 2 {
			if _, err := f.Write(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
	})
}

// bubbleFrames returns a FrameConn past the HTTP answer, whose clock is that of the bubble.
func bubbleFrames(longest time.Duration, limit int) *FrameConn {
	w := NewRawConn(&pieces{}, false, time.Second)
	f := NewFrameConn(w, w, NewClock(), int64(longest), limit, true)
	f.come(answer)
	return f
}

// A frame that is not whole has an age, which begins with its first byte; other frames do not
// make a message younger that goes on behind them.
func TestPartialSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFrames(0, 100)
		step := func(come string, ago time.Duration) {
			t.Helper()
			f.come(come)
			now := f.clock.Now()
			since := f.PartialSince()
			if ago < 0 && since != 0 || ago >= 0 && time.Duration(now-since) != ago {
				t.Errorf("after %q: since %v, want %v ago", come, time.Duration(now-since), ago)
			}
			time.Sleep(time.Second)
		}
		const s = time.Second
		step("\x89\x00", -1)
		step("\x89", 0)
		step("\x02", s)
		step("x", 2*s)
		step("y\x89", 0) // the next ping
		step("\x00", -1)
		step("\x01\x01a", 0) // a message that goes on
		step("\x89", s)
		step("\x00", 2*s)
		step("\x00\x01b", 3*s)
		step("\x80\x00", -1)
		step("\x81\x02a", 0)
		step("b\x81\x02c", 0) // the next message
		step("d", -1)
	})
}

// A silence that is longer than a live peer's is identified by its end; a shorter one is none.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFrames(10*time.Second, 100)
		time.Sleep(10 * time.Second)
		if f.come("\x89\x00"); f.Gap() != 0 || f.LastRead.Load() != f.clock.Now() {
			t.Errorf("gap %d, last read %d at %d", f.Gap(), f.LastRead.Load(), f.clock.Now())
		}
		time.Sleep(10*time.Second + 1)
		f.come("\x89\x00")
		gap := f.Gap()
		if gap != f.clock.Now() {
			t.Errorf("gap %d at %d", gap, f.clock.Now())
		}
		time.Sleep(time.Second)
		if f.come("\x89\x00"); f.Gap() != gap {
			t.Errorf("gap %d, was %d", f.Gap(), gap)
		}
		late := NewFrameConn(f.Raw, f.Raw, f.clock, int64(10*time.Second), 100, true)
		if late.come(answer); late.Gap() != 0 { // the clock is older than the connection
			t.Error("a gap before the first byte")
		}
		none := bubbleFrames(0, 100)
		time.Sleep(1000 * time.Hour)
		if none.come("\x89\x00"); none.Gap() != 0 {
			t.Error("a gap without a limit")
		}
	})
}

// As many control frames as the limit may arrive in a second; the next second counts anew.
func TestControlFlood_Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFrames(0, 10)
		pings := func(n int) { f.come(strings.Repeat("\x89\x00", n)); f.TakeControls() }
		for range 3 {
			time.Sleep(time.Second)
			pings(4)
			time.Sleep(time.Second - 1)
			pings(6)
			if f.EndPending() {
				t.Fatalf("ended with %v within the limit", f.err)
			}
			time.Sleep(time.Nanosecond)
		}
		time.Sleep(time.Second)
		pings(10)
		f.come("\x81\x01x") // what is no control frame does not count
		if f.EndPending() {
			t.Errorf("ended with %v within the limit", f.err)
		}
		f.HandOver()
		pings(100)
		if f.EndPending() || f.ControlsPending() {
			t.Error("the frames of a connection that was handed over are counted")
		}
		f.handed = false
		pings(1)
		if !f.EndPending() || f.err != ControlFloodError(10) {
			t.Errorf("over the limit: %v", f.err)
		}
	})
}

// The messages of a batch that were written whole are known from what the network took.
func TestEndBatch(t *testing.T) {
	for limit, whole := range map[int]int{0: 0, 6: 0, 7: 1, 7 + 8 - 1: 1, 7 + 8: 2, 7 + 8 + 8: 2, 1000: 2} {
		below := &flaky{limit: limit}
		w := NewRawConn(below, false, time.Second)
		f := NewFrameConn(w, w, NewClock(), 0, 100, false)
		f.BeginFrames()
		for range 2 { // a batch leaves nothing to the next
			if f.BatchSize() != 0 {
				t.Errorf("%d: %d bytes at first", limit, f.BatchSize())
			}
			f.AddToBatch(1, []byte("a"), 100)
			f.AddToBatch(1, []byte("bb"), 100)
			if f.BatchSize() != 7+8 {
				t.Errorf("%d: %d bytes", limit, f.BatchSize())
			}
			own, err := f.Write([]byte("\x81\x83mmmmxyz"))
			if failed := limit < 24; failed != (err != nil) || own != min(9, max(0, limit-15)) {
				t.Errorf("%d: %d bytes, %v", limit, own, err)
			}
			if got := f.EndBatch(); got != whole {
				t.Errorf("%d: %d whole, want %d", limit, got, whole)
			}
			if limit < 1000 {
				break // nothing can be sent any more
			}
		}
	}
}

// Of a batch that is written in the background the messages that were written whole are known too,
// wherever the writing ends, whether or not control frames are before the batch or between its
// frames, and however much the write before sent. With TLS all messages but the last count.
func TestEndBatch_Deferred(t *testing.T) {
	const ping = "\x89\x80mmmm"
	for _, tc := range []struct {
		name           string
		before, within string // control frames
		secure         bool
		ends           []int // of the two messages of the batch, and of the last one
	}{
		{name: "nothing else", ends: []int{7, 15, 30}},
		{name: "a control frame in the last message", within: ping, ends: []int{7, 15, 36}},
		{name: "a control frame before", before: ping, ends: []int{13, 21, 36}},
		{name: "both", before: ping, within: ping, ends: []int{13, 21, 42}},
		{name: "TLS", secure: true, ends: []int{0, 0, 30}},
	} {
		all := tc.ends[2]
		for limit := 1; limit <= all; limit++ { // the network holds one byte
			synctest.Test(t, func(t *testing.T) {
				a, b := memnet.Pipe(1)
				defer a.Close()
				w := NewRawConn(a, tc.secure, time.Minute)
				f := NewFrameConn(w, w, NewClock(), 0, 100, false)
				f.BeginFrames()
				first, later := deferWrite(t, w, "before")
				if !later || slowReader(b, 6) != "before" {
					t.Error("the write before is lost")
				}
				<-first.done
				w.Defer()
				if tc.before != "" {
					f.Write([]byte(tc.before))
				}
				f.AddToBatch(1, []byte("a"), 100)
				f.AddToBatch(1, []byte("bb"), 100)
				f.Write([]byte("\x01\x83mmmmxyz"))
				if tc.within != "" {
					f.Write([]byte(tc.within))
				}
				f.Write([]byte("\x80\x80mmmm"))
				d := &deferral{done: make(chan struct{})}
				if later, _, _ := w.EndDefer(func(left uint64, err error) {
					d.left, d.err = left, err
					close(d.done)
				}); !later {
					t.Fatal("not deferred")
				}
				f.Write([]byte(ping)) // behind it
				slowReader(b, limit-1)
				synctest.Wait()
				b.Close()
				<-d.done
				want := 0
				for want < 2 && tc.ends[want] <= limit {
					want++
				}
				if whole := f.EndBatch(); whole != want || (d.left == 0) != (limit == all) || d.err == nil {
					t.Errorf("%s, %d of %d bytes: %d whole, want %d; %d left, %v", tc.name, limit, all, whole, want, d.left, d.err)
				}
			})
		}
	}
}

// A message longer than the size of a frame is sent in fragments, the last of which ends it.
func TestAddToBatch_Fragments(t *testing.T) {
	f := framesOf(t)
	f.AddToBatch(2, []byte("abcdefg"), 3)
	f.AddToBatch(1, nil, 3)
	f.AddToBatch(1, []byte("xyz"), 3)
	var heads []byte
	text := ""
	for b := f.batch.buf; len(b) > 0; {
		n := int(b[1] & 0x7f)
		heads = append(heads, b[0])
		for i := range n {
			text += string(b[6+i] ^ b[2+i%4])
		}
		text += "|"
		b = b[6+n:]
	}
	if string(heads) != "\x02\x00\x80\x81\x81" || text != "abc|def|g||xyz|" {
		t.Errorf("frames %x with %q", heads, text)
	}
	if len(f.batch.ends) != 3 || f.batch.ends[2] != f.BatchSize() {
		t.Errorf("messages end at %v of %d", f.batch.ends, f.BatchSize())
	}
	f.EndBatch()
	f.AddToBatch(2, make([]byte, 2*maxKept), maxKept)
	long := f.batch
	f.EndBatch()
	if f.batch != nil || long.buf != nil {
		t.Errorf("a buffer of %d bytes is kept", cap(long.buf))
	}
}

// A control frame takes no batch along, and a data frame without a batch is written as it is.
func TestBatch_OnlyWithData(t *testing.T) {
	below := &flaky{limit: 1000}
	w := NewRawConn(below, false, time.Second)
	f := NewFrameConn(w, w, NewClock(), 0, 100, false)
	f.BeginFrames()
	f.AddToBatch(1, []byte("a"), 100)
	if n, err := f.Write([]byte("\x89\x80mmmm")); n != 6 || err != nil || below.written.Len() != 6 {
		t.Errorf("a ping: %d, %v, %d bytes", n, err, below.written.Len())
	}
	if n, err := f.Write([]byte("\x81\x80mmmm")); n != 6 || err != nil || below.written.Len() != 6+7+6 {
		t.Errorf("with the batch: %d, %v, %d bytes", n, err, below.written.Len())
	}
	if n, err := f.Write([]byte("\x00\x80mmmm")); n != 6 || err != nil || below.written.Len() != 6+7+6+6 {
		t.Errorf("the next frame of the same message: %d, %v, %d bytes", n, err, below.written.Len())
	}
	if n := f.EndBatch(); n != 1 {
		t.Errorf("%d whole", n)
	}
}

// An end inside a TLS record is an end; bytes that come with an error are read before it.
func TestFrameConn_Errors(t *testing.T) {
	broken := errors.New("broken")
	f := framesOf(t)
	f.Conn = withError{f.Conn, "\x81\x01x", broken}
	f.Watch()
	if !f.EndPending() || !f.MessagePending() {
		t.Error("the message or the error is lost")
	}
	if n, err := f.Read(make([]byte, 100)); n != 3 || err != nil {
		t.Error(n, err)
	}
	for range 2 {
		if n, err := f.Read(make([]byte, 100)); n != 0 || err != broken {
			t.Error(n, err)
		}
	}
	if f.Watch(); f.err != broken {
		t.Error(f.err)
	}
}

// withError is a connection on which text arrives together with an error.
type withError struct {
	net.Conn
	text string
	err  error
}

func (c withError) Read(p []byte) (int, error) { return copy(p, c.text), c.err }

// Poll finds what has arrived on a connection in memory, of which nothing but a read says whether it
// has bytes.
func TestPoll_Memory(t *testing.T) {
	a, b := memnet.Pipe(1 << 10)
	defer a.Close()
	defer b.Close()
	w := NewRawConn(a, false, time.Hour)
	f := NewFrameConn(w, w, NewClock(), 0, 100, false)
	if !w.CanPoll() || f.Poll() {
		t.Error("Poll finds what is not there")
	}
	if _, err := b.Write([]byte(answer + "\x81\x01x")); err != nil {
		t.Fatal(err)
	}
	if !f.Poll() || !f.MessagePending() {
		t.Error("Poll does not find a message")
	}
}

// pollable is pieces that can be read without blocking.
type pollable struct{ pieces }

func (p *pollable) TryRead(b []byte) (int, error) {
	if len(p.of) == 0 {
		return 0, nil
	}
	return p.Read(b)
}

// pollableFrames returns a FrameConn between messages, over p.
func pollableFrames(p *pollable) *FrameConn {
	w := NewRawConn(p, false, time.Second)
	return NewFrameConn(w, w, NewClock(), 0, 100, true)
}

// A Poll that finds nothing leaves what gorilla has yet to read as it is.
func TestPoll_Nothing(t *testing.T) {
	p := new(pollable)
	f := pollableFrames(p)
	p.of = [][]byte{[]byte("\x81\x05hello")}
	head := make([]byte, 2)
	if !f.Poll() {
		t.Fatal("nothing has arrived")
	}
	if n, err := f.Read(head); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if f.Poll() {
		t.Error("something has arrived")
	}
	rest := make([]byte, 10)
	if n, err := f.Read(rest); err != nil || string(rest[:n]) != "hello" {
		t.Errorf("gorilla gets %q, %v", rest[:n], err)
	}
}

// A Poll that finds nothing gives its buffer back.
func TestPoll_Allocations(t *testing.T) {
	f := pollableFrames(new(pollable))
	if n := testing.AllocsPerRun(1000, func() { f.Poll() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
