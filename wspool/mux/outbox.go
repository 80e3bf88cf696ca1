package mux

// parcel is one message in an outbox.
type parcel struct {
	from, to int    // its bytes in the buffer
	kind     int    // of the message
	id       uint64 // of the call; 0: it has none
	call     *call  // gets the result of the write; nil: none does
	lost     bool   // the connection has ended while the message of call was being written
}

// outbox collects messages while others are being written. There are two buffers: one that
// messages are added to, and one whose messages are written. Its user serializes the calls.
type outbox struct {
	buf     []byte
	parcels []parcel

	sending []parcel // what is being written
	spare   []byte   // the buffer of these
	batch   []Message
}

// add adds a copy of data.
func (o *outbox) add(p parcel, data []byte) {
	p.from = len(o.buf)
	o.buf = append(o.buf, data...)
	p.to = len(o.buf)
	o.parcels = append(o.parcels, p)
}

// remove removes the message of a call that is not being written. It reports whether there
// was one.
func (o *outbox) remove(is func(*parcel) bool) bool {
	for i := range o.parcels {
		if is(&o.parcels[i]) {
			o.parcels = append(o.parcels[:i], o.parcels[i+1:]...)
			return true
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

// bytes returns how many bytes wait to be written, as a bound from above.
func (o *outbox) bytes() int { return len(o.buf) }

// keptBuffer is the capacity up to which a buffer is used again.
const keptBuffer = 64 << 10

// swap makes the messages of up to limit bytes, at least one, those that are being written, and
// returns them. They are valid until the next swap.
func (o *outbox) swap(limit int) []Message {
	o.sending, o.parcels = o.parcels, o.sending[:0]
	o.spare, o.buf = o.buf, o.spare[:0]
	size, n := 0, 0
	for n < len(o.sending) {
		if size += o.sending[n].to - o.sending[n].from; n > 0 && size > limit {
			break
		}
		n++
	}
	for _, p := range o.sending[n:] {
		o.add(p, o.spare[p.from:p.to])
	}
	o.sending = o.sending[:n]
	clear(o.batch) // their bytes may be long
	o.batch = o.batch[:0]
	for _, p := range o.sending {
		o.batch = append(o.batch, Message{Type: p.kind, Data: o.spare[p.from:p.to:p.to]})
	}
	return o.batch
}

// sent forgets what was written.
func (o *outbox) sent() {
	clear(o.sending)
	o.sending = o.sending[:0]
	if cap(o.spare) > keptBuffer {
		o.spare = nil
		clear(o.batch)
		o.batch = o.batch[:0]
	}
}
