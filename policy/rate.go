package policy

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// RateLimiter is the part of Limiter in golang.org/x/time/rate that [Rate] and
// [Pace] use. R is its *Reservation, and is inferred.
type RateLimiter[R Reservation] interface {
	// AllowN takes n tokens if they are there at time t.
	AllowN(t time.Time, n int) bool
	// ReserveN takes n tokens that are there later.
	ReserveN(t time.Time, n int) R
}

// Reservation is the part of Reservation in golang.org/x/time/rate that [Rate]
// and [Pace] use.
type Reservation interface {
	OK() bool             // false: never, so many tokens there cannot be
	Delay() time.Duration // until the tokens are there
	Cancel()              // gives them back
}

// Rate admits what l has tokens for, a token for each unit, and refuses the rest
// at once with [ErrRate] and the time until there are tokens; what is more than
// the burst of l with [ErrCost]. Of many who come back when they were told to, one
// gets the token and the others are told again; where all should get theirs in
// turn use [Pace]. A token once taken does not come back, so in an
// [All] it belongs last. Panics if l is nil.
//
//	policy.Rate(rate.NewLimiter(10, 1)) // ten a second
//
// l may be used elsewhere too.
func Rate[R Reservation](l RateLimiter[R]) resource.Admission {
	var m misuse
	m.unless(l != nil, "the limiter is nil")
	m.report("Rate")
	return &rate[R]{l: l, name: "rate"}
}

// Pace is [Rate], except that callers wait for their tokens, first come, first
// served. If they would come after the deadline of the caller's context it is
// refused at once with [ErrTooLate]; with NoWait it never waits. Either refusal
// tells the time until there are tokens. One whose context ends while it waits
// gives its tokens back as far as l can. Panics if l is nil.
func Pace[R Reservation](l RateLimiter[R]) resource.Admission {
	var m misuse
	m.unless(l != nil, "the limiter is nil")
	m.report("Pace")
	return &rate[R]{l: l, name: "pace", waits: true}
}

type rate[R Reservation] struct {
	l     RateLimiter[R]
	name  string
	waits bool

	// mu makes one of reserving and cancelling: a token that is given back
	// when another has been reserved behind it is lost, and those who are
	// refused must not use up what the others live on. Only l is called
	// under it.
	mu sync.Mutex
}

// Admit implements [resource.Admission].
func (p *rate[R]) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	n, err := units(p.name, r)
	if err != nil {
		return nil, err
	}
	reserved, delay, err := p.take(ctx, int(n), p.waits && !r.NoWait)
	if err != nil || delay == 0 {
		return nil, err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		reserved.Cancel()
		return nil, ctx.Err()
	}
}

// take takes n tokens, if they are there or the caller can wait for them. The
// delay is how long it must, and reserved then what it waits for.
func (p *rate[R]) take(ctx context.Context, n int, wait bool) (reserved R, delay time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.l.AllowN(now, n) {
		return reserved, 0, nil
	}
	reserved = p.l.ReserveN(now, n)
	if !reserved.OK() {
		return reserved, 0, refuse(p.name, 0, fmt.Errorf("%w: %d is over the burst", ErrCost, n))
	}
	delay = reserved.Delay()
	if delay <= 0 {
		return reserved, 0, nil // they came just now
	}
	why := ErrRate
	if wait {
		deadline, ok := ctx.Deadline()
		if !ok || deadline.Sub(now) >= delay {
			return reserved, delay, nil
		}
		why = ErrTooLate
	}
	reserved.Cancel()
	if delay > forEver {
		delay = 0
	}
	return reserved, 0, refuse(p.name, delay, why)
}

// forEver is where a delay stops being one: a limiter whose rate is zero says
// that tokens come in centuries.
const forEver = math.MaxInt64 / 4
