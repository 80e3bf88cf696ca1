package wspool_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A server that answers in capitals, and three questions to it through a pool:
// one connection serves them all.
func Example() {
	url, stop := localServer(shout)
	defer stop()

	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, question := range []string{"who", "what", "where"} {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(question)); err != nil {
				return err
			}
			_, answer, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s\n", question, answer)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("connections:", pool.Stats().Made)
	if err := pool.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// who: WHO
	// what: WHAT
	// where: WHERE
	// connections: 1
}

// localServer serves each connection with one function, which gets the request
// that it began with, and closes it when that returns.
func localServer(serve func(*http.Request, *websocket.Conn)) (url string, stop func()) {
	var upgrader websocket.Upgrader
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		serve(r, ws)
	}))
	return "ws" + strings.TrimPrefix(s.URL, "http"), s.Close
}

// shout answers every message in capitals.
func shout(_ *http.Request, ws *websocket.Conn) {
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, []byte(strings.ToUpper(string(p)))) != nil {
			return
		}
	}
}

// answerTo asks one question on c and returns the answer.
func answerTo(ctx context.Context, c *wspool.Conn, text string) (string, error) {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(text)); err != nil {
		return "", err
	}
	_, p, err := c.ReadMessage(ctx)
	return string(p), err
}
