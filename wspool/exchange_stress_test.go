package wspool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// CloseNow at any moment of an exchange ends it, also where the exchange ends its own lease at the same
// instant to begin another: the server never replies, and no context bounds it.
func TestExchange_CloseNowStress(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := listen(t, false, func(ws *websocket.Conn) { drain(ws) })
	s.cfg.MaxSize, s.cfg.KeepAlive, s.cfg.CloseTimeout = 1, -1, time.Millisecond
	for range 300 {
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Warm(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, _, err := p.Exchange(context.Background(), websocket.TextMessage, []byte("x"))
			done <- err
		}()
		for began, pause := time.Now(), time.Duration(rnd.IntN(60_000)); time.Since(began) < pause; {
		}
		p.CloseNow()
		select {
		case err := <-done:
			if !errors.Is(err, wspool.ErrReleased) && !errors.Is(err, resource.ErrClosed) {
				t.Errorf("Exchange fails with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the exchange goes on after CloseNow")
		}
	}
}
