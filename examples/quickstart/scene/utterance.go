package scene

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/gorilla/websocket"
)

// start is the first message of an utterance.
type start struct {
	Utterance string `json:"utterance"`
	Chunks    int    `json:"chunks"`
}

// reply is the server's answer. A nil field was not sent.
type reply struct {
	Utterance *string `json:"utterance"`
	Chunks    *int    `json:"chunks,omitempty"`
	Bytes     *int64  `json:"bytes,omitempty"`
	CRC32     *uint32 `json:"crc32,omitempty"`
}

// errWrong is a reply to another utterance, or about other audio.
var errWrong = errors.New("wrong reply")

// heard is what the server must have received of one utterance.
type heard struct {
	chunks int
	bytes  int64
	crc32  uint32
}

func (h *heard) add(chunk []byte) {
	h.chunks++
	h.bytes += int64(len(chunk))
	h.crc32 = crc32.Update(h.crc32, crc32.IEEETable, chunk)
}

// speaker makes one client's utterances, in buffers that it reuses.
type speaker struct {
	name     string
	rng      *rand.Rand
	messages []Message
}

func newSpeaker(name string, seed uint32, chunks, chunkBytes int) *speaker {
	s := &speaker{
		name:     name,
		rng:      rand.New(rand.NewPCG(uint64(seed), uint64(crc32.ChecksumIEEE([]byte(name))))),
		messages: make([]Message, 1+chunks),
	}
	for i := range s.messages[1:] {
		s.messages[1+i] = Message{Type: websocket.BinaryMessage, Data: make([]byte, chunkBytes)}
	}
	return s
}

// next returns the n-th utterance, whose audio differs from every other.
func (s *speaker) next(n int) (Utterance, heard) {
	id := fmt.Sprintf("%s-u%03d", s.name, n)
	first, err := json.Marshal(start{Utterance: id, Chunks: len(s.messages) - 1})
	if err != nil {
		panic(err) // bug: a string and a number can be encoded
	}
	s.messages[0] = Message{Type: websocket.TextMessage, Data: first}
	var h heard
	for _, m := range s.messages[1:] {
		fill(s.rng, m.Data)
		h.add(m.Data)
	}
	return Utterance{ID: id, Messages: s.messages}, h
}

// fill writes noise.
func fill(rng *rand.Rand, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, rng.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// check compares a reply with the utterance. A strict check requires every field; one
// that is not strict reports a reply that names no utterance as unchecked.
func check(data []byte, id string, h heard, strict bool) (checked bool, err error) {
	var r reply
	if err := json.Unmarshal(data, &r); err != nil || r.Utterance == nil {
		if strict {
			return false, fmt.Errorf("%w to %s: %.80q names no utterance", errWrong, id, data)
		}
		return false, nil
	}
	switch {
	case *r.Utterance != id:
		return true, fmt.Errorf("%w: %s got the reply to %.80q", errWrong, id, *r.Utterance)
	case !right(r.Chunks, h.chunks, strict):
		return true, fmt.Errorf("%w to %s: chunks is not %d in %.160q", errWrong, id, h.chunks, data)
	case !right(r.Bytes, h.bytes, strict):
		return true, fmt.Errorf("%w to %s: bytes is not %d in %.160q", errWrong, id, h.bytes, data)
	case !right(r.CRC32, h.crc32, strict):
		return true, fmt.Errorf("%w to %s: crc32 is not %d in %.160q", errWrong, id, h.crc32, data)
	}
	return true, nil
}

func right[N comparable](got *N, want N, strict bool) bool {
	if got == nil {
		return !strict
	}
	return *got == want
}
