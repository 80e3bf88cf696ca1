package fleet

import (
	"math"
	"time"

	"github.com/respool/respool/internal/random"
)

// account is the state of one process's part in the quota. It decides how many units may be
// used, and when to claim how many. Its methods need Quota.mu held. Times are since New, on the
// monotonic clock.
type account struct {
	cfg Config // constant

	used    int // units in use
	waiting int // units that requests wait for
	peaks   peaks

	answered  bool          // the ledger has answered at least once
	last      Grant         // its last answer
	seen      int           // holders at the last answer without Learning, or the most since; 0: no such answer
	allowance int           // units that the ledger has recorded for this process, while the lease lasts
	target    int           // of the last answer
	unmet     bool          // it granted less than was wanted
	room      int           // of the last answer: granted units that are within the limit, see fair
	until     time.Duration // when the lease ends, less the margin; 0: there was none
	expired   bool          // lapseLocked has handled the end of the lease
	lapsed    bool          // the lease has ended since the last answer without Learning

	seq      uint64
	asked    int           // Want of the last claim
	has      int           // Has of the last claim
	sentAt   time.Duration // when it was sent
	renewAt  time.Duration // when to renew
	sooner   time.Duration // when the ledger may have free units before renewAt; 0: it is not expected to
	hungry   int           // answers in a row that granted less than the target
	failures int           // claims that failed in a row
	lostAt   time.Duration // when the first of these failed
	retryAt  time.Duration

	ceiling int           // the most that the provider is believed to accept
	calmAt  time.Duration // until then nothing is admitted: the provider refused
	backoff time.Duration // the last time without admissions
	raiseAt time.Duration // when the ceiling rises

	closing   bool
	left      bool  // the ledger knows that this process has nothing and wants nothing
	over      int   // units in use beyond the allowance
	overTotal int64 // units that ever became so
}

func newAccount(cfg Config) account {
	a := account{cfg: cfg, ceiling: math.MaxInt}
	a.peaks.period = cfg.Lease / 3
	return a
}

// stagger returns how long after the end of another holder's lease to claim. It is random, so
// that the holders that lack units do not all claim at once. Among more than secondHerd holders
// most wait for their next renewal instead: that of one of them is near.
func (a *account) stagger(g *Grant) time.Duration {
	d := time.Millisecond + time.Duration(random.Int64N(int64(a.gap())))
	switch {
	case g.Learning || random.IntN(g.Holders+1) < firstHerd:
		return d
	case g.Holders <= secondHerd:
		return d + time.Duration(random.Int64N(int64(min(a.cfg.Lease/12, 800*time.Millisecond))))
	}
	return forever
}

// When the lease of a holder ends, firstHerd of the holders that lack units claim at once, on
// average; the others follow a little later, or at their renewal if there are more than
// secondHerd.
const (
	firstHerd  = 8
	secondHerd = 64
)

// Rates of claims, in parts of the lease.
const (
	renewals  = 3   // renewals per lease
	gapPart   = 100 // Lease/gapPart: least time between claims that are not renewals
	retryPart = 30  // Lease/retryPart: before the first retry; doubles up to Lease/renewals
)

// gap is the least time between two claims, if none has failed.
func (a *account) gap() time.Duration { return a.cfg.Lease / gapPart }

// valid reports whether the lease lasts.
func (a *account) valid(now time.Duration) bool { return now < a.until }

// granted returns how many units the ledger has recorded for this process.
func (a *account) granted(now time.Duration) int {
	if !a.valid(now) {
		return 0
	}
	return a.allowance
}

// limit returns the smallest limit that is known.
func (a *account) limit() int {
	if !a.answered {
		return a.cfg.Limit
	}
	return min(a.cfg.Limit, a.last.Limit)
}

// share returns how many units the process may have without the ledger, with LocalShare.
func (a *account) share() int {
	n := 1
	if a.seen > 0 {
		n = a.limit() / a.seen
	}
	return max(1, a.cfg.Min, n)
}

// outlook says what happens to a request that exceeds the bound.
type outlook uint8

const (
	hopeful outlook = iota // it waits: a unit may come
	lost                   // it is refused: the ledger does not answer
	calming                // it is refused: the provider has reported too many
)

// bound returns how many units may be in use, and what happens to requests beyond that.
func (a *account) bound(now time.Duration) (units int, o outlook) {
	switch {
	case now < a.calmAt:
		return 0, calming
	case a.valid(now):
		units = min(a.allowance, a.fair())
		if a.last.Learning {
			units = max(units, a.alone())
		}
	case a.failures > 0:
		units, o = a.alone(), lost
	}
	return min(units, a.ceiling), o
}

