package resource

import (
	"fmt"
	"io"
)

// The text of an error is the same each time it happens, so that logs can be
// grouped by it. What varies is in its fields, in %+v, and in slog's attributes.

// writeError is the Format method of an error: detail for %+v, else its text as
// the verb wants it. plain is the error as a type without methods, for %#v.
func writeError(f fmt.State, verb rune, err error, plain any, detail func(w io.Writer)) {
	switch {
	case verb == 'v' && f.Flag('#'):
		_, _ = fmt.Fprintf(f, "%#v", plain)
	case verb == 'v' && f.Flag('+'):
		detail(f)
	default:
		_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), err.Error())
	}
}
