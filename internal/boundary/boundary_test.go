package boundary_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/boundary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tracker is the common interface.
type tracker interface {
	Feed(p []byte)
	Clean() bool
}

// frame returns a frame of a server, or a masked one.
func frame(payload int, mask bool) []byte {
	var b bytes.Buffer
	bit := byte(0)
	if mask {
		bit = 0x80
	}
	b.WriteByte(0x82)
	switch {
	case payload < 126:
		b.WriteByte(bit | byte(payload))
	case payload < 1<<16:
		b.WriteByte(bit | 126)
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(payload)))
	default:
		b.WriteByte(bit | 127)
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(payload)))
	}
	if mask {
		b.Write([]byte{1, 2, 3, 4})
	}
	b.Write(make([]byte, payload))
	return b.Bytes()
}

func record(payload int) []byte {
	return append([]byte{23, 3, 3, byte(payload >> 8), byte(payload)}, make([]byte, payload)...)
}

// Fed byte by byte, a stream is clean exactly at the ends of units.
func TestClean(t *testing.T) {
	answer := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	for name, c := range map[string]struct {
		tracker tracker
		before  []byte
		units   [][]byte
	}{
		"frames": {boundary.Frames(), answer, [][]byte{
			frame(0, false), frame(1, false), frame(125, false), frame(126, false), frame(65535, false), frame(65536, false),
			frame(0, true), frame(125, true), frame(126, true), frame(70000, true), frame(3, false),
		}},
		"records": {boundary.Records(), nil, [][]byte{record(0), record(1), record(255), record(256), record(16640), record(7)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range c.before {
				c.tracker.Feed([]byte{b})
			}
			if !c.tracker.Clean() {
				t.Fatal("not clean before the first unit")
			}
			for i, u := range c.units {
				for j := range u {
					c.tracker.Feed(u[j : j+1])
					if ends := j == len(u)-1; c.tracker.Clean() != ends {
						t.Fatalf("unit %d, byte %d of %d: clean %v", i, j+1, len(u), c.tracker.Clean())
					}
				}
			}
		})
	}
}

// The result does not depend on how the stream is split.
func FuzzCuts(f *testing.F) {
	f.Add([]byte("\r\n\r\n\x82\x7e\x00\x80abc"), uint8(3))
	f.Add(append([]byte("x\r\n\r\n"), frame(130, false)...), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		for _, two := range [][2]tracker{{boundary.Frames(), boundary.Frames()}, {boundary.Records(), boundary.Records()}} {
			whole, parts := two[0], two[1]
			whole.Feed(stream)
			for p := stream; len(p) > 0; {
				n := min(len(p), int(cut)%7+1)
				parts.Feed(p[:n])
				p = p[n:]
			}
			if whole.Clean() != parts.Clean() {
				t.Fatalf("whole: %v, in parts: %v", whole.Clean(), parts.Clean())
			}
			if w, ok := whole.(*boundary.FrameTracker); ok && counts(w) != counts(parts.(*boundary.FrameTracker)) {
				t.Fatalf("whole: %+v, in parts: %+v", counts(w), counts(parts.(*boundary.FrameTracker)))
			}
		}
	})
}
