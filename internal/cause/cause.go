// Package cause makes sentinel errors that carry the label under which metrics
// counts what they end, so that metrics need not recognize them by their text.
package cause

// New returns an error with that text, like errors.New: each call returns a
// different error. It has a method Cause that returns label, a few words.
func New(text, label string) error { return &sentinel{text, label} }

type sentinel struct{ text, label string }

func (s *sentinel) Error() string { return s.text }

// Cause returns the label.
func (s *sentinel) Cause() string { return s.label }
