package cluster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// load makes exchanges from many callers until stop is called, which waits for them. f gets each
// result, with the time when it began.
func load(ctx context.Context, c *cluster.Cluster, callers int, timeout time.Duration, f func(began time.Time, at string, err error)) (stop func()) {
	var wg sync.WaitGroup
	over := make(chan struct{})
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				ctx, cancel := ctx, context.CancelFunc(func() {})
				if timeout > 0 {
					ctx, cancel = context.WithTimeout(ctx, timeout)
				}
				began := time.Now()
				at, err := exchange(ctx, c)
				cancel()
				f(began, at, err)
				time.Sleep(rand.N(2 * time.Millisecond))
			}
		})
	}
	return func() { close(over); wg.Wait() }
}

// A server that dies takes with it what is in flight on it, and nothing else; the others then
// have even parts of the load.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(5)
		w := newWorld(t).start(all...)
		w.take = 20 * time.Millisecond
		cfg := w.cfg(static(list(all...)))
		var ejected atomic.Int64
		cfg.Trace = &cluster.Trace{Event: func(e endpoint.Event) {
			if e.Kind == endpoint.EndpointEjected {
				ejected.Add(1)
			}
		}}
		c := open(t, cfg)
		var mu sync.Mutex
		var killed, even time.Time
		late, failed := 0, 0
		after := map[string]int{}
		stop := load(t.Context(), c, 40, 0, func(began time.Time, at string, err error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && (killed.IsZero() || began.After(killed)):
				late++
				t.Errorf("failed although it began %v after the end: %v", began.Sub(killed), err)
			case err != nil:
				failed++
			case !even.IsZero() && began.After(even):
				after[at]++
			}
		})
		time.Sleep(3 * time.Second)
		mu.Lock()
		killed = time.Now()
		mu.Unlock()
		w.at(all[0]).kill()
		time.Sleep(2 * time.Second)
		mu.Lock()
		even = time.Now()
		mu.Unlock()
		time.Sleep(3 * time.Second)
		stop()
		total := 0
		for _, n := range after {
			total += n
		}
		for at, n := range after {
			if share := float64(n) / float64(total); share < 0.20 || share > 0.30 {
				t.Errorf("%s has %.2f of the load", at, share)
			}
		}
		if failed > 40 || len(after) != 4 || ejected.Load() != 1 {
			t.Errorf("%d failed in flight; %d ejections; %v", failed, ejected.Load(), after)
		}
		// It comes back, and is used again, after a probe.
		w.at(all[0]).down.Store(false)
		time.Sleep(time.Minute)
		stop = load(t.Context(), c, 40, 0, func(began time.Time, at string, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		before := w.at(all[0]).served.Load()
		time.Sleep(2 * time.Second)
		stop()
		if w.at(all[0]).served.Load() == before {
			t.Errorf("not used again: %v", c.Stats().Endpoints)
		}
	})
}

