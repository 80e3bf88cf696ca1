package mux

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/wspool"
)

// lines is a codec whose calls are "C7 text", with "X7" to cancel them. It classifies nothing.
type lines struct{ final bool }

func (lines) IDBits() int { return 31 }

func (lines) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	return websocket.TextMessage, fmt.Appendf(dst, "C%d %v", id, body), nil
}

func (lines) AppendCancel(dst []byte, id uint64, _ []byte) (int, []byte, error) {
	return websocket.TextMessage, fmt.Appendf(dst, "X%d", id), nil
}

func (l lines) CancelFinal() bool { return l.final }

func (lines) Classify(int, []byte) (Frame, error) { return Frame{}, nil }

// deafClient returns a client of a server in memory that reads nothing until the channel is
// closed. The network holds 4 KiB.
func deafClient(t *testing.T, cfg Config) (c *Client, read chan struct{}) {
	read = make(chan struct{})
	l := memnet.Listen(4 << 10)
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		<-read
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	})}
	served := make(chan struct{})
	go func() { defer close(served); h.Serve(l) }()
	p, err := wspool.New(wspool.Config{URL: "ws://mem/", NetDial: l.Dial, MaxSize: 4, KeepAlive: -1})
	if err != nil {
		t.Fatal(err)
	}
	if c, err = New(p, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("closing the client: %v; %+v", err, c.Stats())
		}
		if err := p.Close(ctx); err != nil {
			t.Errorf("closing the pool: %v", err)
		}
		h.Close()
		<-served
	})
	return c, read
}

// A stream that is closed while the goroutine that opens it gives its request up is counted once,
// whichever of the two is first, and whether or not the request has left the outbox. If it were
// counted twice, the connection would never be empty, and Close would wait for it.
func TestStreamClosedWhileGivenUp(t *testing.T) {
	for _, queued := range []bool{false, true} {
		for _, closedFirst := range []bool{false, true} {
			for _, final := range []bool{false, true} {
				t.Run(fmt.Sprintf("queued %v, closed first %v, final %v", queued, closedFirst, final), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c, read := deafClient(t, Config{Codec: lines{final}})
						long := strings.Repeat("long ", 2000) // the network does not hold it
						r := Request{Body: long, Cost: 7}
						n, err := c.choose(t.Context(), &r, "")
						if err != nil {
							t.Fatal(err)
						}
						if queued {
							n.post(t.Context(), parcel{kind: websocket.TextMessage}, []byte(long))
						}
						s := newStream(c, StreamConfig{})
						k := new(call)
						k.init()
						k.clear(&r)
						k.stream = s
						id, ok := n.takeSlot(k)
						if !ok {
							t.Fatal("no slot")
						}
						kind, data, err := c.encode(nil, id, r.Body)
						if err != nil {
							t.Fatal(err)
						}
						n.post(t.Context(), parcel{kind: kind, id: id, call: k}, data)
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						if n.awaitWritten(ctx, k) {
							t.Fatal("the request is written")
						}
						if closedFirst {
							s.Close()
						}
						n.giveUp(context.Cause(ctx), id, k)
						if !closedFirst {
							s.Close()
						}

						fate, orphans := ErrMayHaveRun, 1
						if queued {
							fate = ErrNotSent
						}
						if queued || final {
							orphans = 0
						}
						if k.fate != fate || !errors.Is(k.err, context.Canceled) {
							t.Errorf("%v, %v; want %v", k.fate, k.err, fate)
						}
						n.mu.Lock()
						if n.slots.live != 0 || n.slots.orphans != orphans || n.load.Load() != 0 || len(n.streams) != 0 || n.reserved != 0 {
							t.Errorf("%d live, %d orphans, want %d; load %d, %d streams, %d reserved",
								n.slots.live, n.slots.orphans, orphans, n.load.Load(), len(n.streams), n.reserved)
						}
						n.mu.Unlock()
						close(read)
						synctest.Wait()
					})
				})
			}
		}
	}
}

