package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/respool/respool/wspool"
)

var rpcWebSockets = brand{start: script("rpc.js"), reach: reachRPC, ask: askRPC}

// rpcError is an error reply of the server.
type rpcError struct {
	Code    int
	Message string
}

func (e *rpcError) Error() string { return fmt.Sprintf("JSON-RPC error %d: %s", e.Code, e.Message) }

// reachRPC configures a pool of JSON-RPC clients: each request has one reply, and an error
// reply does not mean that the connection is broken.
func reachRPC(cfg *wspool.Config) {
	cfg.Exchange = wspool.ReplyEach
	cfg.Broken = func(err error) bool { return !errors.As(err, new(*rpcError)) }
}

// callRPC calls a method with a text argument and a text result.
func callRPC(ctx context.Context, c *wspool.Conn, id int64, method, param string) (result string, err error) {
	request := map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": []string{param}}
	if err := c.WriteJSON(ctx, request); err != nil {
		return "", err
	}
	var reply struct {
		ID     int64
		Result string
		Error  *rpcError
	}
	if err := c.ReadJSON(ctx, &reply); err != nil {
		return "", err
	}
	switch {
	case reply.ID != id:
		return "", fmt.Errorf("%w: asked %d, got %d", errCrossed, id, reply.ID)
	case reply.Error != nil:
		return "", reply.Error
	}
	return reply.Result, nil
}

// askRPC calls an echo method; every tenth question first calls a method that fails.
func askRPC(ctx context.Context, c *wspool.Conn, id int64) error {
	if id%10 == 0 {
		_, err := callRPC(ctx, c, -id, "fail", "")
		if !errors.As(err, new(*rpcError)) {
			return cmp.Or(err, fmt.Errorf("%w: a method that fails has returned", errCrossed))
		}
	}
	question := padded(id)
	answer, err := callRPC(ctx, c, id, "say", question)
	if err == nil && answer != question {
		err = fmt.Errorf("%w: asked %q, got %q", errCrossed, question, answer)
	}
	return err
}
