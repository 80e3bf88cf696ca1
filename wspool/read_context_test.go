package wspool_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// countedContext is a context that ends never, and counts the functions that wait for its end.
type countedContext struct {
	context.Context
	done chan struct{}

	mu         sync.Mutex
	most, left int
}

func newCountedContext(t *testing.T) *countedContext {
	return &countedContext{Context: t.Context(), done: make(chan struct{})}
}

func (c *countedContext) Done() <-chan struct{} { return c.done }

func (c *countedContext) Err() error { return nil }

// Value hides what is above, so that context.AfterFunc calls AfterFunc.
func (c *countedContext) Value(any) any { return nil }

// AfterFunc is for context.AfterFunc.
func (c *countedContext) AfterFunc(func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left++
	c.most = max(c.most, c.left)
	return sync.OnceValue(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.left--
		return true
	})
}

// A read that has ended leaves nothing behind in its context, which may live much longer, however the
// read ended.
func TestReadLeavesNothingInItsContext(t *testing.T) {
	for name, serve := range map[string]func(ws *websocket.Conn){
		"message": func(ws *websocket.Conn) {
			time.Sleep(3 * time.Second) // in the bubble
			ws.WriteMessage(websocket.TextMessage, nil)
			drain(ws)
		},
		"cut": func(ws *websocket.Conn) { time.Sleep(3 * time.Second) }, // in the bubble
		"close": func(ws *websocket.Conn) {
			time.Sleep(3 * time.Second) // in the bubble
			ws.WriteMessage(websocket.CloseMessage, nil)
			drain(ws)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := listenMem(t, 1<<16, serve)
				c := acquire(t, pool(t, s.cfg))
				defer c.Release()
				write(t, c, "x")
				ctx := newCountedContext(t)
				if _, _, err := c.ReadMessage(ctx); (err == nil) != (name == "message") {
					t.Errorf("the read ends with %v", err)
				}
				ctx.mu.Lock()
				defer ctx.mu.Unlock()
				if ctx.most == 0 || ctx.left != 0 {
					t.Errorf("up to %d functions waited for the end of the context, %d still do", ctx.most, ctx.left)
				}
			})
		})
	}
}
