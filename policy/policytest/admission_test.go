package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

var errFull = errors.New("full")

// limiter is a correct Admission: it admits at most max at once, and other requests
// wait. Its flags introduce faults.
type limiter struct {
	max int

	mu      sync.Mutex
	out     int
	waiting []chan struct{} // each receives a permit

	// Faults.
	before func(ctx context.Context, r resource.Request) (resource.Done, error, bool)
	lose   func(o resource.Outcome) bool // reports whether a permit returned with o is lost
	stays  bool                          // a cancelled request stays in the queue
	drops  bool                          // a request cancelled too late drops its permit
	deaf   bool                          // waiting requests are not woken
	gives  bool                          // a cancelled request returns a permit that it does not have
	twice  bool                          // a request cancelled too late returns its permit twice
}

func (l *limiter) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if l.before != nil {
		if done, err, ends := l.before(ctx, r); ends {
			return done, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l.mu.Lock()
	if l.out < l.max {
		l.out++
		l.mu.Unlock()
		return l.done, nil
	}
	if r.NoWait {
		l.mu.Unlock()
		return nil, errFull
	}
	turn := make(chan struct{}, 1)
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return l.done, nil
	case <-ctx.Done():
		l.giveUp(turn)
		return nil, ctx.Err()
	}
}

// giveUp removes turn from the queue, or returns the permit that it received.
func (l *limiter) giveUp(turn chan struct{}) {
	if l.stays || l.leave(turn) && !l.gives || l.drops {
		return
	}
	if l.twice {
		l.done(resource.Outcome{})
	}
	l.done(resource.Outcome{})
}

// leave removes turn from the queue and reports whether it was in there.
func (l *limiter) leave(turn chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, turn)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return i >= 0
}

func (l *limiter) done(o resource.Outcome) {
	if l.lose != nil && l.lose(o) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 && !l.deaf {
		l.waiting[0] <- struct{}{}
		l.waiting = l.waiting[1:]
		return
	}
	l.out--
}

// counting is a limiter with InFlight.
type counting struct{ *limiter }

func (c counting) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out
}

// racy counts requests with a deadline and NoWait by a load and a store instead of one
// atomic operation, which the race detector does not see. It loses only increments, so
// that losses do not cancel out.
type racy struct{ n atomic.Int64 }

func (r *racy) add() {
	n := r.n.Load()
	runtime.Gosched()
	r.n.CompareAndSwap(n, n+1)
}

func (r *racy) Admit(ctx context.Context, req resource.Request) (resource.Done, error) {
	if _, ends := ctx.Deadline(); !ends || !req.NoWait {
		return nil, nil
	}
	r.add()
	return func(resource.Outcome) { r.n.Add(-1) }, nil
}

func (r *racy) InFlight() int { return int(r.n.Load()) }

// bucket is a token bucket. It is correct if checked is set: it then refuses negative
// costs.
type bucket struct {
	burst, rate float64
	checked     bool // refuse negative costs
	capped      bool // cap the tokens at burst after a negative cost

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newBucket(burst, rate float64) *bucket {
	return &bucket{burst: burst, rate: rate, tokens: burst, last: time.Now()}
}

func (b *bucket) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	if b.checked && r.Cost < 0 {
		return nil, errors.New("negative cost")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
	b.last = now
	cost := float64(r.Cost)
	if r.Cost == 0 {
		cost = 1
	}
	if b.tokens < cost {
		return nil, errFull
	}
	if b.tokens -= cost; b.capped {
		b.tokens = min(b.burst, b.tokens)
	}
	return nil, nil
}

// units is a limit in units that does not check the Cost.
type units struct {
	most int
	mu   sync.Mutex
	used int
}

func (u *units) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	n := r.Cost
	if n == 0 {
		n = 1
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.used+n > u.most {
		return nil, errFull
	}
	u.used += n
	return func(resource.Outcome) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.used -= n
	}, nil
}

type admitFunc func(ctx context.Context, r resource.Request) (resource.Done, error)

func (f admitFunc) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return f(ctx, r)
}

// breaker is a correct Admission: after a failure it refuses for a second, then admits
// one trial.
type breaker struct {
	mu     sync.Mutex
	opened time.Time // zero: closed
	trying bool
	wedges bool // fault: no trial follows an ignored one
}

