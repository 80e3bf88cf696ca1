package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// feed serves streams: the request is "count first every", and the messages are numbers from
// first on, one every so many milliseconds, 0: all at once. With keys the request is
// acknowledged. An echo otherwise.
func feed(keys bool) func(*peer) {
	var lastKey atomic.Int64
	return func(p *peer) {
		var mu sync.Mutex
		stop := map[string]chan struct{}{}
		var wg sync.WaitGroup
		gone := make(chan struct{})
		defer wg.Wait()
		defer close(gone) // the streams end without their last message
		for {
			kind, id, text, ok := p.read()
			if !ok {
				return
			}
			if kind == 'X' {
				if keys {
					id = text
				}
				mu.Lock()
				if c := stop[id]; c != nil {
					delete(stop, id)
					close(c)
				}
				mu.Unlock()
				continue
			}
			f := strings.Fields(text)
			if kind != 'C' || len(f) != 3 {
				p.send("R%s %s", id, text)
				continue
			}
			count, _ := strconv.Atoi(f[0])
			first, _ := strconv.Atoi(f[1])
			every, _ := strconv.Atoi(f[2])
			part, end, name := "P"+id+" ", "Z"+id+" ", id
			if keys {
				key := fmt.Sprint("k", lastKey.Add(1))
				part, end, name = "K"+key+": ", "L"+key+": ", key
				p.send("R%s %s", id, key)
			}
			quit := make(chan struct{})
			mu.Lock()
			stop[name] = quit
			mu.Unlock()
			wg.Go(func() {
				for i := range count {
					if every > 0 {
						select {
						case <-time.After(time.Duration(every) * time.Millisecond):
						case <-gone:
							return
						case <-quit:
							if !keys {
								p.send("%send", end)
							}
							return
						}
					}
					p.send("%s%d", part, first+i)
				}
				p.send("%send", end)
			})
		}
	}
}

func codecs(f func(name string, codec mux.Codec, keys bool)) {
	f("id", plain{}, false)
	f("key", keyed{}, true)
}

// Streams deliver their messages in order, beside calls, to the end.
func TestStream(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		t.Run(name, func(t *testing.T) {
			both(t, feed(keys), func(t *testing.T, s *server) {
				c, _ := newClient(t, s, mux.Config{Codec: codec})
				var wg sync.WaitGroup
				for i := range 4 {
					wg.Go(func() {
						st, err := c.Stream(t.Context(), mux.Request{Body: fmt.Sprint("100 ", i*1000, " ", i%2)}, mux.StreamConfig{})
						if err != nil {
							t.Error(err)
							return
						}
						if keys != strings.HasPrefix(text(st.Reply()), "k") {
							t.Errorf("reply %q", st.Reply().Data)
						}
						n := 0
						for m, err := range st.All(t.Context()) {
							switch {
							case err != nil || m.Gap != nil:
								t.Error(m, err)
							case m.End:
								if n != 100 {
									t.Errorf("ended after %d", n)
								}
							case text(m.Message) != fmt.Sprint(i*1000+n):
								t.Errorf("got %q as number %d", m.Data, n)
							default:
								n++
							}
						}
						if _, err := st.Next(t.Context()); err != io.EOF && err != mux.ErrStreamClosed {
							t.Error(err)
						}
					})
					wg.Go(func() {
						for k := range 20 {
							ask(t, c, fmt.Sprint("call ", k))
						}
					})
				}
				wg.Wait()
				if s := c.Stats(); s.Streams != 0 || s.InFlight != 0 || s.Late+s.Unknown != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	})
}

// A stream that is closed is canceled at the server; what still comes is dropped.
func TestStreamClose(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newClient(t, listenMem(t, feed(keys)), mux.Config{Codec: codec})
				st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{})
				if err != nil {
					t.Fatal(err)
				}
				for range 5 {
					if _, err := st.Next(t.Context()); err != nil {
						t.Error(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				if _, err := st.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
				waiting := make(chan error)
				go func() {
					for {
						if _, err := st.Next(t.Context()); err != nil {
							waiting <- err
							return
						}
					}
				}()
				time.Sleep(15 * time.Millisecond)
				st.Close()
				st.Close()
				if err := <-waiting; err != mux.ErrStreamClosed {
					t.Error(err)
				}
				time.Sleep(time.Second)
				if s := c.Stats(); s.Streams != 0 || s.Late > 3 || s.Orphans != 0 || s.InFlight != 0 {
					t.Errorf("%+v", s)
				}
				ask(t, c, "alive")
			})
		})
	})
}

