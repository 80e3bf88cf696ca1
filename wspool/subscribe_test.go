package wspool_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// feed is a server that sends a number every 100 ms to its subscribers, and can be
// down.
type feed struct {
	*peer
	dials atomic.Int64

	mu   sync.Mutex
	down bool
	gone chan struct{} // closed when it goes down
}

func listenFeed(t *testing.T) *feed {
	f := &feed{gone: make(chan struct{})}
	f.peer = listenMem(t, 1<<12, func(ws *websocket.Conn) {
		if _, p, err := ws.ReadMessage(); err != nil || string(p) != "subscribe" {
			return
		}
		over := make(chan struct{})
		go func() { defer close(over); drain(ws) }()
		defer func() { ws.Close(); <-over }()
		f.mu.Lock()
		gone := f.gone
		f.mu.Unlock()
		for i := 0; ; i++ {
			select {
			case <-time.After(100 * time.Millisecond):
				if ws.WriteMessage(websocket.TextMessage, []byte(strconv.Itoa(i))) != nil {
					return
				}
			case <-gone:
				ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), deadline())
				<-over
				return
			case <-over:
				return
			}
		}
	})
	dial := f.cfg.NetDial
	f.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		f.dials.Add(1)
		f.mu.Lock()
		down := f.down
		f.mu.Unlock()
		if down {
			return nil, errRefused
		}
		return dial(ctx, network, addr)
	}
	f.cfg.Exchange = wspool.Unpaired
	return f
}

// stop takes the server down for d.
func (f *feed) stop(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	close(f.gone)
	f.gone = make(chan struct{})
	time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.down = false
	})
}

// follow subscribes and reads.
func follow(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("subscribe")); err != nil {
		return err
	}
	for {
		if _, _, err := c.ReadMessage(ctx); err != nil {
			return err
		}
	}
}

// A subscription, alone or one of a hundred, goes through an outage of 3 s with few
// dials and few failures, resumes soon after it, and is passed the gap.
func TestSubscribe_Outage(t *testing.T) {
	const lasts = 3 * time.Second
	for _, n := range []int{1, 100} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := listenFeed(t)
				f.cfg.MaxSize = n
				p := pool(t, f.cfg)
				ctx, cancel := context.WithCancel(t.Context())
				var went time.Time
				var all sync.WaitGroup
				for range n {
					all.Go(func() {
						var gaps []wspool.Gap
						var at []time.Time
						err := p.Subscribe(ctx, func(ctx context.Context, c *wspool.Conn, g wspool.Gap) error {
							gaps, at = append(gaps, g), append(at, time.Now())
							return follow(ctx, c)
						})
						if !errors.Is(err, context.Canceled) {
							t.Errorf("Subscribe: %v", err)
						}
						var ce *wspool.CloseError
						if len(gaps) != 2 || gaps[0] != (wspool.Gap{Call: 1}) || gaps[1].Call != 2 || !gaps[1].Since.Equal(went) ||
							!errors.As(gaps[1].Cause, &ce) || ce.Code != 1001 || !errors.Is(gaps[1].LastFailure, errRefused) {
							t.Fatalf("called with %+v", gaps)
						}
						if late := at[1].Sub(went) - lasts; late > 700*time.Millisecond {
							t.Errorf("resumed %v after the outage", late)
						}
						if gaps[1].Failures > 20 {
							t.Errorf("%d failures", gaps[1].Failures)
						}
					})
				}
				time.Sleep(10 * time.Second)
				f.dials.Store(0)
				went = time.Now()
				f.stop(lasts)
				time.Sleep(lasts)
				if d := f.dials.Load(); d > int64(40+n/2) { // two or three times MaxDials until it is known for an outage
					t.Errorf("%d dials in the outage", d)
				}
				time.Sleep(3 * time.Second)
				cancel()
				all.Wait()
			})
		})
	}
}

// The loop that users write, with a Wait in it.
func TestSubscribe_LoopWithWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := listenFeed(t)
		p := pool(t, f.cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		time.AfterFunc(10*time.Second, func() { f.stop(3 * time.Second) })
		failures, leases := 0, 0
		for ctx.Err() == nil {
			c, err := p.Acquire(ctx)
			var ae *resource.AcquireError
			if errors.As(err, &ae) {
				failures++
				_ = ae.Wait(ctx)
				continue
			}
			leases++
			_ = follow(ctx, c)
			c.Discard(nil)
		}
		if failures > 20 || leases != 2 {
			t.Errorf("%d failures, %d leases", failures, leases)
		}
	})
}

