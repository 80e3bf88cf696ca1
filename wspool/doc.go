// Package wspool lends WebSocket client connections from a [resource.Pool]:
// dialled when needed, alive when lent, closed politely. The frames are those of
// github.com/gorilla/websocket.
//
//	pool, err := wspool.New(wspool.Config{URL: "wss://example.com/rpc", MaxSize: 8})
//	...
//	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
//		if err := c.WriteJSON(ctx, question); err != nil {
//			return err
//		}
//		return c.ReadJSON(ctx, &answer)
//	})
//
// [Pool.Acquire] is for a lease that must outlive a function. A [Conn] is that
// lease: after it has ended, its methods do nothing but say [ErrReleased].
//
// # Between two leases
//
// For [Config.WatchAfter] after a release a connection is hot: nobody reads it,
// and a caller who comes at once reads it on its own goroutine, without a
// hand-over. After that it is watched: what comes in is read when it comes, pings
// are answered, and the connection is out of the pool in the moment when the server
// closes it. On Linux all watched connections have one goroutine together;
// elsewhere, and where Config.NetDial returns something that is no socket, each has
// one of its own.
//
// # What is promised
//
// No message of one lease reaches another, as far as the pool can know whose a
// message is. A connection goes back only if its lease left it clean: all that
// came was read, nothing is half read or half written, and [Config.Exchange] is
// kept (see [Conn.Release]). Else it is closed. What comes in while nobody has
// the connection, or before a lease has written anything, is no lease's.
//
// What no pool can know without ids is which question a message answers. One
// that the server sends late, or twice, or unasked, and that arrives when the
// next lease has written, passes for the answer to that. Servers that do so need
// an id in each message, which the caller compares. How many answers are still
// to come is known with [ReplyEach] alone: with [ReplyLast] a caller who asked
// for several reads them all, or discards. [Unpaired] keeps least: a lease is
// given whatever comes.
//
// Messages that may come behind the last one that a caller wants, an optional
// trailer or what is under way of an answer that was cancelled, are dropped by
// [Conn.Drain] before the lease ends, or by [Config.Quiet] after it.
//
// # Unsolicited messages
//
// A message that is no lease's destroys the connection. With
// [Config.OnUnsolicited] it is dropped or answered instead, up to
// [Config.UnsolicitedLimit] a minute. A lease that has written gets all that
// comes, such messages too: it must know them when it reads them. A server that
// speaks first needs [Config.Greeting], or an OnConnect that reads.
//
// # Alive
//
// Where nothing has come in for [Config.KeepAlive], leased or not, a ping is
// sent, and a connection that stays silent for [Config.PongWait] more is dead
// ([ErrSilent]): a peer that vanished is found within 25 s by default. The
// server's pings are answered, within about a second where a lease does not read;
// those behind a message that it leaves unread wait for that. Servers that want a
// message of their own protocol every few seconds get it by [Config.Heartbeat],
// idle and leased.
//
// A connection can still die on the way to its next use. Then the lease fails
// with [ErrStale], if it was used before and nothing of an answer came, and
// [Pool.DoIdempotent] runs work that may run twice once more, on a connection
// that nobody has used. Others that have been silent as long are pinged before
// they are lent, and so is one that has been silent for longer than KeepAlive and
// PongWait, because the process stood still (SIGSTOP, a container's pause). The only
// exception is a hot connection, until the pool's timers have run.
//
// A connection that cannot be lent at once, because a ping or the rest of a frame
// is awaited, keeps no caller for more than 10 ms: the caller goes on to another
// one, or waits for whichever is ready first, a new one included. Meanwhile that is
// cleared up in the background, and the connection comes back or is destroyed
// ([ErrSilent]). A frame that has come in part has 2 s for its rest.
//
// After the machine has slept [Pool.ResetNow] replaces all connections at once.
//
// # Dialing
//
// Dials run in the background, [Config.MaxDials] at once, each for
// [Config.DialTimeout] at most: [Config.Prepare] computes URL, headers and token
// anew for each, [Config.OnConnect] signs in before anybody is lent the
// connection. When connections end or dials fail, [Config.Redial] decides by
// close code, HTTP status and Retry-After for how long no other dial begins
// ([DefaultRedial]). An end that may be the answer to what one lease wrote
// ([EndError]) holds others up for no longer than a lost connection does.
// Callers meanwhile wait for what others give back; one whose deadline comes
// before the pause ends, and who has nothing else to wait for, is told at once,
// with the cause and a RetryAfter; [resource.AcquireError.Wait] waits until it is
// worth asking again.
//
// A dial whose address accepts and stays silent goes on to the next address of the
// name ([Config.Lookup]). Where all dials hang, as behind a proxy that waits for
// its server, one of them at a time sends another handshake beside its first,
// after twice the usual time of one and then each second at most, so that the
// server is found when it is back. Not through a [Config.Proxy].
//
// # Streams and other uses
//
// [Conn.NextReader] and [Conn.NextWriter] pass messages in pieces, [Conn.NetConn]
// makes a lease a net.Conn, [Conn.WritePrepared] sends one message to many, and
// [Conn.Hijack] takes the connection out of the pool. A [Manager] has a pool for
// each key under one total: for many endpoints, and for many identities, since
// what one has signed in must not be lent to another.
//
// # What to set
//
//	you talk to                             set
//	---------------------------------------------------------------------------------
//	JSON-RPC, one reply to a request        Exchange: ReplyEach; Broken: not for errors
//	                                        that the server replied with
//	a speech service, streaming audio       Heartbeat: its keepalive message; Greeting, if it
//	                                        sends a session id first; Quiet or Conn.Drain for
//	                                        what comes behind the last reply, Conn.Drain up to
//	                                        its confirmation after a cancel: see Example (Speech)
//	subscriptions, event streams            Exchange: Unpaired; Pool.Subscribe
//	engine.io, socket.io                    OnConnect: read "0{…}"; socket.io: send "40",
//	                                        read its answer; OnUnsolicited: "3" for "2"
//	GraphQL (graphql-transport-ws)          Subprotocols; OnConnect: connection_init, read
//	                                        connection_ack; OnUnsolicited: pong for ping
//	NATS                                    OnConnect: INFO, CONNECT, PING, PONG;
//	                                        OnUnsolicited: PONG for PING; drop INFO
//	a server that mishandles fragments      WriteFrameSize: its longest message
//	what nginx or an ALB hangs up on        nothing: KeepAlive is 15 s, they wait for 60 s;
//	after a minute of silence               less than their time if that is shorter
//	a server that answers no pings          KeepAlive: -1; Eviction: policy.MaxIdle
//	a server that ends sessions after 1 h   Eviction: policy.MaxAge(58*time.Minute, 0.1);
//	                                        long work: AcquireWith, Request.MinRemaining
//	a server that wants a fresh token       Prepare: put it in h.Header or h.URL
//	Chromium (DevTools)                     Exchange: Unpaired; ReadLimit: 64 << 20;
//	                                        Prepare: h.URL, another after each restart
//	a server behind a proxy                 Proxy: http.ProxyFromEnvironment; what the proxy
//	                                        wants to be told: ProxyConnectHeader
//	a balancer that pins by cookie          Jar: a net/http/cookiejar
//	a server that redirects                 Redirects: 1 or more
//	a client certificate that rotates       TLS: GetClientCertificate
//	many servers, or many identities        a Manager, with a key for each
//
// Every field has a working default but URL and MaxSize. Errors, traces and
// stats never show a URL's path or query, a header or a token that is sent, unless
// a function of yours puts them into its error, or the server into the reason of a
// close. What a server says to a refused handshake is in [DialError] and its
// [Response].
package wspool
