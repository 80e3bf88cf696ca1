package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

var (
	engineIO = brand{start: script("engine.js"), reach: reachEngine, ask: askEngine}
	socketIO = brand{start: script("socket.js"), reach: reachSocket, ask: askSocket}
)

// The engine.io 4 packets that a client must know, each a text message.
const (
	engineOpen    = "0" // followed by the session in JSON
	enginePing    = "2" // sent by the server; the client answers
	enginePong    = "3"
	engineMessage = "4" // followed by the message
	socketConnect = engineMessage + "0"
	socketBye     = engineMessage + "1" // the server disconnects
)

var errSocketBye = errors.New("the server has said goodbye")

// reachEngine configures a pool of engine.io clients.
func reachEngine(cfg *wspool.Config) {
	cfg.URL += "engine.io/?EIO=4&transport=websocket"
	cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		_, err := expectPacket(ctx, c, engineOpen+"{")
		return err
	}
	cfg.OnUnsolicited = answerEngine
	cfg.UnsolicitedLimit = 1000 // this server pings often
}

// reachSocket configures a pool of socket.io clients in the main namespace.
func reachSocket(cfg *wspool.Config) {
	reachEngine(cfg)
	cfg.URL = strings.Replace(cfg.URL, "/engine.io/", "/socket.io/", 1)
	cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		if _, err := expectPacket(ctx, c, engineOpen+"{"); err != nil {
			return err
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(socketConnect)); err != nil {
			return err
		}
		_, err := expectPacket(ctx, c, socketConnect+"{")
		return err
	}
}

func answerEngine(_ context.Context, m wspool.Message) (*wspool.Message, error) {
	if string(m.Data) == enginePing {
		return &wspool.Message{Type: websocket.TextMessage, Data: []byte(enginePong)}, nil
	}
	return nil, wspool.ErrUnsolicited
}

// readPacket returns the next packet other than a ping. A lease that has written receives
// pings too.
func readPacket(ctx context.Context, c *wspool.Conn) (string, error) {
	for {
		_, p, err := c.ReadMessage(ctx)
		if err != nil {
			return "", err
		}
		switch string(p) {
		case socketBye:
			return "", errSocketBye
		case enginePing:
		default:
			return string(p), nil
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(enginePong)); err != nil {
			return "", err
		}
	}
}

// expectPacket returns the next packet without its prefix, which it checks.
func expectPacket(ctx context.Context, c *wspool.Conn, prefix string) (string, error) {
	p, err := readPacket(ctx, c)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(p, prefix)
	if !ok {
		return "", fmt.Errorf("%w: got %.200q, want %q first", errCrossed, p, prefix)
	}
	return rest, nil
}

// askEngine sends a message and checks the echo.
func askEngine(ctx context.Context, c *wspool.Conn, id int64) error {
	question := padded(id)
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(engineMessage+question)); err != nil {
		return err
	}
	p, err := readPacket(ctx, c)
	if err != nil {
		return err
	}
	if p != engineMessage+question {
		return fmt.Errorf("%w: asked %q, got %q", errCrossed, question, p)
	}
	return nil
}

// askSocket emits an event and checks its acknowledgement.
func askSocket(ctx context.Context, c *wspool.Conn, id int64) error {
	question := padded(id)
	event, err := json.Marshal([]string{"say", question})
	if err != nil {
		return err
	}
	if err := c.WriteMessage(ctx, websocket.TextMessage, fmt.Appendf(nil, "%s2%d%s", engineMessage, id, event)); err != nil {
		return err
	}
	rest, err := expectPacket(ctx, c, fmt.Sprintf("%s3%d", engineMessage, id))
	if err != nil {
		return err
	}
	var said []string
	if err := json.Unmarshal([]byte(rest), &said); err != nil {
		return err
	}
	if len(said) != 1 || said[0] != question {
		return fmt.Errorf("%w: asked %q, got %q", errCrossed, question, said)
	}
	return nil
}
