package mux_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/mux"
)

// Events arrive in order, whether or not calls are in flight, and one that takes long delays no
// call.
func TestEvents(t *testing.T) {
	var events atomic.Int64
	both(t, func(p *peer) {
		for n := 0; ; {
			kind, id, text, ok := p.read()
			if !ok {
				return
			}
			for range 3 {
				p.send("E %d", n)
				n++
			}
			if kind == 'C' {
				p.send("R%s %s", id, text)
			}
		}
	}, func(t *testing.T, s *server) {
		events.Store(0)
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, OnEvent: func(_ context.Context, m mux.Message) error {
			if got := text(m); got != fmt.Sprint(events.Load()) {
				t.Errorf("event %s after %d", got, events.Load())
			}
			if events.Add(1) == 5 {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		}})
		for range 5 {
			ask(t, c, "x")
			if err := c.Notify(t.Context(), "note"); err != nil {
				t.Error(err)
			}
		}
		for events.Load() < 30 { // no call reads any more
			time.Sleep(time.Millisecond)
		}
	})
}

// Beyond EventBuffer events are dropped and counted.
func TestEventsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			_, id, text, _ := p.read()
			for range 100 {
				p.send("E x")
			}
			p.send("R%s %s", id, text)
			p.read()
		})
		free := make(chan struct{})
		var n atomic.Int64
		var traced atomic.Int64
		dropped := func(e mux.DropEvent) {
			traced.Add(1)
			if e.Conn == 0 || e.Frame.Kind != mux.Event || e.Frame.Key != nil || e.Bytes != len("E x") || e.Reason != mux.DropOverflow || e.Err != nil {
				t.Errorf("%+v", e)
			}
		}
		c, _ := newClient(t, s, mux.Config{
			Codec: plain{}, EventBuffer: 10, Trace: &mux.Trace{Dropped: dropped},
			OnEvent: func(context.Context, mux.Message) error { n.Add(1); <-free; return nil },
		})
		ask(t, c, "x")
		close(free)
		time.Sleep(time.Second)
		if d := c.Stats().EventsDropped; traced.Load() != d {
			t.Errorf("%d dropped, %d traced", d, traced.Load())
		}
		if d := c.Stats().EventsDropped; n.Load()+d != 100 || d < 85 {
			t.Errorf("%d dropped, %d received", d, n.Load())
		}
	})
}

// An error, a panic or a Goexit in OnEvent or OnRequest ends the connection, and only that.
func TestI9_EventFails(t *testing.T) {
	boom := errors.New("boom")
	for name, end := range map[string]func() error{
		"error": func() error { return boom }, "panic": func() error { panic("boom") }, "goexit": func() error { runtime.Goexit(); return nil },
	} {
		for _, kind := range []string{"E", "A"} {
			t.Run(name+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var conns atomic.Int64
					s := listenMem(t, func(p *peer) {
						first := conns.Add(1) == 1
						for {
							_, id, text, ok := p.read()
							if !ok {
								return
							}
							p.send("R%s %s", id, text)
							if first {
								p.send("%s x", kind)
							}
						}
					})
					var mu sync.Mutex
					var causes []error
					c, _ := newClient(t, s, mux.Config{
						Codec: plain{}, OnEvent: func(context.Context, mux.Message) error { return end() },
						OnRequest: func(context.Context, mux.Message) (*mux.Message, error) { return nil, end() },
						Trace: &mux.Trace{Disconnected: func(e mux.ConnEvent) {
							mu.Lock()
							causes = append(causes, e.Err)
							mu.Unlock()
						}},
					})
					ask(t, c, "one")
					time.Sleep(time.Second)
					ask(t, c, "two")
					mu.Lock()
					defer mu.Unlock()
					if len(causes) != 1 || conns.Load() != 2 {
						t.Error(causes, conns.Load())
					}
				})
			})
		}
	}
	_ = resource.ErrGoexit
}

