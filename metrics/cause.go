package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// commonCauses are the labels of errors of the standard library that end
// connections.
var commonCauses = []struct {
	err   error
	label string
}{
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
	{os.ErrDeadlineExceeded, "timeout"},
	{io.EOF, "end of file"},
	{io.ErrUnexpectedEOF, "unexpected end of file"},
	{net.ErrClosed, "closed by us"},
}

// is reports whether err is target. It returns false if a method of err panics.
func is(err, target error) (yes bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// The sources of labels that do not come from a type of error.
const (
	fromConfig    = "Config.Cause"
	fromSentinels = "sentinels"
	fromPolicies  = "policies"
)

// label returns the label under which a resource destroyed for cause is counted, and
// the source of the label: see tally. It returns other if a method of an error panics.
func (m *Meter) label(cause error) (l string, source any) {
	defer func() {
		if recover() != nil || l == "" {
			l, source = other, nil
		}
	}()
	if f := m.cfg.Cause; f != nil {
		said := ""
		if m.contain(func() { said = f(cause) }) == nil && said != "" {
			return text.Clean(said, text.MaxLabel), fromConfig
		}
	}
	if l, source = causeLabel(cause); l == "" {
		l, source = m.known.label(cause), fromSentinels
	}
	return l, source
}

// causeLabel returns the result of the method Cause of an error in the chain of err,
// which the errors of resource, policy and wspool have. Without it, it returns the label
// of an error of the standard library, or "".
func causeLabel(err error) (label string, source any) {
	var named interface{ Cause() string }
	if errors.As(err, &named) {
		if s := text.Clean(named.Cause(), text.MaxLabel); s != "" {
			return s, reflect.TypeOf(named)
		}
	}
	var panicked *resource.PanicError
	if errors.As(err, &panicked) {
		return "panic", nil
	}
	for _, c := range commonCauses {
		if errors.Is(err, c.err) {
			return c.label, nil
		}
	}
	var no syscall.Errno // before Timeout, which ETIMEDOUT has too
	if errors.As(err, &no) {
		return no.Error(), reflect.TypeOf(no)
	}
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		return "timeout", nil
	}
	return "", nil
}

// walk visits the chain of err in the order of errors.Is, at most depth errors
// deep, until found returns true, and reports whether it did.
func walk(err error, depth int, found func(error) bool) bool {
	if err == nil || depth == 0 {
		return false
	}
	if found(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return walk(e.Unwrap(), depth-1, found)
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			if walk(e, depth-1, found) {
				return true
			}
		}
	}
	return false
}

// refuser returns the name of the policy that refused with err, other if err has
// none.
func refuser(err error) (name string) {
	defer func() {
		if recover() != nil || name == "" { // a method of err may panic
			name = other
		}
	}()
	for depth := 0; depth < 8; depth++ { // from the outermost Rejection inwards
		var r *resource.Rejection
		if !errors.As(err, &r) {
			break
		}
		if r.Policy != "" {
			return text.Clean(r.Policy, text.MaxLabel)
		}
		err = r.Err
	}
	return ""
}
