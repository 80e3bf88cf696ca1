package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/spread"
	"github.com/respool/respool/resource"
)

// kind is the kind of an instrument.
type kind uint8

const (
	level   kind = iota // an UpDownCounter: the sum over pools has a meaning
	gauge               // the sum over pools has none
	lasts               // a gauge of seconds; its values are nanoseconds
	counter             // only grows
)

// collection is what a collection shows of one pool.
type collection struct {
	metrics.Snapshot
	labeled []resource.EndpointInfo // the endpoints that have labels
}

// figure is one instrument. It has value, or by and values, or each; without by, each returns at
// most one value.
type figure struct {
	name, unit, help string // unit "": that of Config.noun
	kind             kind
	value            func(s *collection) int64
	by               string
	values           func(s *collection, t label.Tally)
	each             func(s *collection) []figureOf
}

// figureOf is one value of a figure.
type figureOf struct {
	name  string // the value of the attribute
	value int64
}

// perQuota returns the values of the shared quotas of a pool, which may have two holders of one.
func perQuota(of func(q *resource.SharedQuota) int64) func(s *collection) []figureOf {
	return func(s *collection) []figureOf {
		return uniquely(s.Quotas, func(q *resource.SharedQuota) (string, int64) { return q.Name, of(q) })
	}
}

// perMux returns the values of the multiplexers of a pool.
func perMux(of func(m *resource.Multiplexer) int64) func(s *collection) []figureOf {
	return func(s *collection) []figureOf {
		return uniquely(s.Multiplexers, func(m *resource.Multiplexer) (string, int64) { return m.Name, of(m) })
	}
}

// perEndpoint returns the values of the endpoints of a pool.
func perEndpoint(of func(e *resource.EndpointInfo) int64) func(s *collection) []figureOf {
	return func(s *collection) []figureOf {
		return uniquely(s.labeled, func(e *resource.EndpointInfo) (string, int64) { return e.Addr, of(e) })
	}
}

// ofEndpoints returns one value of a pool that has endpoints.
func ofEndpoints(of func(e *resource.Endpoints) int64) func(s *collection) []figureOf {
	return func(s *collection) []figureOf {
		if s.Endpoints == nil {
			return nil
		}
		return []figureOf{{value: of(s.Endpoints)}}
	}
}

// uniquely makes the names unique.
func uniquely[T any](all []T, of func(*T) (string, int64)) []figureOf {
	var names label.Names
	out := make([]figureOf, len(all))
	for i := range all {
		name, v := of(&all[i])
		out[i] = figureOf{names.Unique(name), v}
	}
	return out
}

