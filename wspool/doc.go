// Package wspool lends WebSocket client connections from a
// [resource.Pool]: dialled when needed, watched while idle, closed politely.
//
//	pool, err := wspool.New(wspool.Config{URL: "wss://example.com/chat", MaxSize: 8})
//	...
//	err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
//		if err := c.WriteMessage(ctx, websocket.TextMessage, question); err != nil {
//			return err
//		}
//		_, answer, err := c.ReadMessage(ctx)
//		...
//		return err
//	})
//
// Somebody reads each connection from its handshake to its end, a lease or a
// goroutine of the pool, but for the moments of [Config.WatchAfter]. So the
// server's pings are answered while nobody uses the connection, and one that
// the server closes is destroyed at once, not found dead by the next caller.
//
// No message of one lease reaches another. A connection goes back to the pool
// only if its lease left it clean, which Config.Exchange and Conn.Release
// define, and a message that comes while nobody holds the connection destroys
// it. What the pool does not know is how many answers are still to come. So a
// caller who asked for several reads them all before it releases, or discards;
// and a message that the server sends out of turn, which comes in after the
// next caller has written, passes for its answer: protocols that allow that need
// an identity in each message.
package wspool
