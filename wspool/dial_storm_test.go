package wspool_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// A server that goes away, and tells all its clients so, gets them back a few at
// a time, after one pause.
func TestMassClose(t *testing.T) {
	const size, atOnce, dialTime = 50, 8, 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		var leave atomic.Pointer[chan struct{}]
		first := make(chan struct{})
		leave.Store(&first)
		peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
			var end sync.WaitGroup
			end.Go(func() { drain(ws) })
			<-*leave.Load()
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), deadline())
			end.Wait()
		})
		peer.refuse = func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(dialTime)
			return false
		}
		var running, most, asks atomic.Int64
		dial := peer.cfg.NetDial
		peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return dial(ctx, network, addr)
		}
		peer.cfg.OnConnect = func(context.Context, *wspool.Conn) error { running.Add(-1); return nil }
		peer.cfg.MaxSize, peer.cfg.MinIdle, peer.cfg.MaxDials = size, size, atOnce
		var pause time.Duration
		peer.cfg.Redial = func(cause error, streak int) time.Duration {
			asks.Add(1)
			pause = wspool.DefaultRedial(cause, streak)
			return pause
		}
		p := pool(t, peer.cfg)
		time.Sleep(time.Second)
		if s := p.Stats(); s.Idle != size {
			t.Fatalf("%d idle at first", s.Idle)
		}

		most.Store(0)
		second := make(chan struct{})
		leave.Store(&second)
		t.Cleanup(func() { close(second) })
		close(first)
		began := time.Now()
		synctest.Wait()
		if s := p.Stats(); s.Idle != 0 {
			t.Errorf("%d idle after all were closed", s.Idle)
		}
		for p.Stats().Idle < size && time.Since(began) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		took := time.Since(began)
		if rounds := time.Duration((size + atOnce - 1) / atOnce); took > max(pause, 50*time.Millisecond)+rounds*dialTime+200*time.Millisecond {
			t.Errorf("all back after %v, with a pause of %v", took, pause)
		}
		if most.Load() != atOnce || asks.Load() != 1 {
			t.Errorf("%d dials at once, want %d; asked about %d causes, want 1", most.Load(), atOnce, asks.Load())
		}
	})
}

// Credentials that have expired are refreshed at once: the dials that the server
// refused together are one, and the next brings the new ones.
func TestExpiredCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 1<<12, echo)
		var valid atomic.Value
		valid.Store("1")
		peer.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			time.Sleep(10 * time.Millisecond)
			if r.Header.Get("Authorization") == valid.Load() {
				return false
			}
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		var token, dials atomic.Int64
		token.Store(1)
		peer.cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
			dials.Add(1)
			h.Header.Set("Authorization", string(rune('0'+token.Load())))
			return nil
		}
		peer.cfg.MaxSize, peer.cfg.MinIdle = 8, 8
		p := pool(t, peer.cfg)
		time.Sleep(time.Second)
		valid.Store("2")
		p.Reset(nil)
		time.Sleep(time.Millisecond)
		token.Store(2) // all that run now are refused, and those that come after are not
		time.Sleep(5 * time.Second)
		if s := p.Stats(); s.Idle != 8 {
			t.Errorf("%d idle 5 s after, want 8; last: %v", s.Idle, s.LastMake)
		}

		valid.Store("3")
		p.Reset(nil)
		dials.Store(0)
		time.Sleep(time.Hour)
		if n := dials.Load(); n < 5 || n > 40 {
			t.Errorf("%d dials in an hour with credentials that are not accepted", n)
		}
	})
}

// A server that agrees to every handshake, and ends every connection without an
// answer, is not dialled as often as callers come, whatever its words are.
func TestAgreedAndEnded(t *testing.T) {
	const callers = 20
	for _, code := range []int{0, 1000, 1002, 1009, 4000, -1} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
					switch {
					case code < 0: // it greets, which nobody expects
						time.Sleep(2 * time.Millisecond)
						ws.WriteMessage(websocket.TextMessage, []byte("hello"))
					default:
						ws.ReadMessage()
					}
					if code > 0 {
						ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), deadline())
					}
					if code != 0 {
						drain(ws)
					}
				})
				var dials atomic.Int64
				peer.refuse = func(http.ResponseWriter, *http.Request) bool {
					dials.Add(1)
					time.Sleep(time.Millisecond)
					return false
				}
				peer.cfg.MaxSize = callers
				p := pool(t, peer.cfg)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for ctx.Err() == nil {
							err := p.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
								time.Sleep(5 * time.Millisecond) // a greeting must not pass for the answer
								return question(ctx, c)
							})
							if err == nil {
								t.Error("an answer")
							}
							time.Sleep(time.Millisecond)
						}
					})
				}
				all.Wait()
				// Pauses up to 0, 0.1, 0.2, 0.4 … s, with at most one dial for each caller between.
				if n := dials.Load(); n < callers || n > 30*callers {
					t.Errorf("%d dials in 10 s", n)
				}
			})
		})
	}
}

// A lease that writes and wants no answer has been served: that its connection
// is closed behind it is no reason to wait before the next.
func TestServedWithoutAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
			ws.ReadMessage()
			time.Sleep(10 * time.Millisecond)
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), deadline())
			drain(ws)
		})
		var streaks atomic.Int64
		peer.cfg.Exchange = wspool.Unpaired
		peer.cfg.Redial = func(_ error, streak int) time.Duration {
			streaks.Store(max(streaks.Load(), int64(streak)))
			return 0
		}
		p := pool(t, peer.cfg)
		for range 5 {
			c := acquire(t, p)
			write(t, c, "x")
			c.Release()
			time.Sleep(time.Second)
		}
		if n := streaks.Load(); n != 1 {
			t.Errorf("streak of %d, want 1", n)
		}
	})
}
