package mux_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// squares is a JSON-RPC server with one method.
func squares(w http.ResponseWriter, r *http.Request) {
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		var call struct {
			ID     json.RawMessage `json:"id"`
			Params []int           `json:"params"`
		}
		if ws.ReadJSON(&call) != nil {
			return
		}
		ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": call.Params[0] * call.Params[0]})
	}
}

// A hundred callers share one connection.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(squares))
	defer server.Close()
	ctx := context.Background()
	pool, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(server.URL, "http"), MaxSize: 4})
	if err != nil {
		panic(err)
	}
	defer pool.Close(ctx)
	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{}})
	if err != nil {
		panic(err)
	}
	defer client.Close(ctx)

	var mu sync.Mutex
	var wg sync.WaitGroup
	sum := 0
	for i := range 100 {
		wg.Go(func() {
			var square int
			if err := jsonrpc.Call(ctx, client, "square", []int{i}, &square); err != nil {
				panic(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sum += square
		})
	}
	wg.Wait()
	fmt.Println("sum of squares:", sum)
	fmt.Println("connections:", len(client.Stats().Conns))
	// Output:
	// sum of squares: 328350
	// connections: 1
}
