package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// serveEcho starts a server on loopback that sends everything back, and returns its address.
func serveEcho() (addr string, stop func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}))
	return strings.TrimPrefix(s.URL, "http://"), s.Close
}

// Two servers, and a third that is dead: no request fails.
func Example() {
	first, stopFirst := serveEcho()
	defer stopFirst()
	second, stopSecond := serveEcho()
	defer stopSecond()
	dead, stopDead := serveEcho()
	stopDead()

	c, err := cluster.New(cluster.Config{
		Resolver: endpoint.Static(endpoint.Endpoint{Addr: dead}, endpoint.Endpoint{Addr: first}, endpoint.Endpoint{Addr: second}),
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: "ws://" + e.Addr + "/"}, nil
		},
		MaxTotal: 20, // connections to all servers together
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer c.Close(ctx)

	failed := 0
	for range 200 {
		if _, _, err := c.Exchange(ctx, websocket.TextMessage, []byte("hello")); err != nil {
			failed++
		}
	}
	fmt.Println("failed:", failed)
	for _, e := range c.Stats().Endpoints {
		if e.Bad > 0 {
			fmt.Println("fails:", e.Endpoint.Addr == dead)
		}
	}
	// Output:
	// failed: 0
	// fails: true
}

// A lease, with work that may be done twice: if the connection turns out to be dead the work is
// done with one of another server.
func ExampleCluster_DoIdempotent() {
	addr, stop := serveEcho()
	defer stop()
	c, err := cluster.New(cluster.Config{
		Resolver: endpoint.Static(endpoint.Endpoint{Addr: addr}),
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: "ws://" + e.Addr + "/"}, nil
		},
		MaxTotal: 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer c.Close(ctx)

	err = c.DoIdempotent(ctx, func(ctx context.Context, conn *wspool.Conn) error {
		if err := conn.WriteMessage(ctx, websocket.TextMessage, []byte("hello")); err != nil {
			return err
		}
		_, reply, err := conn.ReadMessage(ctx)
		fmt.Printf("%s\n", reply)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello
}

// One error names every bad field.
func ExampleNew_badConfig() {
	_, err := cluster.New(cluster.Config{MaxEach: -1})
	fmt.Println(errors.Is(err, endpoint.ErrConfig))
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Println(line)
	}
	// Output:
	// true
	// cluster: bad Config: Config is required
	// MaxTotal must be between 1 and 2147483647, got 0
	// MaxEach must be at least 0, got -1
	// endpoint: bad configuration: Resolver is required
}
