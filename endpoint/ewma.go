package endpoint

import (
	"fmt"
	"math"
	"time"
)

// PeakEWMAConfig configures [PeakEWMA].
type PeakEWMAConfig struct {
	// Decay is how long the latency takes to decay by a factor of e from a peak to lower
	// latencies. Zero: 10 s.
	Decay time.Duration
	// Penalty is the latency that a failure counts as, if it took less. Zero: 5 s.
	Penalty time.Duration
}

// PeakEWMA returns a balancer that picks, of two candidates chosen at random, the one with the
// smaller product of latency and load, relative to its share. The latency follows a peak at
// once and decays slowly; a failure counts as a long latency, so that an endpoint which fails
// fast does not look fast. It panics if a field of the configuration is negative.
func PeakEWMA(c PeakEWMAConfig) Balancer {
	if c.Decay < 0 || c.Penalty < 0 {
		panic(fmt.Sprintf("endpoint: Decay and Penalty of a PeakEWMA must not be negative, got %v and %v", c.Decay, c.Penalty))
	}
	if c.Decay == 0 {
		c.Decay = 10 * time.Second
	}
	if c.Penalty == 0 {
		c.Penalty = 5 * time.Second
	}
	return &peakEWMA{c}
}

type peakEWMA struct{ cfg PeakEWMAConfig }

// FollowsLatency implements [LatencyFollower].
func (b *peakEWMA) FollowsLatency() (PeakEWMAConfig, bool) { return b.cfg, true }

func (b *peakEWMA) Pick(c []Candidate, _ string) int {
	if len(c) == 1 {
		return 0
	}
	i, j := twoOf(len(c))
	x, y := b.cost(&c[i]), b.cost(&c[j])
	si, sj := c[i].Share(), c[j].Share()
	switch {
	case x == y:
		return either(i, j, 0, 0, si, sj)
	case y*si < x*sj:
		return j
	}
	return i
}

// cost is the expected wait. An endpoint of which nothing is known is tried once; until that
// use has ended it costs the penalty, so that it does not receive every caller.
func (b *peakEWMA) cost(c *Candidate) float64 {
	load, latency := c.Load(), c.Latency()
	if latency == 0 && load > 0 {
		latency = b.cfg.Penalty
	}
	return float64(latency) * float64(load+1)
}

// observe adds a latency that was observed at the time now.
func (l *live) observe(latency, now time.Duration, c PeakEWMAConfig) {
	elapsed := max(0, int64(now)-l.observed.Swap(int64(now)))
	for {
		old := l.latency.Load()
		v := min(max(int64(latency), 1), forever) // a float64 of more can be too large for an int64
		if v < old {
			keep := math.Exp(-float64(elapsed) / float64(c.Decay))
			v += int64(float64(old-v) * keep)
		}
		if l.latency.CompareAndSwap(old, v) {
			return
		}
	}
}

// fade lets the latency decay if nothing was observed. It reports whether there is still one.
func (l *live) fade(now time.Duration, c PeakEWMAConfig) bool {
	old := l.latency.Load()
	if old == 0 {
		return false
	}
	elapsed := max(0, int64(now)-l.observed.Swap(int64(now)))
	v := int64(float64(old) * math.Exp(-float64(elapsed)/float64(c.Decay)))
	if v < int64(time.Microsecond) {
		v = 0
	}
	l.latency.CompareAndSwap(old, v) // a new observation takes precedence
	return v > 0
}
