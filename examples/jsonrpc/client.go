package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/respool/respool/wspool"
)

// client calls methods of a JSON-RPC 2.0 server through a pool of connections. Each call has
// exclusive use of a connection, so replies need no matching, and never gets the reply to
// another call. It is safe for concurrent use.
type client struct {
	pool *wspool.Pool
	ids  atomic.Int64
}

func newClient(url string, size int) (*client, error) {
	pool, err := wspool.New(wspool.Config{
		URL:      url,
		MaxSize:  size,
		Exchange: wspool.ReplyEach, // one reply per request; otherwise the connection is not lent again
		// An error reply does not mean that the connection is broken.
		Broken: func(err error) bool { _, ok := err.(*rpcError); return !ok },
	})
	if err != nil {
		return nil, err
	}
	return &client{pool: pool}, nil
}

// rpcError is the reply to a call that failed.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("server: %s (%d)", e.Message, e.Code) }

type request struct {
	Version string `json:"jsonrpc"`
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	ID     int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

// call calls a method once. If ctx ends before the reply arrives the connection is closed,
// so that no other call gets the reply.
func (c *client) call(ctx context.Context, method string, params, result any) error {
	return c.pool.Do(ctx, func(ctx context.Context, conn *wspool.Conn) error {
		return c.exchange(ctx, conn, method, params, result)
	})
}

// callAgain is for idempotent methods: if a reused connection turns out to be dead it
// retries once, on a new one.
func (c *client) callAgain(ctx context.Context, method string, params, result any) error {
	return c.pool.DoIdempotent(ctx, func(ctx context.Context, conn *wspool.Conn) error {
		return c.exchange(ctx, conn, method, params, result)
	})
}

func (c *client) exchange(ctx context.Context, conn *wspool.Conn, method string, params, result any) error {
	req := request{Version: "2.0", ID: c.ids.Add(1), Method: method, Params: params}
	if err := conn.WriteJSON(ctx, req); err != nil {
		return err
	}
	var resp response
	if err := conn.ReadJSON(ctx, &resp); err != nil {
		return err
	}
	switch {
	case resp.ID != req.ID:
		return fmt.Errorf("asked under id %d, answered under %d", req.ID, resp.ID)
	case resp.Error != nil:
		return resp.Error
	}
	return json.Unmarshal(resp.Result, result)
}
