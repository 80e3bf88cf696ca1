package mux_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// both runs f with a server on a socket and with one in memory, in a bubble.
func both(t *testing.T, serve func(*peer), f func(t *testing.T, s *server)) {
	t.Run("socket", func(t *testing.T) { f(t, listen(t, serve)) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, listenMem(t, serve)) })
	})
}

func TestCall(t *testing.T) {
	both(t, echo, func(t *testing.T, s *server) {
		c, _ := newClient(t, s, muxConfig())
		for i := range 10 {
			ask(t, c, fmt.Sprint("one ", i))
		}
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for k := range 50 {
					ask(t, c, fmt.Sprint("many ", i, " ", k))
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); s.Calls != 10+64*50 || s.InFlight != 0 || s.Late+s.Unknown+s.Bad != 0 {
			t.Errorf("%+v", s)
		}
	})
}
