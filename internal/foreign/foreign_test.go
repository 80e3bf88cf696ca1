package foreign

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
)

// broken is an error of which nil is often returned where there is none.
type broken struct{ inner error }

func (b *broken) Error() string { return b.inner.Error() }
func (b *broken) Unwrap() error { return b.inner }

func TestForeign(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "x", Err: io.EOF}
	for _, tc := range []struct {
		name   string
		err    error
		is, as bool
	}{
		{"nil", nil, false, false},
		{"the target", io.EOF, true, false},
		{"around the target", fmt.Errorf("around: %w", path), true, true},
		{"another", io.ErrUnexpectedEOF, false, false},
		{"one that panics", (*broken)(nil), false, false},
		{"around one that panics", fmt.Errorf("around: %w and %w", errors.New("first"), (*broken)(nil)), false, false},
	} {
		if got := Is(tc.err, io.EOF); got != tc.is {
			t.Errorf("%s: Is is %v", tc.name, got)
		}
		var got *fs.PathError
		if yes := As(tc.err, &got); yes != tc.as || yes != (got == path) {
			t.Errorf("%s: As is %v, and has found %v", tc.name, yes, got)
		}
	}
}
