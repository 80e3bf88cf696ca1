package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
	"github.com/respool/respool/internal/keymap"
)

// Keyed lends resources by key: one [Pool] for each key, created when the key is first used
// and forgotten when it has long been empty, under one total. Make one with [NewKeyed]. All
// methods may be called by any number of goroutines at once.
//
// When the total is used up and a caller needs a new resource of its key, the least
// recently used idle resource of any other key gives way ([ErrPreempted]; the order is
// known to 100 ms). If that key has no more resources than the caller's key would have
// then, its resource gives way only after it has been idle for as long as its creation
// took.
//
// If nothing is idle the keys share fairly. The next free slot goes to the waiting key that
// has the fewest resources. A key that has at least two more than that gives up a resource
// when one is given back, although callers of its own wait. If there are fewer slots than
// keys they take turns: a key that has nothing is served before later callers of other
// keys, once the resource given back has existed for as long as its creation took, and
// before all of them, once it has existed four times as long. So a busy key cannot starve a
// quiet one.
//
// Let no key use the whole total, by a MaxSize below MaxTotal: resources that are leased or
// being created are not taken back, and a key whose creations hang keeps their slots until
// [Config.MakeTimeout]. [Config.MinIdle] takes only free slots. [Pool.Warm] also takes
// those of idle resources of other keys, but not those of a key that is being warmed itself
// and has no more. The pool does not wait for a slot whose Destroy takes longer than about
// a second: another resource gives way.
//
// A key costs memory, and no goroutine.
type Keyed[K comparable, T any] struct {
	cfg     KeyedConfig[K, T] // constant
	checked bool              // constant: not every key can be looked up
	common  shared[T]
	pools   keymap.Map[K, *keyPool[K, T]]
	closed  atomic.Bool
	tidying sync.Mutex // held while onTidy runs

	mu    sync.Mutex
	gone  snapshot      // the sum over the pools that have ended
	open  int           // pools that have not ended
	empty chan struct{} // closed when open is 0 and closed is set
	tidy  *time.Timer   // nil: no key yet
	armed bool          // tidy is running
}

// keyPool is a key and its pool.
type keyPool[K comparable, T any] struct {
	key  K
	once sync.Once // sets pool or err
	pool atomic.Pointer[Pool[T]]
	err  error
	over atomic.Bool // forgotten, or about to be: an acquire that finds pool closed tries again

	inside atomic.Int64 // acquires that ask the Admission of pool, or wait
}

// enter counts an acquire in inside, unless the pool is forgotten.
func (s *keyPool[K, T]) enter() bool {
	for {
		s.inside.Add(1)
		if !s.over.Load() {
			return true // forget, which sets over first, sees the count
		}
		s.inside.Add(-1)
		p := s.pool.Load()
		p.lock() // until forget has decided
		forgotten := p.closed
		p.unlock()
		if forgotten {
			return false
		}
	}
}

// get returns the pool of s, and creates it if there is none yet.
func (k *Keyed[K, T]) get(s *keyPool[K, T]) (*Pool[T], error) {
	if p := s.pool.Load(); p != nil {
		return p, nil
	}
	s.once.Do(func() { k.fill(s) })
	if p := s.pool.Load(); p != nil {
		return p, nil
	}
	return nil, s.err
}

// NewKeyed returns a Keyed for cfg, which it copies. The error names every bad field. Call
// [Keyed.Close] when done. It creates no pool and does not block.
func NewKeyed[K comparable, T any](cfg KeyedConfig[K, T]) (*Keyed[K, T], error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.ForgetAfter == 0 {
		cfg.ForgetAfter = DefaultForgetAfter
	}
	k := &Keyed[K, T]{cfg: cfg, checked: checksKeys(reflect.TypeFor[K]()), empty: make(chan struct{})}
	k.common.base = time.Now()
	k.common.budget = budget.New(cfg.MaxTotal, func() time.Duration { return time.Since(k.common.base) })
	k.common.drained = k.ended
	return k, nil
}

