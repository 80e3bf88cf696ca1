package mux

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
)

// chosen returns a connection of c that has promised a slot.
func chosen(t *testing.T, c *Client) *conn {
	t.Helper()
	n, err := c.choose(t.Context(), &Request{}, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A connection promises as many slots as it has left, and an exclusive one promises one.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 5
		c, read := deafClient(t, Config{Codec: lines{}, MaxConns: 1, MaxInFlight: most})
		close(read)
		n := chosen(t, c)
		k := c.getCall(&Request{})
		id, ok := n.takeSlot(k)
		if !ok {
			t.Fatal("no slot")
		}
		promised := 0
		for promised < 2*most && n.reserve() {
			promised++
		}
		if promised != most-1 {
			t.Errorf("%d slots are promised beside a call, want %d", promised, most-1)
		}
		for range promised {
			n.unreserve()
		}
		n.giveSlotBack(id, k)

		alone, err := c.exclusive(t.Context(), resource.Request{Shared: true})
		if err != nil {
			t.Fatal(err)
		}
		if alone.reserve() {
			t.Error("an exclusive connection has promised two slots")
		}
		alone.unreserve()
		if !alone.reserve() {
			t.Error("an exclusive connection promises no slot again")
		}
		alone.unreserve()
	})
}

// A call that was given up while it was being written, and for which the server sends nothing then, has
// its fate already when the write fails.
func TestBatchEnded_GivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{final: true}})
		defer close(read)
		n := chosen(t, c)
		n.mu.Lock()
		n.written = func(int, error) {} // the test says how the write ends
		n.mu.Unlock()
		k := c.getCall(&Request{})
		id, ok := n.takeSlot(k)
		if !ok || !n.post(t.Context(), parcel{kind: websocket.TextMessage, id: id}, []byte(strings.Repeat("long ", 2000))) {
			t.Fatal("not sent")
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		n.giveUp(context.Cause(gone), id, k)
		if !n.dirty || n.slots.live+n.slots.orphans != 0 {
			t.Errorf("dirty %v, %d slots in use", n.dirty, n.slots.live+n.slots.orphans)
		}
		n.batchEnded(0, errors.New("cut"))
		if k.ready.Load() || k.fate != ErrMayHaveRun || k.err != context.Canceled {
			t.Errorf("ready %v, %v, %v", k.ready.Load(), k.fate, k.err)
		}
	})
}

// readReady leaves a connection alone from which another goroutine reads.
func TestReadReady_WhileAnotherReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n := chosen(t, c)
		defer n.unreserve()
		n.mu.Lock()
		n.leading = true
		n.mu.Unlock()
		n.readReady()
		n.mu.Lock()
		if !n.leading {
			t.Error("the lead of another goroutine has ended")
		}
		n.mu.Unlock()
		n.stepDown()
	})
}

// A reply is the receiver's, wherever it was read to: only what lies in the chunk takes room of it.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n := chosen(t, c)
		defer n.unreserve()
		room := func(want int) {
			t.Helper()
			if got := cap(n.space()); got != want {
				t.Errorf("the chunk has room for %d bytes, want %d", got, want)
			}
		}
		if p := n.keep(nil); len(p) != 0 {
			t.Errorf("an empty reply is %q", p)
		}
		room(chunkSize)
		if p := n.keep(n.space()); len(p) != 0 {
			t.Errorf("an empty reply is %q", p)
		}
		if p := n.keep([]byte("elsewhere")); string(p) != "elsewhere" {
			t.Errorf("a reply that was read elsewhere is %q", p)
		}
		room(chunkSize)
		p := n.keep(append(n.space(), "first"...))
		room(chunkSize - len("first"))
		n.keep(append(n.space(), "second"...))
		if string(p) != "first" || cap(p) != len(p) {
			t.Errorf("a reply that was kept is %q, with room for %d", p, cap(p))
		}
	})
}

// A connection that was not used since the last sweep has no buffers.
func TestSweep_Buffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		n := chosen(t, c)
		if !n.post(t.Context(), parcel{kind: websocket.TextMessage}, []byte("x")) {
			t.Fatal("not sent")
		}
		n.space()
		synctest.Wait()
		n.sweep(1, time.Nanosecond)
		if n.chunk == nil || n.out.spare == nil && n.out.buf == nil {
			t.Error("a connection in use has no buffers")
		}
		n.unreserve()
		n.sweep(2, time.Nanosecond)
		if n.chunk != nil || n.out.spare != nil || n.out.buf != nil || n.out.array != nil {
			t.Error("an idle connection keeps buffers")
		}
	})
}

// sure is lines whose streams are acknowledged, and have no keys.
type sure struct{ lines }

func (sure) StreamKey(Message) ([]byte, error) { return nil, nil }

