package mux

import "time"

// Request is one call.
type Request struct {
	// Body is what the [Codec] encodes.
	Body any
	// Idempotent says that the call may run twice. If its fate is unknown because its
	// connection ended, it is sent once more, on another connection, as far as
	// [Config.ReplayRatio] allows.
	Idempotent bool
	// NoWait makes the call fail with [ErrBusy] where it would wait for a connection to have
	// room. It may still wait for its reply.
	NoWait bool
	// Cost is how much the call adds to the load by which a connection is chosen. Zero
	// means 1. A call takes one of [Config.MaxInFlight] whatever it costs.
	Cost int
	// Session names calls that must use the same connection, such as those of one DevTools
	// session. The first call with a name that gets a connection chooses it as any other;
	// the others, those that wait meanwhile included, follow it until that connection ends or
	// is drained, after which the next one chooses again. The connection is not given back
	// while it has a session: see [Client.EndSession]. Empty: none.
	Session string
}

// Overflow says what happens to a message that arrives for a stream whose buffer is full. The
// reader of the connection never waits for a stream.
type Overflow uint8

const (
	// Fail ends the stream with [ErrOverflow] and cancels it at the server.
	Fail Overflow = iota
	// DropOldest drops the message that has waited longest.
	DropOldest
	// DropNewest drops the message that arrives.
	DropNewest
	// Latest replaces the message that has the same [StreamConfig.LatestBy] and waits; if
	// there is none, and the buffer is full, the message that has waited longest is dropped.
	// Replacing is done whether or not the buffer is full, and is not reported as a gap. If
	// the messages exceed [StreamConfig.Bytes] with the new one, those that have waited
	// longest are dropped, in the order in which their places were taken, and that is a gap.
	Latest
)

// What zero means in a [StreamConfig].
const (
	DefaultStreamBuffer = 256
	DefaultStreamBytes  = 1 << 20
)

// StreamConfig configures a [Stream].
type StreamConfig struct {
	// Buffer is how many messages may wait to be read. Zero: DefaultStreamBuffer.
	Buffer int
	// Bytes is how many bytes of messages may wait to be read; one longer message may wait
	// alone. Zero: DefaultStreamBytes.
	Bytes int
	// Overflow says what happens beyond that. Zero: [Fail].
	Overflow Overflow
	// LatestBy returns the key by which [Latest] replaces messages; the key may alias the
	// message. It runs on the goroutine that reads the connection and must not block.
	// Required with Latest, else not used. A panic in it fails the stream. It must not call
	// [Client.Close], which waits for it.
	LatestBy func(Message) []byte
	// Resume returns the request with which the stream goes on after its connection has
	// ended or is drained, and true; or false, and the stream ends with the cause. last is
	// the last message that was received, with nil Data if there was none. It runs on a
	// goroutine of the client and must not block, nor call [Client.Close], which waits for
	// it. Before each attempt there is a random pause, whose upper bound doubles up to 5 s;
	// it begins anew once the stream has lasted for 5 s. The reader gets a [Gap] before the
	// first message after it. Nil: the stream ends with its connection.
	Resume func(last Message) (r Request, again bool)
	// Dedicated gives the stream a connection of its own, which counts towards the limit of
	// the pool, not [Config.MaxConns].
	Dedicated bool
}

// Item is what a [Stream] returns: a message, or a gap between messages.
type Item struct {
	Message
	// End says that the message is the one with which the server ended the stream.
	End bool
	// Gap is not nil if messages may be missing here; Message is empty then.
	Gap *Gap
}

// Gap is a place in a stream where messages may be missing. If the connection was lost several times
// before the reader got the first gap, and no message between them waits, one Gap stands for all.
type Gap struct {
	// Cause is why the connection was lost or left, the last time if it was several times;
	// nil if messages were only dropped because the buffer was full.
	Cause error
	// Dropped is how many messages were dropped because the buffer was full.
	Dropped int
	// Lasted is the time from the loss of the connection to the subscription on the next, the
	// sum if it was lost several times.
	Lasted time.Duration
	// Reply is the reply to the request with which the stream was resumed last, empty if
	// there was none.
	Reply Message
}
