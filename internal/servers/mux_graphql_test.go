package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/graphqlws"
)

var graphQLShared = shared{
	start: script("graphql.js"), reach: reachSharedGraphQL,
	codec: mux.Config{Codec: graphqlws.Codec{}, OnRequest: graphqlws.Pong}, conns: 2,
	caller: func(c *mux.Client) func(context.Context, int64) (bool, error) {
		return func(ctx context.Context, id int64) (bool, error) { return false, sayGraphQL(ctx, c, id) }
	},
}

func reachSharedGraphQL(cfg *wspool.Config) {
	cfg.URL += "graphql"
	cfg.Subprotocols = []string{graphqlws.Subprotocol}
	cfg.OnConnect = graphqlws.Connect(func(context.Context) (any, error) {
		return map[string]string{"token": "let me in"}, nil
	})
}

// sayGraphQL runs a query that echoes its variable.
func sayGraphQL(ctx context.Context, c *mux.Client, id int64) error {
	question := padded(id)
	var data struct{ Say string }
	err := graphqlws.Call(ctx, c, graphqlws.Operation{
		Query: "query Q($text: String!) { say(text: $text) }", OperationName: "Q", Variables: map[string]any{"text": question},
	}, &data)
	return matches(question, data.Say, err)
}

// numberGraphQL returns the only field of an operation.
func numberGraphQL(ctx context.Context, c *mux.Client, query, field string) (int, error) {
	var data map[string]int
	err := graphqlws.Call(ctx, c, graphqlws.Operation{Query: query}, &data)
	return data[field], err
}

