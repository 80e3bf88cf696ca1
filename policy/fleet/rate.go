package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// RateConfig says how a process takes part in a rate that many processes share. Ledger,
// Rate, Tokens and Per are required. All processes should state the same Tokens, Per and Burst.
// Rate has 1 to 200 printable ASCII characters without spaces and braces.
type RateConfig struct {
	Ledger RateLedger    // the engine that all processes reach; it stays the caller's
	Rate   string        // the name of the rate, the same in all processes; shown, so not a secret
	Tokens int           // creations that all processes together may begin in each Per, evenly spread
	Per    time.Duration // from 1 ms to 24 h
	Burst  int           // creations that may begin at once after a pause; 0: Tokens
	// Chunk is how many tokens one operation fetches at most, when several requests wait.
	// Zero: 8.
	Chunk int
	// Timeout bounds one operation of the ledger through its context. After one that failed the
	// next is made a tenth of Timeout later, at most 6 s; this doubles up to five times Timeout,
	// at most 5 min. Zero: 1 s.
	Timeout time.Duration
}

// Defaults of a [RateConfig].
const (
	defaultChunk       = 8
	defaultRateTimeout = time.Second
	rateKeep           = time.Second // how long a token that no request took is kept
	maxRatePace        = time.Minute // a longer Timeout makes no longer pause after a failure
)

func (c *RateConfig) check() error {
	var e fieldErrors
	e.require(c.Ledger != nil, "Ledger is required")
	e.name("Rate", c.Rate)
	e.units("Tokens", c.Tokens, 1)
	e.lasts("Per", c.Per)
	e.units("Burst", c.Burst, 0)
	e.units("Chunk", c.Chunk, 0)
	e.require(c.Timeout >= 0, "Timeout must be at least 0, got %v", c.Timeout)
	return e.wrap(ErrConfig)
}

// DialRate is a [resource.Admission] for [resource.Config.MakeGate]: all processes together
// begin at most [RateConfig].Tokens creations in each Per, after a pause up to Burst at once.
// Create it with [NewDialRate] and end it with Close: the zero DialRate cannot be used. Its
// methods are safe for concurrent use.
//
// Tokens are fetched from the ledger in the background, one for each waiting request, at most
// RateConfig.Chunk at once. If the context of a request ends before the request has taken its
// token, the token is kept for a second. While the ledger does not answer, only tokens that
// were kept are used: a rate protects the provider, and the next creation can wait.
type DialRate struct {
	cfg  RateConfig
	kick chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	call ledgerCall[Taken] // of Take; only run uses it

	mu      sync.Mutex
	closed  bool
	waiting []*rateWaiter // in order of arrival
	missed  bool          // a request with NoWait found no token since the last fetch
	spare   int           // tokens that no request has taken
	until   time.Time     // when spare is dropped
	nextAt  time.Time     // no fetch before
	err     error         // of the last fetch; nil: it was answered
	fails   int           // fetches that failed in a row
	misses  int           // fetches in a row that got nothing
	fetched int64
	fetches int64
}

type rateWaiter struct {
	ready  chan struct{} // closed when it is served or refused
	served bool
	err    error // set before ready is closed
}

// NewDialRate returns a DialRate and starts its goroutine, which calls the ledger when a request
// arrives. It fails with an error that matches [ErrConfig] and names every invalid field.
func NewDialRate(cfg RateConfig) (*DialRate, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Chunk == 0 {
		cfg.Chunk = defaultChunk
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultRateTimeout
	}
	d := &DialRate{cfg: cfg, kick: make(chan struct{}, 1), done: make(chan struct{})}
	d.call.method = "RateLedger.Take"
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.run()
	return d, nil
}

