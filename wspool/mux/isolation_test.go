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

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// I13: a server that repeats a reply reaches no other call, though the connection was given back to the
// pool meanwhile and leased again, by this client or another one.
func TestI13_RepeatedReplyAfterGivingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			var said []string
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' {
					for _, m := range said {
						p.send("%s", m)
					}
					said = append(said, "R"+id+" "+text)
					p.send("R%s %s", id, text)
				}
			}
		})
		s.cfg.MaxSize = 1
		c, p := newClient(t, s, mux.Config{Codec: plain{}, IdleAfter: time.Second})
		other, err := mux.New(p, mux.Config{Codec: plain{}, IdleAfter: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close(t.Context())
		for n := range 20 {
			for k := range 1 + n%3 {
				ask(t, c, fmt.Sprint("mine ", n, " ", k))
			}
			c, other = other, c
			time.Sleep(time.Minute)
		}
		if s := p.Stats(); s.Made != 1 {
			t.Error(s)
		}
	})
}

// I13: a reply that comes after its caller has left reaches no other call, although its slot is
// wanted.
func TestI13_LateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var late []string
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind != 'C' {
					continue
				}
				if text == "late" {
					mu.Lock()
					late = append(late, id)
					mu.Unlock()
					continue
				}
				mu.Lock()
				for _, id := range late { // right before the reply that others await
					p.send("R%s late", id)
				}
				late = nil
				mu.Unlock()
				p.send("R%s %s", id, text)
				p.send("R%s %s", id, text) // and once more
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxInFlight: 2, MaxOrphans: 2, OrphanWait: -1})
		for n := range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := c.Call(ctx, mux.Request{Body: "late"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
			ask(t, c, fmt.Sprint("mine ", n))
		}
		time.Sleep(time.Second)
		if s := c.Stats(); s.Late != 400 || s.Orphans != 0 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// I7: no wake-up is lost when callers that read leave, with replies in every order.
func TestI7_LeadersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			var n atomic.Int64
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' {
					time.AfterFunc(time.Duration(n.Add(7)%11)*time.Millisecond, func() { p.send("R%s %s", id, text) })
				}
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}, MaxInFlight: 16, MaxOrphans: 64})
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for k := range 50 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					if (i+k)%3 == 0 {
						cancel()
						ctx, cancel = context.WithTimeout(t.Context(), time.Duration((i*k)%9)*time.Millisecond)
					}
					began := time.Now()
					m, err := c.Call(ctx, mux.Request{Body: fmt.Sprint(i, " ", k)})
					switch {
					case err == nil && text(m) != fmt.Sprint(i, " ", k):
						t.Errorf("%d %d got %q", i, k, m.Data)
					case err != nil && (i+k)%3 != 0:
						t.Errorf("%d %d: %v", i, k, err)
					case time.Since(began) > time.Second:
						t.Errorf("%d %d took %v", i, k, time.Since(began))
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A message that arrives in part keeps no caller beyond its context, and is received whole.
func TestLongReplyInParts(t *testing.T) {
	const size = 300_000
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				if !ok {
					return
				}
				if kind != 'C' {
					continue
				}
				if text != "long" {
					p.send("R%s %s", id, text)
					continue
				}
				w, _ := p.ws.NextWriter(1)
				fmt.Fprintf(w, "R%s ", id)
				part := make([]byte, size/3)
				for range 3 {
					w.Write(part)
					time.Sleep(time.Second)
				}
				w.Close()
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: plain{}})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				if i == 3 {
					ctx = t.Context()
				}
				began := time.Now()
				m, err := c.Call(ctx, mux.Request{Body: "long"})
				if took := time.Since(began); i < 3 && (err == nil || took > 1530*time.Millisecond) || i == 3 && (err != nil || len(text(m)) != size) {
					t.Errorf("%d: %d bytes, %v after %v", i, len(m.Data), err, took)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		ask(t, c, "short")
		if s := c.Stats(); s.Late != 3 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// I13: the messages of a stream that was closed reach no other lease, though the server learns late of
// its end. Nothing says when it has, so the connection is not given back.
func TestI13_ClosedStreamAfterGivingBack(t *testing.T) {
	ends := map[string]func(t *testing.T, c *mux.Client, st *mux.Stream){
		"idle": func(t *testing.T, _ *mux.Client, st *mux.Stream) {
			st.Close()
			time.Sleep(time.Minute)
		},
		"client closed": func(t *testing.T, c *mux.Client, _ *mux.Stream) {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		},
	}
	for _, proto := range []struct {
		name  string
		codec mux.Codec
		keys  bool
	}{{"key", keyed{}, true}, {"canceled for good", finalPlain{}, false}} {
		for name, end := range ends {
			t.Run(proto.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := listenMem(t, func(p *peer) {
						_, id, _, ok := p.read()
						if !ok {
							return
						}
						if proto.keys {
							p.send("R%s k1", id)
							p.send("Kk1: 1")
						} else {
							p.send("P%s 1", id)
						}
						for ok { // until the connection ends: a server that ignores the end of the stream
							_, _, _, ok = p.read()
						}
					})
					s.cfg.MaxSize, s.cfg.CloseTimeout = 1, time.Second
					c, p := newClient(t, s, mux.Config{Codec: proto.codec, IdleAfter: time.Second})
					st, err := c.Stream(t.Context(), mux.Request{Body: "stream"}, mux.StreamConfig{})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := st.Next(t.Context()); err != nil {
						t.Fatal(err)
					}
					end(t, c, st)
					time.Sleep(time.Minute) // until the connection is closed
					if n := p.Stats(); n.Made != 1 || n.Destroyed != 1 {
						t.Errorf("the connection was given back: %v", n)
					}
				})
			})
		}
	}
}

// I13: a client uses no id again that another one has used on the connection, whatever the limits of the two
// are: the server may repeat a reply.
func TestI13_IDsOfClientsWithOtherLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		used := map[string]bool{}
		s := listenMem(t, func(p *peer) {
			for {
				_, id, what, ok := p.read()
				if !ok {
					return
				}
				mu.Lock()
				if used[id] {
					t.Errorf("id %s is used again", id)
				}
				used[id] = true
				mu.Unlock()
				p.send("R%s %s", id, what)
			}
		})
		s.cfg.MaxSize = 1
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, cfg := range []mux.Config{
			{Codec: plain{bits: 53}}, {Codec: plain{bits: 53}, MaxInFlight: 1, MaxOrphans: 1}, {Codec: plain{bits: 53}, MaxInFlight: 1000},
		} {
			c, err := mux.New(p, cfg)
			if err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				ask(t, c, "a")
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if s := p.Stats(); s.Made != 1 {
			t.Errorf("%d connections", s.Made)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