func (b *breaker) Admit(context.Context, resource.Request) (resource.Done, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	trial := !b.opened.IsZero()
	if wait := time.Second - time.Since(b.opened); trial && (b.trying || wait > 0) {
		return nil, &resource.Rejection{Policy: "breaker", RetryAfter: max(0, wait)}
	}
	b.trying = trial
	return func(o resource.Outcome) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.wedges && o.Verdict == resource.Ignored {
			return
		}
		if trial {
			b.trying = false
		}
		switch {
		case o.Verdict == resource.Failed:
			b.opened = time.Now()
		case o.Verdict == resource.OK && trial:
			b.opened = time.Time{}
		}
	}, nil
}

func TestAdmission_Sound(t *testing.T) {
	always := func(context.Context, resource.Request) (resource.Done, error) { return nil, nil }
	for name, new := range map[string]func() resource.Admission{
		"always":   func() resource.Admission { return admitFunc(always) },
		"one":      func() resource.Admission { return &limiter{max: 1} },
		"seven":    func() resource.Admission { return &limiter{max: 7} },
		"counting": func() resource.Admission { return counting{&limiter{max: 3}} },
		"breaker":  func() resource.Admission { return &breaker{} },
		"bucket": func() resource.Admission {
			b := newBucket(3, 100)
			b.checked = true
			return b
		},
		"fast bucket": func() resource.Admission {
			b := newBucket(20, 1e6)
			b.checked = true
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { policytest.Admission(t, new) })
		})
		if name != "breaker" && !strings.HasSuffix(name, "bucket") { // these depend on time
			t.Run(name+" in real time", func(t *testing.T) { policytest.Admission(t, new) })
		}
	}
}

// A policy that admits only some requests is tested with those.
func TestAdmission_Requests(t *testing.T) {
	asked := make(map[string]bool)
	var mu sync.Mutex
	onlyClassC := func() resource.Admission {
		l := &limiter{max: 2}
		l.before = func(_ context.Context, r resource.Request) (resource.Done, error, bool) {
			mu.Lock()
			defer mu.Unlock()
			asked[r.Class] = true
			return nil, errFull, r.Class != "c"
		}
		return l
	}
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		policytest.Admission(r, onlyClassC)
		if said := r.all(); said == "" {
			t.Error("a policy that refuses the zero Request passes without requests")
		}
		clear(asked)
		policytest.Admission(t, onlyClassC, resource.Request{Class: "c"}, resource.Request{Class: "c", Priority: 3})
	})
	if !asked["c"] || asked["a"] {
		t.Errorf("asked for classes %v, want c and not a", asked)
	}
}

// A policy with a Close method is closed.
func TestAdmission_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Admission(t, func() resource.Admission {
			c := &closing{limiter: &limiter{max: 2}, stop: make(chan struct{})}
			go func() { <-c.stop }()
			return c
		})
		r := &recorder{TB: t}
		policytest.Admission(r, func() resource.Admission {
			return &closing{limiter: &limiter{max: 2}, stop: make(chan struct{}), err: errFull}
		})
		if want, got := "Close: full", r.all(); !strings.Contains(got, want) {
			t.Errorf("reported %q, want %q in it", got, want)
		}
	})
}

type closing struct {
	*limiter
	stop chan struct{}
	err  error
}

func (c *closing) Close() error {
	close(c.stop)
	return c.err
}

