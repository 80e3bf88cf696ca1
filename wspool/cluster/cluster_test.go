package cluster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// New names every bad field in one error, and leaves nothing behind.
func TestBadConfig(t *testing.T) {
	_, err := cluster.New(cluster.Config{
		MaxEach: -1, Choices: -1, PanicBelow: 2, SlowStart: -1,
		Rebalance: cluster.Rebalance{Tolerance: -1, After: -1, Part: 2, Every: -1},
	})
	if err == nil || !errors.Is(err, endpoint.ErrConfig) {
		t.Fatal(err)
	}
	for _, field := range []string{"Resolver", "Config is", "MaxTotal", "MaxEach", "Choices", "PanicBelow", "SlowStart", "Tolerance", "After", "Part", "Every"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}

// A bad field of the cluster's own ends the Set that was made with the others.
func TestBadConfigOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := false
		_, err := cluster.New(cluster.Config{Resolver: resolverFunc(func() { asked = true }), MaxTotal: 1})
		if err == nil || !strings.Contains(err.Error(), "Config is required") {
			t.Error(err)
		}
		synctest.Wait()
		if asked {
			t.Error("the resolver was asked")
		}
	})
}

// resolverFunc is a resolver that calls a function and does not answer.
type resolverFunc func()

func (f resolverFunc) Watch(ctx context.Context, _ func(endpoint.Update)) error {
	f()
	<-ctx.Done()
	return ctx.Err()
}

// An endpoint with a bad Config is not used, and Trace reports why; the others are used.
func TestBadEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		cfg := w.cfg(static(list("a:80", "b:80", "c:80")))
		mine := errors.New("no config for c")
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			c := wspool.Config{URL: "ws://" + e.Addr + "/", NetDial: w.dial}
			switch e.Addr {
			case "b:80":
				c.URL = "http://b/"
			case "c:80":
				return c, mine
			}
			return c, nil
		}
		var mu sync.Mutex
		refused := map[string]error{}
		cfg.Trace = &cluster.Trace{Event: func(e endpoint.Event) {
			if e.Kind == endpoint.EndpointRefused {
				mu.Lock()
				defer mu.Unlock()
				refused[e.Endpoint.Addr] = e.Err
			}
		}}
		c := open(t, cfg)
		for range 10 {
			if at := ask(t, c); at != "a:80" {
				t.Error(at)
			}
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(refused) != 2 || !strings.Contains(refused["b:80"].Error(), "scheme") || !errors.Is(refused["c:80"], mine) {
			t.Errorf("%v", refused)
		}
	})
}

// Callers wait for the resolver's first answer; those that do not want to wait fail.
func TestBeforeFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80")
		r := newManual()
		c := open(t, w.cfg(r))
		if _, err := c.AcquireWith(t.Context(), resource.Request{NoWait: true}); !errors.Is(err, resource.ErrNoneIdle) || !errors.Is(err, endpoint.ErrNoEndpoints) {
			t.Error(err)
		}
		began := time.Now()
		if _, err := c.AcquireWith(t.Context(), resource.Request{MaxWait: time.Second}); !errors.Is(err, resource.ErrMaxWait) || time.Since(began) != time.Second {
			t.Error(err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, resource.ErrMaxWait) {
			t.Error(err)
		}
		go func() {
			time.Sleep(time.Minute)
			r.set("a:80")
		}()
		began = time.Now()
		if at := ask(t, c); at != "a:80" || time.Since(began) != time.Minute {
			t.Error(at, time.Since(began))
		}
	})
}

// Callers are spread over the endpoints, by their weights, also one after the other, so that each
// endpoint gets connections although any idle one would do.
func TestSpread(t *testing.T) {
	for name, callers := range map[string]int{"one caller": 1, "many": 40} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := names(5)
				w := newWorld(t).start(all...)
				w.take = 10 * time.Millisecond
				c := open(t, w.cfg(static(list(all...))))
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range 4000 / callers {
							ask(t, c)
							time.Sleep(rand.N(time.Millisecond))
						}
					})
				}
				wg.Wait()
				for _, s := range w.servers() {
					if n := s.served.Load(); n < 600 || n > 1000 {
						t.Errorf("%s served %d of 4000", s.addr, n)
					}
				}
			})
		})
	}
}

