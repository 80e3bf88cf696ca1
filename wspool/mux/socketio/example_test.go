package socketio_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/socketio"
)

// serve accepts the main namespace, emits an event on connection, and acknowledges each event of the
// client with its arguments, after an event of its own.
func serve(w http.ResponseWriter, r *http.Request) {
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	ws.WriteMessage(websocket.TextMessage, []byte(`0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`))
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if bytes.HasPrefix(data, []byte("40")) {
			ws.WriteMessage(websocket.TextMessage, []byte(`40{"sid":"y"}`))
			ws.WriteMessage(websocket.TextMessage, []byte(`42["welcome"]`))
			continue
		}
		reply, err := server(mux.Message{Type: websocket.TextMessage, Data: data})
		if err != nil {
			return
		}
		ws.WriteMessage(websocket.TextMessage, []byte(`42["kitchen","busy"]`))
		ws.WriteMessage(websocket.TextMessage, reply.Data)
	}
}

// An event that the server acknowledges is a call; other events come to OnEvent.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(serve))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	codec := socketio.Codec{}
	pool, err := wspool.New(wspool.Config{
		URL:           "ws" + strings.TrimPrefix(server.URL, "http") + "/socket.io/?EIO=4&transport=websocket",
		MaxSize:       4,
		OnConnect:     codec.Connect(nil),
		OnUnsolicited: codec.Answer(nil), // while no client has the connection
	})
	if err != nil {
		panic(err)
	}
	defer pool.Close(ctx)
	events := make(chan string, 8)
	client, err := mux.New(pool, mux.Config{
		Codec:     codec,
		OnRequest: codec.Answer(nil),
		OnEvent: func(ctx context.Context, m mux.Message) error {
			event, err := socketio.ParseEvent(m)
			if err != nil || event.Name != "kitchen" {
				return err
			}
			var load string
			err = event.Decode(&load)
			events <- event.Name + " " + load
			return err
		},
	})
	if err != nil {
		panic(err)
	}
	defer client.Close(ctx)

	reply, err := client.Call(ctx, mux.Request{Body: socketio.Event{Name: "order", Args: []any{"tea", 2}}})
	if err != nil {
		panic(err)
	}
	var what string
	var cups int
	fmt.Println(socketio.Decode(reply, &what, &cups), what, cups)
	fmt.Println(<-events)
	// Output:
	// <nil> tea 2
	// kitchen busy
}
