package endpoint

import "context"

// Update is one answer of a [Resolver].
type Update struct {
	Endpoints []Endpoint
	// Complete is whether there are no others. If it is false an endpoint that is not listed
	// is kept.
	Complete bool
	// Err says that the lookup failed. The endpoints of the last answer are kept.
	Err error
}

// Resolver says which endpoints there are.
type Resolver interface {
	// Watch calls f with the first answer and with each later one until ctx ends, and then
	// returns the error of ctx. One goroutine at a time calls f, which may block.
	Watch(ctx context.Context, f func(Update)) error
}

// Refresher is an optional interface of a [Resolver].
type Refresher interface {
	// Refresh asks the resolver to look up again soon, because an endpoint has failed. It
	// must not block. The resolver bounds the rate of its lookups itself.
	Refresh()
}
