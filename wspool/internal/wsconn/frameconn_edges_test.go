package wsconn

import (
	"io"
	"testing"
	"time"
)

// once is a connection of which one Read returns these bytes and this error, and later ones nothing.
type once struct {
	scripted
	data string
	err  error
	raw  *RawConn
}

func (c *once) Read(p []byte) (int, error) {
	c.raw.reads++ // it has looked below
	n := copy(p, c.data)
	c.data = ""
	return n, c.err
}

func frameConnOf(data string, err error) *FrameConn {
	raw := NewRawConn(new(scripted), false, time.Hour)
	return NewFrameConn(&once{data: data, err: err, raw: raw}, raw, NewClock(), 0, 100, false)
}

// An error that comes with bytes is kept for later, except a notice, and the end inside a TLS record is
// an end.
func TestFrameConn_BytesWithAnError(t *testing.T) {
	for _, tc := range []struct{ err, kept error }{
		{nil, nil}, {errNothing, nil}, {io.EOF, io.EOF}, {io.ErrUnexpectedEOF, io.EOF}, {io.ErrClosedPipe, io.ErrClosedPipe},
	} {
		data := answer + "\x81\x01x"
		f := frameConnOf(data, tc.err)
		if n, err := f.fill(); n != len(data) || err != nil || f.err != tc.kept {
			t.Errorf("%v: %d bytes, %v; kept %v, want %v", tc.err, n, err, f.err, tc.kept)
		}
	}
	f := frameConnOf(answer, io.EOF)
	f.err = ErrTail
	if n, err := f.fill(); n != 0 || err != nil || f.err != ErrTail {
		t.Errorf("after an error: %d bytes, %v; kept %v", n, err, f.err)
	}
}

// A Read into a long buffer that finds nothing leaves the shared buffers alone.
func TestFrameConn_ReadsNothing(t *testing.T) {
	f := frameConnOf("", errNothing)
	for range 20 {
		if n, err := f.Read(make([]byte, aheadSize)); n != 0 || err != errNothing {
			t.Fatalf("%d bytes, %v", n, err)
		}
		buf := aheadBuffers.Get().(*[]byte)
		if buf == nil || len(*buf) != aheadSize {
			t.Fatal("there is no buffer where one is shared")
		}
		aheadBuffers.Put(buf)
	}
}

// The rest of a frame is missing from its first byte on, of the first frame too, and of a control frame.
func TestFrameConn_PartialSince(t *testing.T) {
	for _, begun := range []string{"\x81", "\x01", "\x89"} {
		f := frameConnOf(answer+begun, nil)
		if _, err := f.fill(); err != nil {
			t.Fatal(err)
		}
		if f.PartialSince() == 0 {
			t.Errorf("nothing is missing behind %q", begun)
		}
	}
}

// A connection that is handed over is the new owner's, on both layers.
func TestFrameConn_HandOver(t *testing.T) {
	f := frameConnOf("", nil)
	if f.handed || f.Raw.handed.Load() {
		t.Error("handed over at the beginning")
	}
	f.HandOver()
	if !f.handed || !f.Raw.handed.Load() {
		t.Error("not handed over")
	}
}
