package live

import (
	"slices"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/text"
)

// pools is every pool at a glance whose name has the text.
func (u *update) pools(find string) glance {
	g := glance{Life: u.life, Time: u.at, Every: seconds(u.every), Pools: []summary{}}
	var shown []*known
	shown, g.More = u.chosen(find)
	for _, k := range shown {
		s := &k.brief
		if k.full != nil { // one figure, wherever it is shown
			s = k.full
		}
		one, problem := u.summary(s, k.problem)
		if problem != k.problem {
			one = summary{Name: s.Name, Problem: problem}
		}
		g.Pools = append(g.Pools, one)
	}
	return g
}

// chosen are the pools whose name has the text, in their order. Of more than can
// be shown, none is left out that is in trouble for one that is not.
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
	well := max(0, maxPools-bad) // how many of them there is room for
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
	return k.problem != "" || k.brief.Outage || k.brief.Overdue > 0 || k.brief.Load.Waiting > 0
}

// summary contains a panic in what others filled in, as another problem.
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
	if s.Outage {
		var d seconds
		if !s.Since.IsZero() {
			d = seconds(max(0, u.at.Sub(s.Since)))
		}
		out.Outage = &d
	}
	if problem == "" {
		out.Wait = toHistogram(s.Wait)
	}
	return out, p
}
