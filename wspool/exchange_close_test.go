package wspool

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
)

// CloseNow may end the lease of an exchange after that has begun and before its request is sent.
func TestExchange_CloseNowBeforeTheRequest(t *testing.T) {
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
	p, err := New(Config{URL: "ws" + strings.TrimPrefix(h.URL, "http"), MaxSize: 1, KeepAlive: -1, CloseTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer p.CloseNow()
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := c.link
	inOnePass, closed := l.raw.CanAsk(), false
	l.asking.onEmpty = func() bool {
		p.CloseNow() // as another goroutine may at this moment
		closed = true
		return l.asking.send()
	}
	c.Release()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Exchange panicked: %v", v)
		}
	}()
	if !inOnePass { // on this system: there is no such moment
		p.CloseNow()
	}
	_, _, err = p.Exchange(t.Context(), websocket.TextMessage, []byte("x"))
	if !errors.Is(err, ErrReleased) && !errors.Is(err, resource.ErrClosed) {
		t.Errorf("%v", err)
	}
	if closed != inOnePass {
		t.Error("the exchange was not made in one pass")
	}
}
