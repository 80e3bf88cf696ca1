// Firstsocket is the shortest program around a pool of WebSocket connections, to
// a server that this process plays.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

func main() {
	pool, err := wspool.New(wspool.Config{URL: serve(), MaxSize: 8}) // serve is in server.go
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 3 {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error { // only this function uses c
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("hello")); err != nil {
				return err
			}
			_, reply, err := c.ReadMessage(ctx)
			fmt.Printf("%s\n", reply)
			return err // an error closes the connection
		})
		if err != nil {
			log.Print(err)
		}
	}
	fmt.Println(pool.Stats().Made, "connection dialed")
	if err := pool.Close(ctx); err != nil { // waits for leases until ctx ends
		log.Print(err)
	}
}
