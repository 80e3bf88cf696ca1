package wspool_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

// panickingContext panics in Err once its exchange has sent the request.
type panickingContext struct {
	context.Context
	sent *atomic.Bool
}

func (c panickingContext) Err() error {
	if c.sent.Load() {
		panic("Err")
	}
	return c.Context.Err()
}

// If a method of the context panics in an exchange, the connection is destroyed, and its slot is free.
func TestExchange_ContextPanics(t *testing.T) {
	var sent atomic.Bool
	everywhere(t, onEach(func(ws *websocket.Conn, kind int, p []byte) {
		if string(p) == "long" {
			sent.Store(true)
			p = []byte(strings.Repeat("long", 10<<10)) // not read in one pass
		}
		ws.WriteMessage(kind, p)
	}), func(t *testing.T, p *peer) {
		sent.Store(false)
		p.cfg.MaxSize = 1
		pool := pool(t, p.cfg)
		func() {
			defer func() {
				if v := recover(); v != "Err" {
					t.Errorf("recovered %v", v)
				}
			}()
			pool.Exchange(panickingContext{t.Context(), &sent}, websocket.TextMessage, []byte("long"))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, reply, err := pool.Exchange(ctx, websocket.TextMessage, []byte("next")); err != nil || string(reply) != "next" {
			t.Errorf("%.20q, %v", reply, err)
		}
	})
}
