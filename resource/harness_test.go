package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// item is what the pools of these tests lend.
type item struct {
	n          int               // 1, 2, … in the order in which they were made
	invalidate func(cause error) // what Watch was given
}

// harness runs one pool from a script, in a synctest bubble. Every line of a
// script is an event or an expectation; every expectation first lets all
// goroutines of the bubble come to rest. Nothing that the script does not
// ask for takes virtual time.
//
//	c1 := h.acquire()
//	m1 := h.wantMake()
//	h.wantWaiting(c1)
//	m1.finish()
//	l1 := c1.wantLease()
//	l1.Release()
//
// At the end of the test the harness closes the pool and checks that
// everything made was destroyed or hijacked exactly once.
type harness struct {
	t   *testing.T
	p   *resource.Pool[*item]
	cfg resource.Config[*item] // a script changes it before the pool is made

	auto      func(m *makeCall)           // answers each make instead of the script
	onDestroy func(it *item, cause error) // runs in Destroy
	onWatch   func(it *item)              // runs in Watch
	over      chan struct{}               // closed at the end: what hangs, hangs no more
	calls     []*call                     // all acquires
	shrunk    bool                        // levels may exceed the maximum
	grace     time.Duration               // after which a make is abandoned
	mu        sync.Mutex                  // guards what follows
	max       int                         // the current maximum
	makes     []*makeCall                 // all begun
	claimed   int                         // how many of them the script has seen
	made      int                         // values returned by Make
	living    map[*item]bool              // made, not destroyed, not hijacked
	causes    map[*item]error             // of those destroyed
	hijacked  map[*item]bool
	faults    []string // broken invariants seen in Make and Destroy
}

// start makes a pool of at most max items. edit, if not nil, changes the
// harness and its Config before that.
func start(t *testing.T, max int, edit func(h *harness)) *harness {
	t.Helper()
	h := &harness{
		t: t, max: max, over: make(chan struct{}), living: map[*item]bool{},
		causes: map[*item]error{}, hijacked: map[*item]bool{},
	}
	h.cfg = resource.Config[*item]{Make: h.doMake, Destroy: h.doDestroy, Watch: h.doWatch, MaxSize: max}
	if edit != nil {
		edit(h)
	}
	timeout := h.cfg.MakeTimeout
	if timeout == 0 {
		timeout = resource.DefaultMakeTimeout
	}
	h.grace = timeout + min(timeout/10, time.Second)
	p, err := resource.New(h.cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	h.p = p
	t.Cleanup(h.end)
	return h
}

// script runs f in a bubble with a pool of at most max items.
func script(t *testing.T, max int, edit func(h *harness), f func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(start(t, max, edit)) })
}

