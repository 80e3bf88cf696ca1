package wspool

import "context"

// Message is one whole data message.
type Message struct {
	Type int    // websocket.TextMessage or websocket.BinaryMessage
	Data []byte // its bytes; whoever is given a Message may keep them
}

// Exchange says how the messages of one lease belong together. It decides at the
// end of the lease whether an answer may be still to come, which the next lease
// would take for its own.
type Exchange uint8

const (
	// ReplyLast is the exchange of requests and replies, any number of
	// messages in each: a lease begins with a write, and the last thing it did
	// was to read what came after its last write.
	ReplyLast Exchange = iota
	// ReplyEach is ReplyLast where each message written is answered with
	// exactly one: as many were read as written.
	ReplyEach
	// Unpaired says that messages are not requests and replies: a lease may
	// read before it has written, and end with a write that nobody answers.
	// It is clean if nothing has come that it did not read. A message that
	// comes later goes to the next lease if there is one by then.
	Unpaired
)

// DropUnsolicited is a [Config.OnUnsolicited] that drops every message, as many
// as [Config.UnsolicitedLimit] allows. With it a late answer is dropped as well,
// if no lease has written by then.
func DropUnsolicited(context.Context, Message) (*Message, error) { return nil, nil }
