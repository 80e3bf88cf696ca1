package wspool

import "context"

// Message is one whole data message.
type Message struct {
	Type int    // websocket.TextMessage or websocket.BinaryMessage
	Data []byte // its bytes
}

// Exchange says how the messages of one lease belong together.
type Exchange uint8

const (
	// AnswerLast is the exchange of requests and replies, any number of
	// messages in each: a lease begins with a write, and the last thing it did
	// was to read what came after its last write.
	AnswerLast Exchange = iota
	// AnswerEach is AnswerLast where each message written is answered with
	// exactly one: as many were read as written.
	AnswerEach
	// AnswerNone says that messages are not requests and replies: a lease may
	// read before it has written, and end with a write that nobody answers.
	// The pool can then tell less well whose a late message is.
	AnswerNone
)

// DropUnsolicited is a [Config.OnUnsolicited] that drops every message.
func DropUnsolicited(context.Context, Message) (*Message, error) { return nil, nil }
