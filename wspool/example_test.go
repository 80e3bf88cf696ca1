package wspool_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A server that answers in capitals, and three questions to it through a pool:
// one connection serves them all.
func Example() {
	url, stop := localServer(shout)
	defer stop()

	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, question := range []string{"who", "what", "where"} {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(question)); err != nil {
				return err
			}
			_, answer, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s\n", question, answer)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("connections:", pool.Stats().Made)
	if err := pool.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// who: WHO
	// what: WHAT
	// where: WHERE
	// connections: 1
}

// localServer serves each connection with one function, which gets the request
// that it began with, and closes it when that returns.
func localServer(serve func(*http.Request, *websocket.Conn)) (url string, stop func()) {
	var upgrader websocket.Upgrader
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		serve(r, ws)
	}))
	return "ws" + strings.TrimPrefix(s.URL, "http"), s.Close
}

// shout answers every message in capitals.
func shout(_ *http.Request, ws *websocket.Conn) {
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, []byte(strings.ToUpper(string(p)))) != nil {
			return
		}
	}
}

// answerTo asks one question on c and returns the answer.
func answerTo(ctx context.Context, c *wspool.Conn, text string) (string, error) {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(text)); err != nil {
		return "", err
	}
	_, p, err := c.ReadMessage(ctx)
	return string(p), err
}

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

	_, err = answerTo(ctx, c, "what") // the connection may belong to another lease by now
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

// A request and its reply. The second one may be sent twice, if its connection turns out dead.
func ExamplePool_Exchange() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pool.Close(ctx)

	_, reply, err := pool.Exchange(ctx, websocket.TextMessage, []byte("who"))
	fmt.Printf("%s %v\n", reply, err)
	_, reply, err = pool.ExchangeWith(ctx, wspool.ExchangeOptions{Idempotent: true}, websocket.TextMessage, []byte("what"))
	fmt.Printf("%s %v\n", reply, err)
	// Output:
	// who <nil>
	// what <nil>
}

// The server hangs up on the second question of a connection. Work that may run
// twice runs again, on an unused connection.
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
// next one, and is passed the gap between them.
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

// A message that is sent piece by piece, and an answer that is read as it comes.
func ExampleConn_NextWriter() {
	url, stop := localServer(shout)
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
		w, err := c.NextWriter(ctx, websocket.TextMessage)
		if err != nil {
			return err
		}
		for i := range 3 {
			fmt.Fprintf(w, "piece %d\n", i) // an error shows at Close too
		}
		if err := w.Close(); err != nil { // now it is a message
			return err
		}
		_, r, err := c.NextReader(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, r) // to its end, or the connection is not lent again
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// PIECE 0
	// PIECE 1
	// PIECE 2
}

// NextReader returns as soon as a message begins.
func ExampleConn_NextReader() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		w, _ := ws.NextWriter(websocket.BinaryMessage)
		for range 1000 {
			w.Write(make([]byte, 1000))
		}
		w.Close()
		ws.ReadMessage() // until the client leaves
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("download")); err != nil {
			return err
		}
		kind, r, err := c.NextReader(ctx)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		fmt.Println("binary:", kind == websocket.BinaryMessage, "bytes:", n)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// binary: true bytes: 1000000
}

func ExampleConn_WriteJSON() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		var n struct{ A, B int }
		for ws.ReadJSON(&n) == nil {
			if ws.WriteJSON(map[string]int{"sum": n.A + n.B}) != nil {
				return
			}
		}
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4, Exchange: wspool.ReplyEach})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	var answer struct{ Sum int }
	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
		if err := c.WriteJSON(ctx, map[string]int{"a": 2, "b": 3}); err != nil {
			return err
		}
		return c.ReadJSON(ctx, &answer)
	})
	fmt.Println(answer.Sum, err)
	// Output:
	// 5 <nil>
}

// A lease as a stream of bytes, for what speaks to a net.Conn.
func ExampleConn_NetConn() {
	url, stop := localServer(shout)
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4, Exchange: wspool.Unpaired})
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
	stream := c.NetConn(ctx, websocket.BinaryMessage)
	defer stream.Close() // and the lease ends
	fmt.Fprintln(stream, "who")
	line, err := bufio.NewReader(stream).ReadString('\n')
	fmt.Printf("%q %v\n", line, err)
	// Output:
	// "WHO\n" <nil>
}

// A connection that was set up and pooled, and then belongs to the caller alone.
func ExampleConn_Hijack() {
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
	ws, ok := c.Hijack()
	if !ok { // it is read or written, something arrived, or it died
		c.Discard(nil)
		return
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("who")); err != nil {
		log.Fatal(err)
	}
	_, p, err := ws.ReadMessage()
	fmt.Println(string(p), err, "in the pool:", pool.Stats().Idle+pool.Stats().Leased)
	// Output:
	// WHO <nil> in the pool: 0
}