// fair returns how many units the process may have, in use or not. While the ledger has granted
// more than the limit, because holders stated more, a returned unit must not be used again:
// another holder may have been granted it.
func (a *account) fair() int { return min(a.target, a.room) }

// alone returns how many units the process may have while the ledger is lost or learning.
func (a *account) alone() int {
	switch a.cfg.OnLost {
	case LocalShare:
		return a.share()
	case FailOpen:
		return math.MaxInt
	}
	return 0
}

// take notes that n more units are in use.
func (a *account) take(n int, now time.Duration) {
	a.used += n
	a.peaks.of[0] = max(a.peaks.of[0], a.used+a.waiting)
	if a.used > a.allowance || !a.valid(now) {
		a.countOver(now)
	}
}

// wait notes that a request waits for n units.
func (a *account) wait(n int) {
	a.waiting += n
	a.peaks.of[0] = max(a.peaks.of[0], a.used+a.waiting)
}

// give notes that n units are not in use any more.
func (a *account) give(n int, now time.Duration) {
	a.used -= n
	if a.over > 0 {
		a.countOver(now)
	}
	if a.lapsed {
		a.room = min(a.room, a.used)
	}
}

// ordinary reports whether a returned unit changes nothing but the number in use.
func (a *account) ordinary() bool {
	return a.over == 0 && !a.closing && a.allowance <= a.fair() && !a.last.Learning
}

// countOver updates over, and counts a unit in overTotal when it begins to exceed the allowance.
func (a *account) countOver(now time.Duration) {
	over := max(0, a.used-a.granted(now))
	a.overTotal += int64(max(0, over-a.over))
	a.over = over
}

// surplus returns how many units in use must be given up; all is set if every unit must.
func (a *account) surplus(now time.Duration) (units int, all bool) {
	switch {
	case a.cfg.CloseBeforeExpiry && a.answered && !a.valid(now):
		return a.used, true
	case a.valid(now) && !a.last.Learning:
		return max(0, a.used-a.target), false
	}
	return 0, false
}

// contended reports whether the quota was in full use at the last answer.
func (a *account) contended() bool { return a.answered && a.last.Total >= a.limit() }

// want returns how many units to ask for in total.
func (a *account) want(now time.Duration) int {
	if a.closing {
		return a.used
	}
	// While others lack units only a recent peak counts, so that a resource that is being
	// replaced keeps its unit. Otherwise a unit is given back when it was not needed for a
	// lease.
	demand := a.used + a.waiting
	n := max(demand, a.peaks.max(renewals))
	if a.contended() {
		n = max(demand, a.peaks.max(1))
	} else {
		n += a.cfg.Slack
	}
	return max(a.used, min(n, a.ceiling, MaxUnits))
}

// prepare begins a claim. Units that it does not state in Has must not be used from now on.
func (a *account) prepare(now time.Duration) Claim {
	a.peaks.note(now, a.used+a.waiting)
	a.raise(now)
	want := a.want(now)
	has := a.used
	if a.valid(now) {
		kept := min(a.allowance, want)
		if !a.last.Learning {
			kept = min(kept, a.fair()) // bound lets no more be used
		}
		has = max(has, kept)
		a.allowance = min(a.allowance, has)
	}
	has = min(has, MaxUnits)
	a.seq++
	a.asked, a.has, a.sentAt, a.sooner = max(want, has), has, now, 0
	return Claim{
		Seq: a.seq, Has: has, Want: a.asked, Min: a.cfg.Min, Priority: a.cfg.Priority, Limit: a.cfg.Limit, Lease: a.cfg.Lease,
	}
}

