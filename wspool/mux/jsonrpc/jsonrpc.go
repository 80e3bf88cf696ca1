// Package jsonrpc is the codec of JSON-RPC 2.0 for package mux: requests, notifications,
// batches, and the notifications and requests of the server.
//
//	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{}})
//	...
//	var n int
//	err = jsonrpc.Call(ctx, client, "sum", []int{1, 2}, &n)
//
// [Call], [Notify] and [CallBatch] are for calls without further options; others give a
// [Request] or a [Batch] to [mux.Client.Call] and the reply to [Decode] or [DecodeBatch].
package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/respool/respool/wspool/mux"
)

// textMessage is the type of every message.
const textMessage = 1

// Request is the body of a call or of a notification.
type Request struct {
	Method string
	// Params is encoded by encoding/json as an array or an object. Nil: there are none.
	Params any
}

// Batch is the body of a call of several requests in one message. The server answers with one
// message: see [DecodeBatch]. A batch of notifications is the body of [mux.Client.Notify].
type Batch []Request

// Codec is a [mux.Codec] for JSON-RPC 2.0. The zero Codec is ready to use.
//
// A reply is recognized by its id, which the server may send as a number or as a string, and
// as "7.0" or "7e0" where others write 7. A message with a method is an event, or, if it has an
// id too, a request of the server. An array is a reply if an element of it has the id of a batch,
// else an event.
type Codec struct {
	// StringIDs sends ids as strings.
	StringIDs bool
	// Bits is how many bits an id may have: 31, or 53 (the default), beyond which servers
	// that read numbers as float64 round.
	Bits int
	// Away is the method of a notification with which the server asks for no more calls on
	// the connection. Empty: there is none.
	Away string
	// Cancel is the method of a notification that cancels a call, such as "$/cancelRequest",
	// whose params are {"id": …}. Empty: calls are not canceled at the server.
	Cancel string
}

var (
	_ mux.Codec    = Codec{}
	_ mux.Canceler = Codec{}
)

// IDBits implements [mux.Codec].
func (c Codec) IDBits() int {
	if c.Bits == 0 {
		return 53
	}
	return c.Bits
}

// Errors of this package. Test with errors.Is.
var (
	// ErrBody: the body of a call is no [Request], *Request or [Batch].
	ErrBody = errors.New("jsonrpc: body of the call is no Request and no Batch")
	// ErrMissing: the reply to a batch has no reply to one of its requests.
	ErrMissing = errors.New("jsonrpc: batch has no reply to the request")
)

// Append implements [mux.Codec].
func (c Codec) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	switch b := body.(type) {
	case Request:
		out, err = c.appendRequest(dst, id, -1, &b)
	case *Request:
		out, err = c.appendRequest(dst, id, -1, b)
	case Batch:
		if len(b) == 0 {
			return 0, dst, errors.New("jsonrpc: batch is empty")
		}
		out = append(dst, '[')
		for i := range b {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = c.appendRequest(out, id, i, &b[i]); err != nil {
				break
			}
		}
		out = append(out, ']')
	default:
		return 0, dst, fmt.Errorf("%w: %T", ErrBody, body)
	}
	if err != nil {
		return 0, dst, err
	}
	return textMessage, out, nil
}

// appendRequest appends a request. at is its position in a batch, -1 if it is in none: the
// elements of a batch have the id of the batch and their position, in a string.
func (c Codec) appendRequest(dst []byte, id uint64, at int, r *Request) ([]byte, error) {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if id != 0 {
		dst = append(dst, `"id":`...)
		dst = append(c.appendID(dst, id, at), ',')
	}
	dst = append(dst, `"method":`...)
	dst = appendString(dst, r.Method)
	switch p := r.Params.(type) {
	case nil:
	case json.RawMessage:
		dst = append(append(dst, `,"params":`...), p...)
	default:
		params, err := json.Marshal(p)
		if err != nil {
			return dst, fmt.Errorf("jsonrpc: params of %s: %w", r.Method, err)
		}
		dst = append(append(dst, `,"params":`...), params...)
	}
	return append(dst, '}'), nil
}

func (c Codec) appendID(dst []byte, id uint64, at int) []byte {
	switch {
	case at >= 0:
		dst = strconv.AppendUint(append(dst, '"'), id, 10)
		dst = strconv.AppendInt(append(dst, ':'), int64(at), 10)
		return append(dst, '"')
	case c.StringIDs:
		return append(strconv.AppendUint(append(dst, '"'), id, 10), '"')
	}
	return strconv.AppendUint(dst, id, 10)
}

