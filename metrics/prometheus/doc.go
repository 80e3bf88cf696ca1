// Package prometheus exports pools to Prometheus: [Collector] takes a snapshot of each
// meter at each scrape.
//
// Every metric has the label pool, the name of the meter. With the default prefix the
// metrics are
//
//	resource_pool_resources{state}            gauge: idle, leased, making, destroying
//	resource_pool_limit                       gauge: the current maximum
//	resource_pool_pending_acquires            gauge: waiting callers
//	resource_pool_oldest_wait_seconds         gauge: how long the first of them has waited
//	resource_pool_wanted_places               gauge: slots of the total of a Keyed that the pool lacks
//	resource_pool_abandoned_makes             gauge: creations given up at MakeTimeout that have not returned
//	resource_pool_leases_overdue              gauge: leases that last longer than metrics.Config.Overdue
//	resource_pool_outage                      gauge: 1 while resource creation is failing
//	resource_pool_acquires_total{result}      ok, or the resource.Reason of the failure
//	resource_pool_waits_total                 acquires that waited, with or without success
//	resource_pool_waits_ended_total{result}   ok, failed
//	resource_pool_releases_total              leases ended
//	resource_pool_makes_total{result}         ok, failed, refused, withdrawn
//	resource_pool_makes_begun_total{for}      callers, no_wait, min_idle, warm, make_one, replacements
//	resource_pool_destroyed_total{reason}     resources destroyed, by cause: see metrics.Config.Cause
//	resource_pool_hijacked_total              resources hijacked
//	resource_pool_ended_total{by}             resources ended by eviction, health, invalidate or on_release
//	resource_pool_rejections_total{policy}    callers and creations that a policy refused
//	resource_pool_outages_total               outages that have begun
//	resource_pool_panics_total                panics contained
//	resource_pool_wait_seconds                histogram: waits of acquires that got a resource; 0 if one was idle
//	resource_pool_use_seconds                 histogram: leases that have ended, estimated from the sampled ones
//	resource_pool_create_seconds              histogram: creations that succeeded
//	resource_pool_check_seconds               histogram: health checks
//	resource_pool_destroy_seconds             histogram: calls of Destroy
//	resource_pool_fact_level{fact}            gauge: level of a figure specific to the kind of pool
//	resource_pool_fact_total{fact}            counter: count of a figure specific to the kind of pool
//	resource_pool_quota_granted{quota}       gauge: units of a shared quota that this process may use
//	resource_pool_quota_held{quota}          gauge: units in use by this process
//	resource_pool_quota_wanted{quota}        gauge: units that this process asked for
//	resource_pool_quota_target{quota}        gauge: the fair share of this process
//	resource_pool_quota_limit{quota}         gauge: the smallest limit that a process states
//	resource_pool_quota_highest_limit{quota} gauge: the largest; more than the smallest if they disagree
//	resource_pool_quota_fleet_granted{quota} gauge: units granted to all processes
//	resource_pool_quota_holders{quota}       gauge: processes that share the quota
//	resource_pool_quota_waiting{quota}       gauge: creations that wait for a unit
//	resource_pool_quota_learning{quota}      gauge: 1 while the engine grants nothing new
//	resource_pool_quota_engine_lost_seconds{quota} gauge: how long the engine has not answered; 0 while it answers
//	resource_pool_quota_over{quota}          gauge: units in use beyond the grant
//	resource_pool_quota_exceeded_total{quota} units that were ever in use beyond the grant
//	resource_pool_quota_closed_total{quota}  resources that the quota ended
//	resource_pool_quota_operations_total{quota} operations of the engine that have ended
//	resource_pool_quota_operations_failed_total{quota} operations of the engine that failed
//	resource_pool_mux_held{mux} gauge: leased resources that are shared among calls
//	resource_pool_mux_draining{mux} gauge: of these, resources that take no more calls
//	resource_pool_mux_in_flight{mux} gauge: calls that await a reply
//	resource_pool_mux_in_flight_busiest{mux} gauge: calls in flight on the resource that has most
//	resource_pool_mux_in_flight_limit{mux} gauge: calls that may be in flight on one resource
//	resource_pool_mux_waiting{mux} gauge: callers that wait for a resource to have room
//	resource_pool_mux_oldest_wait_seconds{mux} gauge: how long the first of them has waited
//	resource_pool_mux_orphans{mux} gauge: calls that were given up and whose replies have not come
//	resource_pool_mux_orphans_limit{mux} gauge: orphans beyond which a resource is drained
//	resource_pool_mux_streams{mux} gauge: streams that are open
//	resource_pool_mux_queued_bytes{mux} gauge: bytes that wait to be written
//	resource_pool_mux_acquired_total{mux} resources acquired to be shared
//	resource_pool_mux_calls_total{mux} calls that were answered
//	resource_pool_mux_calls_not_sent_total{mux} calls that failed and were certainly not sent
//	resource_pool_mux_calls_may_have_run_total{mux} calls that failed and may have run
//	resource_pool_mux_writes_total{mux} writes
//	resource_pool_mux_messages_total{mux} messages; divided by writes, the calls per write
//	resource_pool_mux_retries_total{mux} attempts after a resource ended before the call was sent
//	resource_pool_mux_replays_total{mux} calls that may have run and were sent once more
//	resource_pool_mux_orphaned_total{mux} calls that were given up after they were sent
//	resource_pool_mux_late_total{mux} messages for calls or streams that were given up or had ended
//	resource_pool_mux_unknown_total{mux} messages for ids that were never sent
//	resource_pool_mux_bad_total{mux} messages that could not be classified
//	resource_pool_mux_unwanted_total{mux} messages that nothing was set to receive
//	resource_pool_mux_events_dropped_total{mux} events of the peer that found their buffer full
//	resource_pool_mux_stream_dropped_total{mux} messages for streams that found their buffer full
//	resource_pool_mux_resumes_total{mux} attempts to resume a stream
//	resource_pool_mux_gaps_total{mux} streams that were resumed, so that messages may be missing
//	resource_pool_mux_panics_total{mux} panics contained in functions of the user
//	resource_pool_mux_call_seconds{mux} histogram: calls that were answered, estimated from a sample of them
//	resource_pool_endpoint_share{endpoint} gauge: part of the callers that it is to get, from 0 to 1
//	resource_pool_endpoint_load{endpoint} gauge: leases and calls in flight, and callers that wait
//	resource_pool_endpoint_latency_seconds{endpoint} gauge: average latency with a penalty for failures; 0 if not known
//	resource_pool_endpoint_connections{endpoint} gauge: resources, idle and leased
//	resource_pool_endpoint_leased{endpoint} gauge: of these, resources that are leased
//	resource_pool_endpoint_shared{endpoint} gauge: of these, resources that are shared among calls
//	resource_pool_endpoint_making{endpoint} gauge: resources that are being created
//	resource_pool_endpoint_ranked{endpoint} gauge: 1 if callers may be sent to it
//	resource_pool_endpoint_ejected{endpoint} gauge: 1 while it is ejected or probed
//	resource_pool_endpoint_failing{endpoint} gauge: 1 while it fails, whether or not it is ejected
//	resource_pool_endpoint_draining{endpoint} gauge: 1 while it has left and is drained
//	resource_pool_endpoint_standby{endpoint} gauge: 1 while its priority is not in use
//	resource_pool_endpoint_slow_start{endpoint} gauge: 1 while its share grows
//	resource_pool_endpoint_moved{endpoint} gauge: resources moved to it, less those moved away
//	resource_pool_endpoint_uses_total{endpoint} uses that have begun
//	resource_pool_endpoint_good_total{endpoint} evidence that counted as success
//	resource_pool_endpoint_bad_total{endpoint} evidence that counted as failure
//	resource_pool_endpoint_refused_total{endpoint} evidence that counted as refusal
//	resource_pool_endpoint_ejections_total{endpoint} ejections
//	resource_pool_endpoint_probes_total{endpoint} probes that have ended
//	resource_pool_endpoints gauge: endpoints over which the pool is spread
//	resource_pool_endpoints_panic gauge: 1 while ejections are ignored because too few endpoints are healthy
//	resource_pool_endpoints_priority gauge: the priority in use
//	resource_pool_endpoints_resolver_failing gauge: 1 while the last answer of the resolver was not applied
//	resource_pool_endpoints_failovers_total how often a worse priority was taken into use
//	resource_pool_endpoints_failbacks_total how often a better priority was taken into use again
//	resource_pool_endpoints_updates_total answers of the resolver that were applied
//	resource_pool_endpoints_updates_failed_total answers of the resolver that were not applied
//	resource_pool_endpoints_moved_total resources that were moved from one endpoint to another
//	resource_pool_endpoints_moves_failed_total moves that failed
//
// Those with the label quota are of a quota that several processes share
// ([resource.SharedQuota]). Each pool that takes part in it shows them, so aggregate them
// over pools and processes with max or min, by (quota); the sum of quota_held over
// processes is the use of the whole quota if one pool of each process takes part.
//
// Those with the label mux are of what shares resources of the pool among many calls
// ([resource.Multiplexer]): the mux.Clients of one name together. No metric has a label for each
// connection; the live page lists them. Those with the label endpoint, and those whose names begin
// with resource_pool_endpoints, are of a pool that is spread over several endpoints
// ([resource.Endpoints]). 64 endpoints have labels of their own until they leave, and those that
// join meanwhile have the label "other" together until they leave. What these have counted stays in
// "other", so no counter falls.
//
// A histogram has classic buckets and native buckets of schema 2; Prometheus scrapes
// what it is configured for. In resource_pool_rejections_total the label
// policy="queue" is that of a policy.BoundedQueue, which is an Admission and not a Queue.
//
// The files dashboard.json (Grafana) and alerts.yml use these names. This package is a
// module of its own:
//
//	go get github.com/respool/respool/metrics/prometheus
//
// Both files are in its folder, which go list -f '{{.Dir}}' -m prints for that path:
// name alerts.yml under rule_files in prometheus.yml, and import dashboard.json in
// Grafana under Dashboards, New, Import.
package prometheus
