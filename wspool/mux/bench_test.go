package mux_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

var _ = os.Args
var _ = exec.Command

// rawEcho replies to each call without allocating.
func rawEcho(p *peer) {
	for {
		_, m, err := p.ws.ReadMessage()
		if err != nil {
			return
		}
		if m[0] == 'C' {
			m[0] = 'R'
			if p.ws.WriteMessage(websocket.TextMessage, m) != nil {
				return
			}
		}
	}
}

var payload = strings.Repeat("x", 120)

// run makes b.N calls from so many goroutines.
func run(b *testing.B, callers int, call func(caller int) error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCall(b *testing.B) {
	var body any = payload
	for _, tc := range []struct{ callers, conns int }{{1, 1}, {64, 1}, {64, 4}, {256, 4}} {
		b.Run(fmt.Sprintf("shared/callers=%d/conns=%d", tc.callers, tc.conns), func(b *testing.B) {
			s := listen(b, rawEcho)
			c, _ := newClient(b, s, mux.Config{Codec: plain{}, MaxConns: tc.conns, GrowAt: 4})
			var wg sync.WaitGroup
			for range 256 { // the connections are there
				wg.Go(func() { c.Call(b.Context(), mux.Request{Body: body}) })
			}
			wg.Wait()
			before := c.Stats()
			ctx := context.Background()
			run(b, tc.callers, func(int) error {
				_, err := c.Call(ctx, mux.Request{Body: body})
				return err
			})
			after := c.Stats()
			b.ReportMetric(float64(after.Batches-before.Batches)/float64(b.N), "writes/op")
			b.ReportMetric(float64(len(after.Conns)), "conns")
		})
	}
	for _, tc := range []struct{ callers, conns int }{{1, 1}, {64, 4}, {64, 64}} {
		b.Run(fmt.Sprintf("leases/callers=%d/conns=%d", tc.callers, tc.conns), func(b *testing.B) {
			s := listen(b, rawEcho)
			s.cfg.MaxSize = tc.conns
			p, err := wspool.New(s.cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close(context.Background())
			msg := []byte("C1 " + payload)
			ctx := context.Background()
			run(b, tc.callers, func(int) error {
				c, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				defer c.Release()
				if err := c.WriteMessage(ctx, websocket.TextMessage, msg); err != nil {
					return err
				}
				_, _, err = c.ReadMessage(ctx)
				return err
			})
		})
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/callers=%d", callers), func(b *testing.B) {
			s := listen(b, rawEcho)
			conns := make([]*websocket.Conn, callers)
			for i := range conns {
				var err error
				if conns[i], _, err = websocket.DefaultDialer.Dial(s.cfg.URL, nil); err != nil {
					b.Fatal(err)
				}
				defer conns[i].Close()
			}
			msg := []byte("C1 " + payload)
			run(b, callers, func(i int) error {
				if err := conns[i].WriteMessage(websocket.TextMessage, msg); err != nil {
					return err
				}
				_, _, err := conns[i].ReadMessage()
				return err
			})
		})
	}
}
