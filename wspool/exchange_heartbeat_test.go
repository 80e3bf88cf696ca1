package wspool

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The request of an exchange counts as a write: no heartbeat is due until Every after it.
func TestHeartbeat_ExchangeIsAWrite(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}))
	defer h.Close()
	p, err := New(Config{
		URL: "ws" + strings.TrimPrefix(h.URL, "http"), MaxSize: 1, KeepAlive: -1,
		Heartbeat: Heartbeat{Every: time.Hour, Message: Message{Type: websocket.TextMessage, Data: []byte("alive")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.CloseNow()
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := c.link
	c.Release()
	last := l.heartbeat.written.Load()
	for i := range 3 {
		begun := l.hub.clock.Now()
		if _, reply, err := p.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil || string(reply) != "x" {
			t.Fatalf("%q, %v", reply, err)
		}
		if now := l.heartbeat.written.Load(); now < begun || now < last {
			t.Errorf("exchange %d: it began at %d, and the last write was at %d", i, begun, now)
		} else {
			last = now
		}
	}
}
