// First is the shortest program around a pool: TCP connections to a server that
// this process plays.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/respool/respool/resource"
)

func main() {
	address := serve() // a server that echoes lines, in server.go
	pool, err := resource.New(resource.Config[net.Conn]{
		Make: func(ctx context.Context) (net.Conn, error) { // slow, so the pool runs it in the background
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		Destroy: func(c net.Conn, cause error) { c.Close() }, // once for each connection
		MaxSize: 8,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 3 {
		err := pool.Do(ctx, func(ctx context.Context, c net.Conn) error { // only this function uses c
			fmt.Fprintln(c, "hello")
			var reply string
			_, err := fmt.Fscanln(c, &reply)
			fmt.Println(reply)
			return err // an error destroys c
		})
		if err != nil {
			log.Print(err)
		}
	}
	fmt.Println(pool.Stats().Made, "connection made")
	if err := pool.Close(ctx); err != nil { // waits for leases until ctx ends
		log.Print(err)
	}
}
