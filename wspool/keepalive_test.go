package wspool_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// alive is a witness of a pool that pings after 9 to 10 s and waits 2 s.
func alive(t testing.TB) *witness {
	w := witnesses(t)
	w.cfg.KeepAlive = 10 * time.Second
	w.cfg.PongWait = 2 * time.Second
	return w
}

// warm makes n connections.
func warm(t testing.TB, p *wspool.Pool, n int) {
	t.Helper()
	if err := p.Warm(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// A ping is sent whenever nothing has come in for KeepAlive, less a part of a
// tenth that is the connection's own.
func TestKeepAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.delay = 100 * ms
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Minute)
		pings := w.saw("ping")
		if len(pings) < 5 || len(pings) > 6 {
			t.Fatalf("pings at %v", pings)
		}
		if pings[0] <= 9*time.Second || pings[0] > 10*time.Second {
			t.Errorf("the first ping came at %v", pings[0])
		}
		for i, at := range pings[1:] {
			if apart := at - pings[i]; apart != pings[0]+w.delay {
				t.Errorf("pings %v apart, want %v", apart, pings[0]+w.delay)
			}
		}
		if s := p.Stats(); s.Silent != 0 || s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// Pings come as often as KeepAlive says if PongWait is longer, too, and also if
// they take longer than KeepAlive to be answered.
func TestKeepAliveShort(t *testing.T) {
	for _, delay := range []time.Duration{0, 100 * ms, 3 * time.Second} {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.delay = delay
			w.cfg.KeepAlive, w.cfg.PongWait = time.Second, 30*time.Second
			p := pool(t, w.cfg)
			warm(t, p, 1)
			time.Sleep(5 * time.Minute)
			pings := w.saw("ping")
			for i, at := range pings[1:] {
				if apart := at - pings[i]; apart > 2*time.Second+delay {
					t.Fatalf("answered after %v: pings %v apart", delay, apart)
				}
			}
			w.deny = true
			time.Sleep(35 * time.Second)
			if s := p.Stats(); s.Silent != 1 {
				t.Errorf("answered after %v, then not: %v", delay, s)
			}
		})
	}
}

// Nothing is sent to a connection from which something comes, be it pings, and
// so while messages are exchanged.
func TestNoKeepAlive(t *testing.T) {
	t.Run("pings", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.deny = true
			warm(t, pool(t, w.cfg), 1)
			for range 20 {
				time.Sleep(5 * time.Second)
				w.ping(0, "")
			}
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
	t.Run("messages", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.deny = true
			p := pool(t, w.cfg)
			for range 20 {
				c := acquire(t, p)
				ask(t, c, "x")
				c.Release()
				time.Sleep(5 * time.Second)
			}
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
	t.Run("off", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.cfg.KeepAlive = -1
			warm(t, pool(t, w.cfg), 1)
			time.Sleep(time.Hour)
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
}

// A peer that does not answer is given up PongWait after the ping, whatever the
// connection does just then.
func TestSilent(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, p *wspool.Pool) error // returns what a lease failed with; nil: it has not
	}{
		{"idle", func(t *testing.T, p *wspool.Pool) error { warm(t, p, 1); time.Sleep(time.Minute); return nil }},
		{"hot", func(t *testing.T, p *wspool.Pool) error {
			for range 40 { // its leases do nothing
				acquire(t, p).Release()
				time.Sleep(time.Second)
				if p.Stats().Silent > 0 {
					break
				}
			}
			return nil
		}},
		{"reading", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "question")
			_, _, err := c.ReadMessage(t.Context())
			return err
		}},
		{"reading JSON in several goroutines", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "question")
			errs := make(chan error)
			for range 3 {
				go func() { errs <- c.ReadJSON(t.Context(), new(int)) }()
			}
			return errors.Join(<-errs, <-errs, <-errs)
		}},
		{"thinking", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			time.Sleep(time.Minute)
			return c.WriteMessage(t.Context(), websocket.TextMessage, nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := alive(t)
				w.deny, w.mute = true, true
				gone := w.ends()
				p := pool(t, w.cfg)
				err := tc.do(t, p)
				e := next(t, "end", gone)
				pings := w.saw("ping")
				if len(pings) != 1 || !errors.Is(e.cause, wspool.ErrSilent) {
					t.Fatalf("pings at %v, ended with %v", pings, e.cause)
				}
				if err != nil && !errors.Is(err, wspool.ErrSilent) || errors.Is(err, wspool.ErrStale) {
					t.Errorf("the lease failed with %v", err)
				}
				switch tc.name {
				case "thinking": // the lease held it for longer
				default:
					at(t, "its end was seen", e.at, pings[0]+2*time.Second)
				}
				if s := p.Stats(); s.Silent != 1 || s.Destroyed != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A peer that does not even take bytes is given up as well, and with it the
// write that waits for it.
func TestSilentWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 64<<10, deaf(until))
		peer.cfg.KeepAlive, peer.cfg.PongWait = 10*time.Second, 2*time.Second
		peer.cfg.WriteTimeout = time.Hour
		began := time.Now()
		c := acquire(t, pool(t, peer.cfg))
		err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20))
		if took := time.Since(began); !errors.Is(err, wspool.ErrSilent) || took <= 11*time.Second || took > 12*time.Second {
			t.Errorf("%v at %v, want ErrSilent at 11s to 12s", err, took)
		}
		c.Release()
	})
}

