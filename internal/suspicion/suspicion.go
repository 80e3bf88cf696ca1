// Package suspicion decides from failed health checks whether the resources
// that have been idle since before are to be trusted.
//
// One failed check that was quick says little: the next resource is checked just
// as quickly. One that took longer than a new resource takes to make (and than a
// tenth of a second), or two failures in a row, make everything idle suspect: a server that is gone without
// a word took all of its connections with it, and checking them one after the
// other takes a time-out each. A check that passes on something suspect ends the
// suspicion.
package suspicion

import "time"

// Suspicion is what the checks so far say. The zero Suspicion trusts everything.
// Its user serialises the calls.
//
// Times are ticks of one clock. since is the tick from which the resource that
// was checked had been idle.
type Suspicion struct {
	active bool
	begun  int64 // tick of the last failure that was news, while active
	failed int   // checks in a row, while not active
	cut    int   // slow checks that ended with their caller's patience, since one passed
}

const (
	quick        = 100 * time.Millisecond // hardly noticed, however fast makes are
	enoughFailed = 2                      // quick failures in a row
	enoughCut    = 2                      // slow checks that nobody waited for to the end
)

// Failed records a failed check that took so long. usual is how long a new
// resource takes to make. It reports whether something that was trusted is
// suspect now.
func (s *Suspicion) Failed(now, since int64, took, usual time.Duration) (begins bool) {
	if s.Covers(since) {
		return false
	}
	if s.failed++; !s.active && took <= max(usual, quick) && s.failed < enoughFailed {
		return false
	}
	s.begin(now)
	return true
}

// Cut records a check that had taken so long when its caller had to leave. One
// may have been a caller in a hurry; two in a row tell of a resource that does
// not answer. It reports whether something that was trusted is suspect now.
func (s *Suspicion) Cut(now, since int64, took, usual time.Duration) (begins bool) {
	if took <= max(usual, quick) || s.Covers(since) {
		return false
	}
	if s.cut++; s.cut < enoughCut {
		return false
	}
	s.begin(now)
	return true
}

// begin makes what was idle before now suspect. What has been idle since an
// earlier tick than now has; so has what the failure was about.
func (s *Suspicion) begin(now int64) { *s = Suspicion{active: true, begun: now} }

// Passed records a check that passed. It reports whether a suspicion ended: not
// if the resource is newer than that.
func (s *Suspicion) Passed(since int64) (ends bool) {
	if s.active && !s.Covers(since) {
		return false
	}
	ends = s.active
	*s = Suspicion{}
	return ends
}

// Clear ends the suspicion when nothing is left that is suspect.
func (s *Suspicion) Clear() { *s = Suspicion{} }

// Active reports whether something may be suspect.
func (s *Suspicion) Active() bool { return s.active }

// Alert reports whether the next check can change anything by passing.
func (s *Suspicion) Alert() bool { return s.active || s.failed > 0 || s.cut > 0 }

// Covers reports whether what has been idle since that tick is suspect.
func (s *Suspicion) Covers(since int64) bool { return s.active && since < s.begun }
