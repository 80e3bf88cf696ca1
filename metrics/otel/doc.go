// Package otel exports pools to OpenTelemetry. Names and units follow its conventions
// for the metrics of database clients (db.client.connection, in development), under a
// prefix of the user's choice.
//
// [Register] creates the instruments that are observed at each collection. Each has
// the attribute resource.pool.name. With the default prefix they are
//
//	resource.pool.count              {resource}, by resource.pool.state: idle, used, making, destroying
//	resource.pool.max                {resource}
//	resource.pool.idle.min           {resource}: the number kept idle
//	resource.pool.pending_requests   {request}: waiting callers
//	resource.pool.oldest_wait        s
//	resource.pool.timeouts           {timeout}: acquires that ended with their context or MaxWait
//	resource.pool.acquires           {acquire}
//	resource.pool.acquire_failures   {acquire}, by resource.pool.reason, a resource.Reason
//	resource.pool.waits              {acquire}: acquires that waited
//	resource.pool.rejections         {rejection}, by resource.pool.policy
//	resource.pool.creates            {resource}
//	resource.pool.create_failures    {failure}
//	resource.pool.destroyed          {resource}, by resource.pool.reason
//	resource.pool.outage             1 while resource creation is failing
//	resource.pool.outages            {outage}
//	resource.pool.leases_overdue     {lease}
//	resource.pool.panics             {panic}
//	resource.pool.fact.level         levels specific to the kind of pool, by resource.pool.fact
//	resource.pool.fact.total         counts specific to the kind of pool, by resource.pool.fact
//
// [NewProducer] returns a producer of the histograms wait_time, use_time, create_time,
// check_time and destroy_time, in s: no instrument accepts a finished histogram. It is
// an option of the reader:
//
//	sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//
// [Trace] makes spans of waits and creations.
package otel
