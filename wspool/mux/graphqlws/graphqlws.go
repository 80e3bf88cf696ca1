// Package graphqlws is the codec of the graphql-transport-ws protocol for package mux: many
// queries, mutations and subscriptions on one connection.
//
//	pool, err := wspool.New(wspool.Config{
//		URL:           "wss://example.com/graphql",
//		Subprotocols:  []string{graphqlws.Subprotocol},
//		OnConnect:     graphqlws.Connect(payload),
//		OnUnsolicited: graphqlws.Pong, // while no client has the connection
//	})
//	client, err := mux.New(pool, mux.Config{Codec: graphqlws.Codec{}, OnRequest: graphqlws.Pong})
//	…
//	err = graphqlws.Call(ctx, client, graphqlws.Operation{Query: "{ me { name } }"}, &me)
//	prices, err := client.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: "subscription { price }"}}, mux.StreamConfig{})
//
// It follows the protocol of the npm package graphql-ws
// (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md).
package graphqlws

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

// Subprotocol is the name to ask for in the handshake.
const Subprotocol = "graphql-transport-ws"

// Codec is the [mux.Codec] of the protocol. The Body of a call or stream is an [Operation] or
// an [*Operation]. Each result of the server is a part of the stream; a call gets the one
// result of its query or mutation, which [Decode] reads.
//
// The server pings with a message of its own, a [mux.Ask], which [Pong] answers: set it in both
// configurations.
type Codec struct{}

// Operation is the body of a call or stream.
type Operation struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName,omitempty"`
	Variables     map[string]any `json:"variables,omitempty"`
	Extensions    map[string]any `json:"extensions,omitempty"`
}

var (
	// ErrBody: the body of a call cannot be encoded.
	ErrBody = errors.New("graphqlws: bad body")
	// ErrMessage: a message is not of the protocol, or not of the kind that was expected.
	ErrMessage = errors.New("graphqlws: bad message")

	errSyntax = fmt.Errorf("%w: it is no object", ErrMessage)
	errType   = fmt.Errorf("%w: its type is unknown", ErrMessage)
	errNoID   = fmt.Errorf("%w: it lacks the id of an operation", ErrMessage)
)

// IDBits implements [mux.Codec]. Ids are strings, so that a server never rounds them.
func (Codec) IDBits() int { return 64 }

// Append implements [mux.Codec]. A failure matches [ErrBody]. Every operation is answered:
// id 0 is refused.
func (Codec) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	var o *Operation
	switch b := body.(type) {
	case Operation:
		o = &b
	case *Operation:
		o = b
	default:
		return 0, dst, fmt.Errorf("%w: want an Operation or an *Operation, got %T", ErrBody, body)
	}
	switch {
	case o == nil || o.Query == "":
		return 0, dst, fmt.Errorf("%w: the operation has no query", ErrBody)
	case id == 0:
		return 0, dst, fmt.Errorf("%w: every operation has a reply: use Call or Stream", ErrBody)
	}
	payload, err := json.Marshal(o)
	if err != nil {
		return 0, dst, fmt.Errorf("%w: %w", ErrBody, err)
	}
	out = appendHead(dst, id, "subscribe")
	out = append(out, `,"payload":`...)
	return websocket.TextMessage, append(append(out, payload...), '}'), nil
}

// appendHead appends a message up to its payload.
func appendHead(dst []byte, id uint64, kind string) []byte {
	dst = append(dst, `{"id":"`...)
	dst = strconv.AppendUint(dst, id, 10)
	dst = append(dst, `","type":"`...)
	dst = append(dst, kind...)
	return append(dst, '"')
}

// AppendCancel implements [mux.Canceler].
func (Codec) AppendCancel(dst []byte, id uint64, _ []byte) (messageType int, out []byte, err error) {
	return websocket.TextMessage, append(appendHead(dst, id, "complete"), '}'), nil
}

// CancelFinal implements [mux.FinalCanceler]: the server sends nothing for an operation that the
// client has completed.
func (Codec) CancelFinal() bool { return true }

type envelope struct {
	id, kind, payload []byte
}

var names = [...]string{"id", "type", "payload"} // of an envelope, in its order

