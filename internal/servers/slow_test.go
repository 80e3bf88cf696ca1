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

// slowServer is an echo server in this process that delays messages with the prefix held
// until answer is called.
type slowServer struct {
	peer
	url     string
	holding chan struct{} // receives a value for each delayed message
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
				c.WriteMessage(kind, p) // the client sees a failure
			}
			if !isHeld(p) {
				answer()
				continue
			}
			s.holding <- struct{}{}
			held.Go(func() { // continues to read, so that pings are answered
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

// awaitHeld waits until a message is delayed.
func (s *slowServer) awaitHeld(t testing.TB) {
	t.Helper()
	select {
	case <-s.holding:
	case <-time.After(patience):
		t.Fatal("the question does not arrive")
	}
}

// answer echoes the delayed messages and ends the delay.
func (s *slowServer) answer() { s.once.Do(func() { close(s.release) }) }

// askHeld sends a message that is delayed.
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
