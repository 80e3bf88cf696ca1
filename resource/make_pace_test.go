package resource_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// callers runs n goroutines that each acquire, work and release once, and
// returns how many of them failed.
func callers[T any](p *resource.Pool[T], n int, work func(v T)) (failed int64) {
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range n {
		wg.Go(func() {
			l, err := p.Acquire(context.Background())
			if err != nil {
				bad.Add(1)
				return
			}
			work(l.Value())
			l.Release()
		})
	}
	wg.Wait()
	return bad.Load()
}

// A spike of short work on a pool whose makes are fast, over a real socket, makes
// few: what is released serves it.
func TestSpike_FastMakes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	defer served.Wait()
	defer ln.Close()
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1)) // until the client closes
			})
		}
	})
	p, err := resource.New(resource.Config[net.Conn]{
		MaxSize: 100,
		Make: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", ln.Addr().String())
		},
		Destroy: func(c net.Conn, _ error) { _ = c.Close() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Warm(ctx, 5); err != nil {
		t.Fatal(err)
	}
	// The work waits, as for a reply: 2 ms, whatever else the machine does.
	failed := callers(p, 50, func(net.Conn) { time.Sleep(2 * time.Millisecond) })
	if s := p.Stats(); failed > 0 || s.Made > 5+10 {
		t.Errorf("%d failed; %d dials for 50 callers beside the five that there were, want at most 10", failed, s.Made-5)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

// A server is down for three seconds, and 50 callers ask again when their errors
// say so: they find it within half a second after it accepts, with 60 dials in
// all.
func TestOutage_RecoveryIsSoon(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { recovery(t) })
	}
}

func recovery(t *testing.T) {
	var dials atomic.Int64
	var up atomic.Bool
	cfg := resource.Config[int]{MaxSize: 50, Make: func(context.Context) (int, error) {
		dials.Add(1)
		time.Sleep(time.Millisecond)
		if !up.Load() {
			return 0, errDown
		}
		return 1, nil
	}}
	inBubble(t, cfg, func(p *resource.Pool[int]) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var first []time.Duration
		begin := time.Now()
		for range 50 {
			wg.Go(func() {
				for {
					l, err := p.Acquire(context.Background())
					if err == nil {
						mu.Lock()
						first = append(first, time.Since(begin))
						mu.Unlock()
						l.Release()
						return
					}
					var e *resource.AcquireError
					if !errors.As(err, &e) {
						t.Errorf("%v", err)
						return
					}
					time.Sleep(max(e.RetryAfter, 10*time.Millisecond))
				}
			})
		}
		time.Sleep(3 * time.Second)
		up.Store(true)
		before := dials.Load()
		wg.Wait()
		if at := slices.Min(first) - 3*time.Second; at > 500*time.Millisecond {
			t.Errorf("the first success came %v after the server was back", at)
		}
		if before > 60 {
			t.Errorf("%d dials while it was down", before)
		}
	})
}

// Warm makes at most 50 at once, as every other burst.
func TestWarm_IsBounded(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(100 * time.Millisecond) }
	}
	script(t, 1000, edit, func(h *harness) {
		done := h.warm(context.Background(), 500)
		most := 0
		for len(done) == 0 {
			most = max(most, h.running())
			time.Sleep(10 * time.Millisecond)
		}
		h.wantDone(done, nil)
		if most != 50 {
			t.Errorf("%d makes at once, want 50", most)
		}
		h.wantLoad(resource.Load{Idle: 500})
	})
}

// one calls MakeOne in the background.
func (h *harness) one(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.p.MakeOne(ctx) }()
	return done
}

func TestMakeOne(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		done := h.one(context.Background())
		h.wantMake().finish()
		h.wantDone(done, nil)
		h.wantLoad(resource.Load{Idle: 1})

		done = h.one(context.Background()) // whatever is idle
		h.wantMake().fail(errDown)
		h.wantDone(done, errDown)

		ctx, cancel := context.WithCancel(context.Background())
		done = h.one(ctx)
		m := h.wantMake()
		cancel()
		h.wantDone(done, context.Canceled)
		m.finish() // goes on
		h.wantLoad(resource.Load{Idle: 2})
		h.wantDone(h.one(ctx), context.Canceled)
		h.wantNoMake()

		a, b := h.acquire(), h.acquire()
		c := h.acquire()
		a.wantLease()
		b.wantLease()
		m = h.wantMake()
		h.wantDone(h.one(context.Background()), resource.ErrFull)
		c.wantItem(m.finish())
	})
}

// What MakeOne makes serves a waiter, also while makes for waiters fail.
func TestMakeOne_ServesAWaiter(t *testing.T) {
	script(t, 3, func(h *harness) { h.cfg.Outage = resource.KeepWaiting }, func(h *harness) {
		c := h.acquire()
		for range 3 {
			h.wantMakeWithin(time.Second).fail(errDown)
		}
		h.wantNoMake()
		done := h.one(context.Background())
		c.wantItem(h.wantMake().finish())
		h.wantDone(done, nil)
	})
}

func TestMakeOne_RefusedAndClosed(t *testing.T) {
	refused := errors.New("not now")
	edit := func(h *harness) {
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, refused })
	}
	script(t, 3, edit, func(h *harness) {
		done := h.one(context.Background())
		h.settle()
		if err := <-done; !errors.Is(err, refused) || !errors.Is(err, resource.ErrRejected) {
			t.Errorf("%v", err)
		}
		h.close(time.Minute)
		h.wantDone(h.one(context.Background()), resource.ErrClosed)
	})
}

// In a Keyed MakeOne takes no place of the total from another key.
func TestMakeOne_Keyed(t *testing.T) {
	keyed(t, 2, 5, func(h *keyedHarness) { h.makeTime = time.Millisecond }, func(h *keyedHarness) {
		if err := h.pool("a").MakeOne(h.t.Context()); err != nil {
			t.Error(err)
		}
		h.acquire("b").Release()
		if err := h.pool("c").MakeOne(h.t.Context()); !errors.Is(err, resource.ErrFull) {
			t.Errorf("with the total used up: %v, want ErrFull", err)
		}
		h.wantPreempted()
	})
}
