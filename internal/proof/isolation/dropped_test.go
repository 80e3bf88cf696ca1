package isolation_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/wspool"
)

// forgets acquires a connection and does not end the lease.
//
//go:noinline
func forgets(t *testing.T, p *wspool.Pool) {
	c, err := p.Acquire(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	if err := c.WriteMessage(context.Background(), websocket.TextMessage, []byte("something")); err != nil {
		t.Error(err)
	}
}

// A Conn that was garbage collected without ending its lease is reported with the function
// that acquired it, and its slot is free again.
func TestDropped(t *testing.T) {
	var upgrader websocket.Upgrader
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	}))
	defer server.Close()
	reported := make(chan metrics.Held, 1)
	m, err := metrics.New("forgetful", metrics.Config{
		OnDropped: func(h metrics.Held) { reported <- h },
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(server.URL, "http"), MaxSize: 1, Reclaim: true, Trace: m.Trace(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 3 { // the pool has one slot
		done := make(chan struct{})
		go func() { // so that no reference to the Conn is left on a stack
			defer close(done)
			forgets(t, p)
		}()
		<-done
		again := time.NewTicker(time.Millisecond)
		late := time.After(patience)
		for found := false; !found; {
			runtime.GC()
			select {
			case h := <-reported:
				found = true
				if len(h.Stack) == 0 || !strings.HasSuffix(h.Stack[0].Func, "isolation_test.forgets") {
					t.Errorf("acquired by %+v", h.Stack)
				}
			case <-again.C:
			case <-late:
				t.Fatal("the dropped lease is not reported")
			}
		}
		again.Stop()
	}
	if s := p.Stats(); s.Dropped != 3 {
		t.Errorf("%v", s)
	}
}