// succeed notes the answer to a claim that was sent at sent.
func (a *account) succeed(sent, now time.Duration, g Grant) {
	a.answered, a.last, a.failures = true, g, 0
	switch {
	case !g.Learning:
		a.seen = g.Holders
	case a.seen > 0:
		a.seen = max(a.seen, g.Holders)
	}
	if until := sent + min(g.Lease, a.cfg.Lease) - a.cfg.Margin; until > now {
		a.until, a.allowance, a.target, a.expired = until, g.Granted, g.Target, false
		a.room = max(0, g.Granted-max(0, g.Total-g.Limit))
		if a.lapsed = a.lapsed && g.Learning; a.lapsed {
			a.room = min(a.room, a.used)
		}
	}
	a.unmet = g.Granted < a.asked
	a.renewAt = sent + a.cfg.Lease/renewals + spread(a.cfg.Lease/renewals/20)
	if g.Granted < a.asked && g.Next > 0 {
		a.sooner = now + g.Next + a.stagger(&g)
	}
	if g.Granted >= g.Target || g.Learning {
		a.hungry = 0
	} else { // others have more than their share, and are giving it up
		soon := sent + jittered(a.cfg.Lease/retryPart<<min(a.hungry, 6))
		if a.hungry++; a.sooner == 0 || soon < a.sooner {
			a.sooner = soon
		}
	}
	// A unit may have come into use after the claim was sent, with LocalShare or FailOpen.
	a.left = a.closing && a.asked == 0 && a.used == 0
	a.countOver(now)
}

// spread returns between -d and d.
func spread(d time.Duration) time.Duration { return time.Duration(random.Int64N(2*int64(d)+1)) - d }

// jittered returns between nine tenths of d and d.
func jittered(d time.Duration) time.Duration {
	return d - time.Duration(random.Int64N(int64(d)/10+1))
}

// fail notes that a claim failed.
func (a *account) fail(now time.Duration) {
	if a.failures == 0 {
		a.lostAt = now
	}
	wait := min(a.cfg.Lease/retryPart<<min(a.failures, 6), a.cfg.Lease/renewals)
	a.failures++
	a.retryAt = now + wait/2 + time.Duration(random.Int64N(int64(wait)/2+1))
	a.countOver(now)
}

// next returns when to make the next claim.
func (a *account) next(now time.Duration) time.Duration {
	switch {
	case a.failures > 0:
		return a.retryAt
	case !a.answered:
		return now
	case a.closing && a.used == 0, !a.valid(now):
		return max(now, min(a.renewAt, a.sentAt+a.gap()))
	}
	at := a.renewAt
	if a.sooner > 0 {
		at = min(at, a.sooner)
	}
	if a.grows(now) || a.owes() || a.unstated() {
		at = min(at, a.sentAt+a.gap())
	}
	return max(now, at)
}

// grows reports whether to claim more before the next renewal. If the ledger could not grant
// what the last claim wanted, that is once the demand has doubled.
func (a *account) grows(now time.Duration) bool {
	if a.closing || a.peaks.of[0] <= a.asked {
		return false
	}
	return !a.unmet || a.want(now) >= 2*a.asked
}

// unstated reports whether more units are in use than the ledger knows of: LocalShare admits
// requests while it is learning, also while a claim is under way that was to say less.
func (a *account) unstated() bool { return a.used > max(a.allowance, a.has) }

// owes reports whether the process has free units that others lack.
func (a *account) owes() bool {
	return !a.last.Learning && a.allowance > max(a.used, a.fair())
}

// tooMany notes that the provider has refused a resource in addition to those in use.
// Refusals that arrive while nothing is admitted belong to the same burst.
func (a *account) tooMany(now time.Duration) {
	a.ceiling = max(1, min(a.ceiling, a.used))
	if now < a.calmAt {
		return
	}
	a.backoff = min(max(2*a.backoff, a.cfg.Lease/10), 6*a.cfg.Lease)
	a.calmAt = now + jittered(a.backoff)
	a.raiseAt = a.calmAt + a.cfg.Lease/renewals
}

// raise lets the ceiling rise by one for each interval between renewals without a refusal.
func (a *account) raise(now time.Duration) {
	if a.ceiling == math.MaxInt || now < a.raiseAt {
		return
	}
	a.raiseAt = now + a.cfg.Lease/renewals
	if a.ceiling++; a.ceiling > a.limit() {
		a.ceiling, a.backoff = math.MaxInt, 0
	}
}

// peaks has the largest demand of the last few periods.
type peaks struct {
	period time.Duration
	since  time.Duration     // when the current period began
	of     [renewals + 1]int // of[0] is the current one's
}

// note notes a demand.
func (p *peaks) note(now time.Duration, demand int) {
	if passed := int((now - p.since) / p.period); passed > 0 {
		for range min(passed, len(p.of)) {
			copy(p.of[1:], p.of[:])
			p.of[0] = demand
		}
		p.since += time.Duration(passed) * p.period
	}
	p.of[0] = max(p.of[0], demand)
}

// max returns the largest demand in the current period and the n before it.
func (p *peaks) max(n int) (most int) {
	for _, demand := range p.of[:n+1] {
		most = max(most, demand)
	}
	return most
}