// Acquire lends a resource of that key. [Pool.Acquire] says what it waits for and how it
// fails. It also fails with [ErrBadKey] and with what [KeyedConfig.Config] returned; these
// are not counted in Stats, since there is no pool.
func (k *Keyed[K, T]) Acquire(ctx context.Context, key K) (Lease[T], error) {
	for {
		p, err := k.use(key)
		if err != nil {
			k.countClosed(err)
			return Lease[T]{}, err
		}
		var l Lease[T]
		if p.cfg.Admission == nil {
			l, err = p.acquireUncounted(ctx, Request{})
		} else {
			l, err = k.acquireInside(ctx, p, Request{})
		}
		if err == nil || !k.again(p, err) {
			return p.acquired(ctx, l, k.drainError(err))
		}
	}
}

// countClosed counts an acquire that finds the Keyed closed.
func (k *Keyed[K, T]) countClosed(err error) {
	if a, ok := err.(*AcquireError); ok && a.Reason == ReasonClosed {
		k.common.failures[ReasonClosed].Add(1)
	}
}

// AcquireWith is Acquire with a [Request], as [Pool.AcquireWith]. It blocks and fails as
// Pool.AcquireWith and as Acquire do.
func (k *Keyed[K, T]) AcquireWith(ctx context.Context, key K, r Request) (Lease[T], error) {
	for {
		p, err := k.use(key)
		if err != nil {
			k.countClosed(err)
			return Lease[T]{}, err
		}
		var l Lease[T]
		var began time.Time
		if p.cfg.Admission == nil {
			l, err = p.acquireUncounted(ctx, r)
		} else {
			if r.MaxWait > 0 { // without an Admission a pool that has ended fails the acquire at once
				began = time.Now()
			}
			l, err = k.acquireInside(ctx, p, r)
		}
		if err == nil || !k.again(p, err) {
			return p.acquired(ctx, l, k.drainError(err))
		}
		if !began.IsZero() {
			r.MaxWait = max(1, r.MaxWait-time.Since(began))
		}
	}
}

// acquireInside is acquireUncounted of p, which is not forgotten meanwhile: a caller that waits in the
// Admission counts as one of p nowhere else.
func (k *Keyed[K, T]) acquireInside(ctx context.Context, p *Pool[T], r Request) (Lease[T], error) {
	s := p.keyPool.(*keyPool[K, T])
	if !s.enter() {
		return Lease[T]{}, p.failure(ReasonClosed, ErrClosed, 0) // see again: the Admission is not asked in vain
	}
	defer s.inside.Add(-1)
	return p.acquireUncounted(ctx, r)
}

// TryAcquire lends an idle resource of that key if there is one and no caller waits for it,
// as [Pool.TryAcquire] does. It does not bring a key into use.
func (k *Keyed[K, T]) TryAcquire(key K) (Lease[T], bool) {
	p, ok := k.Find(key)
	if !ok {
		if k.checkKey(key) == nil {
			k.common.failures[ReasonNoneIdle].Add(1)
		}
		return Lease[T]{}, false
	}
	return p.TryAcquire()
}

// Do lends a resource of that key to f, as [Pool.Do] does. It blocks and fails as Acquire,
// and does not call f then.
func (k *Keyed[K, T]) Do(ctx context.Context, key K, f func(context.Context, T) error) error {
	return k.DoWith(ctx, key, Request{}, f)
}

// DoWith is Do with a [Request], as [Pool.DoWith]. It blocks and fails as Do.
func (k *Keyed[K, T]) DoWith(ctx context.Context, key K, r Request, f func(context.Context, T) error) error {
	l, err := k.AcquireWith(ctx, key, r)
	if err != nil {
		return err
	}
	return l.do(ctx, f)
}

// Pool returns the pool for key, and creates it if there is none. It may be used like any
// other: to [Pool.Warm] or [Pool.Resize] it, or to [Pool.Reset] the resources of that key.
// Closing it drains the key. A pool that is forgotten is closed: do not keep it, but call
// Pool again. It fails with [ErrBadKey], or with what [KeyedConfig.Config] returned. It
// also fails with an [*AcquireError] of [ErrClosed] when the Keyed is closed. It blocks
// only while KeyedConfig.Config runs for that key.
func (k *Keyed[K, T]) Pool(key K) (*Pool[T], error) {
	p, err := k.use(key)
	if err == nil && k.closed.Load() {
		return nil, errKeyedClosed()
	}
	return p, err
}

