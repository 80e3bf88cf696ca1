package endpoint

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/resource"
)

// What zero means in a [Polling].
const (
	DefaultPollInterval    = 30 * time.Second
	DefaultPollMinInterval = time.Second
	DefaultPollJitter      = 0.2
	DefaultPollTimeout     = 5 * time.Second
)

const (
	maxInterval = 24 * time.Hour

	// hangGrace is how long after its context has ended a lookup may return.
	hangGrace = 100 * time.Millisecond
)

// Polling says how a resolver looks up. The zero value is ready to use. All durations between
// two lookups count from the end of one to the begin of the next.
//
// A lookup that fails, or whose answer cannot be used, is repeated after MinInterval, then
// after twice that time, and so on up to Interval; Refresh does not shorten these delays. A
// Refresh that finds nothing new doubles the time until the next one has an effect in the same
// way, so that an endpoint that stays down and stays in the answer does not make all its
// clients look up without end.
type Polling struct {
	// Interval is the time until the next lookup. Zero: DefaultPollInterval; else from MinInterval
	// to 24 h. It is what limits the age of an answer: a net.Resolver does not tell the time to
	// live (TTL) of DNS records.
	Interval time.Duration
	// MinInterval is the least time between two lookups, whatever asks for the second. Zero:
	// DefaultPollMinInterval, or Interval if that is shorter.
	MinInterval time.Duration
	// Jitter is the part of each delay by which it is made longer or shorter at random, so that
	// clients that began together, or lost the same server, do not look up together; a delay is
	// never shorter than MinInterval. Zero: DefaultPollJitter. Negative: none. At most 1.
	Jitter float64
	// Timeout is when the context of a lookup ends. Zero: DefaultPollTimeout. A lookup that does
	// not return even then is abandoned and reported as [ErrHung], and the next one is begun in
	// its turn. If that hangs too no other is begun until one of the two returns, so that no
	// more than two lookups of one Watch ever hang. Watch returns although they do.
	Timeout time.Duration

	// MaxAnswers is how many endpoints an answer has if the source may have left others out: some
	// DNS servers answer with at most 8 of many addresses, others each time. An answer with as
	// many, or more, is not Complete, and removes no endpoint. DNS counts IPv4 and IPv6 addresses
	// separately. Zero: answers have no limit.
	MaxAnswers int
	// ForgetAfter makes the resolver remove an endpoint that that many answers in a row did not
	// have, although each may have left it out; failed lookups do not count. Every update
	// is then Complete, because the resolver itself decides what is removed. Choose it so that
	// an endpoint that exists is hardly ever absent so often: with 8 of 32 addresses chosen at
	// random 100 answers miss one with a probability of 3e-13. Zero: endpoints that are
	// gone are only removed by an answer that is complete, and accumulate if there is none.
	ForgetAfter int
}

func (p *Polling) check(e *faultList) {
	within := func(field string, d, least, most time.Duration) {
		e.require(d == 0 || d >= least && d <= most, "%s must be 0 or between %v and %v, got %v", field, least, most, d)
	}
	within("Polling.MinInterval", p.MinInterval, time.Millisecond, maxInterval)
	within("Polling.Interval", p.Interval, max(time.Millisecond, min(p.MinInterval, maxInterval)), maxInterval)
	within("Polling.Timeout", p.Timeout, time.Millisecond, maxInterval)
	e.require(p.Jitter <= 1, "Polling.Jitter must be at most 1, got %v", p.Jitter) // NaN is not
	e.require(p.MaxAnswers >= 0, "Polling.MaxAnswers must not be negative, got %d", p.MaxAnswers)
	e.require(p.ForgetAfter >= 0, "Polling.ForgetAfter must not be negative, got %d", p.ForgetAfter)
}

// withDefaults returns a copy in which zero values are replaced.
func (p Polling) withDefaults() Polling {
	if p.Interval == 0 {
		p.Interval = max(DefaultPollInterval, p.MinInterval)
	}
	if p.MinInterval == 0 {
		p.MinInterval = min(DefaultPollMinInterval, p.Interval)
	}
	switch {
	case p.Jitter == 0:
		p.Jitter = DefaultPollJitter
	case p.Jitter < 0:
		p.Jitter = 0
	}
	if p.Timeout == 0 {
		p.Timeout = DefaultPollTimeout
	}
	return p
}