func open(data []byte) (envelope, error) {
	var found [len(names)][]byte
	if !jsonscan.Members(data, names[:], found[:]) {
		return envelope{}, errSyntax
	}
	kind, _ := jsonscan.Text(found[1])
	return envelope{id: found[0], kind: kind, payload: found[2]}, nil
}

// Classify implements [mux.Codec]. An error matches [ErrMessage].
func (Codec) Classify(_ int, data []byte) (mux.Frame, error) {
	e, err := open(data)
	if err != nil {
		return mux.Frame{}, err
	}
	var kind mux.Kind
	switch {
	case jsonscan.Is(e.kind, "next"):
		kind = mux.Part
	case jsonscan.Is(e.kind, "error"), jsonscan.Is(e.kind, "complete"):
		kind = mux.End
	case jsonscan.Is(e.kind, "ping"):
		return mux.Frame{Kind: mux.Ask}, nil
	case jsonscan.Is(e.kind, "pong"), jsonscan.Is(e.kind, "connection_ack"):
		return mux.Frame{Kind: mux.Ignore}, nil
	default:
		return mux.Frame{}, errType
	}
	id, ok := jsonscan.Uint(e.id)
	if !ok || id == 0 {
		return mux.Frame{}, errNoID
	}
	return mux.Frame{Kind: kind, ID: id}, nil
}

// Pong answers the server's ping. Set it as [mux.Config.OnRequest], and as OnUnsolicited of the
// [wspool.Config]: a ping that arrives while no client has the connection, behind connection_ack
// or after [mux.Config.IdleAfter], destroys the connection otherwise. It answers no other message,
// so that a result which no lease has read does not pass for a ping.
func Pong(_ context.Context, m mux.Message) (*mux.Message, error) {
	if e, err := open(m.Data); err != nil || !jsonscan.Is(e.kind, "ping") {
		return nil, nil
	}
	return &mux.Message{Type: websocket.TextMessage, Data: []byte(`{"type":"pong"}`)}, nil
}

// Errors are the GraphQL errors of a result, or with which the server refused the operation.
// Find it with errors.As.
type Errors []Error

// Error is one GraphQL error.
type Error struct {
	Message    string          `json:"message"`
	Path       []any           `json:"path"`
	Extensions json.RawMessage `json:"extensions"`
}

func (e Errors) Error() string {
	if len(e) == 0 {
		return "graphqlws: server replied with errors"
	}
	text := "graphqlws: server replied with errors: " + e[0].Message
	if len(e) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(e)-1)
	}
	return text
}

// Decode stores the data of a result, that of a call or a part of a stream, in the value that
// data points to, as json.Unmarshal does; nil ignores it. If the result has errors, it stores
// the data that there is and returns [Errors]; it also returns them for the message with which
// the server refuses an operation. Other errors match [ErrMessage], that for a server that
// completed the operation without a result too.
func Decode(m mux.Message, data any) error {
	e, err := open(m.Data)
	if err != nil {
		return err
	}
	switch {
	case jsonscan.Is(e.kind, "error"):
		var errs Errors
		if err := json.Unmarshal(e.payload, &errs); err != nil {
			return fmt.Errorf("%w: errors: %w", ErrMessage, err)
		}
		return errs
	case !jsonscan.Is(e.kind, "next"):
		return fmt.Errorf("%w: the operation has no result", ErrMessage)
	}
	var result struct {
		Data   json.RawMessage
		Errors Errors
	}
	if err := json.Unmarshal(e.payload, &result); err != nil {
		return fmt.Errorf("%w: result: %w", ErrMessage, err)
	}
	if data != nil && len(result.Data) > 0 {
		if err := json.Unmarshal(result.Data, data); err != nil {
			return fmt.Errorf("%w: data: %w", ErrMessage, err)
		}
	}
	if len(result.Errors) > 0 {
		return result.Errors
	}
	return nil
}

// Caller makes calls: a [*mux.Client].
type Caller interface {
	Call(ctx context.Context, r mux.Request) (mux.Message, error)
}

// Call executes one query or mutation and stores its data in the value that data points to; nil
// ignores it. It blocks until the result is there or ctx ends. The error is that of
// [mux.Client.Call], or that of [Decode].
func Call(ctx context.Context, c Caller, o Operation, data any) error {
	reply, err := c.Call(ctx, mux.Request{Body: &o})
	if err != nil {
		return err
	}
	return Decode(reply, data)
}