// use is Pool, but returns the pool of a key in use also if the Keyed is closed: that counts the
// acquires that fail.
func (k *Keyed[K, T]) use(key K) (*Pool[T], error) {
	if err := k.checkKey(key); err != nil {
		return nil, err
	}
	s, ok := k.pools.Load(key)
	if !ok {
		s, _ = k.pools.LoadOrStore(key, &keyPool[K, T]{key: key})
	}
	return k.get(s)
}

// Find returns the pool for key if there is one. See [Keyed.Pool]. It does not block.
func (k *Keyed[K, T]) Find(key K) (*Pool[T], bool) {
	if k.checkKey(key) != nil {
		return nil, false
	}
	s, ok := k.pools.Load(key)
	if !ok {
		return nil, false
	}
	p := s.pool.Load()
	return p, p != nil
}

// All yields every key in use, with its pool, in no order. See [Keyed.Pool]. The keys are
// those in use when the iteration begins; one that comes into use later may be missing,
// and the pool of one that was forgotten since is closed. No lock is held while the loop's
// body runs.
func (k *Keyed[K, T]) All() iter.Seq2[K, *Pool[T]] {
	return func(yield func(K, *Pool[T]) bool) {
		for _, e := range k.pools.Entries() {
			if p := e.Value.pool.Load(); p != nil && !yield(e.Key, p) {
				return
			}
		}
	}
}

// Len returns how many keys are in use.
func (k *Keyed[K, T]) Len() int { return k.pools.Len() }

// Resize changes the total; each key keeps its MaxSize, which [Pool.Resize] of [Keyed.Pool]
// changes. Growing lets waiters have new resources at once. Shrinking destroys surplus idle
// resources at once, the least recently used first, and interrupts no holder: while there are
// too many, leased ones are destroyed as they are given back. It fails if max is less than 1,
// or with [ErrClosed].
func (k *Keyed[K, T]) Resize(max int) error {
	if err := checkSize(max); err != nil {
		return fmt.Errorf("resource: new total %w", err)
	}
	if k.closed.Load() {
		return ErrClosed
	}
	k.common.budget.Resize(max)
	k.common.budget.Settle()
	for _, p := range k.All() {
		p.lock()
		p.maker.warmed(p.existLocked(), p.cap.most(), nil) // fewer may be enough now
		p.unlock()
	}
	return nil
}

// Reset replaces every resource of all keys, as [Pool.Reset] does. It does not wait.
func (k *Keyed[K, T]) Reset(cause error) {
	for _, p := range k.All() {
		p.Reset(cause)
	}
}

