package resource

import "time"

// call is one call of a user's function about an idle resource that is aside: a
// Health check that runs in the background, or OnRelease.
type call struct {
	began         time.Duration
	trial         bool // a caller that must not wait still waits for it
	slow, overdue bool
	prev, next    *call
}

// callList is the calls of one kind that run, in the order in which they began.
// It counts those that take long: each moves into a count at most once, however
// many run. Its user holds the pool's lock.
type callList struct {
	limit       time.Duration // from which a call is overdue
	front, back *call
	n           int
	trials      int   // calls with trial set
	slow        int   // calls that callers do not wait for any more
	overdue     int   // calls that have outlived their context
	prompt      *call // the first that is not slow
	punctual    *call // the first that is not overdue
}

// slowAfter is how long a call about an idle resource may take before nobody
// counts on its end any more. A packet that was lost once has been sent again by
// then: TCP's first retransmission waits for at most a second.
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
	if l.prompt == nil {
		l.prompt = c
	}
	if l.punctual == nil {
		l.punctual = c
	}
	l.n++
	if c.trial {
		l.trials++
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
	if l.prompt == c {
		l.prompt = c.next
	}
	if l.punctual == c {
		l.punctual = c.next
	}
	if c.slow {
		l.slow--
	}
	if c.overdue {
		l.overdue--
	}
	l.n--
	l.endTrial(c)
}

// endTrial notes that nobody waits for c in particular any more.
func (l *callList) endTrial(c *call) {
	if c.trial {
		c.trial = false
		l.trials--
	}
}

// look brings the counts up to date. next is when one more call becomes slow; 0:
// none does.
func (l *callList) look(now time.Duration) (next time.Duration) {
	for l.punctual != nil && now-l.punctual.began >= l.limit {
		l.punctual.overdue = true
		l.overdue++
		l.punctual = l.punctual.next
	}
	for l.prompt != nil && now-l.prompt.began >= slowAfter {
		l.prompt.slow = true
		l.slow++
		l.prompt = l.prompt.next
	}
	if l.prompt != nil {
		next = l.prompt.began + slowAfter - now
	}
	return next
}

// countOut makes every call that runs a slow one.
func (l *callList) countOut() {
	for ; l.prompt != nil; l.prompt = l.prompt.next {
		l.prompt.slow = true
		l.slow++
	}
}

// checkBound is how many checks the pool runs at once in the background, for a
// maximum of size resources, and how many more may be overdue.
func checkBound(size int) int { return min(maxChecks, max(1, size/4)) }

const maxChecks = 8
