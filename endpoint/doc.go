// Package endpoint chooses among several endpoints that offer the same service, such as the
// addresses behind a name. It says where to go; it has no connections. What it ranks is a
// string, so it serves any pool that has a key for each endpoint: a
// [github.com/respool/respool/resource.Keyed] of anything, or package wspool/cluster, which is
// built on it.
//
//	set, err := endpoint.NewSet(endpoint.SetConfig{
//		Resolver: endpoint.Static(endpoint.Endpoint{Addr: "a:443"}, endpoint.Endpoint{Addr: "b:443"}),
//		Probe:    dialOnce, // how an endpoint that failed is tried again
//	})
//	...
//	addrs := set.Rank(nil, "") // best first
//	use := set.Begin(addrs[0]) // counts as load until End
//	err = work(addrs[0])
//	use.End(evidence(err))     // what it shows about the endpoint
//
// # Parts
//
// A [Resolver] says which endpoints there are. A [Balancer] picks one of them; it is a pure
// function of the candidates, apart from its random numbers or its counter. An [Ejector]
// decides, from [Evidence], which endpoints fail. A [Set] coordinates: it follows the resolver,
// keeps the [Status] of each endpoint, and publishes the candidates, so that [Set.Rank] takes
// no lock.
//
// # Rules
//
//   - An answer of the resolver that is empty, failed or invalid keeps the endpoints of the last
//     one. An incomplete answer ([Update.Complete]) adds and changes endpoints and removes none.
//     New endpoints join before others leave, so there is always something to rank.
//   - A failure halves the share of its endpoint, and each further one in a row halves it
//     again, so that an endpoint which fails fast does not attract callers by its low load. A
//     success restores it. Since few callers come to such an endpoint, it is also probed.
//   - An endpoint is ejected when the Ejector says that it fails, if the limit
//     ([SetConfig.MaxEjected]) is kept with it ejected. At least one endpoint always remains.
//   - An ejected endpoint comes back only by a successful probe ([SetConfig.Probe]), of which
//     one runs at a time for each endpoint. The delay before a probe grows with the number of
//     ejections and failed probes.
//   - If fewer than [SetConfig.PanicBelow] of all endpoints are healthy the ejections are
//     ignored: the common cause is then more likely the client or its network.
//   - After it has joined, or was readmitted, an endpoint begins with a small share, which grows
//     for [SetConfig.SlowStart] from the first good connection on.
//   - Endpoints with the smallest [Endpoint.Priority] are used. When no healthy one is left
//     those of the next priority are used at once; those before are used again when they have
//     been healthy for [SetConfig.FailbackAfter], and at most once a minute.
package endpoint
