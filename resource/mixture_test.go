package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

var errMixture = errors.New("trouble")

// mixture applies every operation to one pool at once, with functions that
// misbehave in every way until calm. Its pool is a plain one, or one of a Keyed's.
type mixture struct {
	t    *testing.T
	unit time.Duration // of holds, makes and deadlines

	fixed  bool // the maximum stays as it is
	calm   atomic.Bool
	over   chan struct{} // closed when calm: a deaf function ends then
	made   atomic.Int64
	gone   atomic.Int64
	jacked atomic.Int64
	misses atomic.Int64 // acquires that returned an error, and TryAcquires that returned false
	permit [3]*ledger
}

func (x *mixture) roll(n int) int {
	if x.calm.Load() {
		return n - 1
	}
	return rand.IntN(n)
}

// some is a time up to n units.
func (x *mixture) some(n int) time.Duration {
	return time.Duration(rand.Int64N(int64(n) * int64(x.unit)))
}

// trouble misbehaves, sometimes: it waits, panics, ends its goroutine or fails.
func (x *mixture) trouble(ctx context.Context, rare int) error {
	switch x.roll(rare) {
	case 0:
		panic("trouble")
	case 1:
		runtime.Goexit()
	case 2, 3:
		return errMixture
	case 4, 5:
		timer := time.NewTimer(x.some(20))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-x.over:
		}
	case 6: // deaf
		timer := time.NewTimer(x.some(200))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.over:
		}
	case 7: // until ctx ends, where it does
		timer := time.NewTimer(300 * x.unit)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-x.over:
		}
	}
	return nil
}

// quick is trouble in a function that must not block.
func (x *mixture) quick(rare int) {
	switch x.roll(rare) {
	case 0:
		panic("trouble")
	case 1:
		runtime.Goexit()
	}
}

func (x *mixture) make(ctx context.Context) (*token, error) {
	if err := x.trouble(ctx, 40); err != nil {
		return nil, err
	}
	x.made.Add(1)
	return &token{}, nil
}

func (x *mixture) destroy(tok *token, cause error) {
	if tok.gone.Swap(true) || cause == nil {
		x.t.Errorf("I3: destroyed twice, or for no cause: %v", cause)
	}
	if n := tok.holders.Load(); n != 0 {
		x.t.Errorf("I2: destroyed with %d holders", n)
	}
	x.gone.Add(1)
	_ = x.trouble(context.Background(), 60)
}

// alone runs f, which has tok to itself.
func (x *mixture) alone(by string, tok *token, f func() error) error {
	if n := tok.holders.Add(1); n != 1 || tok.gone.Load() {
		x.t.Errorf("I2: %s is one of %d with the same resource; gone: %v", by, n, tok.gone.Load())
	}
	defer tok.holders.Add(-1)
	return f()
}

type mixtureHealth struct{ x *mixture }

func (h mixtureHealth) Due(resource.Info) bool { h.x.quick(100); return h.x.roll(4) == 0 }

func (h mixtureHealth) Check(ctx context.Context, tok *token, _ resource.Info) error {
	return h.x.alone("Check", tok, func() error {
		err := h.x.trouble(ctx, 40)
		if err != nil && h.x.roll(3) == 0 {
			err = fmt.Errorf("%w: %w", resource.ErrTolerated, err)
		}
		return err
	})
}

// mixtureQueue pops waiters in any order, those that left and old ones too.
type mixtureQueue struct {
	x    *mixture
	some []*resource.Waiter
	old  *resource.Waiter
}

func (q *mixtureQueue) Push(w *resource.Waiter, _ time.Duration) {
	q.x.quick(50)
	q.some = append(q.some, w)
}

func (q *mixtureQueue) Remove(w *resource.Waiter) {
	q.x.quick(50)
	for i := range q.some {
		if q.some[i] == w && q.x.roll(5) > 0 { // else it forgets to
			q.some = append(q.some[:i], q.some[i+1:]...)
			return
		}
	}
}

