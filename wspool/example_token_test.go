package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/wspool"
)

// tokenSource has the current token of a client.
type tokenSource struct{ n atomic.Int64 }

func (s *tokenSource) Token(context.Context) (string, error) {
	return fmt.Sprintf("token-%d", s.n.Load()), nil
}

// errRefreshed is the cause that traces and metrics show for connections with an old token.
var errRefreshed = errors.New("token was refreshed")

// Each dial sends the token that is current. When a token is revoked, connections that were
// opened with it end: idle ones at once, leased ones with their lease.
func ExamplePool_Reset() {
	url, stop := localServer(func(r *http.Request, ws *websocket.Conn) {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			ws.WriteMessage(websocket.TextMessage, []byte(r.Header.Get("Authorization")))
		}
	})
	defer stop()
	tokens := &tokenSource{}

	pool, err := wspool.New(wspool.Config{
		URL:     url,
		MaxSize: 4,
		Prepare: func(ctx context.Context, h *wspool.Handshake) error {
			token, err := tokens.Token(ctx)
			h.Header.Set("Authorization", "Bearer "+token)
			return err
		},
		// The tokens are valid for an hour, and the server ends a connection with its token.
		Eviction: policy.MaxAge(55*time.Minute, 0.1),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	who := func() {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			answer, err := answerTo(ctx, c, "who am I")
			fmt.Println(answer)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	who()
	tokens.n.Add(1) // refreshed because it expires: the connection stays good until then
	who()
	pool.Reset(errRefreshed) // revoked, or the rights of the client have changed
	who()
	// Output:
	// Bearer token-0
	// Bearer token-0
	// Bearer token-1
}
