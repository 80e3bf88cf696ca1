package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Update is one answer of a [Resolver]. Its receiver must not change Endpoints.
type Update struct {
	// Endpoints are those that the resolver knows of, best first. If there are none the
	// endpoints of the last answer are kept, whatever the other fields say.
	Endpoints []Endpoint
	// Complete is whether there are no others. If it is false an endpoint that is not listed
	// is kept.
	Complete bool
	// Err says that a lookup failed, or that an answer was not used. It does not make the other
	// fields invalid: the resolvers of this package list the last endpoints of a lookup that
	// failed, and a Merge also what its other resolvers say.
	Err error
}

// Resolver says which endpoints there are. Static, DNS, SRV and Func return one, Merge and
// Subset one that is built on others. These can be watched several times at once; each call
// of Watch looks up on its own.
type Resolver interface {
	// Watch calls f with the first answer and with each later one until ctx ends, and then
	// returns the cause of its end. It returns earlier, with an error, if it can never
	// answer. One goroutine at a time calls f, which may block, and none does so after Watch has
	// returned.
	Watch(ctx context.Context, f func(Update)) error
}

// Refresher is an optional interface of a [Resolver].
type Refresher interface {
	// Refresh asks the resolver to look up again soon, because an endpoint has failed. It
	// must not block. The resolver bounds the rate of its lookups itself.
	Refresh()
}

var (
	// ErrEmpty: an answer has no endpoints. The endpoints of the last one are kept.
	ErrEmpty = errors.New("endpoint: the answer has no endpoints")
	// ErrHung: a lookup has not returned after its context has ended, see
	// [Polling.Timeout]. The last endpoints are kept.
	ErrHung = errors.New("endpoint: the lookup does not return")
	// ErrNotAvailable: the domain says that it does not have the service, by an SRV record with
	// the target "." (RFC 2782). The last endpoints are kept.
	ErrNotAvailable = errors.New("endpoint: the domain does not have the service")
	// ErrIncomplete is what [FuncConfig.Lookup] returns, alone or wrapped, beside endpoints that
	// may not be all.
	ErrIncomplete = errors.New("endpoint: the answer may lack endpoints")
	// ErrEnded: the Watch of a resolver in a [Merge] or [Subset] has returned although its
	// context has not ended. The last endpoints are kept, and Watch is called again.
	ErrEnded = errors.New("endpoint: the resolver has stopped watching")
)

// Apply returns the endpoints there are after u, where last are those before it: those of u, with
// the attributes that u gives them, and then, unless u is Complete, those of last that u does not
// list. If u has no endpoints, or invalid ones, Apply returns last, and an error that is
// [ErrEmpty] or wraps [ErrInvalid]. It does not change last and u; the result may share memory
// with last.
func (u Update) Apply(last []Endpoint) ([]Endpoint, error) {
	if len(u.Endpoints) == 0 {
		return last, ErrEmpty
	}
	if err := Validate(u.Endpoints); err != nil {
		return last, err
	}
	all := slices.Clone(u.Endpoints)
	if !u.Complete {
		all = append(all, unlisted(last, u.Endpoints)...)
	}
	return all, nil
}

// unlisted returns the endpoints of last that now does not list.
func unlisted(last, now []Endpoint) []Endpoint {
	if len(last) == 0 {
		return nil
	}
	listed := make(map[string]bool, len(now))
	for i := range now {
		listed[now[i].Addr] = true
	}
	var all []Endpoint
	for _, e := range last {
		if !listed[e.Addr] {
			all = append(all, e)
		}
	}
	return all
}

// same reports whether two valid lists have the same endpoints with the same attributes, in
// any order.
func same(a, b []Endpoint) bool {
	if len(a) != len(b) {
		return false
	}
	byAddr := make(map[string]Endpoint, len(a))
	for _, e := range a {
		byAddr[e.Addr] = e
	}
	for _, e := range b {
		if byAddr[e.Addr] != e {
			return false
		}
	}
	return true
}

// checker is a Resolver with arguments that its constructor could not refuse.
type checker interface{ check() error }

// Check returns an error, which wraps [ErrConfig], if r can never answer: it is nil, a Static of
// no or invalid endpoints, or a Merge of nothing or of such a resolver. A function that is given
// a Resolver should call it, so that the mistake is known at once; otherwise Watch returns the
// error.
func Check(r Resolver) error {
	if r == nil {
		return fmt.Errorf("%w: Resolver is nil", ErrConfig)
	}
	if c, ok := r.(checker); ok {
		return c.check()
	}
	return nil
}

// refresh calls the Refresh of r if it has one.
func refresh(r Resolver) {
	if r, ok := r.(Refresher); ok {
		r.Refresh()
	}
}