// A server that goes silent gets at most one of a hundred uses from one second after that on:
// with callers that wait long, with callers that give up soon, and with leases.
func TestBlackHole(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"patient": 0, "impatient": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := names(5)
				w := newWorld(t).start(all...)
				w.take = 20 * time.Millisecond
				c := open(t, w.cfg(static(list(all...))))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stop := load(ctx, c, 10, timeout, func(time.Time, string, error) {})
				time.Sleep(5 * time.Second)
				last := time.Minute
				if testing.Short() {
					last = 10 * time.Second
				}
				dark := w.at(all[2])
				dark.hole.Store(true)
				for _, until := range []time.Duration{5 * time.Second, last} {
					time.Sleep(time.Second)
					before, others := dark.got.Load(), int64(0)
					for _, s := range w.servers() {
						others -= s.served.Load()
					}
					time.Sleep(until)
					for _, s := range w.servers() {
						others += s.served.Load()
					}
					got := dark.got.Load() - before
					t.Logf("%d of %d within %v", got, got+others, until)
					if got*100 > got+others || others == 0 {
						t.Errorf("the black hole got %d of %d", got, got+others)
					}
				}
				cancel()
				stop()
				if testing.Short() {
					return // its dials take ten seconds to fail
				}
				if s, _ := state(t, c, all[2]); s.Status != endpoint.Ejected && s.Status != endpoint.Probing {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// The probed connection is kept: the endpoint is readmitted by one dial, which includes OnConnect,
// and the next use makes no other.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		cfg := w.cfg(static(list("a:80", "b:80")))
		cfg.Ejector = endpoint.ConsecutiveFailures(2)
		cfg.Balancer = endpoint.Rendezvous()
		base := cfg.Config
		var refuse atomic.Bool
		var setUps atomic.Int64
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			c, err := base(e)
			c.OnConnect = func(context.Context, *wspool.Conn) error {
				setUps.Add(1)
				if refuse.Load() && e.Addr == "a:80" {
					return context.DeadlineExceeded
				}
				return nil
			}
			return c, err
		}
		c := open(t, cfg)
		key := keyOf(t, c, "a:80")
		a := w.at("a:80")
		refuse.Store(true)
		a.cut()
		status := func() endpoint.Status {
			s, _ := state(t, c, "a:80")
			return s.Status
		}
		for status() != endpoint.Ejected && status() != endpoint.Probing {
			if conn, err := c.AcquireKey(t.Context(), key, resource.Request{}); err == nil {
				conn.Release()
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		if status() != endpoint.Ejected && status() != endpoint.Probing {
			t.Errorf("readmitted by time: %v", status())
		}
		refuse.Store(false)
		time.Sleep(time.Minute)
		if status() != endpoint.Healthy || a.open() != 1 {
			s, _ := state(t, c, "a:80")
			t.Fatalf("%v, %d connections", s, a.open())
		}
		dials := a.dials.Load()
		conn, err := c.AcquireKey(t.Context(), key, resource.Request{})
		if err != nil || a.dials.Load() != dials || a.open() != 1 {
			t.Error(err, a.dials.Load()-dials)
		}
		conn.Release()
	})
}

// keyOf returns a key that the balancer Rendezvous gives to addr.
func keyOf(t testing.TB, c *cluster.Cluster, addr string) string {
	for i := range 100 {
		key := string(rune('a' + i))
		conn, err := c.AcquireKey(t.Context(), key, resource.Request{Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		_, reply, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		conn.Release()
		if at, _ := cutSuffix(reply); at == addr {
			return key
		}
	}
	t.Fatal("no key for " + addr)
	return ""
}

// The end of the caller's context is no evidence: callers that give up all the time eject nothing.
func TestCallersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(3)
		w := newWorld(t).start(all...)
		w.take = 100 * time.Millisecond
		c := open(t, w.cfg(static(list(all...))))
		failed := atomic.Int64{}
		stop := load(t.Context(), c, 10, 50*time.Millisecond, func(_ time.Time, _ string, err error) {
			if err != nil {
				failed.Add(1)
			}
		})
		time.Sleep(20 * time.Second)
		stop()
		if failed.Load() < 100 {
			t.Fatalf("%d gave up", failed.Load())
		}
		for _, e := range c.Stats().Endpoints {
			if e.Bad != 0 || e.Ejections != 0 || e.Status != endpoint.Healthy {
				t.Errorf("%+v", e)
			}
		}
	})
}