func (q *mixtureQueue) Pop(time.Duration) (*resource.Waiter, error) {
	q.x.quick(50)
	switch n := q.x.roll(20); {
	case n == 0 || len(q.some) == 0:
		return nil, nil
	case n == 1:
		return q.old, nil
	case n == 2:
		return &resource.Waiter{}, nil
	}
	i := rand.IntN(len(q.some))
	q.old = q.some[i]
	q.some = append(q.some[:i], q.some[i+1:]...)
	if q.x.roll(20) == 0 {
		return q.old, errMixture
	}
	return q.old, nil
}

// ledger is an Admission that refuses and misbehaves.
func (x *mixture) ledger(rare int) *ledger {
	return &ledger{
		before: func(ctx context.Context, r resource.Request) error {
			if r.NoWait {
				x.quick(rare)
				return nil
			}
			if x.roll(rare) == 0 {
				return &resource.Rejection{RetryAfter: x.some(20)}
			}
			return x.trouble(ctx, rare)
		},
		after: func(resource.Outcome) { x.quick(rare) },
	}
}

// config is one with a choice of features, each there or not.
func (x *mixture) config(size int) resource.Config[*token] {
	has := func() bool { return rand.IntN(2) == 0 }
	cfg := resource.Config[*token]{
		MaxSize: size, Make: x.make, Destroy: x.destroy,
		Watch: func(tok *token, invalidate func(error)) {
			tok.invalidate.Store(&invalidate)
			if x.roll(50) == 0 {
				invalidate(errMixture)
			}
			x.quick(100)
		},
		Broken:      func(error) bool { x.quick(50); return x.roll(2) == 0 },
		MakeTimeout: 50 * x.unit, ReleaseTimeout: 20 * x.unit, SweepInterval: max(resource.MinSweepInterval, 30*x.unit),
		Order: resource.Order(rand.IntN(2)), Outage: resource.OutageMode(rand.IntN(2)),
	}
	if has() {
		cfg.MinIdle = rand.IntN(size + 1)
	}
	if has() {
		cfg.Queue = &mixtureQueue{x: x}
	}
	if has() {
		cfg.Eviction = evictFunc(func(i resource.Info) error {
			x.quick(200)
			if i.Age > time.Duration(float64(100*x.unit)*(1+i.Jitter)) {
				return errMixture
			}
			return nil
		})
	}
	if has() {
		cfg.Health = mixtureHealth{x}
	}
	if has() {
		cfg.OnRelease = func(ctx context.Context, tok *token) error {
			return x.alone("OnRelease", tok, func() error { return x.trouble(ctx, 40) })
		}
	}
	if has() {
		cfg.Trace = traceAll(func(string) { x.quick(300) })
	}
	for i, a := range []*resource.Admission{&cfg.Admission, &cfg.MakeGate, &cfg.Quota} {
		if has() {
			*a = x.permit[i]
		}
	}
	return cfg
}

// caller acquires and ends leases in every way, n times.
func (x *mixture) caller(pool func() *resource.Pool[*token], n int) {
	for range n {
		mayEnd(func() { x.acquire(pool()) })
		if x.roll(4) == 0 {
			time.Sleep(x.some(5)) // a random working time, as the next two
		}
	}
}

