// Package text makes what came from elsewhere, a server's error among it, fit to
// be shown.
package text

import "github.com/respool/respool/internal/redact"

const (
	MaxError = 200 // bytes of an error's text, or of an Event's
	MaxLabel = 64  // of what is counted under
)

// Clean makes s fit to be shown: at most limit bytes of printable UTF-8. It may
// come from a server, and be long.
func Clean(s string, limit int) string { return redact.Clean(s, limit) }

// Of is the text of err, clean, without what has the look of a secret in it, and
// at most MaxError bytes; "" of nil. The methods of err are not ours: they may
// panic.
func Of(err error) (s string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			s = "an error whose text panics"
		}
	}()
	return Discreet(err.Error())
}

// Discreet is s, clean, without what has the look of a secret in it, and at most
// MaxError bytes.
func Discreet(s string) string {
	return Clean(redact.Hide(s), MaxError)
}
