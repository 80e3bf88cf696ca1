package mux_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
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

// On sockets too, under load, a server that closes its connections one after the other with 1001 fails
// no call that may run twice, and one that announces it fails none. The next connection is closed
// when the calls that the one before has hit are done, since a call is replayed once.
func TestRollingDrainOnSockets(t *testing.T) {
	for _, away := range []bool{true, false} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			turns := make(chan struct{}) // one for each connection that is to be closed
			rolled := make(chan struct{}, 100)
			s := listen(t, func(p *peer) {
				said := false
				for {
					kind, id, text, ok := p.read()
					if !ok {
						return
					}
					if kind != 'C' {
						continue
					}
					p.send("R%s %s", id, text)
					if said {
						continue
					}
					select {
					case <-turns:
					default:
						continue
					}
					if !away {
						p.bye(1001)
						rolled <- struct{}{}
						return
					}
					p.send("W") // and it goes on to answer what arrives
					rolled <- struct{}{}
					said = true
				}
			})
			s.cfg.Redial = func(error, int) time.Duration { return 0 }
			c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 4, GrowAt: 4, ReplayRatio: 1})
			const callers, closings = 32, 8
			var wg sync.WaitGroup
			var quit atomic.Bool
			calls := make([]atomic.Int64, callers)
			for i := range callers {
				wg.Go(func() {
					for !quit.Load() {
						what := fmt.Sprint(i, " ", calls[i].Load())
						m, err := c.Call(t.Context(), mux.Request{Body: what, Idempotent: !away})
						if err != nil || text(m) != what {
							t.Errorf("%q, %v", m.Data, err)
						}
						calls[i].Add(1)
					}
				})
			}
			for range closings {
				turns <- struct{}{}
				<-rolled
				var begun [callers]int64
				for i := range callers {
					begun[i] = calls[i].Load()
				}
				for i := range callers {
					for calls[i].Load() < begun[i]+2 {
						time.Sleep(time.Millisecond) // looks again
					}
				}
			}
			quit.Store(true)
			wg.Wait()
			if st := c.Stats(); st.Acquired < closings {
				t.Errorf("%+v", st)
			}
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

// A connection that the pool wants back takes calls until another one has joined, so no call waits
// for the dial; while the dial fails it goes on. With no room for another one it is drained first.
func TestReplacedBeforeDrained(t *testing.T) {
	for _, tc := range []struct {
		name     string
		size     int
		key      bool // of a Manager
		dialTime time.Duration
		outage   time.Duration
		longest  time.Duration // of a call
	}{
		{"slow dial", 8, false, 3 * time.Second, 0, time.Millisecond},
		{"outage", 8, false, time.Millisecond, 20 * time.Second, time.Millisecond},
		{"no room", 2, false, time.Second, 0, 1100 * time.Millisecond},
		{"key", 8, true, 500 * time.Millisecond, 0, time.Millisecond},
		{"key without room", 2, true, 500 * time.Millisecond, 0, 600 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const work = 10 * time.Millisecond
				s := listenMem(t, func(p *peer) {
					for {
						_, id, text, ok := p.read()
						if !ok {
							return
						}
						time.AfterFunc(work, func() { p.send("R%s %s", id, text) })
					}
				})
				s.cfg.MaxSize = tc.size
				s.cfg.Redial = func(error, int) time.Duration { return time.Second }
				var downUntil atomic.Int64
				dial := s.cfg.NetDial
				s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					time.Sleep(tc.dialTime)
					if time.Now().UnixNano() < downUntil.Load() {
						return nil, errors.New("down")
					}
					return dial(ctx, network, addr)
				}
				cfg := mux.Config{Codec: plain{}, MaxConns: 2, GrowAt: 1, IdleAfter: -1}
				var c *mux.Client
				var reset func(error)
				if tc.key {
					m, err := wspool.NewManager(wspool.ManagerConfig[string]{
						MaxTotal: tc.size, Config: func(string) (wspool.Config, error) { return s.cfg, nil },
					})
					if err != nil {
						t.Fatal(err)
					}
					if c, err = mux.New(mux.Key(m, "k"), cfg); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() {
						if err := errors.Join(c.Close(context.Background()), m.Close(context.Background())); err != nil {
							t.Error(err)
						}
					})
					reset = m.Reset
				} else {
					var p *wspool.Pool
					c, p = newClient(t, s, cfg)
					reset = p.Reset
				}
				var longest atomic.Int64
				quit := make(chan struct{})
				var wg sync.WaitGroup
				call := func() {
					for {
						began := time.Now()
						ask(t, c, "x")
						longest.Store(max(longest.Load(), int64(time.Since(began))))
						select {
						case <-quit:
							return
						case <-time.After(10 * time.Millisecond):
						}
					}
				}
				ask(t, c, "warm")
				for range 4 {
					wg.Go(call)
				}
				time.Sleep(5 * time.Second)
				if n := len(c.Stats().Conns); n != 2 {
					t.Errorf("%d connections", n)
				}
				longest.Store(0)
				downUntil.Store(time.Now().Add(tc.outage).UnixNano())
				reset(nil)
				most := 0
				for range 10*int(tc.outage/time.Second) + 80 {
					st := c.Stats()
					most = max(most, len(st.Conns))
					time.Sleep(100 * time.Millisecond)
				}
				close(quit)
				wg.Wait()
				st := c.Stats()
				if st.Acquired != 4 || len(st.Conns) != 2 || most > 3 || st.Retried > 0 {
					t.Errorf("at most %d connections; %+v", most, st)
				}
				if d := time.Duration(longest.Load()); d > work+tc.longest {
					t.Errorf("a call took %v", d)
				}
			})
		})
	}
}

