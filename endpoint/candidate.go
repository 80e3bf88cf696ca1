package endpoint

import (
	"math"
	"sync/atomic"
	"time"
)

// Candidate is what a [Balancer] knows of an endpoint that may be picked. Endpoint and Hash are
// constant; the methods return values that other goroutines change. The methods take no lock.
type Candidate struct {
	Endpoint
	Hash uint64 // of Addr; the same in all processes

	live *live
}

// Facts are the changing values of a [Candidate].
type Facts struct {
	Load    int           // see [Candidate.Load]
	Latency time.Duration // see [Candidate.Latency]
	Share   float64       // see [Candidate.Share]; 0 means the Weight
}

// NewCandidate returns a candidate with constant facts, for tests of a [Balancer].
func NewCandidate(e Endpoint, f Facts) Candidate {
	if f.Share == 0 {
		f.Share = e.weight()
	}
	l := &live{}
	l.load.Store(int64(f.Load))
	l.latency.Store(int64(f.Latency))
	l.setShare(f.Share)
	return Candidate{Endpoint: e, Hash: hashString(e.Addr), live: l}
}

// Load returns how many uses of the endpoint have begun and not ended ([Set.Begin]).
func (c *Candidate) Load() int { return int(c.live.load.Load()) }

// Latency returns the peak of recent latencies, which decays to their mean; failures count as
// long latencies. It is 0 while nothing is known, or if the balancer is not [PeakEWMA].
func (c *Candidate) Latency() time.Duration { return time.Duration(c.live.latency.Load()) }

// Share returns how much of the work the endpoint is to get relative to the others: its Weight,
// less during slow start and after failures. It is greater than 0.
func (c *Candidate) Share() float64 { return math.Float64frombits(c.live.share.Load()) }

// live is what changes of an endpoint while the candidates that refer to it are published. It
// is followed by padding, so that the counters of one endpoint do not slow down another.
type live struct {
	load     atomic.Int64
	latency  atomic.Int64  // a time.Duration
	observed atomic.Int64  // when latency was last changed; a time.Duration
	share    atomic.Uint64 // bits of a float64

	begun     atomic.Int64
	good      atomic.Int64 // successes
	attention atomic.Bool  // a success must be dealt with under the lock
	_         [128 - 52]byte
}

// setShare stores a share, which is never 0.
func (l *live) setShare(s float64) {
	l.share.Store(math.Float64bits(max(s, math.SmallestNonzeroFloat64)))
}

// hashString is FNV-1a with a final mix, since the low bits of FNV of similar names are alike.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64: a bijection whose output bits depend on all input bits.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
