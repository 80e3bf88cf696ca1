package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/resource"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// family is the metrics of one name. It has value, or label and values, or each; without a label,
// each returns at most one point.
type family struct {
	name, help string
	kind       prometheus.ValueType
	value      func(s *scrape) float64
	label      string
	values     func(s *scrape, t label.Tally)
	each       func(s *scrape) []point
}

// point is one value of a family.
type point struct {
	label string
	value float64
}

// perQuota returns the values of the shared quotas of a pool, which may have two holders of one.
func perQuota(of func(q *resource.SharedQuota) float64) func(s *scrape) []point {
	return func(s *scrape) []point {
		return points(s.Quotas, func(q *resource.SharedQuota) (string, float64) { return q.Name, of(q) })
	}
}

// perMux returns the values of the multiplexers of a pool.
func perMux(of func(m *resource.Multiplexer) float64) func(s *scrape) []point {
	return func(s *scrape) []point {
		return points(s.Multiplexers, func(m *resource.Multiplexer) (string, float64) { return m.Name, of(m) })
	}
}

// perEndpoint returns the values of the endpoints of a pool.
func perEndpoint(of func(e *resource.EndpointInfo) float64) func(s *scrape) []point {
	return func(s *scrape) []point {
		return points(s.labeled, func(e *resource.EndpointInfo) (string, float64) { return e.Addr, of(e) })
	}
}

// ofEndpoints returns one value, without a label, of a pool that has endpoints.
func ofEndpoints(of func(e *resource.Endpoints) float64) func(s *scrape) []point {
	return func(s *scrape) []point {
		if s.Endpoints == nil {
			return nil
		}
		return []point{{value: of(s.Endpoints)}}
	}
}

// points makes the labels unique.
func points[T any](all []T, of func(*T) (string, float64)) []point {
	var names label.Names
	out := make([]point, len(all))
	for i := range all {
		name, v := of(&all[i])
		out[i] = point{names.Unique(name), v}
	}
	return out
}