func TestAdmission_Broken(t *testing.T) {
	of := func(new func(free <-chan struct{}) resource.Admission) func(testing.TB, <-chan struct{}) {
		return func(t testing.TB, free <-chan struct{}) {
			policytest.Admission(t, func() resource.Admission { return new(free) })
		}
	}
	limit := func(edit func(l *limiter, free <-chan struct{})) func(testing.TB, <-chan struct{}) {
		return of(func(free <-chan struct{}) resource.Admission {
			l := &limiter{max: 4}
			edit(l, free)
			return l
		})
	}
	refusing := func(done resource.Done, err error) func(testing.TB, <-chan struct{}) {
		return limit(func(l *limiter, _ <-chan struct{}) {
			n := 0
			l.before = func(context.Context, resource.Request) (resource.Done, error, bool) {
				n++
				return done, err, n > 1
			}
		})
	}
	losing := func(v resource.Verdict) func(testing.TB, <-chan struct{}) {
		return limit(func(l *limiter, _ <-chan struct{}) {
			l.lose = func(o resource.Outcome) bool { return o.Verdict == v }
		})
	}
	extreme := func(f func(free <-chan struct{})) func(testing.TB, <-chan struct{}) {
		return limit(func(l *limiter, free <-chan struct{}) {
			l.before = func(_ context.Context, r resource.Request) (resource.Done, error, bool) {
				if r.Cost < -1 {
					f(free)
				}
				return nil, nil, false
			}
		})
	}
	wantFailures(t, []broken{
		{"nil", []string{"new returned nil"}, of(func(<-chan struct{}) resource.Admission { return nil })},
		{"refuses all", []string{"refused its first request", "full"}, limit(func(l *limiter, _ <-chan struct{}) { l.max = 0 })},
		{"done and error", []string{"both a Done and the error \"full\""}, refusing(func(resource.Outcome) {}, errFull)},
		{"negative RetryAfter", []string{"RetryAfter -1ns"}, refusing(nil, fmt.Errorf("no: %w", &resource.Rejection{RetryAfter: -1}))},
		{"error without text", []string{"without text"}, refusing(nil, errors.New(""))},
		{"error that panics", []string{"methods cannot be called"}, refusing(nil, (*resource.Rejection)(nil))},
		{"loses Ignored permits", []string{"returned as Ignored; now at most 0 are admitted"}, losing(resource.Ignored)},
		{"loses OK permits", []string{"balance after OK", "returned as OK several times; now at most 0"}, losing(resource.OK)},
		{"loses Failed permits", []string{"balance after Failed", "returned as Failed several times; now at most 0"}, losing(resource.Failed)},
		{"returns every permit twice", []string{"balance after Ignored", "4 were admitted at first", "now more than 8 are admitted"},
			limit(func(l *limiter, _ <-chan struct{}) {
				l.lose = func(resource.Outcome) bool {
					l.mu.Lock()
					defer l.mu.Unlock()
					l.out--
					return false
				}
			})},
		{"returns a permit without having one", []string{"cancellation", "were cancelled", "now more than 2 are admitted"},
			limit(func(l *limiter, _ <-chan struct{}) { l.max, l.gives = 1, true })},
		{"returns twice on late cancellation", []string{"while permits are returned", "now more than 8 are admitted"},
			limit(func(l *limiter, _ <-chan struct{}) { l.twice = true })},
		{"counts wrong", []string{"InFlight() = 1, want 0"}, of(func(<-chan struct{}) resource.Admission {
			return counting{&limiter{max: 4, out: 1}}
		})},
		{"panics at extreme costs", []string{fmt.Sprint("Cost:", math.MinInt), "panicked: extreme"}, extreme(func(<-chan struct{}) { panic("extreme") })},
		{"exits at extreme costs", []string{fmt.Sprint("Cost:", math.MinInt), "ended its goroutine"}, extreme(func(<-chan struct{}) { exitIf(true) })},
		{"blocks at extreme costs", []string{fmt.Sprint("Cost:", math.MinInt), "has not returned after 1s"}, extreme(func(free <-chan struct{}) { <-free })},
		{"mints tokens", []string{"negative costs", "(3 at first) in use", "after each of 24 requests with Cost -1,", "must be refused"},
			of(func(<-chan struct{}) resource.Admission { return newBucket(3, 1) })},
		{"mints tokens up to the burst", []string{"negative costs", "(3 at first)"},
			of(func(<-chan struct{}) resource.Admission { b := newBucket(3, 1); b.capped = true; return b })},
		{"mints tokens of a large bucket", []string{"negative costs", "with Cost -100,"},
			of(func(<-chan struct{}) resource.Admission { return newBucket(100, 10) })},
		{"mints units", []string{"negative costs", "(4 at first)"},
			of(func(<-chan struct{}) resource.Admission { return &units{most: 4} })},
		{"blocks in Done", []string{"Done({Verdict:2", "has not returned"}, limit(func(l *limiter, free <-chan struct{}) {
			l.lose = func(o resource.Outcome) bool {
				if o.Latency < 0 {
					<-free
				}
				return false
			}
		})},
		{"ignores NoWait", []string{"NoWait:true", "with 4 admitted before it, has not returned after 1s"}, of(func(free <-chan struct{}) resource.Admission {
			l := &limiter{max: 4}
			return admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				go func() {
					select {
					case <-free:
						cancel()
					case <-ctx.Done():
					}
				}()
				r.NoWait = false
				return l.Admit(ctx, r)
			})
		})},
		{"wedged by an ignored trial", []string{"after failures", "and then those of 1 trials as Ignored; now at most 0"},
			of(func(<-chan struct{}) resource.Admission { return &breaker{wedges: true} })},
		{"ignores its context", []string{"the context of 5 more requests ends", "1s later 5 of 5 calls of Admit have not returned"}, of(func(free <-chan struct{}) resource.Admission {
			l := &limiter{max: 4}
			return admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
				if _, ends := ctx.Deadline(); !ends && ctx.Err() == nil {
					c, cancel := context.WithCancel(context.Background())
					defer cancel()
					go func() {
						select {
						case <-free:
							cancel()
						case <-c.Done():
						}
					}()
					ctx = c
				}
				return l.Admit(ctx, r)
			})
		})},
		{"leaks cancelled requests", []string{"were cancelled, and all permits were returned as Ignored; now at most 0"},
			limit(func(l *limiter, _ <-chan struct{}) { l.stays = true })},
		{"leaks on late cancellation", []string{"while permits are returned", "times; all permits were returned as Ignored", "want 4"},
			limit(func(l *limiter, _ <-chan struct{}) { l.drops = true })},
		{"does not wake", []string{"waiting", "8 more requests began", "2m0s later 8 of 8 calls"},
			limit(func(l *limiter, free <-chan struct{}) { l.deaf = true })},
		{"loses count under concurrency", []string{"many goroutines (", "InFlight() ="},
			of(func(<-chan struct{}) resource.Admission { return &racy{} })},
		{"loses one permit under concurrency", []string{"many goroutines, all Ignored", "at most 63 are admitted at once, want 64"},
			limit(func(l *limiter, _ <-chan struct{}) {
				var once sync.Once
				l.max = 64
				l.before = func(ctx context.Context, r resource.Request) (done resource.Done, err error, ends bool) {
					if _, ends := ctx.Deadline(); ends && r.NoWait {
						once.Do(func() {
							l.mu.Lock()
							l.max--
							l.mu.Unlock()
						})
					}
					return nil, nil, false
				}
			})},
		{"blocks under load", []string{"many goroutines", "with a context that ended after 2ms at most"},
			limit(func(l *limiter, _ <-chan struct{}) {
				l.before = func(ctx context.Context, r resource.Request) (done resource.Done, err error, ends bool) {
					if _, ends := ctx.Deadline(); ends && r.NoWait {
						time.Sleep(1100 * moment)
					}
					return nil, nil, false
				}
			})},
		{"leaves a goroutine", []string{"goroutines are left behind", "admission_test.go"}, limit(func(l *limiter, free <-chan struct{}) {
			go func() { <-free }()
		})},
	})
}

// Each subtest uses a new policy and fails if that policy fails.
func TestAdmission_EverySubtest(t *testing.T) {
	var all []broken
	for i, name := range []string{
		"balance after Ignored", "balance after OK", "balance after Failed", "extreme requests",
		"negative costs", "after failures",
		"cancellation", "cancellation while permits are returned", "waiting", "many goroutines", "many goroutines, all Ignored",
		"as Admission of a pool", "as MakeGate of a pool", "as Quota of a pool",
	} {
		pool := strings.HasSuffix(name, "pool")
		all = append(all, broken{name, []string{"Admission, " + name + " (", "oops"}, func(t testing.TB, _ <-chan struct{}) {
			made := 0
			policytest.Admission(t, func() resource.Admission {
				made++
				return panicking(made == i+1, pool)
			})
		}})
	}
	wantFailures(t, all)
}

// panicking is a correct Admission, or one that panics: only in a pool, or always.
func panicking(broken, pool bool) resource.Admission {
	l := &limiter{max: 4}
	l.before = func(context.Context, resource.Request) (resource.Done, error, bool) {
		if broken && (!pool || inPool()) {
			panic("oops")
		}
		return nil, nil, false
	}
	return l
}