// The reply to the request of a stream is the stream's: what is read next does not change it.
func TestAnswerStream_Reply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: sure{}})
		close(read)
		n := chosen(t, c)
		s := newStream(c, StreamConfig{})
		k := c.getCall(&Request{})
		k.stream = s
		id, ok := n.takeSlot(k)
		if !ok || !n.post(t.Context(), parcel{kind: websocket.TextMessage, id: id}, []byte("x")) {
			t.Fatal("not sent")
		}
		synctest.Wait()
		buffer := []byte("accepted")
		n.deliver(Frame{Kind: Reply, ID: id}, Message{Data: buffer})
		copy(buffer, "overread")
		s.opened()
		if got := string(s.Reply().Data); got != "accepted" || k.err != nil || string(k.reply.Data) != "accepted" {
			t.Errorf("the reply is %q, %q; %v", got, k.reply.Data, k.err)
		}
		s.Close()
	})
}

// A stream whose request was sent on another connection, since the first one had ended, has no gap, and
// is resumed when the second one ends.
func TestStream_LostAfterItWasOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		s := newStream(c, StreamConfig{Resume: func(Message) (Request, bool) { return Request{}, true }})
		for i := range 2 {
			n := chosen(t, c)
			n.mu.Lock()
			n.attachLocked(s, 1, "", Message{})
			n.mu.Unlock()
			if i == 0 {
				n.fail(errors.New("cut"))
				synctest.Wait()
			}
		}
		s.opened()
		s.mu.Lock()
		second := s.conn
		if second == nil || s.moving || s.gap != nil || len(s.buffer.all) != 0 {
			t.Errorf("on a connection %v, moving %v, gap %+v, %d items", second != nil, s.moving, s.gap, len(s.buffer.all))
		}
		s.mu.Unlock()
		second.fail(errors.New("cut"))
		time.Sleep(time.Second) // virtual: the pauses of resume
		s.mu.Lock()
		if s.conn == nil || s.conn == second || c.stats.resumes.Load() != 1 {
			t.Errorf("resumed %d times; on a third connection: %v", c.stats.resumes.Load(), s.conn != nil && s.conn != second)
		}
		s.mu.Unlock()
		s.Close()
	})
}

// Another connection is acquired when one with calls is drained, before callers need it.
func TestLeaves_Grows(t *testing.T) {
	for _, calls := range []int64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			c, read := deafClient(t, Config{Codec: lines{}})
			close(read)
			n := chosen(t, c)
			k := c.getCall(&Request{})
			id, ok := n.takeSlot(k)
			if !ok {
				t.Fatal("no slot")
			}
			if calls == 0 {
				n.giveSlotBack(id, k)
			}
			n.drain(resource.ErrResized) // not replaced, since the pool wants its slot
			synctest.Wait()
			if got := c.stats.acquired.Load(); got != 1+calls {
				t.Errorf("%d connections were acquired, of which the first had %d calls", got, calls)
			}
			if calls > 0 {
				n.giveSlotBack(id, k)
			}
		})
	}
}

// An unused connection would be missed if a caller waits, or if it is the one that receives the events.
func TestMissed(t *testing.T) {
	for _, events := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Codec: lines{}}
			if events {
				cfg.OnEvent = func(context.Context, Message) error { return nil }
			}
			c, read := deafClient(t, cfg)
			close(read)
			n := chosen(t, c)
			n.unreserve()
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.missedLocked(n) != events {
				t.Errorf("events %v: missed though no call waits: %v", events, !events)
			}
			at := c.line.PushBack(new(inLine)) // in no other goroutine's sight
			if !c.missedLocked(n) {
				t.Errorf("events %v: not missed though a call waits", events)
			}
			c.line.Remove(at)
		})
	}
}

// Calls that fail are not among the durations.
func TestCall_FailedIsNotTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, Request{Body: "x"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call ends with %v", err)
		}
		if took := c.durations.read(); took.Zero != 0 || took.Sum != 0 || len(took.Buckets) != 0 {
			t.Errorf("a call that has failed is counted: %+v", took)
		}
	})
}

// A limit of one is enough for the settings and the first connection.
func TestMultiplexer_LimitOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		chosen(t, c).unreserve()
		for limit := range 3 {
			m := c.Multiplexer(limit)
			if len(m.Resources) != min(limit, 1) || (m.Settings != nil) != (limit > 0) {
				t.Errorf("limit %d: %d connections, settings %v", limit, len(m.Resources), m.Settings)
			}
		}
	})
}

// framed is lines that takes every message for one.
type framed struct {
	lines
	is *Frame
}

func (c framed) Classify(int, []byte) (Frame, error) { return *c.is, nil }

// A reply has the type of its message.
func TestDispatch_Type(t *testing.T) {
	for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
		synctest.Test(t, func(t *testing.T) {
			is := Frame{Kind: Reply}
			c, read := deafClient(t, Config{Codec: framed{is: &is}})
			close(read)
			n := chosen(t, c)
			k := c.getCall(&Request{})
			id, ok := n.takeSlot(k)
			if !ok || !n.post(t.Context(), parcel{kind: websocket.TextMessage, id: id}, []byte("x")) {
				t.Fatal("not sent")
			}
			synctest.Wait()
			is.ID = id
			n.dispatch(kind, []byte("re"))
			if !k.ready.Load() || k.reply.Type != kind || string(k.reply.Data) != "re" {
				t.Errorf("ready %v, a message of type %d, %q; want %d", k.ready.Load(), k.reply.Type, k.reply.Data, kind)
			}
		})
	}
}