// A buffer that is full does what Overflow says; other streams and calls do not notice.
func TestStreamOverflow(t *testing.T) {
	for _, tc := range []struct {
		how     mux.Overflow
		want    string
		dropped int64
	}{
		{mux.Fail, "0 1 2 3 failed", 1}, {mux.DropOldest, "gap6 6 7 8 9 end", 6}, {mux.DropNewest, "0 1 2 3 gap6 end", 6}, {mux.Latest, "8 9 end", 0},
	} {
		t.Run(fmt.Sprint(tc.how), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newClient(t, listenMem(t, feed(false)), mux.Config{Codec: plain{}})
				st, err := c.Stream(t.Context(), mux.Request{Body: "10 0 10"}, mux.StreamConfig{
					Buffer: 4, Overflow: tc.how, LatestBy: func(m mux.Message) []byte {
						n, _ := strconv.Atoi(text(m))
						return []byte{byte(n % 2)}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				ask(t, c, "fine")
				var got []string
				for {
					i, err := st.Next(t.Context())
					switch {
					case err == mux.ErrOverflow:
						got = append(got, "failed")
					case err != nil:
						if err != io.EOF {
							t.Error(err)
						}
					case i.Gap != nil:
						got = append(got, fmt.Sprint("gap", i.Gap.Dropped))
					default:
						got = append(got, text(i.Message))
					}
					if err != nil {
						break
					}
				}
				if s := strings.Join(got, " "); s != tc.want {
					t.Errorf("got %s, want %s", s, tc.want)
				}
				if n := c.Stats().StreamDropped; n != tc.dropped {
					t.Errorf("%d messages are counted as dropped, want %d", n, tc.dropped)
				}
			})
		})
	}
}

// A stream whose connection ends is resumed on another one, where its Resume says; the reader
// sees the gap.
func TestStreamResume(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		for _, how := range []string{"cut", "reset"} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := listenMem(t, feed(keys))
					c, p := newClient(t, s, mux.Config{Codec: codec})
					st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{Resume: func(last mux.Message) (mux.Request, bool) {
						n, _ := strconv.Atoi(text(last))
						return mux.Request{Body: fmt.Sprint(1000-n-1, " ", n+1, " 10")}, true
					}})
					if err != nil {
						t.Fatal(err)
					}
					defer st.Close()
					time.AfterFunc(time.Second, func() {
						if how == "cut" {
							s.cut()
						} else {
							p.Reset(nil)
						}
					})
					next, gaps := 0, 0
					for i, err := range st.All(t.Context()) {
						switch {
						case err != nil:
							t.Fatal(err)
						case i.Gap != nil:
							if gaps++; i.Gap.Cause == nil || i.Gap.Lasted <= 0 || keys != (len(i.Gap.Reply.Data) > 0) {
								t.Errorf("%+v", i.Gap)
							}
						case i.End:
						case text(i.Message) != fmt.Sprint(next):
							t.Fatalf("got %q, want %d", i.Data, next)
						default:
							next++
						}
					}
					if next != 1000 || gaps != 1 {
						t.Errorf("%d messages and %d gaps", next, gaps)
					}
					if s := c.Stats(); s.Gaps != 1 || s.Acquired != 2 {
						t.Errorf("%+v", s)
					}
				})
			})
		}
	})
}