// errWork is an error of a caller's own.
var errWork = errors.New("work failed")

// However uses end, and whichever the endpoint turns out to be, they count as load while they last
// and no longer.
func TestLoadIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		all := names(4)
		w := newWorld(t).start(all...)
		w.take = time.Millisecond
		cfg := w.cfg(static(list(all...)))
		cfg.MaxTotal = 30
		admit := admission(func(r *rand.Rand) {
			switch r.IntN(100) {
			case 0:
				panic("admission")
			case 1:
				runtime.Goexit()
			}
		})
		base := cfg.Config
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			c, err := base(e)
			c.Admission = admit
			c.Redial = func(error, int) time.Duration { return 0 }
			return c, err
		}
		c := open(t, cfg)
		var hijacked sync.Map
		var wg sync.WaitGroup
		for i := range 30 {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 50 {
				choice := r.Uint64()
				wg.Go(func() { // each on a goroutine of its own, which a policy may end
					defer func() { _ = recover() }()
					time.Sleep(rand.N(20 * time.Second))
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(40*time.Millisecond))
					defer cancel()
					oneUse(ctx, c, choice, &hijacked)
				})
			}
		}
		wg.Go(func() { // faults
			for range 100 {
				time.Sleep(200 * time.Millisecond)
				s := w.at(all[rand.IntN(4)])
				switch rand.IntN(3) {
				case 0:
					s.kill()
					time.Sleep(5 * time.Millisecond)
					s.down.Store(false)
				case 1:
					s.cut()
				case 2:
					c.Reset(errWork)
				}
			}
		})
		wg.Wait()
		time.Sleep(time.Minute)
		idle(t, c.Stats())
		if s := c.Stats(); s.Leased != 0 || s.Acquired < 300 || s.Hijacked == 0 || s.Panics == 0 {
			t.Errorf("%v", s)
		}
		hijacked.Range(func(ws, _ any) bool { ws.(*websocket.Conn).Close(); return true })
	})
}

// oneUse uses a connection in a way that choice decides.
func oneUse(ctx context.Context, c *cluster.Cluster, choice uint64, hijacked *sync.Map) {
	work := func(ctx context.Context, conn *wspool.Conn) error {
		_, _, err := conn.Exchange(ctx, websocket.TextMessage, []byte("x"))
		return err
	}
	switch choice % 12 {
	case 0:
		c.Do(ctx, func(context.Context, *wspool.Conn) error { panic("work") })
	case 1:
		c.Do(ctx, func(context.Context, *wspool.Conn) error { runtime.Goexit(); return nil })
	case 2:
		c.DoIdempotent(ctx, work)
	case 3:
		c.Exchange(ctx, websocket.TextMessage, []byte("x"))
	case 4:
		c.ExchangeWith(ctx, cluster.ExchangeOptions{Idempotent: true}, websocket.TextMessage, []byte("x"))
	case 5:
		c.Exchange(ctx, 77, nil)
	default:
		conn, err := c.AcquireWith(ctx, resource.Request{Shared: choice&64 > 0})
		if err != nil {
			return
		}
		info := conn.Info()
		switch choice % 12 {
		case 6:
			conn.Fail(work(ctx, conn))
		case 7:
			conn.Discard(errWork)
		case 8:
			if ws, ok := conn.Hijack(); ok {
				hijacked.Store(ws, true)
			} else {
				conn.Discard(nil)
			}
		case 9:
			time.Sleep(time.Second) // the least age of a lease that can be reclaimed
			if !c.Reclaim(info.ID, uint64(info.Leases)) {
				conn.Release()
			}
			conn.Release()
		case 10:
			conn.WriteMessage(ctx, websocket.TextMessage, []byte("x"))
			go conn.Release()
			conn.Release()
		default:
			conn.Release()
		}
	}
}

// admission is an Admission that may not return.
type admission func(*rand.Rand)

func (a admission) Admit(context.Context, resource.Request) (resource.Done, error) {
	a(rand.New(rand.NewPCG(rand.Uint64(), 0)))
	return nil, nil
}