// A function that fails at once, whatever it fails with and whatever becomes of
// its connection, is called seldom.
func TestSubscribe_NeverSpins(t *testing.T) {
	for name, fail := range map[string]func(context.Context, *wspool.Conn) error{
		"error":    func(context.Context, *wspool.Conn) error { return errRefused },
		"released": func(_ context.Context, c *wspool.Conn) error { c.Release(); return errRefused },
		"stale":    func(context.Context, *wspool.Conn) error { return wspool.ErrStale },
		"its own timeout": func(ctx context.Context, c *wspool.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			_, _, err := c.ReadMessage(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := listenFeed(t)
				p := pool(t, f.cfg)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				calls := 0
				err := p.Subscribe(ctx, func(ctx context.Context, c *wspool.Conn, g wspool.Gap) error {
					if calls++; g.Call != calls || (g.Cause == nil) != (calls == 1) || !g.Since.IsZero() {
						t.Errorf("call %d: %+v", calls, g)
					}
					return fail(ctx, c)
				})
				if !errors.Is(err, context.DeadlineExceeded) || calls < 10 || calls > 30 || f.dials.Load() > 31 {
					t.Errorf("%v; %d calls, %d dials in a minute", err, calls, f.dials.Load())
				}
			})
		})
	}
	bubble(t, func(t *testing.T) { // nor one of a pool whose dials fail for good, or whose gate refuses
		f := listenFeed(t)
		f.refuse = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }
		var asked atomic.Int64
		f.cfg.Admission = admission(func() error {
			if asked.Add(1) > 20 {
				return errRefused
			}
			return nil
		})
		p := pool(t, f.cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.Subscribe(ctx, func(context.Context, *wspool.Conn, wspool.Gap) error { t.Error("called"); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errRefused) || asked.Load() > 130 {
			t.Errorf("%v; %d acquires", err, asked.Load())
		}
	})
}

// How a subscription ends.
func TestSubscribe_Ends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := listenFeed(t)
		p := pool(t, f.cfg)
		run := func(end func(context.Context, *wspool.Conn) error) error {
			return p.Subscribe(t.Context(), func(ctx context.Context, c *wspool.Conn, _ wspool.Gap) error { return end(ctx, c) })
		}
		if err := run(func(context.Context, *wspool.Conn) error { return nil }); err != nil {
			t.Errorf("nil: %v", err)
		}
		if err := run(func(context.Context, *wspool.Conn) error { return wspool.Permanent(errRefused) }); err != errRefused {
			t.Errorf("Permanent: %v", err)
		}
		if err := run(func(context.Context, *wspool.Conn) error { return wspool.Permanent(nil) }); err != nil {
			t.Errorf("Permanent(nil): %v", err)
		}
		for _, breaks := range []func(){func() { panic("on purpose") }, runtime.Goexit} {
			over := make(chan struct{})
			go func() {
				defer close(over)
				defer func() { _ = recover() }()
				run(func(context.Context, *wspool.Conn) error { breaks(); return nil })
				t.Error("it returned")
			}()
			<-over
		}
		time.Sleep(10 * time.Second)
		if s := p.Stats(); s.Leased != 0 || s.Made != 5 || s.Destroyed != 5 {
			t.Errorf("%v", s)
		}
		if err := run(func(_ context.Context, c *wspool.Conn) error { c.Release(); return nil }); err != nil || p.Stats().Idle != 1 {
			t.Errorf("%v; %v", err, p.Stats())
		}
		err := run(func(ctx context.Context, c *wspool.Conn) error {
			go p.Close(t.Context())
			time.Sleep(time.Second)
			return errRefused
		})
		if !errors.Is(err, resource.ErrClosed) {
			t.Errorf("a closed pool: %v", err)
		}
	})
}

// A subscription that is ended by the pool's end has the failure before it in its
// error.
func TestSubscribe_ClosedAfterFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.MaxSize, w.cfg.Exchange = 1, wspool.Unpaired
		p := pool(t, w.cfg)
		failed := errors.New("subscription failed")
		ended := make(chan error, 1)
		go func() {
			ended <- p.Subscribe(t.Context(), func(context.Context, *wspool.Conn, wspool.Gap) error { return failed })
		}()
		time.Sleep(time.Second)
		p.CloseNow()
		if err := next(t, "end", ended); !errors.Is(err, resource.ErrClosed) || !errors.Is(err, failed) {
			t.Errorf("ended with %v", err)
		}
	})
}