func (x *mixture) acquire(p *resource.Pool[*token]) {
	if x.roll(30) == 0 {
		for _, l := range p.AcquireAllIdle() {
			mayEnd(func() { x.use(p, l, true) })
		}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	switch x.roll(4) {
	case 0:
		time.AfterFunc(x.some(20), cancel)
	case 1, 2:
		ctx, cancel = context.WithTimeout(ctx, x.some(60))
	}
	defer cancel()
	r := resource.Request{Fresh: x.roll(8) == 0, NoWait: x.roll(10) == 0}
	switch x.roll(6) {
	case 0:
		r.MinRemaining = x.some(150)
	case 1:
		r.MinRemaining = -x.some(2)
	}
	l, err := p.AcquireWith(ctx, r)
	if err != nil {
		x.misses.Add(1)
		if l != (resource.Lease[*token]{}) || !errors.As(err, new(*resource.AcquireError)) {
			x.t.Errorf("acquire: %v, %v", l, err)
		}
		return
	}
	defer l.Discard(errMixture) // if what follows does not come back
	x.use(p, l, r.NoWait)
}

func (x *mixture) use(p *resource.Pool[*token], l resource.Lease[*token], looked bool) {
	tok := l.Value()
	if n := tok.holders.Add(1); n != 1 || tok.gone.Load() {
		x.t.Errorf("I2: one of %d holders; gone: %v", n, tok.gone.Load())
	}
	if x.roll(3) == 0 {
		time.Sleep(x.some(6)) // a random hold
	}
	if x.roll(20) == 0 {
		(*tok.invalidate.Load())(errMixture)
	}
	tok.holders.Add(-1)
	switch n := x.roll(30); {
	case n == 0:
		l.Discard(nil)
	case n < 3:
		l.Fail(errMixture)
	case n == 3:
		x.jacked.Add(1)
		if _, ok := l.Hijack(); !ok {
			x.t.Error("Hijack of a lease that has not ended failed")
		}
	case n < 8 || looked:
		l.ReleaseUnused()
	default:
		l.Release()
	}
	l.Release() // does nothing
}

// meddle changes the pool, until calm.
func (x *mixture) meddle(pool func() *resource.Pool[*token], max int) {
	for !x.calm.Load() {
		p := pool()
		mayEnd(func() {
			ctx, cancel := context.WithTimeout(context.Background(), x.some(40))
			defer cancel()
			switch rand.IntN(8) {
			case 0:
				for range 1 + rand.IntN(4) {
					p.Reset(errMixture)
				}
			case 1:
				if x.fixed {
					break
				}
				if err := p.Resize(1 + rand.IntN(max)); err != nil {
					x.t.Errorf("Resize: %v", err)
				}
			case 2:
				_ = p.Warm(ctx, rand.IntN(max+2))
			case 3:
				_ = p.MakeOne(ctx)
			case 4:
				in := p.Inspect(10)
				if err := unbalanced(in.Stats); err != nil {
					x.t.Error(err)
				}
			case 5:
				if l, ok := p.TryAcquire(); ok {
					x.use(p, l, false)
				} else {
					x.misses.Add(1)
				}
			default:
				s := p.Stats()
				if err := unbalanced(s); err != nil {
					x.t.Error(err)
				}
				if n := s.Idle + s.Leased + s.Making + s.Destroying; x.fixed && n > s.Max {
					x.t.Errorf("I1: %d: %v", n, s)
				}
			}
			time.Sleep(x.some(4)) // a random pace
		})
	}
}

// newMixture makes one whose times are of that unit.
func newMixture(t *testing.T, unit time.Duration) *mixture {
	x := &mixture{t: t, unit: unit, over: make(chan struct{}), fixed: rand.IntN(2) == 0}
	for i := range x.permit {
		x.permit[i] = x.ledger(30)
	}
	return x
}

// run does everything to the pools, and then checks that they are whole.
func (x *mixture) run(pools func() *resource.Pool[*token], each []*resource.Pool[*token], max, callers, n int, closeAll func(context.Context) error) {
	var wg, meddlers sync.WaitGroup
	for range 2 {
		meddlers.Go(func() { x.meddle(pools, max) })
	}
	for range callers {
		wg.Go(func() { x.caller(pools, n) })
	}
	wg.Wait()
	x.calm.Store(true)
	close(x.over)
	meddlers.Wait()
	for _, p := range each {
		x.rest(p)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := closeAll(ctx); err != nil {
		x.t.Errorf("Close: %v", err)
	}
	if made, gone, jacked := x.made.Load(), x.gone.Load(), x.jacked.Load(); made != gone+jacked {
		x.t.Errorf("I3: %d made, %d destroyed, %d hijacked", made, gone, jacked)
	}
	for i := range x.permit {
		if err := x.permit[i].check(); err != nil {
			x.t.Errorf("permits of kind %d: %v", i, err)
		}
	}
	failures := int64(0)
	for _, p := range each {
		s := p.Stats()
		failures += s.Failures.Total()
		if err := unbalanced(s); err != nil {
			x.t.Error(err)
		}
		if s.Load != (resource.Load{Max: s.Max}) || s.Waited != s.WaitsServed+s.WaitsFailed {
			x.t.Errorf("after Close: %v; waited %d, served %d", s, s.Waited, s.WaitsServed)
		}
	}
	if n := x.misses.Load(); failures != n {
		x.t.Errorf("%d acquires failed, but Stats has %d", n, failures)
	}
}

// rest checks that p, to which nothing is done any more, serves as many callers as
// its maximum says.
func (x *mixture) rest(p *resource.Pool[*token]) {
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		l, err := p.Acquire(ctx)
		for err != nil && ctx.Err() == nil { // an outage may not be over
			x.misses.Add(1)
			time.Sleep(x.unit) // an outage ends by time alone; the loop has a bound
			l, err = p.Acquire(ctx)
		}
		cancel()
		if err != nil {
			x.t.Fatalf("in calm: %v", err)
		}
		l.Release()
	}
}

// mixtureTime is how long each of the tests runs: RESPOOL_STRESS, or a little.
func mixtureTime(t *testing.T) time.Duration {
	t.Helper()
	if s, set := os.LookupEnv("RESPOOL_STRESS"); set {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("RESPOOL_STRESS: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 200 * time.Millisecond
	}
	return 700 * time.Millisecond
}

// Every operation runs on one pool at once, and every function that it calls
// misbehaves. Nothing is lost or has two holders, the counts balance at any time,
// no caller waits in vain, and Close ends it all.
func TestMixture(t *testing.T) {
	for end := time.Now().Add(mixtureTime(t)); time.Now().Before(end) && !t.Failed(); {
		x := newMixture(t, 200*time.Microsecond)
		max := 1 + rand.IntN(6)
		p := newPool(t, x.config(max))
		within(t, time.Minute, func() {
			x.run(func() *resource.Pool[*token] { return p }, []*resource.Pool[*token]{p}, max, 2+rand.IntN(12), 30, p.Close)
		})
	}
}

// The same in virtual time: there a caller that waits in vain stops the clock.
func TestMixture_VirtualTime(t *testing.T) {
	end := time.Now().Add(mixtureTime(t))
	for round := 1; time.Now().Before(end) && !t.Failed(); round++ {
		synctest.Test(t, func(t *testing.T) {
			x := newMixture(t, 20*time.Millisecond)
			max, callers, n := 1+rand.IntN(6), 2+rand.IntN(12), 40
			if round%5 == 0 { // more than one hold of the lock does
				max, callers, n = 1+rand.IntN(100), 150, 6
			}
			cfg := x.config(max)
			p := newPool(t, cfg)
			watchdog := time.AfterFunc(2*time.Hour, func() {
				panic(fmt.Sprintf("after two hours: %v\n%+v", p.Stats(), cfg))
			})
			defer watchdog.Stop()
			x.run(func() *resource.Pool[*token] { return p }, []*resource.Pool[*token]{p}, max, callers, n, p.Close)
		})
	}
}

// The same with the pools of a Keyed, whose total is small.
func TestMixture_Keyed(t *testing.T) {
	for end := time.Now().Add(mixtureTime(t)); time.Now().Before(end) && !t.Failed(); {
		synctest.Test(t, func(t *testing.T) {
			x := newMixture(t, 20*time.Millisecond)
			const keys, max = 4, 3
			total := 1 + rand.IntN(4)
			var each []*resource.Pool[*token]
			k := newKeyed(t, resource.KeyedConfig[int, *token]{
				MaxTotal: total, ForgetAfter: time.Hour,
				Config: func(int) (resource.Config[*token], error) { return x.config(max), nil },
			})
			for key := range keys {
				p, err := k.Pool(key)
				if err != nil {
					t.Fatal(err)
				}
				each = append(each, p)
			}
			watchdog := time.AfterFunc(50*time.Minute, func() {
				for _, p := range each {
					fmt.Println(p.Stats())
				}
				panic("after 50 minutes: " + k.Stats().String())
			})
			defer watchdog.Stop()
			x.run(func() *resource.Pool[*token] { return each[rand.IntN(keys)] }, each, max, 2+rand.IntN(12), 40, k.Close)
		})
	}
}
