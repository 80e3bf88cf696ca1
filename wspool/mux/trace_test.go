package mux_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// The Trace sees connections and calls, and a panic in it harms nothing.
func TestTrace(t *testing.T) {
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var calls []mux.CallEvent
			var conns []string
			lines := func(what string) func(mux.ConnEvent) {
				return func(e mux.ConnEvent) {
					mu.Lock()
					conns = append(conns, what)
					mu.Unlock()
					if e.Conn == 0 {
						t.Errorf("%s: %+v", what, e)
					}
					if panics {
						panic("boom")
					}
				}
			}
			contained := 0
			c, _ := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, IdleAfter: 5 * time.Second, Trace: &mux.Trace{
				Connected: lines("connected"), Draining: lines("draining"), Disconnected: lines("disconnected"),
				Called: func(e mux.CallEvent) {
					mu.Lock()
					calls = append(calls, e)
					mu.Unlock()
					if panics {
						panic("boom")
					}
				},
				Panicked: func(err error) {
					mu.Lock()
					contained++
					mu.Unlock()
					panic(err)
				},
			}})
			ask(t, c, "x")
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			c.Call(ctx, mux.Request{Body: "x"})
			c.Call(ctx, mux.Request{Body: "x"})
			if err := c.Notify(t.Context(), "x"); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if len(calls) != 4 || calls[0].Err != nil || calls[0].Sent != 1 || calls[0].Took < time.Second ||
				!errors.Is(calls[1].Err, mux.ErrMayHaveRun) || calls[1].Sent != 1 || !errors.Is(calls[2].Err, mux.ErrNotSent) || calls[2].Sent != 0 || calls[3].Err != nil {
				t.Errorf("%+v", calls)
			}
			if len(conns) != 2 || conns[0] != "connected" || conns[1] != "disconnected" {
				t.Error(conns)
			}
			if panics != (contained == 6) {
				t.Errorf("%d panics", contained)
			}
		})
	}
}