// end lets go of everything, closes the pool and settles the accounts.
func (h *harness) end() {
	close(h.over)
	for _, c := range h.calls {
		c.cancel()
	}
	synctest.Wait()
	for _, c := range h.calls {
		if c.poll() != nil && c.got.err == nil {
			c.got.lease.Release()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.p.Close(ctx); err != nil {
		h.t.Errorf("at the end of the test: Close: %v", err)
	}
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for it := range h.living {
		h.t.Errorf("I3: item %d was neither destroyed nor hijacked", it.n)
	}
	for _, f := range h.faults {
		h.t.Error(f)
	}
	s := h.p.Stats()
	want := resource.Load{Max: s.Max}
	if s.Load != want {
		h.t.Errorf("after Close: %+v, want nothing", s.Load)
	}
	if s.Waited != s.WaitsServed+s.WaitsFailed {
		h.t.Errorf("after Close: waited %d, but served %d and failed %d", s.Waited, s.WaitsServed, s.WaitsFailed)
	}
	h.reconcile(s)
}

// reconcile checks what holds of every Stats.
func (h *harness) reconcile(s resource.Stats) {
	h.t.Helper()
	if err := unbalanced(s); err != nil {
		h.t.Error(err)
	}
	if n := s.Idle + s.Leased + s.Making + s.Destroying; n > s.Max && !h.shrunk {
		h.t.Errorf("I1: %d slots taken: %+v", n, s.Load)
	}
}

// settle lets everything run that can without time passing.
func (h *harness) settle() {
	h.t.Helper()
	synctest.Wait()
	h.reconcile(h.p.Stats())
}

// resize changes the maximum.
func (h *harness) resize(max int) {
	h.t.Helper()
	h.mu.Lock()
	h.shrunk = h.shrunk || max < h.max
	h.max = max
	h.mu.Unlock()
	if err := h.p.Resize(max); err != nil {
		h.t.Fatalf("Resize(%d): %v", max, err)
	}
}

// wantLoad checks where everything is. Max is filled in.
func (h *harness) wantLoad(want resource.Load) {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	want.Max = h.max
	h.mu.Unlock()
	if got := h.p.Stats().Load; got != want {
		h.t.Fatalf("load is %+v\n\twant    %+v", got, want)
	}
}

// wantDestroyed checks that it is gone, and why.
func (h *harness) wantDestroyed(it *item, cause error) {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	got, ok := h.causes[it]
	if !ok {
		h.t.Fatalf("item %d was not destroyed", it.n)
	}
	if got == nil || !errors.Is(got, cause) {
		h.t.Fatalf("item %d was destroyed for %v, want %v", it.n, got, cause)
	}
}

// wantGone checks that it is destroyed, for whatever cause.
func (h *harness) wantGone(it *item) {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	if cause, ok := h.causes[it]; !ok || cause == nil {
		h.t.Fatalf("item %d was destroyed: %t, for %v", it.n, ok, cause)
	}
}

// wantAlive checks that none of its is gone.
func (h *harness) wantAlive(its ...*item) {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range its {
		if !h.living[it] {
			h.t.Fatalf("item %d is gone: %v", it.n, h.causes[it])
		}
	}
}

// doWatch is the Config's Watch.
func (h *harness) doWatch(it *item, invalidate func(error)) {
	it.invalidate = invalidate
	if h.onWatch != nil {
		h.onWatch(it)
	}
}

// doDestroy is the Config's Destroy. The item counts as gone just before it
// returns: the pool cannot know earlier.
func (h *harness) doDestroy(it *item, cause error) {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.living[it] {
			h.faults = append(h.faults, "I3: an item was destroyed that was gone")
		}
		delete(h.living, it)
		h.causes[it] = cause
	}()
	if h.onDestroy != nil {
		h.onDestroy(it, cause)
	}
}

// hijack takes l's item out of the pool.
func (h *harness) hijack(l resource.Lease[*item]) (*item, bool) {
	before := l.Value()
	h.mu.Lock()
	delete(h.living, before) // before the pool frees its slot
	h.mu.Unlock()
	it, ok := l.Hijack()
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok {
		h.hijacked[it] = true
	} else {
		h.living[before] = true
	}
	return it, ok
}

// inBubble runs f in a bubble with a pool for cfg, which is closed in the end.
func inBubble[T any](t *testing.T, cfg resource.Config[T], f func(p *resource.Pool[T])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Hour)
			defer cancel()
			if err := p.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		}()
		f(p)
	})
}

// call is one Acquire on a goroutine of its own.
type call struct {
	h      *harness
	cancel context.CancelFunc
	done   chan outcome
	got    *outcome // once it has returned
}

type outcome struct {
	lease resource.Lease[*item]
	err   error
	after time.Duration // how long it took
}

// acquire begins an Acquire.
func (h *harness) acquire() *call {
	return h.acquireCtx(context.Background(), resource.Request{})
}

// acquireWith begins an AcquireWith.
func (h *harness) acquireWith(r resource.Request) *call {
	return h.acquireCtx(context.Background(), r)
}

// acquireFor begins an Acquire that gives up after d.
func (h *harness) acquireFor(d time.Duration) *call {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	h.t.Cleanup(cancel)
	return h.acquireCtx(ctx, resource.Request{})
}

// acquireRemaining begins an acquire with min to remain that gives up after d.
func (h *harness) acquireRemaining(min, d time.Duration) *call {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	h.t.Cleanup(cancel)
	return h.acquireCtx(ctx, resource.Request{MinRemaining: min})
}

// acquireCtx begins an AcquireWith with ctx, and waits until it is at rest.
func (h *harness) acquireCtx(ctx context.Context, r resource.Request) *call {
	h.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	c := &call{h: h, cancel: cancel, done: make(chan outcome, 1)}
	h.calls = append(h.calls, c)
	began := time.Now()
	go func() {
		l, err := h.p.AcquireWith(ctx, r)
		c.done <- outcome{l, err, time.Since(began)}
	}()
	h.settle()
	return c
}

// poll takes in the outcome, if there is one.
func (c *call) poll() *outcome {
	if c.got == nil {
		select {
		case o := <-c.done:
			c.got = &o
		default:
		}
	}
	return c.got
}

