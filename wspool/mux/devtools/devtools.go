// Package devtools is the codec of the Chrome DevTools Protocol for package mux: many
// commands in flight on one connection, to the browser and to any number of its sessions.
//
//	client, err := mux.New(pool, mux.Config{Codec: devtools.Codec{}, OnEvent: onEvent})
//	…
//	var target struct{ TargetID string }
//	err = devtools.Call(ctx, client, devtools.Command{
//		Method: "Target.createTarget", Params: map[string]string{"url": "about:blank"},
//	}, &target)
//
// Sessions are those of Target.attachToTarget with flatten set. A session belongs to one
// connection: give the calls of a session, and the one that attaches it, the same
// mux.Request.Session, or use one connection.
//
// With OnEvent set the last connection stays with the client. An event that arrives while no client has
// the connection destroys it, unless wspool.Config.OnUnsolicited is set: if commands enable events, set
// OnEvent, or OnUnsolicited to wspool.DropUnsolicited.
package devtools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/wspool/mux"
)

// Codec is the [mux.Codec] of the protocol. The Body of a call is a [Command] or a
// [*Command]; the reply is the whole message, which [Decode] reads. Messages of the
// browser without an id are events, which [ParseEvent] reads. A message with an error and
// without an id, with which the browser answers a command that it could not read, is counted
// as bad: no command can be found for it.
type Codec struct{}

// Command is the body of a call.
type Command struct {
	Method string // such as "Page.navigate"
	// Params is a value that encoding/json encodes as an object. A json.RawMessage is sent
	// as it is, unchecked. Nil: there are none.
	Params    any
	SessionID string // of the target; empty: the browser itself
}

var (
	// ErrBody: the body of a call cannot be encoded.
	ErrBody = errors.New("devtools: bad body")
	// ErrMessage: a message is not of the protocol, or not of the kind that was expected.
	ErrMessage = errors.New("devtools: bad message")

	errSyntax = fmt.Errorf("%w: it is no object", ErrMessage)
	errNoID   = fmt.Errorf("%w: it has neither a method nor the id of a command", ErrMessage)
)

// IDBits implements [mux.Codec]: browsers read ids as int32.
func (Codec) IDBits() int { return 31 }

// Append implements [mux.Codec]. A failure matches [ErrBody]. The protocol has no
// notifications: id 0 is refused.
func (Codec) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	var c *Command
	switch b := body.(type) {
	case Command:
		c = &b
	case *Command:
		c = b
	default:
		return 0, dst, fmt.Errorf("%w: want a Command or a *Command, got %T", ErrBody, body)
	}
	switch {
	case c == nil || c.Method == "":
		return 0, dst, fmt.Errorf("%w: the command has no method", ErrBody)
	case id == 0:
		return 0, dst, fmt.Errorf("%w: every command has a reply: use Call", ErrBody)
	}
	out = append(dst, `{"id":`...)
	out = strconv.AppendUint(out, id, 10)
	out = append(out, `,"method":`...)
	out = jsonscan.AppendText(out, c.Method)
	if c.SessionID != "" {
		out = append(out, `,"sessionId":`...)
		out = jsonscan.AppendText(out, c.SessionID)
	}
	out, err = jsonscan.AppendMember(out, "params", c.Params, "{")
	switch {
	case err == jsonscan.ErrKind:
		return 0, dst, fmt.Errorf("%w: parameters of %q must be encoded as an object, got %T", ErrBody, c.Method, c.Params)
	case err != nil:
		return 0, dst, fmt.Errorf("%w: parameters of %q: %w", ErrBody, c.Method, err)
	}
	return websocket.TextMessage, append(out, '}'), nil
}

type envelope struct {
	id, method, params, session, result, failure []byte
}

var names = [...]string{"id", "method", "params", "sessionId", "result", "error"} // of an envelope, in its order

func open(data []byte) (envelope, error) {
	var found [len(names)][]byte
	if !jsonscan.Members(data, names[:], found[:]) {
		return envelope{}, errSyntax
	}
	return envelope{id: found[0], method: found[1], params: found[2], session: found[3], result: found[4], failure: found[5]}, nil
}

// Classify implements [mux.Codec]. An error matches [ErrMessage].
func (Codec) Classify(_ int, data []byte) (mux.Frame, error) {
	e, err := open(data)
	if err != nil {
		return mux.Frame{}, err
	}
	if id, ok := jsonscan.Uint(e.id); ok && id != 0 {
		return mux.Frame{Kind: mux.Reply, ID: id}, nil
	}
	if e.method != nil && (e.id == nil || jsonscan.Null(e.id)) {
		return mux.Frame{Kind: mux.Event}, nil
	}
	return mux.Frame{}, errNoID
}

// Error is an error with which the browser replied. Find it with errors.As.
type Error struct {
	Code    int
	Message string // the browser's words
	Data    string
}

func (e *Error) Error() string {
	if e.Data != "" {
		return fmt.Sprintf("devtools: browser replied with an error: %s: %s (code %d)", e.Message, e.Data, e.Code)
	}
	return fmt.Sprintf("devtools: browser replied with an error: %s (code %d)", e.Message, e.Code)
}

// Decode stores the result of a reply in the value that result points to, as json.Unmarshal
// does; nil ignores the result. If the browser replied with an error, it returns an
// [*Error]. Other errors match [ErrMessage].
func Decode(reply mux.Message, result any) error {
	e, err := open(reply.Data)
	if err != nil {
		return err
	}
	if e.failure != nil && !jsonscan.Null(e.failure) {
		failure := new(Error)
		if err := json.Unmarshal(e.failure, failure); err != nil {
			return fmt.Errorf("%w: error: %w", ErrMessage, err)
		}
		return failure
	}
	switch {
	case e.result == nil:
		return fmt.Errorf("%w: the reply has neither a result nor an error", ErrMessage)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(e.result, result); err != nil {
		return fmt.Errorf("%w: result: %w", ErrMessage, err)
	}
	return nil
}

// Caller makes calls: a [*mux.Client].
type Caller interface {
	Call(ctx context.Context, r mux.Request) (mux.Message, error)
}

// Call executes one command and stores its result in the value that result points to; nil
// ignores it. It blocks until the reply is there or ctx ends. A command with a SessionID uses
// the connection of that session: see [mux.Request.Session]. The error is that of
// [mux.Client.Call], or that of [Decode].
func Call(ctx context.Context, c Caller, command Command, result any) error {
	reply, err := c.Call(ctx, mux.Request{Body: &command, Session: command.SessionID})
	if err != nil {
		return err
	}
	return Decode(reply, result)
}

// Event is a message that the browser sent of its own accord.
type Event struct {
	Method    string
	Params    json.RawMessage // nil: there are none. It aliases the message
	SessionID string          // of the target; empty: the browser itself
}

// ParseEvent reads an event. An error matches [ErrMessage].
func ParseEvent(m mux.Message) (Event, error) {
	e, err := open(m.Data)
	if err != nil {
		return Event{}, err
	}
	event := Event{Params: e.params}
	if e.method == nil || json.Unmarshal(e.method, &event.Method) != nil {
		return Event{}, fmt.Errorf("%w: the event has no method", ErrMessage)
	}
	if e.session != nil {
		if err := json.Unmarshal(e.session, &event.SessionID); err != nil {
			return Event{}, fmt.Errorf("%w: sessionId: %w", ErrMessage, err)
		}
	}
	return event, nil
}
