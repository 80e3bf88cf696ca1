// Package metrics watches pools: how long callers wait, how long they hold, what
// is made, destroyed and refused and why, who holds what, and who has held it
// for too long.
//
//	m, err := metrics.New("api", metrics.Config{Overdue: time.Minute})
//	…
//	p, err := resource.New(resource.Config[*conn]{Trace: m.Trace(nil), …})
//	…
//	err = m.Watch(p)
//	defer m.Close()
//
// Counters and levels are pulled from the pool when somebody looks, by
// [Meter.Snapshot]. What a snapshot has beyond them comes from the pool's
// [resource.Trace]: everything that is slow anyway is recorded exactly, and of
// leases one of so many ([resource.Config.SampleLeases]) and each of 200 ms or
// more, so that one that finds an idle resource costs next to nothing.
//
// [All] lists the meters of the process. The packages below this one show them:
// live as a page, prometheus and otel to those. [Vars] shows them through
// expvar, [WriteLeases] writes who holds what as a profile for go tool pprof,
// and [Slog] logs what a pool does.
package metrics
