package isolation_test

import (
	"context"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// forgetWriter leaves a message partially written.
func forgetWriter(l *lease) {
	w, err := l.c.NextWriter(context.Background(), websocket.BinaryMessage)
	if err == nil {
		_, err = io.WriteString(w, "this must never be sent")
	}
	l.connFailed = l.connFailed || err != nil
}

// forgetReader leaves a message partially read.
func forgetReader(l *lease) {
	if !l.write("fragments", 1000+l.rand.IntN(20_000)) {
		return
	}
	_, r, err := l.c.NextReader(context.Background())
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, 8))
	}
	l.connFailed = l.connFailed || err != nil
}

// hijack removes the connection from the pool and continues to use it.
func hijack(l *lease) {
	if !l.ask("plain", l.size()) {
		return
	}
	ws, ok := l.c.Hijack()
	if !ok {
		return
	}
	defer ws.Close()
	by := time.Now().Add(patience)
	_ = ws.SetReadDeadline(by)
	_ = ws.SetWriteDeadline(by)
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte(l.request("pings", 100).String())); err != nil {
		l.complain("a hijacked connection: %v", err)
		return
	}
	_, p, err := ws.ReadMessage()
	if err != nil {
		l.complain("a hijacked connection: %v", err)
		return
	}
	l.check(p)
}