var figures = []figure{
	{
		name: "count", help: "Resources by state.", kind: level,
		by: "state", values: func(s *collection, t label.Tally) {
			t.Add("idle", int64(s.Idle))
			t.Add("used", int64(s.Leased))
			t.Add("making", int64(s.Making))
			t.Add("destroying", int64(s.Destroying))
		},
	},
	{
		name: "max", help: "Maximum number of resources.", kind: level,
		value: func(s *collection) int64 { return int64(s.Max) },
	},
	{
		name: "idle.min", help: "Number of resources kept idle.", kind: level,
		value: func(s *collection) int64 { return int64(s.MinIdle) },
	},
	{
		name: "pending_requests", unit: "{request}", help: "Callers waiting for a resource.", kind: level,
		value: func(s *collection) int64 { return int64(s.Load.Waiting) },
	},
	{
		name: "timeouts", unit: "{timeout}", help: "Acquires that ended with their context or MaxWait.", kind: counter,
		value: func(s *collection) int64 { return s.Failures.Canceled + s.Failures.MaxWait },
	},
	{
		name: "acquires", unit: "{acquire}", help: "Acquires that got a resource.", kind: counter,
		value: func(s *collection) int64 { return s.Acquired },
	},
	{
		name: "acquire_failures", unit: "{acquire}", help: "Acquires that failed, by reason.", kind: counter,
		by: "reason", values: func(s *collection, t label.Tally) {
			for reason, n := range s.Failures.All() {
				t.Add(reason.String(), n)
			}
		},
	},
	{
		name: "waits", unit: "{acquire}", help: "Acquires that waited, with or without success.", kind: counter,
		value: func(s *collection) int64 { return s.Waited },
	},
	{
		name: "rejections", unit: "{rejection}", help: "Callers and creations refused, by policy.", kind: counter,
		by: "policy", values: func(s *collection, t label.Tally) { t.AddAll(s.Refused) },
	},
	{
		name: "creates", help: "Creations that succeeded.", kind: counter,
		value: func(s *collection) int64 { return s.Made },
	},
	{
		name: "create_failures", unit: "{failure}", help: "Creations that failed.", kind: counter,
		value: func(s *collection) int64 { return s.Failed },
	},
	{
		name: "destroyed", help: "Resources destroyed, by cause.", kind: counter,
		by: "reason", values: func(s *collection, t label.Tally) { t.AddAll(s.Destroyed) },
	},
	{
		name: "outage", unit: "1", help: "1 while resource creation is failing, else 0.", kind: gauge,
		value: func(s *collection) int64 { return truth(s.Outage) },
	},
	{
		name: "outages", unit: "{outage}", help: "Outages that have begun.", kind: counter,
		value: func(s *collection) int64 { return s.Outages },
	},
	{
		name: "leases_overdue", unit: "{lease}", help: "Leases held for longer than the limit of the meter.", kind: level,
		value: func(s *collection) int64 { return int64(s.Overdue) },
	},
	{
		name: "panics", unit: "{panic}", help: "Panics contained in functions that the pool called.", kind: counter,
		value: func(s *collection) int64 { return s.Panics },
	},
	{
		name: "fact.level", unit: "1", help: "Figures specific to the kind of pool that go up and down.", kind: gauge,
		by: "fact", values: func(s *collection, t label.Tally) { facts(s, t, true) },
	},
	{
		name: "fact.total", unit: "1", help: "Figures specific to the kind of pool that count.", kind: counter,
		by: "fact", values: func(s *collection, t label.Tally) { facts(s, t, false) },
	},
	// Gauges, as a quota may be shown by several pools of a process.
	{
		name: "quota.granted", unit: "{unit}", help: "Units of a shared quota that this process may use.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Granted) }),
	},
	{
		name: "quota.held", unit: "{unit}", help: "Units of a shared quota in use by this process.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Held) }),
	},
	{
		name: "quota.wanted", unit: "{unit}", help: "Units of a shared quota that this process asked for.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Want) }),
	},
	{
		name: "quota.target", unit: "{unit}", help: "Fair share of this process of a shared quota.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Target) }),
	},
	{
		name: "quota.limit", unit: "{unit}", help: "Smallest limit of a shared quota that a process states.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Limit) }),
	},
	{
		name: "quota.highest_limit", unit: "{unit}", help: "Largest limit of a shared quota that a process states.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Highest) }),
	},
	{
		name: "quota.fleet_granted", unit: "{unit}", help: "Units of a shared quota granted to all processes.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Total) }),
	},
	{
		name: "quota.holders", unit: "{process}", help: "Processes that share a quota.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Holders) }),
	},
	{
		name: "quota.pending_requests", unit: "{request}", help: "Creations that wait for a unit of a shared quota.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Waiting) }),
	},
	{
		name: "quota.learning", unit: "1", help: "1 while the engine of a shared quota grants nothing new, else 0.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return truth(q.Learning) }),
	},
	{
		name: "quota.engine_lost", unit: "s", help: "How long the engine of a shared quota has not answered; 0 while it answers.", kind: lasts,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Lost) }),
	},
	{
		name: "quota.over", unit: "{unit}", help: "Units of a shared quota in use beyond the grant.", kind: gauge,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return int64(q.Over) }),
	},
	{
		name: "quota.exceeded", unit: "{unit}", help: "Units of a shared quota that were ever in use beyond the grant.", kind: counter,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return q.OverTotal }),
	},
	{
		name: "quota.closed", unit: "{resource}", help: "Resources that a shared quota ended.", kind: counter,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return q.Closed }),
	},
	{
		name: "quota.operations", unit: "{operation}", help: "Operations of the engine of a shared quota that have ended.", kind: counter,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return q.Operations }),
	},
	{
		name: "quota.operation_failures", unit: "{operation}", help: "Operations of the engine of a shared quota that failed.", kind: counter,
		by: "quota", each: perQuota(func(q *resource.SharedQuota) int64 { return q.Failed }),
	},
	{
		name: "mux.held", help: "Leased resources that are shared among calls.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Held) }),
	},
	{
		name: "mux.draining", help: "Shared resources that take no more calls.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Draining) }),
	},
	{
		name: "mux.in_flight", unit: "{call}", help: "Calls that await a reply on a shared resource.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.InFlight) }),
	},
	{
		name: "mux.in_flight.busiest", unit: "{call}", help: "Calls in flight on the shared resource that has most.", kind: gauge,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Busiest) }),
	},
	{
		name: "mux.in_flight.limit", unit: "{call}", help: "Calls that may be in flight on one shared resource.", kind: gauge,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Limit) }),
	},
	{
		name: "mux.pending_requests", unit: "{request}", help: "Callers that wait for a shared resource to have room.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Waiting) }),
	},
	{
		name: "mux.oldest_wait", unit: "s", help: "How long the first caller has waited for a shared resource to have room.", kind: lasts,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.OldestWait) }),
	},
	{
		name: "mux.orphans", unit: "{call}", help: "Calls that were given up and whose replies have not come.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Orphans) }),
	},
	{
		name: "mux.orphans.limit", unit: "{call}", help: "Orphans beyond which a shared resource is drained.", kind: gauge,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.MaxOrphans) }),
	},
	{
		name: "mux.streams", unit: "{stream}", help: "Streams that are open on shared resources.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Streams) }),
	},
	{
		name: "mux.queued", unit: "By", help: "Bytes that wait to be written to shared resources.", kind: level,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return int64(m.Queued) }),
	},
	{
		name: "mux.acquires", help: "Resources acquired to be shared.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Acquired }),
	},
	{
		name: "mux.calls", unit: "{call}", help: "Calls on shared resources that were answered.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Calls }),
	},
	{
		name: "mux.calls_not_sent", unit: "{call}", help: "Calls that failed and were certainly not sent.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.NotSent }),
	},
	{
		name: "mux.calls_may_have_run", unit: "{call}", help: "Calls that failed and may have run.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.MayHaveRun }),
	},
	{
		name: "mux.writes", unit: "{write}", help: "Writes to shared resources.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Batches }),
	},
	{
		name: "mux.messages", unit: "{message}", help: "Messages written to shared resources, several in one write.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Messages }),
	},
	{
		name: "mux.retries", unit: "{attempt}", help: "Attempts after a shared resource ended before the call was sent.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Retried }),
	},
	{
		name: "mux.replays", unit: "{call}", help: "Calls that may have run and were sent once more.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Replayed }),
	},
	{
		name: "mux.orphaned", unit: "{call}", help: "Calls that were given up after they were sent.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Orphaned }),
	},
	{
		name: "mux.late", unit: "{message}", help: "Messages for calls or streams that were given up or had ended.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Late }),
	},
	{
		name: "mux.unknown", unit: "{message}", help: "Messages for ids that were never sent.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Unknown }),
	},
	{
		name: "mux.bad", unit: "{message}", help: "Messages that could not be classified.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Bad }),
	},
	{
		name: "mux.unwanted", unit: "{message}", help: "Messages that nothing was set to receive.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Unwanted }),
	},
	{
		name: "mux.events_dropped", unit: "{message}", help: "Events of the peer that found their buffer full.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.EventsDropped }),
	},
	{
		name: "mux.stream_dropped", unit: "{message}", help: "Messages for streams that found their buffer full.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.StreamDropped }),
	},
	{
		name: "mux.resumes", unit: "{attempt}", help: "Attempts to resume a stream.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Resumes }),
	},
	{
		name: "mux.gaps", unit: "{gap}", help: "Streams that were resumed, so that messages may be missing.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Gaps }),
	},
	{
		name: "mux.panics", unit: "{panic}", help: "Panics contained in functions given to a multiplexer.", kind: counter,
		by: "mux", each: perMux(func(m *resource.Multiplexer) int64 { return m.Panics }),
	},
	{
		name: "endpoint.load", unit: "{call}", help: "Leases and calls in flight on the endpoint, and callers that wait for it.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Load) }),
	},
	{
		name: "endpoint.latency", unit: "s", help: "Average latency of the endpoint with a penalty for failures; 0 if it is not known.", kind: lasts,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Latency) }),
	},
	{
		name: "endpoint.count", help: "Resources of the endpoint, idle and leased.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Idle + e.Leased) }),
	},
	{
		name: "endpoint.used", help: "Resources of the endpoint that are leased.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Leased) }),
	},
	{
		name: "endpoint.shared", help: "Resources of the endpoint whose lease is shared among calls.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Shared) }),
	},
	{
		name: "endpoint.making", help: "Resources of the endpoint that are being created.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return int64(e.Making) }),
	},
	{
		name: "endpoint.ranked", unit: "1", help: "1 if callers may be sent to the endpoint, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Ranked) }),
	},
	{
		name: "endpoint.ejected", unit: "1", help: "1 while the endpoint is ejected or probed, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Ejected) }),
	},
	{
		name: "endpoint.failing", unit: "1", help: "1 while the endpoint fails, ejected or not, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Failing) }),
	},
	{
		name: "endpoint.draining", unit: "1", help: "1 while the endpoint has left and is drained, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Status == "draining") }),
	},
	{
		name: "endpoint.standby", unit: "1", help: "1 while the priority of the endpoint is not in use, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Status == "standby") }),
	},
	{
		name: "endpoint.slow_start", unit: "1", help: "1 while the share of the endpoint grows, else 0.", kind: gauge,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return truth(e.Status == "slow start") }),
	},
	{
		name: "endpoint.moved", help: "Resources moved to the endpoint, less those moved away.", kind: level,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Moved }),
	},
	{
		name: "endpoint.uses", unit: "{use}", help: "Uses of the endpoint that have begun.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Begun }),
	},
	{
		name: "endpoint.good", unit: "{use}", help: "Evidence that counted as a success of the endpoint.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Good }),
	},
	{
		name: "endpoint.bad", unit: "{use}", help: "Evidence that counted as a failure of the endpoint.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Bad }),
	},
	{
		name: "endpoint.refused", unit: "{use}", help: "Evidence that counted as a refusal by the endpoint.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Refused }),
	},
	{
		name: "endpoint.ejections", unit: "{ejection}", help: "Ejections of the endpoint.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Ejections }),
	},
	{
		name: "endpoint.probes", unit: "{probe}", help: "Probes of the endpoint that have ended.", kind: counter,
		by: "endpoint", each: perEndpoint(func(e *resource.EndpointInfo) int64 { return e.Probes }),
	},
	{
		name: "endpoints", unit: "{endpoint}", help: "Endpoints over which the pool is spread.", kind: level,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return int64(len(e.All)) }),
	},
	{
		name: "endpoints.panic", unit: "1", help: "1 while ejections are ignored because too few endpoints are healthy, else 0.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return truth(e.Panic) }),
	},
	{
		name: "endpoints.priority", unit: "1", help: "Priority of the endpoints in use.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return int64(e.Priority) }),
	},
	{
		name: "endpoints.resolver_failing", unit: "1", help: "1 while the last answer of the resolver was not applied, else 0.", kind: gauge,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return truth(e.ResolverErr != nil) }),
	},
	{
		name: "endpoints.failovers", unit: "{failover}", help: "How often a worse priority was taken into use.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.Failovers }),
	},
	{
		name: "endpoints.failbacks", unit: "{failback}", help: "How often a better priority was taken into use again.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.Failbacks }),
	},
	{
		name: "endpoints.updates", unit: "{update}", help: "Answers of the resolver that were applied.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.Updates }),
	},
	{
		name: "endpoints.updates_failed", unit: "{update}", help: "Answers of the resolver that were not applied.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.UpdatesFailed }),
	},
	{
		name: "endpoints.moved", help: "Resources that were moved from one endpoint to another.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.Moved }),
	},
	{
		name: "endpoints.moves_failed", unit: "{move}", help: "Moves of resources that failed.", kind: counter,
		each: ofEndpoints(func(e *resource.Endpoints) int64 { return e.MovesFailed }),
	},
}

