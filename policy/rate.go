package policy

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// RateLimiter is the part of Limiter in golang.org/x/time/rate that [Rate] and
// [Pace] use. R is *Reservation and is inferred.
type RateLimiter[R Reservation] interface {
	// AllowN takes n tokens if they are available at time t.
	AllowN(t time.Time, n int) bool
	// ReserveN takes n tokens that will be available later.
	ReserveN(t time.Time, n int) R
}

// Reservation is the part of Reservation in golang.org/x/time/rate that [Rate]
// and [Pace] use.
type Reservation interface {
	OK() bool             // false if n exceeds the burst
	Delay() time.Duration // until the tokens are available
	Cancel()              // returns the tokens
}

// Rate admits a request if l has a token for each unit of its Cost. Other requests
// are refused immediately with [ErrRate] and the time until the tokens are available;
// a Cost over the burst of l is refused with [ErrCost]. Of several callers that retry
// after that time only one gets the token and the others are refused again; use [Pace]
// to serve them in order. Tokens are never returned, so in an [All] a Rate should be
// the last member. l may be shared with other code. Panics if l is nil.
//
//	policy.Rate(rate.NewLimiter(10, 1)) // ten per second
func Rate[R Reservation](l RateLimiter[R]) resource.Admission {
	var e argErrors
	e.require(l != nil, "the limiter is nil")
	e.panicIfAny("Rate")
	return &rate[R]{l: l, name: "rate"}
}

// Pace is [Rate], except that requests wait for their tokens, first come, first
// served. A request whose tokens would be available only after the deadline of its
// context is refused immediately with [ErrTooLate]; a request with NoWait never waits.
// Both refusals carry the time until the tokens are available. If the context of a
// waiting request ends, the requests behind it move up. Only the first waiting request
// reserves tokens in advance. Panics if l is nil.
//
// At more than about one request per millisecond, give l a burst of a few tokens, so
// that a late wake-up loses no tokens.
func Pace[R Reservation](l RateLimiter[R]) resource.Admission {
	var e argErrors
	e.require(l != nil, "the limiter is nil")
	e.panicIfAny("Pace")
	return &rate[R]{l: l, name: "pace", waits: true}
}

type rate[R Reservation] struct {
	l     RateLimiter[R]
	name  string
	waits bool

	// mu makes reserving and cancelling one step. Without it, tokens that are
	// cancelled after another reservation was made behind them are lost, and
	// refused requests would use up the tokens of admitted ones. Of foreign code
	// only l is called with mu held.
	mu    sync.Mutex
	queue []*rateWaiter[R] // in order of arrival; only the first has reserved
}

// rateWaiter is a request that waits for tokens.
//
// Only the first in the queue reserves. A limiter returns cancelled tokens only as
// far as no later reservation exists. If every waiter reserved and one left, most
// of its tokens would be lost: with contexts shorter than the queue, nearly the
// whole rate would go to requests that are gone, and the queue would never shrink.
type rateWaiter[R Reservation] struct {
	n           int
	reservation R           // of the first in the queue
	timer       *time.Timer // fires when the tokens are available
	served      bool        // removed from the queue: it has its tokens, or err is set
	err         error       // why it was refused
}

// Admit implements [resource.Admission].
func (p *rate[R]) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	n, err := units(p.name, r.Cost)
	if err != nil {
		return nil, err
	}
	w, err := p.take(ctx, int(n), p.waits && !r.NoWait)
	if err != nil || w == nil {
		return nil, err
	}
	defer w.timer.Stop()
	select {
	case <-w.timer.C:
		p.remove(w, true)
	case <-ctx.Done():
		if !p.remove(w, false) {
			return nil, ctx.Err()
		}
	}
	return nil, w.err
}

