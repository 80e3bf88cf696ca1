// Package wspool lends WebSocket client connections from a [resource.Pool]: dialled when
// needed, alive when lent, closed politely. Handshakes, and frames that are long, fragmented
// or compressed, are the work of github.com/gorilla/websocket.
//
//	pool, err := wspool.New(wspool.Config{URL: "wss://example.com/rpc", MaxSize: 8})
//	...
//	err = pool.ExchangeJSON(ctx, question, &answer)
//
// [Pool.Exchange] and [Pool.ExchangeJSON] send one message and return the reply. [Pool.Do]
// lends a connection to a function, for any number of messages:
//
//	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
//		if err := c.WriteJSON(ctx, question); err != nil {
//			return err
//		}
//		return c.ReadJSON(ctx, &answer)
//	})
//
// [Pool.Acquire] is for a lease that must outlive a function. A [Conn] is that lease: after
// it has ended, its methods do nothing and return [ErrReleased].
//
// # The states of a connection
//
//	            ┌───────────────── released clean ────────────┐
//	            ▼                                             │
//	dialing ─▶ hot ─▶ watched ─▶ [vetted] ─▶ leased ─▶ [in quarantine]
//	  │         └───────── acquired ──────────▲  │
//	  │                                          ├─▶ hijacked: the caller's
//	  └─▶ DialError          from every state ───┴─▶ closing ─▶ gone
//
//	state          what happens in it
//	---------------------------------------------------------------------------------
//	dialing        Prepare, TCP, proxy, TLS, the upgrade, Greeting, OnConnect
//	hot            released just now, and not read for WatchAfter
//	watched        every message that arrives is unsolicited; pings are answered
//	vetted         not lent until a ping was answered, or a frame is complete
//	leased         one caller reads and writes
//	in quarantine  messages are dropped, until none has arrived for Quiet (if Quiet is set)
//	closing        close frame, the peer's close frame, the end of TCP
//
// A caller that acquires a hot connection reads it on its own goroutine, without a hand-over.
// While a connection is watched pings are answered, and it leaves the pool as soon as the
// server closes it. On Linux one goroutine watches all connections; elsewhere, and if
// Config.NetDial returns something other than a socket, each connection has a watcher of its
// own. A connection is closed when the peer or the network ends it, when a lease does not
// leave it clean, and by [Pool.Reset], Eviction and the end of the pool. [Pool.Inspect] shows
// the state of each connection.
//
// # Guarantees
//
// No message of one lease reaches another, as far as the pool can know to which lease a
// message belongs. A connection returns to the pool only if its lease left it clean: every
// message that arrived was read, none was read or written in part, and [Config.Exchange] was
// kept (see [Conn.Release]). Otherwise it is closed. A message that arrives while the
// connection is not leased, or before its lease has written anything, belongs to no lease;
// a first write that follows its acquire at once may take one for its own that arrives
// within the last 2 µs before it.
//
// Without ids no pool can know which request a message answers. A message that the server
// sends late, or twice, or unasked, and that arrives when the next lease has written, passes
// for the answer to that. Servers that do so need an id in each message, which the caller
// compares. Only with [ReplyEach] does the pool know how many answers are still to come; with
// [ReplyLast] a caller that has sent several requests reads all answers, or discards.
// [Unpaired] guarantees least: a lease is given whatever arrives.
//
// Messages that may follow the last one that a caller wants, an optional trailer or the rest
// of an answer that was cancelled, are dropped by [Conn.Drain] before the lease ends, or by
// [Config.Quiet] after it.
//
// # Unsolicited messages
//
// A message that belongs to no lease destroys the connection. With [Config.OnUnsolicited] it
// is dropped or answered instead, up to [Config.UnsolicitedLimit] a minute. After its first
// write a lease receives every message, unsolicited ones included; the caller must be able to
// recognize them. A server that speaks first needs [Config.Greeting], or an OnConnect that
// reads. A message right behind the last reply that OnConnect reads is unsolicited with
// [Config.OnUnsolicited]; without, it fails the dial.
//
// # Liveness
//
// If nothing has arrived for [Config.KeepAlive], leased or not, a ping is sent, and a
// connection that stays silent for [Config.PongWait] more is dead ([ErrSilent]): by default a
// peer that vanished is found within 25 s. The server's pings are answered, within about a
// tenth of a second while a lease does not read; pings behind a message that the lease leaves
// unread wait for that. [Config.Heartbeat] serves servers that require a message of their own
// protocol every few seconds, idle and leased.
//
// A connection can still die just before its next use. Then the lease fails with [ErrStale],
// if the connection was used before and nothing of an answer arrived, and
// [Pool.DoIdempotent] runs work that may be done twice once more, on an unused connection.
// Other connections that have been silent as long are pinged before they are lent. So is a
// connection that has been silent for longer than KeepAlive and PongWait, because the process
// stood still (SIGSTOP, a container's pause); the only exception is a hot connection, until
// the pool's timers have run.
//
// A connection that cannot be lent at once, because the answer to a ping or the rest of a
// frame is awaited, delays a caller by 10 ms at most: the caller goes on to another
// connection, or waits for whichever is ready first, a new one included. Meanwhile the
// connection is vetted in the background, and returns to the pool or is destroyed
// ([ErrSilent]). A frame that has arrived in part has 2 s for its rest.
//
// After the machine has slept [Pool.ResetNow] replaces all connections at once.
//
// # Dialing
//
// Dials run in the background, [Config.MaxDials] at once, each for [Config.DialTimeout] at
// most: [Config.Prepare] computes URL, headers and token anew for each, and
// [Config.OnConnect] signs in before the connection is lent. When connections end or dials
// fail, [Config.Redial] decides by close code, HTTP status and Retry-After for how long no
// other dial begins ([DefaultRedial]). An end that may be the answer to what one lease wrote
// ([EndError]) delays other callers no longer than a lost connection does. Meanwhile callers
// wait for connections that are given back. A caller whose deadline comes before the pause
// ends, and that has nothing else to wait for, fails at once, with the cause and a RetryAfter;
// [resource.AcquireError.Wait] waits until it is worth trying again.
//
// If an address accepts and stays silent, the dial goes on to the next address of the name
// ([Config.Lookup]). If all dials hang, as behind a proxy that waits for its server, one of
// them at a time sends further handshakes in parallel, after twice the usual duration of a
// handshake and then once a second at most, so that the server is found when it is back. Neither
// happens through a [Config.Proxy].
//
// # Streams and other uses
//
// [Conn.NextReader] and [Conn.NextWriter] transfer messages in pieces, [Conn.NetConn] makes a
// lease a net.Conn, [Conn.WritePrepared] sends one message to many connections, and
// [Conn.Hijack] takes the connection out of the pool. A [Manager] has a pool for each key
// under one total: for many endpoints, and for many identities, because a connection that was
// signed in for one identity must not be lent to another.
//
// # What to set
//
//	you talk to                             set
//	---------------------------------------------------------------------------------
//	JSON-RPC, one reply to a request        Exchange: ReplyEach; Broken: not for errors
//	                                        that the server replied with
//	a speech service, streaming audio       Heartbeat: its keepalive message; Greeting, if it
//	                                        sends a session id first; Quiet or Conn.Drain for
//	                                        messages behind the last reply, Conn.Drain up to
//	                                        its confirmation after a cancel: see Example (Speech)
//	subscriptions, event streams            Exchange: Unpaired; Pool.Subscribe
//	engine.io, socket.io                    OnConnect: read "0{…}"; socket.io: send "40",
//	                                        read its answer; OnUnsolicited: "3" for "2"
//	GraphQL (graphql-transport-ws)          Subprotocols; OnConnect: connection_init, read
//	                                        connection_ack; OnUnsolicited: pong for ping
//	NATS                                    OnConnect: INFO, CONNECT, PING, PONG;
//	                                        OnUnsolicited: PONG for PING; drop INFO
//	a server that mishandles fragments      WriteFrameSize: its longest message
//	nginx or an ALB, which cut after 60 s   nothing: KeepAlive is 15 s; less than their time
//	                                        if that is shorter
//	a server that answers no pings          KeepAlive: -1; Eviction: policy.MaxIdle
//	a server that ends sessions after 1 h   Eviction: policy.MaxAge(58*time.Minute, 0.1);
//	                                        long work: AcquireWith, Request.MinRemaining
//	a server that wants a fresh token       Prepare: put it in h.Header or h.URL
//	Chromium (DevTools)                     Exchange: Unpaired; ReadLimit: 64 << 20;
//	                                        Prepare: h.URL, another after each restart
//	a server behind a proxy                 Proxy: http.ProxyFromEnvironment; headers for the
//	                                        proxy: ProxyConnectHeader
//	many calls at once, with ids            package mux, below this one
//	a balancer that pins by cookie          Jar: a net/http/cookiejar
//	a server that redirects                 Redirects: 1 or more
//	a client certificate that rotates       TLS: GetClientCertificate
//	many servers, or many identities        a Manager, with a key for each
//
// Every field has a working default except URL and MaxSize. Errors, traces and statistics
// never show a URL's path or query, a header or a token that is sent, unless a function of
// yours puts them into its error, or the server into the reason of a close. The server's
// answer to a refused handshake is in [DialError] and its [Response].
package wspool