// truth returns 1 for true.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func facts(s *collection, t label.Tally, level bool) {
	for _, f := range s.Facts {
		if f.Level == level {
			t.Add(f.Name, f.Value)
		}
	}
}

// Register creates the instruments and observes them at each collection, until the
// Unregister method of the result is called. A nil provider means the global one. It
// copies cfg. The error names every bad field, or is that of the provider.
//
// Two registrations with one provider need different prefixes, or attributes by which
// their points differ.
func Register(provider metric.MeterProvider, cfg Config) (metric.Registration, error) {
	cfg, err := cfg.ready()
	if err != nil {
		return nil, err
	}
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := provider.Meter(Scope)
	instruments := make([]metric.Observable, len(figures))
	all := make([]metric.Observable, len(figures), len(figures)+2)
	var bad []error
	for i, f := range figures {
		if instruments[i], err = instrument(m, &cfg, &f); err != nil {
			bad = append(bad, err)
		}
		all[i] = instruments[i]
	}
	oldest, err := m.Float64ObservableGauge(cfg.Prefix+".oldest_wait", metric.WithUnit("s"),
		metric.WithDescription("How long the first of the waiting callers has waited."))
	share, err2 := m.Float64ObservableGauge(cfg.Prefix+".endpoint.share", metric.WithUnit("1"),
		metric.WithDescription("Part of the callers that the endpoint is to get, from 0 to 1."))
	if err := errors.Join(append(bad, err, err2)...); err != nil {
		return nil, err
	}
	labels := new(spread.Labels)
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var pools []string
		cfg.each(func(shown *metrics.Snapshot, pool string, common []attribute.KeyValue) {
			pools = append(pools, pool)
			s := &collection{*shown, labels.Of(pool, shown.Endpoints)}
			o.ObserveFloat64(oldest, s.OldestWait.Seconds(), metric.WithAttributes(common...))
			for _, e := range s.labeled {
				by := attribute.String(cfg.Prefix+".endpoint", e.Addr)
				o.ObserveFloat64(share, e.Share, metric.WithAttributes(common...), metric.WithAttributes(by))
			}
			for i, f := range figures {
				f.observe(o, instruments[i], s, cfg.Prefix, common)
			}
		})
		labels.Keep(pools)
		return nil
	}, append(all, oldest, share)...)
}

