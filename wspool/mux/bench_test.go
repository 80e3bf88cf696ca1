package mux_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

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

// work makes so many calls from so many goroutines and returns how long they took.
func work(t testing.TB, callers, calls int, call func(caller int) error) time.Duration {
	var left atomic.Int64
	left.Store(int64(calls))
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// delayed replies to each call after a millisecond, one after the other if it is exclusive.
func delayed(p *peer) {
	for {
		_, id, text, ok := p.read()
		if !ok {
			return
		}
		time.AfterFunc(time.Millisecond, func() { p.send("R%s %s", id, text) })
	}
}

// BenchmarkFigures compares shared connections with others in pairs, by the median of the ratios of
// each round, since the machine may be busy. It prints them.
func BenchmarkFigures(t *testing.B) {
	var body any = payload
	ctx := context.Background()
	msg := []byte("C1 " + payload)
	shared := func(serve func(*peer), conns int) func(int) error {
		c, _ := newClient(t, listen(t, serve), mux.Config{Codec: plain{}, MaxConns: conns, GrowAt: 1})
		for range 20 {
			work(t, 256, 512, func(int) error { _, err := c.Call(ctx, mux.Request{Body: body}); return err })
		}
		if n := len(c.Stats().Conns); n != conns {
			t.Fatalf("%d connections", n)
		}
		return func(int) error { _, err := c.Call(ctx, mux.Request{Body: body}); return err }
	}
	leased := func(serve func(*peer), conns int) func(int) error {
		s := listen(t, serve)
		s.cfg.MaxSize = conns
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close(ctx) })
		if err := p.Warm(ctx, conns); err != nil {
			t.Fatal(err)
		}
		return func(int) error {
			return p.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, msg); err != nil {
					return err
				}
				_, _, err := c.ReadMessage(ctx)
				return err
			})
		}
	}
	exchange := func(ctx context.Context) func(int) error {
		s := listen(t, rawEcho)
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close(context.Background()) })
		return func(int) error {
			_, _, err := p.Exchange(ctx, websocket.TextMessage, msg)
			return err
		}
	}
	ending, end := context.WithCancel(ctx) // a read has to heed it
	defer end()
	oneCaller := func(ctx context.Context) func(int) error {
		c, _ := newClient(t, listen(t, rawEcho), mux.Config{Codec: plain{}})
		return func(int) error { _, err := c.Call(ctx, mux.Request{Body: body}); return err }
	}
	bare := func(n int) func(int) error {
		s := listen(t, rawEcho)
		conns := make([]*websocket.Conn, n)
		for i := range conns {
			var err error
			if conns[i], _, err = websocket.DefaultDialer.Dial(s.cfg.URL, nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conns[i].Close() })
		}
		return func(i int) error {
			if err := conns[i].WriteMessage(websocket.TextMessage, msg); err != nil {
				return err
			}
			_, _, err := conns[i].ReadMessage()
			return err
		}
	}
	for _, f := range []struct {
		name           string
		callers, calls int
		ours, theirs   func(int) error
	}{
		{"64 callers, 4 shared beside 64 bare", 64, 8000, shared(rawEcho, 4), bare(64)},
		{"64 callers, 1 shared beside 64 bare", 64, 8000, shared(rawEcho, 1), bare(64)},
		{"one caller, shared beside a lease", 1, 3000, shared(rawEcho, 1), leased(rawEcho, 1)},
		{"one caller, shared beside Exchange", 1, 3000, oneCaller(ctx), exchange(ctx)},
		{"one caller whose context can end, shared beside Exchange", 1, 3000, oneCaller(ending), exchange(ending)},
		{"64 callers, server takes 1 ms, 4 shared beside 4 leased", 64, 3000, shared(delayed, 4), leased(delayed, 4)},
		{"256 callers, server takes 1 ms, 4 shared beside 4 leased", 256, 3000, shared(delayed, 4), leased(delayed, 4)},
	} {
		var ratios []float64
		var best time.Duration
		for range 11 {
			a := work(t, f.callers, f.calls, f.ours)
			b := work(t, f.callers, f.calls, f.theirs)
			ratios = append(ratios, float64(b)/float64(a))
			if best == 0 || a < best {
				best = a
			}
		}
		slices.Sort(ratios)
		t.Logf("%s: %.2f (%.2f to %.2f); at best %.0f calls/s", f.name, ratios[5], ratios[1], ratios[9], float64(f.calls)/best.Seconds())
	}
}
