package resource_test

import (
	"context"
	"errors"
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
		h.t.Errorf("I1: %d places taken: %+v", n, s.Load)
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
	delete(h.living, before) // before the pool gives its place away
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