// A connection that is not in use is not replaced, unless it is the one that receives events.
func TestIdleConnectionIsNotReplaced(t *testing.T) {
	for _, events := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := mux.Config{Codec: plain{}, IdleAfter: time.Hour, OrphanWait: 2 * time.Second}
			want := int64(1)
			if events {
				cfg.OnEvent = func(context.Context, mux.Message) error { return nil }
				want = 2
			}
			c, p := newClient(t, listenMem(t, echo), cfg)
			ask(t, c, "x")
			time.Sleep(time.Minute)
			p.Reset(nil)
			time.Sleep(time.Minute)
			if st := c.Stats(); st.Acquired != want || len(st.Conns) != int(want-1) {
				t.Errorf("events %v: %+v", events, st)
			}
			ask(t, c, "x")
		})
	}
}

// While a connection with too many orphans is replaced it takes calls, up to twice the limit.
func TestOrphansWhileReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' && text != "never" {
					p.send("R%s %s", id, text)
				}
			}
		})
		var down atomic.Bool
		dial := s.cfg.NetDial
		s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return dial(ctx, network, addr)
		}
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxOrphans: 4, OrphanWait: -1, MaxInFlight: 4})
		ask(t, c, "warm")
		down.Store(true)
		for n := range 9 {
			if st := c.Stats(); len(st.Conns) != 1 || st.Conns[0].Draining || st.Orphans != n {
				t.Errorf("after %d: %+v", n, st)
			}
			ask(t, c, "fine")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := c.Call(ctx, mux.Request{Body: "never"}); !errors.Is(err, mux.ErrMayHaveRun) {
				t.Error(err)
			}
			cancel()
		}
		synctest.Wait()
		if st := c.Stats(); len(st.Conns) != 0 {
			t.Errorf("%+v", st)
		}
		down.Store(false)
		time.Sleep(time.Minute)
		ask(t, c, "again")
	})
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

// subscribed returns a server that sends the id of each subscription to asked, and replies to it when
// something is received from answer.
func subscribed(t testing.TB) (s *server, asked chan string, answer chan struct{}) {
	asked, answer = make(chan string, 8), make(chan struct{})
	s = listenMem(t, func(p *peer) {
		for {
			kind, id, what, ok := p.read()
			switch {
			case !ok:
				return
			case kind != 'C':
			case what == "subscribe":
				asked <- id
				<-answer
				p.send("R%s k%s", id, id)
			default:
				p.send("R%s %s", id, what)
			}
		}
	})
	return s, asked, answer
}

