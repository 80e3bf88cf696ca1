package mux

import (
	"bytes"
	"slices"
)

// parcel is one message in an outbox.
type parcel struct {
	data []byte // in the memory of the outbox
	kind int    // of the message
	id   uint64 // of the call; 0: it has none
	call *call  // gets the result of the write; nil: none does
	lost bool   // the connection has ended while the message of call was being written
}

// outbox collects messages while others are being written. A message is copied once, when it is added,
// and stays there until it is written. Its user serializes the calls.
type outbox struct {
	tail    []parcel // that were added last
	head    []parcel // that are written before those
	sending []parcel // what is being written
	array   []parcel // what sending and head are parts of
	size    int      // bytes of head and tail

	buf   []byte // the chunk that messages are added to
	spare []byte // the next one, unless messages in it are being written
	batch []Message
}

// keptBuffer is the capacity up to which a buffer is used again, and keptParcels that of a list of
// messages. minBuffer is that of the first chunk.
const (
	keptBuffer  = 64 << 10
	keptParcels = 4 << 10
	minBuffer   = 256
)

// add adds a copy of data.
func (o *outbox) add(p parcel, data []byte) {
	p.data = o.store(data)
	o.size += len(data)
	o.tail = append(o.tail, p)
}

// store returns a copy of data. A chunk without room for it is replaced, and not grown: what is in it
// is not copied again.
func (o *outbox) store(data []byte) []byte {
	if len(data) > keptBuffer {
		return bytes.Clone(data)
	}
	if len(data) > cap(o.buf)-len(o.buf) {
		o.buf = make([]byte, 0, max(len(data), min(2*cap(o.buf), keptBuffer), minBuffer))
	}
	from := len(o.buf)
	o.buf = append(o.buf, data...)
	return o.buf[from:len(o.buf):len(o.buf)]
}

// remove removes the message of a call that is not being written. It reports whether there
// was one.
func (o *outbox) remove(is func(*parcel) bool) bool {
	for _, list := range []*[]parcel{&o.head, &o.tail} {
		for i := range *list {
			if p := &(*list)[i]; is(p) {
				o.size -= len(p.data)
				*list = slices.Delete(*list, i, i+1)
				return true
			}
		}
	}
	return false
}

// forget has the result of the write that is under way not reported to k, which is used again.
func (o *outbox) forget(k *call) {
	for i := range o.sending {
		if p := &o.sending[i]; p.call == k {
			p.call, p.lost = nil, false
		}
	}
}

// empty reports whether no message waits to be written.
func (o *outbox) empty() bool { return len(o.head)+len(o.tail) == 0 }

// bytes returns how many bytes wait to be written.
func (o *outbox) bytes() int { return o.size }

// swap makes the messages of up to limit bytes, at least one, those that are being written, and
// returns them. They are valid until the next swap. The others stay where they are, so its cost is
// that of the messages that it returns. Nothing is being written before.
func (o *outbox) swap(limit int) []Message {
	if len(o.head) == 0 {
		o.array, o.tail = o.tail, o.array[:0]
		o.head = o.array
	}
	size, n := 0, 0
	for ; n < len(o.head); n++ {
		p := &o.head[n]
		if size += len(p.data); n > 0 && size > limit {
			break
		}
		o.size -= len(p.data)
		o.batch = append(o.batch, Message{Type: p.kind, Data: p.data})
	}
	o.sending, o.head = o.head[:n], o.head[n:]
	if o.empty() {
		// No message in spare is being written: they were part of an earlier batch.
		o.buf, o.spare = o.spare[:0], o.buf
	}
	return o.batch
}

// sent forgets what was written.
func (o *outbox) sent() {
	clear(o.batch) // else they keep chunks that were replaced
	o.batch = o.batch[:0]
	clear(o.sending)
	o.sending = nil
	if len(o.head) == 0 && cap(o.array) > keptParcels {
		o.array, o.head, o.batch = nil, nil, nil
	}
}

// discard removes all messages that are not being written, and calls f with each.
func (o *outbox) discard(f func(*parcel)) {
	for _, list := range [][]parcel{o.head, o.tail} {
		for i := range list {
			f(&list[i])
		}
		clear(list)
	}
	o.head, o.tail, o.buf, o.size = nil, nil, nil, 0
}