var families = []family{
	{
		name: "resources", help: "Resources by state.", kind: gauge,
		label: "state", values: func(s *scrape, t label.Tally) {
			t.Add("idle", int64(s.Idle))
			t.Add("leased", int64(s.Leased))
			t.Add("making", int64(s.Making))
			t.Add("destroying", int64(s.Destroying))
		},
	},
	{
		name: "limit", help: "Maximum number of resources.", kind: gauge,
		value: func(s *scrape) float64 { return float64(s.Max) },
	},
	{
		name: "pending_acquires", help: "Callers waiting for a resource.", kind: gauge,
		value: func(s *scrape) float64 { return float64(s.Load.Waiting) },
	},
	{
		name: "oldest_wait_seconds", help: "How long the first of the waiting callers has waited.", kind: gauge,
		value: func(s *scrape) float64 { return s.OldestWait.Seconds() },
	},
	{
		name: "wanted_places", help: "Slots of a shared total that the pool lacks.", kind: gauge,
		value: func(s *scrape) float64 { return float64(s.Wanting) },
	},
	{
		name: "abandoned_makes", help: "Creations given up at their timeout that have not returned.", kind: gauge,
		value: func(s *scrape) float64 { return float64(s.Abandoned) },
	},
	{
		name: "leases_overdue", help: "Leases held for longer than the limit of the meter.", kind: gauge,
		value: func(s *scrape) float64 { return float64(s.Overdue) },
	},
	{
		name: "outage", help: "1 while resource creation is failing, else 0.", kind: gauge,
		value: func(s *scrape) float64 { return truth(s.Outage) },
	},
	{
		name: "acquires_total", help: "Acquires that have ended: ok, or the reason of the failure.",
		kind: counter, label: "result", values: func(s *scrape, t label.Tally) {
			t.Add("ok", s.Acquired)
			for reason, n := range s.Failures.All() {
				t.Add(reason.String(), n)
			}
		},
	},
	{
		name: "waits_total", help: "Acquires that waited, with or without success.", kind: counter,
		value: func(s *scrape) float64 { return float64(s.Waited) },
	},
	{
		name: "waits_ended_total", help: "Acquires that waited and have ended, by result.", kind: counter,
		label: "result", values: func(s *scrape, t label.Tally) {
			t.Add("ok", s.WaitsServed)
			t.Add("failed", s.WaitsFailed)
		},
	},
	{
		name: "releases_total", help: "Leases that have ended.", kind: counter,
		value: func(s *scrape) float64 { return float64(s.Released) },
	},
	{
		name: "makes_total", help: "Creations that have ended, by result.", kind: counter,
		label: "result", values: func(s *scrape, t label.Tally) {
			t.Add("ok", s.Made)
			t.Add("failed", s.Failed)
			t.Add("refused", s.Stats.Refused)
			t.Add("withdrawn", s.Withdrawn)
		},
	},
	{
		name: "makes_begun_total", help: "Creations that were begun, by purpose.", kind: counter,
		label: "for", values: func(s *scrape, t label.Tally) {
			t.Add("callers", s.Begun.Callers)
			t.Add("no_wait", s.Begun.NoWait)
			t.Add("min_idle", s.Begun.MinIdle)
			t.Add("warm", s.Begun.Warm)
			t.Add("make_one", s.Begun.MakeOne)
			t.Add("replacements", s.Begun.Replacements)
		},
	},
	{
		name: "destroyed_total", help: "Resources destroyed, by cause.", kind: counter,
		label: "reason", values: func(s *scrape, t label.Tally) { t.AddAll(s.Destroyed) },
	},
	{
		name: "hijacked_total", help: "Resources hijacked.", kind: counter,
		value: func(s *scrape) float64 { return float64(s.Hijacked) },
	},
	{
		name: "ended_total", help: "Resources ended by the pool rather than by a holder.", kind: counter,
		label: "by", values: func(s *scrape, t label.Tally) {
			t.Add("eviction", s.Evicted)
			t.Add("health", s.Unhealthy)
			t.Add("invalidate", s.Invalidated)
			t.Add("on_release", s.ReleaseFailed)
		},
	},
	{
		name: "rejections_total", help: "Callers and creations refused, by policy.", kind: counter,
		label: "policy", values: func(s *scrape, t label.Tally) { t.AddAll(s.Refused) },
	},
	{
		name: "outages_total", help: "Outages that have begun.", kind: counter,
		value: func(s *scrape) float64 { return float64(s.Outages) },
	},
	{
		name: "panics_total", help: "Panics contained in functions that the pool called.", kind: counter,
		value: func(s *scrape) float64 { return float64(s.Panics) },
	},
	{
		name: "fact_level", help: "Figures specific to the kind of pool that go up and down.", kind: gauge,
		label: "fact", values: func(s *scrape, t label.Tally) { facts(s, t, true) },
	},
	{
		name: "fact_total", help: "Figures specific to the kind of pool that count.", kind: counter,
		label: "fact", values: func(s *scrape, t label.Tally) { facts(s, t, false) },
	},
	{
		name: "quota_granted", help: "Units of a shared quota that this process may use.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Granted) }),
	},
	{
		name: "quota_held", help: "Units of a shared quota in use by this process.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Held) }),
	},
	{
		name: "quota_wanted", help: "Units of a shared quota that this process asked for.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Want) }),
	},
	{
		name: "quota_target", help: "Fair share of this process of a shared quota.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Target) }),
	},
	{
		name: "quota_limit", help: "Smallest limit of a shared quota that a process states.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Limit) }),
	},
	{
		name: "quota_highest_limit", help: "Largest limit of a shared quota that a process states.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Highest) }),
	},
	{
		name: "quota_fleet_granted", help: "Units of a shared quota granted to all processes.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Total) }),
	},
	{
		name: "quota_holders", help: "Processes that share a quota.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Holders) }),
	},
	{
		name: "quota_waiting", help: "Creations that wait for a unit of a shared quota.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Waiting) }),
	},
	{
		name: "quota_learning", help: "1 while the engine of a shared quota grants nothing new, else 0.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return truth(q.Learning) }),
	},
	{
		name: "quota_engine_lost_seconds", help: "How long the engine of a shared quota has not answered; 0 while it answers.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return q.Lost.Seconds() }),
	},
	{
		name: "quota_over", help: "Units of a shared quota in use beyond the grant.", kind: gauge,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Over) }),
	},
	{
		name: "quota_exceeded_total", help: "Units of a shared quota that were ever in use beyond the grant.", kind: counter,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.OverTotal) }),
	},
	{
		name: "quota_closed_total", help: "Resources that a shared quota ended.", kind: counter,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Closed) }),
	},
	{
		name: "quota_operations_total", help: "Operations of the engine of a shared quota that have ended.", kind: counter,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Operations) }),
	},
	{
		name: "quota_operations_failed_total", help: "Operations of the engine of a shared quota that failed.", kind: counter,
		label: "quota", each: perQuota(func(q *resource.SharedQuota) float64 { return float64(q.Failed) }),
	},
	{
		name: "mux_held", help: "Leased resources that are shared among calls.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Held) }),
	},
	{
		name: "mux_draining", help: "Shared resources that take no more calls.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Draining) }),
	},
	{
		name: "mux_in_flight", help: "Calls that await a reply on a shared resource.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.InFlight) }),
	},
	{
		name: "mux_in_flight_busiest", help: "Calls in flight on the shared resource that has most.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Busiest) }),
	},
	{
		name: "mux_in_flight_limit", help: "Calls that may be in flight on one shared resource.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Limit) }),
	},
	{
		name: "mux_waiting", help: "Callers that wait for a shared resource to have room.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Waiting) }),
	},
	{
		name: "mux_oldest_wait_seconds", help: "How long the first caller has waited for a shared resource to have room.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return m.OldestWait.Seconds() }),
	},
	{
		name: "mux_orphans", help: "Calls that were given up and whose replies have not come.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Orphans) }),
	},
	{
		name: "mux_orphans_limit", help: "Orphans beyond which a shared resource is drained.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.MaxOrphans) }),
	},
	{
		name: "mux_streams", help: "Streams that are open on shared resources.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Streams) }),
	},
	{
		name: "mux_queued_bytes", help: "Bytes that wait to be written to shared resources.", kind: gauge,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Queued) }),
	},
	{
		name: "mux_acquired_total", help: "Resources acquired to be shared.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Acquired) }),
	},
	{
		name: "mux_calls_total", help: "Calls on shared resources that were answered.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Calls) }),
	},
	{
		name: "mux_calls_not_sent_total", help: "Calls that failed and were certainly not sent.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.NotSent) }),
	},
	{
		name: "mux_calls_may_have_run_total", help: "Calls that failed and may have run.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.MayHaveRun) }),
	},
	{
		name: "mux_writes_total", help: "Writes to shared resources.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Batches) }),
	},
	{
		name: "mux_messages_total", help: "Messages written to shared resources, several in one write.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Messages) }),
	},
	{
		name: "mux_retries_total", help: "Attempts after a shared resource ended before the call was sent.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Retried) }),
	},
	{
		name: "mux_replays_total", help: "Calls that may have run and were sent once more.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Replayed) }),
	},
	{
		name: "mux_orphaned_total", help: "Calls that were given up after they were sent.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Orphaned) }),
	},
	{
		name: "mux_late_total", help: "Messages for calls or streams that were given up or had ended.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Late) }),
	},
	{
		name: "mux_unknown_total", help: "Messages for ids that were never sent.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Unknown) }),
	},
	{
		name: "mux_bad_total", help: "Messages that could not be classified.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Bad) }),
	},
	{
		name: "mux_unwanted_total", help: "Messages that nothing was set to receive.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Unwanted) }),
	},
	{
		name: "mux_events_dropped_total", help: "Events of the peer that found their buffer full.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.EventsDropped) }),
	},
	{
		name: "mux_stream_dropped_total", help: "Messages for streams that found their buffer full.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.StreamDropped) }),
	},
	{
		name: "mux_resumes_total", help: "Attempts to resume a stream.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Resumes) }),
	},
	{
		name: "mux_gaps_total", help: "Streams that were resumed, so that messages may be missing.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Gaps) }),
	},
	{
		name: "mux_panics_total", help: "Panics contained in functions given to a multiplexer.", kind: counter,
		label: "mux", each: perMux(func(m *resource.Multiplexer) float64 { return float64(m.Panics) }),
	},
	{
		name: "endpoint_share", help: "Part of the callers that the endpoint is to get, from 0 to 1.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return e.Share }),
	},
	{
		name: "endpoint_load", help: "Leases and calls in flight on the endpoint, and callers that wait for it.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Load) }),
	},
	{
		name: "endpoint_latency_seconds", help: "Average latency of the endpoint with a penalty for failures; 0 if it is not known.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return e.Latency.Seconds() }),
	},
	{
		name: "endpoint_connections", help: "Resources of the endpoint, idle and leased.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Idle + e.Leased) }),
	},
	{
		name: "endpoint_leased", help: "Resources of the endpoint that are leased.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Leased) }),
	},
	{
		name: "endpoint_shared", help: "Resources of the endpoint whose lease is shared among calls.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Shared) }),
	},
	{
		name: "endpoint_making", help: "Resources of the endpoint that are being created.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Making) }),
	},
	{
		name: "endpoint_ranked", help: "1 if callers may be sent to the endpoint, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Ranked) }),
	},
	{
		name: "endpoint_ejected", help: "1 while the endpoint is ejected or probed, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Ejected) }),
	},
	{
		name: "endpoint_failing", help: "1 while the endpoint fails, ejected or not, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Failing) }),
	},
	{
		name: "endpoint_draining", help: "1 while the endpoint has left and is drained, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Status == "draining") }),
	},
	{
		name: "endpoint_standby", help: "1 while the priority of the endpoint is not in use, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Status == "standby") }),
	},
	{
		name: "endpoint_slow_start", help: "1 while the share of the endpoint grows, else 0.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return truth(e.Status == "slow start") }),
	},
	{
		name: "endpoint_moved", help: "Resources moved to the endpoint, less those moved away.", kind: gauge,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Moved) }),
	},
	{
		name: "endpoint_uses_total", help: "Uses of the endpoint that have begun.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Begun) }),
	},
	{
		name: "endpoint_good_total", help: "Evidence that counted as a success of the endpoint.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Good) }),
	},
	{
		name: "endpoint_bad_total", help: "Evidence that counted as a failure of the endpoint.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Bad) }),
	},
	{
		name: "endpoint_refused_total", help: "Evidence that counted as a refusal by the endpoint.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Refused) }),
	},
	{
		name: "endpoint_ejections_total", help: "Ejections of the endpoint.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Ejections) }),
	},
	{
		name: "endpoint_probes_total", help: "Probes of the endpoint that have ended.", kind: counter,
		label: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) float64 { return float64(e.Probes) }),
	},
	{
		name: "endpoints", help: "Endpoints over which the pool is spread.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(len(e.All)) }),
	},
	{
		name: "endpoints_panic", help: "1 while ejections are ignored because too few endpoints are healthy, else 0.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return truth(e.Panic) }),
	},
	{
		name: "endpoints_priority", help: "Priority of the endpoints in use.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.Priority) }),
	},
	{
		name: "endpoints_resolver_failing", help: "1 while the last answer of the resolver was not applied, else 0.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return truth(e.ResolverErr != nil) }),
	},
	{
		name: "endpoints_failovers_total", help: "How often a worse priority was taken into use.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.Failovers) }),
	},
	{
		name: "endpoints_failbacks_total", help: "How often a better priority was taken into use again.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.Failbacks) }),
	},
	{
		name: "endpoints_updates_total", help: "Answers of the resolver that were applied.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.Updates) }),
	},
	{
		name: "endpoints_updates_failed_total", help: "Answers of the resolver that were not applied.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.UpdatesFailed) }),
	},
	{
		name: "endpoints_moved_total", help: "Resources that were moved from one endpoint to another.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.Moved) }),
	},
	{
		name: "endpoints_moves_failed_total", help: "Moves of resources that failed.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) float64 { return float64(e.MovesFailed) }),
	},
}

// truth returns 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func facts(s *scrape, t label.Tally, level bool) {
	for _, f := range s.Facts {
		if f.Level == level {
			t.Add(f.Name, f.Value)
		}
	}
}
