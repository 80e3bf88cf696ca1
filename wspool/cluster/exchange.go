package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/internal/bridge"
)

// errNotReturned is why Do destroys a connection whose function panicked.
var errNotReturned = cause.New("cluster: the function that had the connection did not return", "not returned")

// maxUnsent is how often an exchange that was certainly not sent is tried.
const maxUnsent = 3

// ExchangeOptions are the options of [Cluster.ExchangeWith]. The zero value is that of
// [Cluster.Exchange].
type ExchangeOptions struct {
	// Request is the request for a connection, as for [Cluster.AcquireWith].
	Request resource.Request
	// Key is the key for the balancer, as for [Cluster.AcquireKey].
	Key string
	// Idempotent permits the server to get the message twice: the exchange is then repeated once,
	// at another endpoint if there is one, if the connection ended while the reply was awaited.
	Idempotent bool
}

// Exchange leases a connection of any endpoint, sends one message, returns the message that
// arrives next, and ends the lease, as [wspool.Pool.Exchange] does. If the connection ended before
// anything was sent, another one is used, up to three times in all (maxUnsent).
//
// It blocks and fails as Acquire and as [wspool.Pool.Exchange].
func (c *Cluster) Exchange(ctx context.Context, messageType int, data []byte) (replyType int, reply []byte, err error) {
	return c.ExchangeWith(ctx, ExchangeOptions{}, messageType, data)
}

// ExchangeWith is Exchange with options. It blocks and fails as Exchange.
func (c *Cluster) ExchangeWith(ctx context.Context, o ExchangeOptions, messageType int, data []byte) (replyType int, reply []byte, err error) {
	except, repeated := "", false
	for try := 1; ; try++ {
		x := exchange{kind: messageType, data: data}
		err := x.run(ctx, c, &o, except)
		switch {
		case err == nil:
			return x.replyKind, x.reply, nil
		case x.at == "" || ctx.Err() != nil || c.ctx.Err() != nil: // none was acquired, or the caller has given up
			return 0, nil, err
		case x.unsent && try < maxUnsent:
		case o.Idempotent && !repeated && connEnded(err):
			repeated = true
		default:
			return 0, nil, err
		}
		except = x.at
	}
}

// ExchangeJSON is Exchange of a text message with the JSON of request. It decodes the JSON of the
// reply into reply, and drops it if reply is nil: see [wspool.Pool.ExchangeJSON]. It blocks and
// fails as Exchange.
func (c *Cluster) ExchangeJSON(ctx context.Context, request, reply any) error {
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	_, answer, err := c.Exchange(ctx, websocket.TextMessage, data)
	if err != nil || reply == nil {
		return err
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		return fmt.Errorf("wspool: read: %w", err)
	}
	return nil
}

// exchange is one attempt of an exchange.
type exchange struct {
	kind      int
	data      []byte
	replyKind int
	reply     []byte
	unsent    bool
	at        string // the endpoint whose connection was used; "": none was
}

// run makes the exchange. It tries the endpoint except last.
func (x *exchange) run(ctx context.Context, c *Cluster, o *ExchangeOptions, except string) error {
	u := c.uses.Get().(*use)
	var failed error // of the exchange itself
	u.timed = true
	err := u.try(ctx, o.Key, o.Request, except, func(ctx context.Context, r resource.Request) (err error) {
		x.replyKind, x.reply, x.unsent, err = bridge.Exchange(ctx, &u.claim, r, x.kind, x.data)
		if err != nil && u.lent && !acquireFailed(err) {
			failed, err = err, nil // the acquire has succeeded
		}
		return err
	})
	if err != nil {
		return err
	}
	x.at = u.at
	n := c.node(u.at)
	switch {
	case failed == nil:
		u.finish(endpoint.Evidence{Kind: endpoint.Success, Latency: time.Since(u.since)})
	default:
		u.finish(endpoint.Evidence{}) // ConnEnded has reported an end of the connection
		if ctx.Err() != nil && n != nil {
			n.doubt()
		}
	}
	return failed
}

// acquireFailed reports whether err is that of an acquire.
func acquireFailed(err error) bool {
	var failed *resource.AcquireError
	return foreign.As(err, &failed)
}

// connEnded reports whether an exchange failed with err because its connection has ended, and not
// because of its own messages.
func connEnded(err error) bool {
	return !foreign.Is(err, wspool.ErrReadLimit) && !foreign.Is(err, wspool.ErrNotUTF8) && !foreign.Is(err, wspool.ErrUnsolicited)
}

// Do lends a connection to f and ends the lease when f returns, as [wspool.Pool.Do] does. It
// blocks and fails as Acquire, and does not call f then.
func (c *Cluster) Do(ctx context.Context, f func(context.Context, *wspool.Conn) error) error {
	return c.DoWith(ctx, resource.Request{}, f)
}

// DoWith is Do with a request. It blocks and fails as Do.
func (c *Cluster) DoWith(ctx context.Context, r resource.Request, f func(context.Context, *wspool.Conn) error) error {
	_, _, err := c.doOnce(ctx, r, "", f)
	return err
}

// DoIdempotent is Do for work that may be done twice. It calls f once more, with a connection of
// another endpoint if there is one, and returns the second result, if the connection ended before
// f had written anything, or had been used before and turned out dead before anything of an answer
// arrived ([wspool.ErrStale]). So f must return the error that it got, or one that wraps it. It
// blocks and fails as Do.
func (c *Cluster) DoIdempotent(ctx context.Context, f func(context.Context, *wspool.Conn) error) error {
	at, unsent, err := c.doOnce(ctx, resource.Request{}, "", f)
	if at == "" || ctx.Err() != nil || !unsent && !foreign.Is(err, wspool.ErrStale) {
		return err
	}
	_, _, err = c.doOnce(ctx, resource.Request{}, at, f)
	return err
}

// doOnce is one attempt of Do. at is the endpoint whose connection f had; "": f was not called.
// unsent says that the connection ended before f had written anything.
func (c *Cluster) doOnce(ctx context.Context, r resource.Request, except string, f func(context.Context, *wspool.Conn) error) (at string, unsent bool, err error) {
	conn, err := c.acquire(ctx, "", r, except)
	if err != nil {
		return "", false, err
	}
	defer conn.Discard(errNotReturned) // does nothing after Fail
	at = bridge.KeyOf(conn)
	err = f(ctx, conn)
	unsent = bridge.Unsent(conn, err)
	conn.Fail(err)
	return at, unsent, err
}
