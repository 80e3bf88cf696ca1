package wsconn

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// batch has whole messages that are written in one call with the next data frame, which gorilla
// or WriteShort sends. The lock of the sender keeps control frames out.
type batch struct {
	buf     []byte
	ends    []int  // where each message ends in buf
	written bool   // buf was passed to the network
	took    int    // bytes of buf that the network took at once, or that TLS took
	later   bool   // others are deferred
	behind  uint64 // how many deferred bytes are before these
}

// batches has those that are not in use: most connections write few batches.
var batches = sync.Pool{New: func() any { return new(batch) }}

// AddToBatch adds a message to the batch that is written before the next message, in frames with
// a payload of at most size bytes, which must be positive. It copies data. The caller must be the
// only goroutine that writes messages.
func (f *FrameConn) AddToBatch(messageType int, data []byte, size int) {
	if f.batch == nil {
		f.batch = batches.Get().(*batch)
	}
	b := f.batch
	op := byte(messageType)
	for {
		n := min(len(data), size)
		last := n == len(data)
		b.buf = appendFrame(b.buf, op, last, data[:n])
		if data, op = data[n:], continuation; last {
			break
		}
	}
	b.ends = append(b.ends, len(b.buf))
}

// BatchSize returns the length of the batch in bytes, frame headers included.
func (f *FrameConn) BatchSize() int {
	if f.batch == nil {
		return 0
	}
	return len(f.batch.buf)
}

// EndBatch clears the batch, and returns how many messages of it were written whole. Deferred bytes
// count as far as the network has taken them by now. With TLS these are bytes of records, which do
// not say which bytes of the batch are missing: then all deferred ones count.
func (f *FrameConn) EndBatch() (whole int) {
	b := f.batch
	if b == nil {
		return 0
	}
	took := uint64(b.took)
	if b.later {
		if sent := f.Raw.deferredSent(); sent > b.behind {
			took += sent - b.behind
		}
	}
	for whole < len(b.ends) && uint64(b.ends[whole]) <= took {
		whole++
	}
	if cap(b.buf) > maxKept {
		b.buf = nil
	}
	*b = batch{buf: b.buf[:0], ends: b.ends[:0]}
	f.batch = nil
	batches.Put(b)
	return whole
}

// maxKept is the largest capacity of a batch's buffer that is reused.
const maxKept = 64 << 10

const continuation = 0

// appendFrame appends a masked frame (RFC 6455, section 5.2).
func appendFrame(dst []byte, op byte, fin bool, payload []byte) []byte {
	if fin {
		op |= 0x80
	}
	dst = append(dst, op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	key := rand.Uint32()
	dst = binary.LittleEndian.AppendUint32(dst, key)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key)
	return dst
}

// mask masks p with key. The low byte of key masks the first byte of p.
func mask(p []byte, key uint32) {
	long := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^long)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * (i % 4)))
	}
}

// writeBatchLocked writes the batch, if there is one, and then frame, a data frame, in one
// call. Only the goroutine that writes a message sends data frames, so no other one accesses
// the batch. The mark is behind each frame: the last one ends the message.
func (f *FrameConn) writeBatchLocked(frame []byte) (int, error) {
	b := f.batch
	if b == nil || b.written {
		n, err := f.sendLocked(frame)
		f.Raw.Mark()
		return n, err
	}
	own := len(b.buf)
	all := append(b.buf, frame...)
	b.buf = all[:own]
	b.behind = f.Raw.Mark()
	n, err := f.sendLocked(all)
	later := int(f.Raw.Mark() - b.behind) // the lock of the sender keeps control frames out
	if f.Raw.units != nil {               // these are bytes of records
		later = 0
	}
	b.written, b.took, b.later = true, min(n-later, own), later > 0
	return max(0, n-own), err
}
