package endpoint

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// SubsetConfig says which endpoints of many one client uses. Client and Size are required.
type SubsetConfig struct {
	// Client identifies this client among all that use the endpoints, such as the name of its
	// host or pod. Clients with the same one choose the same endpoints; one that is the
	// same after a restart chooses the same ones as before.
	Client string
	// Size is how many endpoints are chosen of each Priority, at least 1, so that there are as
	// many to fail over to. If there are fewer all are.
	Size int
	// PerZone chooses Size endpoints of each Zone of a Priority instead, as the balancer
	// [Zone] needs: otherwise a client may have none in its own zone.
	PerZone bool
}

func (c *SubsetConfig) check() error {
	var e faultList
	e.require(c.Client != "", "Client is required")
	e.require(c.Size >= 1, "Size must be at least 1, got %d", c.Size)
	return e.wrap()
}

// Choose returns the endpoints of all that the client uses, in the order of all. It is a pure
// function, by rendezvous hashing: each client has an order of its own of all endpoints, from a
// hash of Client and Addr, and uses the first Size of it. Hence
//
//   - each endpoint is chosen by about as many clients as any other: their number is binomially
//     distributed. If 1,000 clients choose 10 of 100 the most loaded has about 1.2 times the mean;
//   - an endpoint that joins is chosen by a client with the probability Size / number of endpoints, and takes
//     the place of one other; an endpoint that leaves concerns the clients that had
//     chosen it, which take one other. No other choice changes, whatever the order of all.
//
// Weight has no influence on the choice: the balancer heeds it within the subset. all is not
// changed. Size is taken as 1 if it is less.
func (c SubsetConfig) Choose(all []Endpoint) []Endpoint {
	type group struct {
		priority int
		zone     string
	}
	type scored struct {
		hash uint64
		at   int // in all
	}
	before := func(x, y scored) int {
		if x.hash != y.hash {
			return cmp.Compare(x.hash, y.hash)
		}
		return cmp.Compare(all[x.at].Addr, all[y.at].Addr)
	}
	best := make(map[group][]scored) // at most Size of each group, in order
	client, size := hashString(c.Client), max(1, c.Size)
	for i := range all {
		g := group{priority: all[i].Priority}
		if c.PerZone {
			g.zone = all[i].Zone
		}
		list, s := best[g], scored{mix(client ^ hashString(all[i].Addr)), i}
		if len(list) == size && before(s, list[len(list)-1]) > 0 {
			continue
		}
		if len(list) == size {
			list = list[:len(list)-1]
		}
		at, _ := slices.BinarySearchFunc(list, s, before)
		best[g] = slices.Insert(list, at, s)
	}
	chosen := make([]int, 0, len(all))
	for _, list := range best {
		for _, s := range list {
			chosen = append(chosen, s.at)
		}
	}
	slices.Sort(chosen)
	subset := make([]Endpoint, len(chosen))
	for i, at := range chosen {
		subset[i] = all[at]
	}
	return subset
}

// Subset returns a [Resolver] of those endpoints of r that [SubsetConfig.Choose] chooses: for
// services with so many endpoints, or clients, that not every client can have connections to
// every endpoint. It is a [Refresher], with effect if r is one. The error wraps [ErrConfig] and
// names every invalid field, and what [Check] finds.
//
// It chooses among the endpoints that are known, those that an incomplete answer kept included,
// and its updates are Complete: an endpoint leaves the subset if an answer removed it, or if the
// hash prefers one that has joined.
func Subset(r Resolver, cfg SubsetConfig) (Resolver, error) {
	if err := errors.Join(Check(r), cfg.check()); err != nil {
		return nil, err
	}
	return &subset{r, cfg}, nil
}

type subset struct {
	of  Resolver
	cfg SubsetConfig
}

// Refresh implements [Refresher].
func (s *subset) Refresh() { refresh(s.of) }

// Watch implements [Resolver].
func (s *subset) Watch(ctx context.Context, f func(Update)) error {
	var all []Endpoint
	return s.of.Watch(ctx, func(u Update) {
		next, err := u.Apply(all)
		all = next
		out := Update{Endpoints: s.cfg.Choose(all), Complete: err == nil, Err: u.Err}
		if err != nil && (u.Err == nil || len(u.Endpoints) > 0) {
			out.Err = errors.Join(u.Err, err)
		}
		f(out)
	})
}
