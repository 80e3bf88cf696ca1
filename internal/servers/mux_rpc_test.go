package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

var rpcShared = shared{
	start: script("rpc.js"), reach: func(*wspool.Config) {}, codec: mux.Config{Codec: jsonrpc.Codec{}}, conns: 2,
	caller: func(c *mux.Client) func(context.Context, int64) (bool, error) {
		return func(ctx context.Context, id int64) (bool, error) { return false, sayRPC(ctx, c, id) }
	},
}

// sayRPC calls a method that echoes its parameter.
func sayRPC(ctx context.Context, c *mux.Client, id int64) error {
	question, answer := padded(id), ""
	err := jsonrpc.Call(ctx, c, "say", []string{question}, &answer)
	return matches(question, answer, err)
}

// numberRPC calls a method that returns a number.
func numberRPC(ctx context.Context, c *mux.Client, method string) (n int, err error) {
	err = jsonrpc.Call(ctx, c, method, nil, &n)
	return n, err
}

func TestMuxRPC(t *testing.T) {
	server := script("rpc.js")(t, "127.0.0.1:0")
	t.Run("ids are numbers", func(t *testing.T) { useRPC(t, server, jsonrpc.Codec{}) })
	t.Run("ids are strings", func(t *testing.T) { useRPC(t, server, jsonrpc.Codec{StringIDs: true}) })
}

// failedRPC checks the error of a method that fails, or does not exist.
func failedRPC(err error, code int, data string) error {
	var failed *jsonrpc.Error
	if !errors.As(err, &failed) || failed.Code != code || string(failed.Data) != data {
		return fmt.Errorf("got %w, want code %d and data %s", err, code, data)
	}
	return nil
}

func useRPC(t *testing.T, server running, codec jsonrpc.Codec) {
	c := newMux(t, wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 4}, mux.Config{Codec: codec})
	const failed = `"asked to"`

	t.Run("calls", func(t *testing.T) {
		storm(t, muxCallers, 20, func(ctx context.Context, id int64) error {
			if id%10 == 0 {
				return failedRPC(jsonrpc.Call(ctx, c, "fail", nil, nil), -32000, failed)
			}
			return sayRPC(ctx, c, id)
		})
	})
	t.Run("200 in flight", func(t *testing.T) {
		const n = 200
		before := c.Stats().Batches
		storm(t, n, 1, func(ctx context.Context, id int64) error {
			question, answer := padded(id), ""
			err := jsonrpc.Call(ctx, c, "together", []any{n, question}, &answer)
			return matches(question, answer, err)
		})
		t.Logf("%d calls in %d writes", n, c.Stats().Batches-before)
	})
	t.Run("batches", func(t *testing.T) {
		storm(t, muxCallers, 3, func(ctx context.Context, id int64) error {
			question, said, named := padded(id), "", ""
			errs, err := jsonrpc.CallBatch(ctx, c, jsonrpc.Batch{
				{Method: "say", Params: []string{question}},
				{Method: "fail"},
				{Method: "nothing"},
				{Method: "named", Params: map[string]string{"text": question}},
			}, &said, nil, nil, &named)
			if err != nil {
				return err
			}
			return errors.Join(matches(question, said, errs[0]), failedRPC(errs[1], -32000, failed),
				failedRPC(errs[2], jsonrpc.CodeMethodNotFound, ""), matches(question, named, errs[3]))
		})
		succeed(t, func(ctx context.Context) error { // of one call
			said := ""
			errs, err := jsonrpc.CallBatch(ctx, c, jsonrpc.Batch{{Method: "say", Params: []string{"one"}}}, &said)
			if err != nil {
				return err
			}
			return matches("one", said, errs[0])
		})
	})
	t.Run("errors", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error {
			return errors.Join(failedRPC(jsonrpc.Call(ctx, c, "nothing", nil, nil), jsonrpc.CodeMethodNotFound, ""),
				failedRPC(jsonrpc.Call(ctx, c, "rpc.on", nil, nil), -32000, ""))
		})
	})
	t.Run("notifications", func(t *testing.T) {
		var noted []string
		succeed(t, func(ctx context.Context) error {
			if err := jsonrpc.Notify(ctx, c, "note", []string{"first"}); err != nil {
				return err
			}
			if err := jsonrpc.Notify(ctx, c, "fail", nil); err != nil { // has no reply either
				return err
			}
			if err := c.Notify(ctx, jsonrpc.Batch{{Method: "note", Params: []string{"second"}}, {Method: "note", Params: []string{"third"}}}); err != nil {
				return err
			}
			return nil
		})
		until(t, "the notifications do not arrive", func() bool {
			var more []string
			succeed(t, func(ctx context.Context) error { return jsonrpc.Call(ctx, c, "noted", nil, &more) })
			noted = append(noted, more...)
			return len(noted) >= 3
		})
		if want := []string{"first", "second", "third"}; !slices.Equal(noted, want) {
			t.Errorf("the server noted %q, want %q", noted, want)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		late := c.Stats().Late
		giveUp(t, func(ctx context.Context) error { return jsonrpc.Call(ctx, c, "hold", []string{"late"}, nil) },
			func(ctx context.Context) (int, error) { return numberRPC(ctx, c, "held") })
		if s := c.Stats(); s.Orphans != 1 || s.InFlight != 0 {
			t.Errorf("%d orphans, %d in flight, want 1 and 0", s.Orphans, s.InFlight)
		}
		succeed(t, func(ctx context.Context) error {
			if n, err := numberRPC(ctx, c, "open"); err != nil || n != 1 {
				t.Errorf("opened for %d calls (%v), want 1", n, err)
			}
			return nil
		})
		until(t, "the late reply is not dropped", func() bool {
			succeed(t, func(ctx context.Context) error { return sayRPC(ctx, c, 9) })
			s := c.Stats()
			return s.Late == late+1 && s.Orphans == 0
		})
	})
	if s := c.Stats(); s.Bad+s.Unknown != 0 || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
	t.Run("events that are no JSON-RPC", func(t *testing.T) { // have a "notification" instead of a method
		succeed(t, func(ctx context.Context) error {
			results := map[string]string{}
			if err := jsonrpc.Call(ctx, c, "rpc.on", []string{"news"}, &results); err != nil || results["news"] != "ok" {
				t.Errorf("subscribed with %v (%v)", results, err)
			}
			if err := jsonrpc.Call(ctx, c, "publish", []string{"x"}, nil); err != nil {
				return err
			}
			return sayRPC(ctx, c, 10)
		})
		if s := c.Stats(); s.Bad != 1 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMuxRPCRestart(t *testing.T) { eachShared(t, rpcShared) }
