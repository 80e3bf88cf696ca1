package main

import (
	"context"
	"errors"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// client calls methods of a JSON-RPC 2.0 server. All calls share a few connections: each call
// has an id, by which its reply is found. It is safe for concurrent use.
type client struct {
	pool *wspool.Pool // dials, checks and replaces the connections
	mux  *mux.Client  // holds them and shares them
}

// newClient returns a client of at most conns connections.
func newClient(url string, conns int) (*client, error) {
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: conns})
	if err != nil {
		return nil, err
	}
	shared, err := mux.New(pool, mux.Config{
		Codec:    jsonrpc.Codec{},
		MaxConns: conns,
		// Every idempotent call may be replayed. The default, a tenth of the calls, keeps
		// replays from doubling the load of a server that is failing.
		ReplayRatio: 1,
	})
	if err != nil {
		return nil, errors.Join(err, pool.Close(context.Background()))
	}
	return &client{pool, shared}, nil
}

// call calls a method. A call that was not sent because its connection ended is sent on
// another one. If it was sent and no reply arrives, the error matches mux.ErrMayHaveRun.
func (c *client) call(ctx context.Context, method string, params, result any) error {
	return jsonrpc.Call(ctx, c.mux, method, params, result)
}

// callAgain is for idempotent methods: a call that may have run is sent once more.
func (c *client) callAgain(ctx context.Context, method string, params, result any) error {
	reply, err := c.mux.Call(ctx, mux.Request{
		Body:       jsonrpc.Request{Method: method, Params: params},
		Idempotent: true,
	})
	if err != nil {
		return err
	}
	return jsonrpc.Decode(reply, result)
}

// close waits for calls in flight until ctx ends, and closes the connections.
func (c *client) close(ctx context.Context) error {
	return errors.Join(c.mux.Close(ctx), c.pool.Close(ctx))
}
