package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// family is the metrics of one name. It has value, or else label and values.
type family struct {
	name, help string
	kind       prometheus.ValueType
	value      func(s *metrics.Snapshot) float64
	label      string
	values     func(s *metrics.Snapshot, t label.Tally)
}

var families = []family{
	{
		name: "resources", help: "Resources by what they do just now.", kind: gauge,
		label: "state", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("idle", int64(s.Idle))
			t.Add("leased", int64(s.Leased))
			t.Add("making", int64(s.Making))
			t.Add("destroying", int64(s.Destroying))
		},
	},
	{
		name: "limit", help: "How many resources there may be.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Max) },
	},
	{
		name: "pending_acquires", help: "Callers that wait for a resource just now.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Load.Waiting) },
	},
	{
		name: "oldest_wait_seconds", help: "For how long the caller has waited that has waited longest.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return s.OldestWait.Seconds() },
	},
	{
		name: "wanted_places", help: "Places that a pool of many under one total is short of.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Wanting) },
	},
	{
		name: "abandoned_makes", help: "Makes given up at their timeout that have not returned.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Abandoned) },
	},
	{
		name: "leases_overdue", help: "Leases that have lasted longer than they should.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Overdue) },
	},
	{
		name: "outage", help: "1 while makes keep failing, else 0.", kind: gauge,
		value: func(s *metrics.Snapshot) float64 {
			if s.Outage {
				return 1
			}
			return 0
		},
	},
	{
		name: "acquires_total", help: "Acquires that have ended: ok, or why they failed.",
		kind: counter, label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.Acquired)
			for reason, n := range s.Failures.All() {
				t.Add(reason.String(), n)
			}
		},
	},
	{
		name: "waits_total", help: "Acquires that had to wait, however they ended.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Waited) },
	},
	{
		name: "waits_ended_total", help: "Acquires that had to wait, when they have ended, by how.", kind: counter,
		label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.WaitsServed)
			t.Add("failed", s.WaitsFailed)
		},
	},
	{
		name: "releases_total", help: "Leases that have ended, in whatever way.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Released) },
	},
	{
		name: "makes_total", help: "Makes that have ended, by how.", kind: counter,
		label: "result", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("ok", s.Made)
			t.Add("failed", s.Failed)
			t.Add("refused", s.Stats.Refused)
			t.Add("withdrawn", s.Withdrawn)
		},
	},
	{
		name: "makes_begun_total", help: "Makes that were begun, by what for.", kind: counter,
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
		name: "destroyed_total", help: "Resources that were destroyed, by why.", kind: counter,
		label: "reason", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Destroyed) },
	},
	{
		name: "hijacked_total", help: "Resources handed out for good.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Hijacked) },
	},
	{
		name: "ended_total", help: "Resources that something other than their holder ended.", kind: counter,
		label: "by", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("eviction", s.Evicted)
			t.Add("health", s.Unhealthy)
			t.Add("invalidate", s.Invalidated)
			t.Add("on_release", s.ReleaseFailed)
		},
	},
	{
		name: "rejections_total", help: "Callers and makes refused, by policy.", kind: counter,
		label: "policy", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Refused) },
	},
	{
		name: "outages_total", help: "Times that makes began to keep failing.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Outages) },
	},
	{
		name: "panics_total", help: "Panics contained in functions that the pool called.", kind: counter,
		value: func(s *metrics.Snapshot) float64 { return float64(s.Panics) },
	},
	{
		name: "fact_level", help: "Figures of this kind of pool that go up and down.", kind: gauge,
		label: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, true) },
	},
	{
		name: "fact_total", help: "Figures of this kind of pool that count.", kind: counter,
		label: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, false) },
	},
}

func facts(s *metrics.Snapshot, t label.Tally, level bool) {
	for _, f := range s.Facts {
		if f.Level == level {
			t.Add(f.Name, f.Value)
		}
	}
}
