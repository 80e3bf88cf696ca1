package mux_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// slow replies to each call after a second.
func slow(p *peer) {
	for {
		kind, id, text, ok := p.read()
		if !ok {
			return
		}
		if kind == 'C' {
			time.AfterFunc(time.Second, func() { p.send("R%s %s", id, text) })
		}
	}
}

// Callers beyond the limit wait in order, leave the line when their context ends, and fail at
// once with NoWait.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, MaxInFlight: 2})
		if _, err := c.Call(t.Context(), mux.Request{Body: "x", NoWait: true}); !errors.Is(err, mux.ErrBusy) || !errors.Is(err, mux.ErrNotSent) {
			t.Error(err) // it has no connection yet
		}
		synctest.Wait()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				ctx := t.Context()
				if i == 4 {
					bounded, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
					defer cancel()
					ctx = bounded
				}
				_, err := c.Call(ctx, mux.Request{Body: "x"})
				if (err != nil) != (i == 4) || err != nil && (!errors.Is(err, mux.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded)) {
					t.Error(i, err)
				}
				mu.Lock()
				order = append(order, i/2*2)
				mu.Unlock()
			})
			synctest.Wait()
		}
		if s := c.Stats(); s.Waiting != 6 || s.InFlight != 2 {
			t.Errorf("%+v", s)
		}
		if _, err := c.Call(t.Context(), mux.Request{Body: "x", NoWait: true}); !errors.Is(err, mux.ErrBusy) {
			t.Error(err)
		}
		began := time.Now()
		wg.Wait()
		if got := fmt.Sprint(order); got != "[0 0 4 2 2 4 6 6]" && got != "[0 0 4 2 2 6 4 6]" || time.Since(began) > 5*time.Second {
			t.Error(order, time.Since(began))
		}
	})
}

// More connections are acquired as the load grows, up to MaxConns, and given back when they have
// been idle.
func TestGrowAndGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, MaxConns: 3, GrowAt: 4, IdleAfter: 10 * time.Second})
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { ask(t, c, "x") })
			synctest.Wait()
		}
		st := c.Stats()
		if len(st.Conns) != 3 || st.InFlight != 64 {
			t.Errorf("%+v", st)
		}
		for _, n := range st.Conns {
			if n.InFlight < 10 {
				t.Errorf("uneven: %+v", st.Conns)
			}
		}
		wg.Wait()
		time.Sleep(5 * time.Second)
		if n := len(c.Stats().Conns); n != 3 {
			t.Errorf("%d connections too soon", n)
		}
		time.Sleep(20 * time.Second)
		if n := len(c.Stats().Conns); n != 0 {
			t.Errorf("%d connections are held by an idle client", n)
		}
		if s := p.Stats(); s.Idle != 3 || s.Leased != 0 {
			t.Errorf("%v", s)
		}
		ask(t, c, "again")
		if s := p.Stats(); s.Made != 3 {
			t.Errorf("%v", s)
		}
	})
}

// A connection that is used more often than IdleAfter is never given back, though it is idle at
// every sweep.
func TestUsedConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, echo), mux.Config{Codec: plain{}, IdleAfter: 10 * time.Second})
		for range 30 {
			ask(t, c, "x")
			time.Sleep(7 * time.Second)
		}
		if s := c.Stats(); s.Acquired != 1 || len(s.Conns) != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		if s := c.Stats(); len(s.Conns) != 0 {
			t.Errorf("%+v", s)
		}
		ask(t, c, "the timer of the sweeps is started again")
		time.Sleep(time.Minute)
		if s := c.Stats(); len(s.Conns) != 0 || s.Acquired != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Growth stops where the pool has no room, and never fails a call.
func TestGrowthWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, slow)
		s.cfg.MaxSize = 1
		c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 5, GrowAt: 1})
		for range 10 {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { ask(t, c, "x") })
			}
			wg.Wait()
		}
		if s := p.Stats(); s.Failures.MaxWait == 0 || s.Failures.MaxWait > 20 {
			t.Errorf("%+v", s.Failures)
		}
	})
}