// LookupError is an [Update.Err]: what a lookup of the named source failed with, or why its
// answer was not used.
type LookupError struct {
	Source string // "DNS api.example.com:443"
	Err    error
}

// Error returns the text of the error without what looks like a secret.
func (e *LookupError) Error() string {
	return "endpoint: " + e.Source + ": " + redact.Hide(strings.TrimPrefix(e.Err.Error(), "endpoint: "))
}

func (e *LookupError) Unwrap() error { return e.Err }

// answer is what one lookup returned. With endpoints, err says that the answer has only some
// of them.
type answer struct {
	endpoints []Endpoint
	capped    bool // as many as MaxAnswers
	err       error
}

// known is a component: what a resolver knows from the answers so far.
type known struct {
	all         []Endpoint
	missed      map[string]int // how many answers in a row did not have an endpoint of all
	forgetAfter int
}

// learn takes an answer, and returns the update for it. used says that its endpoints were
// used, changed that the endpoints are others than before.
func (k *known) learn(a answer) (u Update, used, changed bool) {
	u = Update{Endpoints: a.endpoints, Complete: a.err == nil && !a.capped, Err: a.err}
	all, err := u.Apply(k.all)
	if err != nil {
		if a.err == nil {
			a.err = err
		} else if len(a.endpoints) > 0 {
			a.err = errors.Join(a.err, err)
		}
		return Update{Endpoints: k.all, Err: a.err}, false, false
	}
	if !u.Complete && k.forgetAfter > 0 {
		u.Complete = true
		if a.err == nil {
			all = k.forget(all, a.endpoints)
		}
	} else if u.Complete {
		clear(k.missed)
	}
	changed = !same(k.all, all)
	k.all = all
	u.Endpoints = all
	return u, true, changed
}

// forget returns all without those that now and the forgetAfter-1 answers before it did not
// have.
func (k *known) forget(all, now []Endpoint) []Endpoint {
	if k.missed == nil {
		k.missed = make(map[string]int)
	}
	for _, e := range now {
		delete(k.missed, e.Addr)
	}
	kept := all[:len(now):len(now)] // Apply puts those of the answer first
	for _, e := range all[len(now):] {
		if k.missed[e.Addr]++; k.missed[e.Addr] < k.forgetAfter {
			kept = append(kept, e)
		} else {
			delete(k.missed, e.Addr)
		}
	}
	return kept
}

// schedule is a component: it decides when the next lookup begins. It has no clock.
type schedule struct {
	Polling
	failures int // lookups that failed, in a row
	vain     int // lookups that Refresh asked for and that found nothing new, in a row
}

// next returns how long after a lookup the next one begins, and how long after it a Refresh can
// make it begin. ok says that the lookup succeeded, changed that its answer was new,
// refreshed that Refresh had asked for it. random and random2 are numbers from 0 to 1.
func (s *schedule) next(ok, changed, refreshed bool, random, random2 float64) (poll, soonest time.Duration) {
	spread := func(d time.Duration, by float64) time.Duration {
		return max(s.MinInterval, d+time.Duration(float64(d)*s.Jitter*by))
	}
	switch {
	case changed || !refreshed:
		s.vain = 0
	default:
		s.vain++
	}
	if !ok {
		s.failures++
		poll = spread(doubled(s.MinInterval, s.failures-1, s.Interval), 2*random-1)
		return poll, poll
	}
	s.failures = 0
	poll = spread(s.Interval, 2*random-1)
	soonest = spread(doubled(s.MinInterval, s.vain, s.Interval), random2)
	return poll, min(poll, soonest)
}

// doubled returns d doubled n times, but at most most.
func doubled(d time.Duration, n int, most time.Duration) time.Duration {
	for ; n > 0 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

// poller is a Resolver that calls a function again and again.
type poller struct {
	source  string
	polling Polling
	lookup  func(ctx context.Context) answer

	mu    sync.Mutex
	wakes map[chan struct{}]struct{} // one for each Watch
}

func newPoller(source string, polling Polling, lookup func(context.Context) answer) *poller {
	return &poller{
		source:  source,
		polling: polling.withDefaults(),
		lookup:  lookup,
		wakes:   make(map[chan struct{}]struct{}),
	}
}

// Refresh implements [Refresher].
func (p *poller) Refresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for wake := range p.wakes {
		select {
		case wake <- struct{}{}:
		default: // one is waiting there already
		}
	}
}

