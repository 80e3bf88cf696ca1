// Package text makes texts from elsewhere, such as the errors of a server, fit for
// display.
package text

import "github.com/respool/respool/internal/redact"

const (
	MaxError = 200 // bytes of the text of an error or Event
	MaxLabel = 64  // bytes of a label
)

// Clean returns s as at most limit bytes of printable UTF-8.
func Clean(s string, limit int) string { return redact.Clean(s, limit) }

// Of returns Discreet of the text of err; "" if err is nil. It contains a panic in a
// method of err.
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

// Discreet returns s as at most MaxError bytes of printable UTF-8, without what looks
// like a secret.
func Discreet(s string) string { return DiscreetTo(s, MaxError) }

// DiscreetTo is Discreet with another limit.
func DiscreetTo(s string, limit int) string { return Clean(redact.Hide(s), limit) }
