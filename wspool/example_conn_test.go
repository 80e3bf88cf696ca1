package wspool_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

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

// NextReader tells of a message as soon as it begins.
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
	if !ok { // somebody reads or writes, something came in, or it died
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
