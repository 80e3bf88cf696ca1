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
//	resource.pool.quota.engine_lost  s: how long the engine has not answered; 0 while it answers
//	resource.pool.quota.over         {unit}: in use beyond the grant
//	resource.pool.quota.exceeded     {unit}: ever in use beyond the grant
//	resource.pool.quota.closed       {resource}: ended by the quota
//	resource.pool.quota.operations   {operation} of the engine
//	resource.pool.quota.operation_failures {operation} of the engine that failed
//	resource.pool.mux.held {resource}: leased resources that are shared among calls
//	resource.pool.mux.draining {resource}: of these, resources that take no more calls
//	resource.pool.mux.in_flight {call}: calls that await a reply
//	resource.pool.mux.in_flight.busiest {call}: calls in flight on the resource that has most
//	resource.pool.mux.in_flight.limit {call}: calls that may be in flight on one resource
//	resource.pool.mux.pending_requests {request}: callers that wait for a resource to have room
//	resource.pool.mux.oldest_wait s: how long the first of them has waited
//	resource.pool.mux.orphans {call}: calls that were given up and whose replies have not come
//	resource.pool.mux.orphans.limit {call}: orphans beyond which a resource is drained
//	resource.pool.mux.streams {stream}: streams that are open
//	resource.pool.mux.queued By: bytes that wait to be written
//	resource.pool.mux.acquires {resource}: resources acquired to be shared
//	resource.pool.mux.calls {call}: calls that were answered
//	resource.pool.mux.calls_not_sent {call}: calls that failed and were certainly not sent
//	resource.pool.mux.calls_may_have_run {call}: calls that failed and may have run
//	resource.pool.mux.writes {write}: writes
//	resource.pool.mux.messages {message}: messages; divided by writes, the calls per write
//	resource.pool.mux.retries {attempt}: attempts after a resource ended before the call was sent
//	resource.pool.mux.replays {call}: calls that may have run and were sent once more
//	resource.pool.mux.orphaned {call}: calls that were given up after they were sent
//	resource.pool.mux.late {message}: messages for calls or streams that were given up or had ended
//	resource.pool.mux.unknown {message}: messages for ids that were never sent
//	resource.pool.mux.bad {message}: messages that could not be classified
//	resource.pool.mux.unwanted {message}: messages that nothing was set to receive
//	resource.pool.mux.events_dropped {message}: events of the peer that found their buffer full
//	resource.pool.mux.stream_dropped {message}: messages for streams that found their buffer full
//	resource.pool.mux.resumes {attempt}: attempts to resume a stream
//	resource.pool.mux.gaps {gap}: streams that were resumed, so that messages may be missing
//	resource.pool.mux.panics {panic}: panics contained in functions of the user
//	resource.pool.endpoint.share 1: part of the callers that it is to get, from 0 to 1
//	resource.pool.endpoint.load {call}: leases and calls in flight, and callers that wait
//	resource.pool.endpoint.latency s: average latency with a penalty for failures; 0 if not known
//	resource.pool.endpoint.count {resource}: resources, idle and leased
//	resource.pool.endpoint.used {resource}: of these, resources that are leased
//	resource.pool.endpoint.shared {resource}: of these, resources that are shared among calls
//	resource.pool.endpoint.making {resource}: resources that are being created
//	resource.pool.endpoint.ranked 1: 1 if callers may be sent to it
//	resource.pool.endpoint.ejected 1: 1 while it is ejected or probed
//	resource.pool.endpoint.failing 1: 1 while it fails, whether or not it is ejected
//	resource.pool.endpoint.draining 1: 1 while it has left and is drained
//	resource.pool.endpoint.standby 1: 1 while its priority is not in use
//	resource.pool.endpoint.slow_start 1: 1 while its share grows
//	resource.pool.endpoint.moved {resource}: resources moved to it, less those moved away
//	resource.pool.endpoint.uses {use}: uses that have begun
//	resource.pool.endpoint.good {use}: evidence that counted as success
//	resource.pool.endpoint.bad {use}: evidence that counted as failure
//	resource.pool.endpoint.refused {use}: evidence that counted as refusal
//	resource.pool.endpoint.ejections {ejection}: ejections
//	resource.pool.endpoint.probes {probe}: probes that have ended
//	resource.pool.endpoints {endpoint}: endpoints over which the pool is spread
//	resource.pool.endpoints.panic 1: 1 while ejections are ignored because too few endpoints are healthy
//	resource.pool.endpoints.priority 1: the priority in use
//	resource.pool.endpoints.resolver_failing 1: 1 while the last answer of the resolver was not applied
//	resource.pool.endpoints.failovers {failover}: how often a worse priority was taken into use
//	resource.pool.endpoints.failbacks {failback}: how often a better priority was taken into use again
//	resource.pool.endpoints.updates {update}: answers of the resolver that were applied
//	resource.pool.endpoints.updates_failed {update}: answers of the resolver that were not applied
//	resource.pool.endpoints.moved {resource}: resources that were moved from one endpoint to another
//	resource.pool.endpoints.moves_failed {move}: moves that failed
//
// All those of a quota have the attribute resource.pool.quota. Each pool that takes part in
// the quota shows them, so aggregate them over pools with max, not sum. Those of what shares
// resources of the pool among many calls ([resource.Multiplexer]) have the attribute
// resource.pool.mux, the name of the mux.Clients that are counted together. Those of a pool that is
// spread over several endpoints ([resource.Endpoints]) have the attribute
// resource.pool.endpoint: 64 have a value of their own until they leave, and those that join meanwhile are
// "other" together until they leave. What these have counted stays in "other", so no counter falls.
//
// [NewProducer] returns a producer of the histograms wait_time, use_time, create_time,
// check_time, destroy_time and, by resource.pool.mux, mux.call_time, in s: no instrument accepts a finished histogram. It is
// an option of the reader:
//
//	sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//
// [Trace] makes spans of waits and creations.
package otel