// Stream returns when the request is written, though the server says nothing, and a reader gets the
// gap of a stream that was resumed, before a message.
func TestStreamOfSilentServer(t *testing.T) {
	both(t, func(p *peer) {
		for {
			if _, _, _, ok := p.read(); !ok {
				return
			}
		}
	}, func(t *testing.T, s *server) {
		c, _ := newClient(t, s, mux.Config{Codec: plain{}})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for range 3 {
			st, err := c.Stream(ctx, mux.Request{Body: "1 0 0"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) {
				return mux.Request{Body: "1 0 0"}, true
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			s.cut()
			if i, err := st.Next(ctx); err != nil || i.Gap == nil {
				t.Errorf("%+v, %v", i, err)
			}
		}
	})
}

// A stream that is closed while it waits for a connection to be resumed on leaves the line, and its
// request is not sent.
func TestStreamClosedWhileResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		s := listenMem(t, func(p *peer) {
			for {
				_, id, text, ok := p.read()
				switch {
				case !ok:
					return
				case text == "stream":
					requests.Add(1)
				case text == "slow":
					time.AfterFunc(time.Minute, func() { p.send("R%s slow", id) })
				}
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxInFlight: 1})
		st, err := c.Stream(t.Context(), mux.Request{Body: "stream"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) {
			return mux.Request{Body: "stream"}, true
		}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "slow") }) // in line
		synctest.Wait()
		s.cut()
		time.Sleep(time.Second)
		if s := c.Stats(); s.Waiting != 1 || s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		st.Close()
		synctest.Wait()
		if s := c.Stats(); s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if n := requests.Load(); n != 1 {
			t.Errorf("the request was sent %d times", n)
		}
	})
}

// The loss of a stream is reported as one gap, though the next connections are lost too before its
// request is written to them.
func TestStreamReportsEachLossOnce(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		for _, left := range []int{0, 5, 12} { // bytes of the request
			t.Run(fmt.Sprint(name, " cut after ", left), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := listenMem(t, feed(keys))
					var mu sync.Mutex
					var last *cutConn
					dialled := 0
					dial := s.cfg.NetDial
					s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						conn, err := dial(ctx, network, addr)
						if err != nil {
							return nil, err
						}
						mu.Lock()
						defer mu.Unlock()
						dialled++
						last = &cutConn{Conn: conn, left: -1}
						return last, nil
					}
					s.cfg.OnConnect = func(context.Context, *wspool.Conn) error {
						mu.Lock()
						defer mu.Unlock()
						if dialled == 2 || dialled == 3 {
							last.mu.Lock()
							last.left = left
							last.mu.Unlock()
						}
						return nil
					}
					c, _ := newClient(t, s, mux.Config{Codec: codec})
					st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{Resume: func(last mux.Message) (mux.Request, bool) {
						n, _ := strconv.Atoi(text(last))
						return mux.Request{Body: fmt.Sprint(1000-n-1, " ", n+1, " 10")}, true
					}})
					if err != nil {
						t.Fatal(err)
					}
					defer st.Close()
					time.AfterFunc(time.Second, s.cut)
					next, got := 0, 0
					for i, err := range st.All(t.Context()) {
						switch {
						case err != nil:
							t.Fatal(err)
						case i.Gap != nil:
							got++
						case i.End:
						case text(i.Message) != fmt.Sprint(next):
							t.Fatalf("got %q, want %d", i.Data, next)
						default:
							next++
						}
					}
					if next != 1000 || got != 1 || c.Stats().Gaps != 1 {
						t.Errorf("%d messages and %d gaps; %+v", next, got, c.Stats())
					}
					mu.Lock()
					defer mu.Unlock()
					if dialled < 4 {
						t.Errorf("%d dials", dialled)
					}
				})
			})
		}
	})
}