// Drain closes that key: until it is drained its acquires, those that wait included, fail
// with [ErrDraining]; idle resources are destroyed, leased ones when their lease ends. When
// Drain returns nil no resource of the key is left: the next acquire of the key begins anew,
// with a new Config and counters from 0. If ctx ends before that, Drain returns a
// [*CloseError] and the draining continues, so a leaked lease keeps the key out of use until
// the lease ends: see [Keyed.Reclaim]. A key that is not in use is drained.
func (k *Keyed[K, T]) Drain(ctx context.Context, key K) error {
	if k.checkKey(key) != nil {
		return nil // it was never in use
	}
	s, ok := k.pools.Load(key)
	if !ok {
		return nil
	}
	p := s.pool.Load()
	if p == nil {
		return nil // Config has not returned: the key was not in use before
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	k.drop(s)
	return nil
}

// DefaultForgetAfter is what zero means in [KeyedConfig.ForgetAfter].
const DefaultForgetAfter = time.Minute

// MinForgetAfter is the least [KeyedConfig.ForgetAfter]: all keys are visited that often.
const MinForgetAfter = time.Millisecond

// KeyedConfig says how the pools of a [Keyed] work. [NewKeyed] copies it.
type KeyedConfig[K comparable, T any] struct {
	// Config returns the Config of the pool for key; its MaxSize is the most that this key
	// may have. Required. It is called when the key is first used, and again when it is used
	// after it was forgotten, by the caller that uses it, and must not block: other callers
	// of the key wait for it meanwhile, whatever their contexts. It must not use that key of
	// the Keyed itself, which would wait for ever. With an error, or a bad Config, those
	// callers fail, and the key counts as unused.
	//
	// Policies may be shared between the Configs, so that they apply to all keys together,
	// but a [Queue] may not: return a new one each time.
	Config func(key K) (Config[T], error)

	// MaxTotal is how many resources of all keys may exist at once, those being created (or
	// waiting for their MakeGate) and being destroyed included. Required, from 1 to 2³¹-1;
	// [Keyed.Resize] changes it.
	MaxTotal int

	// ForgetAfter is how long a key must have been without resources and
	// without use to be forgotten, at least MinForgetAfter. Zero:
	// DefaultForgetAfter.
	ForgetAfter time.Duration
}

// check names every bad field.
func (c *KeyedConfig[K, T]) check() error {
	var bad []error
	if c.Config == nil {
		bad = append(bad, errors.New("Config is required"))
	}
	if err := checkSize(c.MaxTotal); err != nil {
		bad = append(bad, fmt.Errorf("MaxTotal %w", err))
	}
	if c.ForgetAfter != 0 && c.ForgetAfter < MinForgetAfter {
		bad = append(bad, fmt.Errorf("ForgetAfter must be 0 or at least %v, got %v", MinForgetAfter, c.ForgetAfter))
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("resource: bad KeyedConfig: %w", errors.Join(bad...))
}

// fill sets the pool of s, or the error why there is none.
func (k *Keyed[K, T]) fill(s *keyPool[K, T]) {
	began := false
	s.err = fmt.Errorf("%w: Config", ErrGoexit) // unless it returns
	defer func() {
		if s.pool.Load() == nil {
			k.pools.Delete(s.key, s)
			if began {
				k.end()
			}
		}
	}()
	if began = k.begin(); !began {
		s.err = errKeyedClosed()
		return
	}
	cfg, err := k.configure(s.key)
	if err != nil {
		s.err = err
		return
	}
	p, err := newPool(cfg, &k.common, s)
	if err != nil {
		s.err = err
		return
	}
	s.pool.Store(p)
	if k.closed.Load() {
		p.beginClose() // Close may not have seen it
	}
	k.arm()
}

func errKeyedClosed() error { return &AcquireError{Err: ErrClosed, Reason: ReasonClosed} }

// begin counts a pool that is to be created, unless the Keyed is closed.
func (k *Keyed[K, T]) begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed.Load() {
		k.open++
		return true
	}
	return false
}

// end counts a pool that has ended.
func (k *Keyed[K, T]) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open--; k.open == 0 && k.closed.Load() {
		close(k.empty)
	}
}

// configure calls Config. The error does not name the key, which may be a secret.
func (k *Keyed[K, T]) configure(key K) (cfg Config[T], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Where: "Config", Value: v, Stack: debug.Stack()}
		}
	}()
	if cfg, err = k.cfg.Config(key); err != nil {
		err = fmt.Errorf("resource: no pool for this key: %w", err)
	}
	return cfg, err
}

// again reports whether an acquire from p failed with err only because p ended between the
// look-up and the acquire: it was forgotten, or drained before the acquire began. A caller
// that waited was there when the key was drained.
func (k *Keyed[K, T]) again(p *Pool[T], err error) bool {
	var failed *AcquireError
	if k.closed.Load() || !errors.As(err, &failed) || failed.Err != ErrClosed {
		return false
	}
	s := p.keyPool.(*keyPool[K, T])
	if failed.Waited > 0 && !s.over.Load() {
		return false
	}
	select {
	case <-p.drained:
		k.drop(s)
		return true
	default:
		return false
	}
}

// drainError returns the error of an acquire: ErrDraining if it found its key closed and the
// Keyed open.
func (k *Keyed[K, T]) drainError(err error) error {
	if failed, ok := err.(*AcquireError); ok && failed.Err == ErrClosed && !k.closed.Load() {
		draining := *failed // a copy: Trace.Waited may have kept failed
		draining.Err = ErrDraining
		return &draining
	}
	return err
}

// drop takes the pool of s, which has ended, out of the map.
func (k *Keyed[K, T]) drop(s *keyPool[K, T]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pools.Delete(s.key, s) {
		k.gone.add(s.pool.Load().mu.Ask())
	}
}

// ended removes p, which has just been drained.
func (k *Keyed[K, T]) ended(p *Pool[T]) {
	p.life.close()
	k.drop(p.keyPool.(*keyPool[K, T]))
	k.end()
}

