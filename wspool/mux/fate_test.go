package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// cutConn fails to write after so many bytes, once left is set.
type cutConn struct {
	net.Conn
	mu   sync.Mutex
	left int // -1: no limit
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.left < 0:
	case c.left >= len(p):
		c.left -= len(p)
	default:
		n, _ := c.Conn.Write(p[:c.left])
		c.left = 0
		c.Conn.Close()
		return n, errors.New("cut")
	}
	return c.Conn.Write(p)
}

// The write that carries a batch of calls is cut at every byte. A call that was not sent is sent
// again and runs once; one that may have run is not sent again, unless it is idempotent.
func TestFateOfCallsCutAtEveryByte(t *testing.T) {
	const calls = 3
	const size = calls * (6 + len("C256256 call 0")) // at most
	for cut := range size + 1 {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{ran: make(map[string]int)}
			s := listenMem(t, func(p *peer) {
				for {
					kind, id, text, ok := p.read()
					if !ok {
						return
					}
					if kind == 'C' {
						l.note(text)
						p.send("R%s %s", id, text)
					}
				}
			})
			var first *cutConn
			dial := s.cfg.NetDial
			s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				if err == nil && first == nil {
					first = &cutConn{Conn: conn, left: -1}
					conn = first
				}
				return conn, err
			}
			c, _ := newClient(t, s, mux.Config{Codec: plain{}})
			ask(t, c, "warm")
			first.mu.Lock()
			first.left = cut
			first.mu.Unlock()
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					what := fmt.Sprint("call ", i)
					idempotent := i == 2
					m, err := c.Call(t.Context(), mux.Request{Body: what, Idempotent: idempotent})
					ran := l.count(what)
					switch {
					case err == nil && text(m) == what && (ran == 1 || idempotent && ran == 2):
					case errors.Is(err, mux.ErrMayHaveRun) && !idempotent && ran <= 1:
					default:
						t.Errorf("cut at %d: %s: %q, %v; it has run %d times", cut, what, m.Data, err, ran)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Of the calls that are being written when the reader of the connection finds its end, or the client
// ends it, exactly those may have run whose last byte the network has taken, wherever the write has
// stopped. They return at once. The other calls are sent on another connection.
func TestFateOfCallsThatAreBeingWritten(t *testing.T) {
	const calls = 3
	const size = calls * (6 + len("C256256 call 0")) // at most
	for name, end := range map[string]func(p *peer){
		"the server closes": func(p *peer) { p.bye(1001) },
		"OnEvent fails":     func(p *peer) { p.send("E event") },
	} {
		step := 1
		if testing.Short() {
			step = 4
		}
		for hold := 1; hold <= size+1; hold += step {
			synctest.Test(t, func(t *testing.T) {
				started, over := make(chan struct{}), make(chan struct{})
				var served atomic.Int32
				var ended time.Time
				l := &ledger{ran: make(map[string]int)}
				s := listenMemOf(t, hold, func(p *peer) {
					if served.Add(1) > 1 {
						echo(p)
						return
					}
					<-started
					head := make([]byte, 8) // of a frame of up to 64 KiB: it is read aside from gorilla
					if _, err := io.ReadFull(p.ws.NetConn(), head); err != nil {
						t.Error(err)
					}
					io.CopyN(io.Discard, p.ws.NetConn(), int64(binary.BigEndian.Uint16(head[2:])))
					synctest.Wait() // the network has taken what it holds of the next batch
					ended = time.Now()
					end(p)
					synctest.Wait() // the client knows
					defer close(over)
					for {
						_, _, text, ok := p.read()
						if !ok {
							return
						}
						l.note(text)
					}
				})
				s.cfg.KeepAlive = -1
				c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 1, OnEvent: func(context.Context, mux.Message) error { return errors.New("bad") }})
				var wg sync.WaitGroup
				for i := range 1 + calls {
					what := fmt.Sprint("call ", i)
					if i == 0 { // the others wait until it is written
						what = strings.Repeat("long ", 100)
					}
					wg.Go(func() {
						m, err := c.Call(t.Context(), mux.Request{Body: what})
						took := time.Since(ended)
						<-over
						left := i == 0 || l.count(what) == 1
						switch {
						case err == nil && text(m) == what && !left:
						case errors.Is(err, mux.ErrMayHaveRun) && !errors.Is(err, wspool.ErrReleased) && left && took == 0:
						default:
							t.Errorf("%s, the network holds %d: %.9s: %q, %v after %v; left whole: %v", name, hold, what, m.Data, err, took, left)
						}
					})
					synctest.Wait()
				}
				close(started)
				wg.Wait()
			})
		}
	}
}

