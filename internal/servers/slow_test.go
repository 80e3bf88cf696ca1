package servers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// slowServer is an echo of this process, that holds what begins with held back
// until it is told to answer.
type slowServer struct {
	http    *httptest.Server
	holding chan struct{} // one for each that is held
	release chan struct{}
	once    sync.Once
}

const held = "held"

func startSlow(t testing.TB) *slowServer {
	s := &slowServer{holding: make(chan struct{}, 16), release: make(chan struct{})}
	var running sync.WaitGroup
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		stop := context.AfterFunc(t.Context(), func() { c.Close() })
		defer stop()
		var writing sync.Mutex
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			answer := func() {
				writing.Lock()
				defer writing.Unlock()
				c.WriteMessage(kind, p) // the client hears of a failure
			}
			if !strings.HasPrefix(string(p), held) {
				answer()
				continue
			}
			s.holding <- struct{}{}
			running.Go(func() { // and reads on: pings are answered
				<-s.release
				answer()
			})
		}
	}))
	t.Cleanup(func() {
		s.answer()
		s.http.Close()
		running.Wait()
	})
	return s
}

func (s *slowServer) address() string { return s.http.Listener.Addr().String() }

// awaitHeld waits until a question is held.
func (s *slowServer) awaitHeld(t testing.TB) {
	t.Helper()
	select {
	case <-s.holding:
	case <-time.After(patience):
		t.Fatal("the question does not arrive")
	}
}

// answer answers what is held, and no longer holds anything.
func (s *slowServer) answer() { s.once.Do(func() { close(s.release) }) }

// askHeld asks what is answered late.
func askHeld(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(held)); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err == nil && string(p) != held {
		err = fmt.Errorf("%w: asked %q, got %q", errCrossed, held, p)
	}
	return err
}
