package resource

import "time"

// call is one call of a user's function about an idle resource: a Health check in
// the background, OnRelease, or the check of a ReleaseAfter.
type call struct {
	began         time.Duration
	awaited       bool // an acquire with NoWait waits for it
	left          bool // that one does not any more
	slow, overdue bool
	prev, next    *call
}

// callList is the calls of one kind that run, in the order in which they began. It
// counts those that take long: look moves each call into a count at most once.
// Its user holds the pool's lock.
type callList struct {
	limit       time.Duration // from which a call is overdue
	slowAfter   time.Duration // from which a call is slow
	front, back *call
	n           int
	awaited     int   // calls for which an acquire with NoWait waits
	left        int   // calls for which one has waited
	slow        int   // calls that have run for that long
	overdue     int   // calls that have outlived their context
	notSlow     *call // the first that is not slow
	notOverdue  *call // the first that is not overdue
}

// slowAfter is how long a call about an idle resource may take before growth stops
// counting on its end. A packet that was lost once has been sent again by then:
// TCP's first retransmission waits for at most a second.
const slowAfter = 1500 * time.Millisecond

// callGrace is how much longer than its context a call may take.
func callGrace(timeout time.Duration) time.Duration { return min(timeout/10, time.Second) }

func (l *callList) add(c *call) {
	c.prev = l.back
	if l.back == nil {
		l.front = c
	} else {
		l.back.next = c
	}
	l.back = c
	if l.notSlow == nil {
		l.notSlow = c
	}
	if l.notOverdue == nil {
		l.notOverdue = c
	}
	l.n++
	if c.awaited {
		l.awaited++
	}
}

func (l *callList) remove(c *call) {
	if c.prev == nil {
		l.front = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.back = c.prev
	} else {
		c.next.prev = c.prev
	}
	if l.notSlow == c {
		l.notSlow = c.next
	}
	if l.notOverdue == c {
		l.notOverdue = c.next
	}
	if c.slow {
		l.slow--
	}
	if c.overdue {
		l.overdue--
	}
	if c.awaited {
		l.awaited--
	}
	if c.left {
		l.left--
	}
	l.n--
}

// leave notes that no acquire waits for c any more.
func (l *callList) leave(c *call) {
	c.awaited, c.left = false, true
	l.awaited--
	l.left++
}

// look brings the counts up to date. next is after how long one more call becomes
// slow; 0: never.
func (l *callList) look(now time.Duration) (next time.Duration) {
	for l.notOverdue != nil && now-l.notOverdue.began >= l.limit {
		l.notOverdue.overdue = true
		l.overdue++
		l.notOverdue = l.notOverdue.next
	}
	for l.notSlow != nil && now-l.notSlow.began >= l.slowAfter {
		l.slowDown(l.notSlow)
		l.notSlow = l.notSlow.next
	}
	if l.notSlow != nil {
		next = l.notSlow.began + l.slowAfter - now
	}
	return next
}

// slowDown counts c as slow.
func (l *callList) slowDown(c *call) {
	if !c.slow {
		c.slow = true
		l.slow++
	}
}

// markSlow counts every call that runs as slow.
func (l *callList) markSlow() {
	for ; l.notSlow != nil; l.notSlow = l.notSlow.next {
		l.slowDown(l.notSlow)
	}
}

// checkBound is how many checks run at once in the background of a pool of that
// maximum, and how many more may be overdue.
func checkBound(size int) int { return min(maxChecks, max(1, size/4)) }

const maxChecks = 8

// userCalls has the calls of user functions about idle resources that run. Its user
// holds the pool's lock.
type userCalls struct {
	clock    *clock   // constant
	checks   callList // Health checks in the background
	resets   callList // of OnRelease
	vettings callList // of the checks that ReleaseAfter was given
}

// offList is how many idle resources are in no list because OnRelease or the check of
// a ReleaseAfter runs for them.
func (c *userCalls) offList() int { return c.resets.n + c.vettings.n }

// comingBack is how many of the idle resources for which a user function runs are
// likely to serve a waiter soon: not those for which it has run for long, and not
// suspect ones that are checked. reserved are those in the idle list. again is after
// how long the number falls unless a call ends before; 0: never.
func (c *userCalls) comingBack(now time.Duration, reserved int) (n int, again time.Duration) {
	n = reserved + c.offList()
	for _, l := range []*callList{&c.checks, &c.resets, &c.vettings} {
		if l.n == 0 {
			continue
		}
		next := l.look(now)
		n -= l.slow
		if next > 0 && (again == 0 || next < again) {
			again = next
		}
	}
	return n, again
}

// overdue is how many calls have outlived their contexts, or would have if they had
// one that ends.
func (c *userCalls) overdue() int {
	if c.checks.n+c.offList() == 0 {
		return 0
	}
	now := c.clock.now()
	c.checks.look(now)
	c.resets.look(now)
	c.vettings.look(now)
	return c.checks.overdue + c.resets.overdue + c.vettings.overdue
}

// recoverable reports whether a resource may still serve a waiter when the call for it
// has returned. reserved are those in the idle list.
func (c *userCalls) recoverable(reserved int) bool {
	n := reserved + c.offList()
	return n > 0 && n > c.overdue()
}
