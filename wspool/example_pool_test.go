package wspool_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A lease that outlives a function is ended by hand. Fail with a nil error is
// Release; with another the connection is closed.
func ExamplePool_Acquire() {
	url, stop := localServer(shout)
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	c, err := pool.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := answerTo(ctx, c, "who")
	c.Fail(err)
	fmt.Println(answer, err)

	_, err = answerTo(ctx, c, "what") // it is somebody else's by now
	fmt.Println(err)
	// Output:
	// WHO <nil>
	// wspool: connection has been released
}

// The lease is f's, and ends with it.
func ExamplePool_Do() {
	url, stop := localServer(shout)
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	var answer string
	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) (err error) {
		answer, err = answerTo(ctx, c, "who")
		return err // nil: back to the pool; an error: closed, see Config.Broken
	})
	fmt.Println(answer, err)
	// Output:
	// WHO <nil>
}

// The server hangs up on whoever asks a second time. Work that may run twice
// does so then, on a connection that nobody has used.
func ExamplePool_DoIdempotent() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		kind, p, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, p) != nil {
			return
		}
		ws.ReadMessage() // and no answer
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for range 2 {
		tries := 0
		err := pool.DoIdempotent(ctx, func(ctx context.Context, c *wspool.Conn) error {
			tries++
			_, err := answerTo(ctx, c, "who")
			return err
		})
		fmt.Println("tries:", tries, "error:", err)
	}
	// Output:
	// tries: 1 error: <nil>
	// tries: 2 error: <nil>
}

// A subscription outlives its connections: the function is called again with the
// next one, and told what lies between.
func ExamplePool_Subscribe() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		if _, topic, err := ws.ReadMessage(); err == nil {
			ws.WriteMessage(websocket.TextMessage, topic)
		} // and hangs up
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4, Exchange: wspool.Unpaired})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	news := 0
	err = pool.Subscribe(ctx, func(ctx context.Context, c *wspool.Conn, gap wspool.Gap) error {
		if !gap.Since.IsZero() {
			fmt.Println("news may be missing before call", gap.Call)
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("weather")); err != nil {
			return err
		}
		for {
			_, topic, err := c.ReadMessage(ctx)
			if err != nil {
				return err // it is called again, with another connection
			}
			fmt.Println(string(topic))
			if news++; news == 2 {
				return nil // enough
			}
		}
	})
	fmt.Println(err)
	// Output:
	// weather
	// news may be missing before call 2
	// weather
	// <nil>
}