// An endpoint that leaves is used no more: its idle connections are closed at once, its holders are
// notified, and it is forgotten when their leases have ended, or when DrainTimeout has passed.
func TestLeaves(t *testing.T) {
	for name, patient := range map[string]bool{"released": true, "cut off": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).start("a:80", "b:80")
				r := newManual()
				cfg := w.cfg(r)
				cfg.DrainTimeout = 10 * time.Second
				base := cfg.Config
				cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
					c, err := base(e)
					c.MinIdle = 2 // it must not be dialled again
					return c, err
				}
				c := open(t, cfg)
				r.set("a:80", "b:80")
				if err := c.Warm(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
				var ofA *wspool.Conn
				var others []*wspool.Conn
				for ofA == nil {
					conn := acquire(t, c)
					_, reply, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x"))
					if err != nil {
						t.Fatal(err)
					}
					if string(reply) == "a:80 x" {
						ofA = conn
					} else {
						others = append(others, conn)
					}
				}
				for _, conn := range others {
					conn.Release()
				}
				recalled := make(chan error, 1)
				ofA.OnRecall(func(cause error) { recalled <- cause })
				began := time.Now()
				r.set("b:80")
				if err := <-recalled; !errors.Is(err, cluster.ErrLeft) || time.Since(began) > time.Second {
					t.Error(err, time.Since(began))
				}
				time.Sleep(5 * time.Second)
				if n := w.at("a:80").open(); n != 1 {
					t.Errorf("%d connections while one is leased", n)
				}
				if s, ok := state(t, c, "a:80"); !ok || s.Status != endpoint.Draining || s.Load != 1 {
					t.Errorf("%+v", s)
				}
				for range 50 {
					if at := ask(t, c); at != "b:80" {
						t.Errorf("used %s", at)
					}
				}
				if _, _, err := ofA.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
					t.Errorf("the lease has ended early: %v", err)
				}
				if patient {
					ofA.Release()
				} else {
					time.Sleep(10 * time.Second)
					if _, _, err := ofA.Exchange(t.Context(), websocket.TextMessage, []byte("x")); !errors.Is(err, wspool.ErrReleased) {
						t.Errorf("after DrainTimeout: %v", err)
					}
				}
				time.Sleep(time.Second)
				if s, ok := state(t, c, "a:80"); ok {
					t.Errorf("not forgotten: %+v", s)
				}
				if n := w.at("a:80").open(); n != 0 {
					t.Errorf("%d connections", n)
				}
				// And it can join anew.
				r.set("a:80", "b:80")
				time.Sleep(time.Second)
				if n := w.at("a:80").open(); n != 2 {
					t.Errorf("%d connections after it has joined again", n)
				}
			})
		})
	}
}

// slowGate is a MakeGate that takes its time and then refuses, or lets the creation begin.
type slowGate struct {
	wait time.Duration
	err  error
}

func (g *slowGate) Admit(context.Context, resource.Request) (resource.Done, error) {
	time.Sleep(g.wait) // in the bubble of the test
	return nil, g.err
}

// An endpoint that leaves is forgotten when nothing is left of it, also if the last of it is not a
// connection but creations that wait for a MakeGate; and none of them dials any more.
func TestLeavesWhileAGateIsAsked(t *testing.T) {
	for name, err := range map[string]error{"refused": &resource.Rejection{Policy: "test"}, "let through": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).start("a:80", "b:80")
				r := newManual()
				cfg := w.cfg(r)
				cfg.DrainTimeout = -1 // without bound
				base := cfg.Config
				cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
					c, cause := base(e)
					if e.Addr == "a:80" {
						c.MakeGate = &slowGate{2 * time.Second, err}
					}
					return c, cause
				}
				c := open(t, cfg)
				r.set("a:80")
				warmed := make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				go func() { warmed <- c.Warm(ctx, 2) }()
				time.Sleep(500 * time.Millisecond) // in the bubble
				r.set("b:80")
				<-warmed
				time.Sleep(2 * time.Second) // the gate has answered half a second ago
				if s, ok := state(t, c, "a:80"); ok {
					t.Errorf("not forgotten: %+v", s)
				}
				if n := w.at("a:80").dials.Load(); n != 0 {
					t.Errorf("%d dials after it has left", n)
				}
				if at := ask(t, c); at != "b:80" {
					t.Errorf("used %s", at)
				}
			})
		})
	}
}

// An endpoint whose last connection is hijacked has nothing left to drain.
func TestLeavesHijacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.DrainTimeout = -1
		c := open(t, cfg)
		r.set("b:80")
		conn := acquire(t, c)
		r.set("a:80")
		time.Sleep(time.Second)
		if _, ok := state(t, c, "b:80"); !ok {
			t.Error("b was forgotten with a lease")
		}
		ws, ok := conn.Hijack()
		if !ok {
			t.Fatal("not hijacked")
		}
		defer ws.Close()
		time.Sleep(time.Second)
		if s, ok := state(t, c, "b:80"); ok {
			t.Errorf("b is not forgotten: %v", s)
		}
	})
}

// An endpoint that returns while it drains is used again at once, although a lease of before goes
// on; also if it is the only one.
func TestReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.DrainTimeout = time.Hour
		c := open(t, cfg)
		r.set("a:80")
		long := acquire(t, c)
		r.set("b:80")
		time.Sleep(time.Second)
		if at := ask(t, c); at != "b:80" {
			t.Error(at)
		}
		ofB := acquire(t, c)
		r.set("a:80")
		time.Sleep(time.Second)
		began := time.Now()
		for range 10 {
			if at := ask(t, c); at != "a:80" {
				t.Error(at)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("it was not usable for %v", d)
		}
		if _, _, err := long.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
			t.Error(err)
		}
		long.Release()
		ofB.Release()
		time.Sleep(time.Second)
		if s, ok := state(t, c, "a:80"); !ok || s.Load != 0 || s.Pool.Idle != 1 {
			t.Errorf("%+v", s)
		}
		if _, ok := state(t, c, "b:80"); ok {
			t.Error("b is not forgotten")
		}
	})
}

