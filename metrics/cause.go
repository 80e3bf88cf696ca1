package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/respool/respool/resource"
)

// causes are the words for the errors of package resource, and for those of the
// standard library that end connections.
var causes = []struct {
	err   error
	words string
}{
	{resource.ErrClosed, "closed"},
	{resource.ErrDiscarded, "discarded"},
	{resource.ErrDoomed, "doomed"},
	{resource.ErrReset, "reset"},
	{resource.ErrShrunk, "shrunk"},
	{resource.ErrNearEnd, "near its end"},
	{resource.ErrNotFresh, "not fresh"},
	{resource.ErrGaveWay, "gave way"},
	{resource.ErrGoexit, "goexit"},
	{resource.ErrMakeTimeout, "make timed out"},
}

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

// label is the few words under which what was destroyed for cause is counted.
func (m *Meter) label(cause error) (l string) {
	defer func() {
		if l == "" || recover() != nil { // the methods of an error are not ours
			l = other
		}
	}()
	if f := m.cfg.Cause; f != nil {
		said := ""
		if m.contain(func() { said = f(cause) }) == nil && said != "" {
			return clean(said, maxLabel)
		}
	}
	return causeWords(cause)
}

// causeWords is what is known of err; "" if nothing is. It never takes the text
// of an error that was made anew: that can be a server's.
func causeWords(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.words
		}
	}
	var named interface{ Cause() string }
	if errors.As(err, &named) {
		if s := clean(named.Cause(), maxLabel); s != "" {
			return s
		}
	}
	if s := sentinel(err, 32); s != "" {
		return s
	}
	var panicked *resource.PanicError
	if errors.As(err, &panicked) {
		return "panic"
	}
	for _, c := range commonCauses {
		if errors.Is(err, c.err) {
			return c.words
		}
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return ""
}

var plainError = reflect.TypeOf(errors.New(""))

// sentinel is what the first error of errors.New in the chain says, without the
// name of the package that it begins with, if that is one of the module's: those
// are values with a fixed text. At most depth errors deep.
func sentinel(err error, depth int) string {
	if err == nil || depth == 0 {
		return ""
	}
	if reflect.TypeOf(err) == plainError {
		pkg, said, ok := strings.Cut(err.Error(), ": ")
		if ok && (pkg == "policy" || pkg == "wspool" || pkg == "resource") {
			return clean(said, maxLabel)
		}
		return ""
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return sentinel(e.Unwrap(), depth-1)
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			if s := sentinel(e, depth-1); s != "" {
				return s
			}
		}
	}
	return ""
}

// refuser is the name of the policy that refused with err.
func refuser(err error) (name string) {
	defer func() {
		if name == "" || recover() != nil {
			name = other
		}
	}()
	for depth := 0; depth < 8; depth++ { // from the outermost Rejection inwards
		var r *resource.Rejection
		if !errors.As(err, &r) {
			break
		}
		if r.Policy != "" {
			return clean(r.Policy, maxLabel)
		}
		err = r.Err
	}
	return ""
}
