package policy

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// turn is one who waits for tokens in the line of a rate.
//
// Only the first of the line has reserved. A limiter takes back only what
// nobody has reserved behind, so if all had, and one left, most of its tokens
// would be lost: with callers less patient than the line is long, nearly all that
// the rate allows would go to those who have left, and the line never get
// shorter.
type turn[R Reservation] struct {
	n        int
	reserved R           // the tokens of the first
	timer    *time.Timer // fires when they are there
	served   bool        // they are its own, or it is refused; it is out of the line
	refused  error
}

// settle serves those whose tokens are there, though they may not have woken up
// yet: what is reserved after that is not there yet. p is locked, as for all that
// follows.
func (p *rate[R]) settle() {
	for len(p.line) > 0 && p.line[0].reserved.Delay() <= 0 {
		p.line[0].served = true
		p.next()
	}
}

// behind is the delay of one who comes last and has reserved n tokens behind
// the first, which are there after delay: those between are counted at the same
// rate.
func (p *rate[R]) behind(delay time.Duration, n int) time.Duration {
	if len(p.line) < 2 || delay > forEver {
		return delay
	}
	each := float64(delay-max(0, p.line[0].reserved.Delay())) / float64(n)
	between := 0.0
	for _, t := range p.line[1:] {
		between += float64(t.n)
	}
	return time.Duration(min(float64(delay)+between*max(0, each), math.MaxInt64/2))
}

// join puts one into the line that has reserved n tokens.
func (p *rate[R]) join(n int, reserved R, delay time.Duration) *turn[R] {
	t := &turn[R]{n: n, reserved: reserved, timer: time.NewTimer(delay)}
	if len(p.line) > 0 {
		t.timer.Stop()
		reserved.Cancel()
	}
	p.line = append(p.line, t)
	return t
}

// leave takes t out of the line, and reports whether it has its tokens, which it
// has if its timer fired. If not, what it reserved is given back.
func (p *rate[R]) leave(t *turn[R], fired bool) (has bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	switch {
	case t.served:
		return true
	case t != p.line[0]:
		i := slices.Index(p.line, t)
		p.line = slices.Delete(p.line, i, i+1)
		return false
	case !fired:
		t.reserved.Cancel()
	}
	p.next()
	return fired
}

// next takes the first out of the line, and lets the one behind it reserve.
// Where l has been given a smaller burst meanwhile that may be more than it ever
// has; then it is refused, and the one behind that reserves.
func (p *rate[R]) next() {
	for {
		p.line[0] = nil
		if p.line = p.line[1:]; len(p.line) == 0 {
			return
		}
		t := p.line[0]
		if t.reserved = p.l.ReserveN(time.Now(), t.n); t.reserved.OK() {
			t.timer.Reset(t.reserved.Delay())
			return
		}
		t.served, t.refused = true, p.never(t.n)
		t.timer.Reset(0)
	}
}

func (p *rate[R]) never(n int) error {
	return refuse(p.name, 0, fmt.Errorf("%w: %d is over the burst", ErrCost, n))
}
