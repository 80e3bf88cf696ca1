// Package cluster lends WebSocket connections of one service that has several endpoints: the
// addresses behind a name, the regions of a provider, a set of nodes that changes. It is a
// [wspool.Manager] whose keys are the addresses, and an [endpoint.Set] that says which to use.
//
//	c, err := cluster.New(cluster.Config{
//		Resolver: resolver, // of package endpoint
//		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
//			return wspool.Config{URL: "wss://" + e.Addr + "/socket"}, nil
//		},
//		MaxTotal: 100,
//	})
//	...
//	_, reply, err := c.Exchange(ctx, websocket.TextMessage, request)
//	conn, err := c.Acquire(ctx) // or a lease, which is ended as that of a wspool.Pool
//
// A [Cluster] is also a Leaser for package mux, whose connections are then spread over the
// endpoints, and move when their endpoint leaves or has too many.
//
// # Where an acquire goes
//
// The balancer picks an endpoint, and others follow in order of preference. The caller gets an
// idle connection of the first of these that has one. Otherwise it waits for all of them at once,
// and a dial begins at the pick; if that fails, is refused, or takes longer than 250 ms, another
// one begins at the next endpoint: see [wspool.Manager.AcquireAny]. So the failure of an endpoint
// costs a caller at most the time of a dial. If the pick had no idle connection and has fewer than
// the endpoint that served the caller, a connection is dialled there in the background, so that
// the picks can be followed.
//
// # What counts against an endpoint
//
// Failed dials, by their phase and status; connections that it closed, by the close code; silence.
// The end of a caller's context never does: but when a lease has awaited a message in vain, the
// idle connections of that endpoint must answer a ping before they are lent again, and a peer that
// does not answer is silent. Package endpoint says what follows: the share of a failing
// endpoint shrinks, it is ejected, and it is tried again by a dial that includes OnConnect. The
// connection of a successful probe is kept.
//
// # When the endpoints change
//
// An endpoint that joins is used at once. Connections are moved to it only if it would stay below
// its share otherwise: see [Rebalance].
//
// An endpoint that leaves is picked no more. Its idle connections are closed, the holders of its
// leased ones are notified ([wspool.Conn.OnRecall], with [ErrLeft]) and keep them for up to
// [Config.DrainTimeout], and then its key is forgotten. If it returns before that, it is used
// again at once.
package cluster
