package jsonrpc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/wspool/mux"
)

// DefaultIDBits is how many bits ids have unless [Codec.Bits] says otherwise: numbers in JSON
// are exact up to 2⁵³ in most implementations (RFC 8259, section 6).
const DefaultIDBits = 53

// Codec is the [mux.Codec] of JSON-RPC 2.0. The zero Codec sends ids as numbers and knows
// neither subscriptions nor cancellation. It must not be changed once it is in use.
//
// The Body of a call is a [Request], a [*Request] or a [Batch]. A reply is the whole message:
// [Decode] and [DecodeBatch] read it. A reply that holds an error is a reply.
//
// A message of the server with a method is a [mux.Ask] if it has an id, which [Answer]
// answers, and a [mux.Event] otherwise, which [ParseNotification] reads. A message that is
// neither, such as an error whose id is null because the server could not read the request,
// breaks the protocol: it answers no call that could be found, and is counted as bad.
type Codec struct {
	// StringIDs sends ids as strings of digits. Replies may have either form in any case.
	StringIDs bool
	// Bits is how many bits ids may have: 31 for servers that read them as int32. Zero:
	// DefaultIDBits.
	Bits int

	// Unsubscribe is the method that ends a subscription, such as "eth_unsubscribe"; it is
	// called with the subscription as its one parameter. If it is set, streams are
	// subscriptions as Ethereum's clients define them: the result of the request names the
	// subscription, and notifications with that name in params.subscription belong to it.
	// Empty: a notification is an event, and there are no streams.
	Unsubscribe string
	// Cancel is the notification that cancels a call, such as "$/cancelRequest" of the
	// Language Server Protocol; its parameter is {"id": …}. The server must still reply to
	// the call. Empty: calls that are given up just run on.
	Cancel string
	// Away is a notification with which the server announces that it wants no more calls
	// on the connection. Empty: there is none.
	Away string
}

// Request is the body of a call or of a notification, or one element of a [Batch].
type Request struct {
	Method string
	// Params are the parameters: a value that encoding/json encodes as an array or as an
	// object. A json.RawMessage is sent as it is, unchecked. Nil: the request has none.
	Params any
}

// Batch is the body of several calls in one message, which the server answers with one
// message. It must not be empty. The ids of its elements are strings, whatever StringIDs says.
type Batch []Request

// ErrBody means that the body of a call cannot be encoded.
var ErrBody = errors.New("jsonrpc: bad body")

// ErrNoSubscriptions means that a stream was to begin although Codec.Unsubscribe is not set.
var ErrNoSubscriptions = errors.New("jsonrpc: codec has no subscriptions: Codec.Unsubscribe is not set")

// ErrMessage means that a message is no JSON-RPC message, or not of the kind that was expected.
var ErrMessage = errors.New("jsonrpc: bad message")

// errNoID and errSyntax are what Classify returns: values made beforehand,
// since Classify allocates nothing.
var (
	errNoID   = fmt.Errorf("%w: it has neither a method nor the id of a call", ErrMessage)
	errSyntax = fmt.Errorf("%w: it is neither an object nor an array of objects", ErrMessage)
)

// IDBits implements [mux.Codec].
func (c Codec) IDBits() int {
	if c.Bits == 0 {
		return DefaultIDBits
	}
	return c.Bits
}

// Append implements [mux.Codec]. A failure matches [ErrBody].
func (c Codec) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	switch b := body.(type) {
	case Request:
		out, err = c.appendCall(dst, id, -1, &b)
	case *Request:
		out, err = c.appendCall(dst, id, -1, b)
	case Batch:
		out, err = c.appendBatch(dst, id, b)
	default:
		err = fmt.Errorf("%w: want a Request, a *Request or a Batch, got %T", ErrBody, body)
	}
	if err != nil {
		return 0, dst, err
	}
	return websocket.TextMessage, out, nil
}

