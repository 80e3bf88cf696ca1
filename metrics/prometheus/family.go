package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/resource"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// family is the metrics of one name. It has either value, or label and values, or quota.
type family struct {
	name, help string
	kind       prometheus.ValueType
	value      func(s *metrics.Snapshot) float64
	label      string
	values     func(s *metrics.Snapshot, t label.Tally)
	quota      func(q *resource.SharedQuota) float64 // the label is "quota"
}

var families = []family{
	{
		name: "resources", help: "Resources by state.", kind: gauge,
		label: "state", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("idle", int64(s.Idle))
			t.Add("leased", int64(s.Leased))
			t.Add("making", int64(s.Making))
			t.Add("destroying", int64(s.Destroying))
		},
	},
	{
		name: "limit", help: "Maximum number of resources.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Max) },
	},
	{
		name: "pending_acquires", help: "Callers waiting for a resource.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Load.Waiting) },
	},
	{
		name: "oldest_wait_seconds", help: "How long the first of the waiting callers has waited.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return s.OldestWait.Seconds() },
	},
	{
		name: "wanted_places", help: "Slots of a shared total that the pool lacks.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Wanting) },
	},
	{
		name: "abandoned_makes", help: "Creations given up at their timeout that have not returned.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Abandoned) },
	},
	{
		name: "leases_overdue", help: "Leases held for longer than the limit of the meter.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Overdue) },
	},
	{
		name: "outage", help: "1 while resource creation is failing, else 0.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return truth(s.Outage) },
	},
	{
		name: "acquires_total", help: "Acquires that have ended: ok, or the reason of the failure.",
		kind: counter, label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.Acquired)
			for reason, n := range s.Failures.All() {
				t.Add(reason.String(), n)
			}
		},
	},
	{
		name: "waits_total", help: "Acquires that waited, with or without success.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Waited) },
	},
	{
		name: "waits_ended_total", help: "Acquires that waited and have ended, by result.", kind: counter,
		label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.WaitsServed)
			t.Add("failed", s.WaitsFailed)
		},
	},
	{
		name: "releases_total", help: "Leases that have ended.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Released) },
	},
	{
		name: "makes_total", help: "Creations that have ended, by result.", kind: counter,
		label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.Made)
			t.Add("failed", s.Failed)
			t.Add("refused", s.Stats.Refused)
			t.Add("withdrawn", s.Withdrawn)
		},
	},
	{
		name: "makes_begun_total", help: "Creations that were begun, by purpose.", kind: counter,
		label: "for", values: func(s *metrics.Snapshot, t label.Tally) {
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
		label: "reason", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Destroyed) },
	},
	{
		name: "hijacked_total", help: "Resources hijacked.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Hijacked) },
	},
	{
		name: "ended_total", help: "Resources ended by the pool rather than by a holder.", kind: counter,
		label: "by", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("eviction", s.Evicted)
			t.Add("health", s.Unhealthy)
			t.Add("invalidate", s.Invalidated)
			t.Add("on_release", s.ReleaseFailed)
		},
	},
	{
		name: "rejections_total", help: "Callers and creations refused, by policy.", kind: counter,
		label: "policy", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Refused) },
	},
	{
		name: "outages_total", help: "Outages that have begun.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Outages) },
	},
	{
		name: "panics_total", help: "Panics contained in functions that the pool called.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Panics) },
	},
	{
		name: "fact_level", help: "Figures specific to the kind of pool that go up and down.", kind: gauge,
		label: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, true) },
	},
	{
		name: "fact_total", help: "Figures specific to the kind of pool that count.", kind: counter,
		label: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, false) },
	},
	{
		name: "quota_granted", help: "Units of a shared quota that this process may use.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Granted) },
	},
	{
		name: "quota_held", help: "Units of a shared quota in use by this process.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Held) },
	},
	{
		name: "quota_wanted", help: "Units of a shared quota that this process asked for.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Want) },
	},
	{
		name: "quota_target", help: "Fair share of this process of a shared quota.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Target) },
	},
	{
		name: "quota_limit", help: "Smallest limit of a shared quota that a process states.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Limit) },
	},
	{
		name: "quota_highest_limit", help: "Largest limit of a shared quota that a process states.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Highest) },
	},
	{
		name: "quota_fleet_granted", help: "Units of a shared quota granted to all processes.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Total) },
	},
	{
		name: "quota_holders", help: "Processes that share a quota.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Holders) },
	},
	{
		name: "quota_waiting", help: "Creations that wait for a unit of a shared quota.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Waiting) },
	},
	{
		name: "quota_learning", help: "1 while the engine of a shared quota grants nothing new, else 0.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return truth(q.Learning) },
	},
	{
		name: "quota_engine_lost_seconds", help: "How long the engine of a shared quota has not answered; 0 while it answers.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return q.Lost.Seconds() },
	},
	{
		name: "quota_over", help: "Units of a shared quota in use beyond the grant.", kind: gauge,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Over) },
	},
	{
		name: "quota_exceeded_total", help: "Units of a shared quota that were ever in use beyond the grant.", kind: counter,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.OverTotal) },
	},
	{
		name: "quota_closed_total", help: "Resources that a shared quota ended.", kind: counter,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Closed) },
	},
	{
		name: "quota_operations_total", help: "Operations of the engine of a shared quota that have ended.", kind: counter,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Operations) },
	},
	{
		name: "quota_operations_failed_total", help: "Operations of the engine of a shared quota that failed.", kind: counter,
		label: "quota", quota: func(q *resource.SharedQuota) float64 { return float64(q.Failed) },
	},
}

// truth returns 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func facts(s *metrics.Snapshot, t label.Tally, level bool) {
	for _, f := range s.Facts {
		if f.Level == level {
			t.Add(f.Name, f.Value)
		}
	}
}
