package jsonrpc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// request is a call as a server reads it.
type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params []int           `json:"params"`
}

func (r *request) reply() map[string]any {
	if r.Method != "sum" {
		return map[string]any{"id": r.ID, "error": jsonrpc.Error{Code: -32601, Message: "method not found"}}
	}
	sum := 0
	for _, n := range r.Params {
		sum += n
	}
	return map[string]any{"id": r.ID, "result": sum}
}

// serve replies to calls and batches.
func serve(w http.ResponseWriter, r *http.Request) {
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		_, m, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var one request
		if json.Unmarshal(m, &one) == nil {
			ws.WriteJSON(one.reply())
			continue
		}
		var all []request
		if json.Unmarshal(m, &all) != nil {
			return
		}
		var replies []any
		for i := range all {
			replies = append(replies, all[len(all)-1-i].reply()) // in any order
		}
		ws.WriteJSON(replies)
	}
}

func Example() {
	server := httptest.NewServer(http.HandlerFunc(serve))
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

	var sum, first int
	fmt.Println(jsonrpc.Call(ctx, client, "sum", []int{1, 2, 3}, &sum), sum)
	fmt.Println(jsonrpc.Call(ctx, client, "product", []int{1, 2, 3}, &sum))
	errs, err := jsonrpc.CallBatch(ctx, client, jsonrpc.Batch{
		{Method: "sum", Params: []int{4, 5}}, {Method: "product"},
	}, &first, nil)
	fmt.Println(err, first, errs)
	// Output:
	// <nil> 6
	// jsonrpc: server replied with an error: method not found (code -32601)
	// <nil> 9 [<nil> jsonrpc: server replied with an error: method not found (code -32601)]
}
