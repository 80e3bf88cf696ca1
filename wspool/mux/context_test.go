package mux_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// nosyContext calls look whenever it is asked something.
type nosyContext struct {
	context.Context
	look func()
}

func (c nosyContext) Err() error                  { c.look(); return c.Context.Err() }
func (c nosyContext) Done() <-chan struct{}       { c.look(); return c.Context.Done() }
func (c nosyContext) Value(key any) any           { c.look(); return c.Context.Value(key) }
func (c nosyContext) Deadline() (time.Time, bool) { c.look(); return c.Context.Deadline() }

// I5: a context may use the client and the stream for which it is asked.
func TestI5_ContextsOfCalls(t *testing.T) {
	defer time.AfterFunc(patience, func() { panic("a context was asked with a lock held") }).Stop()
	silent := make(chan struct{}, 1)
	s := listen(t, func(p *peer) {
		for {
			kind, id, text, ok := p.read()
			switch {
			case !ok:
				return
			case kind != 'C':
			case text == "silent":
				silent <- struct{}{}
			case text == "subscribe":
				p.send("R%s k%s", id, id)
			default:
				p.send("R%s %s", id, text)
			}
		}
	})
	c, pool := newClient(t, s, mux.Config{Codec: keyed{}, MaxInFlight: 1})
	var stream atomic.Pointer[mux.Stream]
	nosy := func(ctx context.Context) context.Context {
		return nosyContext{ctx, func() {
			c.Stats()
			if st := stream.Load(); st != nil {
				st.Reply()
			}
		}}
	}
	brief := func(f func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return f(nosy(ctx))
	}
	call := func(ctx context.Context, what string) error {
		_, err := c.Call(ctx, mux.Request{Body: what})
		return err
	}
	if err := call(nosy(t.Context()), "a call"); err != nil {
		t.Error(err)
	}
	if err := c.Notify(nosy(t.Context()), "a message"); err != nil {
		t.Error(err)
	}
	err := brief(func(ctx context.Context) error { return call(ctx, "silent") })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, mux.ErrMayHaveRun) {
		t.Errorf("a call without a reply: %v", err)
	}
	<-silent

	held, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- call(nosy(held), "silent") }()
	<-silent
	err = brief(func(ctx context.Context) error { return call(ctx, "in line") })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, mux.ErrNotSent) {
		t.Errorf("a call in line: %v", err)
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was canceled: %v", err)
	}

	r := mux.Request{Body: "subscribe"}
	st, err := c.Stream(nosy(t.Context()), r, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return r, true }})
	if err != nil {
		t.Fatal(err)
	}
	stream.Store(st)
	if err := brief(func(ctx context.Context) error { _, err := st.Next(ctx); return err }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	next := make(chan error)
	go func() {
		i, err := st.Next(nosy(t.Context()))
		if err == nil && i.Gap == nil {
			err = errors.New("no gap")
		}
		next <- err
		_, err = st.Next(nosy(t.Context()))
		next <- err
	}()
	pool.Reset(nil)
	if err := <-next; err != nil {
		t.Errorf("a stream that moves: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { st.Close() }) // Next waits by then, or does not wait
	if err := <-next; err != mux.ErrStreamClosed {
		t.Errorf("a stream that is closed: %v", err)
	}
	if err := c.Close(nosy(t.Context())); err != nil {
		t.Error(err)
	}
}

// fragileContext panics when it is asked for the n-th time.
type fragileContext struct {
	context.Context
	n *int
}

func (c fragileContext) ask() {
	if *c.n--; *c.n == 0 {
		panic("fragile")
	}
}

func (c fragileContext) Err() error            { c.ask(); return c.Context.Err() }
func (c fragileContext) Done() <-chan struct{} { c.ask(); return c.Context.Done() }

// I9: a context that panics costs its own call, wherever that is then.
func TestI9_ContextPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first string
		s := listenMem(t, func(p *peer) {
			for {
				kind, id, text, ok := p.read()
				switch {
				case !ok:
					return
				case kind != 'C' || text == "late":
				case text == "first":
					first = id
				case text == "now":
					p.send("R%s first", first)
					p.send("R%s now", id)
				default:
					p.send("R%s %s", id, text)
				}
			}
		})
		c, _ := newClient(t, s, muxConfig())
		panics := 0
		for n := 1; ; n++ {
			done := make(chan struct{})
			go func() { defer close(done); ask(t, c, "first") }() // it reads for all
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			left, broke := n, true
			func() {
				defer func() { _ = recover() }()
				c.Call(fragileContext{ctx, &left}, mux.Request{Body: "late"})
				broke = false
			}()
			cancel()
			ask(t, c, "now")
			<-done
			if s := c.Stats(); s.InFlight != 0 || s.Waiting != 0 {
				t.Fatalf("a panic in the answer to question %d: %v", n, s)
			}
			if !broke {
				break
			}
			panics++
		}
		if panics < 4 {
			t.Errorf("the context was asked %d times", panics)
		}
	})
}

// A context that closes Done, and has no error, has ended.
func TestCall_ContextWithoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, func(p *peer) {
			for _, _, _, ok := p.read(); ok; _, _, _, ok = p.read() {
			}
		}), muxConfig())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		other := make(chan struct{})
		go func() { defer close(other); c.Call(ctx, mux.Request{Body: "it reads for all"}) }()
		synctest.Wait()
		if m, err := c.Call(errorless{ctx}, mux.Request{Body: "x"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%q, %v", m.Data, err)
		}
		<-other
	})
}

type errorless struct{ context.Context }

func (errorless) Err() error    { return nil }
func (errorless) Value(any) any { return nil }

// endsContext is plain that ends a context while it encodes.
type endsContext struct {
	plain
	cancel context.CancelCauseFunc
}

func (e endsContext) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	e.cancel(errWhy)
	return e.plain.Append(dst, id, body)
}

var errWhy = errors.New("why")

// A call whose context ends before it is sent on another connection, as a large message is, fails with the
// error of the context.
func TestCall_GivenUpBetweenConnections(t *testing.T) {
	for _, bulk := range []int{1, -1} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			c, _ := newClient(t, listenMem(t, echo), mux.Config{Codec: endsContext{cancel: cancel}, Bulk: bulk})
			_, err := c.Call(ctx, mux.Request{Body: "large"})
			if !errors.Is(err, errWhy) || !errors.Is(err, mux.ErrNotSent) {
				t.Errorf("Bulk %d: %v", bulk, err)
			}
		})
	}
}
