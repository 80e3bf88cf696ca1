// Package otel shows pools to OpenTelemetry, in the shape of its conventions
// for the metrics of database clients (db.client.connection, in development),
// under a prefix of the caller's choice.
//
// [Register] makes the instruments that are read at each collection. Each has
// the attribute resource.pool.name; with the default prefix they are
//
//	resource.pool.count              {resource}, by resource.pool.state: idle, used, making, destroying
//	resource.pool.max                {resource}
//	resource.pool.idle.min           {resource}: how many are kept idle
//	resource.pool.pending_requests   {request}: callers that wait
//	resource.pool.oldest_wait        s
//	resource.pool.timeouts           {timeout}: callers whose context or MaxWait ended first
//	resource.pool.acquires           {acquire}
//	resource.pool.acquire_failures   {acquire}, by resource.pool.reason: see resource.Reason
//	resource.pool.waits              {acquire}: those that had to wait
//	resource.pool.rejections         {rejection}, by resource.pool.policy
//	resource.pool.creates            {resource}
//	resource.pool.create_failures    {failure}
//	resource.pool.destroyed          {resource}, by resource.pool.reason
//	resource.pool.outage             1 while makes keep failing
//	resource.pool.outages            {outage}
//	resource.pool.leases_overdue     {lease}
//	resource.pool.panics             {panic}
//	resource.pool.fact.level         what a kind of pool adds, by resource.pool.fact
//	resource.pool.fact.total         likewise, what counts
//
// [NewProducer] gives the histograms, which no instrument can be handed ready
// made: wait_time, use_time, create_time, check_time and destroy_time, in s. It
// goes to the reader:
//
//	sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//
// [Trace] makes spans of waits and makes.
package otel
