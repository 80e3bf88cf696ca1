package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

const ms = time.Millisecond

// The errors of the fakes below.
var (
	errOld  = errors.New("too old")
	errSick = errors.New("no pulse")
	errDown = errors.New("the server is down")
)

var (
	fresh      = resource.Request{Fresh: true}
	tenMinutes = resource.Request{MinRemaining: 10 * time.Minute}
)

// classKey is the key of a context value that a test can recognize.
type classKey struct{}

// newPool is resource.New for a Config without errors.
func newPool[T any](tb testing.TB, cfg resource.Config[T]) *resource.Pool[T] {
	tb.Helper()
	p, err := resource.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// newKeyed is resource.NewKeyed for a KeyedConfig without errors.
func newKeyed[K comparable, T any](tb testing.TB, cfg resource.KeyedConfig[K, T]) *resource.Keyed[K, T] {
	tb.Helper()
	k, err := resource.NewKeyed(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// lendOne acquires without a bound.
func lendOne[T any](tb testing.TB, p interface {
	Acquire(context.Context) (resource.Lease[T], error)
}) resource.Lease[T] {
	tb.Helper()
	l, err := p.Acquire(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// closeAll closes a Pool or a Keyed and waits for its end.
func closeAll(tb testing.TB, c interface{ Close(context.Context) error }) {
	tb.Helper()
	if err := c.Close(context.Background()); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

// makeOne is a Make that succeeds at once.
func makeOne(context.Context) (int, error) { return 1, nil }

type admitFunc func(ctx context.Context, r resource.Request) (resource.Done, error)

func (f admitFunc) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return f(ctx, r)
}

// refusing is an Admission that refuses every caller with err.
func refusing(err error) admitFunc {
	return func(context.Context, resource.Request) (resource.Done, error) { return nil, err }
}

type evictFunc func(i resource.Info) error

func (f evictFunc) Evict(i resource.Info) error { return f(i) }

// olderThan is an Eviction by age.
func olderThan(d time.Duration) evictFunc {
	return func(i resource.Info) error {
		if i.Age >= d {
			return errOld
		}
		return nil
	}
}

// idleFor is an Eviction by idle time.
func idleFor(d time.Duration) evictFunc {
	return func(i resource.Info) error {
		if i.Idle > d {
			return errOld
		}
		return nil
	}
}

// gate is an Admission whose permits have no Done.
func gate(f func() error) admitFunc {
	return func(context.Context, resource.Request) (resource.Done, error) { return nil, f() }
}

// checkOf is a HealthCheck that is always due.
type checkOf[T any] func(ctx context.Context, v T, i resource.Info) error

func (f checkOf[T]) Check(ctx context.Context, v T, i resource.Info) error { return f(ctx, v, i) }

type checkFunc = checkOf[*item]

// scheduled is a HealthCheck that is due when due says so. A nil due is always
// due, a nil check always passes.
type scheduled[T any] struct {
	due   func(i resource.Info) bool
	check checkOf[T]
}

func (s scheduled[T]) Due(i resource.Info) bool { return s.due == nil || s.due(i) }

func (s scheduled[T]) Check(ctx context.Context, v T, i resource.Info) error {
	if s.check == nil {
		return nil
	}
	return s.check(ctx, v, i)
}

// listQueue is a Queue over a slice. less orders it; nil: as they came.
type listQueue struct {
	waiters []*resource.Waiter
	less    func(a, b *resource.Waiter) bool
	refuse  error          // Pop refuses the first with it, once
	hook    func(m string) // gets the name of the method called; may panic
	empty   bool           // Pop returns nil

	pushed, removed, popped int
}

func (q *listQueue) call(m string) {
	if q.hook != nil {
		q.hook(m)
	}
}

func (q *listQueue) Push(w *resource.Waiter, now time.Duration) {
	q.call("Push")
	q.pushed++
	q.waiters = append(q.waiters, w)
}

func (q *listQueue) Remove(w *resource.Waiter) {
	q.call("Remove")
	q.removed++
	for i, x := range q.waiters {
		if x == w {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			return
		}
	}
}

func (q *listQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	q.call("Pop")
	if len(q.waiters) == 0 || q.empty {
		return nil, nil
	}
	best := 0
	for i := range q.waiters {
		if q.less != nil && q.less(q.waiters[i], q.waiters[best]) {
			best = i
		}
	}
	w := q.waiters[best]
	q.waiters = append(q.waiters[:best], q.waiters[best+1:]...)
	q.popped++
	refuse := q.refuse
	q.refuse = nil
	return w, refuse
}

// ledger is an Admission that keeps account of its permits.
type ledger struct {
	before func(ctx context.Context, r resource.Request) error // may refuse, panic, block
	after  func(o resource.Outcome)                            // runs in Done, after it was counted

	mu       sync.Mutex
	permits  []int // how often each permit's Done ran
	outcomes []resource.Outcome
	wrong    int // calls of the Done of a refusal
}

func (g *ledger) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if g.before != nil {
		if err := g.before(ctx, r); err != nil {
			return func(resource.Outcome) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.wrong++
			}, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.permits)
	g.permits = append(g.permits, 0)
	return func(o resource.Outcome) {
		g.mu.Lock()
		g.permits[n]++
		g.outcomes = append(g.outcomes, o)
		g.mu.Unlock()
		if g.after != nil {
			g.after(o)
		}
	}, nil
}

// open is how many permits were not given back.
func (g *ledger) open() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, done := range g.permits {
		if done == 0 {
			n++
		}
	}
	return n
}

// given is how many permits were ever given.
func (g *ledger) given() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.permits)
}

// last is the most recent outcome.
func (g *ledger) last() resource.Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.outcomes) == 0 {
		return resource.Outcome{}
	}
	return g.outcomes[len(g.outcomes)-1]
}

