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

// causes are the words for the errors of package resource.
var causes = []struct {
	err   error
	words string
}{
	{resource.ErrClosed, "closed"},
	{resource.ErrDiscarded, "discarded"},
	{resource.ErrInvalidated, "invalidated"},
	{resource.ErrDropped, "dropped"},
	{resource.ErrReclaimed, "reclaimed"},
	{resource.ErrReset, "reset"},
	{resource.ErrResized, "resized"},
	{resource.ErrNearEnd, "near its end"},
	{resource.ErrNotFresh, "not fresh"},
	{resource.ErrPreempted, "preempted"},
	{resource.ErrGoexit, "goexit"},
	{resource.ErrMakeTimeout, "make timed out"},
}

// commonCauses are those for what ends connections.
var commonCauses = []struct {
	err   error
	words string
}{
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
	{os.ErrDeadlineExceeded, "timeout"},
	{io.EOF, "end of file"},
	{io.ErrUnexpectedEOF, "unexpected end of file"},
	{net.ErrClosed, "closed by us"},
}

// is reports whether err is target. The methods of err are not ours: one that
// panics says no.
func is(err, target error) (yes bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// label is the few words under which what was destroyed for cause is counted, and
// whether they are ours: one of a fixed number.
func (m *Meter) label(cause error) (l string, own bool) {
	defer func() {
		if recover() != nil || l == "" { // the methods of an error are not ours
			l, own = other, true
		}
	}()
	if f := m.cfg.Cause; f != nil {
		said := ""
		if m.contain(func() { said = f(cause) }) == nil && said != "" {
			return text.Clean(said, text.MaxLabel), false
		}
	}
	if l, own = causeWords(cause); l == "" {
		l = m.known.label(cause)
	}
	return l, own
}

// causeWords is what is known of err; "" if nothing is.
func causeWords(err error) (words string, own bool) {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.words, true
		}
	}
	if s := sentinel(err, 32); s != "" {
		return s, true
	}
	var named interface{ Cause() string }
	if errors.As(err, &named) {
		if s := text.Clean(named.Cause(), text.MaxLabel); s != "" {
			return s, false
		}
	}
	var panicked *resource.PanicError
	if errors.As(err, &panicked) {
		return "panic", true
	}
	for _, c := range commonCauses {
		if errors.Is(err, c.err) {
			return c.words, true
		}
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error(), false
	}
	return "", false
}

var plainError = reflect.TypeOf(errors.New(""))

// sentinels are the words for the errors with a fixed text for which policy,
// wspool and resource destroy: this package imports neither of the first two.
// Other texts become labels as known says.
var sentinels = map[string]string{
	"policy: too old":                                             "too old",
	"policy: lent too often":                                      "lent too often",
	"policy: idle too long":                                       "idle too long",
	"policy: more idle than needed":                               "more idle than needed",
	"policy: health check timed out":                              "health check timed out",
	"wspool: unsolicited message":                                 "unsolicited message",
	"wspool: reused connection was dead":                          "stale",
	"wspool: peer has been silent":                                "peer silent",
	"wspool: message is over the limit":                           "message over the limit",
	"wspool: peer sends too much":                                 "flooded",
	"wspool: lease ended before its last message was read":        "unread message",
	"wspool: lease ended with a read or write unfinished":         "unfinished read or write",
	"wspool: the function that had the connection did not return": "not returned",
	"resource: the function in Do did not return":                 "not returned",
}

// sentinel is the words for the first of sentinels in the chain, at most depth
// errors deep.
func sentinel(err error, depth int) (words string) {
	walk(err, depth, func(err error) bool {
		if reflect.TypeOf(err) == plainError {
			words = sentinels[err.Error()]
		}
		return words != ""
	})
	return words
}

// walk visits the chain of err, at most depth errors deep, until found returns
// true, and reports whether it did.
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

// refuser is the name of the policy that refused with err.
func refuser(err error) (name string) {
	defer func() {
		if recover() != nil || name == "" {
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
