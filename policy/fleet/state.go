package fleet

import (
	"fmt"
	"math"
	"time"

	"github.com/respool/respool/resource"
)

// State is a snapshot of a [Quota].
type State struct {
	resource.SharedQuota

	Slack     int           // units that are granted and not in use
	Fence     uint64        // of the last answer
	Left      time.Duration // until the lease ends, less the margin; 0: there is no lease
	Disagree  bool          // processes state different limits
	Ceiling   int           // most units that the process asks for since the provider refused; 0: no bound
	Refused   int64         // requests that were refused
	Waits     int64         // requests that waited
	TooMany   int64         // refusals of the provider
	Lapses    int64         // times that the lease ended before it was renewed
	Closing   bool          // Close was called
	LastError string        // of the last claim; empty: it was answered
}

// Snapshot returns the state. It does not block.
func (q *Quota) Snapshot() State {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	a := &q.acc
	s := State{
		SharedQuota: resource.SharedQuota{
			Name: q.cfg.Quota, Holder: q.holder, Mode: q.cfg.OnLost.String(),
			Granted: a.granted(now), Held: a.used, Want: a.asked, Limit: a.limit(), Highest: a.cfg.Limit, Waiting: q.waitingLocked(),
			OverTotal: a.overTotal, Closed: q.closedFor, Operations: q.claims, Failed: q.failed,
		},
		Refused: q.refused, Waits: q.waits, TooMany: q.tooMany, Lapses: q.lapses, Closing: a.closing,
	}
	s.Over = max(0, a.used-s.Granted)
	s.Slack = max(0, s.Granted-a.used)
	if a.valid(now) {
		s.Left = a.until - now
	}
	if a.answered {
		s.Target, s.Highest, s.Total, s.Holders = a.target, a.last.Highest, a.last.Total, a.last.Holders
		s.Learning, s.Fence = a.last.Learning, a.last.Fence
		s.Disagree = a.last.Highest > a.last.Limit
	}
	if a.failures > 0 {
		s.Lost, s.LostCause = max(1, now-a.lostAt), q.claimErr
		s.LastError = q.claimErr.Error()
	}
	if a.ceiling != math.MaxInt {
		s.Ceiling = a.ceiling
	}
	return s
}

// SharedQuotas implements [resource.QuotaReporter].
func (q *Quota) SharedQuotas() []resource.SharedQuota {
	return []resource.SharedQuota{q.Snapshot().SharedQuota}
}

// SharedQuotas implements [resource.QuotaReporter].
func (m *Member) SharedQuotas() []resource.SharedQuota { return m.q.SharedQuotas() }

// State implements [resource.Stateful].
func (q *Quota) State() string {
	s := q.Snapshot()
	text := fmt.Sprintf("%s: %d in use of %d granted, target %d of %d, %d holders", s.Name, s.Held, s.Granted, s.Target, s.Limit, s.Holders)
	if s.Waiting > 0 {
		text += fmt.Sprintf(", %d waiting", s.Waiting)
	}
	if s.Learning {
		text += ", learning"
	}
	if s.Lost > 0 {
		text += fmt.Sprintf(", no answer for %v", s.Lost.Round(time.Second/10))
	}
	if s.Over > 0 {
		text += fmt.Sprintf(", %d over", s.Over)
	}
	if s.Disagree {
		text += fmt.Sprintf(", limits from %d to %d", s.Limit, s.Highest)
	}
	return text
}

// State implements [resource.Stateful].
func (m *Member) State() string { return m.q.State() }
