package wspool

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// The pauses of DefaultRedial.
const (
	restartPause = time.Second            // uniform, up to it
	busyPause    = 30 * time.Second       // and up to as much more
	askedPause   = 10 * time.Minute       // the longest a Retry-After may ask for
	loginPause   = time.Minute            // doubles with each
	maxLogin     = 10 * time.Minute       // and its end
	lostPause    = 100 * time.Millisecond // doubles with each
	maxLost      = 30 * time.Second       // and its end
)

// DefaultRedial is what [Config.Redial] is if it is nil. It decides by the close
// code that the server gave, or the HTTP status of a failed dial:
//
//   - 1001 and 1012, the server restarts: up to a second, drawn anew each time,
//     so that its clients do not come back as one.
//   - 1013, 429 and 503, it has too much to do: as long as its Retry-After
//     says, 10 minutes at most, and up to a tenth longer; without one, 30 s to
//     a minute.
//   - 1008, 3000, 4401 and 4403, 401, 403 and 407, it does not accept who comes:
//     at first 0, for [Config.Prepare] may have better credentials by now; if
//     the streak goes on, a minute, doubling up to 10 minutes, less up to a half.
//   - 1006, 1011 and 1014, and a connection that the network or silence ended:
//     from 0 to 100 ms, doubling up to 30 s, drawn anew each time.
//   - Any other end of a connection: 0, for it may have done what it was for; if
//     the streak goes on, as before.
//   - Any other failed dial: 0. The pool itself backs off from dials that keep
//     failing.
func DefaultRedial(cause error, streak int) time.Duration {
	code, status, asked := reason(cause)
	switch code {
	case websocket.CloseGoingAway, websocket.CloseServiceRestart:
		return rand.N(restartPause)
	case websocket.CloseTryAgainLater:
		return busyPause + rand.N(busyPause)
	case websocket.ClosePolicyViolation, 3000, 4401, 4403:
		return loginAgain(streak)
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if asked > 0 {
			asked = min(asked, askedPause)
			return asked + rand.N(asked/10+1)
		}
		return busyPause + rand.N(busyPause)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return loginAgain(streak)
	}
	var de *DialError
	switch {
	case errors.As(cause, &de):
		return 0
	case lost(cause, code):
		return rand.N(doubled(lostPause, streak, maxLost))
	case streak > 1:
		// A server that agrees to every handshake and ends every connection
		// looks well to the pool, whose callers come back at once.
		return rand.N(doubled(lostPause, streak-1, maxLost))
	}
	return 0
}

// loginAgain is the pause after the server did not accept who came.
func loginAgain(streak int) time.Duration {
	if streak <= 1 {
		return 0
	}
	d := doubled(loginPause, streak-1, maxLogin)
	return d - rand.N(d/2)
}

// doubled is first for a streak of 1, twice that for 2, and so on up to most.
func doubled(first time.Duration, streak int, most time.Duration) time.Duration {
	for range streak - 1 {
		if first >= most/2 {
			return most
		}
		first *= 2
	}
	return first
}

// reason returns what the server said: a close code, or the status of a failed
// dial and what it asked to wait; zeros if it said nothing.
func reason(cause error) (code, status int, asked time.Duration) {
	var ce *CloseError
	if errors.As(cause, &ce) {
		code = ce.Code
	}
	var de *DialError
	if errors.As(cause, &de) {
		status, asked = de.Status, de.RetryAfter
	}
	return code, status, asked
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
