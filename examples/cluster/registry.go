package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/endpoint"
)

// registry is the list of servers, as a service registry has it. It does not know whether a
// server works.
type registry struct {
	mu  sync.Mutex
	all []endpoint.Endpoint
}

// resolver returns a resolver that looks into the registry twice a second, and when the
// cluster asks for it since an endpoint fails.
func (r *registry) resolver() (endpoint.Resolver, error) {
	return endpoint.Func(endpoint.FuncConfig{
		Name: "registry",
		Lookup: func(context.Context) ([]endpoint.Endpoint, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.Clone(r.all), nil
		},
		Polling: endpoint.Polling{Interval: 500 * time.Millisecond, MinInterval: 100 * time.Millisecond},
	})
}

// set replaces the list.
func (r *registry) set(all []*process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = nil
	for _, p := range all {
		r.all = append(r.all, endpoint.Endpoint{Addr: p.addr, Name: p.name})
	}
}