func (c Codec) appendBatch(dst []byte, id uint64, calls Batch) ([]byte, error) {
	if len(calls) == 0 {
		return nil, fmt.Errorf("%w: the batch is empty", ErrBody)
	}
	dst = append(dst, '[')
	for i := range calls {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = c.appendCall(dst, id, i, &calls[i]); err != nil {
			return nil, fmt.Errorf("request %d of the batch: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

// appendCall appends a request, or a notification if id is 0. index is its place in a batch,
// -1 if it is none.
func (c Codec) appendCall(dst []byte, id uint64, index int, call *Request) ([]byte, error) {
	if call == nil || call.Method == "" {
		return nil, fmt.Errorf("%w: the request has no method", ErrBody)
	}
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	switch {
	case id == 0:
	case index >= 0:
		dst = append(dst, `"id":"`...)
		dst = strconv.AppendUint(dst, id, 10)
		dst = append(dst, '.')
		dst = strconv.AppendInt(dst, int64(index), 10)
		dst = append(dst, `",`...)
	default:
		dst = append(dst, `"id":`...)
		dst = c.appendID(dst, id)
		dst = append(dst, ',')
	}
	dst = append(dst, `"method":`...)
	dst = jsonscan.AppendText(dst, call.Method)
	dst, err := jsonscan.AppendMember(dst, "params", call.Params, "[{")
	switch {
	case err == jsonscan.ErrKind:
		return nil, fmt.Errorf("%w: parameters of %q must be encoded as an array or an object, got %T", ErrBody, call.Method, call.Params)
	case err != nil:
		return nil, fmt.Errorf("%w: parameters of %q: %w", ErrBody, call.Method, err)
	}
	return append(dst, '}'), nil
}

func (c Codec) appendID(dst []byte, id uint64) []byte {
	if !c.StringIDs {
		return strconv.AppendUint(dst, id, 10)
	}
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, id, 10)
	return append(dst, '"')
}

// envelope is what the members of a message say. The values alias the message.
type envelope struct {
	id, method, params, result, failure []byte
}

var names = [...]string{"id", "method", "params", "result", "error"} // of an envelope, in its order

// open reads the members of an object.
func open(data []byte) (envelope, error) {
	var found [len(names)][]byte
	if !jsonscan.Members(data, names[:], found[:]) {
		return envelope{}, errSyntax
	}
	e := envelope{id: found[0], method: found[1], params: found[2], result: found[3], failure: found[4]}
	if jsonscan.Null(e.id) {
		e.id = nil
	}
	if jsonscan.Null(e.method) { // of a server that writes all members of all kinds of messages
		e.method = nil
	}
	return e, nil
}

// Classify implements [mux.Codec]. An error matches [ErrMessage].
func (c Codec) Classify(_ int, data []byte) (mux.Frame, error) {
	if jsonscan.First(data) == '[' {
		return c.classifyBatch(data)
	}
	return c.classify(data)
}

func (c Codec) classify(data []byte) (mux.Frame, error) {
	e, err := open(data)
	if err != nil {
		return mux.Frame{}, err
	}
	switch {
	case e.method != nil && e.id != nil:
		return mux.Frame{Kind: mux.Ask}, nil
	case e.method != nil:
		return c.classifyNotification(e), nil
	}
	id, ok := idOf(e.id)
	switch {
	case !ok:
		return mux.Frame{}, errNoID
	case id == 0: // of AppendCancel
		return mux.Frame{Kind: mux.Ignore}, nil
	}
	return mux.Frame{Kind: mux.Reply, ID: id}, nil
}

func (c Codec) classifyNotification(e envelope) mux.Frame {
	method, _ := jsonscan.Text(e.method)
	if c.Away != "" && jsonscan.Is(method, c.Away) {
		return mux.Frame{Kind: mux.Away}
	}
	if c.Unsubscribe != "" {
		if key := member(e.params, "subscription"); key != nil {
			return mux.Frame{Kind: mux.Part, Key: key}
		}
	}
	return mux.Frame{Kind: mux.Event}
}

// classifyBatch finds the first reply in an array. If there is none the messages are of the
// kind of the first.
func (c Codec) classifyBatch(data []byte) (first mux.Frame, err error) {
	s := jsonscan.Array(data)
	found := false
	for {
		value, ok := s.Element()
		if !ok {
			break
		}
		f, failure := c.classify(value)
		switch {
		case failure != nil:
			if err == nil {
				err = failure
			}
		case f.Kind == mux.Reply && first.Kind != mux.Reply, !found:
			first, found = f, true
		}
	}
	if s.Err() != nil || !found && err == nil {
		return mux.Frame{}, errSyntax
	}
	if !found {
		return mux.Frame{}, err
	}
	return first, nil
}

// idOf returns the id of a call: a number, a string of digits or, for an element of a batch,
// a string of digits, a dot and the index of the element.
func idOf(value []byte) (id uint64, ok bool) {
	id, _, ok = batchID(value)
	if ok {
		return id, true
	}
	return jsonscan.Uint(value)
}

// batchID splits the id of an element of a batch.
func batchID(value []byte) (id uint64, index int, ok bool) {
	inside, isText := jsonscan.Text(value)
	if !isText {
		return 0, 0, false
	}
	dot := -1
	for i, c := range inside {
		if c == '.' {
			dot = i
			break
		}
	}
	if dot < 0 {
		return 0, 0, false
	}
	id, ok = number(inside[:dot])
	at, also := number(inside[dot+1:])
	return id, int(at), ok && also && at < 1<<31
}

// number parses digits alone.
func number(text []byte) (uint64, bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	return jsonscan.Uint(text)
}

// member returns the value of one member of an object, nil if there is none.
func member(object []byte, name string) []byte {
	var found [1][]byte
	jsonscan.Members(object, []string{name}, found[:])
	return found[0]
}

// CanStream implements [mux.OptionalSubscriber]: without Unsubscribe it returns
// [ErrNoSubscriptions].
func (c Codec) CanStream() error {
	if c.Unsubscribe == "" {
		return ErrNoSubscriptions
	}
	return nil
}

// StreamKey implements [mux.Subscriber]: the result names the subscription. If the server
// replied with an error that is an [*Error].
func (c Codec) StreamKey(reply mux.Message) ([]byte, error) {
	e, err := open(reply.Data)
	if err != nil {
		return nil, err
	}
	if err := e.failed(); err != nil {
		return nil, err
	}
	if e.result == nil || jsonscan.Null(e.result) {
		return nil, fmt.Errorf("%w: the reply to a subscription does not name it", ErrMessage)
	}
	return e.result, nil
}

// AppendCancel implements [mux.Canceler].
func (c Codec) AppendCancel(dst []byte, id uint64, key []byte) (messageType int, out []byte, err error) {
	switch {
	case key != nil && c.Unsubscribe != "":
		dst = append(dst, `{"jsonrpc":"2.0","id":0,"method":`...)
		dst = jsonscan.AppendText(dst, c.Unsubscribe)
		dst = append(dst, `,"params":[`...)
		dst = append(dst, key...)
		dst = append(dst, `]}`...)
	case key == nil && c.Cancel != "":
		dst = append(dst, `{"jsonrpc":"2.0","method":`...)
		dst = jsonscan.AppendText(dst, c.Cancel)
		dst = append(dst, `,"params":{"id":`...)
		dst = c.appendID(dst, id)
		dst = append(dst, `}}`...)
	}
	return websocket.TextMessage, dst, nil
}
