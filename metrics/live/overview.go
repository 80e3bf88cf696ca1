package live

import (
	"slices"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/spread"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// pools returns the overview of the pools whose name contains find.
func (u *update) pools(find string) overview {
	g := overview{Life: u.life, Time: u.at, Every: seconds(u.every), Docs: u.docs, Pools: []summary{}}
	var shown []*known
	shown, g.More = u.chosen(find)
	for _, k := range shown {
		s := &k.brief
		if k.full != nil { // so that a pool has the same figures on its page
			s = k.full
		}
		one, problem := u.summary(s, k.problem)
		if problem != k.problem {
			one = summary{Name: s.Name, Problem: problem, Flags: flagsOf(s, problem, 0, 0)}
		}
		g.Pools = append(g.Pools, one)
	}
	return g
}

// chosen returns the pools whose name contains find, in their order. If there are more
// than maxPools, pools in trouble are preferred.
func (u *update) chosen(find string) (shown []*known, more int) {
	bad := 0
	for i := range u.known {
		if k := &u.known[i]; contains(k.brief.Name, find) {
			shown = append(shown, k)
			if k.troubled() {
				bad++
			}
		}
	}
	more = max(0, len(shown)-maxPools)
	well := max(0, maxPools-bad) // room for pools that are not in trouble
	if more > 0 {
		shown = slices.DeleteFunc(shown, func(k *known) bool {
			if k.troubled() {
				return false
			}
			well--
			return well < 0
		})
	}
	return first(shown, maxPools), more
}

func (k *known) troubled() bool {
	return k.problem != "" || k.brief.Outage || k.brief.Overdue > 0 || k.brief.Load.Waiting > 0 ||
		slices.ContainsFunc(k.brief.Quotas, func(q resource.SharedQuota) bool { return q.Lost > 0 || q.Over > 0 || q.Total > q.Limit }) ||
		slices.ContainsFunc(k.brief.Multiplexers, func(m resource.Multiplexer) bool { return m.Waiting > 0 }) ||
		k.brief.Endpoints != nil && (k.brief.Endpoints.Panic || k.brief.Endpoints.ResolverErr != nil)
}

// toEndpoints returns what the overview shows of e.
func toEndpoints(e *resource.Endpoints) *endpoints {
	if e == nil {
		return nil
	}
	out := &endpoints{
		Matched: len(e.All), Priority: e.Priority, Panic: e.Panic, Failovers: e.Failovers, Failbacks: e.Failbacks, Updates: e.Updates,
		UpdatesFailed: e.UpdatesFailed, ResolverErr: text.Of(e.ResolverErr), Moved: e.Moved, MovesFailed: e.MovesFailed,
	}
	for i := range e.All {
		if e.All[i].Ejected {
			out.Ejected++
		}
	}
	return out
}

// toEndpointRows returns what the page of a pool shows of its endpoints.
func toEndpointRows(all []resource.EndpointInfo) []endpoint {
	var names label.Names // two addresses may differ by a secret
	out := make([]endpoint, len(all))
	for i, e := range all {
		out[i] = endpoint{
			Addr: names.Unique(text.Discreet(e.Addr)), Zone: cut(e.Zone), Priority: e.Priority, Status: text.Discreet(e.Status), Cause: text.Of(e.Cause), For: seconds(e.For),
			Ranked: e.Ranked, Failing: e.Failing, Ejected: e.Ejected, Share: spread.Finite(e.Share), Load: e.Load, Latency: seconds(e.Latency),
			Idle: e.Idle, Leased: e.Leased, Shared: e.Shared, Making: e.Making, Begun: e.Begun, Good: e.Good, Bad: e.Bad, Refused: e.Refused,
			Ejections: e.Ejections, Probes: e.Probes, Moved: e.Moved,
		}
	}
	return out
}

// toMultiplexer returns what the overview shows of m.
func toMultiplexer(m *resource.Multiplexer) multiplexer {
	return multiplexer{
		Name: cut(m.Name), Held: m.Held, Draining: m.Draining, Limit: m.Limit, InFlight: m.InFlight, Busiest: m.Busiest,
		Waiting: m.Waiting, Oldest: seconds(m.OldestWait), Orphans: m.Orphans, MaxOrphans: m.MaxOrphans, Streams: m.Streams, Queued: m.Queued,
		Acquired: m.Acquired, Calls: m.Calls, NotSent: m.NotSent, MayHaveRun: m.MayHaveRun, Writes: m.Batches, Messages: m.Messages,
		Retried: m.Retried, Replayed: m.Replayed, Orphaned: m.Orphaned, Late: m.Late, Unknown: m.Unknown, Bad: m.Bad, Unwanted: m.Unwanted,
		EventsDropped: m.EventsDropped, StreamDropped: m.StreamDropped, Resumes: m.Resumes, Gaps: m.Gaps, Panics: m.Panics,
	}
}

// toMuxConns returns what the page of a pool shows of the resources that a multiplexer holds.
func toMuxConns(all []resource.MultiplexedResource) []muxConn {
	out := make([]muxConn, len(all))
	for i, r := range all {
		out[i] = muxConn{
			ID: r.ID, InFlight: r.InFlight, Orphans: r.Orphans, Streams: r.Streams, Queued: r.Queued, Draining: r.Draining, Cause: text.Of(r.Cause),
			Dedicated: r.Dedicated, Calls: r.Calls, Writes: r.Batches, Messages: r.Messages, Late: r.Late, Unknown: r.Unknown, Bad: r.Bad,
		}
	}
	return out
}

func toQuota(q resource.SharedQuota) quota {
	out := quota{
		Name: cut(q.Name), Holder: cut(q.Holder), Mode: text.Discreet(q.Mode),
		Granted: q.Granted, Held: q.Held, Want: q.Want, Target: q.Target, Limit: q.Limit, Highest: q.Highest,
		Total: q.Total, Holders: q.Holders, Waiting: q.Waiting, Learning: q.Learning,
		Over: q.Over, OverTotal: q.OverTotal, Closed: q.Closed, Operations: q.Operations, Failed: q.Failed,
	}
	if d := seconds(q.Lost); q.Lost > 0 {
		out.Lost, out.Cause = &d, text.Of(q.LostCause)
	}
	return out
}

// summary returns a pool for the overview. A panic in an error of the user becomes
// another problem.
func (u *update) summary(s *metrics.Snapshot, problem string) (out summary, p string) {
	p = problem
	defer contain(&p, "a look at its snapshot")
	out = summary{
		Name: s.Name, Problem: problem,
		Max: s.Max, Idle: s.Idle, Leased: s.Leased, Making: s.Making, Dying: s.Destroying,
		Lost: s.Abandoned, Waiting: s.Load.Waiting, Wanting: s.Wanting,
		Oldest: seconds(s.OldestWait), Overdue: s.Overdue, Cause: text.Of(s.LastMake),
		Failures: failures(s.Failures),
		Counts: counts{
			Acquired: s.Acquired, Released: s.Released, Waited: s.Waited, WaitTime: seconds(s.WaitTime),
			Canceled: s.Canceled, Rejected: s.Rejected, Unserved: unserved(s.Failures), Made: s.Made, MakeTime: seconds(s.MakeTime),
			Failed: s.Failed, Refused: s.Stats.Refused, Destroyed: s.Stats.Destroyed, Hijacked: s.Hijacked,
			Evicted: s.Evicted, Unhealthy: s.Unhealthy, Invalidated: s.Invalidated, Panics: s.Panics,
		},
	}
	for _, q := range first(s.Quotas, u.limit) {
		out.Quotas = append(out.Quotas, toQuota(q))
	}
	for i := range first(s.Multiplexers, u.limit) {
		out.Multiplexers = append(out.Multiplexers, toMultiplexer(&s.Multiplexers[i]))
	}
	out.Endpoints = toEndpoints(s.Endpoints)
	out.Layers = (*layers)(metrics.LayersOf(&s.Inspection))
	var outage seconds
	if s.Outage {
		if !s.Since.IsZero() {
			outage = seconds(max(0, u.at.Sub(s.Since)))
		}
		out.Outage = &outage
	}
	out.Flags = flagsOf(s, problem, time.Duration(outage), u.limit)
	if problem == "" {
		out.Wait = toHistogram(s.Wait)
	}
	return out, p
}
