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
