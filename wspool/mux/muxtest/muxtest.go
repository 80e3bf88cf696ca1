// Package muxtest checks a codec of package mux.
package muxtest

import (
	"bytes"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/respool/respool/wspool/mux"
)

// Suite is a codec and what its server does.
type Suite struct {
	Codec mux.Codec // required
	// Bodies are bodies of calls that the codec accepts. At least one is required.
	Bodies []any
	// BadBodies are bodies that the codec refuses.
	BadBodies []any
	// Reply returns the message with which the server answers a call that [mux.Codec.Append]
	// has encoded: a [mux.Reply], a [mux.Part] or a [mux.End] that carries its id. Required.
	// It fails if it cannot read the call.
	Reply func(call mux.Message) (mux.Message, error)
	// CancelReply returns what the server answers to the message of [mux.Canceler], which
	// must be classified as [mux.Ignore]; ok is false if it answers nothing. Nil: nothing.
	CancelReply func(cancel mux.Message) (m mux.Message, ok bool)
	// Notifies says that the codec encodes calls without a reply (id 0).
	Notifies bool
	// Messages are messages of the server, and what they are.
	Messages []Case
}

// Case is a message and what [mux.Codec.Classify] says of it.
type Case struct {
	Name    string
	Message mux.Message
	Want    mux.Frame
	Bad     bool // Classify returns an error
}

// Run checks what package mux relies on:
//
//   - Append appends: it keeps what dst holds, and returns dst as it was with an error.
//   - Ids of every size up to IDBits come back from the server as they were.
//   - Classify allocates nothing, does not change the message, and survives truncations and
//     corruptions of it.
//   - The methods may be called by many goroutines at once.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if s.Codec == nil || len(s.Bodies) == 0 || s.Reply == nil {
		t.Fatal("muxtest: Codec, Bodies and Reply are required")
	}
	bits := s.Codec.IDBits()
	if bits < 16 || bits > 64 {
		t.Fatalf("IDBits must be between 16 and 64, got %d", bits)
	}
	t.Run("append", func(t *testing.T) { s.appends(t) })
	t.Run("ids", func(t *testing.T) { s.ids(t) })
	t.Run("cancel", func(t *testing.T) { s.cancels(t) })
	t.Run("classify", func(t *testing.T) { s.classifies(t) })
	t.Run("concurrent", func(t *testing.T) { s.concurrent(t) })
}

// edges returns ids at the edges of what the codec allows.
func (s *Suite) edges() []uint64 {
	bits := s.Codec.IDBits()
	largest := uint64(math.MaxUint64) >> (64 - bits)
	ids := []uint64{1, 2, 9, 10, 255, 1 << 15, largest - 1, largest}
	for b := 16; b < bits; b++ {
		ids = append(ids, 1<<b-1, 1<<b, 1<<b+1)
	}
	return ids
}

// encode encodes one call.
func (s *Suite) encode(id uint64, body any) (mux.Message, error) {
	messageType, out, err := s.Codec.Append(nil, id, body)
	return mux.Message{Type: messageType, Data: out}, err
}

func (s *Suite) appends(t *testing.T) {
	prefix := []byte("what was there before")
	for i, body := range s.Bodies {
		alone, err := s.encode(7, body)
		if err != nil || len(alone.Data) == 0 {
			t.Fatalf("body %d: Append returned %q and %v", i, alone.Data, err)
		}
		dst := append(make([]byte, 0, 4<<10), prefix...)
		messageType, out, err := s.Codec.Append(dst, 7, body)
		if err != nil || messageType != alone.Type || !bytes.HasPrefix(out, prefix) {
			t.Fatalf("body %d: Append did not keep what dst holds: type %d, %q, %v", i, messageType, out, err)
		}
		if rest := out[len(prefix):]; !bytes.Equal(rest, alone.Data) {
			t.Errorf("body %d: Append depends on dst: %q, then %q", i, alone.Data, rest)
		}
		other, err := s.encode(8, body)
		if err != nil || bytes.Equal(other.Data, alone.Data) {
			t.Errorf("body %d: the message does not depend on the id: %q, %v", i, other.Data, err)
		}
		if s.Notifies {
			if _, err := s.encode(0, body); err != nil {
				t.Errorf("body %d: id 0: %v", i, err)
			}
		}
	}
	for i, body := range append([]any{nil, struct{ x chan int }{}}, s.BadBodies...) {
		dst := append(make([]byte, 0, 4<<10), prefix...)
		_, out, err := s.Codec.Append(dst, 7, body)
		if err == nil {
			t.Errorf("bad body %d (%T): no error", i-2, body)
		} else if !bytes.Equal(out, prefix) {
			t.Errorf("bad body %d (%T): dst was not returned as it was, but %q", i-2, body, out)
		}
	}
}