// A stream that is not read, and whose connection is lost again each time the server has accepted its
// request, holds one gap: the last loss, and the time of all.
func TestStreamNotRead_Gaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var accepted atomic.Int64
		s := listenMem(t, func(p *peer) {
			for {
				_, id, _, ok := p.read()
				if !ok {
					return
				}
				p.send("R%s key%d", id, accepted.Add(1))
				time.Sleep(time.Millisecond) // in the bubble; the connection ends after that
				p.ws.Close()
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: keyed{}})
		st, err := c.Stream(t.Context(), mux.Request{Body: "1 0 0"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return mux.Request{Body: "again"}, accepted.Load() < 100 }})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		time.Sleep(time.Hour) // in the bubble
		gaps, last := 0, mux.Gap{}
		for {
			i, err := st.Next(t.Context())
			if err != nil {
				break
			}
			gaps++
			last = *i.Gap
		}
		if n := c.Stats().Gaps; gaps != 1 || n != 99 || text(last.Reply) != "key100" || last.Cause == nil || last.Lasted < 99*time.Millisecond {
			t.Errorf("%d gaps wait after %d: %+v", gaps, n, last)
		}
	})
}

// Without Resume a stream ends with its connection, and says why.
func TestStreamEndsWithItsConnection(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := listenMem(t, feed(keys))
				c, _ := newClient(t, s, mux.Config{Codec: codec})
				st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{})
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Second, s.cut)
				n := 0
				for {
					if _, err = st.Next(t.Context()); err != nil {
						break
					}
					n++
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) || n < 90 {
					t.Error(n, err)
				}
				ask(t, c, "again")
			})
		})
	})
}

// A stream whose Resume declines ends with the cause of the loss.
func TestStreamEndsWhereResumeDeclines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, feed(false))
		c, _ := newClient(t, s, mux.Config{Codec: plain{}})
		st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{Resume: func(mux.Message) (r mux.Request, again bool) { return r, false }})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, s.cut)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for err == nil {
			_, err = st.Next(ctx)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
}

// A server that refuses a subscription, at first or when it is resumed, ends the stream with its
// reason.
func TestStreamRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns atomic.Int64
		s := listenMem(t, func(p *peer) {
			first := conns.Add(1) == 1
			for {
				_, id, text, ok := p.read()
				switch {
				case !ok:
					return
				case first && text == "good":
					p.send("R%s key", id)
				default:
					p.send("R%s !no", id)
				}
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: keyed{}})
		if _, err := c.Stream(t.Context(), mux.Request{Body: "bad"}, mux.StreamConfig{}); err == nil || err.Error() != "!no" {
			t.Error(err)
		}
		st, err := c.Stream(t.Context(), mux.Request{Body: "good"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return mux.Request{Body: "good"}, true }})
		if err != nil {
			t.Fatal(err)
		}
		s.cut()
		if _, err := st.Next(t.Context()); err == nil || err.Error() != "!no" {
			t.Error(err)
		}
	})
}

// unsubscribable is keyed for a server without subscriptions.
type unsubscribable struct{ keyed }

var errNoStreams = errors.New("no streams")

func (unsubscribable) CanStream() error { return errNoStreams }

// Where the codec says that there are no subscriptions Stream sends nothing.
func TestStream_NoSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		s := listenMem(t, func(p *peer) {
			for {
				_, id, _, ok := p.read()
				if !ok {
					return
				}
				asked.Add(1)
				p.send("R%s answer", id)
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: unsubscribable{}})
		_, err := c.Stream(t.Context(), mux.Request{Body: "feed"}, mux.StreamConfig{})
		var failed *mux.CallError
		if !errors.As(err, &failed) || !errors.Is(err, mux.ErrNotSent) || !errors.Is(err, errNoStreams) {
			t.Errorf("Stream fails with %v", err)
		}
		if m, err := c.Call(t.Context(), mux.Request{Body: "call"}); err != nil || text(m) != "answer" {
			t.Errorf("a call has %q, %v", m.Data, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the server was asked %d times, not once", n)
		}
	})
}

