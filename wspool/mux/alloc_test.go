//go:build linux && !race

package mux_test

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/mux"
)

// numbered is a codec that allocates nothing: a message begins with its id, and so does its reply.
type numbered struct{}

func (numbered) IDBits() int { return 64 }

func (numbered) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	return websocket.BinaryMessage, append(binary.BigEndian.AppendUint64(dst, id), body.(string)...), nil
}

func (numbered) Classify(_ int, p []byte) (mux.Frame, error) {
	return mux.Frame{Kind: mux.Reply, ID: binary.BigEndian.Uint64(p)}, nil
}

// echoFrames returns each message of less than 126 bytes, in a write for each, and allocates nothing.
func echoFrames(p *peer) {
	var frame [6 + 125]byte
	c := p.ws.NetConn()
	for {
		if _, err := io.ReadFull(c, frame[:6]); err != nil {
			return
		}
		text := frame[6:][:frame[1]&0x7f]
		if _, err := io.ReadFull(c, text); err != nil || frame[0]&0x08 != 0 {
			return
		}
		for i := range text {
			text[i] ^= frame[2+i%4]
		}
		frame[4], frame[5] = frame[0], byte(len(text))
		if _, err := c.Write(frame[4 : 6+len(text)]); err != nil {
			return
		}
	}
}

// A call whose caller waits for the reply itself allocates two objects for that, for a context that can
// end, and a small part of those that replies share. Of many callers only the one that waits for the
// network does.
func TestCall_Allocations(t *testing.T) {
	c, _ := newClient(t, listen(t, echoFrames), mux.Config{Codec: numbered{}, MaxConns: 1})
	ending, end := context.WithCancel(t.Context())
	defer end()
	const calls = 100
	var body any = "a request"
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		callers int
		most    float64
	}{
		{"one caller", context.Background(), 1, 0.2},
		{"one caller whose context can end", ending, 1, 2.2},
		{"64 callers", context.Background(), 64, 0.5},
		{"64 callers whose contexts can end", ending, 64, 1.5}, // how many have to wait depends on the machine
	} {
		work := func() {
			var wg sync.WaitGroup
			for range tc.callers {
				wg.Go(func() {
					for range calls {
						if _, err := c.Call(tc.ctx, mux.Request{Body: body}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		}
		work()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		work()
		runtime.ReadMemStats(&after)
		each := float64(after.Mallocs-before.Mallocs) / float64(calls*tc.callers)
		t.Logf("%s: %.2f allocations", tc.name, each)
		if each > tc.most {
			t.Errorf("%s: %.2f allocations, more than %.1f", tc.name, each, tc.most)
		}
	}
}
