package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// client is the load: callers that exchange messages with any server, without end.
type client struct {
	cluster *cluster.Cluster
	cancel  context.CancelFunc
	callers sync.WaitGroup

	mu      sync.Mutex
	replies map[string]int // by the name of the server
	done    int
	late    int            // exchanges that had no reply in time
	failed  map[string]int // other failures, by their text
}

// newClient starts the callers.
func newClient(s settings, r endpoint.Resolver) (*client, error) {
	c, err := cluster.New(cluster.Config{
		Resolver: r,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: "ws://" + e.Addr + "/", DialTimeout: s.patience, PongWait: s.patience}, nil
		},
		MaxTotal: 2 * s.callers,
		// Times that are short enough to watch; a service keeps the defaults.
		ProbeDelay:   250 * time.Millisecond,
		ProbeTimeout: s.patience,
		DrainTimeout: 5 * time.Second,
		Rebalance:    cluster.Rebalance{After: time.Second, Every: 500 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cl := &client{cluster: c, cancel: cancel, replies: make(map[string]int), failed: make(map[string]int)}
	for range s.callers {
		cl.callers.Go(func() {
			for ctx.Err() == nil {
				cl.exchange(ctx, s)
			}
		})
	}
	return cl, nil
}

// exchange is one message and its reply. The servers do the same for a message that they get
// twice, so it is repeated at another server if the connection ends before the reply.
func (c *client) exchange(ctx context.Context, s settings) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	_, reply, err := c.cluster.ExchangeWith(ctx, cluster.ExchangeOptions{Idempotent: true}, websocket.TextMessage, []byte(s.work.String()))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.done++
		c.replies[string(reply)]++
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.late++
	case ctx.Err() != nil: // the end of the run
	default:
		c.failed[err.Error()]++
	}
}

// counts is a snapshot of what the callers have seen.
type counts struct {
	done, late, failed int
	replies            map[string]int
	why                string // an error, if there was one
}

func (c *client) counts() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := counts{done: c.done, late: c.late, replies: make(map[string]int, len(c.replies))}
	for name, r := range c.replies {
		n.replies[name] = r
	}
	for text, times := range c.failed {
		n.failed += times
		n.why = text
	}
	return n
}

// close ends the callers, and then the cluster.
func (c *client) close() error {
	c.cancel()
	c.callers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.cluster.Close(ctx); err != nil {
		c.cluster.CloseNow()
		return fmt.Errorf("the cluster was not closed in time: %w", err)
	}
	return nil
}