// wantLease checks that the acquire has returned a lease.
func (c *call) wantLease() resource.Lease[*item] {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	switch {
	case o == nil:
		c.h.t.Fatalf("still waits, want a lease: %+v", c.h.p.Stats().Load)
	case o.err != nil:
		c.h.t.Fatalf("acquire failed: %v", o.err)
	}
	return o.lease
}

// wantItem is wantLease, and checks which item it is.
func (c *call) wantItem(it *item) resource.Lease[*item] {
	c.h.t.Helper()
	l := c.wantLease()
	if got := l.Value(); got != it {
		c.h.t.Fatalf("got item %d, want item %d", got.n, it.n)
	}
	return l
}

// wantErr checks that the acquire has failed with an AcquireError that
// matches target.
func (c *call) wantErr(target error) *resource.AcquireError {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	if o == nil {
		c.h.t.Fatalf("still waits, want %v: %+v", target, c.h.p.Stats().Load)
	}
	return wantAcquireError(c.h.t, o.err, target)
}

// wantFailed checks that the acquire has failed.
func (c *call) wantFailed() *resource.AcquireError {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	if o == nil {
		c.h.t.Fatalf("still waits, want an error: %+v", c.h.p.Stats().Load)
	}
	return wantAcquireError(c.h.t, o.err, o.err)
}

// await lets virtual time pass until the acquire has returned, at most d.
func (c *call) await(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c.h.settle()
		if c.poll() != nil {
			return
		}
	}
}

// wantLeaseWithin is wantLease within d.
func (c *call) wantLeaseWithin(d time.Duration) resource.Lease[*item] {
	c.h.t.Helper()
	c.await(d)
	return c.wantLease()
}

// wantSoon checks that c got a lease, and took at most d.
func (c *call) wantSoon(d time.Duration) resource.Lease[*item] {
	c.h.t.Helper()
	l := c.wantLeaseWithin(d + time.Second)
	if c.got.after > d {
		c.h.t.Errorf("served after %v, want at most %v", c.got.after, d)
	}
	return l
}

// wantFailedWithin is wantFailed within d.
func (c *call) wantFailedWithin(d time.Duration) *resource.AcquireError {
	c.h.t.Helper()
	c.await(d)
	return c.wantFailed()
}

// wantWaiting checks that none of cs has returned.
func (h *harness) wantWaiting(cs ...*call) {
	h.t.Helper()
	h.settle()
	for i, c := range cs {
		if o := c.poll(); o != nil {
			h.t.Fatalf("caller %d of %d does not wait: %v, %v", i+1, len(cs), o.lease, o.err)
		}
	}
}

// lend acquires one item, letting a make finish if one begins.
func (h *harness) lend() resource.Lease[*item] {
	h.t.Helper()
	if h.auto != nil {
		return h.acquire().wantLeaseWithin(time.Minute)
	}
	before := h.begun()
	c := h.acquire()
	if h.begun() > before {
		h.wantMake().finish()
	}
	return c.wantLease()
}

// lendN lends n items, first 1, then 2, ….
func (h *harness) lendN(n int) (ls []resource.Lease[*item], its []*item) {
	h.t.Helper()
	for range n {
		l := h.lend()
		ls, its = append(ls, l), append(its, l.Value())
	}
	return ls, its
}

// stock puts n items on the idle list, the first made idle longest.
func (h *harness) stock(n int) []*item {
	h.t.Helper()
	ls, its := h.lendN(n)
	for _, l := range ls {
		l.Release()
	}
	h.settle()
	return its
}

// close begins a Close with d to go.
func (h *harness) close(d time.Duration) <-chan error {
	h.t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		done <- h.p.Close(ctx)
	}()
	h.settle()
	return done
}

// fataler is the part of testing.T that the checks below need, so that their
// own tests can see them fail.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// wantAcquireError checks that err is an AcquireError that matches target.
func wantAcquireError(t fataler, err, target error) *resource.AcquireError {
	t.Helper()
	var ae *resource.AcquireError
	switch {
	case err == nil:
		t.Fatalf("acquire succeeded, want %v", target)
	case !errors.As(err, &ae):
		t.Fatalf("the error is a %T, not an AcquireError: %v", err, err)
	case !errors.Is(err, target):
		t.Fatalf("the error is %v, want %v", err, target)
	}
	return ae
}

