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
		_, reply, err := pool.Exchange(ctx, websocket.TextMessage, []byte("hello"))
		if err != nil {
			log.Print(err) // the connection is closed: its reply reaches no other caller
			continue
		}
		fmt.Printf("%s\n", reply)
	}
	fmt.Println(pool.Stats().Made, "connection dialed")
	if err := pool.Close(ctx); err != nil { // waits for leases until ctx ends
		log.Print(err)
	}
}
