package mux

import (
	"errors"
	"fmt"

	"github.com/respool/respool/internal/cause"
)

// Errors of calls and streams, and reasons why a connection is drained. Test with errors.Is.
var (
	// ErrNotSent: the call was certainly not received whole by the server, so it has not
	// run. It may be made again.
	ErrNotSent = errors.New("mux: call was not sent")
	// ErrMayHaveRun: the call was handed to the network, and its reply did not arrive. It
	// may or may not have run.
	ErrMayHaveRun = errors.New("mux: call may have run")
	// ErrBusy: every connection has as many calls as [Config.MaxInFlight] allows, or none
	// is held yet, and the request has NoWait.
	ErrBusy = errors.New("mux: no connection has room for the call")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("mux: client is closed")
	// ErrOrphans: too many calls that were given up awaited their replies on the
	// connection, or one did for too long.
	ErrOrphans = cause.New("mux: replies to calls that were given up do not arrive", "orphaned calls")
	// ErrAway: the server wants no more calls on the connection ([Away]).
	ErrAway = cause.New("mux: server wants no more calls on the connection", "server going away")
	// ErrDrainWait: the connection was drained, and the call or stream was left on it when
	// [Config.DrainWait] was over.
	ErrDrainWait = cause.New("mux: connection was drained", "drained")
	// ErrOverflow: the buffer of a stream with [Fail] was full.
	ErrOverflow = errors.New("mux: stream is read too slowly")
	// ErrDuplicateKey: the server accepted a stream with the key of another one on the same
	// connection ([Subscriber]). The messages of the two cannot be told apart, so the new one
	// fails and is canceled by the id of its request.
	ErrDuplicateKey = errors.New("mux: server gave a stream the key of another one")
	// ErrStreamClosed: the stream was closed by [Stream.Close].
	ErrStreamClosed = errors.New("mux: stream is closed")
	// ErrUnanswered: the user's function for events or requests failed.
	ErrUnanswered = cause.New("mux: function for events failed", "event function failed")
)

// CallError is the error of a call that has no reply. It matches [ErrNotSent] or
// [ErrMayHaveRun], and Err: the error of the context, of the connection
// ([*wspool.CloseError], [wspool.ErrSilent]), of the acquire ([*resource.AcquireError]) or of
// the codec. Find it with errors.As.
type CallError struct {
	Fate error  // ErrNotSent or ErrMayHaveRun
	Conn uint64 // the id of the last connection in its pool; 0: none was chosen
	Sent int    // how many times the call was handed to a connection
	Err  error  // why there is no reply
}

func (e *CallError) Error() string { return fmt.Sprintf("%v: %v", e.Fate, e.Err) }

// Unwrap returns Fate and Err.
func (e *CallError) Unwrap() []error { return []error{e.Fate, e.Err} }

// Cause returns the fate in a few words, for counting causes.
func (e *CallError) Cause() string {
	if e.Fate == ErrNotSent {
		return "not sent"
	}
	return "may have run"
}