// check says which permits were not given back exactly once.
func (g *ledger) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bad []error
	if g.wrong > 0 {
		bad = append(bad, fmt.Errorf("I4: Done of a refusal ran %d times", g.wrong))
	}
	for i, n := range g.permits {
		if n != 1 {
			bad = append(bad, fmt.Errorf("I4: Done of permit %d of %d ran %d times", i+1, len(g.permits), n))
		}
	}
	return errors.Join(bad...)
}

// token is what a plain pool lends. It would see two holders at once, and a
// holder after its end.
type token struct {
	holders    atomic.Int32
	gone       atomic.Bool
	invalidate atomic.Pointer[func(error)]
}

// plain is a pool for tests with many goroutines: its makes succeed at once,
// and it counts what it made and destroyed.
type plain struct {
	*resource.Pool[*token]
	t               *testing.T
	made, destroyed atomic.Int64
	live, peak      atomic.Int64 // being made, made, being destroyed
}

// newPlain makes a plain pool. At the end of the test it is closed, and its
// accounts must be even.
func newPlain(t *testing.T, max int, edit func(cfg *resource.Config[*token])) *plain {
	t.Helper()
	p := &plain{t: t}
	cfg := resource.Config[*token]{
		MaxSize: max,
		Make: func(context.Context) (*token, error) {
			n := p.live.Add(1)
			for old := p.peak.Load(); n > old && !p.peak.CompareAndSwap(old, n); {
				old = p.peak.Load()
			}
			p.made.Add(1)
			return &token{}, nil
		},
		Destroy: func(tok *token, cause error) {
			if tok.gone.Swap(true) {
				t.Error("I3: destroyed twice")
			}
			if n := tok.holders.Load(); n != 0 {
				t.Errorf("I2: destroyed with %d holders", n)
			}
			p.destroyed.Add(1)
			p.live.Add(-1)
		},
		Watch: func(tok *token, invalidate func(error)) { tok.invalidate.Store(&invalidate) },
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if p.Pool, err = resource.New(cfg); err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.end)
	return p
}

func (p *plain) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		p.t.Errorf("at the end of the test: Close: %v", err)
		return
	}
	s := p.Stats()
	if m, d := p.made.Load(), p.destroyed.Load(); m != d+s.Hijacked {
		p.t.Errorf("I3: %d made, %d destroyed, %d hijacked", m, d, s.Hijacked)
	}
	if err := unbalanced(s); err != nil {
		p.t.Error(err)
	}
	if want := (resource.Load{Max: s.Max}); s.Load != want {
		p.t.Errorf("after Close: %+v, want nothing", s.Load)
	}
}

// hold notes that the caller has tok; it fails if there is another holder.
func (p *plain) hold(tok *token) {
	if n := tok.holders.Add(1); n != 1 {
		p.t.Errorf("I2: %d holders at once", n)
	}
	if tok.gone.Load() {
		p.t.Error("I2: lent after its end")
	}
}

