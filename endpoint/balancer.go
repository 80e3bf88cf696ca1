package endpoint

import "time"

// Balancer picks an endpoint. It must be safe for use by many goroutines at once, must not
// block, and should allocate nothing. A panic in it counts as a pick of the first candidate.
type Balancer interface {
	// Pick returns the index of a candidate. key is what [Set.Rank] was called with. The
	// result depends on nothing but the arguments, random numbers and the Balancer's own
	// counters. c has at least one element, and is read only.
	Pick(c []Candidate, key string) int
}

// Ranker is an optional interface of a [Balancer] that decides also where to try next.
type Ranker interface {
	// Rank appends to dst the addresses of up to n different candidates, best first, of
	// which the first is what Pick would return. n is at least 1.
	Rank(dst []string, c []Candidate, key string, n int) []string
}

// P2C returns the default balancer, two random choices: of two candidates chosen at random
// it picks the one with the smaller load relative to its share. A pick takes the same time
// among any number of candidates.
func P2C() Balancer { return p2c{} }

type p2c struct{}

func (p2c) Pick(c []Candidate, _ string) int { return 0 }

// LeastLoaded returns a balancer that picks the candidate with the smallest load relative to
// its share, a random one of those that are equal. It looks at all candidates.
func LeastLoaded() Balancer { return leastLoaded{} }

type leastLoaded struct{}

func (leastLoaded) Pick(c []Candidate, _ string) int { return 0 }

// RoundRobin returns a balancer that picks the candidates in turn, each as often as its share
// says, and the picks of one spread evenly. It looks at all candidates, and ignores their
// load.
func RoundRobin() Balancer { return &roundRobin{} }

type roundRobin struct{}

func (*roundRobin) Pick(c []Candidate, _ string) int { return 0 }

// PeakEWMAConfig configures [PeakEWMA].
type PeakEWMAConfig struct {
	// Decay is how long the latency takes to decay by a factor of e from a peak to lower
	// latencies. Zero: 10 s.
	Decay time.Duration
	// Penalty is the latency that a failure counts as, if it took less. Zero: 5 s.
	Penalty time.Duration
}

// PeakEWMA returns a balancer that picks, of two candidates chosen at random, the one with
// the smaller product of latency and load, relative to its share. The latency follows a peak
// at once and decays slowly; a failure counts as a long latency, so that an endpoint which fails
// fast does not look fast. It panics if a field of the configuration is negative.
func PeakEWMA(c PeakEWMAConfig) Balancer { return &peakEWMA{} }

type peakEWMA struct{}

func (*peakEWMA) Pick(c []Candidate, _ string) int { return 0 }

// Rendezvous returns a balancer that always picks the same candidate for the same key, by
// weighted rendezvous hashing: when an endpoint joins or leaves only the keys that it gains or
// had move. Keys are divided by Weight, whatever the load is; failures and slow start change nothing. With
// an empty key it picks as [P2C] does. It looks at all candidates.
func Rendezvous() Balancer { return rendezvous{} }

type rendezvous struct{}

func (rendezvous) Pick(c []Candidate, _ string) int { return 0 }

// Zone returns a balancer that prefers the candidates of a zone: next picks among them while
// their mean load relative to their share exceeds that of the others by a factor of at most
// spill, and among all otherwise. With a spill of 0 the zone is left only if it has no candidate. It
// panics if next is nil or spill is negative or not a number.
func Zone(zone string, spill float64, next Balancer) Balancer { return &zoned{next: next} }

type zoned struct{ next Balancer }

func (z *zoned) Pick(c []Candidate, key string) int { return z.next.Pick(c, key) }
