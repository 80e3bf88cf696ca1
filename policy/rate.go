package policy

import (
	"context"
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
// tells the time until there are tokens. If a caller's context ends while it
// waits, those behind it move up. Only the first in the line holds tokens that
// are not there yet. Panics if l is nil.
//
// Where one is admitted more often than every millisecond, give l a burst of
// a few, so that a wake-up that comes late loses nothing.
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
	mu   sync.Mutex
	line []*turn[R] // those who wait; the first of them has reserved
}

// Admit implements [resource.Admission].
func (p *rate[R]) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	n, err := units(p.name, r)
	if err != nil {
		return nil, err
	}
	t, err := p.take(ctx, int(n), p.waits && !r.NoWait)
	if err != nil || t == nil {
		return nil, err
	}
	defer t.timer.Stop()
	select {
	case <-t.timer.C:
		p.leave(t, true)
	case <-ctx.Done():
		if !p.leave(t, false) {
			return nil, ctx.Err()
		}
	}
	return nil, t.refused
}

// take takes n tokens, if they are there or the caller can wait for them. If it
// must, the turn is what it waits for.
func (p *rate[R]) take(ctx context.Context, n int, wait bool) (*turn[R], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	now := time.Now()
	if len(p.line) == 0 && p.l.AllowN(now, n) {
		return nil, nil
	}
	reserved := p.l.ReserveN(now, n)
	if !reserved.OK() {
		return nil, p.never(n)
	}
	delay := reserved.Delay()
	if delay <= 0 {
		return nil, nil // they came just now
	}
	delay = p.behind(delay, n)
	why := ErrRate
	if wait {
		deadline, ok := ctx.Deadline()
		if !ok || deadline.Sub(now) >= delay {
			return p.join(n, reserved, delay), nil
		}
		why = ErrTooLate
	}
	reserved.Cancel()
	if delay > forEver {
		delay = 0
	}
	return nil, refuse(p.name, delay, why)
}

// forEver is where a delay stops being one: a limiter whose rate is zero says
// that tokens come in centuries.
const forEver = math.MaxInt64 / 4
