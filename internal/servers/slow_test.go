package servers

import (
	"context"
	"fmt"
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
	peer
	url     string
	holding chan struct{} // one for each that is held
	release chan struct{}
	once    sync.Once
}

const held = "held"

func startSlow(t testing.TB) *slowServer {
	s := &slowServer{holding: make(chan struct{}, 16), release: make(chan struct{})}
	s.handle = func(c *websocket.Conn) {
		var held sync.WaitGroup
		defer held.Wait()
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
			if !isHeld(p) {
				answer()
				continue
			}
			s.holding <- struct{}{}
			held.Go(func() { // and reads on: pings are answered
				<-s.release
				answer()
			})
		}
	}
	s.url = s.listen(t)
	t.Cleanup(s.answer)
	return s
}

func isHeld(p []byte) bool { return strings.HasPrefix(string(p), held) }

func (s *slowServer) address() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.url, "ws://"), "/")
}

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
