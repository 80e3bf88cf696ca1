package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// What a failed dial says about the endpoint depends on its phase and cause.
func TestEvidenceOfDial(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	mine := errors.New("login refused")
	reset := errors.New("configuration has changed")
	for name, c := range map[string]struct {
		err    error
		kind   endpoint.Kind
		status int
		code   int
	}{
		"success":                     {nil, endpoint.Connected, 0, 0},
		"connection refused":          {&wspool.DialError{Phase: "connect", Err: refused}, endpoint.DialFailed, 0, 0},
		"no such host":                {&wspool.DialError{Phase: "resolve", Err: &net.DNSError{IsNotFound: true}}, endpoint.DialFailed, 0, 0},
		"timed out":                   {&wspool.DialError{Phase: "handshake", Err: resource.ErrMakeTimeout}, endpoint.DialFailed, 0, 0},
		"out of file descriptors":     {&wspool.DialError{Phase: "connect", Err: &net.OpError{Err: syscall.EMFILE}}, endpoint.Local, 0, 0},
		"out of local ports":          {&wspool.DialError{Phase: "connect", Err: &net.OpError{Err: syscall.EADDRNOTAVAIL}}, endpoint.Local, 0, 0},
		"service unavailable":         {&wspool.DialError{Phase: "handshake", Status: 503, Err: mine}, endpoint.DialFailed, 503, 0},
		"unauthorized":                {&wspool.DialError{Phase: "handshake", Status: 401, Err: mine}, endpoint.DialFailed, 401, 0},
		"Prepare failed":              {&wspool.DialError{Phase: "prepare", Err: mine}, endpoint.Local, 0, 0},
		"the proxy cannot reach it":   {&wspool.DialError{Phase: "proxy", Status: http.StatusBadGateway, Err: mine}, endpoint.DialFailed, 502, 0},
		"the proxy refuses":           {&wspool.DialError{Phase: "proxy", Status: http.StatusProxyAuthRequired, Err: mine}, endpoint.Local, 407, 0},
		"OnConnect refuses":           {&wspool.DialError{Phase: "set-up", Err: mine}, endpoint.DialFailed, 403, 0},
		"lost in OnConnect":           {&wspool.DialError{Phase: "set-up", Err: fmt.Errorf("read: %w", &net.OpError{Err: syscall.ECONNRESET})}, endpoint.DialFailed, 0, 0},
		"closed in OnConnect":         {&wspool.DialError{Phase: "set-up", Err: &wspool.CloseError{Code: 1011, ByPeer: true}}, endpoint.Closed, 0, 1011},
		"too slow in OnConnect":       {&wspool.DialError{Phase: "set-up", Err: resource.ErrMakeTimeout}, endpoint.DialFailed, 0, 0},
		"no greeting":                 {&wspool.DialError{Phase: "greeting", Err: resource.ErrMakeTimeout}, endpoint.DialFailed, 0, 0},
		"canceled by Reset":           {&wspool.DialError{Phase: "connect", Err: resource.ErrReset}, endpoint.Nothing, 0, 0},
		"canceled by a Reset's cause": {&wspool.DialError{Phase: "connect", Err: reset}, endpoint.Nothing, 0, 0},
		"canceled by Close":           {&wspool.DialError{Phase: "connect", Err: resource.ErrClosed}, endpoint.Nothing, 0, 0},
		"the endpoint has left":       {&wspool.DialError{Phase: "tls", Err: ErrLeft}, endpoint.Nothing, 0, 0},
		"the Quota's lease ends":      {&wspool.DialError{Phase: "connect", Err: &net.OpError{Op: "dial", Err: fleet.ErrExpired}}, endpoint.Local, 0, 0},
		"a panic":                     {&resource.PanicError{Where: "Make"}, endpoint.Local, 0, 0},
	} {
		got := evidenceOfDial(c.err, reset)
		if got.Kind != c.kind || got.Kind != endpoint.Nothing && (got.Status != c.status || got.Code != c.code) {
			t.Errorf("%s: %v, status %d, code %d; want %v, %d, %d", name, got.Kind, got.Status, got.Code, c.kind, c.status, c.code)
		}
	}
}

// brokenError is an error whose methods panic where it is a nil pointer.
type brokenError struct{ inner error }

func (e *brokenError) Error() string { return e.inner.Error() }
func (e *brokenError) Unwrap() error { return e.inner }

// What the end of a connection says about the endpoint.
func TestEvidenceOfEnd(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kind endpoint.Kind
		code int
	}{
		"silent":                   {fmt.Errorf("%w for 10s", wspool.ErrSilent), endpoint.Silence, 0},
		"restarts":                 {&wspool.CloseError{Code: 1001, ByPeer: true}, endpoint.Closed, 1001},
		"fails":                    {&wspool.CloseError{Code: 1011, ByPeer: true}, endpoint.Closed, 1011},
		"lost":                     {&wspool.CloseError{Code: 1006}, endpoint.Closed, 1006},
		"reset":                    {fmt.Errorf("wspool: read: %w", &net.OpError{Err: syscall.ECONNRESET}), endpoint.Closed, 0},
		"end of file":              {io.EOF, endpoint.Closed, 0},
		"sends unasked":            {wspool.ErrUnsolicited, endpoint.Nothing, 0},
		"sends too much":           {wspool.ErrReadLimit, endpoint.Nothing, 0},
		"the caller's context":     {fmt.Errorf("write: %w", context.DeadlineExceeded), endpoint.Nothing, 0},
		"canceled":                 {context.Canceled, endpoint.Nothing, 0},
		"out of buffers":           {&net.OpError{Err: syscall.ENOBUFS}, endpoint.Local, 0},
		"the pool was closed":      {resource.ErrClosed, endpoint.Nothing, 0},
		"the client breaks a rule": {&wspool.CloseError{Code: 1002, ByPeer: true}, endpoint.Closed, 1002},
		"closed by this process":   {&net.OpError{Op: "read", Err: net.ErrClosed}, endpoint.Local, 0},
		"its methods panic":        {fmt.Errorf("mine: %w", (*brokenError)(nil)), endpoint.Closed, 0},
	} {
		if got := evidenceOfEnd(c.err); got.Kind != c.kind || got.Code != c.code {
			t.Errorf("%s: %v, code %d; want %v, %d", name, got.Kind, got.Code, c.kind, c.code)
		}
	}
}
