package wspool_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// strict is a peer that answers every message after some milliseconds, and closes
// with code what is called "bad".
func strict(code int) func(*websocket.Conn) {
	return func(ws *websocket.Conn) {
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // what the service takes to answer
			if string(p) == "bad" {
				ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "no such voice"), deadline())
				drain(ws)
				return
			}
			if ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}
}

// say asks p one question, and returns the error.
func say(ctx context.Context, p *wspool.Pool, s string) error {
	return p.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(s)); err != nil {
			return err
		}
		_, _, err := c.ReadMessage(ctx)
		return err
	})
}

// One of five callers sends a message for which the server closes the connection,
// with any code: the others are served all the same.
func TestRedial_OneBadCaller(t *testing.T) {
	for _, code := range []int{1008, 3000, 4000, 4401, 4403, 1011} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 1<<12, strict(code))
				p := pool(t, peer.cfg)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var ok, failed, bad atomic.Int64
				var all sync.WaitGroup
				for i := range 5 {
					all.Go(func() {
						for ctx.Err() == nil {
							switch err := say(t.Context(), p, map[bool]string{true: "bad", false: "good"}[i == 0]); {
							case i == 0:
								bad.Add(1)
							case err == nil:
								ok.Add(1)
							default:
								failed.Add(1)
								t.Errorf("a good caller: %v", err)
							}
							time.Sleep(95 * time.Millisecond)
						}
					})
				}
				all.Wait()
				if ok.Load() < 380 || failed.Load() > 0 || bad.Load() < 50 {
					t.Errorf("%d ok, %d failed, beside %d bad; want 380 and more of 400, 0", ok.Load(), failed.Load(), bad.Load())
				}
			})
		})
	}
}

// In a quiet pool some bad calls come in a row, each on a connection that has
// served no caller: the good caller behind them is served within their small
// pauses.
func TestRedial_BadCallsInQuietPool(t *testing.T) {
	for calls, most := range map[int]time.Duration{2: 150 * time.Millisecond, 3: 250 * time.Millisecond, 12: 5100 * time.Millisecond} {
		t.Run(strconv.Itoa(calls), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 1<<12, strict(1008))
				p := pool(t, peer.cfg)
				for range calls {
					var ce *wspool.CloseError
					if err := say(t.Context(), p, "bad"); !errors.As(err, &ce) || ce.Code != 1008 {
						t.Fatalf("a bad call: %v", err)
					}
				}
				began := time.Now()
				if err := say(t.Context(), p, "good"); err != nil || time.Since(began) > most {
					t.Errorf("after %d bad calls the good one: %v after %v, want %v at most", calls, err, time.Since(began), most)
				}
			})
		})
	}
}

// A server that accepts the handshake and then says that it does not accept the
// client is not dialled as often as callers come.
func TestRedial_LoginRefusedByCloseCode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
			time.Sleep(5 * time.Millisecond)
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4401, "unauthorized"), deadline())
			drain(ws)
		})
		var dials atomic.Int64
		peer.refuse = func(http.ResponseWriter, *http.Request) bool { dials.Add(1); return false }
		peer.cfg.MinIdle = 1
		p := pool(t, peer.cfg)
		time.Sleep(time.Hour)
		if n := dials.Load(); n < 5 || n > 40 {
			t.Errorf("%d dials in an hour with credentials that are not accepted", n)
		}
		if s := p.Stats(); s.Closed[4401] == 0 {
			t.Errorf("%v", s)
		}
	})
}

// firstAnswer asks p until it is answered, as a caller with deadlines of ten
// seconds does that tries again at once where an error says when, and returns how
// long that took.
func firstAnswer(t *testing.T, p *wspool.Pool) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < 10*time.Minute {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := say(ctx, p, "x")
		cancel()
		if err == nil {
			return time.Since(began)
		}
		var ae *resource.AcquireError
		if errors.As(err, &ae) {
			time.Sleep(max(ae.RetryAfter, 10*time.Millisecond)) // the pace of a polite caller
		}
	}
	t.Fatal("no answer")
	panic("unreachable")
}

