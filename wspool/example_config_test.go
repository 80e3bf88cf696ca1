package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A server that greets and asks for the user's name, before it answers.
func ExampleConfig_onConnect() {
	url, stop := localServer(func(r *http.Request, ws *websocket.Conn) {
		ws.WriteMessage(websocket.TextMessage, []byte("hello"))
		if _, p, err := ws.ReadMessage(); err != nil || string(p) != "login me" {
			return
		}
		ws.WriteMessage(websocket.TextMessage, []byte("welcome"))
		shout(r, ws)
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{
		URL:     url,
		MaxSize: 4,
		OnConnect: func(ctx context.Context, c *wspool.Conn) error {
			if _, _, err := c.ReadMessage(ctx); err != nil { // the greeting
				return err
			}
			answer, err := answerTo(ctx, c, "login me")
			if err == nil && answer != "welcome" {
				err = errors.New("the server does not want us")
			}
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
		answer, err := answerTo(ctx, c, "who")
		fmt.Println(answer)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// WHO
}

// A server that pings with messages, as engine.io does: "2" is answered with "3".
func ExampleConfig_onUnsolicited() {
	heard := make(chan string, 1)
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		ws.WriteMessage(websocket.TextMessage, []byte("2"))
		if _, p, err := ws.ReadMessage(); err == nil {
			heard <- string(p)
		}
		ws.ReadMessage() // until the client leaves
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{
		URL:     url,
		MaxSize: 4,
		OnUnsolicited: func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if string(m.Data) != "2" {
				return nil, wspool.ErrUnsolicited // the connection is closed
			}
			return &wspool.Message{Type: m.Type, Data: []byte("3")}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	if err := pool.Warm(ctx, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the server heard", <-heard)
	// Output:
	// the server heard 3
}

// A token that is good for one handshake.
func ExampleConfig_prepare() {
	url, stop := localServer(func(r *http.Request, ws *websocket.Conn) {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			ws.WriteMessage(websocket.TextMessage, []byte(r.Header.Get("Authorization")))
		}
	})
	defer stop()
	var tokens atomic.Int64
	pool, err := wspool.New(wspool.Config{
		URL:     url,
		MaxSize: 4,
		Prepare: func(_ context.Context, h *wspool.Handshake) error { // may ask a server for it
			h.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d", tokens.Add(1)))
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for range 2 {
		c, err := pool.Acquire(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answerTo(ctx, c, "who am I"))
		defer c.Release() // not yet, so that the next one is dialled
	}
	// Output:
	// Bearer token-1 <nil>
	// Bearer token-2 <nil>
}

// probe asks the server itself whether it still works behind the connection,
// where a pong comes from a proxy in front of it.
type probe struct{ asked *atomic.Int64 }

func (p probe) Check(ctx context.Context, c *wspool.Conn, i resource.Info) error {
	if i.Leases == 0 {
		return nil // it has just been dialled
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	p.asked.Add(1)
	answer, err := answerTo(ctx, c, "health")
	if err == nil && answer != "HEALTH" {
		err = fmt.Errorf("the server says %q", answer)
	}
	return err // not nil: the connection is closed
}

// An idle connection is probed before it is lent, and in each sweep. Policy
// IfIdle, around the probe, makes that rare.
func ExampleConfig_health() {
	url, stop := localServer(shout)
	defer stop()
	var asked atomic.Int64
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4, Health: probe{&asked}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for range 2 {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			answer, err := answerTo(ctx, c, "who")
			fmt.Println(answer, "probes:", asked.Load())
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// WHO probes: 0
	// WHO probes: 1
}