// drop says that the caller is about to give tok back.
func (p *plain) drop(tok *token) { tok.holders.Add(-1) }

// hijack takes l's token out of the pool.
func (p *plain) hijack(l resource.Lease[*token]) bool {
	p.live.Add(-1) // before the pool frees its slot
	if _, ok := l.Hijack(); !ok {
		p.live.Add(1)
		return false
	}
	return true
}

// must lends a token, or fails the test.
func (p *plain) must(ctx context.Context) resource.Lease[*token] {
	p.t.Helper()
	l, err := p.Acquire(ctx)
	if err != nil {
		p.t.Fatalf("Acquire: %v", err)
	}
	return l
}

// unbalanced says in what way s does not add up.
func unbalanced(s resource.Stats) error {
	var bad []error
	if a, b := s.Made-s.Destroyed-s.Hijacked, int64(s.Idle+s.Leased+s.Destroying); a != b {
		bad = append(bad, fmt.Errorf("made %d - destroyed %d - hijacked %d = %d, but %d live: %+v",
			s.Made, s.Destroyed, s.Hijacked, a, b, s.Load))
	}
	if a, b := s.Acquired, s.Released+int64(s.Leased); a != b {
		bad = append(bad, fmt.Errorf("acquired %d, but released %d and leased %d", a, s.Released, s.Leased))
	}
	if a, b := s.Begun.Total(), s.Made+s.Failed+s.Refused+s.Withdrawn+int64(s.Making); a != b {
		bad = append(bad, fmt.Errorf("%d makes begun: %+v, but made %d + failed %d + refused %d + withdrawn %d + making %d = %d",
			a, s.Begun, s.Made, s.Failed, s.Refused, s.Withdrawn, s.Making, b))
	}
	if a, b := s.Waited, s.WaitsServed+s.WaitsFailed+int64(s.Waiting); a < b {
		bad = append(bad, fmt.Errorf("waited %d, but served %d + failed %d + waiting %d = %d", a, s.WaitsServed, s.WaitsFailed, s.Waiting, b))
	}
	if a, b := s.WaitTime, s.WaitsServedTime+s.WaitsFailedTime; a != b || a < 0 {
		bad = append(bad, fmt.Errorf("waited for %v, but served %v + failed %v = %v", a, s.WaitsServedTime, s.WaitsFailedTime, b))
	}
	if s.AcquireTime < s.WaitsServedTime {
		bad = append(bad, fmt.Errorf("acquires took %v, less than the waits among them, %v", s.AcquireTime, s.WaitsServedTime))
	}
	for name, n := range map[string]int{
		"Idle": s.Idle, "Leased": s.Leased, "Making": s.Making,
		"Destroying": s.Destroying, "Abandoned": s.Abandoned, "Waiting": s.Waiting,
	} {
		if n < 0 {
			bad = append(bad, fmt.Errorf("%s is %d", name, n))
		}
	}
	return errors.Join(bad...)
}

// within fails the test if f has not returned after d of real time. It is for code
// that would hang if it were broken; it orders nothing.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("not done after %v", d)
	}
}

// caught returns what f panicked with, or nil.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// goroutinesOf counts goroutines, beside the tests' own, that were started by a
// function whose name contains that.
func goroutinesOf(by string) (n int) {
	buf := make([]byte, 64<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i := strings.LastIndex(g, "created by "); i >= 0 && strings.Contains(g[i:], by) {
			n++
		}
	}
	return n
}

// countingGate is an Admission for many goroutines. By turns a permit has a Done of
// its own, none, or the one that all share; the gate counts the open permits.
type countingGate struct {
	t            *testing.T
	turn         atomic.Int64
	open, shared atomic.Int64
	common       resource.Done
}

func (g *countingGate) Admit(context.Context, resource.Request) (resource.Done, error) {
	switch g.turn.Add(1) % 3 {
	case 0:
		return nil, nil
	case 1:
		g.shared.Add(1)
		return g.common, nil
	}
	g.open.Add(1)
	var ran atomic.Bool
	return func(resource.Outcome) {
		g.open.Add(-1)
		if ran.Swap(true) {
			g.t.Error("I4: a Done ran twice")
		}
	}, nil
}

func (g *countingGate) check() {
	g.t.Helper()
	if o, s := g.open.Load(), g.shared.Load(); o != 0 || s != 0 {
		g.t.Errorf("I4: %d permits of their own and %d common ones are open", o, s)
	}
}

