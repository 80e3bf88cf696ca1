package wsconn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/gorilla/websocket"
)

// A frame has its length in as few bytes as RFC 6455 wants, and is masked.
func TestAppendFrame(t *testing.T) {
	for _, c := range []struct{ n, head int }{{0, 2}, {1, 2}, {125, 2}, {126, 4}, {127, 4}, {1<<16 - 1, 4}, {1 << 16, 10}, {1<<16 + 1, 10}} {
		for _, fin := range []bool{false, true} {
			t.Run(fmt.Sprint(c.n, " ", fin), func(t *testing.T) {
				payload := bytes.Repeat([]byte("abcdefg"), c.n/7+1)[:c.n]
				p := appendFrame([]byte("before"), websocket.TextMessage, fin, payload)
				p, ok := bytes.CutPrefix(p, []byte("before"))
				if !ok || len(p) != c.head+4+c.n {
					t.Fatalf("%d bytes", len(p))
				}
				if first := byte(websocket.TextMessage); p[0] != first|0x80 == fin || p[0]&0x7f != first || p[1]&0x80 == 0 {
					t.Errorf("it begins with %x", p[:2])
				}
				n := uint64(p[1] & 0x7f)
				switch {
				case n == 126 && c.head == 4:
					n = uint64(binary.BigEndian.Uint16(p[2:]))
				case n == 127 && c.head == 10:
					n = binary.BigEndian.Uint64(p[2:])
				}
				if n != uint64(c.n) {
					t.Errorf("a length of %d", n)
				}
				mask, data := p[c.head:c.head+4], p[c.head+4:]
				for i := range data {
					data[i] ^= mask[i%4]
				}
				if !bytes.Equal(data, payload) {
					t.Error("another payload")
				}
			})
		}
	}
}
