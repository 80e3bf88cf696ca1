package mux_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/respool/respool/wspool/mux"
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

// A reply is the caller's whatever its length: later replies do not overwrite it.
func TestCallKeepsReplies(t *testing.T) {
	both(t, echo, func(t *testing.T, s *server) {
		c, _ := newClient(t, s, muxConfig())
		var asked []string
		var kept []mux.Message
		for n := 2100; n > 0; n -= 1 + n%3 { // among them as many bytes as are left of a chunk, 2 KiB at first
			question := strings.Repeat(string(rune('a'+n%26)), n)
			for range 2 {
				m, err := c.Call(t.Context(), mux.Request{Body: question})
				if err != nil {
					t.Fatal(err)
				}
				asked, kept = append(asked, question), append(kept, m)
			}
		}
		for n := 2060; n > 2020; n-- { // each on an empty chunk
			c, _ := newClient(t, s, muxConfig())
			for _, question := range []string{strings.Repeat("x", n), "y"} {
				m, err := c.Call(t.Context(), mux.Request{Body: question})
				if err != nil {
					t.Fatal(err)
				}
				asked, kept = append(asked, question), append(kept, m)
			}
		}
		for i, m := range kept {
			if text(m) != asked[i] {
				t.Fatalf("reply %d, of %d bytes, is not what it was", i, len(m.Data))
			}
		}
	})
}
