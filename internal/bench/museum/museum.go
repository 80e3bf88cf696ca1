// Package museum replays defects of resource pools on every pool behind package
// peer, ours among them, and tables who passes. Some were published as issues, and
// the others were found in the pools' code.
//
// Each [Exhibit] is one defect, as the sentence that must hold, and acts on real
// pools alone: no verdict is written down anywhere. It runs in a process of its
// own, because some of them end it.
package museum

import (
	"context"
	"errors"
	"fmt"

	"github.com/respool/respool/internal/bench/peer"
)

// An Exhibit is one defect.
type Exhibit struct {
	Name   string
	What   string   // must hold
	Issues []string // that are about this very defect; none: it was found in the code
	// Run finds out whether it holds for one pool. It leaves behind whatever it
	// made, to the end of its process. An error that is [errors.ErrUnsupported] is
	// [Cannot]; any other says that nothing was found out.
	Run func(ctx context.Context, k peer.Kind) (Finding, error)

	alone bool // nothing else may run beside it, because short times are measured
}

// A Verdict is what became of an exhibit on one pool.
type Verdict string

const (
	Passes Verdict = "passes"
	Fails  Verdict = "fails"
	Cannot Verdict = "cannot" // the pool has no such operation
)

// A Finding is a Verdict with what was seen.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen,omitempty"` // in a few words
	Note    string  `json:"note,omitempty"` // more, for a footnote
}

func passes() (Finding, error) { return Finding{Verdict: Passes}, nil }

// seen passes, with a figure.
func seen(format string, args ...any) (Finding, error) {
	return Finding{Verdict: Passes, Seen: fmt.Sprintf(format, args...)}, nil
}

func fails(format string, args ...any) (Finding, error) {
	return Finding{Verdict: Fails, Seen: fmt.Sprintf(format, args...)}, nil
}

// judge passes if ok; what was seen is told both ways.
func judge(ok bool, format string, args ...any) (Finding, error) {
	if ok {
		return seen(format, args...)
	}
	return fails(format, args...)
}

// broken is what went wrong where nothing should have: an exhibit that ends with
// an error of call's has found a failure, any other error is the exhibit's own.
func broken(what string, err error) (Finding, error) {
	switch {
	case errors.Is(err, errLate):
		return fails("%s hangs", what)
	case errors.Is(err, errPanic):
		f, _ := fails("%s panics", what)
		f.Note = err.Error()
		return f, nil
	case errors.Is(err, errGoexit):
		return fails("%s ends its goroutine", what)
	}
	return Finding{}, fmt.Errorf("%s: %w", what, err)
}

// Exhibits returns all, in the order of the table.
func Exhibits() []Exhibit {
	var all []Exhibit
	for _, room := range [][]Exhibit{leases(), panics(), bounds(), closing(), waiting(), turns(), makes(), slowMakes(), checks(), ages(), resets(), counts()} {
		all = append(all, room...)
	}
	return all
}
