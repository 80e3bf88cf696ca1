package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// unruly answers each question, "id how", with its id, and sometimes with more.
func unruly(ws *websocket.Conn) {
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		id, how, _ := strings.Cut(string(p), " ")
		out := frame(websocket.TextMessage, id)
		switch how {
		case "twice":
			out = append(out, out...)
		case "extra":
			out = append(out, frame(websocket.TextMessage, "extra")...)
		case "ping":
			out = append(out, frame(websocket.PingMessage, id)...)
		case "close":
			out = append(out, frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1001, "")))...)
		}
		if _, err := ws.NetConn().Write(out); err != nil {
			return
		}
	}
}

// No message of one lease reaches another: 64 callers on 8 connections, a
// server that answers twice, or more than was asked, or closes behind an
// answer, and callers that leave before the answer comes. Every answer that
// anybody reads must be to their own question.
func TestNothingCrosses(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			const callers, leases = 64, 40
			peer := listen(t, scheme == "wss", unruly)
			peer.cfg.MaxSize = 8
			peer.cfg.Redial = func(error, int) time.Duration { return 0 }
			p := pool(t, peer.cfg)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			var answers, left atomic.Int64
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					for j := range leases {
						answered, err := askUnruly(t.Context(), p, fmt.Sprintf("%d.%d", i, j), r.IntN(10))
						if err != nil {
							t.Error(err)
						}
						if answered {
							answers.Add(1)
						} else {
							left.Add(1)
						}
					}
				})
			}
			all.Wait()
			s := p.Stats()
			t.Logf("%d answers, %d left early, %d connections", answers.Load(), left.Load(), s.Made)
			if answers.Load() < callers*leases/2 || left.Load() == 0 {
				t.Error("the test did not test much")
			}
		})
	}
}

// askUnruly leases, asks in one of ten ways, and reports whether it read an
// answer; the error says what must not have happened.
func askUnruly(ctx context.Context, p *wspool.Pool, id string, way int) (bool, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: Acquire: %w", id, err)
	}
	defer c.Release()
	how := [10]string{"twice", "extra", "ping", "close"}[way]
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(id+" "+how)); err != nil {
		// An extra answer to the caller before came only just now, or a close:
		// refused as it should be.
		var ce *wspool.CloseError
		if errors.Is(err, wspool.ErrUnsolicited) || errors.As(err, &ce) {
			return false, nil
		}
		return false, fmt.Errorf("%s: WriteMessage: %w", id, err)
	}
	switch way {
	case 4: // leaves without reading
		return false, nil
	case 5: // gives up the wait at some moment
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go cancel()
		_, got, err := c.ReadMessage(ctx)
		if err == nil && string(got) != id {
			return true, fmt.Errorf("%s: got the answer to %s", id, got)
		}
		return false, nil
	}
	_, got, err := c.ReadMessage(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: ReadMessage: %w", id, err)
	}
	if string(got) != id {
		return true, fmt.Errorf("%s: got the answer to %s", id, got)
	}
	return true, nil
}

// What came in before a lease writes cannot be an answer to it, even if nobody
// has had the time to look at it.
func TestMessageJustBeforeFirstWrite(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			strike, struck := make(chan struct{}), make(chan error)
			peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
				if _, ok := <-strike; ok {
					_, err := ws.NetConn().Write(frame(websocket.TextMessage, "late"))
					struck <- err
				}
				drain(ws)
			})
			t.Cleanup(func() { close(strike) })
			peer.cfg.MaxSize = 1
			peer.cfg.Redial = atOnce
			p := pool(t, peer.cfg)
			for range 200 {
				c := acquire(t, p)
				strike <- struct{}{}
				if err := <-struck; err != nil {
					t.Fatal(err)
				}
				err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("question"))
				if !errors.Is(err, wspool.ErrUnsolicited) {
					t.Errorf("WriteMessage: %v, want ErrUnsolicited", err)
				}
				c.Release()
			}
		})
	}
}