// Of the calls of a batch whose write has failed only those may have run that were sent whole, though a
// reader finds the end of the connection first: they get their fate, and its cause, from the write. A
// caller that gives up before that may have run, and is not touched later.
func TestConn_WriteFails(t *testing.T) {
	const calls = 3
	cut := errors.New("cut")
	for whole := range calls + 1 {
		for _, readerFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d whole, reader first %v", whole, readerFirst), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, read := deafClient(t, Config{Codec: lines{}})
					defer close(read)
					r := Request{Body: strings.Repeat("long ", 1000)} // the network does not hold it
					var n *conn
					var ids [calls]uint64
					var all [calls]*call
					for i := range all {
						var err error
						if n, err = c.choose(t.Context(), &r, ""); err != nil {
							t.Fatal(err)
						}
						k := new(call)
						k.init()
						k.clear(&r)
						ok := false
						if ids[i], ok = n.takeSlot(k); !ok {
							t.Fatal("no slot")
						}
						all[i] = k
					}
					n.mu.Lock()
					n.writing = true                // so that the calls are in one batch
					n.written = func(int, error) {} // the test says how the write ends
					n.mu.Unlock()
					for i, id := range ids {
						kind, data, err := c.encode(nil, id, r.Body)
						if err != nil {
							t.Fatal(err)
						}
						if !n.post(t.Context(), parcel{kind: kind, id: id}, data) {
							t.Fatalf("call %d was not added", i)
						}
					}
					n.flush(1)
					fails := cut
					if readerFirst {
						n.fail(cut)
						fails = wspool.ErrReleased
						for i, k := range all {
							if k.ready.Load() {
								t.Errorf("call %d has its fate before the write has ended", i)
							}
						}
						gone, cancel := context.WithCancelCause(t.Context())
						cancel(cut)
						n.giveUp(context.Cause(gone), ids[calls-1], all[calls-1])
						if k := all[calls-1]; k.err != cut || k.fate != ErrMayHaveRun {
							t.Errorf("given up: %v, %v", k.fate, k.err)
						}
					}
					n.batchEnded(whole, fails)
					for i, k := range all {
						want := ErrNotSent
						if i < whole {
							want = ErrMayHaveRun
						}
						if readerFirst && i == calls-1 {
							if k.ready.Load() || k.fate != ErrMayHaveRun {
								t.Errorf("touched later: %v, %v", k.fate, k.err)
							}
							continue
						}
						if !k.ready.Load() || k.fate != want || k.err != cut {
							t.Errorf("call %d: ready %v, %v, %v; want %v", i, k.ready.Load(), k.fate, k.err, want)
						}
					}
				})
			})
		}
	}
}

// A connection to the server that is to be avoided is the last to be chosen.
func TestLoadOf_Avoided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		defer n.unreserve()
		if n.server != n.ws.RemoteAddr().String() || n.server == "" {
			t.Errorf("the server is %q", n.server)
		}
		n.load.Add(3)
		defer n.load.Add(-3)
		for avoid, want := range map[string]int64{"": 3, n.server: 3 + avoided, "another": 3} {
			if got := loadOf(n, avoid); got != want {
				t.Errorf("avoiding %q: a load of %d, want %d", avoid, got, want)
			}
		}
		if full := int64(maxSlots); loadOf(n, n.server) <= full {
			t.Errorf("a load of %d, less than that of a connection with %d calls", loadOf(n, n.server), full)
		}
	})
}

// The goroutine of a caller writes flushRounds batches, and has another goroutine write the rest. On a
// socket, since in memory every batch is written in the background.
func TestFlush_HandsOver(t *testing.T) {
	got := make(chan string, 100)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			_, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			got <- string(p)
		}
	}))
	defer h.Close()
	p, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(h.URL, "http"), MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(p, Config{Codec: lines{}, MaxBatch: 1}) // one message in each batch
	if err != nil {
		t.Fatal(err)
	}
	defer p.CloseNow()
	n, err := c.choose(t.Context(), &Request{}, "")
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, messages := range []int{flushRounds - 1, flushRounds, flushRounds + 1, 5 * flushRounds} {
		n.mu.Lock()
		n.writing = true // as if this goroutine had added the first message
		n.mu.Unlock()
		for i := range messages {
			if !n.post(t.Context(), parcel{kind: websocket.TextMessage}, fmt.Append(nil, next+i)) {
				t.Fatal("not added")
			}
		}
		n.flush(flushRounds)
		for range messages {
			select {
			case m := <-got:
				if m != fmt.Sprint(next) {
					t.Errorf("the server got %s, want %d", m, next)
				}
				next++
			case <-time.After(20 * time.Second):
				t.Fatalf("message %d is not written", next)
			}
		}
		// The goroutine that has written the last message finds the outbox empty soon.
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // between looks
			n.mu.Lock()
			writing := n.writing
			n.mu.Unlock()
			if !writing {
				break
			}
			if time.Now().After(end) {
				t.Fatal("a goroutine writes for ever")
			}
		}
	}
	n.unreserve()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// A stream that is lost when its client is closed already, and that cannot be resumed for that,