// instrument creates the instrument of f.
func instrument(m metric.Meter, cfg *Config, f *figure) (metric.Observable, error) {
	name, unit, help := cfg.Prefix+"."+f.name, metric.WithUnit(f.unit), metric.WithDescription(f.help)
	if f.unit == "" {
		unit = metric.WithUnit(cfg.noun())
	}
	switch f.kind {
	case counter:
		return m.Int64ObservableCounter(name, unit, help)
	case level:
		return m.Int64ObservableUpDownCounter(name, unit, help)
	case lasts:
		return m.Float64ObservableGauge(name, unit, help)
	default:
		return m.Int64ObservableGauge(name, unit, help)
	}
}

func (f *figure) observe(o metric.Observer, to metric.Observable, s *collection, prefix string, common []attribute.KeyValue) {
	observe := func(n int64, attrs ...metric.ObserveOption) {
		if to, ok := to.(metric.Float64Observable); ok {
			o.ObserveFloat64(to, time.Duration(n).Seconds(), attrs...)
			return
		}
		o.ObserveInt64(to.(metric.Int64Observable), n, attrs...)
	}
	if f.value != nil {
		observe(f.value(s), metric.WithAttributes(common...))
		return
	}
	if f.each != nil {
		for _, one := range f.each(s) {
			attrs := []metric.ObserveOption{metric.WithAttributes(common...)}
			if f.by != "" {
				attrs = append(attrs, metric.WithAttributes(attribute.String(prefix+"."+f.by, one.name)))
			}
			observe(one.value, attrs...)
		}
		return
	}
	values := make(label.Tally)
	f.values(s, values)
	for l, n := range values {
		observe(n, metric.WithAttributes(common...), metric.WithAttributes(attribute.String(prefix+"."+f.by, l)))
	}
}