func (s *Suite) ids(t *testing.T) {
	for i, body := range s.Bodies {
		for _, id := range s.edges() {
			if err := s.roundTrip(id, body); err != nil {
				t.Errorf("body %d: %v", i, err)
			}
		}
	}
}

// roundTrip sends a call to the server and classifies the reply.
func (s *Suite) roundTrip(id uint64, body any) error {
	call, err := s.encode(id, body)
	if err != nil {
		return fmt.Errorf("id %d: Append: %w", id, err)
	}
	reply, err := s.Reply(call)
	if err != nil {
		return fmt.Errorf("id %d: the server does not understand %q: %w", id, call.Data, err)
	}
	f, err := s.Codec.Classify(reply.Type, reply.Data)
	if err != nil {
		return fmt.Errorf("id %d: Classify(%q): %w", id, reply.Data, err)
	}
	if f.ID != id || f.Kind != mux.Reply && f.Kind != mux.Part && f.Kind != mux.End {
		return fmt.Errorf("id %d: the reply %q is %v with id %d", id, reply.Data, f.Kind, f.ID)
	}
	return nil
}

func (s *Suite) cancels(t *testing.T) {
	c, ok := s.Codec.(mux.Canceler)
	if !ok {
		return
	}
	prefix := []byte("what was there before")
	for _, key := range [][]byte{nil, []byte(`"key"`)} {
		for _, id := range s.edges() {
			dst := append(make([]byte, 0, 4<<10), prefix...)
			messageType, out, err := c.AppendCancel(dst, id, key)
			if err != nil || !bytes.HasPrefix(out, prefix) {
				t.Fatalf("id %d, key %q: AppendCancel returned %q and %v", id, key, out, err)
			}
			rest := out[len(prefix):]
			if len(rest) == 0 || s.CancelReply == nil {
				continue
			}
			reply, ok := s.CancelReply(mux.Message{Type: messageType, Data: rest})
			if !ok {
				continue
			}
			if f, err := s.Codec.Classify(reply.Type, reply.Data); err != nil || f.Kind != mux.Ignore {
				t.Errorf("id %d, key %q: the reply %q to the cancel message is %v, %v", id, key, reply.Data, f.Kind, err)
			}
		}
	}
}

// samples returns messages of the server of every kind that the suite knows.
func (s *Suite) samples(t *testing.T) []Case {
	cases := s.Messages
	for i, body := range s.Bodies {
		call, err := s.encode(12345, body)
		if err != nil {
			t.Fatalf("body %d: %v", i, err)
		}
		reply, err := s.Reply(call)
		if err != nil {
			t.Fatalf("body %d: %v", i, err)
		}
		f, err := s.Codec.Classify(reply.Type, reply.Data)
		cases = append(cases, Case{Name: fmt.Sprintf("reply to body %d", i), Message: reply, Want: f, Bad: err != nil})
	}
	return cases
}

func (s *Suite) classifies(t *testing.T) {
	for _, c := range s.samples(t) {
		before := bytes.Clone(c.Message.Data)
		f, err := s.Codec.Classify(c.Message.Type, c.Message.Data)
		if (err != nil) != c.Bad || f.Kind != c.Want.Kind || f.ID != c.Want.ID || !bytes.Equal(f.Key, c.Want.Key) {
			t.Errorf("%s: Classify(%q) = %v, id %d, key %q, %v; want %v, id %d, key %q, error: %v",
				c.Name, before, f.Kind, f.ID, f.Key, err, c.Want.Kind, c.Want.ID, c.Want.Key, c.Bad)
		}
		if !bytes.Equal(before, c.Message.Data) {
			t.Errorf("%s: Classify changed the message %q to %q", c.Name, before, c.Message.Data)
		}
		if n := testing.AllocsPerRun(10, func() { s.Codec.Classify(c.Message.Type, c.Message.Data) }); n > 0 {
			t.Errorf("%s: Classify allocates %v times", c.Name, n)
		}
		s.corrupt(c)
	}
	s.Codec.Classify(0, nil)
}

// corrupt classifies truncations and corruptions of a message. What Classify says of them is
// its own affair; it must return.
func (s *Suite) corrupt(c Case) {
	data := c.Message.Data
	// Of a long message every so many bytes are enough: the time grows with the square.
	step := 1 + len(data)/256
	for i := 0; i < len(data); i += step {
		s.Codec.Classify(c.Message.Type, data[:i:i])
		s.Codec.Classify(c.Message.Type, data[i:])
		for _, b := range []byte{0, '"', '\\', '{', '}', '[', ']', '9', '-', ',', 0xff} {
			changed := bytes.Clone(data)
			changed[i] = b
			s.Codec.Classify(c.Message.Type, changed)
		}
	}
}

func (s *Suite) concurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for n := range uint64(200) {
				if err := s.roundTrip(1+g*200+n, s.Bodies[n%uint64(len(s.Bodies))]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