func newCountingGate(t *testing.T) *countingGate {
	g := &countingGate{t: t}
	g.common = func(resource.Outcome) {
		if g.shared.Add(-1) < 0 {
			t.Error("I4: the common Done ran too often")
		}
	}
	return g
}

// scriptedHealth is a Health whose verdicts the script decides.
type scriptedHealth struct {
	mu     sync.Mutex
	sick   map[*item]bool
	slow   time.Duration
	most   int // checks at once
	now    int
	checks map[*item]int
	last   resource.Info // of the last check
}

func (w *scriptedHealth) Check(ctx context.Context, it *item, i resource.Info) error {
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	w.checks[it]++
	w.last = i
	slow := w.slow
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sick[it] {
		return errSick
	}
	return nil
}

func (w *scriptedHealth) markUnhealthy(its ...*item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range its {
		w.sick[it] = true
	}
}

func (w *scriptedHealth) delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = d
}

// takeMost returns how many checks have run at once since the last call.
func (w *scriptedHealth) takeMost() (most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	most, w.most = w.most, w.now
	return most
}

// checked returns how often it was checked.
func (w *scriptedHealth) checked(it *item) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.checks[it]
}

func (w *scriptedHealth) in(sweep time.Duration) func(h *harness) {
	return func(h *harness) { h.cfg.Health, h.cfg.SweepInterval = w, sweep }
}

func newScriptedHealth() *scriptedHealth {
	return &scriptedHealth{sick: map[*item]bool{}, checks: map[*item]int{}}
}

// silentHealth is a server that is gone without a word: a check of what was made before
// ends with its time-out, if it ends at all. Resources are checked when they
// have been idle for a minute.
type silentHealth struct {
	timeout time.Duration // of a check; 0: only its context ends it
	deaf    bool          // not even that: it ends when over is closed
	over    chan struct{}

	mu        sync.Mutex
	dead      map[*item]bool
	now, most int // checks at once
	checks    int
}

func (m *silentHealth) Due(i resource.Info) bool {
	return i.Idle >= time.Minute && i.Checked >= time.Minute
}

func (m *silentHealth) Check(ctx context.Context, it *item, _ resource.Info) error {
	m.mu.Lock()
	m.checks++
	m.now++
	m.most = max(m.most, m.now)
	dead := m.dead[it]
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.now--
	}()
	if !dead {
		return nil
	}
	if m.deaf {
		<-m.over
		return errSick
	}
	var timeout <-chan time.Time
	if m.timeout > 0 {
		timeout = time.After(m.timeout)
	}
	select {
	case <-timeout:
		return errSick
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *silentHealth) kill(its ...*item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range its {
		m.dead[it] = true
	}
}

// atOnce is how many checks have run at once.
func (m *silentHealth) atOnce() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most
}

func (m *silentHealth) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checks
}

// in is an edit with makes that take 50 ms and no sweep.
func (m *silentHealth) in(h *harness) {
	h.cfg.Health, h.cfg.SweepInterval = m, time.Hour
	h.auto = func(c *makeCall) { c.finishAfter(50 * time.Millisecond) }
}

func newSilentHealth(timeout time.Duration) *silentHealth {
	return &silentHealth{timeout: timeout, dead: map[*item]bool{}, over: make(chan struct{})}
}

func hourly(h *harness) {
	h.cfg.Eviction = olderThan(time.Hour)
	h.cfg.SweepInterval = 24 * time.Hour
}

// stack is a Queue in LIFO order.
type stack struct{ waiters []*resource.Waiter }

func (q *stack) Push(w *resource.Waiter, _ time.Duration) { q.waiters = append(q.waiters, w) }
func (q *stack) Remove(w *resource.Waiter) {
	q.waiters = slices.DeleteFunc(q.waiters, func(o *resource.Waiter) bool { return o == w })
}
func (q *stack) Pop(time.Duration) (*resource.Waiter, error) {
	n := len(q.waiters) - 1
	if n < 0 {
		return nil, nil
	}
	w := q.waiters[n]
	q.waiters = q.waiters[:n]
	return w, nil
}

// compute keeps the processor for d.
func compute(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// slowDestroy makes each Destroy take a second.
func slowDestroy(h *harness) {
	h.onDestroy = func(*item, error) { time.Sleep(time.Second) }
}
