package endpoint

import "sync/atomic"

// RoundRobin returns a balancer that picks the candidates in turn, each as often as its share
// says, and the picks of one spread evenly. It looks at all candidates, and ignores their load.
func RoundRobin() Balancer { return &roundRobin{} }

// roundRobin is a stride scheduler without state but a counter: the candidates are visited in
// turn, and in each round one is skipped if its accumulated share has not reached the next
// whole number.
type roundRobin struct{ visits atomic.Uint64 }

func (b *roundRobin) fork() Balancer { return &roundRobin{} }

func (b *roundRobin) Pick(c []Candidate, _ string) int {
	largest := 0.0
	for i := range c {
		largest = max(largest, c[i].Share())
	}
	const whole = 1 << 16
	n := uint64(len(c))
	// The candidate with the largest share is never skipped, so one round suffices, unless
	// others change the shares or advance the counter.
	for range 2 * n {
		visit := b.visits.Add(1) - 1
		i, round := visit%n, visit/n%whole
		stride := uint64(c[i].Share() / largest * whole)
		if stride >= whole {
			return int(i)
		}
		// The offset keeps candidates of the same share from being skipped in the same round.
		if (stride*round+i*(whole/2+1))%whole < stride {
			return int(i)
		}
	}
	return int(b.visits.Load() % n)
}
