package resource_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// keyedItem is what the Keyed of these tests lends.
type keyedItem struct {
	key string
	n   int // 1, 2, … over all keys, in the order in which they were made
}

// keyedHarness runs one Keyed in a bubble. Makes and destroys take as long as it
// says; it checks the total, and each key's cap, at each of them.
type keyedHarness struct {
	t *testing.T
	k *resource.Keyed[string, *keyedItem]

	perKey      int
	makeTime    time.Duration
	destroyTime time.Duration
	forgetAfter time.Duration
	edit        func(key string, cfg *resource.Config[*keyedItem])
	fails       func(key string) error // asked at the end of each make

	mu       sync.Mutex
	total    int
	sum      int
	live     map[string]int
	made     int
	begun    map[string]int // makes
	causes   map[*keyedItem]error
	order    []*keyedItem // as destroyed
	hijacked map[*keyedItem]bool
}

// keyed runs f in a bubble with a Keyed of at most total, perKey for each.
func keyed(t *testing.T, total, perKey int, prepare func(h *keyedHarness), f func(h *keyedHarness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &keyedHarness{
			t: t, total: total, perKey: perKey, live: map[string]int{}, begun: map[string]int{},
			causes: map[*keyedItem]error{}, hijacked: map[*keyedItem]bool{},
		}
		if prepare != nil {
			prepare(h)
		}
		k, err := resource.NewKeyed(resource.KeyedConfig[string, *keyedItem]{
			Config: h.config, MaxTotal: total, ForgetAfter: h.forgetAfter,
		})
		if err != nil {
			t.Fatal(err)
		}
		h.k = k
		f(h)
		h.close()
	})
}

// close closes the Keyed and settles the accounts.
func (h *keyedHarness) close() {
	h.t.Helper()
	if err := h.k.Close(h.t.Context()); err != nil {
		h.t.Errorf("Close: %v", err)
	}
	s := h.k.Stats()
	if err := unbalanced(s.Stats); err != nil {
		h.t.Error(err)
	}
	want := resource.Load{Max: s.Max}
	if s.Load != want {
		h.t.Errorf("after Close: %+v, want nothing", s.Load)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, n := range h.live {
		if n != 0 {
			h.t.Errorf("I3: %d of key %s were not destroyed", n, key)
		}
	}
	if got := int(s.Made); got != h.made {
		h.t.Errorf("Stats.Made is %d, and %d were made", got, h.made)
	}
	if n := len(h.order) + len(h.hijacked); n != h.made {
		h.t.Errorf("I3: %d made, %d ended", h.made, n)
	}
}

func (h *keyedHarness) config(key string) (resource.Config[*keyedItem], error) {
	cfg := resource.Config[*keyedItem]{
		MaxSize: h.perKey,
		Make: func(ctx context.Context) (*keyedItem, error) {
			h.count(key, 1)
			time.Sleep(h.makeTime)
			if h.fails != nil {
				if err := h.fails(key); err != nil {
					h.count(key, -1)
					return nil, err
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.made++
			return &keyedItem{key, h.made}, nil
		},
		Destroy: func(it *keyedItem, cause error) {
			time.Sleep(h.destroyTime)
			h.mu.Lock()
			if h.causes[it] != nil || h.hijacked[it] || cause == nil {
				h.t.Errorf("I3: item %d is destroyed again, or for nothing: %v", it.n, cause)
			}
			h.causes[it] = cause
			h.order = append(h.order, it)
			h.mu.Unlock()
			h.count(key, -1)
		},
	}
	if h.edit != nil {
		h.edit(key, &cfg)
	}
	return cfg, nil
}

// count checks the caps from outside.
func (h *keyedHarness) count(key string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[key] += by
	h.sum += by
	if by > 0 {
		h.begun[key]++
	}
	if by > 0 && (h.sum > h.total || h.live[key] > h.perKey) {
		h.t.Errorf("I1: %d live of at most %d; of key %s %d of at most %d", h.sum, h.total, key, h.live[key], h.perKey)
	}
}

// resize changes the total. No make may begin any more that does not fit.
func (h *keyedHarness) resize(total int) {
	h.t.Helper()
	set := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.total = total
	}
	if total > h.total {
		set()
	}
	if err := h.k.Resize(total); err != nil {
		h.t.Fatalf("Resize(%d): %v", total, err)
	}
	synctest.Wait() // what was about to begin
	set()
}

// acquire lends one of that key, for which it waits as long as it takes.
func (h *keyedHarness) acquire(key string) resource.Lease[*keyedItem] {
	h.t.Helper()
	l, err := h.acquireFor(key, time.Hour)
	if err != nil {
		h.t.Fatalf("Acquire(%s): %v; %v", key, err, h.k.Stats())
	}
	return l
}

// acquireFor gives up after d.
func (h *keyedHarness) acquireFor(key string, d time.Duration) (resource.Lease[*keyedItem], error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), d)
	defer cancel()
	l, err := h.k.Acquire(ctx, key)
	if err == nil && l.Value().key != key {
		h.t.Fatalf("I2: key %s got a resource of key %s", key, l.Value().key)
	}
	return l, err
}

