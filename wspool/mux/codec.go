package mux

import "github.com/respool/respool/wspool"

// Message is one whole data message: its type, websocket.TextMessage or
// websocket.BinaryMessage, and its bytes.
type Message = wspool.Message

// Codec translates between calls and messages of one protocol. Its methods are called by many
// goroutines at once, with no lock held. A panic in a method fails the call that it was
// called for; a panic in Classify drops the message. [Client.Close] waits for them, so they must not
// call it.
//
// A Codec may also implement [Canceler] or [FinalCanceler], and [Subscriber].
type Codec interface {
	// IDBits is how many bits an id may have, from 20 to 64: 31 for a server that reads
	// ids as int32, 53 for one that reads them as float64. It is asked once, by [New].
	IDBits() int

	// Append appends the message for body to dst and returns its type and the extended
	// slice. id identifies the call in the reply; 0 means that no reply is expected
	// ([Client.Notify]). It must not keep dst or body, and must not block. An error fails
	// the call with [ErrNotSent]; dst is unchanged then. It may be called more than once
	// for one call, with another id, if the call is sent on another connection.
	Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error)

	// Classify says to what a message that arrived belongs, without decoding it whole. It
	// must not keep data, change it, allocate memory, or block: all calls of the connection
	// wait for it. An error means that the message breaks the protocol: it is dropped and
	// counted ([Stats.Bad]), and the connection stays in use.
	Classify(messageType int, data []byte) (Frame, error)
}

// Canceler is implemented by a [Codec] whose protocol can cancel a call or end a stream.
type Canceler interface {
	// AppendCancel appends the message that cancels what was sent with id; key is the
	// stream's key, nil if it has none. It returns dst unchanged if there is nothing to
	// send. It is called at most once for each id. The message needs no reply: a reply
	// to it must be classified as [Ignore].
	AppendCancel(dst []byte, id uint64, key []byte) (messageType int, out []byte, err error)
}

// FinalCanceler is implemented by a [Canceler] whose server may send nothing more for what was
// canceled, not even a reply. If CancelFinal returns true the id of what was canceled is free at
// once, as if the reply had come; otherwise the reply is awaited, within [Config.MaxOrphans] and
// [Config.OrphanWait]. It is asked once, by [New].
type FinalCanceler interface {
	Canceler
	CancelFinal() bool
}

// Subscriber is implemented by a [Codec] whose server acknowledges a subscription with a
// reply that names it, and whose later messages carry that name as [Frame.Key] instead of the
// id. Without it the messages of a stream carry the id of its request.
type Subscriber interface {
	// StreamKey returns the key in the reply to the request of a stream. An error, such as
	// the one that the server replied with, fails [Client.Stream]. The key may alias the
	// reply.
	StreamKey(reply Message) (key []byte, err error)
}

// OptionalSubscriber is implemented by a [Subscriber] whose configuration says whether its server has
// subscriptions. If CanStream returns an error, [Client.Stream] fails with it and [ErrNotSent]: the
// server would begin a subscription that the client could neither read nor end. It is asked once, by
// [New].
type OptionalSubscriber interface {
	Subscriber
	CanStream() error
}

// Kind is what a message is.
type Kind uint8

const (
	// Ignore is a message that belongs to no call, such as the reply to a message of
	// [Canceler], and that is dropped.
	Ignore Kind = iota
	// Reply answers the call with Frame.ID and ends it, be it with a result or with an
	// error. With [Subscriber] it also begins a stream.
	Reply
	// Part is one message of the stream with Frame.Key, or with Frame.ID if Key is nil. For
	// a call that is no stream the first Part is the reply, once the End has arrived; others
	// are dropped.
	Part
	// End is the last message of the stream with Frame.Key or Frame.ID. It ends a call that
	// is no stream, and is the reply if no Part came before.
	End
	// Event is sent by the server of its own accord: [Config.OnEvent] gets it.
	Event
	// Ask expects an answer of the client: [Config.OnRequest] makes it.
	Ask
	// Away says that the server wants no more calls on this connection, and still answers
	// those that it has.
	Away
)

func (k Kind) String() string {
	switch k {
	case Ignore:
		return "ignore"
	case Reply:
		return "reply"
	case Part:
		return "part"
	case End:
		return "end"
	case Event:
		return "event"
	case Ask:
		return "ask"
	case Away:
		return "away"
	}
	return "unknown"
}

// Frame is what a [Codec] finds out about a message.
type Frame struct {
	Kind Kind
	ID   uint64 // of the request that the message belongs to; 0: it has none
	Key  []byte // of the stream; nil: it has none. It may alias the message
}