// Many connections do not beat together.
func TestSpread(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 300
	}
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.cfg.MaxSize, w.cfg.MaxDials = n, n
		warm(t, pool(t, w.cfg), n)
		time.Sleep(10 * time.Second)
		pings := w.saw("ping")
		slices.Sort(pings)
		if len(pings) != n {
			t.Fatalf("%d pings of %d connections", len(pings), n)
		}
		tenths := map[time.Duration]int{}
		for _, at := range pings {
			if at < 9*time.Second || at > 10*time.Second {
				t.Errorf("a ping at %v", at)
			}
			tenths[at/(100*ms)]++
		}
		for tenth, k := range tenths {
			if k > n/4 {
				t.Errorf("%d of %d pings in %v", k, n, tenth*100*ms)
			}
		}
	})
}

// Where a ping's answer is asked for, it takes what it takes.
func TestPing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.delay = 30 * ms
		p := pool(t, w.cfg)
		c := acquire(t, p)
		if rtt := c.RTT(); rtt != 0 {
			t.Errorf("RTT %v before any ping", rtt)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping: %v", err)
		}
		time.Sleep(time.Second)
		if took, err := c.Ping(t.Context()); err != nil || took != 30*ms {
			t.Errorf("Ping: %v, %v", took, err)
		}
		if rtt := c.RTT(); rtt != 30*ms {
			t.Errorf("RTT %v", rtt)
		}
		w.delay = 110 * ms
		results := make(chan time.Duration)
		for range 3 { // at once, beside a read
			go func() {
				took, err := c.Ping(t.Context())
				if err != nil {
					t.Error(err)
				}
				results <- took
			}()
		}
		synctest.Wait()
		ask(t, c, "x") // the watcher of the pings hands it over
		for range 3 {
			if took := <-results; took != 110*ms {
				t.Errorf("Ping: %v", took)
			}
		}
		if rtt, want := c.RTT(), 30*ms+(110-30)*ms/8; rtt != want {
			t.Errorf("RTT %v, want %v", rtt, want)
		}
		c.Release()
		if _, err := c.Ping(t.Context()); !errors.Is(err, wspool.ErrReleased) {
			t.Errorf("Ping: %v", err)
		}
		if s := p.Stats(); s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A pong that answers nothing of ours is a sign of life, and no measurement.
func TestForeignPong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.deny = true
		p := pool(t, w.cfg)
		warm(t, p, 1)
		for _, s := range []string{"", "x", "wspool ", "wspool zz", "wspool 1", "wspool ffffffffffffffffffff"} {
			time.Sleep(8 * time.Second)
			w.send(0, frame(websocket.PongMessage, s))
		}
		c := acquire(t, p)
		if rtt := c.RTT(); rtt != 0 {
			t.Errorf("RTT %v", rtt)
		}
		ask(t, c, "x")
		c.Release()
		if pings := w.saw("ping"); pings != nil {
			t.Errorf("pings at %v", pings)
		}
	})
}
