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
//	resource.pool.quota.granted      {unit}: those of a shared quota that this process may use, by resource.pool.quota
//	resource.pool.quota.held         {unit}: in use by this process
//	resource.pool.quota.wanted       {unit}: asked for by this process
//	resource.pool.quota.target       {unit}: the fair share of this process
//	resource.pool.quota.limit        {unit}: the smallest limit that a process states
//	resource.pool.quota.highest_limit {unit}: the largest
//	resource.pool.quota.fleet_granted {unit}: granted to all processes
//	resource.pool.quota.holders      {process}: those that share the quota
//	resource.pool.quota.pending_requests {request}: creations that wait for a unit
//	resource.pool.quota.learning     1 while the engine grants nothing new
//	resource.pool.quota.engine_lost  s: how long the engine has not answered, rounded up; 0 while it answers
//	resource.pool.quota.over         {unit}: in use beyond the grant
//	resource.pool.quota.exceeded     {unit}: ever in use beyond the grant
//	resource.pool.quota.closed       {resource}: ended by the quota
//	resource.pool.quota.operations   {operation} of the engine
//	resource.pool.quota.operation_failures {operation} of the engine that failed
//
// All those of a quota have the attribute resource.pool.quota. Each pool that takes part in
// the quota shows them, so aggregate them over pools with max, not sum.
//
// [NewProducer] returns a producer of the histograms wait_time, use_time, create_time,
// check_time and destroy_time, in s: no instrument accepts a finished histogram. It is
// an option of the reader:
//
//	sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//
// [Trace] makes spans of waits and creations.
package otel