// Close ends a stream that the server accepts when Close has begun, also if the connection was
// drained before.
func TestClose_DuringSubscribe(t *testing.T) {
	for _, drained := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, asked, answer := subscribed(t)
			c, pool := newClient(t, s, mux.Config{Codec: keyed{}})
			got := make(chan *mux.Stream, 1)
			go func() {
				st, err := c.Stream(t.Context(), mux.Request{Body: "subscribe"}, mux.StreamConfig{})
				if err != nil {
					t.Error(err)
				}
				got <- st
			}()
			<-asked
			if drained {
				pool.Reset(nil)
				time.Sleep(time.Second)
			}
			closed := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				closed <- c.Close(ctx)
			}()
			synctest.Wait() // Close has begun
			close(answer)
			if _, err := (<-got).Next(t.Context()); err != mux.ErrClosed {
				t.Errorf("drained %v: Next: %v", drained, err)
			}
			if err := <-closed; err != nil {
				t.Errorf("drained %v: Close: %v", drained, err)
			}
		})
	}
}

// canceling is a codec that calls a function before it encodes the end of a stream.
type canceling struct {
	plain
	before *func()
}

func (c canceling) AppendCancel(dst []byte, id uint64, key []byte) (int, []byte, error) {
	(*c.before)()
	return c.plain.AppendCancel(dst, id, key)
}

// Close ends a stream that is opened while it ends another one, on a connection that is not drained yet.
func TestClose_WhileStreamsAreOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := func() {}
		c, _ := newClient(t, listenMem(t, func(p *peer) {
			for _, _, _, ok := p.read(); ok; _, _, _, ok = p.read() {
			}
		}), mux.Config{Codec: canceling{before: &before}})
		if _, err := c.Stream(t.Context(), mux.Request{Body: "first"}, mux.StreamConfig{}); err != nil {
			t.Fatal(err)
		}
		var late *mux.Stream
		before = func() {
			before = func() {}
			var err error
			if late, err = c.Stream(t.Context(), mux.Request{Body: "second"}, mux.StreamConfig{}); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		if late == nil {
			t.Fatal("no stream was opened")
		}
		if _, err := late.Next(t.Context()); err != mux.ErrClosed {
			t.Error(err)
		}
	})
}

// A stream that can be resumed leaves a connection that was drained before the server accepted it, and
// does not stay for DrainWait.
func TestDrain_DuringSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, asked, answer := subscribed(t)
		c, pool := newClient(t, s, mux.Config{Codec: keyed{}, DrainWait: time.Minute})
		r := mux.Request{Body: "subscribe"}
		got := make(chan *mux.Stream, 1)
		go func() {
			st, err := c.Stream(t.Context(), r, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return r, true }})
			if err != nil {
				t.Error(err)
			}
			got <- st
		}()
		<-asked
		pool.Reset(nil)
		time.Sleep(time.Second)
		if s := c.Stats(); len(s.Conns) == 0 || !slices.ContainsFunc(s.Conns, func(n mux.ConnStats) bool { return n.Draining }) {
			t.Errorf("%+v", s)
		}
		close(answer)
		st := <-got
		began := time.Now()
		i, err := st.Next(t.Context())
		if err != nil || i.Gap == nil || !errors.Is(i.Gap.Cause, resource.ErrReset) || time.Since(began) > maxPause {
			t.Errorf("after %v: %+v, %v", time.Since(began), i, err)
		}
		for _, n := range c.Stats().Conns {
			if n.Draining {
				t.Errorf("%+v", n)
			}
		}
		st.Close()
	})
}

// maxPause is more than the first pause before a stream is resumed.
const maxPause = time.Second

// A connection on which the server announces that it goes away does not return to the pool, whatever it is
// drained for already.
func TestClose_BeforeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		s := listenMem(t, func(p *peer) {
			_, id, what, _ := p.read()
			<-closing
			p.send("W")
			p.send("R%s %s", id, what)
			p.read()
		})
		c, p := newClient(t, s, muxConfig())
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "last") })
		synctest.Wait()
		wg.Go(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(closing)
		wg.Wait()
		synctest.Wait()
		if s := p.Stats(); s.Idle != 0 || int64(s.Destroying)+s.Destroyed != 1 {
			t.Errorf("%+v", s)
		}
	})
}
