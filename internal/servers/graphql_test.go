package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

var graphQL = brand{start: script("graphql.js"), reach: reachGraphQL, ask: askGraphQL}

// graphMessage is a message of graphql-transport-ws.
type graphMessage struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// reachGraphQL configures a pool of clients that have signed in.
func reachGraphQL(cfg *wspool.Config) {
	cfg.URL += "graphql"
	cfg.Subprotocols = []string{"graphql-transport-ws"}
	cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		const hello = `{"type":"connection_init","payload":{"token":"let me in"}}`
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(hello)); err != nil {
			return err
		}
		m, err := readGraph(ctx, c)
		if err == nil && m.Type != "connection_ack" {
			err = fmt.Errorf("%w: got %q, want connection_ack", errCrossed, m.Type)
		}
		return err
	}
	cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
		var g graphMessage
		if err := json.Unmarshal(m.Data, &g); err != nil || g.Type != "ping" {
			return nil, wspool.ErrUnsolicited
		}
		return &wspool.Message{Type: websocket.TextMessage, Data: []byte(`{"type":"pong"}`)}, nil
	}
	cfg.UnsolicitedLimit = 1000 // this server pings often
}

// readGraph returns the next message other than a ping.
func readGraph(ctx context.Context, c *wspool.Conn) (m graphMessage, err error) {
	for {
		m = graphMessage{}
		if err := c.ReadJSON(ctx, &m); err != nil || m.Type != "ping" {
			return m, err
		}
		if err := c.WriteJSON(ctx, graphMessage{Type: "pong"}); err != nil {
			return m, err
		}
	}
}

// runGraph runs an operation, calls f with the data of each result, and returns when it is
// complete.
func runGraph(ctx context.Context, c *wspool.Conn, id int64, query string, f func(data map[string]any) error) error {
	payload, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return err
	}
	name := strconv.FormatInt(id, 10)
	if err := c.WriteJSON(ctx, graphMessage{ID: name, Type: "subscribe", Payload: payload}); err != nil {
		return err
	}
	for {
		m, err := readGraph(ctx, c)
		if err != nil {
			return err
		}
		if m.ID != name {
			return fmt.Errorf("%w: ran %s, got %+v", errCrossed, name, m)
		}
		switch m.Type {
		case "complete":
			return nil
		case "next":
			var result struct{ Data map[string]any }
			if err := json.Unmarshal(m.Payload, &result); err != nil {
				return err
			}
			if err := f(result.Data); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s of operation %s: %s", m.Type, name, m.Payload)
		}
	}
}

// askGraphQL runs a query that echoes its argument.
func askGraphQL(ctx context.Context, c *wspool.Conn, id int64) error {
	question, results := padded(id), 0
	err := runGraph(ctx, c, id, fmt.Sprintf(`{ say(text: %q) }`, question), func(data map[string]any) error {
		if results++; data["say"] != question {
			return fmt.Errorf("%w: asked %q, got %v", errCrossed, question, data)
		}
		return nil
	})
	if err == nil && results != 1 {
		err = fmt.Errorf("%w: %d results", errCrossed, results)
	}
	return err
}
