package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// sessions is the section of a resource.Pool.
type sessions struct {
	name   string
	load   *load
	target *target
	secure *tls.Config // nil: none
	most   int         // MaxSize never exceeds it
	floor  int         // MinIdle
	resets bool        // sessions are reset between two leases
	// config completes the Config of a generation, which has Make, Destroy and Watch.
	config func(g *generation, c *resource.Config[*session]) error
	shared *allotment // that all sessions of several pools are counted in; nil: none

	gone   atomic.Int64 // creations of earlier generations
	kept   atomic.Int64 // leases that plantLease has kept
	number int          // generations so far; used by one goroutine at a time
	now    atomic.Pointer[generation]
}

// generation is a pool from New to Close, with its book, its meter and the leases that leaked.
type generation struct {
	n       int
	pool    *resource.Pool[*session]
	book    *book
	meter   *metrics.Meter
	permits []*permits // of the Admission, the MakeGate and the Quota, in this order; nil: there is none
	checked bool       // the pool has a Health, so it finds idle sessions that the server has closed
	users   atomic.Int64
	calls   atomic.Int64 // acquires called
	got     atomic.Int64 // leases that callers got
	release func()       // of what belongs to the generation alone; nil: nothing

	mu       sync.Mutex
	leaked   []leak
	shutting bool // no lease may leak any more
}

// leak is a lease that its holder does not end.
type leak struct {
	lease  resource.Lease[*session]
	x      *session
	tenant int64
	id     uint64
	at     time.Time
}

func (s *sessions) label() string      { return s.name }
func (s *sessions) targets() []*target { return []*target{s.target} }

// open begins a generation.
func (s *sessions) open() (*generation, error) {
	s.number++
	g := &generation{n: s.number}
	g.book = newBook(s.name, s.load.journal, s.most, func() (string, *tls.Config) { return s.target.addr(), s.secure })
	g.book.shared = s.shared
	var err error
	if g.meter, err = newMeter(s.name, s.number); err != nil {
		return nil, err
	}
	c := resource.Config[*session]{
		Make: g.book.make, Destroy: g.book.destroy, Watch: g.book.watch,
		MaxSize: s.most, MinIdle: s.floor, MakeTimeout: 1500 * time.Millisecond, SweepInterval: 200 * time.Millisecond,
		Trace: g.meter.Trace(nil), Describe: func(x *session) string { return "session" },
	}
	if err := s.config(g, &c); err != nil {
		return nil, err
	}
	g.checked = c.Health != nil
	if g.pool, err = resource.New(c); err != nil {
		return nil, err
	}
	if err := g.meter.Watch(g.pool); err != nil {
		return nil, errors.Join(err, g.pool.Close(context.Background()))
	}
	s.now.Store(g)
	return g, nil
}

// shut ends a generation that callers no longer find, and returns what is wrong.
func (s *sessions) shut(ctx context.Context, g *generation) (bad []string) {
	g.mu.Lock()
	g.shutting = true
	g.mu.Unlock()
	g.endLeaks()
	if err := g.pool.Close(ctx); err != nil {
		return []string{fmt.Sprintf("I6: Close: %+v", err)}
	}
	for g.users.Load() > 0 && ctx.Err() == nil {
		pause(ctx, time.Millisecond) // callers that are about to find it closed
	}
	n := g.pool.Stats()
	bad = append(bad, equations(s.name, n)...)
	if n.Load != (resource.Load{Max: n.Max}) {
		bad = append(bad, fmt.Sprintf("I6: after Close: %v", n.Load))
	}
	bad = append(bad, g.accounts(n)...)
	for _, p := range g.permits {
		if p != nil && p.out.Load() != 0 {
			bad = append(bad, fmt.Sprintf("I4: %d permits of the %s are out after Close", p.out.Load(), p.name))
		}
	}
	if k := g.book.alive(); k > 0 {
		bad = append(bad, fmt.Sprintf("I3: %d sessions exist after Close", k))
	}
	if k := g.book.slots.Load(); k != 0 {
		bad = append(bad, fmt.Sprintf("I1: %d slots are taken after Close", k))
	}
	if text := disagrees(g.meter, n, false); text != "" {
		bad = append(bad, text)
	}
	g.meter.Close()
	if g.release != nil {
		g.release()
	}
	s.gone.Add(n.Begun.Total())
	return bad
}

