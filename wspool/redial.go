package wspool

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// The pauses of DefaultRedial. Each ramp begins with its first pause and grows
// from cause to cause of the streak up to its last one.
const (
	restartPause = time.Second // uniform, up to it

	firstUnavailable = 200 * time.Millisecond // after a 503
	firstBusy        = time.Second            // after a 429 or 1013
	maxBusy          = time.Minute            // the last of both

	firstLogin = 350 * time.Millisecond // after the second refusal of the client
	maxLogin   = 10 * time.Minute

	firstLost = 100 * time.Millisecond // after a connection that was lost
	maxLost   = 30 * time.Second

	// maxAsked is the longest pause after an end that may be the answer to what
	// one lease wrote.
	maxAsked = 5 * time.Second

	gentle = 1.5 // growth of what is often over within seconds
	steep  = 2   // growth of the others
)

// DefaultRedial is what [Config.Redial] is if it is nil. It decides by what the
// server said: the close code of a connection that ended, or the HTTP status of
// a failed dial. A pause that grows takes from two thirds to all of the time
// stated, drawn anew each time, so that the clients of a server do not come back
// as one.
//
//   - An answer of any status with a Retry-After ([DialError.RetryAfterSet]): for
//     as long as that says, [Config.MaxRetryAfter] at most, and up to a tenth
//     longer. Retry-After: 0 is no pause.
//   - 503: 200 ms, growing by half up to a minute, which takes 16 in a row. A
//     proxy answers so while its server restarts.
//   - 429, and close code 1013: 1 s, doubling up to a minute. The client itself is
//     asked to come less often; most limits count by the second or the minute.
//   - 401, 403, 407, and close codes 1008, 3000, 4401 and 4403: the server does not
//     accept the client. At first 0, since [Config.Prepare] may have better
//     credentials by now; if the streak goes on, 350 ms, growing by half up to 10
//     minutes. The close codes count so only where the connection had served no
//     lease and the lease that had it, if any, had written nothing: otherwise
//     they are an answer to what that lease wrote (see [EndError]), and count as
//     any other end.
//   - 1001 and 1012, the server restarts: from 0 to 1 s.
//   - 1006, 1011 and 1014, and a connection that the network or silence ended:
//     from 0 to 100 ms, doubling up to 30 s.
//   - Any other end of a connection: 0, for it may have done what it was for; if
//     the streak goes on, as before.
//   - Any other failed dial: 0. The pool itself backs off from dials that keep
//     failing.
//
// After an end within a lease that had written no pause by 1006 or a rule below
// it is longer than 5 s: one caller's messages are not everybody's fault.
func DefaultRedial(cause error, streak int) time.Duration {
	var dial *DialError
	dialed := errors.As(cause, &dial)
	if dialed {
		if dial.RetryAfterSet {
			d := min(max(dial.RetryAfter, 0), forever)
			return d + rand.N(d/10+1)
		}
		switch dial.Status {
		case http.StatusServiceUnavailable:
			return spread(grown(firstUnavailable, gentle, streak, maxBusy))
		case http.StatusTooManyRequests:
			return spread(grown(firstBusy, steep, streak, maxBusy))
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
			return loginAgain(streak)
		}
	}
	var end *EndError
	answered := false // the end may be the answer to what a lease wrote
	served := false
	if errors.As(cause, &end) {
		answered, served = end.Asked, end.Served
	}
	code := closeCode(cause)
	switch code {
	case websocket.CloseGoingAway, websocket.CloseServiceRestart:
		return rand.N(restartPause)
	case websocket.CloseTryAgainLater:
		return spread(grown(firstBusy, steep, streak, maxBusy))
	}
	if refusesClient(code) && !served && !answered {
		return loginAgain(streak)
	}
	most := maxLost
	if answered {
		most = maxAsked
	}
	switch {
	case dialed:
		return 0
	case lost(cause, code):
		return rand.N(grown(firstLost, steep, streak, most))
	case streak > 1:
		// A server that agrees to every handshake and ends every connection
		// looks well to the pool, whose callers come back at once.
		return rand.N(grown(firstLost, steep, streak-1, most))
	}
	return 0
}

// refusesClient reports whether a server may say with that close code that it does
// not accept the client: policy violation, the IANA registry's Unauthorized, and
// the HTTP statuses 401 and 403 as many services write them.
func refusesClient(code int) bool {
	switch code {
	case websocket.ClosePolicyViolation, 3000, 4401, 4403:
		return true
	}
	return false
}

// loginAgain is the pause after the server did not accept the client.
func loginAgain(streak int) time.Duration {
	if streak <= 1 {
		return 0
	}
	return spread(grown(firstLogin, gentle, streak-1, maxLogin))
}

// spread returns from two thirds of d to all of it.
func spread(d time.Duration) time.Duration { return d - rand.N(d/3+1) }

// grown is first for a streak of 1, and by factor more with each up to most.
func grown(first time.Duration, factor float64, streak int, most time.Duration) time.Duration {
	d := float64(first) * math.Pow(factor, float64(max(streak, 1)-1))
	if d >= float64(most) {
		return most
	}
	return time.Duration(d)
}

// closeCode is the close code in cause; 0: there is none.
func closeCode(cause error) int {
	var ce *CloseError
	if errors.As(cause, &ce) {
		return ce.Code
	}
	return 0
}

// lost reports whether a connection that was up ended without a word that tells
// what to do.
func lost(cause error, code int) bool {
	switch code {
	case websocket.CloseAbnormalClosure, websocket.CloseInternalServerErr, 1014:
		return true
	case 0:
		var ne net.Error
		return errors.Is(cause, ErrSilent) || errors.As(cause, &ne) || errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF)
	}
	return false
}
