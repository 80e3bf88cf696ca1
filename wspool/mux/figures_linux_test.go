package mux_test

import (
	"context"
	"slices"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// BenchmarkFiguresCPU compares the processor time of a lone caller's calls with that of leases, the
// server's included, since their duration says little while the machine is busy.
func BenchmarkFiguresCPU(t *testing.B) {
	used := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			t.Fatal(err)
		}
		return float64(r.Utime.Nano() + r.Stime.Nano())
	}
	var body any = payload
	ctx := context.Background()
	msg := []byte("C1 " + payload)
	c, _ := newClient(t, listen(t, rawEcho), mux.Config{Codec: plain{}})
	s := listen(t, rawEcho)
	s.cfg.MaxSize = 1
	p, err := wspool.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	const calls = 5000
	var shared, leased []float64
	for range 15 {
		began := used()
		work(t, 1, calls, func(int) error { _, err := c.Call(ctx, mux.Request{Body: body}); return err })
		between := used()
		work(t, 1, calls, func(int) error {
			return p.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, msg); err != nil {
					return err
				}
				_, _, err := c.ReadMessage(ctx)
				return err
			})
		})
		shared, leased = append(shared, (between-began)/calls), append(leased, (used()-between)/calls)
	}
	slices.Sort(shared)
	slices.Sort(leased)
	t.Logf("one caller: %.0f ns of processor time for a shared call, %.0f ns for a lease: %.2f", shared[7], leased[7], leased[7]/shared[7])
}
