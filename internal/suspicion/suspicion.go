// Package suspicion decides from failed health checks whether resources that have been
// idle since before can be trusted.
//
// One quick failed check says little: the next resource is checked as quickly. A failed
// check that took longer than the creation of a resource takes (and than a tenth of a
// second), or two failures in a row, make all idle resources suspect: a server that
// vanished took all of its connections with it, and checking them one after the other
// costs a time-out each. A check that passes on a suspect resource ends the suspicion.
package suspicion

import "time"

// Suspicion is what follows from the checks so far. The zero Suspicion trusts every
// resource. Its user serializes the calls.
//
// Times are ticks of one clock. since is the tick from which the checked resource had been
// idle.
type Suspicion struct {
	active bool
	begun  int64 // tick of the last failure that was news, while active
	failed int   // failed checks in a row, while not active
	cut    int   // slow checks that the end of the caller's context cut short, since one passed
}

const (
	quick        = 100 * time.Millisecond // hardly noticed, however fast creations are
	enoughFailed = 2                      // quick failures in a row
	enoughCut    = 2                      // slow checks that were cut short, in a row
)

// Failed records a failed check that took so long. usual is how long a creation takes. It
// reports whether resources that were trusted are suspect now.
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

// Cut records a check that had taken so long when its caller's context ended. One such
// check may have had a short deadline; two in a row mean that resources do not answer. It
// reports whether resources that were trusted are suspect now.
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

// begin makes suspect every resource that has been idle since a tick before now; the one
// whose check failed has been.
func (s *Suspicion) begin(now int64) { *s = Suspicion{active: true, begun: now} }

// Passed records a check that passed. It reports whether the suspicion ended: it does not
// if the resource became idle after it began.
func (s *Suspicion) Passed(since int64) (ends bool) {
	if s.active && !s.Covers(since) {
		return false
	}
	ends = s.active
	*s = Suspicion{}
	return ends
}

// Clear ends the suspicion: no suspect resource is left.
func (s *Suspicion) Clear() { *s = Suspicion{} }

// Active reports whether resources may be suspect.
func (s *Suspicion) Active() bool { return s.active }

// Alert reports whether the next check can change anything by passing.
func (s *Suspicion) Alert() bool { return s.active || s.failed > 0 || s.cut > 0 }

// Covers reports whether a resource that has been idle since that tick is suspect.
func (s *Suspicion) Covers(since int64) bool { return s.active && since < s.begun }
