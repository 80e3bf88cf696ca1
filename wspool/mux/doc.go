// Package mux shares a few connections of a [wspool.Pool] among many calls: requests and
// replies are matched by ids, so that many are in flight on one connection at once.
//
//	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{}, MaxConns: 4})
//	...
//	reply, err := client.Call(ctx, mux.Request{Body: jsonrpc.Request{Method: "now"}})
//
// The protocol is a [Codec]: package jsonrpc below this one has that of JSON-RPC 2.0, and calls
// that encode and decode.
//
// # Connections
//
// A [Client] leases connections from the pool as its load grows ([Config.MaxConns], GrowAt) and
// gives them back when they have been idle (IdleAfter). The pool goes on to decide how they are
// dialled, kept alive, aged and redialled. A leased connection counts towards the pool's MaxSize,
// and [wspool.Config.Exchange] does not apply to it. It also counts as a lease that could end: while
// dials fail, callers that use the pool beside the client do not fail at once but wait until their
// contexts end ([resource.FailFast]), so they are better served by a pool of their own. The
// handshake of a protocol above WebSocket belongs to [wspool.Config.OnConnect].
//
// A message that arrives while no client has the connection, which is before its lease begins and
// after IdleAfter, comes to [wspool.Config.OnUnsolicited] and neither to OnEvent nor to OnRequest.
// Without OnUnsolicited it destroys the connection. So a server that sends pings of its own protocol
// or events at any time needs both: OnRequest and OnEvent in the [Config], OnUnsolicited in the
// [wspool.Config], which answers the same pings and may drop events ([wspool.DropUnsolicited]).
//
// A connection is drained, which means that it takes no more calls, that its calls are answered,
// that its streams move, and that its lease ends then: when the pool wants it back
// ([resource.Config.Recall]), when the server asks for it ([Away]), when too many calls that were
// given up await their replies there ([Config.MaxOrphans], OrphanWait), and by [Client.Close].
//
// Where the pool has room the client first acquires another connection, and drains the old one when
// the new one takes calls; so no call waits for a dial. While the dial fails the old connection
// takes calls, and the client repeats the dial every second. A connection is drained at once after
// [Away], since the server need not answer later calls, and by Close; if it is not in use; and if the
// pool has no room, wants the slot for another key or a smaller size, refuses, or is closed. A
// [Leaser] without a method Stats, such as that of [Key], does not tell whether its pool has
// room: then the acquire may take a second to show it.
//
// At the end of its lease a connection is closed instead of given back, if the server may still send
// messages of a call or stream that has ended, since the next lease would read them: the reply to a
// call that was given up; messages of a stream that was closed and for which the server sends no last
// message ([Subscriber]); messages of a call or stream that was canceled with a [FinalCanceler].
//
// # What became of a call
//
// A call without a reply fails with a [*CallError] that matches one of two errors:
//
//	ErrNotSent      the server has certainly not received it whole, so it has not run
//	ErrMayHaveRun   it was handed to the network, and no reply came
//
// A call that was not sent because its connection ended or is drained is sent on another one, by
// itself, until its context ends. One that may have run is sent once more if it is Idempotent and
// [Config.ReplayRatio] allows. A call that is canceled before it was sent is never sent. The error
// that a server replies with is a reply.
//
// # Reading and writing
//
// The goroutines of callers do both, for each other. The first that adds a message to the outbox
// of a connection writes all that are there by then, so that with many in flight one system call
// carries many messages; no caller waits for a network that takes nothing. A caller that waits
// reads the connection for all, and hands that over when its own reply has come. So a lone caller
// pays for no other goroutine, and an idle connection has none.
//
// # Streams
//
// [Client.Stream] is for requests that are answered by many messages, such as subscriptions. The
// buffer of a [Stream] is bounded and never delays the connection: [StreamConfig.Overflow] says what
// is dropped. A stream whose connection is lost or drained is subscribed again on another one, if
// [StreamConfig.Resume] says how, and its reader gets a [Gap].
//
// # Ids
//
// An id is the number of a slot of its connection and a generation, which a connection that was given
// back and leased again does not begin anew. A slot is free again only when
// its reply has come, so a late or repeated reply never reaches another call; it is dropped and
// counted ([Stats.Late]).
//
// # Observing
//
// The meter of the pool (package metrics) shows a client with its pool, under [Config.Name];
// [Client.Stats] has the same figures. Durations of calls are sampled, so that a call does not read
// the clock as a rule; [Trace.Called] has each.
package mux