// Every call in flight returns when its connection ends.
func TestDeathInFlight(t *testing.T) {
	const calls = 4096
	var arrived atomic.Int64
	all := make(chan *peer, 1)
	s := listen(t, func(p *peer) {
		for {
			if _, _, _, ok := p.read(); !ok {
				return
			}
			if arrived.Add(1) == calls {
				all <- p
			}
		}
	})
	c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxInFlight: calls, ReplayRatio: -1})
	var wg sync.WaitGroup
	var last atomic.Int64
	for range calls {
		wg.Go(func() {
			_, err := c.Call(t.Context(), mux.Request{Body: "call", Idempotent: true})
			last.Store(time.Now().UnixNano())
			var closed *wspool.CloseError
			if !errors.Is(err, mux.ErrMayHaveRun) || errors.As(err, &closed) && closed.Code != 1001 {
				t.Errorf("%v", err)
			}
		})
	}
	p := <-all
	began := time.Now()
	p.bye(1001)
	wg.Wait()
	took := time.Unix(0, last.Load()).Sub(began)
	t.Logf("%d calls were told within %v", calls, took)
	if took > 5*time.Second {
		t.Errorf("the last call was told after %v", took)
	}
	if s := c.Stats(); s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

// A caller returns when its context ends, though the server reads nothing and the network takes
// nothing; what was not sent by then is never sent.
func TestServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		l := &ledger{ran: make(map[string]int)}
		s := listenMem(t, func(p *peer) {
			<-read
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				l.note(string(kind) + text)
				if kind == 'C' {
					p.send("R%s %s", id, text)
				}
			}
		})
		s.cfg.KeepAlive, s.cfg.WriteTimeout = -1, time.Hour
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, OrphanWait: -1, Bulk: -1})
		long := string(make([]byte, 200_000))
		var wg sync.WaitGroup
		call := func(body string, wait time.Duration, fate error) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				began := time.Now()
				_, err := c.Call(ctx, mux.Request{Body: body})
				if !errors.Is(err, fate) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want %v", err, fate)
				}
				if late := time.Since(began) - wait; late > 0 {
					t.Errorf("returned %v late", late)
				}
			})
			time.Sleep(time.Millisecond)
		}
		call(long, time.Second, mux.ErrMayHaveRun)
		call("queued", 2*time.Second, mux.ErrNotSent)
		call("brief", 3*time.Millisecond, mux.ErrNotSent)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := c.Notify(ctx, "note"); !errors.Is(err, mux.ErrNotSent) {
				t.Error(err)
			}
		})
		wg.Wait()
		close(read)
		ask(t, c, "after")
		if n := l.count("Cqueued") + l.count("Cbrief") + l.count("Nnote"); n != 0 {
			t.Error("what was given up has run")
		}
		if s := c.Stats(); s.Late != 1 || s.Orphaned != 1 || s.Orphans != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Replays are bounded, and happen once for each call.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{ran: make(map[string]int)}
		s := listenMem(t, func(p *peer) { // each connection ends at its first call
			if _, _, text, ok := p.read(); ok {
				l.note(text)
				p.bye(1011)
			}
		})
		s.cfg.Redial = func(error, int) time.Duration { return 0 }
		c, _ := newClient(t, s, mux.Config{Codec: plain{}})
		for i := range 30 {
			what := fmt.Sprint(i)
			_, err := c.Call(t.Context(), mux.Request{Body: what, Idempotent: true})
			var failed *mux.CallError
			if !errors.As(err, &failed) || failed.Fate != mux.ErrMayHaveRun || failed.Sent != l.count(what) {
				t.Errorf("%v; %+v", err, failed)
			}
			if ran := l.count(what); ran > 2 {
				t.Errorf("%s has run %d times", what, ran)
			}
		}
		if n := c.Stats().Replayed; n < 10 || n > 13 {
			t.Errorf("%d of 30 calls were replayed", n)
		}
	})
}