// Admit admits one creation, whatever r.Cost is. It waits for a token, first come, first
// served, until ctx ends, and then fails with the error of ctx. With r.NoWait it fails with
// policy.ErrRate and a RetryAfter if no token was kept; a token is then fetched, and kept for a
// second. While the ledger does not answer it fails with [ErrLost] and a RetryAfter, and after
// Close with [ErrClosed]. The Done is nil.
func (d *DialRate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	d.mu.Lock()
	if d.spare > 0 && now.Before(d.until) && len(d.waiting) == 0 && !d.closed {
		d.spare--
		d.mu.Unlock()
		return nil, nil
	}
	if err := d.refusalLocked(now, r.NoWait); err != nil {
		d.missed = true
		d.mu.Unlock()
		d.wake()
		return nil, err
	}
	w := &rateWaiter{ready: make(chan struct{})}
	d.waiting = append(d.waiting, w)
	d.mu.Unlock()
	d.wake()
	select {
	case <-w.ready:
		return nil, w.err
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.served {
		if w.err == nil {
			d.keepLocked(1, time.Now())
		}
		return nil, ctx.Err()
	}
	for i := range d.waiting {
		if d.waiting[i] == w {
			d.waiting = append(d.waiting[:i], d.waiting[i+1:]...)
			break
		}
	}
	return nil, ctx.Err()
}

// refusalLocked returns why a request is refused; nil: the request waits.
func (d *DialRate) refusalLocked(now time.Time, noWait bool) error {
	retry := max(1, d.nextAt.Sub(now))
	switch {
	case d.closed:
		return d.reject(0, ErrClosed)
	case d.err != nil:
		return d.reject(retry, errors.Join(ErrLost, d.err))
	case noWait:
		return d.reject(retry, policy.ErrRate)
	}
	return nil
}

func (d *DialRate) reject(retryAfter time.Duration, err error) error {
	return &resource.Rejection{Policy: d.cfg.Rate, RetryAfter: retryAfter, Err: err}
}

// keepLocked keeps n tokens for a while, or gives them to requests that wait.
func (d *DialRate) keepLocked(n int, now time.Time) {
	if !now.Before(d.until) {
		d.spare = 0
	}
	d.spare += n
	d.until = now.Add(rateKeep)
	for d.spare > 0 && len(d.waiting) > 0 {
		d.spare--
		d.endLocked(nil)
	}
}

// endLocked serves or refuses the first request that waits.
func (d *DialRate) endLocked(err error) {
	w := d.waiting[0]
	d.waiting[0] = nil
	d.waiting = d.waiting[1:]
	w.served, w.err = true, err
	close(w.ready)
}

func (d *DialRate) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// run fetches tokens while requests wait, and tries again while the ledger does not answer.
func (d *DialRate) run() {
	defer close(d.done)
	timer := time.NewTimer(forever)
	defer timer.Stop()
	for d.ctx.Err() == nil {
		now := time.Now()
		d.mu.Lock()
		want, at := min(len(d.waiting), d.cfg.Chunk), d.nextAt
		idle := want == 0 && d.err == nil && !d.missed
		d.mu.Unlock()
		switch {
		case idle:
			timer.Stop()
		case at.After(now):
			timer.Reset(at.Sub(now))
		default:
			d.fetch(max(1, want))
			continue
		}
		select {
		case <-timer.C:
		case <-d.kick:
		case <-d.ctx.Done():
		}
	}
}

// fetch takes up to n tokens from the ledger.
func (d *DialRate) fetch(n int) {
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.Timeout)
	t, err := d.ask(ctx, Draw{Rate: d.cfg.Rate, Tokens: d.cfg.Tokens, Per: d.cfg.Per, Burst: d.cfg.Burst, Want: n})
	cancel()
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetches++
	d.missed = false
	if err != nil {
		d.err = err
		first := min(d.cfg.Timeout, maxRatePace) / 10
		d.nextAt = now.Add(jittered(min(first<<min(d.fails, 6), 50*first)))
		d.fails++
		for len(d.waiting) > 0 {
			d.endLocked(d.refusalLocked(now, false))
		}
		return
	}
	d.err, d.fails = nil, 0
	if t.Granted > 0 {
		d.misses = 0
	} else {
		d.misses++
	}
	d.nextAt = now.Add(t.RetryAfter)
	if d.misses > 0 { // others were faster: they would be again if all came at the same time
		each := d.cfg.Per / time.Duration(d.cfg.Tokens)
		d.nextAt = d.nextAt.Add(time.Duration(random.Int64N(int64(min(each<<min(d.misses-1, 10), max(8*each, time.Second))) + 1)))
	}
	d.fetched += int64(t.Granted)
	d.keepLocked(t.Granted, now)
}

// ask calls the ledger.
func (d *DialRate) ask(ctx context.Context, draw Draw) (Taken, error) {
	t, err := d.call.do(ctx, d.cfg.Timeout, func() (Taken, error) { return d.cfg.Ledger.Take(ctx, draw) })
	if err == nil && (t.Granted < 0 || t.Granted > draw.Want || t.RetryAfter < 0) {
		err = fmt.Errorf("fleet: RateLedger.Take returned an invalid answer: %+v", t)
	}
	return t, err
}

// Close ends the goroutine. Waiting requests, and later ones, are refused with [ErrClosed]. It
// cancels a running operation of the ledger and blocks until that has returned, but no longer than
// Timeout. It may be called more than once.
func (d *DialRate) Close() {
	d.mu.Lock()
	d.closed = true
	for len(d.waiting) > 0 {
		d.endLocked(d.reject(0, ErrClosed))
	}
	d.mu.Unlock()
	d.cancel()
	<-d.done
}

// State implements [resource.Stateful].
func (d *DialRate) State() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := fmt.Sprintf("%s: %d per %v, %d taken, %d waiting", d.cfg.Rate, d.cfg.Tokens, d.cfg.Per, d.fetched, len(d.waiting))
	if d.err != nil {
		text += ", no answer"
	}
	return text
}