// appendString appends s as a JSON string. Names of methods rarely need escapes.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if b := s[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			quoted, _ := json.Marshal(s) // a string never fails
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// AppendCancel implements [mux.Canceler].
func (c Codec) AppendCancel(dst []byte, id uint64, _ []byte) (messageType int, out []byte, err error) {
	if c.Cancel == "" {
		return 0, dst, nil
	}
	dst = append(dst, `{"jsonrpc":"2.0","method":`...)
	dst = append(appendString(dst, c.Cancel), `,"params":{"id":`...)
	return textMessage, append(c.appendID(dst, id, -1), '}', '}'), nil
}

// Classify implements [mux.Codec].
func (c Codec) Classify(_ int, data []byte) (mux.Frame, error) {
	s := scanner{data: data}
	s.space()
	if s.at < len(data) && data[s.at] == '[' {
		return s.batch()
	}
	m, err := s.members()
	switch {
	case err != nil:
		return mux.Frame{}, err
	case m.method != nil && m.hasID && !m.nullID:
		return mux.Frame{Kind: mux.Ask}, nil
	case m.method != nil && c.Away != "" && is(m.method, c.Away):
		return mux.Frame{Kind: mux.Away}, nil
	case m.method != nil:
		return mux.Frame{Kind: mux.Event}, nil
	case m.ours:
		return mux.Frame{Kind: mux.Reply, ID: m.id}, nil
	case m.nullID:
		return mux.Frame{}, errNullID
	case m.hasID:
		return mux.Frame{}, errID
	}
	return mux.Frame{}, errNoID
}

// Errors of Classify.
var (
	errNoID   = errors.New("jsonrpc: message has neither an id nor a method")
	errNullID = errors.New("jsonrpc: reply has the id null: the server could not read a request")
	errID     = errors.New("jsonrpc: id of the reply is none that was sent")
)

// Error is an error that the server replied with.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("jsonrpc: error %d: %s", e.Code, e.Message) }

// reply is a message of the server.
type reply struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// into decodes the result into v; nil: it is dropped.
func (r *reply) into(v any) error {
	switch {
	case r.Error != nil:
		return r.Error
	case r.Result == nil:
		return errors.New("jsonrpc: reply has neither a result nor an error")
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(r.Result, v); err != nil {
		return fmt.Errorf("jsonrpc: result: %w", err)
	}
	return nil
}

// Decode decodes the reply to a [Request] into result, as encoding/json does; nil: the result is
// dropped. It returns an [*Error] if the server replied with one.
func Decode(m mux.Message, result any) error {
	var r reply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return fmt.Errorf("jsonrpc: reply: %w", err)
	}
	return r.into(result)
}

// DecodeBatch decodes the reply to a [Batch] into results, one for each request; nil results are
// dropped. It returns an error for each request, nil where there is a result: an [*Error], or
// ErrMissing if the server has left its reply out. err says that the reply as a whole cannot be
// decoded; it is an [*Error] if the server refused the batch.
func DecodeBatch(m mux.Message, results ...any) (errs []error, err error) {
	if data := bytes.TrimLeft(m.Data, " \t\r\n"); len(data) > 0 && data[0] == '{' {
		if err := Decode(m, nil); err != nil {
			return nil, err
		}
		return nil, errors.New("jsonrpc: reply to the batch is a single reply")
	}
	var all []reply
	if err := json.Unmarshal(m.Data, &all); err != nil {
		return nil, fmt.Errorf("jsonrpc: reply to a batch: %w", err)
	}
	errs = make([]error, len(results))
	for i := range errs {
		errs[i] = ErrMissing
	}
	for i := range all {
		var id string
		if json.Unmarshal(all[i].ID, &id) != nil {
			continue
		}
		_, position, _ := bytes.Cut([]byte(id), []byte(":"))
		if at, err := strconv.Atoi(string(position)); err == nil && at >= 0 && at < len(results) {
			errs[at] = all[i].into(results[at])
		}
	}
	return errs, nil
}

// Call calls a method and decodes its result into result; nil: it is dropped. It fails as
// [mux.Client.Call], and with an [*Error] that the server replied with.
func Call(ctx context.Context, c *mux.Client, method string, params, result any) error {
	m, err := c.Call(ctx, mux.Request{Body: &Request{method, params}})
	if err != nil {
		return err
	}
	return Decode(m, result)
}

// Notify sends a notification. It fails as [mux.Client.Notify].
func Notify(ctx context.Context, c *mux.Client, method string, params any) error {
	return c.Notify(ctx, &Request{method, params})
}

// CallBatch sends all requests in one message and decodes the results, as [DecodeBatch] does.
func CallBatch(ctx context.Context, c *mux.Client, b Batch, results ...any) (errs []error, err error) {
	m, err := c.Call(ctx, mux.Request{Body: b, Cost: len(b)})
	if err != nil {
		return nil, err
	}
	return DecodeBatch(m, results...)
}