// accounts compares the calls with what the pool has counted. No call is under way.
func (g *generation) accounts(n resource.Stats) (bad []string) {
	if calls, sum := g.calls.Load(), g.got.Load()+n.Failures.Total(); calls != sum {
		bad = append(bad, fmt.Sprintf("%d acquires were called, %d got a lease, and %d failed: %+v", calls, g.got.Load(), n.Failures.Total(), n.Failures))
	}
	if n.Acquired < g.got.Load() {
		bad = append(bad, fmt.Sprintf("callers got %d leases, the pool has counted %d", g.got.Load(), n.Acquired))
	}
	return bad
}

// composed draws policies for a pool.
func composed(r *rand.Rand, g *generation, c *resource.Config[*session], plant fault) error {
	most := c.MaxSize
	wrap := func(name string, next resource.Admission) *permits {
		p := &permits{name: name, journal: g.book.journal, next: next, plant: plant == plantPermit}
		g.permits = append(g.permits, p)
		return p
	}
	low, high := policy.Named("low", policy.Limit(2*most)), policy.Named("high", policy.Limit(3*most))
	admissions := []resource.Admission{
		policy.All(policy.Reserve(2, 1, policy.BoundedQueue(most, 20)), policy.WithinDeadline(most)),
		policy.Any(policy.Shares(3*most, map[string]int{"interactive": most}), policy.Named("spare", policy.Limit(4))),
		policy.ByPriority(func(priority int) resource.Admission {
			if priority > 1 {
				return high
			}
			return low
		}),
	}
	gate, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 4, InitialBackoff: 10 * time.Millisecond, MaxBackoff: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	c.Admission = wrap("admission", admissions[r.IntN(len(admissions))])
	c.MakeGate = wrap("make gate", gate)
	c.Quota = wrap("quota", policy.Limit(most))
	c.Eviction = []resource.Eviction{
		policy.AnyOf(policy.MaxAge(10*time.Second, 0.3), policy.MaxLeases(500, 0.3), policy.SoftIdle(2*time.Second, 1)),
		policy.MinRemaining(50*time.Millisecond, policy.MaxAge(5*time.Second, 0.5)),
		policy.AnyOf(policy.AllOf(policy.MaxAge(2*time.Second, 0), policy.MaxIdle(100*time.Millisecond)), policy.Protect(1, policy.MaxLeases(200, 0.5))),
	}[r.IntN(3)]
	health := policy.IfIdle(300*time.Millisecond, policy.CheckTimeout(300*time.Millisecond, policy.Check(g.book.ping)))
	c.Health = []resource.Health[*session]{health, policy.Cohort(health), policy.Consecutive(2, health)}[r.IntN(3)]
	c.Queue = []resource.Queue{nil, policy.Priority(50 * time.Millisecond), policy.EarliestDeadline(time.Second), policy.CoDel(20*time.Millisecond, 100*time.Millisecond)}[r.IntN(4)]
	c.Order = []resource.Order{resource.NewestFirst, resource.OldestFirst}[r.IntN(2)]
	c.Outage = []resource.OutageMode{resource.FailFast, resource.KeepWaiting}[r.IntN(2)]
	c.OnRelease = g.book.reset
	c.ReleaseTimeout = 500 * time.Millisecond
	c.Broken = func(err error) bool { return !errors.Is(err, errRefused) }
	return nil
}

// errRefused is an error of the application, after which a session is still good.
var errRefused = errors.New("soak: refused")

func (s *sessions) start(l *load) {
	l.begin(s.name, l.callers, s.op)
	l.keep(30*time.Millisecond, s.operate)
}

// op is one operation of a caller.
func (s *sessions) op(w *worker) {
	g := inUse(&s.now, func(g *generation) *atomic.Int64 { return &g.users })
	defer g.users.Add(-1)
	ctx, cancel := w.patience()
	defer cancel()
	began := time.Now()
	var l resource.Lease[*session]
	var err error
	g.calls.Add(1)
	switch n := w.rand.IntN(10); {
	case n == 0:
		err = s.do(ctx, w, g)
		w.count(began, err)
		return
	case n == 1:
		var ok bool
		if l, ok = g.pool.TryAcquire(); !ok {
			err = resource.ErrNoneIdle
		}
	case n < 5:
		l, err = g.pool.AcquireWith(ctx, w.request())
	default:
		l, err = g.pool.Acquire(ctx)
	}
	if err != nil {
		w.count(began, err)
		return
	}
	g.got.Add(1)
	if w.plant == plantTwoHolders && w.chance(50) {
		l.Value().take(w.tenant) // the fault: another holder of the same session
	}
	w.count(began, s.hold(ctx, w, g, l))
}