// arm has tidy run once ForgetAfter has passed.
func (k *Keyed[K, T]) arm() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.armed || k.closed.Load() {
		return
	}
	k.armed = true
	if k.tidy == nil {
		k.tidy = time.AfterFunc(k.cfg.ForgetAfter, k.onTidy)
	} else {
		k.tidy.Reset(k.cfg.ForgetAfter)
	}
}

// onTidy forgets the keys that have long been empty.
func (k *Keyed[K, T]) onTidy() {
	k.tidying.Lock()
	defer k.tidying.Unlock()
	for _, e := range k.pools.Entries() {
		k.forget(e.Value)
	}
	k.mu.Lock()
	k.armed = false
	k.mu.Unlock()
	if k.pools.Len() > 0 {
		k.arm()
	}
}

// forget closes the pool of s if it has nothing and has not been used for a while, and if it
// has no state to remember, such as an outage.
func (k *Keyed[K, T]) forget(s *keyPool[K, T]) {
	p := s.pool.Load()
	if p == nil {
		return
	}
	p.lock()
	var tries, sooner chan struct{}
	defer func() {
		p.unlock()
		notifyTries(tries)
		notifyTries(sooner)
	}()
	now := p.clock.now()
	used := p.cap.live > 0 || p.maker.lost > 0 || p.busy > 0 || p.waiters.n > 0 || len(p.maker.warming) > 0 ||
		p.ticking || now-time.Duration(p.clock.tick.Load())*tickLen < k.cfg.ForgetAfter
	awaited := p.cfg.MinIdle > 0 || p.maker.breaker.RetryAfter(now) > 0 || p.maker.barred > now
	if p.closed || used || awaited {
		return
	}
	if s.over.Store(true); s.inside.Load() > 0 {
		s.over.Store(false)
		return
	}
	p.closed = true
	p.setSlowPathLocked()
	p.shutLocked()
	p.cancel(ErrClosed)
	tries, sooner = p.maker.takeTries(), p.maker.takeSooner()
}

// Close ends all keys: waiters, and all later acquires, get [ErrClosed] at once; creations
// are canceled, idle resources destroyed, leased ones when their lease ends. It returns nil
// when nothing of the Keyed runs any more, or a [*CloseError] for all keys together when ctx
// ends before; the closing continues, and Close may be called again to wait for it. Give ctx
// a deadline: if a lease leaked, Close waits until ctx ends.
func (k *Keyed[K, T]) Close(ctx context.Context) error {
	k.mu.Lock()
	if !k.closed.Swap(true) && k.open == 0 {
		close(k.empty)
	}
	if k.tidy != nil {
		k.tidy.Stop()
	}
	k.mu.Unlock()
	for _, p := range k.All() {
		p.beginClose()
	}
	select {
	case <-k.empty:
	default:
		select {
		case <-k.empty:
		case <-ctx.Done():
			return k.closeError(ctx)
		}
	}
	k.tidying.Lock()
	defer k.tidying.Unlock()
	k.common.budget.Rest()
	return nil
}

// closeError says what of all pools together has not ended.
func (k *Keyed[K, T]) closeError(ctx context.Context) error {
	sum := &CloseError{Err: ctxError(ctx)}
	for _, p := range k.All() {
		addOut(sum, p)
	}
	sum.Load.Max, _, _ = k.common.budget.Levels()
	return sum
}

// KeyedStats is a snapshot of a [Keyed].
type KeyedStats struct {
	// Stats is the sum over all keys, those forgotten included; Load.Max is the total. A caller
	// of AcquireAny, which waits at several keys, counts once. The keys are read one after the
	// other, so the sum reconciles exactly only while nothing happens. Outage and LastMake are
	// those of any key.
	Stats
	Keys      int   // in use
	Outages   int   // how many of them have an outage
	Preempted int64 // resources that made way for another key
}

// String formats the statistics in one line.
func (s KeyedStats) String() string {
	return fmt.Sprintf("%d keys, %d in outage; %v; %d preempted", s.Keys, s.Outages, s.Stats, s.Preempted)
}

