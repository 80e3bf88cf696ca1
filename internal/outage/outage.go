// Package outage is a circuit breaker for the creation of resources: it decides when the
// next creation may be tried while creation is failing, and how many may run at once when
// it succeeds again.
//
// Each failure halves how many creations may run at once. After three failures in a row
// there is an outage: one probe is tried, after a delay that grows from failure to failure
// and with the length of the outage, up to five seconds. The delay is jittered, so that
// many processes do not probe in step. A success ends the outage; then two creations may
// run, and each further success allows one more, which doubles them from round to round:
// 1, 2, 4, … A failure during that ramp is an outage again.
package outage

import "time"

const (
	threshold = 3 // failures in a row that make an outage
	firstWait = 50 * time.Millisecond
	nextWait  = 200 * time.Millisecond // the doubling stops here, until the outage lasts long
	// earlyWait is nextWait for resources that die before they do any work: each creation
	// succeeds and lets others begin, so that a probe costs the server several.
	earlyWait = 450 * time.Millisecond
	maxWait   = 5 * time.Second

	// waitPart bounds the delay, beyond these, to that part of the time that the
	// outage has lasted: so an outage lasts an eighth longer for callers than for
	// the server.
	waitPart = 8
)

// Breaker is the circuit breaker. The zero Breaker is closed: there is no outage. Its user
// serializes the calls.
type Breaker struct {
	open     bool
	ramping  bool          // after an outage: limit grows with each success; not read while open
	shaky    bool          // ramping, and no resource created since has been proved; not read while open
	unproved bool          // the last failure was a resource that died before it did any work
	fails    int           // in a row
	probes   int           // failed probes since the last proof
	limit    int           // how many creations at once; 0: no limit
	began    time.Duration // when the outage began, less lasted
	lasted   time.Duration // how long outages have lasted since the last proof
	since    time.Duration // when the last probe failed, or it began
	next     time.Duration // when the next probe may be tried
	died     time.Duration // when the last FailedEarly that counted was reported
}

// Failed records that a creation, begun at started, failed now. running is how many other
// creations run; spread is random in [0,1). It reports whether an outage began.
func (b *Breaker) Failed(now, started time.Duration, running int, spread float64) (began bool) {
	return b.failed(now, started, running, spread, false)
}

// FailedEarly records that a new resource died before it did any work. A successful
// creation does not outweigh this failure: otherwise a server that accepts connections and
// ends them at once would be dialed for ever. A server that stops ends many connections at
// once, so a resource whose creation began before another one died says nothing new.
func (b *Breaker) FailedEarly(now, started time.Duration, running int, spread float64) (began bool) {
	return b.failed(now, started, running, spread, true)
}

func (b *Breaker) failed(now, started time.Duration, running int, spread float64, unproved bool) (began bool) {
	if started < b.since || b.open && started < b.next {
		return false // begun before the outage, or its last failure: says nothing new
	}
	if unproved {
		if started < b.died {
			return false
		}
		b.died = now
	}
	b.unproved = unproved
	b.fails++
	if b.open || b.shaky || b.fails >= threshold {
		began = !b.open
		b.open, b.limit = true, 1
		if b.probes == 0 {
			b.lasted = 0
		}
		if began {
			b.began = now - b.lasted
		}
		b.lasted = now - b.began
		next := nextWait
		if unproved {
			next = earlyWait
		}
		b.since, b.next = now, now+wait(b.probes, next, b.lasted, spread)
		b.probes++
		return began
	}
	b.limit = max(1, (running+1)/2)
	return false
}

// wait returns the delay before probe number n of an outage that has lasted so long: from
// three quarters to all of its upper bound. The doubling stops at next.
func wait(n int, next, lasted time.Duration, spread float64) time.Duration {
	d := next
	if n < 4 {
		d = min(d, firstWait<<n)
	}
	d = min(max(d, lasted/waitPart), maxWait)
	return d - d/4 + time.Duration(spread*float64(d/4))
}

// Overdue records that a creation has run for much longer than creations take, and how
// many others run. It is no failure, since the creation may still succeed, but fewer may
// run at once until one has succeeded.
func (b *Breaker) Overdue(running int) {
	if limit := max(1, (running+1)/2); !b.open && (b.limit == 0 || limit < b.limit) {
		b.limit = limit
	}
}

// Made records that a creation succeeded, of at most size at once. It reports whether an
// outage ended.
func (b *Breaker) Made(started time.Duration, size int) (ended bool) {
	if b.open && b.unproved && started < b.next {
		return false // begun before the resources that died: says nothing new
	}
	ended = b.open
	if b.open {
		b.open, b.ramping, b.shaky = false, true, true
	}
	if !b.unproved {
		b.fails = 0
	}
	switch {
	case b.limit == 0:
	case b.ramping || b.unproved:
		b.limit++
	default:
		b.limit = 0
	}
	if b.limit >= size {
		b.limit, b.ramping, b.shaky = 0, false, false
	}
	return ended
}

// Proved records that a resource did its work: earlier failures count no longer, unless
// there is still an outage.
func (b *Breaker) Proved() {
	b.unproved = false
	if b.open {
		return
	}
	b.fails, b.probes, b.shaky = 0, 0, false
	if !b.ramping {
		b.limit = 0
	}
}

// TryNow lets the next probe be tried at once. If the outage continues after that try, its length
// counts from now, so that the next delays are short again.
func (b *Breaker) TryNow(now time.Duration) {
	if b.open {
		b.began, b.lasted, b.probes = now, 0, 0
		b.next = min(b.next, now)
	}
}

// Open reports whether there is an outage.
func (b *Breaker) Open() bool { return b.open }

// Allowed returns how many creations may run at once, of at most size.
func (b *Breaker) Allowed(now time.Duration, size int) int {
	switch {
	case b.open && now < b.next:
		return 0
	case b.limit == 0:
		return size
	}
	return min(b.limit, size)
}

// RetryAfter returns how long until the next probe may be tried; 0 if it may now, or if
// there is no outage.
func (b *Breaker) RetryAfter(now time.Duration) time.Duration {
	if !b.open {
		return 0
	}
	return max(0, b.next-now)
}
