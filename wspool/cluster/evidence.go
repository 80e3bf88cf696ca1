package cluster

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// localErrors are failures of this machine: no endpoint would do.
var localErrors = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
}

// evidenceOfDial returns what the result of a dial says about the endpoint. reset is the cause of
// the last Reset; nil: there was none.
func evidenceOfDial(err, reset error) endpoint.Evidence {
	if err == nil {
		return endpoint.Evidence{Kind: endpoint.Connected}
	}
	e := endpoint.Evidence{Kind: endpoint.DialFailed, Err: err}
	var d *wspool.DialError
	if !foreign.As(err, &d) {
		// Not of a dial: a panic, an end by Close or Reset, or a Quota.
		return endpoint.Evidence{Kind: endpoint.Local, Err: err}
	}
	e.Phase, e.Status = d.Phase, d.Status
	var closed *wspool.CloseError
	switch {
	case ended(d.Err), reset != nil && foreign.Is(d.Err, reset):
		return endpoint.Evidence{}
	case isLocal(d.Err), isExpired(d.Err), d.Phase == "prepare":
		e.Kind = endpoint.Local
	case d.Phase == "proxy":
		// The proxy is none of the endpoint's, but it says when it cannot reach the endpoint.
		switch d.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		default:
			e.Kind = endpoint.Local
		}
	case foreign.As(d.Err, &closed):
		e.Kind, e.Code = endpoint.Closed, closed.Code
	case d.Phase == "set-up" && !lost(d.Err):
		// OnConnect itself has refused, as where the server did not accept the client's token.
		e.Status = http.StatusForbidden
	}
	return e
}

// ended reports whether err is that the dial was no longer wanted.
func ended(err error) bool {
	return foreign.Is(err, context.Canceled) || foreign.Is(err, resource.ErrClosed) || foreign.Is(err, resource.ErrReset) ||
		foreign.Is(err, ErrLeft) || foreign.Is(err, ErrDrainTimeout)
}

func isLocal(err error) bool {
	for _, l := range localErrors {
		if foreign.Is(err, l) {
			return true
		}
	}
	return false
}

// isExpired reports whether err is that the lease of a fleet.Quota has ended, which the Quota's Dial
// returns. Its package is not imported here.
func isExpired(err error) (yes bool) {
	defer func() { _ = recover() }() // Cause may be a method of the user
	var named interface{ Cause() string }
	return foreign.As(err, &named) && named.Cause() == "quota lease ended"
}

// lost reports whether err is that a connection was lost, or took too long.
func lost(err error) bool {
	var n interface{ Timeout() bool } // of net.Error
	return foreign.As(err, &n) || foreign.Is(err, wspool.ErrSilent) || foreign.Is(err, wspool.ErrStale) || foreign.Is(err, resource.ErrMakeTimeout) ||
		foreign.Is(err, context.DeadlineExceeded)
}

// evidenceOfEnd returns what the end of a connection that the pool did not end says about the
// endpoint.
func evidenceOfEnd(err error) endpoint.Evidence {
	var closed *wspool.CloseError
	switch {
	case foreign.Is(err, context.Canceled), foreign.Is(err, context.DeadlineExceeded): // a caller's
		return endpoint.Evidence{}
	case foreign.Is(err, wspool.ErrSilent):
		return endpoint.Evidence{Kind: endpoint.Silence, Err: err}
	case foreign.As(err, &closed):
		return endpoint.Evidence{Kind: endpoint.Closed, Code: closed.Code, Err: err}
	case foreign.Is(err, wspool.ErrUnsolicited), foreign.Is(err, wspool.ErrUnread), foreign.Is(err, wspool.ErrReadLimit),
		foreign.Is(err, wspool.ErrNotUTF8), foreign.Is(err, wspool.ErrFlooded):
		// The endpoint works; it sends what this client does not accept.
		return endpoint.Evidence{Kind: endpoint.Nothing, Err: err}
	case isLocal(err), isExpired(err), foreign.Is(err, net.ErrClosed): // a Quota closes connections before its lease ends
		return endpoint.Evidence{Kind: endpoint.Local, Err: err}
	case ended(err):
		return endpoint.Evidence{}
	}
	return endpoint.Evidence{Kind: endpoint.Closed, Err: err}
}