// makeCall is one running Make.
type makeCall struct {
	h      *harness
	ctx    context.Context
	number int // 1, 2, … in the order in which they began
	began  time.Time
	deaf   bool // does not listen to ctx: set by the script or auto
	answer chan func() (*item, error)
	ended  bool      // guarded by h.mu
	cut    time.Time // when its context ended, if it is deaf; guarded by h.mu
}

// doMake is the Config's Make: it waits for the script's word. Unless it is
// deaf it ends with its context.
func (h *harness) doMake(ctx context.Context) (*item, error) {
	m := &makeCall{h: h, ctx: ctx, began: time.Now(), answer: make(chan func() (*item, error), 1)}
	h.mu.Lock()
	h.makes = append(h.makes, m)
	m.number = len(h.makes)
	h.checkPlaces()
	auto := h.auto
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		m.ended = true
		h.mu.Unlock()
	}()
	if auto != nil {
		auto(m)
	}
	done := ctx.Done()
	for {
		select {
		case f := <-m.answer:
			return f()
		case <-h.over:
			return nil, context.Canceled
		case <-done:
			if !m.isDeaf() {
				return nil, ctx.Err()
			}
			h.mu.Lock()
			m.cut = time.Now()
			h.mu.Unlock()
			done = nil
		}
	}
}

// checkPlaces checks I1 from outside, each time a make begins: living items and
// running makes are at most the maximum. A make past its timeout holds no slot.
// h.mu is held.
func (h *harness) checkPlaces() {
	n := len(h.living)
	for _, m := range h.makes {
		abandoned := time.Since(m.began) >= h.grace || !m.cut.IsZero() && time.Since(m.cut) >= time.Second
		if !m.ended && !abandoned {
			n++
		}
	}
	if n > h.max {
		h.faults = append(h.faults, fmt.Sprintf("I1: make %d began as number %d of at most %d", len(h.makes), n, h.max))
	}
}

func (m *makeCall) isDeaf() bool {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	return m.deaf
}

// hang makes m ignore the end of its context.
func (m *makeCall) hang() {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.deaf = true
}

// finish lets m return a new item, which it returns too.
func (m *makeCall) finish() *item {
	it := m.born()
	m.answer <- func() (*item, error) {
		m.h.mu.Lock()
		defer m.h.mu.Unlock()
		m.h.living[it] = true
		m.ended = true
		return it, nil
	}
	return it
}

// finishAfter is finish after d, for auto: it keeps the make's goroutine.
func (m *makeCall) finishAfter(d time.Duration) {
	select {
	case <-time.After(d):
		m.finish()
	case <-m.ctx.Done():
	}
}

func (m *makeCall) born() *item {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.h.made++
	return &item{n: m.h.made}
}

// fail lets m return err.
func (m *makeCall) fail(err error) {
	m.answer <- func() (*item, error) { return nil, err }
}

// panic lets m panic.
func (m *makeCall) panic(v any) {
	m.answer <- func() (*item, error) { panic(v) }
}

// goexit lets m end its goroutine.
func (m *makeCall) goexit() {
	m.answer <- func() (*item, error) { runtime.Goexit(); return nil, nil }
}

// answer lets f answer each make from now on; nil: the script does, and those
// begun so far do not count.
func (h *harness) answer(f func(m *makeCall)) {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.auto = f
	h.claimed = len(h.makes)
}

// wantMakes checks that exactly n makes have begun that the script has not
// seen yet.
func (h *harness) wantMakes(n int) []*makeCall {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := h.makes[h.claimed:]
	if len(fresh) != n {
		h.t.Fatalf("%d makes have begun, want %d", len(fresh), n)
	}
	h.claimed += n
	return fresh
}

// wantMake checks that exactly one make has begun.
func (h *harness) wantMake() *makeCall {
	h.t.Helper()
	return h.wantMakes(1)[0]
}

// wantNoMake checks that no make has begun.
func (h *harness) wantNoMake() {
	h.t.Helper()
	h.wantMakes(0)
}

// wantMakeWithin waits until a make has begun, at most d.
func (h *harness) wantMakeWithin(d time.Duration) *makeCall {
	h.t.Helper()
	for end := time.Now().Add(d); h.begun() == h.claimed; {
		if !time.Now().Before(end) {
			h.t.Fatalf("no make has begun within %v", d)
		}
		time.Sleep(time.Millisecond)
	}
	return h.wantMake()
}

// begun is how many makes have begun.
func (h *harness) begun() int {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.makes)
}

// running is how many makes run.
func (h *harness) running() (n int) {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.makes {
		if !m.ended {
			n++
		}
	}
	return n
}