// Too many calls that were given up, or one for too long, have the connection replaced; calls on
// it are answered.
func TestOrphans(t *testing.T) {
	for name, cfg := range map[string]mux.Config{
		"many": {MaxOrphans: 4, OrphanWait: -1}, "old": {MaxOrphans: 100, OrphanWait: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				canceled := 0
				s := listenMem(t, func(p *peer) {
					for {
						kind, id, text, ok := p.read()
						switch {
						case !ok:
							return
						case kind == 'X':
							mu.Lock()
							canceled++
							mu.Unlock()
						case text == "slow":
							time.AfterFunc(8*time.Second, func() { p.send("R%s %s", id, text) })
						case text != "never":
							p.send("R%s %s", id, text)
						}
					}
				})
				var causes []error
				cfg := cfg
				cfg.Codec, cfg.Trace = plain{}, &mux.Trace{Draining: func(e mux.ConnEvent) {
					mu.Lock()
					causes = append(causes, e.Err)
					mu.Unlock()
				}}
				c, p := newClient(t, s, cfg)
				for range 4 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := c.Call(ctx, mux.Request{Body: "never"}); !errors.Is(err, mux.ErrMayHaveRun) {
						t.Error(err)
					}
					cancel()
				}
				var wg sync.WaitGroup
				wg.Go(func() { ask(t, c, "slow") })
				time.Sleep(6 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				c.Call(ctx, mux.Request{Body: "never"})
				time.Sleep(500 * time.Millisecond)
				ask(t, c, "fast")
				wg.Wait()
				time.Sleep(20 * time.Second)
				ask(t, c, "fast")
				mu.Lock()
				defer mu.Unlock()
				if name == "many" && len(causes) != 1 || len(causes) == 0 || !errors.Is(causes[0], mux.ErrOrphans) {
					t.Error(causes)
				}
				if canceled != 5 {
					t.Errorf("%d were canceled", canceled)
				}
				if s := c.Stats(); s.Orphans != 0 || s.Acquired < 2 {
					t.Errorf("%+v; %v", s, p.Stats())
				}
			})
		})
	}
}

// An idle shared connection has no goroutine, and few bytes.
func TestIdleConnectionCostsLittle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a goroutine watches each connection")
	}
	s := listen(t, echo)
	s.cfg.MaxSize = 100
	p, err := wspool.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Warm(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	// measure finds the least number of goroutines within 300 ms, in real time: the watch of the
	// sockets begins, and goroutines of timers run now and then. It goes on for up to 10 seconds
	// until there are at most so many.
	measure := func(most int) (goroutines int, bytes uint64) {
		goroutines = math.MaxInt
		for tries := 0; tries < 10 || tries < 300 && goroutines > most; tries++ {
			time.Sleep(30 * time.Millisecond)
			goroutines = min(goroutines, runtime.NumGoroutine())
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return goroutines, m.HeapAlloc
	}
	goroutines, bytes := measure(math.MaxInt)
	var all []*mux.Client
	for range 100 {
		c, err := mux.New(p, mux.Config{Codec: plain{}, OrphanWait: 100 * time.Millisecond}) // sweeps soon
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the buffers of messages are freed when the connection is idle
			ask(t, c, strings.Repeat("long", 4<<10))
		}
		all = append(all, c)
	}
	g, b := measure(goroutines + 5)
	if g > goroutines+5 {
		t.Errorf("%d goroutines more for 100 idle connections", g-goroutines)
	}
	each := (int64(b) - int64(bytes)) / 100
	t.Logf("%d bytes for each client and its connection", each)
	if each > 10<<10 {
		t.Errorf("%d bytes for each client and its connection", each)
	}
	for _, c := range all {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// An idle shared connection takes little memory beyond that of its connection in the pool, however
// much it has carried.
func TestIdleConnections_Memory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a goroutine watches each connection")
	}
	const conns, most = 100, 1536
	s := listen(t, echo)
	s.cfg.MaxSize = conns
	p, err := wspool.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	if err := p.Warm(t.Context(), conns); err != nil {
		t.Fatal(err)
	}
	crowd := func(f func()) {
		var wg sync.WaitGroup
		for range 3 * conns {
			wg.Go(f)
		}
		wg.Wait()
	}
	inUse := func() int64 {
		runtime.GC()
		runtime.GC() // frees what a sync.Pool keeps
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var all sync.WaitGroup
	all.Add(3 * conns)
	crowd(func() { all.Done(); all.Wait() }) // what goroutines leave behind
	before := inUse()
	c, err := mux.New(p, mux.Config{Codec: plain{}, MaxConns: conns, GrowAt: 1, IdleAfter: -1, OrphanWait: 100 * time.Millisecond}) // sweeps soon
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	long := strings.Repeat("long", 1<<10)
	for len(c.Stats().Conns) < conns {
		crowd(func() { ask(t, c, long) })
	}
	each := int64(math.MaxInt64)
	for tries := 0; tries < 100 && each > most; tries++ {
		time.Sleep(50 * time.Millisecond) // between two looks, in real time: the second sweep frees the tables
		each = (inUse() - before) / conns
	}
	t.Logf("%d bytes for each connection", each)
	if each > most {
		t.Errorf("%d bytes for each connection, more than %d", each, most)
	}
}

// A large message takes another connection, and does not delay short ones.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newClient(t, listenMem(t, echo), mux.Config{Codec: plain{}, Bulk: 10_000, IdleAfter: time.Second})
		long := strings.Repeat("long", 50_000)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { ask(t, c, long) })
		}
		ask(t, c, "short")
		wg.Wait()
		alone := 0
		for _, n := range c.Stats().Conns {
			if n.Alone {
				alone++
			}
		}
		if alone == 0 {
			t.Errorf("%+v", c.Stats())
		}
		ask(t, c, long)
		time.Sleep(10 * time.Second)
		if s := c.Stats(); len(s.Conns) != 0 {
			t.Errorf("%+v", s)
		}
		if s := p.Stats(); s.Tainted != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A connection for large messages has one at a time.
