package resource

import "github.com/respool/respool/internal/budget"

// capacity counts the slots of a pool. A resource holds one from the moment at which
// its creation begins until its Destroy has returned or it is hijacked (I1). In the
// pool of a Keyed each slot also holds a place of the total: it is taken before the
// creation begins and freed with the slot. Its user holds the pool's lock.
type capacity struct {
	max   int // the current maximum
	live  int // slots in use: idle + leased + being created + being destroyed
	dying int // of these, being destroyed

	share   *budget.Share  // constant: the pool's part in the total; nil: it stands alone
	total   *budget.Budget // constant: the total; nil likewise
	claimed int            // places wanted of the total, and not free
	granted int            // places got of the total, and not used yet
}

// full reports whether no slot is free.
func (c *capacity) full() bool { return c.live >= c.max }

// over reports whether more slots are in use than there are, after a Resize.
func (c *capacity) over() bool { return c.live > c.max }

// surplus reports whether a resource must go, besides those that are going.
func (c *capacity) surplus() bool { return c.live-c.dying > c.max }

// scarce reports whether places of the total are wanted that are not free.
func (c *capacity) scarce() bool { return c.total != nil && c.total.Scarce() }

// exceeds reports whether more places are in use than the total has.
func (c *capacity) exceeds() bool { return c.total != nil && c.total.Over() }

// fits reports whether no more places are in use than the total has: it may have been
// lowered since one was taken.
func (c *capacity) fits() bool { return c.total == nil || c.total.Fits() }

// roomHelps reports whether a creation waits only for a slot or place to become free.
func (c *capacity) roomHelps() bool { return c.full() || c.claimed > 0 && c.total.Short() }

// most is how many resources the pool may have at most.
func (c *capacity) most() int {
	if c.total == nil {
		return c.max
	}
	total, _, _ := c.total.Levels()
	return min(c.max, total)
}

// take takes the places for want creations, demand of which are for callers, and
// returns how many it got. Places that callers lack are claimed: see member.Granted.
// patient says that no caller waits.
func (c *capacity) take(want, demand int, patient bool) int {
	if c.share == nil {
		return want
	}
	if want == 0 && c.claimed == 0 {
		return 0
	}
	had := min(c.granted, want)
	c.granted -= had
	took := had + c.share.Take(want-had, max(0, demand-had), patient)
	c.claimed = max(0, demand-took)
	return took
}

// takeFree takes a place if one is free that no pool waits for.
func (c *capacity) takeFree() bool {
	return c.share == nil || c.claimed == 0 && c.share.Take(1, 0, false) == 1
}

// begin counts a creation, whose place was taken.
func (c *capacity) begin() { c.live++ }

// die counts n more resources as being destroyed.
func (c *capacity) die(n int) {
	c.dying += n
	if c.share != nil && n > 0 {
		c.share.Dying(n)
	}
}

// free frees a slot, and its place.
func (c *capacity) free() {
	c.live--
	if c.share != nil {
		c.share.Free(false)
	}
}

// freeDead frees the slot of a resource whose Destroy has returned.
func (c *capacity) freeDead() {
	c.dying--
	c.live--
	if c.share != nil {
		c.share.Free(true)
	}
}

// grant notes that the total has taken a place for the pool.
func (c *capacity) grant() {
	c.claimed = c.share.Claimed()
	c.granted++
}

// returnGranted frees the places that were granted and are not wanted any more.
func (c *capacity) returnGranted() {
	for ; c.granted > 0; c.granted-- {
		c.share.Free(false)
	}
}

// lowerClaim lowers the claim to n.
func (c *capacity) lowerClaim(n int, patient bool) {
	if n < c.claimed {
		c.claimed = n
		c.share.Claim(n, patient)
	}
}

// awake tells the total whether resources come back without the pool's lock.
func (c *capacity) awake(yes bool) {
	if c.share != nil {
		c.share.Awake(yes)
	}
}

// leave ends the claim, at the end of the pool.
func (c *capacity) leave() {
	if c.share != nil {
		c.claimed = 0
		c.share.Claim(0, false)
		c.share.Awake(false)
	}
}