// For a while the server refuses every handshake: how soon after that it is
// used again.
func TestRedial_ShortRefusal(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		code   int // of a close frame behind the 101, if status is 101
		lasts  time.Duration
		within time.Duration // since the beginning
	}{
		{"503 for 1 s", 503, 0, time.Second, 2 * time.Second},
		// The 14th pause in a row, 39 s, can begin just before the server is back if all
		// before it were drawn short; the pool's own back-off adds 5 s at most.
		{"503 for 1 minute", 503, 0, time.Minute, 104 * time.Second},
		{"403 for 3 s", 403, 0, 3 * time.Second, 5 * time.Second},
		{"401 for 3 s", 401, 0, 3 * time.Second, 5 * time.Second},
		{"429 for 3 s", 429, 0, 3 * time.Second, 8 * time.Second},
		{"1013 for 3 s", 101, 1013, 3 * time.Second, 8 * time.Second},
		{"4403 for 3 s", 101, 4403, 3 * time.Second, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				began := time.Now()
				peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
					if time.Since(began) < tc.lasts && tc.status == 101 {
						ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(tc.code, ""), deadline())
						drain(ws)
						return
					}
					echo(ws)
				})
				peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
					if time.Since(began) >= tc.lasts || tc.status == 101 {
						return false
					}
					w.WriteHeader(tc.status)
					return true
				}
				p := pool(t, peer.cfg)
				if took := firstAnswer(t, p); took < tc.lasts || took > tc.within {
					t.Errorf("first answer after %v, want %v at most", took, tc.within)
				}
			})
		})
	}
}

// Retry-After counts whatever the status is, and what is no Retry-After counts as
// none and is said.
func TestRedial_RetryAfter(t *testing.T) {
	const most = 3 * time.Minute // MaxRetryAfter
	for _, tc := range []struct {
		status int
		field  func(now time.Time) string
		from   time.Duration // of the pause
		to     time.Duration
		text   string // in the error
	}{
		{418, seconds(120), 2 * time.Minute, 132 * time.Second, "retry after 2m0s"},
		{408, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{500, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{502, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{504, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{403, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{401, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{302, seconds(7), 7 * time.Second, 8 * time.Second, "retry after 7s"},
		{429, seconds(0), 0, 0, "retry after 0s"},
		{503, seconds(0), 0, 0, "retry after 0s"},
		{503, date(-time.Hour), 0, 0, "retry after 0s"},
		{503, date(90 * time.Second), 90 * time.Second, 100 * time.Second, "retry after 1m30s"},
		{429, seconds(315360000), most, most + most/10, "retry after 3m0s"},
		{503, date(10 * 365 * 24 * time.Hour), most, most + most/10, "retry after 3m0s"},
		{503, func(now time.Time) string { return strconv.FormatInt(now.AddDate(30, 0, 0).Unix(), 10) }, 130 * time.Millisecond, 210 * time.Millisecond, "Unix time"},
		{503, seconds(-5), 130 * time.Millisecond, 210 * time.Millisecond, "negative"},
		{429, func(time.Time) string { return "s3cret" }, 660 * time.Millisecond, 1010 * time.Millisecond, "neither seconds nor a date"},
		{500, func(time.Time) string { return "soon" }, 0, 0, "neither seconds nor a date"},
	} {
		t.Run(strconv.Itoa(tc.status)+" "+tc.text, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 1<<12, echo)
				var refused time.Time
				peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
					if !refused.IsZero() {
						return false
					}
					refused = time.Now()
					w.Header().Set("Retry-After", tc.field(refused))
					w.WriteHeader(tc.status)
					return true
				}
				peer.cfg.MaxRetryAfter = most
				p := pool(t, peer.cfg)
				_, err := p.Acquire(t.Context())
				var de *wspool.DialError
				if !errors.As(err, &de) || !strings.Contains(de.Error(), tc.text) || strings.Contains(de.Error(), "s3cret") {
					t.Fatalf("%v does not say %q", err, tc.text)
				}
				if de.RetryAfterSet == (de.RetryAfterErr != nil) {
					t.Errorf("RetryAfterSet is %v, RetryAfterErr %v", de.RetryAfterSet, de.RetryAfterErr)
				}
				c := acquireAnyTime(t, p)
				if pause := time.Since(refused); pause < tc.from || pause > tc.to+100*time.Millisecond {
					t.Errorf("the next dial after %v, want %v to %v", pause, tc.from, tc.to)
				}
				c.Release()
			})
		})
	}
}

// acquireAnyTime acquires however long it takes.
func acquireAnyTime(t *testing.T, p *wspool.Pool) *wspool.Conn {
	t.Helper()
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func seconds(n int) func(time.Time) string {
	return func(time.Time) string { return strconv.Itoa(n) }
}

func date(after time.Duration) func(time.Time) string {
	return func(now time.Time) string { return now.Add(after).UTC().Format(http.TimeFormat) }
}

// A server that goes away, and sends all its clients code 1001, gets them back a
// few at a time, after one pause.
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
					case code < 0: // it greets, which is not configured
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

// A lease that writes and expects no answer has been served: that its connection is
// closed behind it is no reason to wait before the next.
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
