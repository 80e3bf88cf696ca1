package wspool

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// checkText returns ErrNotUTF8 if Config.CheckUTF8 is set and data is a text that
// is none.
func (h *hub) checkText(kind int, data []byte) error {
	if h.cfg.CheckUTF8 && kind == websocket.TextMessage && !utf8.Valid(data) {
		return ErrNotUTF8
	}
	return nil
}

// notUTF8 tells the peer that its text message is none (RFC 6455, section 8.1).
func (l *link) notUTF8(err error) error {
	l.ws.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, ""), time.Now().Add(time.Second))
	return fmt.Errorf("%w: sent by the peer", err)
}

// textCheck checks a text that comes in pieces.
type textCheck struct {
	rest [utf8.UTFMax]byte // the beginning of a rune whose end is still to come
	n    int               // bytes of rest
}

// feed takes the next piece, the last one if end. It reports whether the text is
// UTF-8 so far.
func (t *textCheck) feed(p []byte, end bool) bool {
	for t.n > 0 && len(p) > 0 {
		t.rest[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.rest[:t.n]) {
			if r, size := utf8.DecodeRune(t.rest[:t.n]); r == utf8.RuneError && size <= 1 {
				return false
			}
			t.n = 0
		}
	}
	if t.n == 0 {
		tail := 0 // of a rune that is cut off
		for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
			if b := p[len(p)-i]; utf8.RuneStart(b) {
				if !utf8.FullRune(p[len(p)-i:]) {
					tail = i
				}
				break
			}
		}
		if !utf8.Valid(p[:len(p)-tail]) {
			return false
		}
		t.n = copy(t.rest[:], p[len(p)-tail:])
	}
	return !end || t.n == 0
}