// A stream to which the server gives the key of another one fails, and is canceled by its own id. The
// other one goes on, and Close cancels it by the key. The connection is not given back, though the
// server has ended the first stream itself: it may still send for the second.
func TestStream_DuplicateKey(t *testing.T) {
	for _, how := range []string{"refused", "given up", "refused, ended by the server", "given up, ended by the server"} {
		synctest.Test(t, func(t *testing.T) {
			canceled := make(chan string, 10)
			s := listenMem(t, func(p *peer) {
				first := ""
				for {
					kind, id, text, ok := p.read()
					switch {
					case !ok:
						return
					case kind == 'X':
						canceled <- fmt.Sprintf("%q", strings.Replace(id, first, "first", 1)+" "+text)
					case text == "first":
						first = id
						p.send("R%s same", id)
					case text == "second":
						time.Sleep(time.Second) // in the bubble: the server takes its time
						p.send("R%s same", id)
						p.send("Ksame: 1")
					case text == "end":
						p.send("Lsame: end")
						p.send("R%s %s", id, text)
					default:
						p.send("R%s %s", id, text)
					}
				}
			})
			c, p := newClient(t, s, mux.Config{Codec: keyed{}, IdleAfter: time.Second})
			st, err := c.Stream(t.Context(), mux.Request{Body: "first"}, mux.StreamConfig{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, want := t.Context(), mux.ErrDuplicateKey
			if strings.HasPrefix(how, "given up") {
				bounded, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				ctx, want = bounded, context.DeadlineExceeded
			}
			if _, err := c.Stream(ctx, mux.Request{Body: "second"}, mux.StreamConfig{}); !errors.Is(err, want) {
				t.Fatalf("%s: the second stream: %v, want %v", how, err, want)
			}
			if i, err := st.Next(t.Context()); err != nil || text(i.Message) != "1" {
				t.Errorf("%s: the first stream: %q, %v", how, i.Data, err)
			}
			synctest.Wait()
			cancels := 0
			for ; len(canceled) > 0; cancels++ {
				if got := <-canceled; strings.Contains(got, "same") || strings.Contains(got, "first") {
					t.Errorf("%s: canceled %s, though only the second stream has failed", how, got)
				}
			}
			if cancels == 0 {
				t.Errorf("%s: the second stream was not canceled", how)
			}
			if strings.HasSuffix(how, "server") {
				ask(t, c, "end")
			} else {
				st.Close()
				if got := <-canceled; got != `"first same"` {
					t.Errorf("%s: the end of the first stream canceled %s", how, got)
				}
			}
			time.Sleep(time.Minute) // until the connection is closed
			if s := p.Stats(); s.Made != 1 || s.Idle != 0 || s.Leased != 0 {
				t.Errorf("%s: the connection was given back: %v", how, s)
			}
		})
	}
}

// panicky is keyed with a StreamKey that panics at some replies.
type panicky struct{ keyed }

func (c panicky) StreamKey(m mux.Message) ([]byte, error) {
	if text(m) == "boom" {
		panic("boom")
	}
	return c.keyed.StreamKey(m)
}

// A stream is given up before the server replies. After a refusal the server sends nothing more, so
// the connection goes back to the pool; after any other reply it is closed.
func TestStreamGivenUp_Reply(t *testing.T) {
	for reply, kept := range map[string]int{"!no": 1, "key": 0, "boom": 0} {
		t.Run(reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := newClient(t, listenMem(t, func(p *peer) {
					subscription := ""
					for {
						kind, id, text, ok := p.read()
						switch {
						case !ok:
							return
						case kind == 'X':
						case text == "prices":
							subscription = id
						default:
							p.send("R%s %s", subscription, reply)
							p.send("R%s %s", id, text)
						}
					}
				}), mux.Config{Codec: panicky{}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := c.Stream(ctx, mux.Request{Body: "prices"}, mux.StreamConfig{}); !errors.Is(err, mux.ErrMayHaveRun) {
					t.Fatal(err)
				}
				ask(t, c, "x") // its reply comes after that of the stream
				if s := c.Stats(); s.Orphans != 0 || s.Late != 1 || len(s.Conns) != 1 {
					t.Errorf("%+v", s)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if s := p.Stats(); s.Idle != kept || s.Leased != 0 {
					t.Errorf("%d connections were given back, want %d", s.Idle, kept)
				}
			})
		})
	}
}

// A dedicated stream has its connection alone, and gives it back.
func TestStreamDedicated(t *testing.T) {
	codecs(func(name string, codec mux.Codec, keys bool) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := newClient(t, listenMem(t, feed(keys)), mux.Config{Codec: codec})
				ask(t, c, "x")
				for range 2 {
					st, err := c.Stream(t.Context(), mux.Request{Body: "5 0 1"}, mux.StreamConfig{Dedicated: true})
					if err != nil {
						t.Fatal(err)
					}
					if s := c.Stats(); len(s.Conns) != 2 {
						t.Errorf("%+v", s)
					}
					n := 0
					for range st.All(t.Context()) {
						n++
					}
					if n != 6 {
						t.Error(n)
					}
					time.Sleep(time.Second)
					if s := c.Stats(); len(s.Conns) != 1 {
						t.Errorf("%+v", s)
					}
				}
				if s := p.Stats(); s.Made != 2 || s.Tainted != 0 {
					t.Error(s)
				}
			})
		})
	})
}