func TestBulk_OneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, Bulk: 10_000})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { ask(t, c, strings.Repeat("long", 5_000)) })
			synctest.Wait()
		}
		alone := 0
		for _, n := range c.Stats().Conns {
			if n.Alone {
				alone++
				if n.InFlight != 1 {
					t.Errorf("%d large messages are in flight on one connection", n.InFlight)
				}
			}
		}
		if alone != 3 {
			t.Errorf("%d connections for 3 large messages", alone)
		}
		wg.Wait()
		acquired := c.Stats().Acquired
		ask(t, c, strings.Repeat("long", 5_000))
		if n := c.Stats().Acquired; n != acquired {
			t.Errorf("%d connections were acquired for a large message, and three had room for it", n-acquired)
		}
	})
}

// onlyLeaser hides what else a pool can do.
type onlyLeaser struct{ mux.Leaser }

// A large message is sent on a connection that others use if the pool has no other to lend: all of it
// may be the client's. The call waits for one only where there is room, or may be.
func TestBulk_NoRoom(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := listenMem(t, echo)
			s.cfg.MaxSize = 1
			c, p := newClient(t, s, muxConfig())
			most := time.Duration(0)
			if !told {
				var err error
				if c, err = mux.New(onlyLeaser{p}, muxConfig()); err != nil {
					t.Fatal(err)
				}
				defer c.Close(t.Context())
				most = time.Second
			}
			ask(t, c, "short")
			began := time.Now()
			for _, r := range []mux.Request{{}, {NoWait: true}} {
				long := strings.Repeat("x", 300<<10)
				r.Body = long
				if m, err := c.Call(t.Context(), r); err != nil || text(m) != long {
					t.Errorf("%d bytes, %v", len(m.Data), err)
				}
				if took := time.Since(began); took > most {
					t.Errorf("told %v: %v", told, took)
				}
			}
			if s := c.Stats(); len(s.Conns) != 1 || s.Conns[0].Alone {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Calls of a session use one connection until that ends.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[string]map[*peer]bool{}
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' {
					mu.Lock()
					if seen[text] == nil {
						seen[text] = map[*peer]bool{}
					}
					seen[text][p] = true
					mu.Unlock()
					time.AfterFunc(time.Second, func() { p.send("R%s %s", id, text) })
				}
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 4, GrowAt: 1, MaxInFlight: 3})
		var wg sync.WaitGroup
		for range 4 {
			for i := range 4 {
				name := fmt.Sprint("session ", i)
				for range 3 {
					wg.Go(func() {
						if _, err := c.Call(t.Context(), mux.Request{Body: name, Session: name}); err != nil {
							t.Error(err)
						}
					})
					synctest.Wait()
				}
			}
			wg.Wait()
		}
		mu.Lock()
		defer mu.Unlock()
		for name, peers := range seen {
			if len(peers) != 1 {
				t.Errorf("%s used %d connections", name, len(peers))
			}
			c.EndSession(name)
		}
	})
}