// do is an operation within Do.
func (s *sessions) do(ctx context.Context, w *worker, g *generation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errPlanned
		}
	}()
	return g.pool.Do(ctx, func(ctx context.Context, x *session) error {
		g.got.Add(1)
		x.take(w.tenant)
		defer x.drop(w.tenant)
		if w.chance(200) {
			panic(errPlanned)
		}
		return s.use(ctx, w, x)
	})
}

// use makes some calls.
func (s *sessions) use(ctx context.Context, w *worker, x *session) error {
	for range w.rand.IntN(3) {
		mode := "plain"
		switch n := w.rand.IntN(200); {
		case n < 4:
			mode = "slow"
		case n == 4:
			mode = "never"
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
		case n == 5:
			mode = "cut"
		}
		if err := x.work(ctx, w.tenant, w.calls.Add(1), w.size(), mode); err != nil {
			return err
		}
	}
	return nil
}

// hold uses a lease and ends it in one of many ways.
func (s *sessions) hold(ctx context.Context, w *worker, g *generation, l resource.Lease[*session]) error {
	x := l.Value()
	if w.chance(100) { // the caller has no use for it
		l.ReleaseUnused()
		return nil
	}
	x.take(w.tenant)
	if w.chance(1000) {
		s.leave(w, g, l, x)
		return nil
	}
	err := s.use(ctx, w, x)
	if w.chance(10) {
		runtime.Gosched()
	}
	if w.plant == plantLease && w.chance(20) && s.kept.Add(1) <= 2 { // fewer than the pool has, which then serves
		x.drop(w.tenant)
		w.atEnd(l.Release) // the fault: the lease is not ended before
		return nil
	}
	x.drop(w.tenant)
	switch n := w.rand.IntN(200); {
	case err != nil:
		l.Fail(err)
	case n < 2:
		l.Discard(errPlanned)
	case n < 4:
		l.Fail(errRefused)
	case n < 5:
		g.book.hijack(l, x)
	case n < 8: // two copies at once
		var both sync.WaitGroup
		both.Go(func() { l.Discard(nil) })
		both.Go(l.Release)
		both.Wait()
	case n < 9:
		l.ReleaseAfter(func(ctx context.Context, x *session) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := g.book.ping(ctx, x); err != nil || !s.resets {
				return err
			}
			return g.book.reset(ctx, x) // such a lease counts as unused, so OnRelease is not called
		})
	default:
		l.Release()
	}
	if w.chance(20) { // an end that comes again does nothing
		l.Release()
		l.Discard(errPlanned)
		if _, ok := l.Hijack(); ok {
			w.violation(s.name, "I2: an ended lease was hijacked")
		}
	}
	return err
}

// hijack takes x out of the pool, and closes it.
func (b *book) hijack(l resource.Lease[*session], x *session) {
	if !x.late {
		b.free() // before another one may be created in its slot
	}
	if v, ok := l.Hijack(); !ok || v != x {
		b.journal.violation(b.name, "I2: a lease that has not ended was not hijacked")
		return
	}
	b.end(x, hijacked, "hijacked")
	x.conn.Close()
}

// leave keeps a lease without ending it; the operator reclaims it.
func (s *sessions) leave(w *worker, g *generation, l resource.Lease[*session], x *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutting {
		x.drop(w.tenant)
		l.Release()
		return
	}
	g.leaked = append(g.leaked, leak{l, x, w.tenant, l.Info().ID, time.Now()})
}

// endLeaks ends the leaked leases.
func (g *generation) endLeaks() {
	g.mu.Lock()
	all := g.leaked
	g.leaked = nil
	g.mu.Unlock()
	for _, k := range all {
		k.x.drop(k.tenant)
		k.lease.Release()
	}
}

// reclaimWait is when a lease must be reclaimed. The pool does so from a second on, by a clock that is
// late when the processors are busy.
const reclaimWait = 10 * time.Second

// reclaim reclaims a lease that leaked long enough ago.
func (s *sessions) reclaim(w *worker, g *generation) {
	g.mu.Lock()
	var k leak
	for i, old := range g.leaked {
		if time.Since(old.at) > 1500*time.Millisecond {
			k = old
			g.leaked = append(g.leaked[:i], g.leaked[i+1:]...)
			break
		}
	}
	g.mu.Unlock()
	if k.x == nil {
		return
	}
	k.x.drop(k.tenant)
	n := held(g.pool.Inspect(2*s.most), k.id)
	if !g.pool.Reclaim(k.id, n) {
		k.x.take(k.tenant)
		g.mu.Lock()
		g.leaked = append(g.leaked, k)
		g.mu.Unlock()
		if time.Since(k.at) > reclaimWait {
			w.violation(s.name, "a lease that leaked for %v is not reclaimed", time.Since(k.at))
		}
		return
	}
	w.event(s.name, "lease %d of session %d reclaimed", n, k.id)
	k.lease.Release() // nothing
}