// Stats returns a snapshot. Its cost grows with the number of keys; for one key
// see [Keyed.Find].
func (k *Keyed[K, T]) Stats() KeyedStats {
	k.mu.Lock() // no pool ends meanwhile, so none is counted twice
	defer k.mu.Unlock()
	var s KeyedStats
	sum := k.gone
	for _, e := range k.pools.Entries() {
		pool := e.Value.pool.Load()
		if pool == nil {
			continue
		}
		one := pool.mu.Ask()
		sum.add(one)
		sum.Load.add(one.Load)
		sum.any.waiting += one.any.waiting
		s.Keys++
		if one.Outage {
			sum.Outage = true
			s.Outages++
		}
		if one.LastMake != nil {
			sum.LastMake = one.LastMake
		}
	}
	k.common.any.replace(&sum)
	s.Stats = sum.Stats
	for r := range k.common.failures {
		*s.Failures.field(Reason(r)) = k.common.failures[r].Load()
	}
	s.Canceled, s.Rejected = s.Failures.Canceled, s.Failures.Rejected()
	s.Max, _, s.Preempted = k.common.budget.Levels()
	return s
}

// add adds the levels of o.
func (l *Load) add(o Load) {
	l.Max += o.Max
	l.Idle += o.Idle
	l.Leased += o.Leased
	l.Making += o.Making
	l.Destroying += o.Destroying
	l.Hanging += o.Hanging
	l.Abandoned += o.Abandoned
	l.Waiting += o.Waiting
	l.Wanting += o.Wanting
}

// add adds the counters of o.
func (s *Stats) add(o Stats) {
	s.Acquired += o.Acquired
	s.Released += o.Released
	s.AcquireTime += o.AcquireTime
	s.Waited += o.Waited
	s.WaitTime += o.WaitTime
	s.WaitsServed += o.WaitsServed
	s.WaitsServedTime += o.WaitsServedTime
	s.WaitsFailed += o.WaitsFailed
	s.WaitsFailedTime += o.WaitsFailedTime
	s.Begun.add(o.Begun)
	s.Withdrawn += o.Withdrawn
	s.Canceled += o.Canceled
	s.Rejected += o.Rejected
	s.Failures.add(o.Failures)
	s.Made += o.Made
	s.MakeTime += o.MakeTime
	s.Failed += o.Failed
	s.Refused += o.Refused
	s.Destroyed += o.Destroyed
	s.Hijacked += o.Hijacked
	s.Evicted += o.Evicted
	s.Unhealthy += o.Unhealthy
	s.Invalidated += o.Invalidated
	s.ReleaseFailed += o.ReleaseFailed
	s.Panics += o.Panics
}

// inspectedKeys is how many keys' policies [Keyed.Inspect] reports.
const inspectedKeys = 16

// Inspect is [Pool.Inspect] for all keys together: Stats are those of [Keyed.Stats], MinIdle
// the sum over the keys, OldestWait the longest of any, Resources some of all keys, and
// Waiting the callers of all keys that have waited longest, in that order, each once. Policies
// are those of the first few keys, equal ones listed once; Settings those of the Keyed and of
// the same keys; Quotas those of all keys, each holder of one listed once. Its cost grows with
// the number of keys, and it creates none.
func (k *Keyed[K, T]) Inspect(limit int) Inspection {
	in := Inspection{Stats: k.Stats().Stats}
	asked := 0
	waits := longest{most: max(0, limit)}
	listing := k.common.listings.Add(1)
	var quotas quotaSet
	var settings [][]Setting // of each key
	for _, p := range k.All() {
		wait := p.inspector.longestWait()
		in.OldestWait = max(in.OldestWait, wait)
		in.MinIdle += p.cfg.MinIdle
		if waits.takes(wait) {
			waits.add(p.inspector.waiting(limit, listing))
		}
		p.inspector.list(&in, limit)
		p.policies.sharedQuotas(&quotas)
		if asked++; asked > inspectedKeys {
			continue
		}
		if limit > 0 {
			settings = append(settings, settingsOf(&p.cfg, &p.guard, p.Stats().Max))
		}
		for _, s := range p.policies.states() {
			if !slices.Contains(in.Policies, s) {
				in.Policies = append(in.Policies, s)
			}
		}
	}
	in.Waiting = waits.cut()
	in.Quotas = quotas.all
	if limit > 0 {
		in.Settings = keyedSettings(&k.cfg, in.Max, settings)
	}
	return in
}

// longest collects the waiters that have waited longest, of many keys.
type longest struct {
	most  int
	all   []WaiterInfo  // twice as many at most, in no order
	least time.Duration // a waiter must have waited longer to be one of them; 0: any may be
}

