package wspool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
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

// A server that speaks first, as NATS does: it sends what it can do and a nonce, which the
// client signs. Later it pings with messages, also while the connection is idle.
func ExampleConfig_greeting() {
	heard := make(chan string, 1)
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		ws.WriteMessage(websocket.TextMessage, []byte(`INFO {"nonce":"qb3"}`))
		if _, p, err := ws.ReadMessage(); err != nil || string(p) != `CONNECT {"sig":"3bq"}` {
			ws.WriteMessage(websocket.TextMessage, []byte("-ERR bad signature"))
			return
		}
		ws.WriteMessage(websocket.TextMessage, []byte("+OK"))
		ws.WriteMessage(websocket.TextMessage, []byte("PING"))
		if _, p, err := ws.ReadMessage(); err == nil {
			heard <- string(p)
		}
		ws.ReadMessage() // until the client leaves
	})
	defer stop()
	sign := func(nonce string) string { return nonce[2:] + nonce[1:2] + nonce[:1] } // with the key of the client

	pool, err := wspool.New(wspool.Config{
		URL:      url,
		MaxSize:  4,
		Greeting: true,
		OnConnect: func(ctx context.Context, c *wspool.Conn) error {
			info, _ := c.Greeting()
			nonce, err := nonceOf(info.Data)
			if err != nil {
				return err
			}
			answer, err := answerTo(ctx, c, fmt.Sprintf(`CONNECT {"sig":%q}`, sign(nonce)))
			if err == nil && answer != "+OK" {
				err = fmt.Errorf("the server refuses: %s", answer)
			}
			return err
		},
		OnUnsolicited: func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if string(m.Data) != "PING" {
				return nil, nil // such as INFO again: dropped
			}
			return &wspool.Message{Type: m.Type, Data: []byte("PONG")}, nil
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
	// the server heard PONG
}

// nonceOf returns the nonce in a greeting of the form INFO {"nonce":"…"}.
func nonceOf(greeting []byte) (string, error) {
	text, ok := strings.CutPrefix(string(greeting), "INFO ")
	if !ok {
		return "", fmt.Errorf("the greeting is not INFO: %.40q", greeting)
	}
	var info struct{ Nonce string }
	err := json.Unmarshal([]byte(text), &info)
	return info.Nonce, err
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