// A subscriber that reads nothing delays neither calls nor other streams.
func TestStuckSubscriber(t *testing.T) {
	s := listen(t, feed(false))
	c, _ := newClient(t, s, mux.Config{Codec: plain{}})
	stuck, err := c.Stream(t.Context(), mux.Request{Body: "20000 0 0"}, mux.StreamConfig{Overflow: mux.DropOldest, Buffer: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	other, err := c.Stream(t.Context(), mux.Request{Body: "100 0 1"}, mux.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range other.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		ask(t, c, "beside")
	}
	if n != 101 {
		t.Error(n)
	}
}

// The slot of a stream that is closed, or that the server ends, goes to a caller in line at once.
func TestStreamFreesItsSlot(t *testing.T) {
	for _, closes := range []bool{true, false} {
		codecs(func(name string, codec mux.Codec, keys bool) {
			t.Run(fmt.Sprint(name, " closed ", closes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := listenMem(t, feed(keys))
					s.cfg.MaxSize = 1
					c, _ := newClient(t, s, mux.Config{Codec: codec, MaxConns: 1, MaxInFlight: 1})
					body := "1000 0 1000"
					if !closes {
						body = "10 0 100"
					}
					st, err := c.Stream(t.Context(), mux.Request{Body: body}, mux.StreamConfig{})
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					end := time.Duration(0)
					if !keys { // with a key the reply has freed the slot
						end = time.Second
					}
					if closes {
						time.AfterFunc(time.Second, func() { st.Close() })
					}
					ask(t, c, "in line")
					if took := time.Since(began); took != end {
						t.Errorf("a caller in line was served after %v, want %v", took, end)
					}
					st.Close()
				})
			})
		})
	}
}

// The slot of a stream that is closed is free at once also where the server answers no cancel.
func TestStreamFreesItsSlot_SilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' && text != "stream" {
					p.send("R%s %s", id, text)
				}
			}
		})
		s.cfg.MaxSize = 1
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 1, MaxInFlight: 1, OrphanWait: -1})
		for range 3 {
			st, err := c.Stream(t.Context(), mux.Request{Body: "stream"}, mux.StreamConfig{})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			time.AfterFunc(time.Second, func() { st.Close() })
			ask(t, c, "in line")
			if took := time.Since(began); took != time.Second {
				t.Errorf("a caller in line was served after %v", took)
			}
		}
		if s := c.Stats(); s.Orphans != 3 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Messages whose LatestBy returns nil have one key.
func TestStreamLatest_NilKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, feed(false)), mux.Config{Codec: plain{}})
		st, err := c.Stream(t.Context(), mux.Request{Body: "10 0 0"}, mux.StreamConfig{Overflow: mux.Latest, LatestBy: func(mux.Message) []byte { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var got []string
		for i, err := range st.All(t.Context()) {
			if err != nil || i.Gap != nil {
				t.Errorf("%+v, %v", i, err)
			}
			got = append(got, text(i.Message))
		}
		if len(got) != 2 || got[0] != "9" {
			t.Errorf("got %q, want the last message and the end", got)
		}
	})
}

