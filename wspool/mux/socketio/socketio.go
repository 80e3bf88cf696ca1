// Package socketio is the codec of Socket.IO for package mux: events that the server
// acknowledges, many in flight on one connection.
//
//	pool, err := wspool.New(wspool.Config{
//		URL:           "wss://example.com/socket.io/?EIO=4&transport=websocket",
//		OnConnect:     codec.Connect(nil),
//		OnUnsolicited: codec.Answer(nil), // while no client has the connection
//	})
//	client, err := mux.New(pool, mux.Config{Codec: codec, OnRequest: codec.Answer(handler), OnEvent: onEvent})
//	…
//	reply, err := client.Call(ctx, mux.Request{Body: socketio.Event{Name: "sum", Args: []any{1, 2}}})
//	err = socketio.Decode(reply, &sum)
//
// Without OnUnsolicited a ping or an event that arrives while no client has the connection destroys
// it, and an event that the server emits on connection, right behind its answer to the CONNECT, fails
// the dial. [Codec.Answer] drops such events: they do not come to OnEvent. A function that wants them
// reads them with [ParseEvent] and leaves the other messages to Answer.
//
// It follows revision 5 of the Socket.IO protocol over revision 4 of Engine.IO, with the
// WebSocket transport alone (https://socket.io/docs/v4/socket-io-protocol). Binary
// attachments are not supported: an acknowledgement that has some is delivered, and [Decode]
// fails with [ErrBinary].
package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// Codec is the [mux.Codec] of one namespace. The zero Codec is that of the main namespace. It
// must not be changed once it is in use. The Body of a call is an [Event] or an [*Event]; its
// reply is the acknowledgement.
//
// An event of the server is a [mux.Event], or a [mux.Ask] if the server wants it acknowledged.
// So is the ping of the server. Both come to [mux.Config.OnRequest], or to OnUnsolicited of the
// wspool.Config while no client has the connection: see [Codec.Answer].
type Codec struct {
	Namespace string // such as "/admin"; empty: the main one, "/"
}

// Event is the body of a call, and what the server emits.
type Event struct {
	Name string
	Args []any // encoded by encoding/json
}

var (
	// ErrBody: the body of a call cannot be encoded.
	ErrBody = errors.New("socketio: bad body")
	// ErrMessage: a message is not of the protocol, or not of the kind that was expected.
	ErrMessage = errors.New("socketio: bad message")
	// ErrBinary: a message has binary attachments.
	ErrBinary = errors.New("socketio: binary attachments are not supported")
	// ErrRefused: the server refused the connection to the namespace.
	ErrRefused = errors.New("socketio: server refused the connection")

	errPacket = fmt.Errorf("%w: the packet's type is unknown", ErrMessage)
	errNoID   = fmt.Errorf("%w: an acknowledgement has no id", ErrMessage)
)

// Types of Engine.IO's packets and, behind engineMessage, of Socket.IO's.
const (
	engineOpen    = '0'
	engineClose   = '1'
	enginePing    = '2'
	enginePong    = '3'
	engineMessage = '4'
	engineNoop    = '6'

	packetConnect      = '0'
	packetDisconnect   = '1'
	packetEvent        = '2'
	packetAck          = '3'
	packetConnectError = '4'
	packetBinaryEvent  = '5'
	packetBinaryAck    = '6'
)

// IDBits implements [mux.Codec]: servers read ids as numbers of JavaScript.
func (Codec) IDBits() int { return 53 }

// Append implements [mux.Codec]. A failure matches [ErrBody].
func (c Codec) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	var e *Event
	switch b := body.(type) {
	case Event:
		e = &b
	case *Event:
		e = b
	default:
		return 0, dst, fmt.Errorf("%w: want an Event or an *Event, got %T", ErrBody, body)
	}
	if e == nil || e.Name == "" {
		return 0, dst, fmt.Errorf("%w: the event has no name", ErrBody)
	}
	out = c.appendHead(dst, packetEvent)
	if id != 0 {
		out = strconv.AppendUint(out, id, 10)
	}
	out = append(out, '[')
	if out, err = appendJSON(out, e.Name); err != nil {
		return 0, dst, err
	}
	for i, arg := range e.Args {
		out = append(out, ',')
		if out, err = appendJSON(out, arg); err != nil {
			return 0, dst, fmt.Errorf("argument %d of %q: %w", i, e.Name, err)
		}
	}
	return websocket.TextMessage, append(out, ']'), nil
}

// appendHead appends a packet up to its id.
func (c Codec) appendHead(dst []byte, packet byte) []byte {
	dst = append(dst, engineMessage, packet)
	if c.Namespace != "" && c.Namespace != "/" {
		dst = append(dst, c.Namespace...)
		dst = append(dst, ',')
	}
	return dst
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	return append(dst, encoded...), nil
}

