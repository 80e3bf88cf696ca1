package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/settings"
	"github.com/respool/respool/resource"
)

// Inspect returns a snapshot with at most limit connections of all endpoints and as many waiting
// callers, as [wspool.Manager.Inspect] does, with the endpoints and with what was attached in
// Multiplexers. It does not wait, so a metrics.Meter can watch the Cluster.
func (c *Cluster) Inspect(limit int) resource.Inspection {
	in := c.manager.Inspect(limit)
	in.Multiplexers = c.attached.All(limit)
	s := c.Stats()
	in.Endpoints = endpointsOf(&s, time.Now())
	in.Panics += c.moves.panics.Load() + s.Set.Panics
	if limit > 0 {
		in.Settings = slices.Concat(c.shown, slices.DeleteFunc(in.Settings, func(s resource.Setting) bool {
			return s.Of == "wspool.ManagerConfig" // of the manager that c has made
		}))
		for i := range c.shown {
			if s := &in.Settings[i]; s.Name == "MaxTotal" && in.Max != c.cfg.MaxTotal {
				s.Value = fmt.Sprintf("%s, resized to %d", s.Value, in.Max)
			}
		}
	}
	return in
}

// settingsOf returns what Inspect lists of the settings of a cluster with cfg. MaxSize of a
// wspool.Config is MaxEach where it is 0.
func settingsOf(cfg Config) []resource.Setting {
	filled := func(c Config) Config {
		c = c.withDefaults()
		c.Choices = cmp.Or(c.Choices, endpoint.DefaultChoices)
		c.MaxEjected = cmp.Or(c.MaxEjected, endpoint.DefaultMaxEjected)
		c.PanicBelow = cmp.Or(c.PanicBelow, endpoint.DefaultPanicBelow)
		c.ProbeDelay = cmp.Or(c.ProbeDelay, endpoint.DefaultProbeDelay)
		c.MaxProbeDelay = cmp.Or(c.MaxProbeDelay, max(endpoint.DefaultMaxProbeDelay, c.ProbeDelay))
		c.ProbeTimeout = cmp.Or(c.ProbeTimeout, endpoint.DefaultProbeTimeout)
		c.FailbackAfter = cmp.Or(c.FailbackAfter, endpoint.DefaultFailbackAfter)
		return c
	}
	zero := filled(Config{MaxTotal: cfg.MaxTotal})
	zero.MaxTotal = 0 // it is required
	var all []resource.Setting
	for _, f := range settings.Of(cfg, filled(cfg), zero) {
		all = append(all, resource.Setting{Of: "cluster.Config", Name: f.Name, Value: f.Value, Default: f.Default})
	}
	return all
}

// Attach lists r in the Multiplexers of [Cluster.Inspect] until detach is called, as
// [wspool.Pool.Attach] does. A mux.Client attaches itself.
func (c *Cluster) Attach(r resource.MultiplexReporter) (detach func()) {
	return c.attached.Add(struct{}{}, r)
}

// endpointsOf returns s in the form of an Inspection.
func endpointsOf(s *Stats, now time.Time) *resource.Endpoints {
	out := &resource.Endpoints{
		All: make([]resource.EndpointInfo, len(s.Endpoints)), Priority: s.Set.Priority, Panic: s.Set.Panic,
		Failovers: s.Set.Failovers, Failbacks: s.Set.Failbacks, Updates: s.Set.Updates, UpdatesFailed: s.Set.Failed,
		ResolverErr: cmp.Or(s.Set.UpdateErr, s.Set.ResolverErr), Moved: s.Moved, MovesFailed: s.MovesFailed,
	}
	sum := 0.0
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Ranked {
			sum += e.Share
		}
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		info := resource.EndpointInfo{
			Addr: e.Endpoint.Addr, Zone: e.Endpoint.Zone, Priority: e.Endpoint.Priority, Status: e.Status.String(), Cause: e.Cause,
			For: max(0, now.Sub(e.Since)), Ranked: e.Ranked, Failing: e.Failing, Ejected: e.Status == endpoint.Ejected || e.Status == endpoint.Probing,
			Load: e.Load, Latency: e.Latency, Idle: e.Pool.Idle, Leased: e.Pool.Leased, Shared: e.Shared, Making: e.Pool.Making,
			Begun: e.Begun, Good: e.Good, Bad: e.Bad, Refused: e.Refused, Ejections: e.Ejections, Probes: e.Probes, Moved: e.Moved,
		}
		if e.Ranked && sum > 0 {
			info.Share = e.Share / sum
		}
		out.All[i] = info
	}
	return out
}