// ends.
func TestStreamLostAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		s := newStream(c, StreamConfig{Resume: func(Message) (Request, bool) { return Request{}, true }})
		s.cause = errors.New("lost")
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.opened()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for {
			i, err := s.Next(ctx)
			if err != nil && err != ErrClosed {
				t.Errorf("Next: %v", err)
			}
			if err != nil {
				return
			}
			if i.Gap == nil {
				t.Errorf("%+v", i)
			}
		}
	})
}

// A goroutine that has read for all ends that once. To have another one read is then up to its caller: that
// one may have begun to read already.
func TestLead_EndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		defer n.unreserve()
		var own, other waiter
		own.init()
		other.init()
		n.mu.Lock()
		n.leading = true
		n.waiters.add(&other)
		n.mu.Unlock()
		n.lead(over, &own)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.leading || len(other.wake) > 0 {
			t.Errorf("still reading: %v; another waiter was woken: %v", n.leading, len(other.wake) > 0)
		}
		n.waiters.remove(&other)
	})
}

// ending is a codec that calls a function before it encodes a call.
type ending struct {
	lines
	before *func()
}

func (e ending) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	(*e.before)()
	return e.lines.Append(dst, id, body)
}

// A call is not sent if its connection or its context ends before it is in the outbox. In the first case
// another connection can take it.
func TestDo_EndsBeforeItIsPosted(t *testing.T) {
	for _, canceled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			before := func() {}
			c, read := deafClient(t, Config{Codec: ending{before: &before}})
			close(read)
			r := Request{Body: "x"}
			n, err := c.choose(t.Context(), &r, "")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := errElsewhere
			before = func() { n.fail(errors.New("cut")) }
			if canceled {
				before, want = cancel, context.Canceled
			}
			k := c.getCall(&r)
			if m, err := n.do(ctx, k, &r); !errors.Is(err, want) || k.fate != ErrNotSent || k.flown || m.Data != nil {
				t.Errorf("canceled %v: %q, %v; fate %v, flown %v", canceled, m.Data, err, k.fate, k.flown)
			}
			if n.slots.live != 0 || n.load.Load() != 0 {
				t.Errorf("canceled %v: %d are in flight, with a load of %d", canceled, n.slots.live, n.load.Load())
			}
		})
	}
}

// giveUp changes nothing if the reply was there first.
func TestGiveUp_AfterTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		r := Request{Body: "x"}
		n, err := c.choose(t.Context(), &r, "")
		if err != nil {
			t.Fatal(err)
		}
		k := c.getCall(&r)
		id, ok := n.takeSlot(k)
		if !ok || !n.post(t.Context(), parcel{kind: websocket.TextMessage, id: id}, []byte("x")) {
			t.Fatal("not sent")
		}
		synctest.Wait()
		n.deliver(Frame{Kind: Reply, ID: id}, Message{Data: []byte("re")})
		next := c.getCall(&r) // may have the slot now
		if !n.reserve() {
			t.Fatal("no room")
		}
		nextID, ok := n.takeSlot(next)
		if !ok {
			t.Fatal("no slot")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n.giveUp(context.Cause(ctx), id, k)
		if k.err != nil || string(k.reply.Data) != "re" || n.slots.orphans != 0 || n.slots.live != 1 || n.stats.orphaned != 0 {
			t.Errorf("%q, %v; %d orphans, %d in flight, %d were orphans", k.reply.Data, k.err, n.slots.orphans, n.slots.live, n.stats.orphaned)
		}
		n.giveSlotBack(nextID, next)
	})
}

