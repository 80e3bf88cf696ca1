package wsconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
)

// FuzzMaskedFrame: a server that unmasks the frame finds the message.
func FuzzMaskedFrame(f *testing.F) {
	f.Add([]byte("hello"), uint32(0x01020304))
	f.Add(bytes.Repeat([]byte{7}, 126), uint32(5))
	f.Fuzz(func(t *testing.T, data []byte, key uint32) {
		if len(data) > MaxShort {
			return
		}
		var buf [maxHeader + MaxShort]byte
		frame := maskedFrame(buf[:], websocket.TextMessage, data, key)
		size := 6
		if want := byte(len(data)); len(data) > 125 {
			size = 8
			if frame[1] != 0x80|126 || int(frame[2])<<8|int(frame[3]) != len(data) {
				t.Fatalf("header %x", frame[:size])
			}
		} else if frame[1] != 0x80|want {
			t.Fatalf("header %x", frame[:size])
		}
		if frame[0] != 0x80|websocket.TextMessage || len(frame) != size+len(data) {
			t.Fatalf("header %x, %d bytes", frame[:size], len(frame))
		}
		mask, payload := frame[size-4:size], frame[size:]
		for i := range payload {
			if payload[i]^mask[i%4] != data[i] {
				t.Fatalf("byte %d", i)
			}
		}
	})
}

// flaky is a connection whose writes fail behind the first limit bytes.
type flaky struct {
	net.Conn
	limit   int
	written bytes.Buffer
}

func (f *flaky) Write(p []byte) (int, error) {
	n := min(len(p), f.limit-f.written.Len())
	f.written.Write(p[:n])
	if n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func (*flaky) SetWriteDeadline(time.Time) error { return nil }

// After a close frame, and behind a frame that was sent in part, nothing is sent.
func TestSender_End(t *testing.T) {
	below := &flaky{limit: 60}
	w := NewRawConn(below, false, time.Second)
	f := NewFrameConn(w, w, NewClock(), 0, 100, false)
	if _, err := f.Write([]byte("\x88 not a frame yet")); err != nil {
		t.Fatal(err)
	}
	f.BeginFrames()
	if err := f.WriteShort(1, []byte("ok")); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteShort(1, make([]byte, 60)); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	sent := below.written.Len()
	below.limit = 1000
	if err := f.WriteShort(1, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if _, err := f.Write([]byte{0x89, 0x80, 0, 0, 0, 0}); !errors.Is(err, io.ErrClosedPipe) || below.written.Len() != sent {
		t.Error(err, below.written.Len()-sent)
	}

	w = NewRawConn(&flaky{limit: 1000}, false, time.Second)
	f = NewFrameConn(w, w, NewClock(), 0, 100, false)
	f.BeginFrames()
	if _, err := f.Write([]byte{0x88, 0x80, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteShort(1, nil); !errors.Is(err, websocket.ErrCloseSent) {
		t.Error(err)
	}
}

// The deadline of a control frame is that of its own Write, whatever is sent in between.
func TestSender_Deadlines(t *testing.T) {
	a, b := memnet.Pipe(20)
	defer a.Close()
	w := NewRawConn(a, false, 10*time.Second)
	f := NewFrameConn(w, w, NewClock(), 0, 100, false)
	f.BeginFrames()
	var all sync.WaitGroup
	defer all.Wait()
	f.SetWriteDeadline(time.Now().Add(-time.Second))
	all.Go(func() { io.ReadFull(b, make([]byte, 6+100)) })
	if err := f.WriteShort(1, make([]byte, 100)); err != nil { // has to wait for the reader
		t.Error(err)
	}
	all.Wait()
	if _, err := f.Write(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
