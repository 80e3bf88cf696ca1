// Package prometheus shows pools to Prometheus: [Collector] tells it, at each
// scrape, what meters know.
//
// Every metric has the label pool, the name of the meter. With the default
// prefix they are
//
//	resource_pool_resources{state}            gauge: idle, leased, making, destroying
//	resource_pool_limit                       gauge: the current maximum
//	resource_pool_pending_acquires            gauge: callers that wait
//	resource_pool_oldest_wait_seconds         gauge: for how long the first of them has
//	resource_pool_wanted_places               gauge: places of a Keyed's total it is short of
//	resource_pool_abandoned_makes             gauge: given up at MakeTimeout, not yet returned
//	resource_pool_leases_overdue              gauge: leases that last too long, see metrics.Config
//	resource_pool_outage                      gauge: 1 while makes keep failing
//	resource_pool_acquires_total{result}      ok, or why it failed: see resource.Reason
//	resource_pool_waits_total                 acquires that had to wait, however they ended
//	resource_pool_waits_ended_total{result}   ok, failed
//	resource_pool_releases_total              leases ended, in whatever way
//	resource_pool_makes_total{result}         ok, failed, refused, withdrawn
//	resource_pool_makes_begun_total{for}      callers, no_wait, min_idle, warm, make_one, replacements
//	resource_pool_destroyed_total{reason}     resources that are gone
//	resource_pool_hijacked_total              resources handed out for good
//	resource_pool_ended_total{by}             resources ended by eviction, health, invalidate or on_release
//	resource_pool_rejections_total{policy}    callers and makes that a policy refused
//	resource_pool_outages_total               outages begun
//	resource_pool_panics_total                panics contained
//	resource_pool_wait_seconds                histogram: acquires, those that found one idle as 0
//	resource_pool_use_seconds                 histogram: leases that have ended, estimated from those sampled
//	resource_pool_create_seconds              histogram: makes that succeeded
//	resource_pool_check_seconds               histogram: health checks
//	resource_pool_destroy_seconds             histogram: Destroys
//	resource_pool_fact_level{fact}            gauge: what a kind of pool adds
//	resource_pool_fact_total{fact}            counter: likewise
//
// A histogram has classic buckets and native ones (schema 2); a Prometheus
// takes what it can. The files dashboard.json (Grafana) and alerts.yml use
// these names.
package prometheus
