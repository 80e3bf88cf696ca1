package endpoint

import (
	"fmt"
	"sync/atomic"
)

// Zone returns a balancer that prefers the candidates of a zone: next picks one of them. If
// that one has more than spill times the load of a candidate elsewhere, relative to their
// shares, next picks one elsewhere instead. An idle candidate of the zone is used unless its
// share is reduced, and two uses more than elsewhere are tolerated. With a spill of 0 the zone
// is left only if it has no candidate. Zone panics if next is nil, or if spill is neither 0 nor
// at least 1.
func Zone(zone string, spill float64, next Balancer) Balancer {
	if next == nil || !(spill == 0 || spill >= 1) {
		panic(fmt.Sprintf("endpoint: a Zone needs a next balancer and a spill that is 0 or at least 1, got %v and %v", next, spill))
	}
	z := &zoned{zone: zone, spill: spill, next: next, elsewhere: next}
	// A counter that advances for both lists would skip members of each.
	if f, ok := next.(interface{ fork() Balancer }); ok {
		z.elsewhere = f.fork()
	}
	return z
}

type zoned struct {
	zone      string
	spill     float64
	next      Balancer // in the zone
	elsewhere Balancer
	split     atomic.Pointer[split]
}

// split divides the candidates of one slice. The pointer to its first element identifies the
// slice: it keeps the array from being reused, and candidates are never modified.
type split struct {
	first         *Candidate
	n             int
	near, far     []Candidate
	nearAt, farAt []int // their indices in the slice
}

func (z *zoned) fork() Balancer { return Zone(z.zone, z.spill, z.elsewhere) }

// FollowsLatency implements [LatencyFollower].
func (z *zoned) FollowsLatency() (c PeakEWMAConfig, follows bool) {
	if f, ok := z.next.(LatencyFollower); ok {
		return f.FollowsLatency()
	}
	return c, false
}

func (z *zoned) divide(c []Candidate) *split {
	if s := z.split.Load(); s != nil && s.first == &c[0] && s.n == len(c) {
		return s
	}
	s := &split{first: &c[0], n: len(c)}
	for i := range c {
		if c[i].Zone == z.zone {
			s.near, s.nearAt = append(s.near, c[i]), append(s.nearAt, i)
		} else {
			s.far, s.farAt = append(s.far, c[i]), append(s.farAt, i)
		}
	}
	z.split.Store(s)
	return s
}

func (z *zoned) Pick(c []Candidate, key string) int {
	s := z.divide(c)
	if len(s.near) == 0 {
		return s.farAt[z.elsewhere.Pick(s.far, key)]
	}
	i := z.next.Pick(s.near, key)
	if z.spill == 0 || len(s.far) == 0 {
		return s.nearAt[i]
	}
	near := &s.near[i]
	load := near.Load()
	if load == 0 && near.Share() >= near.weight() {
		return s.nearAt[i] // idle and well
	}
	far := &s.far[p2c{}.Pick(s.far, "")]
	if float64(load+1)*far.Share() <= z.spill*float64(far.Load()+2)*near.Share() {
		return s.nearAt[i]
	}
	return s.farAt[z.elsewhere.Pick(s.far, key)]
}

// Rank implements [Ranker]: after the pick come the other candidates of the zone.
func (z *zoned) Rank(dst []string, c []Candidate, key string, n int) []string {
	first := z.Pick(c, key)
	dst = append(dst, c[first].Addr)
	s := z.divide(c)
	start := len(dst)
	dst = appendOthers(dst, s.near, c[first].Addr, n-1)
	return appendOthers(dst, s.far, c[first].Addr, n-1-(len(dst)-start))
}

// appendOthers is appendRest for an address that may not be among c.
func appendOthers(dst []string, c []Candidate, except string, n int) []string {
	if n <= 0 || len(c) == 0 {
		return dst
	}
	first := -1
	for i := range c {
		if c[i].Addr == except {
			first = i
			break
		}
	}
	return appendRest(dst, c, first, n)
}