// take takes n tokens if they are available. Otherwise it returns a queued waiter if
// the request can wait for them, or a refusal.
func (p *rate[R]) take(ctx context.Context, n int, wait bool) (*rateWaiter[R], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serveReadyLocked()
	now := time.Now()
	if len(p.queue) == 0 && p.l.AllowN(now, n) {
		return nil, nil
	}
	reservation := p.l.ReserveN(now, n)
	if !reservation.OK() {
		return nil, p.rejectOverBurst(n)
	}
	delay := reservation.Delay()
	if delay <= 0 {
		return nil, nil // the tokens became available after AllowN
	}
	delay = p.queueDelayLocked(delay, n)
	reason := ErrRate
	if wait {
		deadline, ok := ctx.Deadline()
		if !ok || deadline.Sub(now) >= delay {
			return p.enqueueLocked(n, reservation, delay), nil
		}
		reason = ErrTooLate
	}
	reservation.Cancel()
	if delay > unknownDelay {
		delay = 0
	}
	return nil, reject(p.name, delay, reason)
}

// unknownDelay is the delay above which no time is reported: a limiter with rate
// zero returns a delay of centuries.
const unknownDelay = math.MaxInt64 / 4

// serveReadyLocked serves the waiters whose tokens are available but which have not
// woken up yet: a reservation made before that would count their tokens as taken.
func (p *rate[R]) serveReadyLocked() {
	for len(p.queue) > 0 && p.queue[0].reservation.Delay() <= 0 {
		p.queue[0].served = true
		p.advanceLocked()
	}
}

// queueDelayLocked returns the delay of a request at the end of the queue, whose n
// tokens are available after delay if they come right after those of the first
// waiter. The tokens of the waiters in between are added at the same rate.
func (p *rate[R]) queueDelayLocked(delay time.Duration, n int) time.Duration {
	if len(p.queue) < 2 || delay > unknownDelay {
		return delay
	}
	perToken := float64(delay-max(0, p.queue[0].reservation.Delay())) / float64(n)
	between := 0.0
	for _, w := range p.queue[1:] {
		between += float64(w.n)
	}
	return time.Duration(min(float64(delay)+between*max(0, perToken), math.MaxInt64/2))
}

// enqueueLocked adds a waiter to the queue. It keeps the reservation if the waiter
// is the first, and cancels it otherwise.
func (p *rate[R]) enqueueLocked(n int, reservation R, delay time.Duration) *rateWaiter[R] {
	w := &rateWaiter[R]{n: n, reservation: reservation, timer: time.NewTimer(delay)}
	if len(p.queue) > 0 {
		w.timer.Stop()
		reservation.Cancel()
	}
	p.queue = append(p.queue, w)
	return w
}

// remove removes w from the queue and reports whether it has its tokens, which is so
// if its timer fired. If it does not, its reservation is cancelled.
func (p *rate[R]) remove(w *rateWaiter[R], fired bool) (hasTokens bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serveReadyLocked()
	switch {
	case w.served:
		return true
	case w != p.queue[0]:
		i := slices.Index(p.queue, w)
		p.queue = slices.Delete(p.queue, i, i+1)
		return false
	case !fired:
		w.reservation.Cancel()
	}
	p.advanceLocked()
	return fired
}

// advanceLocked removes the first waiter and reserves for the next one. If the burst
// of l was lowered below what that one needs it is refused, and the one behind it
// reserves.
func (p *rate[R]) advanceLocked() {
	for {
		p.queue[0] = nil
		if p.queue = p.queue[1:]; len(p.queue) == 0 {
			return
		}
		w := p.queue[0]
		if w.reservation = p.l.ReserveN(time.Now(), w.n); w.reservation.OK() {
			w.timer.Reset(w.reservation.Delay())
			return
		}
		w.served, w.err = true, p.rejectOverBurst(w.n)
		w.timer.Reset(0)
	}
}

func (p *rate[R]) rejectOverBurst(n int) error {
	return reject(p.name, 0, fmt.Errorf("%w: %d is over the burst", ErrCost, n))
}