// held returns the ordinal of the lease of a resource, 0 if it has none, as an operator finds it.
func held(in resource.Inspection, id uint64) uint64 {
	for _, r := range in.Resources {
		if r.ID == id {
			return r.Lease
		}
	}
	return 0
}

// operate does something to the pool.
func (s *sessions) operate(w *worker) {
	g := s.now.Load()
	for _, text := range s.always() {
		w.violation(s.name, "%s", text)
	}
	switch n := w.rand.IntN(300); {
	case n < 15:
		if x := g.book.some(); x != nil {
			if f := x.invalidate.Load(); f != nil {
				(*f)(errPlanned)
			}
		}
	case n < 30:
		size := 1 + w.rand.IntN(s.most)
		size = max(size, s.floor)
		w.event(s.name, "resized to %d", size)
		if err := g.pool.Resize(size); err != nil {
			w.violation(s.name, "Resize: %v", err)
		}
	case n < 32:
		w.event(s.name, "reset")
		g.pool.Reset(errPlanned)
	case n < 34:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_ = g.pool.Warm(ctx, w.rand.IntN(s.most)) // an outage may be on
		cancel()
	case n < 36:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_ = g.pool.MakeOne(ctx) // the pool may be full
		cancel()
	case n < 38:
		g.pool.RetryNow()
	case n < 39:
		g.pool.SampleFor(100 * time.Millisecond)
	case n < 40:
		s.reopen(w, g)
	default:
		s.reclaim(w, g)
	}
}

// reopen opens another pool, and closes g, while callers use them.
func (s *sessions) reopen(w *worker, g *generation) {
	w.event(s.name, "closed and opened again")
	if _, err := s.open(); err != nil {
		w.violation(s.name, "New: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	for _, text := range s.shut(ctx, g) {
		w.violation(s.name, "%s", text)
	}
}

// closeWait bounds each Close.
const closeWait = 20 * time.Second

func (s *sessions) calm() { s.now.Load().endLeaks() }

func (s *sessions) probe(ctx context.Context) error {
	g := s.now.Load()
	if err := g.pool.Resize(s.most); err != nil {
		return err
	}
	return again(ctx, func(ctx context.Context) error {
		g.calls.Add(1)
		return g.pool.Do(ctx, func(ctx context.Context, x *session) error {
			g.got.Add(1)
			x.take(-1)
			defer x.drop(-1)
			return x.work(ctx, -1, s.load.calls.Add(1), 10, "plain")
		})
	})
}

func (s *sessions) always() []string { return equations(s.name, s.now.Load().pool.Stats()) }

func (s *sessions) rest() string {
	g := s.now.Load()
	n := g.pool.Stats()
	if text := busy(n.Load); text != "" {
		return text
	}
	if k := g.book.alive(); k != n.Idle {
		return fmt.Sprintf("I3: %d sessions exist, the pool has %v", k, n.Load)
	}
	if k := g.book.slots.Load(); k != int64(n.Idle) {
		return fmt.Sprintf("I1: %d slots are taken, the pool has %v", k, n.Load)
	}
	if k := s.target.server.open(); k > n.Idle || k < n.Idle && g.checked {
		return fmt.Sprintf("the server has %d connections, the pool %v", k, n.Load)
	}
	for i, p := range g.permits {
		want := 0
		if i == 2 {
			want = n.Idle
		}
		if p != nil && p.out.Load() != int64(want) {
			return fmt.Sprintf("I4: %d permits of the %s are out, want %d", p.out.Load(), p.name, want)
		}
	}
	return disagrees(g.meter, n, false)
}

func (s *sessions) once() []string {
	g := s.now.Load()
	return g.accounts(g.pool.Stats())
}

func (s *sessions) empty() { s.now.Load().pool.Reset(errPlanned) }

func (s *sessions) bare() string {
	if l := s.now.Load().pool.Stats().Load; l.Idle != s.floor || busy(l) != "" {
		return l.String()
	}
	if n := s.target.server.open(); n != s.floor {
		return s.target.left()
	}
	return ""
}

func (s *sessions) close(ctx context.Context) []string { return s.shut(ctx, s.now.Load()) }

func (s *sessions) dials() int64 { return s.gone.Load() + s.now.Load().pool.Stats().Begun.Total() }
