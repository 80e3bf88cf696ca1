// Package jsonrpc is the codec of JSON-RPC 2.0 for package mux: calls, batches, notifications,
// requests of the server, and the subscriptions of Ethereum's nodes.
//
//	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{}, MaxConns: 4})
//	…
//	var block string
//	err = jsonrpc.Call(ctx, client, "eth_blockNumber", nil, &block)
//
// For subscriptions set [Codec.Unsubscribe], and open streams:
//
//	codec := jsonrpc.Codec{Unsubscribe: "eth_unsubscribe"}
//	…
//	heads, err := client.Stream(ctx, mux.Request{Body: jsonrpc.Request{
//		Method: "eth_subscribe", Params: []string{"newHeads"},
//	}}, mux.StreamConfig{})
//
// If the server sends notifications or requests of its own, set [mux.Config.OnEvent] and OnRequest,
// and wspool.Config.OnUnsolicited for those that arrive while no client has the connection: they
// destroy the connection otherwise.
//
// It follows https://www.jsonrpc.org/specification, and is lenient in what it accepts: ids
// that come back as strings, or as numbers with a fraction of zeros, are those that were sent.
package jsonrpc
