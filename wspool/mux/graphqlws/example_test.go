package graphqlws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/graphqlws"
)

// serve answers a query with one result and a subscription with three. It pings right behind
// its connection_ack, as the protocol allows at any time.
func serve(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{graphqlws.Subprotocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	type message struct {
		ID      string          `json:"id,omitempty"`
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}
	for {
		var m message
		if ws.ReadJSON(&m) != nil {
			return
		}
		next := func(data string) { ws.WriteJSON(message{m.ID, "next", json.RawMessage(`{"data":` + data + `}`)}) }
		switch {
		case m.Type == "connection_init":
			ws.WriteJSON(message{Type: "connection_ack"})
			ws.WriteJSON(message{Type: "ping"})
		case m.Type != "subscribe":
		case strings.Contains(string(m.Payload), "subscription"):
			for _, price := range []string{"10", "11", "12"} {
				next(`{"price":` + price + `}`)
			}
			ws.WriteJSON(message{ID: m.ID, Type: "complete"})
		default:
			next(`{"me":{"name":"Ann"}}`)
			ws.WriteJSON(message{ID: m.ID, Type: "complete"})
		}
	}
}

// A query and a subscription share one connection.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(serve))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := wspool.New(wspool.Config{
		URL:           "ws" + strings.TrimPrefix(server.URL, "http"),
		MaxSize:       4,
		Subprotocols:  []string{graphqlws.Subprotocol},
		OnConnect:     graphqlws.Connect(nil),
		OnUnsolicited: graphqlws.Pong, // while no client has the connection
	})
	if err != nil {
		panic(err)
	}
	defer pool.Close(ctx)
	client, err := mux.New(pool, mux.Config{Codec: graphqlws.Codec{}, OnRequest: graphqlws.Pong})
	if err != nil {
		panic(err)
	}
	defer client.Close(ctx)

	var answer struct{ Me struct{ Name string } }
	err = graphqlws.Call(ctx, client, graphqlws.Operation{Query: "{ me { name } }"}, &answer)
	fmt.Println(answer.Me.Name, err)

	prices, err := client.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: "subscription { price }"}}, mux.StreamConfig{})
	if err != nil {
		panic(err)
	}
	for item, err := range prices.All(ctx) {
		if err != nil {
			fmt.Println(err)
			break
		}
		if item.End {
			continue // the message that says that there are no more
		}
		var at struct{ Price int }
		err := graphqlws.Decode(item.Message, &at)
		fmt.Println(at.Price, err)
	}
	fmt.Println("connections:", pool.Stats().Made)
	// Output:
	// Ann <nil>
	// 10 <nil>
	// 11 <nil>
	// 12 <nil>
	// connections: 1
}
