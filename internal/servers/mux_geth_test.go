package servers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// ethereum is the codec of Ethereum's clients.
var ethereum = jsonrpc.Codec{Unsubscribe: "eth_unsubscribe"}

var gethShared = shared{
	start: own("geth"), reach: func(*wspool.Config) {}, codec: mux.Config{Codec: ethereum}, conns: 2,
	caller: func(c *mux.Client) func(context.Context, int64) (bool, error) {
		return func(ctx context.Context, id int64) (refused bool, err error) {
			err = sayGeth(ctx, c, id)
			var failed *jsonrpc.Error
			return errors.As(err, &failed) && failed.Message == "client is shutting down", err // while it drains
		}
	},
}

func sayGeth(ctx context.Context, c *mux.Client, id int64) error {
	question, answer := padded(id), ""
	err := jsonrpc.Call(ctx, c, "eth_say", []string{question}, &answer)
	return matches(question, answer, err)
}

func TestMuxGethRestart(t *testing.T) { eachShared(t, gethShared) }

// Calls, batches, errors, cancellation and subscriptions of go-ethereum's server.
func TestMuxGeth(t *testing.T) {
	server := own("geth")(t, "127.0.0.1:0")
	c := newMux(t, wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 4}, mux.Config{Codec: ethereum})
	t.Run("calls", func(t *testing.T) {
		storm(t, muxCallers, 20, func(ctx context.Context, id int64) error {
			if id%10 == 0 {
				return failedRPC(jsonrpc.Call(ctx, c, "eth_fail", nil, nil), -32000, "")
			}
			return sayGeth(ctx, c, id)
		})
	})
	t.Run("batches", func(t *testing.T) {
		storm(t, muxCallers, 3, func(ctx context.Context, id int64) error {
			question, said := padded(id), ""
			errs, err := jsonrpc.CallBatch(ctx, c, jsonrpc.Batch{
				{Method: "eth_say", Params: []string{question}}, {Method: "eth_fail"}, {Method: "eth_nothing"},
			}, &said, nil, nil)
			if err != nil {
				return err
			}
			return errors.Join(matches(question, said, errs[0]), failedRPC(errs[1], -32000, ""),
				failedRPC(errs[2], jsonrpc.CodeMethodNotFound, ""))
		})
	})
	t.Run("cancel", func(t *testing.T) {
		late := c.Stats().Late
		giveUp(t, func(ctx context.Context) error { return jsonrpc.Call(ctx, c, "eth_hold", []string{"late"}, nil) },
			func(ctx context.Context) (int, error) { return numberRPC(ctx, c, "eth_held") })
		succeed(t, func(ctx context.Context) error { return jsonrpc.Call(ctx, c, "eth_open", nil, nil) })
		until(t, "the late reply is not dropped", func() bool {
			succeed(t, func(ctx context.Context) error { return sayGeth(ctx, c, 9) })
			return c.Stats().Late == late+1
		})
	})
	t.Run("subscriptions", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error { // that the server refuses
			_, err := c.Stream(ctx, ticksOf(""), mux.StreamConfig{})
			return failedRPC(err, -32000, "")
		})
		storm(t, muxCallers, 2, func(ctx context.Context, id int64) error {
			s, err := c.Stream(ctx, ticksOf(fmt.Sprint(id)), mux.StreamConfig{})
			if err != nil {
				return err
			}
			for n := 1; n <= 10; n++ {
				item, err := s.Next(ctx)
				if err != nil {
					return err
				}
				if err := ticked(item, fmt.Sprint(id), n); err != nil {
					return err
				}
			}
			return s.Close()
		})
		until(t, "the server does not end the subscriptions", func() bool {
			n := 1
			succeed(t, func(ctx context.Context) (err error) { n, err = numberRPC(ctx, c, "eth_ticking"); return err })
			return n == 0
		})
	})
	if s := c.Stats(); s.Bad+s.Unknown+s.Gaps != 0 || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
}

func ticksOf(name string) mux.Request {
	return mux.Request{Body: &jsonrpc.Request{Method: "eth_subscribe", Params: []string{"ticks", name}}}
}

// ticked checks one notification.
func ticked(item mux.Item, name string, n int) error {
	if item.Gap != nil {
		return fmt.Errorf("a gap: %+v", item.Gap)
	}
	var got tick
	if err := jsonrpc.DecodePart(item.Message, &got); err != nil {
		return err
	}
	if want := (tick{name, n}); got != want {
		return fmt.Errorf("%w: got %+v, want %+v", errCrossed, got, want)
	}
	return nil
}

// Subscriptions outlive their server: each goes on after the restart, its reader sees a gap
// there, and every notification is its own. Callers share the connections meanwhile.
func TestMuxGethSubscriptions(t *testing.T) {
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) { endureSubscriptions(t, f) })
	}
}

func endureSubscriptions(t *testing.T, f fault) {
	const subscribers, enough = 16, 20
	server := own("geth")(t, "127.0.0.1:0")
	addr := server.address()
	c := newMux(t, wspool.Config{URL: "ws://" + addr + "/", MaxSize: 8}, mux.Config{Codec: ethereum, MaxConns: 2, GrowAt: 8})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	var warm, all sync.WaitGroup
	var gaps, asked atomic.Int64
	warm.Add(subscribers)
	for i := range subscribers {
		name := fmt.Sprint("subscriber ", i)
		request := ticksOf(name)
		s, err := c.Stream(ctx, request, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return request, true }})
		if err != nil {
			t.Fatal(err)
		}
		warmed := sync.OnceFunc(warm.Done)
		all.Go(func() {
			defer s.Close()
			defer warmed()
			again := false // a gap was seen
			for n := 1; n <= enough || !again; n++ {
				item, err := s.Next(ctx)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if item.Gap != nil {
					if item.Gap.Cause == nil || item.Gap.Lasted < 0 {
						t.Errorf("%s: %+v", name, item.Gap)
					}
					gaps.Add(1)
					again, n = true, 0 // the server counts from 1 again
					continue
				}
				if err := ticked(item, name, n); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if n == enough {
					warmed()
				}
			}
		})
	}
	quit := make(chan struct{})
	for range 8 { // callers on the same connections
		all.Go(func() {
			for {
				select {
				case <-quit:
					return
				case <-time.After(time.Millisecond):
				}
				err := sayGeth(ctx, c, asked.Add(1))
				var fate *mux.CallError
				var refused *jsonrpc.Error
				if err != nil && !errors.As(err, &fate) && !errors.As(err, &refused) {
					t.Errorf("a call ends with neither a reply nor a fate: %v", err)
				}
			}
		})
	}
	stopCallers := sync.OnceFunc(func() { close(quit) })
	t.Cleanup(all.Wait)
	t.Cleanup(stopCallers)
	t.Cleanup(cancel)
	awaitGroup(t, "subscribers get nothing", &warm)
	server.end(t, f)
	own("geth")(t, addr)
	until(t, "subscriptions do not go on", func() bool { return gaps.Load() >= subscribers })
	stopCallers()
	all.Wait()
	st := c.Stats()
	t.Logf("%d gaps of %d subscribers, %d attempts to resume, %d calls", gaps.Load(), subscribers, st.Resumes, asked.Load())
	if st.Bad+st.Unknown != 0 {
		t.Errorf("%+v", st)
	}
}