// A call that may have run keeps that fate, though its replay was certainly not sent.
func TestReplayThatIsNotSent(t *testing.T) {
	for _, down := range []bool{true, false} { // else the dial takes longer than the caller waits
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{ran: make(map[string]int)}
			s := listenMem(t, func(p *peer) {
				if _, _, text, ok := p.read(); ok {
					l.note(text)
					p.bye(1011)
				}
			})
			dial := s.cfg.NetDial
			var dials atomic.Int32 // two may run at once
			s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					return dial(ctx, network, addr)
				}
				if !down {
					<-ctx.Done()
				}
				return nil, errors.New("down")
			}
			c, _ := newClient(t, s, mux.Config{Codec: plain{}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Call(ctx, mux.Request{Body: "x", Idempotent: true})
			if !errors.Is(err, mux.ErrMayHaveRun) || errors.Is(err, mux.ErrNotSent) || l.count("x") != 1 {
				t.Errorf("%v; it has run %d times", err, l.count("x"))
			}
		})
	}
}

// Without a connection a call fails with the error of the pool, and was not sent.
func TestNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, echo)
		down := errors.New("down")
		s.cfg.NetDial = func(context.Context, string, string) (net.Conn, error) { return nil, down }
		c, _ := newClient(t, s, mux.Config{Codec: plain{}})
		_, err := c.Call(t.Context(), mux.Request{Body: "x"})
		if !errors.Is(err, mux.ErrNotSent) || !errors.Is(err, down) {
			t.Error(err)
		}
		if _, err := c.Stream(t.Context(), mux.Request{Body: "x"}, mux.StreamConfig{}); !errors.Is(err, down) {
			t.Error(err)
		}
		if err := c.Notify(t.Context(), "x"); !errors.Is(err, down) {
			t.Error(err)
		}
	})
}

// What the codec refuses, or panics at, is not sent and harms nothing.
func TestCodecFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, echo), mux.Config{Codec: plain{}})
		for _, body := range []any{7, "panic"} {
			if _, err := c.Call(t.Context(), mux.Request{Body: body}); !errors.Is(err, mux.ErrNotSent) {
				t.Error(err)
			}
			if err := c.Notify(t.Context(), body); !errors.Is(err, mux.ErrNotSent) {
				t.Error(err)
			}
		}
		ask(t, c, "fine")
		if s := c.Stats(); s.InFlight != 0 || s.Panics != 2 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Messages that break the protocol, and replies that belong to nothing, are counted, and nothing
// is lost by them.
func TestBadMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		drops := map[mux.DropReason]int{}
		s := listenMem(t, func(p *peer) {
			for {
				_, id, text, ok := p.read()
				if !ok {
					return
				}
				p.send("")
				p.send("?")
				p.send("!panic")
				p.send("R no id")
				p.send("R999999 unknown")
				p.send("I5 ignored")
				p.send("E event")
				p.send("A ask")
				p.send("P%s part of no stream", id)
				p.send("R%s %s", id, text)
				p.send("R%s %s", id, "again")
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, Trace: &mux.Trace{Dropped: func(e mux.DropEvent) {
			mu.Lock()
			defer mu.Unlock()
			drops[e.Reason]++
		}}})
		for i := range 10 {
			ask(t, c, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		st := c.Stats()
		if st.Bad != 30 || st.Unknown != 20 || st.Ignored != 10 || st.Unwanted != 30 || st.Late != 10 || st.Panics != 10 || st.Acquired != 1 {
			t.Errorf("%+v", st)
		}
		mu.Lock()
		defer mu.Unlock()
		if drops[mux.DropBad] != 30 || drops[mux.DropUnknown] != 20 || drops[mux.DropUnwanted] != 30 || drops[mux.DropLate] != 10 {
			t.Error(drops)
		}
	})
}