// A caller that waits for the only endpoint, which leaves, gets a connection of its successor.
func TestWaiterMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.MaxEach = 1
		c := open(t, cfg)
		r.set("a:80")
		conn := acquire(t, c)
		got := make(chan *wspool.Conn)
		go func() {
			conn, err := c.Acquire(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- conn
		}()
		synctest.Wait()
		r.set("b:80")
		synctest.Wait()
		conn.Release()
		(<-got).Release()
		if n := w.at("b:80").dials.Load(); n != 1 {
			t.Errorf("%d dials of b", n)
		}
	})
}

// Callers that wait at a full endpoint, whose lease goes on, get connections of another one when it
// leaves. When it returns, callers wait there again.
func TestWaitersLeaveAFullEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.MaxEach, cfg.DrainTimeout = 1, -1
		c := open(t, cfg)
		r.set("b:80")
		long := acquire(t, c)
		defer long.Release()
		const callers = 3
		lent := make(chan error, 2*callers)
		wait := func() {
			for range callers {
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					conn, err := c.Acquire(ctx)
					if err == nil {
						conn.Release()
					}
					lent <- err
				}()
			}
			time.Sleep(time.Second)
		}
		wait()
		r.set("a:80")
		began := time.Now()
		for range callers {
			if err := <-lent; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("served %v after b has left", d)
		}
		r.set("b:80")
		wait()
		long.Discard(nil)
		for range callers {
			if err := <-lent; err != nil {
				t.Error(err)
			}
		}
		if at := ask(t, c); at != "b:80" {
			t.Errorf("used %s", at)
		}
	})
}

// An endpoint that joins is dialled for the picks; connections move to it where it would stay
// below its share otherwise, no faster than the limit, idle ones first, and leased ones only by
// asking their holders. A connection is made before one is closed.
func TestJoins(t *testing.T) {
	for name, leased := range map[string]int{"idle": 0, "leased": 200} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := names(11)
				w := newWorld(t).start(all...)
				r := newManual()
				cfg := w.cfg(r)
				cfg.MaxTotal = 1000
				var mu sync.Mutex
				var moves []time.Time
				cfg.Trace = &cluster.Trace{Moved: func(e cluster.MoveEvent) {
					mu.Lock()
					defer mu.Unlock()
					moves = append(moves, time.Now())
					if e.Err != nil || e.To != all[10] || e.Leased != (leased > 0) {
						t.Errorf("%+v", e)
					}
				}}
				c := open(t, cfg)
				r.set(all[:10]...)
				if err := c.Warm(t.Context(), 200); err != nil {
					t.Fatal(err)
				}
				var recalled atomic.Int64
				conns := make(chan *wspool.Conn, 1000)
				for range leased {
					conn := acquire(t, c)
					conns <- conn
					conn.OnRecall(func(cause error) {
						if !errors.Is(cause, cluster.ErrRebalanced) {
							t.Error(cause)
						}
						recalled.Add(1)
						next, err := c.AcquireWith(t.Context(), resource.Request{Shared: true}) // before it gives up this one
						if err != nil {
							t.Error(err)
						}
						conns <- next
						conn.Release()
					})
				}
				time.Sleep(time.Minute)
				joined := time.Now()
				least := 200
				r.set(all...)
				for time.Since(joined) < 2*time.Minute {
					time.Sleep(time.Second)
					sum := 0
					for _, n := range connections(c) {
						sum += n
					}
					least = min(least, sum)
				}
				if least < 200 {
					t.Errorf("only %d connections at one time", least)
				}
				most, sum := 0, 0
				have := connections(c)
				for _, n := range have {
					most, sum = max(most, n), sum+n
				}
				if float64(most) > 1.1*float64(sum)/11 || have[all[10]] < 17 {
					t.Errorf("%v", have)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, at := range moves {
					if i >= 20 && at.Sub(moves[i-20]) < 10*time.Second {
						t.Errorf("21 moves within %v", at.Sub(moves[i-20]))
					}
				}
				if len(moves) == 0 || moves[0].Sub(joined) < 30*time.Second || int64(leased) > 0 && recalled.Load() != int64(len(moves)) {
					t.Errorf("%d moves, %d recalled, first after %v", len(moves), recalled.Load(), moves[0].Sub(joined))
				}
				t.Logf("%d moves in %v; at most %d of %d", len(moves), moves[len(moves)-1].Sub(moves[0]), most, sum)
				close(conns)
				for conn := range conns {
					conn.Release()
				}
			})
		})
	}
}