// packet is what a Socket.IO packet says. Its fields alias the message.
type packet struct {
	kind      byte
	namespace []byte // empty: the main one
	id        []byte
	payload   []byte
}

// parse reads what follows engineMessage.
func parse(data []byte) (packet, bool) {
	if len(data) == 0 {
		return packet{}, false
	}
	p := packet{kind: data[0]}
	data = data[1:]
	if p.kind == packetBinaryEvent || p.kind == packetBinaryAck {
		count := leadingDigits(data)
		if count == 0 || count == len(data) || data[count] != '-' {
			return packet{}, false
		}
		data = data[count+1:]
	}
	if len(data) > 0 && data[0] == '/' {
		end := 0
		for end < len(data) && data[end] != ',' {
			end++
		}
		p.namespace = data[:end]
		data = data[min(end+1, len(data)):]
		if len(p.namespace) == 1 {
			p.namespace = nil
		}
	}
	n := leadingDigits(data)
	p.id, p.payload = data[:n], data[n:]
	return p, true
}

func leadingDigits(data []byte) int {
	for i, c := range data {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(data)
}

// Classify implements [mux.Codec]. An error matches [ErrMessage] or [ErrBinary].
func (c Codec) Classify(messageType int, data []byte) (mux.Frame, error) {
	if messageType == websocket.BinaryMessage {
		return mux.Frame{}, ErrBinary
	}
	if len(data) == 0 {
		return mux.Frame{}, errPacket
	}
	switch data[0] {
	case enginePing:
		return mux.Frame{Kind: mux.Ask}, nil
	case engineClose:
		return mux.Frame{Kind: mux.Away}, nil
	case engineOpen, enginePong, engineNoop:
		return mux.Frame{Kind: mux.Ignore}, nil
	case engineMessage:
		return c.classify(data[1:])
	}
	return mux.Frame{}, errPacket
}

func (c Codec) classify(data []byte) (mux.Frame, error) {
	p, ok := parse(data)
	if !ok {
		return mux.Frame{}, errPacket
	}
	if !c.mine(p.namespace) {
		return mux.Frame{Kind: mux.Ignore}, nil
	}
	switch p.kind {
	case packetEvent, packetBinaryEvent:
		if len(p.id) > 0 {
			return mux.Frame{Kind: mux.Ask}, nil
		}
		return mux.Frame{Kind: mux.Event}, nil
	case packetAck, packetBinaryAck:
		id, ok := jsonscan.Uint(p.id)
		if !ok || id == 0 {
			return mux.Frame{}, errNoID
		}
		return mux.Frame{Kind: mux.Reply, ID: id}, nil
	case packetDisconnect:
		return mux.Frame{Kind: mux.Away}, nil
	case packetConnect, packetConnectError:
		return mux.Frame{Kind: mux.Ignore}, nil
	}
	return mux.Frame{}, errPacket
}

// mine reports whether a namespace is the codec's.
func (c Codec) mine(namespace []byte) bool {
	if c.Namespace == "/" {
		return len(namespace) == 0
	}
	return string(namespace) == c.Namespace
}

// open returns the packet in a message.
func open(m mux.Message) (packet, error) {
	if len(m.Data) == 0 || m.Data[0] != engineMessage {
		return packet{}, errPacket
	}
	p, ok := parse(m.Data[1:])
	if !ok {
		return packet{}, errPacket
	}
	if p.kind == packetBinaryAck || p.kind == packetBinaryEvent {
		return packet{}, ErrBinary
	}
	return p, nil
}

// Decode stores the arguments of an acknowledgement in the values that args point to, in
// order, as json.Unmarshal does; a nil element ignores one. Further arguments are ignored;
// missing ones are an error. An error matches [ErrMessage] or [ErrBinary].
func Decode(reply mux.Message, args ...any) error {
	p, err := open(reply)
	if err != nil {
		return err
	}
	if p.kind != packetAck {
		return fmt.Errorf("%w: it is no acknowledgement", ErrMessage)
	}
	return decodeArgs(p.payload, 0, args)
}

// decodeArgs stores the elements of an array, from index skip on.
func decodeArgs(array []byte, skip int, args []any) error {
	s := jsonscan.Array(array)
	for i := -skip; i < len(args); i++ {
		value, ok := s.Element()
		if !ok {
			return fmt.Errorf("%w: want %d arguments, got %d", ErrMessage, len(args), max(i, 0))
		}
		if i < 0 || args[i] == nil {
			continue
		}
		if err := json.Unmarshal(value, args[i]); err != nil {
			return fmt.Errorf("%w: argument %d: %w", ErrMessage, i, err)
		}
	}
	return nil
}

// Received is an event of the server.
type Received struct {
	Name    string
	payload []byte
}

// Decode stores the arguments of the event, as [Decode] does.
func (r Received) Decode(args ...any) error { return decodeArgs(r.payload, 1, args) }

// ParseEvent reads an event. It aliases the message. An error matches [ErrMessage] or
// [ErrBinary].
func ParseEvent(m mux.Message) (Received, error) {
	p, err := open(m)
	if err != nil {
		return Received{}, err
	}
	r := Received{payload: p.payload}
	if p.kind != packetEvent {
		return Received{}, fmt.Errorf("%w: it is no event", ErrMessage)
	}
	if err := decodeArgs(p.payload, 0, []any{&r.Name}); err != nil {
		return Received{}, err
	}
	return r, nil
}

// Answer returns a function for [mux.Config.OnRequest], and for OnUnsolicited of the wspool.Config,
// that answers the server's pings, and acknowledges its events with what handler returns. An error
// of handler destroys the connection. Events with binary attachments get no acknowledgement, nor
// does any event if handler is nil. Of other messages, which only OnUnsolicited gets, one with which
// the server disconnects is an error ([mux.ErrAway]); the rest is dropped.
func (c Codec) Answer(handler func(ctx context.Context, e Received) (args []any, err error)) func(context.Context, mux.Message) (*mux.Message, error) {
	return func(ctx context.Context, m mux.Message) (*mux.Message, error) {
		frame, err := c.Classify(m.Type, m.Data)
		switch {
		case err == nil && frame.Kind == mux.Away:
			return nil, mux.ErrAway // calls on the connection would not be answered
		case err != nil || frame.Kind != mux.Ask:
			return nil, nil
		}
		if m.Data[0] == enginePing {
			pong := append([]byte{enginePong}, m.Data[1:]...)
			return &mux.Message{Type: websocket.TextMessage, Data: pong}, nil
		}
		if handler == nil {
			return nil, nil
		}
		p, err := open(m)
		if errors.Is(err, ErrBinary) {
			return nil, nil // no reason to end the calls of others
		}
		if err != nil {
			return nil, err
		}
		event, err := ParseEvent(m)
		if err != nil {
			return nil, err
		}
		args, err := handler(ctx, event)
		if err != nil {
			return nil, err
		}
		out := c.appendHead(nil, packetAck)
		out = append(out, p.id...)
		if args == nil {
			args = []any{}
		}
		if out, err = appendJSON(out, args); err != nil {
			return nil, err
		}
		return &mux.Message{Type: websocket.TextMessage, Data: out}, nil
	}
}

// Connect returns a function for wspool.Config.OnConnect that waits for the server's first
// packet and connects to the namespace. auth returns what the server needs to know, such as a
// token, and is called for each connection; nil sends nothing. A refusal matches
// [ErrRefused]; no error has the text of auth.
func (c Codec) Connect(auth func(ctx context.Context) (any, error)) func(context.Context, *wspool.Conn) error {
	return func(ctx context.Context, conn *wspool.Conn) error {
		if err := c.check(); err != nil {
			return err
		}
		hello, err := expect(ctx, conn)
		if err != nil {
			return err
		}
		if len(hello) == 0 || hello[0] != engineOpen {
			return fmt.Errorf("%w: want an open packet first", ErrMessage)
		}
		packet := c.appendHead(nil, packetConnect)
		if auth != nil {
			credentials, err := auth(ctx)
			if err != nil {
				return fmt.Errorf("socketio: credentials: %w", err)
			}
			encoded, err := json.Marshal(credentials)
			if err != nil {
				return fmt.Errorf("socketio: credentials cannot be encoded as JSON, they are a %T", credentials)
			}
			packet = append(packet, encoded...)
		}
		if err := conn.WriteMessage(ctx, websocket.TextMessage, packet); err != nil {
			return err
		}
		for {
			data, err := expect(ctx, conn)
			if err != nil {
				return err
			}
			if len(data) > 0 && data[0] == enginePing {
				if err := conn.WriteMessage(ctx, websocket.TextMessage, []byte{enginePong}); err != nil {
					return err
				}
				continue
			}
			if len(data) < 2 || data[0] != engineMessage {
				continue
			}
			p, ok := parse(data[1:])
			switch {
			case !ok || !c.mine(p.namespace):
			case p.kind == packetConnect:
				return nil
			case p.kind == packetConnectError:
				return ErrRefused
			}
		}
	}
}

// check reports what is wrong with the codec's fields.
func (c Codec) check() error {
	if c.Namespace != "" && (c.Namespace[0] != '/' || strings.Contains(c.Namespace, ",")) {
		return fmt.Errorf("socketio: bad Codec: Namespace must begin with a slash and have no comma, got %q", c.Namespace)
	}
	return nil
}

// expect reads one text message.
func expect(ctx context.Context, conn *wspool.Conn) ([]byte, error) {
	messageType, data, err := conn.ReadMessage(ctx)
	if err == nil && messageType != websocket.TextMessage {
		err = ErrBinary
	}
	return data, err
}
