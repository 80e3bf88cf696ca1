package graphqlws

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/wspool"
)

// Connect returns a function for wspool.Config.OnConnect that initializes a connection: it
// sends connection_init and waits for connection_ack. payload returns what the server needs
// to know, such as a token, and is called for each connection; nil sends no payload. Offer
// the [Subprotocol], too. An error fails the dial; it never has the payload in its text.
func Connect(payload func(ctx context.Context) (any, error)) func(context.Context, *wspool.Conn) error {
	return func(ctx context.Context, c *wspool.Conn) error {
		message := []byte(`{"type":"connection_init"}`)
		if payload != nil {
			p, err := payload(ctx)
			if err != nil {
				return fmt.Errorf("graphqlws: payload of connection_init: %w", err)
			}
			encoded, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("graphqlws: payload of connection_init cannot be encoded as JSON, it is a %T", p)
			}
			message = append(append([]byte(`{"type":"connection_init","payload":`), encoded...), '}')
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, message); err != nil {
			return err
		}
		for {
			_, data, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			e, err := open(data)
			switch {
			case err != nil:
				return err
			case jsonscan.Is(e.kind, "connection_ack"):
				return nil
			case jsonscan.Is(e.kind, "ping"):
				if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(`{"type":"pong"}`)); err != nil {
					return err
				}
			case jsonscan.Is(e.kind, "pong"):
			default:
				return fmt.Errorf("%w: want connection_ack", ErrMessage)
			}
		}
	}
}