// Of the calls of a connection that ends those that wait in the outbox were not sent, and neither were
// those that the network has not taken whole; of messages without an id likewise.
func TestFail_Fates(t *testing.T) {
	for _, flown := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, read := deafClient(t, Config{Codec: lines{}})
			defer close(read)
			r := Request{Body: "x"}
			n, err := c.choose(t.Context(), &r, "")
			if err != nil {
				t.Fatal(err)
			}
			long := []byte(strings.Repeat("long ", 1000)) // the network does not hold it
			if !flown {
				n.post(t.Context(), parcel{kind: websocket.TextMessage}, long)
			}
			k, message := c.getCall(&r), c.getCall(&r)
			id, ok := n.takeSlot(k)
			n.mu.Lock()
			writing := n.writing
			n.writing = true // so that both are in one batch
			n.mu.Unlock()
			if !ok || writing == flown || !n.post(t.Context(), parcel{kind: websocket.TextMessage, id: id}, long) ||
				!n.post(t.Context(), parcel{kind: websocket.TextMessage, call: message}, long) {
				t.Fatal("not added")
			}
			if flown {
				n.flush(1)
			}
			cut := errors.New("cut")
			n.fail(cut)
			synctest.Wait() // the write ends, and says what it has written
			for what, k := range map[string]*call{"call": k, "message": message} {
				if !k.ready.Load() || k.err != cut || k.fate != ErrNotSent {
					t.Errorf("flown %v: a %s: ready %v, %v, %v; want %v", flown, what, k.ready.Load(), k.err, k.fate, ErrNotSent)
				}
			}
		})
	}
}

// A call whose connection ends while its message is written may have run if the write succeeds after
// all: it has no reply, and is not answered.
func TestBatchEnded_AfterFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		defer close(read)
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		cut := errors.New("cut")
		n.fail(cut)
		k := c.getCall(&Request{})
		n.mu.Lock()
		n.out.sending = []parcel{{call: k, lost: true}} // as fail leaves it
		n.mu.Unlock()
		if !n.batchEnded(1, nil) || !k.ready.Load() || k.err != cut || k.fate != ErrMayHaveRun {
			t.Errorf("ready %v, %v, %v", k.ready.Load(), k.err, k.fate)
		}
	})
}

// The next attempt of a call is the same call, of the same stream, and is counted.
func TestAttempts_Stream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		s := newStream(c, StreamConfig{})
		r := Request{Body: "x"}
		k := c.getCall(&r)
		k.stream = s
		tries := 0
		err := c.attempts(t.Context(), k, &r, func(n *conn) error {
			n.unreserve()
			if k.stream != s {
				t.Error("the stream is forgotten")
			}
			if tries++; tries == 1 {
				k.err, k.fate = errElsewhere, ErrNotSent
				return errElsewhere
			}
			return nil
		})
		if st := c.Stats(); err != nil || tries != 2 || st.Retried != 1 || st.NotSent != 0 {
			t.Errorf("%v after %d attempts; %+v", err, tries, st)
		}
	})
}

// When a connection without calls is drained, its lease ends, and with it the context of the functions
// for its events and the timer that would break the draining off.
func TestDrain_EndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}, OnEvent: func(context.Context, Message) error { return nil }})
		close(read)
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		drained := errors.New("drained")
		n.drain(drained)
		if n.ctx.Err() != nil {
			t.Error("the context has ended though a call has its slot")
		}
		n.unreserve()
		synctest.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.state != ended || context.Cause(n.ctx) != drained {
			t.Errorf("state %v, the context: %v", n.state, context.Cause(n.ctx))
		}
		if n.deadline.Stop() {
			t.Error("the timer is left")
		}
	})
}

// Of the messages without an id of a batch whose write has failed only those may have arrived that were
// written whole.
func TestBatchEnded_Messages(t *testing.T) {
	for whole := range 3 {
		synctest.Test(t, func(t *testing.T) {
			c, read := deafClient(t, Config{Codec: lines{}})
			defer close(read)
			n, err := c.choose(t.Context(), &Request{}, "")
			if err != nil {
				t.Fatal(err)
			}
			n.mu.Lock()
			n.writing = true // so that both are in one batch
			n.mu.Unlock()
			var all [2]*call
			for i := range all {
				all[i] = c.getCall(&Request{})
				if !n.post(t.Context(), parcel{kind: websocket.TextMessage, call: all[i]}, []byte(strings.Repeat("long ", 1000))) {
					t.Fatal("not added")
				}
			}
			n.flush(1)
			cut := errors.New("cut")
			n.batchEnded(whole, cut)
			for i, k := range all {
				want := ErrNotSent
				if i < whole {
					want = ErrMayHaveRun
				}
				if !k.ready.Load() || k.err != cut || k.fate != want {
					t.Errorf("%d whole: message %d: ready %v, %v, %v; want %v", whole, i, k.ready.Load(), k.err, k.fate, want)
				}
			}
			n.unreserve()
		})
	}
}