// Watch implements [Resolver].
func (p *poller) Watch(ctx context.Context, f func(Update)) error {
	// One Refresh is remembered: one during a lookup may be about something that happened after
	// the source had answered, so it asks for another lookup.
	wake := make(chan struct{}, 1)
	p.mu.Lock()
	p.wakes[wake] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.wakes, wake)
		p.mu.Unlock()
	}()

	var (
		sched     = schedule{Polling: p.polling}
		know      = known{forgetAfter: p.polling.ForgetAfter}
		current   *lookup // under way
		abandoned *lookup // one that hung, and may still do so
		refreshed bool    // Refresh has asked for the current one
	)
	defer func() { linger(current, abandoned) }()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if current == nil {
			current = p.begin(ctx)
		}
		returned := current.wait(ctx, p.polling.Timeout+hangGrace)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		result := answer{err: ErrHung}
		if returned {
			result, current = current.result, nil
		} else if abandoned.over() {
			abandoned, current = current, nil
		}
		u, used, changed := know.learn(result)
		if u.Err != nil {
			u.Err = &LookupError{p.source, u.Err}
		}
		poll, soonest := sched.next(used && result.err == nil, changed, refreshed, random.Float64(), random.Float64())
		f(u)
		if current != nil { // two hang
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-current.done: // late, but nothing has been looked up since
				continue
			case <-abandoned.done:
				abandoned, current = current, nil
			}
		}
		refreshed = pause(ctx, wake, poll, soonest)
	}
}

// pause returns after poll, or when ctx ends. If there is a Refresh it returns after soonest,
// or at once if that has passed, and reports true. soonest counts from the call of pause and
// not from the Refresh: a Refresh is not delayed if the last lookup is long ago.
func pause(ctx context.Context, wake <-chan struct{}, poll, soonest time.Duration) (refreshed bool) {
	began := time.Now()
	timer := time.NewTimer(poll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return refreshed
		case <-timer.C:
			return refreshed
		case <-wake:
			if !refreshed {
				refreshed = true
				timer.Reset(max(0, soonest-time.Since(began)))
			}
		}
	}
}

// lookup is one call of the function of a poller, on a goroutine of its own.
type lookup struct {
	done   chan struct{} // closed when result is set
	result answer
}

// begin begins a lookup.
func (p *poller) begin(ctx context.Context) *lookup {
	l := &lookup{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		ctx, cancel := context.WithTimeout(ctx, p.polling.Timeout)
		defer cancel()
		guarded(&l.result, func() answer { return p.lookup(ctx) })
	}()
	return l
}

// guarded sets *result to what f returns, to the panic in it, or to ErrGoexit if f ends the
// goroutine; functions that its caller has deferred then run with *result set.
func guarded(result *answer, f func() answer) {
	result.err = resource.ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			*result = answer{err: &resource.PanicError{Where: "Lookup", Value: v, Stack: debug.Stack()}}
		}
	}()
	*result = f()
}

// wait waits until the lookup has returned, and reports whether it has: it stops after d, and
// when ctx ends.
func (l *lookup) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return l.over()
}

// over reports whether the lookup has returned, or there is none.
func (l *lookup) over() bool {
	if l == nil {
		return true
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// linger gives lookups whose context has ended a moment to return, so that as a rule nothing
// of a Watch runs once it has returned.
func linger(all ...*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), hangGrace)
	defer cancel()
	for _, l := range all {
		if l != nil {
			l.wait(ctx, hangGrace)
		}
	}
}

// faultList collects the faults of a Config.
type faultList []string

func (e *faultList) require(ok bool, format string, args ...any) {
	if !ok {
		*e = append(*e, fmt.Sprintf(format, args...))
	}
}

// wrap returns nil, or an error that matches ErrConfig.
func (e faultList) wrap() error {
	if len(e) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConfig, strings.Join(e, "; "))
}
