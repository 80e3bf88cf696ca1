package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/jsonscan"
	"github.com/respool/respool/wspool/mux"
)

// Error is an error with which the server replied. Find it with errors.As.
type Error struct {
	Code    int
	Message string          // the server's words
	Data    json.RawMessage // nil: there is none
}

func (e *Error) Error() string {
	return fmt.Sprintf("jsonrpc: server replied with an error: %s (code %d)", e.Message, e.Code)
}

// failed returns the error that the message holds, nil if it holds none.
func (e *envelope) failed() error {
	if e.failure == nil || jsonscan.Null(e.failure) {
		return nil
	}
	var got struct {
		Code    json.Number
		Message string
		Data    json.RawMessage
	}
	if err := json.Unmarshal(e.failure, &got); err != nil {
		// Some servers put a bare string there. It is an error all the same.
		var text string
		if json.Unmarshal(e.failure, &text) != nil {
			text = string(e.failure)
		}
		return &Error{Message: text}
	}
	code, err := got.Code.Int64()
	if f, floating := got.Code.Float64(); err != nil && floating == nil {
		code = int64(f)
	}
	return &Error{Code: int(code), Message: got.Message, Data: got.Data}
}

// Decode stores the result of a reply in the value that result points to, as json.Unmarshal
// does; nil ignores the result. If the server replied with an error, it returns an [*Error].
// Other errors match [ErrMessage].
func Decode(reply mux.Message, result any) error {
	e, err := open(reply.Data)
	if err != nil {
		return err
	}
	return e.decode(result)
}

func (e *envelope) decode(result any) error {
	if err := e.failed(); err != nil {
		return err
	}
	if e.result == nil {
		return fmt.Errorf("%w: the reply has neither a result nor an error", ErrMessage)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(e.result, result); err != nil {
		return fmt.Errorf("%w: result: %w", ErrMessage, err)
	}
	return nil
}

// DecodeBatch stores the results of the reply to a [Batch] in the values that results point
// to, in the order of the calls; a nil element ignores a result. It returns one error for
// each call, nil where it succeeded, as [Decode] returns it; a call that the reply does not
// mention has one that matches [ErrMessage].
func DecodeBatch(reply mux.Message, results ...any) []error {
	errs := make([]error, len(results))
	for i := range errs {
		errs[i] = fmt.Errorf("%w: the reply to the batch lacks call %d", ErrMessage, i)
	}
	s := jsonscan.Array(reply.Data)
	for {
		value, ok := s.Element()
		if !ok {
			break
		}
		e, err := open(value)
		if err != nil {
			continue
		}
		if _, index, ok := batchID(e.id); ok && index < len(results) {
			errs[index] = e.decode(results[index])
		}
	}
	return errs
}

// Caller makes calls: a [*mux.Client].
type Caller interface {
	Call(ctx context.Context, r mux.Request) (mux.Message, error)
}

// Call calls a method and stores the result in the value that result points to; nil ignores
// it. It blocks until the reply is there or ctx ends. The error is that of [mux.Client.Call],
// or that of [Decode].
func Call(ctx context.Context, c Caller, method string, params, result any) error {
	reply, err := c.Call(ctx, mux.Request{Body: &Request{Method: method, Params: params}})
	if err != nil {
		return err
	}
	return Decode(reply, result)
}

// Notify sends a notification. It blocks and fails as [mux.Client.Notify].
func Notify(ctx context.Context, c *mux.Client, method string, params any) error {
	return c.Notify(ctx, &Request{Method: method, Params: params})
}

// CallBatch sends the requests in one message and stores the results as [DecodeBatch] does. err is
// that of [mux.Client.Call]; errs are those of the requests. It blocks as Call does, until the
// reply to all of them is there.
func CallBatch(ctx context.Context, c Caller, b Batch, results ...any) (errs []error, err error) {
	if len(results) != len(b) {
		return nil, fmt.Errorf("%w: the batch has %d requests, and there are %d results", ErrBody, len(b), len(results))
	}
	reply, err := c.Call(ctx, mux.Request{Body: b})
	if err != nil {
		return nil, err
	}
	return DecodeBatch(reply, results...), nil
}

// Notification is a message of the server that expects no reply, or that is to be answered
// with [Answer].
type Notification struct {
	Method string
	Params json.RawMessage // nil: there are none. It aliases the message
}

// ParseNotification reads a message that the server sent of its own accord: an event or a
// part of a subscription, or a request. An error matches [ErrMessage].
func ParseNotification(m mux.Message) (Notification, error) {
	e, err := open(m.Data)
	if err != nil {
		return Notification{}, err
	}
	var n Notification
	if e.method == nil || json.Unmarshal(e.method, &n.Method) != nil {
		return Notification{}, fmt.Errorf("%w: a notification has no method", ErrMessage)
	}
	n.Params = e.params
	return n, nil
}

// DecodePart stores the result that a part of a subscription carries in the value that
// result points to. An error matches [ErrMessage].
func DecodePart(m mux.Message, result any) error {
	n, err := ParseNotification(m)
	if err != nil {
		return err
	}
	value := member(n.Params, "result")
	if value == nil {
		return fmt.Errorf("%w: the notification has no result", ErrMessage)
	}
	if err := json.Unmarshal(value, result); err != nil {
		return fmt.Errorf("%w: result: %w", ErrMessage, err)
	}
	return nil
}

// Codes of errors that the specification reserves.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603
)

// Answer returns the message that answers a request of the server, for
// [mux.Config.OnRequest]: with failure, if that is not nil, else with result. If failure has
// an [*Error] in its chain, that is sent; otherwise CodeInternalError is sent without the
// text of failure, which is not meant for the server. An error says that request or result
// cannot be used.
func Answer(request mux.Message, result any, failure error) (*mux.Message, error) {
	e, err := open(request.Data)
	if err != nil {
		return nil, err
	}
	if e.id == nil {
		return nil, fmt.Errorf("%w: the request has no id", ErrMessage)
	}
	out := append([]byte(`{"jsonrpc":"2.0","id":`), e.id...)
	var body any = result
	if failure == nil {
		out = append(out, `,"result":`...)
	} else {
		out = append(out, `,"error":`...)
		body = wireError(failure)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("%w: result: %w", ErrBody, err)
	}
	out = append(append(out, encoded...), '}')
	return &mux.Message{Type: websocket.TextMessage, Data: out}, nil
}

// wireError returns what is sent for failure.
func wireError(failure error) any {
	type object struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}
	var known *Error
	if errors.As(failure, &known) {
		return object(*known)
	}
	return object{Code: CodeInternalError, Message: "internal error"}
}
