package wspool_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// login is an endpoint and the user that signs in there.
type login struct{ url, user string }

// A pool for each endpoint and user, under one total: no user is ever lent a
// connection that another has signed in.
func ExampleManager() {
	url, stop := localServer(func(r *http.Request, ws *websocket.Conn) {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			ws.WriteMessage(websocket.TextMessage, []byte("you are "+r.Header.Get("User")))
		}
	})
	defer stop()
	pools, err := wspool.NewManager(wspool.ManagerConfig[login]{
		MaxTotal: 100,
		Config: func(key login) (wspool.Config, error) {
			return wspool.Config{
				URL:     key.url,
				MaxSize: 8, // of each key
				Prepare: func(_ context.Context, h *wspool.Handshake) error {
					h.Header.Set("User", key.user)
					return nil
				},
			}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pools.Close(ctx)

	for _, user := range []string{"ann", "bob", "ann"} {
		err := pools.Do(ctx, login{url, user}, func(ctx context.Context, c *wspool.Conn) error {
			answer, err := answerTo(ctx, c, "who am I")
			fmt.Println(answer)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("keys:", pools.Len(), "connections:", pools.Stats().Made)
	// Output:
	// you are ann
	// you are bob
	// you are ann
	// keys: 2 connections: 2
}
