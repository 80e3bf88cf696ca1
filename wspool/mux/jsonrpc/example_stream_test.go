package jsonrpc_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// events is a server with one subscription, to numbered events. A client says behind which
// event it goes on. The server ends its first connection in the middle.
func events() http.Handler {
	var conns atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var up websocket.Upgrader
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		var call request
		if ws.ReadJSON(&call) != nil {
			return
		}
		ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": "s1"})
		for n := call.Params[0] + 1; n <= 6; n++ {
			if n == 4 && conns.Add(1) == 1 {
				return
			}
			ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "method": "event", "params": map[string]any{"subscription": "s1", "result": n}})
		}
		ws.ReadMessage() // unsubscribe
	})
}

// A subscription goes on behind its last event when its connection is lost.
func ExampleCodec() {
	server := httptest.NewServer(events())
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(server.URL, "http"), MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{Unsubscribe: "unsubscribe"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	subscribe := func(after int) mux.Request {
		return mux.Request{Body: jsonrpc.Request{Method: "subscribe", Params: []int{after}}}
	}
	stream, err := client.Stream(ctx, subscribe(0), mux.StreamConfig{
		Resume: func(last mux.Message) (mux.Request, bool) {
			n := 0
			if last.Data != nil && jsonrpc.DecodePart(last, &n) != nil {
				return mux.Request{}, false // the stream ends
			}
			return subscribe(n), true
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for item, err := range stream.All(ctx) { // closes the stream at its end, which unsubscribes
		if err != nil {
			log.Fatal(err)
		}
		if item.Gap != nil {
			fmt.Println("the connection was lost") // here events are missing if the server has dropped them
			continue
		}
		var n int
		if err := jsonrpc.DecodePart(item.Message, &n); err != nil {
			log.Fatal(err)
		}
		fmt.Println("event", n)
		if n == 6 {
			break
		}
	}
	// Output:
	// event 1
	// event 2
	// event 3
	// the connection was lost
	// event 4
	// event 5
	// event 6
}