// takes reports whether a waiter that has waited so long may be one of them.
func (l *longest) takes(wait time.Duration) bool { return l.least == 0 || wait > l.least }

func (l *longest) add(some []WaiterInfo) {
	if l.all = append(l.all, some...); len(l.all)-l.most > l.most {
		l.all = l.cut()
		l.least = l.all[l.most-1].Waited
	}
}

// cut returns them, the longest wait first.
func (l *longest) cut() []WaiterInfo {
	slices.SortStableFunc(l.all, func(a, b WaiterInfo) int { return cmp.Compare(b.Waited, a.Waited) })
	return l.all[:min(len(l.all), l.most)]
}

// InspectKey is [Pool.Inspect] for one key, if that is in use. It neither creates a key nor
// keeps one from being forgotten.
func (k *Keyed[K, T]) InspectKey(key K, limit int) (Inspection, bool) {
	p, ok := k.Find(key)
	if !ok {
		return Inspection{}, false
	}
	return p.Inspect(limit), true
}

// View returns one key as something to inspect, for code that watches pools. The key need
// not be in use, now or later.
func (k *Keyed[K, T]) View(key K) KeyView[K, T] { return KeyView[K, T]{k, key} }

// KeyView is one key of a [Keyed], to be inspected. It may be copied.
type KeyView[K comparable, T any] struct {
	keyed *Keyed[K, T]
	key   K
}

// Inspect is [Keyed.InspectKey]. While the key is not in use it is the zero
// Inspection; when it is used anew after that its counters begin at 0.
func (v KeyView[K, T]) Inspect(limit int) Inspection {
	in, _ := v.keyed.InspectKey(v.key, limit)
	return in
}

// SampleFor is [Pool.SampleFor] of the key. It does nothing while the key is not in use.
func (v KeyView[K, T]) SampleFor(d time.Duration) {
	if p, ok := v.keyed.Find(v.key); ok {
		p.SampleFor(d)
	}
}

// RetryNow is [Pool.RetryNow] for every key in use. It does not block.
func (k *Keyed[K, T]) RetryNow() {
	for _, p := range k.All() {
		p.RetryNow()
	}
}

// Reclaim is [Pool.Reclaim] for a resource of any key: an ID is unique among the resources
// of all keys. Its cost grows with the number of keys and of resources.
func (k *Keyed[K, T]) Reclaim(id, lease uint64) bool {
	for _, p := range k.All() {
		if p.Reclaim(id, lease) {
			return true
		}
	}
	return false
}

// SampleFor is [Pool.SampleFor] for every key in use.
func (k *Keyed[K, T]) SampleFor(d time.Duration) {
	for _, p := range k.All() {
		p.SampleFor(d)
	}
}

// ErrBadKey means that a key of a [Keyed] cannot be looked up: it holds, in an interface, a
// value that cannot be hashed, such as a slice, or it is not equal to itself, as
// NaN is. The error names the type, and never the key, which may be a secret.
var ErrBadKey = errors.New("resource: key cannot be looked up")

// checksKeys reports whether some keys of type t cannot be looked up.
func checksKeys(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return checksKeys(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if checksKeys(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// checkKey is why key cannot be looked up, nil if it can.
func (k *Keyed[K, T]) checkKey(key K) error {
	if !k.checked {
		return nil
	}
	return reflectKey(key)
}

// reflectKey is not inlined: the key escapes, and would do so for all callers.
//
//go:noinline
func reflectKey[K any](key K) error { return checkKey(reflect.ValueOf(&key).Elem()) }

func checkKey(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return checkKey(v.Elem())
	case reflect.Float32, reflect.Float64:
		if math.IsNaN(v.Float()) {
			return fmt.Errorf("%w: a %v that is NaN", ErrBadKey, v.Type())
		}
	case reflect.Complex64, reflect.Complex128:
		if c := v.Complex(); math.IsNaN(real(c)) || math.IsNaN(imag(c)) {
			return fmt.Errorf("%w: a %v that is NaN", ErrBadKey, v.Type())
		}
	case reflect.Array:
		for i := range v.Len() {
			if err := checkKey(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := checkKey(v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Map, reflect.Func:
		return fmt.Errorf("%w: it holds a %v, which cannot be hashed", ErrBadKey, v.Type())
	}
	return nil
}