// CloseNow ends leases and their load.
func TestCloseNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(3)
		w := newWorld(t).start(all...)
		c := open(t, w.cfg(static(list(all...))))
		var conns []*wspool.Conn
		for range 9 {
			conns = append(conns, acquire(t, c))
		}
		sum := 0
		for _, e := range c.Stats().Endpoints {
			sum += e.Load
		}
		if sum != 9 {
			t.Errorf("load %d of 9 leases", sum)
		}
		c.CloseNow()
		for _, conn := range conns {
			if err := conn.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Error(err)
			}
			conn.Release()
		}
		idle(t, c.Stats())
		if _, err := c.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
	})
}

// After Close every call says that the cluster is closed, also those that waited.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80")
		cfg := w.cfg(static(list("a:80")))
		cfg.MaxTotal = 1
		c := open(t, cfg)
		conn := acquire(t, c)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) || errors.Is(err, resource.ErrDraining) {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); err == nil {
			t.Error("Close did not wait for the lease")
		}
		wg.Wait()
		conn.Release()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := c.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
		if _, _, err := c.Exchange(t.Context(), websocket.TextMessage, nil); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
		if err := c.Ready(t.Context()); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
		if err := c.Warm(t.Context(), 1); !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
	})
}

// Warm divides the connections by weight.
func TestWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		c := open(t, w.cfg(static{{Addr: "a:80", Weight: 3}, {Addr: "b:80"}}))
		if err := c.Warm(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		if n := connections(c); n["a:80"] != 6 || n["b:80"] != 2 {
			t.Error(n)
		}
		if err := c.Resize(4); err != nil {
			t.Error(err)
		}
		if err := c.Resize(0); err == nil {
			t.Error("Resize(0)")
		}
	})
}

// A caller with a key waits a moment for its endpoint, although others have idle connections, and
// then takes another one.
func TestAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(5)
		w := newWorld(t).start(all...)
		cfg := w.cfg(static(list(all...)))
		cfg.Balancer, cfg.MaxEach = endpoint.Rendezvous(), 2
		c := open(t, cfg)
		if err := c.Warm(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		where := func(r resource.Request) (string, *wspool.Conn, time.Duration) {
			began := time.Now()
			conn, err := c.AcquireKey(t.Context(), "key", r)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			_, reply, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			at, _ := cutSuffix(reply)
			return at, conn, took
		}
		home, first, _ := where(resource.Request{})
		at, second, took := where(resource.Request{}) // dialled, for nothing is idle there
		if at != home || took != 0 {
			t.Errorf("%s after %v, want %s", at, took, home)
		}
		at, third, took := where(resource.Request{})
		if at == home || took != 250*time.Millisecond {
			t.Errorf("%s after %v although %s is full", at, took, home)
		}
		time.AfterFunc(100*time.Millisecond, first.Release)
		at, again, took := where(resource.Request{})
		if at != home || took != 100*time.Millisecond {
			t.Errorf("%s after %v, want %s", at, took, home)
		}
		began := time.Now()
		if _, err := c.AcquireKey(t.Context(), "key", resource.Request{MaxWait: 50 * time.Millisecond}); !errors.Is(err, resource.ErrMaxWait) || time.Since(began) != 50*time.Millisecond {
			t.Error(err, time.Since(began))
		}
		at, fourth, took := where(resource.Request{NoWait: true})
		if at == home || took != 0 {
			t.Errorf("%s after %v without waiting", at, took)
		}
		w.at(home).kill()
		at, fifth, _ := where(resource.Request{})
		if at == home {
			t.Error("a dead endpoint")
		}
		for _, conn := range []*wspool.Conn{second, third, again, fourth, fifth} {
			conn.Discard(nil)
		}
	})
}

// Connections that are too new to be closed are not moved: none is dialled for them.
func TestRebalance_New(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.Rebalance = cluster.Rebalance{After: time.Second, Every: time.Second, Part: 1}
		c := open(t, cfg)
		r.set("a:80")
		if err := c.Warm(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		r.set("a:80", "b:80")
		time.Sleep(time.Minute)
		if s := c.Stats(); s.Idle != 10 || s.Moved != 5 {
			t.Errorf("%d connections, %d moved", s.Idle, s.Moved)
		}
	})
}
