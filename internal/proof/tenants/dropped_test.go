package tenants_test

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

// forgets leases a connection and ends the lease nowhere.
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

// A Conn that a tenant forgot is found, the function that took it is named, and
// its place is the next one's.
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
	told := make(chan metrics.Held, 1)
	m, err := metrics.New("forgetful", metrics.Config{
		OnDropped: func(h metrics.Held) { told <- h },
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
	for range 3 { // the pool has one place
		done := make(chan struct{})
		go func() { // so that nothing of the Conn is left on a stack
			defer close(done)
			forgets(t, p)
		}()
		<-done
		again := time.NewTicker(time.Millisecond)
		late := time.After(patience)
		for found := false; !found; {
			runtime.GC()
			select {
			case h := <-told:
				found = true
				if len(h.Stack) == 0 || !strings.HasSuffix(h.Stack[0].Func, "tenants_test.forgets") {
					t.Errorf("it was taken by %+v", h.Stack)
				}
			case <-again.C:
			case <-late:
				t.Fatal("it is not found")
			}
		}
		again.Stop()
	}
	if s := p.Stats(); s.Dropped != 3 {
		t.Errorf("%v", s)
	}
}
