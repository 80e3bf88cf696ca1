package mux_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/mux"
)

// hollowError is an error of which each method panics if it is a nil pointer, as a function returns
// that declares its error with this type.
type hollowError struct{ inner error }

func (e *hollowError) Error() string { return "hollow: " + e.inner.Error() }
func (e *hollowError) Unwrap() error { return e.inner }

func hollow() error { var e *hollowError; return e }

func isHollow(err error) bool { _, ok := err.(*hollowError); return ok }

// hollowCodec fails with a hollow error where a message is "hollow".
type hollowCodec struct{ keyed }

func (c hollowCodec) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	if body == "hollow" {
		return 0, dst, hollow()
	}
	return c.keyed.Append(dst, id, body)
}

func (c hollowCodec) AppendCancel(dst []byte, id uint64, key []byte) (int, []byte, error) {
	return 0, dst, hollow()
}

func (c hollowCodec) Classify(kind int, data []byte) (mux.Frame, error) {
	if bytes.HasPrefix(data, []byte("hollow")) {
		return mux.Frame{}, hollow()
	}
	return c.keyed.Classify(kind, data)
}

func (c hollowCodec) StreamKey(m mux.Message) ([]byte, error) {
	if text(m) == "hollow" {
		return nil, hollow()
	}
	return c.keyed.StreamKey(m)
}

// I9: an error of the user whose methods panic costs one call, stream or connection.
func TestI9_HollowErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    func(t *testing.T, c *mux.Client, reset, cut func())
	}{
		{"Append", func(t *testing.T, c *mux.Client, _, _ func()) {
			_, err := c.Call(t.Context(), mux.Request{Body: "hollow"})
			if e, ok := err.(*mux.CallError); !ok || e.Fate != mux.ErrNotSent {
				t.Error("a call did not fail as one that was not sent")
			}
			if c.Notify(t.Context(), "hollow") == nil {
				t.Error("Notify did not fail")
			}
		}},
		{"AppendCancel", func(t *testing.T, c *mux.Client, _, _ func()) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Call(ctx, mux.Request{Body: "silent"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}},
		{"Classify", func(t *testing.T, c *mux.Client, _, _ func()) {
			ask(t, c, "say hollow")
			ask(t, c, "x")
			if n := c.Stats().Bad; n != 1 {
				t.Errorf("%d messages were bad", n)
			}
		}},
		{"StreamKey", func(t *testing.T, c *mux.Client, _, _ func()) {
			if _, err := c.Stream(t.Context(), mux.Request{Body: "hollow key"}, mux.StreamConfig{}); !isHollow(err) {
				t.Error("the subscription did not fail with the error of StreamKey")
			}
		}},
		{"StreamKey of a stream that is resumed", func(t *testing.T, c *mux.Client, _, cut func()) {
			st, err := c.Stream(t.Context(), mux.Request{Body: "key"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) {
				return mux.Request{Body: "hollow key"}, true
			}})
			if err != nil {
				t.Fatal(err)
			}
			cut()
			if _, err := st.Next(t.Context()); !isHollow(err) {
				t.Error("the stream did not fail with the error of StreamKey")
			}
		}},
		{"request of a stream that is resumed", func(t *testing.T, c *mux.Client, _, cut func()) {
			var asked atomic.Bool
			st, err := c.Stream(t.Context(), mux.Request{Body: "key"}, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) {
				return mux.Request{Body: "hollow"}, !asked.Swap(true)
			}})
			if err != nil {
				t.Fatal(err)
			}
			cut()
			if _, err := st.Next(t.Context()); err == nil {
				t.Error("the stream did not end")
			}
		}},
		{"OnEvent", func(t *testing.T, c *mux.Client, _, _ func()) { ask(t, c, "say E x") }},
		{"OnRequest", func(t *testing.T, c *mux.Client, _, _ func()) { ask(t, c, "say A x") }},
		{"Reset", func(t *testing.T, c *mux.Client, reset, _ func()) {
			reset()
			time.Sleep(time.Second) // in the bubble of the loop below
			if s := c.Stats(); len(s.Conns) > 0 {
				t.Errorf("the connection is kept: %v", s)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := listenMem(t, func(p *peer) {
					for {
						kind, id, what, ok := p.read()
						switch {
						case !ok:
							return
						case kind != 'C' || what == "silent":
						case what == "hollow key":
							p.send("R%s hollow", id)
						default:
							p.send("R%s %s", id, what)
							if len(what) > 4 && what[:4] == "say " {
								p.send("%s", what[4:])
							}
						}
					}
				})
				s.cfg.MaxSize = 1
				c, pool := newClient(t, s, mux.Config{
					Codec: hollowCodec{}, MaxInFlight: 2,
					OnEvent:   func(context.Context, mux.Message) error { return hollow() },
					OnRequest: func(context.Context, mux.Message) (*mux.Message, error) { return nil, hollow() },
				})
				ask(t, c, "before")
				tc.f(t, c, func() { pool.Reset(hollow()) }, s.cut)
				time.Sleep(10 * time.Second)
				ask(t, c, "after")
				ask(t, c, "again")
			})
		})
	}
}

// I9: a StreamKey that ends its goroutine fails its own stream at once, even if that was the goroutine
// of another call, which reads for all.
func TestI9_StreamKeyEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, what, ok := p.read()
				if !ok {
					return
				}
				if kind == 'C' && what != "silent" {
					p.send("R%s %s", id, what)
				}
			}
		})
		c, _ := newClient(t, s, mux.Config{Codec: exiting{}})
		ended := make(chan struct{})
		go func() { defer close(ended); c.Call(t.Context(), mux.Request{Body: "silent"}) }()
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Stream(ctx, mux.Request{Body: "x"}, mux.StreamConfig{}); !errors.Is(err, resource.ErrGoexit) {
			t.Errorf("Stream: %v", err)
		}
		<-ended
		ask(t, c, "x")
		if s := c.Stats(); time.Since(began) > 0 || s.InFlight != 0 || s.Orphans != 1 {
			t.Errorf("after %v: %v", time.Since(began), s)
		}
	})
}

type exiting struct{ keyed }

func (exiting) StreamKey(mux.Message) ([]byte, error) { runtime.Goexit(); return nil, nil }