// Requests of the server are answered, many at once.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan string, 100)
		s := listenMem(t, func(p *peer) {
			for {
				_, m, err := p.ws.ReadMessage()
				if err != nil {
					return
				}
				if m[0] == 'C' {
					for i := range 50 {
						p.send("A%d", i)
					}
					p.send("R%s", m[1:])
				} else {
					answers <- string(m)
				}
			}
		})
		var running, most atomic.Int64
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxAsks: 10, OnRequest: func(_ context.Context, m mux.Message) (*mux.Message, error) {
			n := running.Add(1)
			most.Store(max(most.Load(), n))
			time.Sleep(time.Second)
			running.Add(-1)
			return &mux.Message{Type: m.Type, Data: append([]byte("answer "), m.Data...)}, nil
		}})
		ask(t, c, "x")
		began := time.Now()
		seen := map[string]bool{}
		for range 50 {
			seen[<-answers] = true
		}
		if len(seen) != 50 || most.Load() != 10 || time.Since(began) > 6*time.Second {
			t.Error(len(seen), most.Load(), time.Since(began))
		}
	})
}

// A server that sends requests and does not read the answers gets no more than MaxAsks of them: no
// more wait to be written, and the other requests wait for OnRequest. When it reads again all are
// answered.
func TestRequests_ServerDoesNotRead(t *testing.T) {
	const requests, most, size = 40, 4, 8 << 10
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int64
		reads := make(chan struct{})
		s := listenMemOf(t, size/2, func(p *peer) { // no answer fits whole
			_, id, text, _ := p.read()
			p.send("R%s %s", id, text)
			for i := range requests {
				p.send("A%d", i)
			}
			<-reads
			for {
				if _, _, _, ok := p.read(); !ok {
					return
				}
				seen.Add(1)
			}
		})
		var ran atomic.Int64
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxAsks: most, OnRequest: func(_ context.Context, m mux.Message) (*mux.Message, error) {
			ran.Add(1)
			return &mux.Message{Type: m.Type, Data: make([]byte, size)}, nil
		}})
		ask(t, c, "x")
		synctest.Wait()
		if n := ran.Load(); n != most {
			t.Errorf("%d requests were answered while no answer was read, want %d", n, most)
		}
		close(reads)
		synctest.Wait()
		if ran.Load() != requests || seen.Load() != requests {
			t.Errorf("%d of %d requests were answered, and %d answers arrived", ran.Load(), requests, seen.Load())
		}
	})
}

// The end of a connection ends the answers that wait to be written.
func TestRequests_EndWhileAnswersWait(t *testing.T) {
	for _, how := range []string{"cut", "closed client"} {
		synctest.Test(t, func(t *testing.T) {
			cut := make(chan struct{})
			s := listenMemOf(t, 4<<10, func(p *peer) {
				_, id, text, _ := p.read()
				p.send("R%s %s", id, text)
				for i := range 10 {
					p.send("A%d", i)
				}
				<-cut
			})
			var ended atomic.Int64
			c, _ := newClient(t, s, mux.Config{
				Codec: plain{}, MaxAsks: 4, Trace: &mux.Trace{Disconnected: func(mux.ConnEvent) { ended.Add(1) }},
				OnRequest: func(_ context.Context, m mux.Message) (*mux.Message, error) {
					return &mux.Message{Type: m.Type, Data: make([]byte, 8<<10)}, nil
				},
			})
			ask(t, c, "x")
			synctest.Wait()
			if how == "cut" {
				close(cut)
			} else {
				defer close(cut)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close: %v", err)
				}
			}
			synctest.Wait()
			if n := ended.Load(); n != 1 {
				t.Errorf("%s: %d connections have ended", how, n)
			}
		})
	}
}

// A long event that arrives in parts, while no call is in flight, reaches OnEvent whole, and costs no
// connection.
func TestEvents_LongInParts(t *testing.T) {
	const size = 60_000
	synctest.Test(t, func(t *testing.T) {
		events := make(chan int, 10)
		s := listenMem(t, func(p *peer) {
			for {
				_, id, text, ok := p.read()
				if !ok {
					return
				}
				p.send("R%s %s", id, text)
				time.Sleep(time.Second)
				w, err := p.ws.NextWriter(1)
				if err != nil {
					return
				}
				fmt.Fprint(w, "E ")
				for range 3 {
					w.Write(make([]byte, size/3))
					time.Sleep(time.Second)
				}
				w.Close()
			}
		})
		c, p := newClient(t, s, mux.Config{Codec: plain{}, OnEvent: func(_ context.Context, m mux.Message) error {
			events <- len(text(m))
			return nil
		}})
		for range 2 {
			began := time.Now()
			ask(t, c, "x")
			if n := <-events; n != size || time.Since(began) != 4*time.Second {
				t.Errorf("an event of %d bytes after %v", n, time.Since(began))
			}
		}
		if s := p.Stats(); s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%v", s)
		}
	})
}
