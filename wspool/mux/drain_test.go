package mux_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// A server that goes away connection by connection, and answers what it has, fails no call:
// neither if it says so with a message of the protocol, nor if it only closes with 1001 and
// the calls are idempotent.
func TestRollingDrain(t *testing.T) {
	for _, away := range []bool{true, false} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var last time.Time // when a connection began to go away
				s := listenMem(t, func(p *peer) {
					var wg sync.WaitGroup
					defer wg.Wait()
					for n := 0; ; n++ {
						kind, id, text, ok := p.read()
						if !ok {
							return
						}
						if kind != 'C' {
							continue
						}
						wg.Go(func() {
							time.Sleep(5 * time.Millisecond)
							p.send("R%s %s", id, text)
						})
						if n < 50 {
							continue
						}
						mu.Lock()
						turn := time.Since(last) > 20*time.Millisecond
						if turn {
							last = time.Now()
						}
						mu.Unlock()
						switch {
						case !turn:
						case away:
							p.send("W")
						default:
							wg.Wait()
							p.bye(1001)
							return
						}
					}
				})
				s.cfg.Redial = func(error, int) time.Duration { return 0 }
				c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 4, GrowAt: 4, ReplayRatio: 1})
				var wg sync.WaitGroup
				var failed atomic.Int64
				for i := range 32 {
					wg.Go(func() {
						for k := range 100 {
							what := fmt.Sprint(i, " ", k)
							m, err := c.Call(t.Context(), mux.Request{Body: what, Idempotent: !away})
							if err != nil || text(m) != what {
								failed.Add(1)
								t.Errorf("%q, %v", m.Data, err)
							}
						}
					})
				}
				wg.Wait()
				st := c.Stats()
				if failed.Load() > 0 || st.Acquired < 10 {
					t.Errorf("%d failed; %+v; %v", failed.Load(), st, p.Stats())
				}
			})
		})
	}
}

// A connection that the pool wants back is given up when its calls have been answered, and
// another one takes the new calls.
func TestRecall(t *testing.T) {
	for name, want := range map[string]func(*wspool.Pool) error{
		"reset":  func(p *wspool.Pool) error { p.Reset(nil); return resource.ErrReset },
		"shrink": func(p *wspool.Pool) error { p.Resize(1); return resource.ErrResized },
		"age":    func(p *wspool.Pool) error { time.Sleep(time.Minute); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var causes []error
				s := listenMem(t, slow)
				s.cfg.MaxSize = 2
				s.cfg.SweepInterval = time.Second
				if name == "age" {
					s.cfg.Eviction = policy.MaxAge(20*time.Second, 0)
				}
				c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 2, GrowAt: 2, IdleAfter: -1, Trace: &mux.Trace{Draining: func(e mux.ConnEvent) {
					mu.Lock()
					causes = append(causes, e.Err)
					mu.Unlock()
				}}})
				var wg sync.WaitGroup
				load := func() {
					for range 8 {
						wg.Go(func() { ask(t, c, "x") })
					}
				}
				load()
				time.Sleep(100 * time.Millisecond)
				cause := want(p)
				load()
				wg.Wait()
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if len(causes) == 0 || cause != nil && !errors.Is(causes[0], cause) {
					t.Errorf("%v, want %v", causes, cause)
				}
				for _, r := range p.Inspect(10).Resources {
					if r.State == resource.Leased && (r.Invalidated != nil || !r.Shared) {
						t.Errorf("%+v", r)
					}
				}
			})
		})
	}
}

// The pool can be closed while a client uses it: calls in flight are answered, later ones fail.
func TestPoolClosesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, slow)
		c, p := newClient(t, s, mux.Config{Codec: plain{}})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { ask(t, c, "x") })
		}
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, err := c.Call(t.Context(), mux.Request{Body: "x"}); !errors.Is(err, mux.ErrNotSent) || !errors.Is(err, resource.ErrClosed) {
			t.Error(err)
		}
	})
}

// Close waits for the calls in flight, turns away others, and at the end of its context fails
// what is left.
func TestClose(t *testing.T) {
	for _, patient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, p := newClient(t, listenMem(t, slow), mux.Config{Codec: plain{}, MaxInFlight: 2})
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					_, err := c.Call(t.Context(), mux.Request{Body: "x"})
					switch {
					case i >= 2: // in line
						if !errors.Is(err, mux.ErrClosed) || !errors.Is(err, mux.ErrNotSent) {
							t.Error(i, err)
						}
					case patient != (err == nil), err != nil && (!errors.Is(err, mux.ErrMayHaveRun) || !errors.Is(err, mux.ErrClosed)):
						t.Error(i, err)
					}
				})
				synctest.Wait()
			}
			wait := 100 * time.Millisecond
			if patient {
				wait = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			began := time.Now()
			if err := c.Close(ctx); (err == nil) != patient {
				t.Error(err)
			}
			if d := time.Since(began); d > time.Second {
				t.Error(d)
			}
			wg.Wait()
			if _, err := c.Call(t.Context(), mux.Request{Body: "x"}); !errors.Is(err, mux.ErrClosed) {
				t.Error(err)
			}
			if err := c.Notify(t.Context(), "x"); !errors.Is(err, mux.ErrClosed) {
				t.Error(err)
			}
			if s := p.Stats(); s.Leased != 0 {
				t.Error(s)
			}
		})
	}
}

// What is left on a drained connection fails after DrainWait.
func TestDrainWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newClient(t, listenMem(t, func(p *peer) { p.read(); p.read() }), mux.Config{Codec: plain{}, DrainWait: 5 * time.Second})
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			if _, err := c.Call(t.Context(), mux.Request{Body: "x"}); !errors.Is(err, mux.ErrMayHaveRun) || !errors.Is(err, mux.ErrDrainWait) {
				t.Error(err)
			}
		})
		synctest.Wait()
		p.Reset(nil)
		wg.Wait()
		if d := time.Since(began); d != 5*time.Second {
			t.Error(d)
		}
	})
}
