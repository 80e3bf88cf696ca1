// Package foreign examines errors that may be a caller's own. Their methods are the caller's code, and may
// panic: those of a nil pointer often do. A pool asks on goroutines of its own, where a panic would end the
// process.
package foreign

import "errors"

// Is is errors.Is, but false if a method of err panics.
func Is(err, target error) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return errors.Is(err, target)
}

// As is errors.As, but false if a method of err panics.
func As(err error, target any) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return errors.As(err, target)
}

// Timeout reports whether err's tree has an error that says that a time limit has passed, as a net.Error does;
// false if a method of err panics.
func Timeout(err error) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