// A stream keeps the error with which it has ended first, except that Close is final.
func TestStream_FinishedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		s := newStream(c, StreamConfig{})
		for _, step := range []struct{ err, want error }{
			{ErrOverflow, ErrOverflow}, {ErrClosed, ErrOverflow}, {ErrStreamClosed, ErrStreamClosed}, {ErrClosed, ErrStreamClosed},
		} {
			s.finish(step.err, false)
			if _, err := s.Next(t.Context()); err != step.want {
				t.Errorf("after %v Next fails with %v, want %v", step.err, err, step.want)
			}
		}
	})
}

// A reply to a call that was not sent yet is none.
func TestDeliver_BeforeItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		r := Request{Body: "x"}
		n, err := c.choose(t.Context(), &r, "")
		if err != nil {
			t.Fatal(err)
		}
		k := c.getCall(&r)
		id, ok := n.takeSlot(k)
		if !ok {
			t.Fatal("no slot")
		}
		for _, kind := range []Kind{Reply, Part, End} {
			n.deliver(Frame{Kind: kind, ID: id}, Message{Data: []byte("re")})
		}
		if k.ready.Load() || k.reply.Data != nil || n.slots.live != 1 || n.stats.unknown != 3 {
			t.Errorf("ready %v, %q; %d in flight, %d unknown", k.ready.Load(), k.reply.Data, n.slots.live, n.stats.unknown)
		}
		n.giveSlotBack(id, k)
	})
}

// A message for a stream that has ended is late, and no message that found the buffer full.
func TestToStream_Late(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		defer n.unreserve()
		s := newStream(c, StreamConfig{})
		s.conn = n
		s.err = ErrStreamClosed // as Close does before it takes the stream off the connection
		n.toStream(s, Frame{Kind: Part}, Message{})
		n.toStream(nil, Frame{Kind: Part}, Message{})
		if n.stats.late != 2 || n.stats.streamDropped != 0 {
			t.Errorf("%d are late, %d have found the buffer full", n.stats.late, n.stats.streamDropped)
		}
	})
}

// A stream whose connection ends before the stream is opened is resumed then.
func TestStream_LostWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		s := newStream(c, StreamConfig{Resume: func(Message) (Request, bool) { return Request{}, true }})
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		n.attachLocked(s, 1, "", Message{})
		n.mu.Unlock()
		n.fail(errors.New("cut"))
		n.mu.Lock()
		if n.streams != nil {
			t.Error("a connection that has ended refers to its streams")
		}
		n.mu.Unlock()
		s.opened()
		time.Sleep(time.Second) // virtual: the pauses of resume
		s.mu.Lock()
		if s.conn == nil || s.conn == n || c.stats.resumes.Load() != 1 {
			t.Errorf("resumed %d times; on another connection: %v", c.stats.resumes.Load(), s.conn != nil && s.conn != n)
		}
		s.mu.Unlock()
		s.Close()
	})
}

// A Next that reads leaves a connection that is drained when its stream does, so that the lease ends,
// however long it takes to resume the stream.
func TestStream_NextLeavesWhatIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		resume := make(chan struct{})
		s := newStream(c, StreamConfig{Resume: func(Message) (Request, bool) { <-resume; return Request{}, true }})
		n, err := c.choose(t.Context(), &Request{}, "")
		if err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		n.attachLocked(s, 1, "", Message{})
		n.mu.Unlock()
		n.unreserve()
		s.opened()
		next := make(chan error)
		go func() {
			_, err := s.Next(t.Context())
			next <- err
		}()
		synctest.Wait() // Next reads
		n.drain(errors.New("drained"))
		synctest.Wait()
		n.mu.Lock()
		if n.state != ended {
			t.Errorf("the connection that was drained is in state %v", n.state)
		}
		n.mu.Unlock()
		close(resume)
		if err := <-next; err != nil { // the gap
			t.Errorf("Next fails with %v", err)
		}
		s.Close()
	})
}