// Where the total is used up a connection is closed first.
func TestJoinsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(3)
		w := newWorld(t).start(all...)
		r := newManual()
		cfg := w.cfg(r)
		cfg.MaxTotal = 12
		c := open(t, cfg)
		r.set(all[:2]...)
		if err := c.Warm(t.Context(), 12); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.set(all...)
		time.Sleep(3 * time.Minute)
		if n := connections(c); n[all[0]] != 4 || n[all[1]] != 4 || n[all[2]] != 4 {
			t.Errorf("%v; %+v", n, c.Stats().Moved)
		}
	})
}

// A primary that comes and goes is failed back to at most once a minute.
func TestFlappingPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		cfg := w.cfg(static{{Addr: "a:80"}, {Addr: "b:80", Priority: 1}})
		cfg.FailbackAfter = time.Millisecond
		w.take = 50 * time.Millisecond
		c := open(t, cfg)
		failed := atomic.Int64{}
		stop := load(t.Context(), c, 4, 0, func(_ time.Time, _ string, err error) {
			if err != nil {
				failed.Add(1)
			}
		})
		for range 100 {
			time.Sleep(2 * time.Second)
			w.at("a:80").kill()
			time.Sleep(4 * time.Second)
			w.at("a:80").down.Store(false)
		}
		stop()
		s := c.Stats()
		if s.Set.Failovers == 0 || s.Set.Failbacks > 10 {
			t.Errorf("%d failovers, %d failbacks in 10 minutes", s.Set.Failovers, s.Set.Failbacks)
		}
		if failed.Load() > 4*100 {
			t.Errorf("%d exchanges failed", failed.Load())
		}
		t.Logf("%d failovers, %d failbacks, %d exchanges failed", s.Set.Failovers, s.Set.Failbacks, failed.Load())
	})
}

// A dead first address, in an order that never changes, costs the first lease half a second at
// most, and the next ones nothing.
func TestDeadFirst(t *testing.T) {
	for name, hole := range map[string]bool{"refuses": false, "black hole": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).start("a:80", "b:80")
				w.at("a:80").down.Store(!hole)
				w.at("a:80").hole.Store(hole)
				cfg := w.cfg(static(list("a:80", "b:80")))
				cfg.Balancer = firstListed{}
				c := open(t, cfg)
				began := time.Now()
				ask(t, c)
				if d := time.Since(began); d > 500*time.Millisecond {
					t.Errorf("first lease after %v", d)
				} else {
					t.Logf("first lease after %v", d)
				}
				began = time.Now()
				for range 10 {
					ask(t, c)
				}
				if d := time.Since(began); d > 0 {
					t.Errorf("further ones took %v", d)
				}
			})
		})
	}
}

// firstListed is a balancer that always picks the first candidate, as a client does that takes the
// addresses in the order of the resolver.
type firstListed struct{}

func (firstListed) Pick([]endpoint.Candidate, string) int { return 0 }

// If the endpoints that one acquire tries are dead it goes on to others.
func TestManyDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(20)
		w := newWorld(t).start(all...)
		for _, addr := range all[1:] {
			w.at(addr).down.Store(true)
		}
		cfg := w.cfg(static(list(all...)))
		cfg.Choices = 3
		c := open(t, cfg)
		for range 10 {
			if at := ask(t, c); at != all[0] {
				t.Error(at)
			}
		}
		w.at(all[0]).kill()
		time.Sleep(time.Minute)
		_, err := c.Acquire(t.Context())
		var failed *resource.AcquireError
		if !errors.As(err, &failed) {
			t.Errorf("%v", err)
		}
	})
}
