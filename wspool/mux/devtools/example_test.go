package devtools_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/devtools"
)

// chromium answers two commands as a browser does. examples/browser uses a real one.
func chromium(w http.ResponseWriter, r *http.Request) {
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		var command struct {
			ID        int
			Method    string
			SessionID string
		}
		if ws.ReadJSON(&command) != nil {
			return
		}
		answer := map[string]any{"id": command.ID, "sessionId": command.SessionID}
		switch command.Method {
		case "Target.createTarget":
			answer["result"] = map[string]any{"targetId": "T1"}
		case "Page.navigate":
			answer["result"] = map[string]any{"frameId": "F1"}
			ws.WriteJSON(map[string]any{"method": "Page.loadEventFired", "sessionId": command.SessionID, "params": map[string]any{"timestamp": 1}})
		default:
			answer["error"] = map[string]any{"code": -32601, "message": "'" + command.Method + "' wasn't found"}
		}
		ws.WriteJSON(answer)
	}
}

// Commands to the browser and to one of its sessions share a connection, which carries the
// events too.
func Example() {
	browser := httptest.NewServer(http.HandlerFunc(chromium))
	defer browser.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := wspool.New(wspool.Config{URL: "ws" + strings.TrimPrefix(browser.URL, "http"), MaxSize: 1})
	if err != nil {
		panic(err)
	}
	defer pool.Close(ctx)
	events := make(chan devtools.Event, 8)
	client, err := mux.New(pool, mux.Config{Codec: devtools.Codec{}, OnEvent: func(ctx context.Context, m mux.Message) error {
		event, err := devtools.ParseEvent(m)
		if err == nil {
			events <- event
		}
		return err
	}})
	if err != nil {
		panic(err)
	}
	defer client.Close(ctx)

	var target struct{ TargetID string }
	err = devtools.Call(ctx, client, devtools.Command{Method: "Target.createTarget", Params: map[string]string{"url": "about:blank"}}, &target)
	fmt.Println(target.TargetID, err)
	err = devtools.Call(ctx, client, devtools.Command{Method: "Page.navigate", Params: map[string]string{"url": "https://example.com"}, SessionID: "S1"}, nil)
	event := <-events
	fmt.Println(event.Method, event.SessionID, err)
	var refused *devtools.Error
	err = devtools.Call(ctx, client, devtools.Command{Method: "Page.fly"}, nil)
	fmt.Println(errors.As(err, &refused), err)
	// Output:
	// T1 <nil>
	// Page.loadEventFired S1 <nil>
	// true devtools: browser replied with an error: 'Page.fly' wasn't found (code -32601)
}