func TestMuxGraphQL(t *testing.T) {
	server := script("graphql.js")(t, "127.0.0.1:0")
	cfg := wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 4}
	reachSharedGraphQL(&cfg)
	pinged := make(chan struct{}, 1)
	c := newMux(t, cfg, mux.Config{Codec: graphqlws.Codec{}, OnRequest: func(ctx context.Context, m mux.Message) (*mux.Message, error) {
		select {
		case pinged <- struct{}{}:
		default:
		}
		return graphqlws.Pong(ctx, m)
	}})

	t.Run("queries", func(t *testing.T) {
		storm(t, muxCallers, 20, func(ctx context.Context, id int64) error { return sayGraphQL(ctx, c, id) })
	})
	t.Run("200 in flight", func(t *testing.T) {
		before := c.Stats().Batches
		const n = 200
		storm(t, n, 1, func(ctx context.Context, id int64) error {
			question := padded(id)
			var data struct{ Together string }
			err := graphqlws.Call(ctx, c, graphqlws.Operation{
				Query:     "query Q($n: Int!, $text: String!) { together(n: $n, text: $text) }",
				Variables: map[string]any{"n": n, "text": question},
			}, &data)
			return matches(question, data.Together, err)
		})
		if s := c.Stats(); len(s.Conns) != 1 {
			t.Errorf("got %d connections, want 1", len(s.Conns))
		} else {
			t.Logf("%d queries in %d writes", n, s.Batches-before)
		}
	})
	t.Run("mutations", func(t *testing.T) {
		storm(t, muxCallers, 2, func(ctx context.Context, id int64) error {
			_, err := numberGraphQL(ctx, c, fmt.Sprintf("mutation { add(n: %d) }", id), "add")
			return err
		})
		succeed(t, func(ctx context.Context) error {
			const n = 2 * muxCallers
			sum, err := numberGraphQL(ctx, c, "mutation { add(n: 0) }", "add")
			if err == nil && sum != n*(n+1)/2 {
				t.Errorf("the sum is %d, want %d: a mutation is lost or ran twice", sum, n*(n+1)/2)
			}
			return err
		})
	})
	t.Run("errors", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error {
			var errs graphqlws.Errors
			data := struct {
				Fail *string
				Say  string
			}{}
			err := graphqlws.Call(ctx, c, graphqlws.Operation{Query: `{ fail(text: "asked to") say(text: "said") }`}, &data)
			if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Message != "asked to" || fmt.Sprint(errs[0].Path) != "[fail]" {
				t.Errorf("a field that fails: got %v", err)
			}
			if data.Say != "said" || data.Fail != nil {
				t.Errorf("the data beside a field that fails: got %+v", data)
			}
			err = graphqlws.Call(ctx, c, graphqlws.Operation{Query: `{ nothing }`}, nil)
			if errs = nil; !errors.As(err, &errs) || len(errs) != 1 {
				t.Errorf("an operation that does not validate: got %v", err)
			}
			return sayGraphQL(ctx, c, 7)
		})
	})
	t.Run("subscriptions", func(t *testing.T) {
		storm(t, 8, 1, func(ctx context.Context, id int64) error {
			s, err := c.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: fmt.Sprintf("subscription { count(to: %d) }", 10*id)}}, mux.StreamConfig{})
			if err != nil {
				return err
			}
			defer s.Close()
			n := 0
			for {
				item, err := s.Next(ctx)
				switch {
				case err == io.EOF:
					if int64(n) != 10*id {
						return fmt.Errorf("got %d results, want %d", n, 10*id)
					}
					return nil
				case err != nil:
					return err
				case item.End:
					continue
				case item.Gap != nil:
					return fmt.Errorf("a gap: %+v", item.Gap)
				}
				var data struct{ Count int }
				if err := graphqlws.Decode(item.Message, &data); err != nil {
					return err
				}
				if n++; data.Count != n {
					return fmt.Errorf("%w: result %d is %d", errCrossed, n, data.Count)
				}
			}
		})
		succeed(t, func(ctx context.Context) error { // that the server refuses
			s, err := c.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: "subscription { nothing }"}}, mux.StreamConfig{})
			if err != nil {
				return err
			}
			defer s.Close()
			item, err := s.Next(ctx)
			if err != nil {
				return err
			}
			if err := graphqlws.Decode(item.Message, nil); !item.End || !errors.As(err, new(graphqlws.Errors)) {
				t.Errorf("got %v (end: %v), want the errors of the server", err, item.End)
			}
			return nil
		})
	})
	t.Run("unsubscribe", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error {
			s, err := c.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: "subscription { tick }"}}, mux.StreamConfig{})
			if err != nil {
				return err
			}
			for range 3 {
				if _, err := s.Next(ctx); err != nil {
					return err
				}
			}
			if n, err := numberGraphQL(ctx, c, "{ ticking }", "ticking"); err != nil || n != 1 {
				t.Errorf("the server has %d subscriptions (%v), want 1", n, err)
			}
			return s.Close()
		})
		until(t, "the server does not end the subscription", func() bool {
			n := 1
			succeed(t, func(ctx context.Context) (err error) {
				n, err = numberGraphQL(ctx, c, "{ ticking }", "ticking")
				return err
			})
			return n == 0
		})
	})
	t.Run("cancel", func(t *testing.T) {
		giveUp(t, func(ctx context.Context) error {
			return graphqlws.Call(ctx, c, graphqlws.Operation{Query: `{ hold(text: "late") }`}, nil)
		}, func(ctx context.Context) (int, error) { return numberGraphQL(ctx, c, "{ held }", "held") })
		if s := c.Stats(); s.Orphans+s.InFlight != 0 {
			t.Errorf("%d orphans, %d in flight: the server sends nothing for what is canceled", s.Orphans, s.InFlight)
		}
		succeed(t, func(ctx context.Context) error {
			if n, err := numberGraphQL(ctx, c, "mutation { open }", "open"); err != nil || n != 1 {
				t.Errorf("opened for %d calls (%v), want 1", n, err)
			}
			return sayGraphQL(ctx, c, 8)
		})
	})
	t.Run("ping", func(t *testing.T) {
		before := 0
		succeed(t, func(ctx context.Context) (err error) {
			before, err = numberGraphQL(ctx, c, "{ pongs }", "pongs")
			return err
		})
		succeed(t, func(ctx context.Context) error {
			for range 4 { // without a call; the first may be old
				select {
				case <-pinged:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			after, err := numberGraphQL(ctx, c, "{ pongs }", "pongs")
			if err == nil && after < before+2 {
				t.Errorf("the server has %d pongs, and had %d before it pinged", after, before)
			}
			return err
		})
	})
	if s := c.Stats(); s.Bad+s.Unknown != 0 || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
	t.Run("syntax error", func(t *testing.T) { // for which this server closes the connection
		succeed(t, func(ctx context.Context) error {
			err := graphqlws.Call(ctx, c, graphqlws.Operation{Query: "{ say("}, nil)
			var closed *wspool.CloseError
			if fated(t, err, mux.ErrMayHaveRun, err); !errors.As(err, &closed) || closed.Code != 4500 {
				t.Errorf("got %v, want a connection closed with 4500", err)
			}
			return sayGraphQL(ctx, c, 9)
		})
	})
}

func TestMuxGraphQLRestart(t *testing.T) { eachShared(t, graphQLShared) }

func eachShared(t *testing.T, s shared) {
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) { endureShared(t, s, f) })
	}
}
