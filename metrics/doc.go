// Package metrics observes pools: how long callers wait and hold leases, what is
// created, destroyed and refused and why, which stacks hold leases, and which
// leases are overdue.
//
//	m, err := metrics.New("api", metrics.Config{Overdue: time.Minute})
//	…
//	p, err := resource.New(resource.Config[*conn]{Trace: m.Trace(nil), …})
//	…
//	err = m.Watch(p)
//	defer m.Close()
//
// [Meter.Snapshot] reads the counters and levels from the pool. The rest of a
// Snapshot comes from the [resource.Trace] of the pool. Slow operations are all
// recorded. Leases are sampled, so a meter adds about 20 ns to an acquire that finds
// an idle resource and its release: one lease in 512 ([resource.DefaultSampleLeases])
// unless [resource.Config.SampleLeases] is set, the first of each resource, and every
// lease while the pool is nearly full. The stack of a lease is known only if it was
// sampled; SampleLeases: 1 samples every lease. The end of each lease of 200 ms or
// more is recorded too. [Meter.History] has the last ten minutes, one point every two
// seconds.
//
// A Snapshot also has the quotas that the policies of the pool share with other processes
// ([resource.SharedQuota]), and the layers that share its resources among many calls
// ([resource.Multiplexer]), as a mux.Client of its pool does, and the endpoints over which it is
// spread ([resource.Endpoints]). A Snapshot that lists resources has the settings of the pool, of
// these layers and of the meter too ([resource.Setting]), without secrets.
//
// [All] lists the meters of the process. The packages below this one export them:
// live as a web page, prometheus and otel to those systems. [Vars] exports them
// through expvar, [WriteLeases] writes the leases that are held as a profile for go
// tool pprof, and [Slog] logs what a pool does. docs/operating.md in the repository explains
// each figure and alert, and shows how to find a lease that leaks.
package metrics
