package redisledger

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// Kinds of replies of claim.lua.
const (
	replyStale   = 1
	replyLate    = 2
	replyGranted = 3
)

// answer is a reply of claim.lua.
type answer struct {
	kind  int64
	now   int64 // the time of the quota in microseconds; 0 if stale
	grant fleet.Grant
}

// lengths are the numbers in the replies, by kind.
var lengths = map[int64]int{replyStale: 1, replyLate: 2, replyGranted: 11}

// maxTime bounds instants and durations, in microseconds: larger numbers are not exact in
// Lua.
const maxTime = 1 << 53

// parseClaim checks every property of a reply of claim.lua: a proxy may answer instead of the
// engine, and the fleet would exceed its quota by a wrong number.
func parseClaim(reply any, c *fleet.Claim) (answer, error) {
	n, err := numbers(reply)
	if err != nil {
		return answer{}, err
	}
	if len(n) == 0 || len(n) != lengths[n[0]] {
		return answer{}, replyError(fmt.Sprintf("%d numbers that begin with %v", len(n), n[:min(len(n), 1)]))
	}
	a := answer{kind: n[0]}
	if a.kind == replyStale {
		return a, nil
	}
	var bad badFields
	a.now = bad.within("time", n[1], 1, maxTime)
	if a.kind == replyGranted {
		live, highest, lowest := int64(1), int64(c.Limit), int64(c.Limit)
		if c.Has == 0 && c.Want == 0 { // it leaves: only the others count
			live, highest, lowest = 0, 1, fleet.MaxUnits
		}
		// Units in use are recorded beyond the limit, so the total of many holders may be large.
		total := bad.within("total", n[6], 0, maxTime)
		a.grant = fleet.Grant{
			Granted:  bad.units("granted", n[2], int64(c.Has), int64(c.Want)),
			Target:   bad.units("target", n[3], 0, int64(c.Want)),
			Limit:    bad.units("limit", n[4], 1, lowest),
			Highest:  bad.units("highest limit", n[5], highest, fleet.MaxUnits),
			Total:    int(min(total, math.MaxInt)),
			Holders:  bad.units("holders", n[7], live, fleet.MaxUnits),
			Next:     time.Duration(bad.within("next", n[8], 0, int64(maxLease/time.Microsecond))) * time.Microsecond,
			Lease:    c.Lease,
			Fence:    uint64(bad.within("fence", n[9], 1, maxTime)),
			Learning: bad.within("learning", n[10], 0, 1) == 1,
		}
		if a.grant.Granted > c.Has && a.grant.Granted > a.grant.Limit {
			bad = append(bad, fmt.Sprintf("granted %d of %d", a.grant.Granted, a.grant.Limit))
		}
		if a.grant.Limit > a.grant.Highest {
			bad = append(bad, fmt.Sprintf("limit %d of a highest limit of %d", a.grant.Limit, a.grant.Highest))
		}
		if total < n[2] {
			bad = append(bad, fmt.Sprintf("granted %d of a total of %d", n[2], total))
		}
	}
	return a, bad.err()
}

// maxLease bounds Next: the longest lease, and a margin for a clock that was set.
const maxLease = 48 * time.Hour

// parseTake checks a reply of take.lua.
func parseTake(reply any, d *fleet.Draw) (fleet.Taken, error) {
	n, err := numbers(reply)
	if err != nil {
		return fleet.Taken{}, err
	}
	if len(n) != 2 {
		return fleet.Taken{}, replyError(fmt.Sprintf("%d numbers", len(n)))
	}
	var bad badFields
	t := fleet.Taken{
		Granted:    bad.units("granted", n[0], 0, int64(d.Want)),
		RetryAfter: time.Duration(bad.within("retry", n[1], 0, int64(maxLease/time.Microsecond))) * time.Microsecond,
	}
	if (t.Granted == d.Want) != (t.RetryAfter == 0) {
		bad = append(bad, fmt.Sprintf("granted %d of %d, retry after %v", t.Granted, d.Want, t.RetryAfter))
	}
	return t, bad.err()
}

// numbers parses a string of integers separated by one space. The reply is a string because the
// numbers do not fit into the integers of a server on 32 bits.
func numbers(reply any) ([]int64, error) {
	text, ok := reply.(string)
	if !ok {
		return nil, replyError(fmt.Sprintf("%T instead of a string", reply))
	}
	const most = 500
	if len(text) > most {
		return nil, replyError(fmt.Sprintf("a string of %d bytes", len(text)))
	}
	var n []int64
	for word := range strings.SplitSeq(text, " ") {
		i, err := strconv.ParseInt(word, 10, 64)
		if err != nil || word[0] == '+' {
			return nil, replyError(fmt.Sprintf("%.40q instead of number %d", word, len(n)+1))
		}
		n = append(n, i)
	}
	return n, nil
}

// badFields collects what is wrong with a reply.
type badFields []string

func (b *badFields) within(field string, n, least, most int64) int64 {
	if n < least || n > most {
		*b = append(*b, fmt.Sprintf("%s %d is not between %d and %d", field, n, least, most))
		return 0
	}
	return n
}

func (b *badFields) units(field string, n, least, most int64) int {
	return int(b.within(field, n, least, most))
}

func (b badFields) err() error {
	if len(b) == 0 {
		return nil
	}
	return replyError(fmt.Sprint([]string(b)))
}
