package endpoint

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Kind is what kind of [Evidence] was observed.
type Kind uint8

// The kinds of evidence. What each counts as is said of a [Record].
const (
	// Nothing says nothing about the endpoint: the caller made a mistake, or ended the use for
	// other reasons. It is the zero Kind.
	Nothing Kind = iota
	// Success: a call or exchange was answered, or a lease ended well.
	Success
	// Connected: a connection is ready for use, with everything that its set-up includes. It
	// starts the slow start.
	Connected
	// DialFailed: a connection could not be made. Status is the HTTP status if the server
	// answered with one.
	DialFailed
	// Closed: the endpoint ended a connection. Code is the close code of WebSocket, if there
	// was one.
	Closed
	// Silence: nothing was received for so long that the connection is taken for dead.
	Silence
	// CallFailed: the endpoint answered that it failed. An answer that the caller's request was
	// wrong is a Success.
	CallFailed
	// Local: the failure was on this side, such as a lack of file descriptors or an invalid
	// configuration. It counts as Nothing.
	Local
	// Unanswered: the caller's own context ended while it waited for an answer. It is no
	// failure, and never leads to an ejection. It reduces the share to a quarter until the
	// endpoint answers another caller or a probe, so that an endpoint which has gone silent is
	// avoided before its silence is noticed.
	Unanswered

	kinds
)

var kindNames = [kinds]string{"nothing", "success", "connected", "dial failed", "closed", "silence", "call failed", "local", "unanswered"}

// String returns a few words.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Evidence is what was observed about an endpoint. The zero Evidence says nothing.
type Evidence struct {
	Kind Kind
	// Phase is the phase of a dial that failed, such as "connect". It is shown in
	// [State.Cause].
	Phase string
	// Status is the HTTP status of a server that refused, 0: none. See [Record.Refusals].
	Status int
	// Code is the WebSocket close code, 0: none.
	Code int
	// Latency is how long the endpoint took for what it did, or until the failure was known; 0:
	// not measured. The balancer [PeakEWMA] uses it.
	Latency time.Duration
	// Err is the error; it is shown in [State.Cause], so it must not contain a secret.
	Err error
}

// last describes the failure that led to an ejection.
func (e *Evidence) last() error {
	text := e.Kind.String()
	if e.Phase != "" {
		text += " in the phase " + strconv.Quote(e.Phase)
	}
	if e.Status != 0 {
		text += " with status " + strconv.Itoa(e.Status)
	}
	if e.Code != 0 {
		text += " with code " + strconv.Itoa(e.Code)
	}
	if e.Err == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, e.Err)
}
