package mux_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// A call returns at the instant at which its context ends, by its deadline or canceled, whether its
// goroutine reads for the others or waits for another one to read, and whenever the wait began.
func TestCallReturnsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, slow)
		s.cfg.KeepAlive = -1
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxOrphans: 1000, OrphanWait: -1})
		ask(t, c, "warm")
		for wait := time.Microsecond; wait < 100*time.Millisecond; wait = wait*3/2 + 1 {
			for _, callers := range []int{1, 3} {
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
						defer cancel()
						want := context.Canceled
						mine := wait * time.Duration(i+1)
						if i%2 == 0 {
							defer time.AfterFunc(mine, cancel).Stop()
						} else {
							bounded, end := context.WithTimeout(ctx, mine)
							defer end()
							ctx, want = bounded, context.DeadlineExceeded
						}
						began := time.Now()
						_, err := c.Call(ctx, mux.Request{Body: "x"})
						if took := time.Since(began); !errors.Is(err, want) || took != mine {
							t.Errorf("%d of %d callers, context ends after %v: %v after %v", i, callers, mine, err, took)
						}
					})
				}
				wg.Wait()
			}
		}
	})
}