// keyedCall is an Acquire on a goroutine of its own.
type keyedCall struct {
	h      *keyedHarness
	cancel context.CancelFunc
	ended  chan keyedEnd

	// Once poll has seen the end.
	done bool
	keyedEnd
}

// keyedEnd is what came of a call.
type keyedEnd struct {
	lease resource.Lease[*keyedItem]
	err   error
	after time.Duration
}

// begin begins an Acquire.
func (h *keyedHarness) begin(key string) *keyedCall {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	c := &keyedCall{h: h, cancel: cancel, ended: make(chan keyedEnd, 1)}
	began := time.Now()
	go func() {
		l, err := h.k.Acquire(ctx, key)
		c.ended <- keyedEnd{l, err, time.Since(began)}
	}()
	synctest.Wait()
	return c
}

// beginAny begins an AcquireAny.
func (h *keyedHarness) beginAny(keys ...string) *keyedCall {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	c := &keyedCall{h: h, cancel: cancel, ended: make(chan keyedEnd, 1)}
	began := time.Now()
	go func() {
		key, l, err := h.k.AcquireAny(ctx, keys, resource.Request{})
		if err == nil && (l.Value().key != key || !slices.Contains(keys, key)) {
			h.t.Errorf("I2: of %v, key %s got a resource of key %s", keys, key, l.Value().key)
		}
		c.ended <- keyedEnd{l, err, time.Since(began)}
	}()
	synctest.Wait()
	return c
}

// poll reports whether it has returned.
func (c *keyedCall) poll() bool {
	synctest.Wait()
	select {
	case c.keyedEnd = <-c.ended:
		c.done = true
	default:
	}
	return c.done
}

// wantLease checks that it has got one.
func (c *keyedCall) wantLease() resource.Lease[*keyedItem] {
	c.h.t.Helper()
	if !c.poll() || c.err != nil {
		c.h.t.Fatalf("no lease: it has returned: %t, %v; %v", c.done, c.err, c.h.k.Stats())
	}
	return c.lease
}

// wantWaiting checks that it still waits.
func (c *keyedCall) wantWaiting() {
	c.h.t.Helper()
	if c.poll() {
		c.h.t.Fatalf("it waits no more: %v; %v", c.err, c.h.k.Stats())
	}
}

// wantErr checks that it has failed.
func (c *keyedCall) wantErr(target error) {
	c.h.t.Helper()
	if !c.poll() {
		c.h.t.Fatalf("it still waits, want %v; %v", target, c.h.k.Stats())
	}
	wantAcquireError(c.h.t, c.err, target)
}

// busy has n callers acquire, hold and release, resting in between, until stop is
// called, which returns how often they were served.
func (h *keyedHarness) busy(key string, n int, hold, rest time.Duration) (stop func() (served int)) {
	ctx, cancel := context.WithCancel(h.t.Context())
	served := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := h.k.Acquire(ctx, key)
				if err == nil {
					served[i]++
					time.Sleep(hold)
					l.Release()
				}
				time.Sleep(rest)
			}
		})
	}
	return func() (sum int) {
		cancel()
		wg.Wait()
		for _, n := range served {
			sum += n
		}
		return sum
	}
}

// destroyed returns the items destroyed for cause, in order.
func (h *keyedHarness) destroyed(cause error) (ns []int) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range h.order {
		if errors.Is(h.causes[it], cause) {
			ns = append(ns, it.n)
		}
	}
	return ns
}

// wantPreempted checks which items were preempted for other keys, in order.
func (h *keyedHarness) wantPreempted(want ...int) {
	h.t.Helper()
	if got := h.destroyed(resource.ErrPreempted); !slices.Equal(got, want) {
		h.t.Fatalf("%v were preempted, want %v", got, want)
	}
}

// begunOf is how many makes of key have begun.
func (h *keyedHarness) begunOf(key string) int {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begun[key]
}

// wantLoad checks where everything is. Max is filled in.
func (h *keyedHarness) wantLoad(want resource.Load) {
	h.t.Helper()
	synctest.Wait()
	s := h.k.Stats()
	want.Max = s.Max
	if s.Load != want {
		h.t.Fatalf("load is %+v\n\twant    %+v", s.Load, want)
	}
	if err := unbalanced(s.Stats); err != nil {
		h.t.Error(err)
	}
}

// pool returns the pool of key.
func (h *keyedHarness) pool(key string) *resource.Pool[*keyedItem] {
	h.t.Helper()
	p, err := h.k.Pool(key)
	if err != nil {
		h.t.Fatalf("Pool(%s): %v", key, err)
	}
	return p
}