// The client's Close ends streams, and those that are being resumed.
func TestCloseEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, feed(false))
		c, p := newClient(t, s, mux.Config{Codec: plain{}})
		resume := func(mux.Message) (mux.Request, bool) { return mux.Request{Body: "1000 0 10"}, true }
		st, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{Resume: resume, Buffer: 10000})
		if err != nil {
			t.Fatal(err)
		}
		lost, err := c.Stream(t.Context(), mux.Request{Body: "1000 0 10"}, mux.StreamConfig{Resume: resume, Dedicated: true, Buffer: 10000})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.Resize(1)
		p.Reset(nil)
		time.Sleep(10 * time.Second)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for _, st := range []*mux.Stream{st, lost} {
			var err error
			for err == nil {
				_, err = st.Next(t.Context())
			}
			if err != mux.ErrClosed {
				t.Error(err)
			}
		}
	})
}

// A loop over All closes the stream, however it ends.
func TestStreamAll_Closes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, echo), muxConfig()) // the reply is the end
		for _, stop := range []bool{false, true} {
			st, err := c.Stream(t.Context(), mux.Request{Body: "x"}, mux.StreamConfig{})
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range st.All(t.Context()) {
				if err != nil {
					t.Error(err)
				}
				if stop {
					break
				}
			}
			if _, err := st.Next(t.Context()); err != mux.ErrStreamClosed {
				t.Errorf("stopped %v: then Next fails with %v", stop, err)
			}
		}
	})
}

// Bad configurations are refused, every field by name.
func TestBadConfig(t *testing.T) {
	s := listen(t, echo)
	c, p := newClient(t, s, muxConfig())
	_, err := mux.New(p, mux.Config{MaxConns: -1, MaxInFlight: 1 << 20, ReplayRatio: 2, DrainWait: -1})
	for _, want := range []string{"Codec is required", "MaxConns must be between 0 and", "MaxInFlight must", "ReplayRatio must", "DrainWait must"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := mux.New(nil, muxConfig()); err == nil {
		t.Error("New without a pool")
	}
	for n, ok := range map[bits]bool{-1: false, 19: false, 20: true, 64: true, 65: false} {
		c, err := mux.New(p, mux.Config{Codec: n})
		if (err == nil) != ok {
			t.Errorf("New with %d bits: %v", n, err)
		}
		if err == nil {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, cfg := range []mux.StreamConfig{{Buffer: -1}, {Bytes: -1}, {Overflow: 9}, {Overflow: mux.Latest}} {
		if _, err := c.Stream(t.Context(), mux.Request{Body: "x"}, cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
}

type bits int

func (b bits) IDBits() int { return int(b) }
func (bits) Append(dst []byte, _ uint64, _ any) (int, []byte, error) {
	return 1, dst, nil
}
func (bits) Classify(int, []byte) (mux.Frame, error) { return mux.Frame{}, nil }

// A server that accepts each request of a stream and ends the connection soon is asked less and less often;
// one that has served the stream for a while is asked soon after a loss.
func TestResume_Paced(t *testing.T) {
	for _, test := range []struct {
		lasts    time.Duration
		from, to int64
	}{{0, 15, 60}, {time.Second, 10, 40}, {9 * time.Second, 6, 7}} {
		synctest.Test(t, func(t *testing.T) {
			s := listenMem(t, func(p *peer) {
				_, id, _, ok := p.read()
				if !ok {
					return
				}
				p.send("R%s k", id)
				time.Sleep(test.lasts) // in the bubble
				p.bye(1011)
			})
			c, _ := newClient(t, s, mux.Config{Codec: keyed{}})
			again := mux.Request{Body: "stream"}
			stream, err := c.Stream(t.Context(), again, mux.StreamConfig{
				Resume: func(mux.Message) (mux.Request, bool) { return again, true },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			time.Sleep(time.Minute) // in the bubble
			if n := c.Stats().Resumes; n < test.from || n > test.to {
				t.Errorf("a stream that lasts %v was resumed %d times in a minute", test.lasts, n)
			}
		})
	}
}