// Calls of a session that wait before the session has a connection use one connection, which the first
// of them chooses.
func TestSession_FirstCallsAtOnce(t *testing.T) {
	for _, most := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[*peer]int{}
			s := listenMem(t, func(p *peer) {
				for {
					_, id, text, ok := p.read()
					if !ok {
						return
					}
					if text == "session" {
						mu.Lock()
						seen[p]++
						mu.Unlock()
					}
					time.AfterFunc(time.Second, func() { p.send("R%s %s", id, text) })
				}
			})
			c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 2, GrowAt: 1, MaxInFlight: most})
			var wg sync.WaitGroup
			for range 2 * most {
				wg.Go(func() {
					if _, err := c.Call(t.Context(), mux.Request{Body: "session", Session: "s"}); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			// The line holds calls of the session, and one that is not of it has room elsewhere.
			began := time.Now()
			ask(t, c, "other")
			if took := time.Since(began); took > time.Second {
				t.Errorf("MaxInFlight %d: a call of no session took %v behind calls of one", most, took)
			}
			wg.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != 1 {
				t.Errorf("MaxInFlight %d: calls of the session by connection: %v", most, seen)
			}
			c.EndSession("s")
		})
	}
}

// The end of a session lets its callers in line use another connection at once.
func TestEndSession_WhileCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, MaxConns: 2, GrowAt: 1, MaxInFlight: 1})
		call := func() {
			if _, err := c.Call(t.Context(), mux.Request{Body: "x", Session: "s"}); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(call)
		wg.Go(call)
		synctest.Wait()
		if s := c.Stats(); s.InFlight != 1 || s.Waiting != 1 {
			t.Fatalf("%+v", s)
		}
		began := time.Now()
		c.EndSession("s")
		wg.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("the second call took %v", took)
		}
		c.EndSession("s")
	})
}

// A long message of a session stays on the connection of the session.
func TestSession_Bulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[*peer]int{}
		s := listenMem(t, func(p *peer) {
			for {
				_, id, text, ok := p.read()
				if !ok {
					return
				}
				mu.Lock()
				seen[p]++
				mu.Unlock()
				p.send("R%s %s", id, text)
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, Bulk: 1000})
		for _, n := range []int{10, 2000} {
			if _, err := c.Call(t.Context(), mux.Request{Body: strings.Repeat("x", n), Session: "s"}); err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != 1 {
			t.Errorf("messages by connection: %v", seen)
		}
	})
}

// A call of a session that waits for its connection to have room uses another one if that ends.
func TestSession_ConnectionEndsWhileCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok || text == "cut" {
					time.Sleep(time.Second) // in the bubble
					return
				}
				if kind == 'C' {
					p.send("R%s %s", id, text)
				}
			}
		})
		s.cfg.Redial = func(error, int) time.Duration { return 0 }
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxInFlight: 1})
		call := func(what string) error {
			m, err := c.Call(t.Context(), mux.Request{Body: what, Session: "s"})
			if err == nil && text(m) != what {
				t.Errorf("%q: %q", what, m.Data)
			}
			return err
		}
		if err := call("bind"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := call("cut"); !errors.Is(err, mux.ErrMayHaveRun) {
				t.Errorf("the call that was cut: %v", err)
			}
		})
		synctest.Wait()
		for i := range 3 {
			wg.Go(func() {
				if err := call(fmt.Sprint(i)); err != nil {
					t.Errorf("a call that waited: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// A bounded attempt to grow that fails when the last connection is gone fails no caller: another
// attempt begins, which waits for as long as the callers do.
func TestGrowthFailsWhenTheLastConnectionIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, slow)
		s.cfg.MaxSize = 2
		c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 2, GrowAt: 1})
		ask(t, c, "one")
		other, err := p.Acquire(t.Context()) // the pool has no room
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "two") })
		time.Sleep(100 * time.Millisecond)
		wg.Go(func() { ask(t, c, "three") }) // the client grows, for growWait
		time.Sleep(100 * time.Millisecond)
		p.Resize(1)
		p.Reset(nil)
		time.Sleep(100 * time.Millisecond)
		wg.Go(func() { ask(t, c, "four") }) // in line
		time.Sleep(5 * time.Second)
		other.Release()
		wg.Wait()
	})
}
