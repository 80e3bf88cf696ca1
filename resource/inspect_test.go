package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// stateful is a policy of every kind that reports its state.
type stateful struct {
	listQueue
	keeping
	state func() string
}

func (s *stateful) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, nil }
func (s *stateful) Check(context.Context, *item, resource.Info) error              { return nil }
func (s *stateful) State() string                                                  { return s.state() }

// listed returns the resource with that ID.
func listed(t *testing.T, in resource.Inspection, id uint64) resource.ResourceInfo {
	t.Helper()
	for _, r := range in.Resources {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("%d is not among %+v", id, in.Resources)
	return resource.ResourceInfo{}
}

// Every resource is shown where it is, and every waiter in order.
func TestInspect_Shows(t *testing.T) {
	w := newScriptedHealth()
	boom := errors.New("boom")
	edit := func(h *harness) {
		w.in(10 * time.Second)(h)
		h.cfg.Describe = func(it *item) string { return fmt.Sprintf("number %d", it.n) }
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 4, edit, func(h *harness) {
		ls, its := h.lendN(4)
		time.Sleep(time.Second)
		ls[0].Release()
		ls[1].Release()
		its[3].invalidate(boom)
		w.delay(5 * time.Second)
		time.Sleep(10 * time.Second) // the sweep is at one of the two
		in := h.p.Inspect(10)
		if in.Stats != h.p.Stats() || len(in.Resources) != 4 || len(in.Waiting) != 0 || in.OldestWait != 0 || in.Facts != nil {
			t.Errorf("%+v", in)
		}
		var idle []resource.State
		for i, it := range its {
			r := listed(t, in, uint64(i+1))
			if r.Detail != fmt.Sprintf("number %d", it.n) || !near(r.Age, 11*time.Second) || r.Leases != 1 {
				t.Errorf("resource %d is %+v", i+1, r)
			}
			switch {
			case i < 2:
				idle = append(idle, r.State)
				if r.Held != 0 || r.Invalidated != nil || !near(r.Idle, 10*time.Second) {
					t.Errorf("resource %d is %+v, want idle", i+1, r)
				}
			case r.State != resource.Leased || !near(r.Held, 11*time.Second) || r.Idle != 0 || (i == 3) != (r.Invalidated == boom):
				t.Errorf("resource %d is %+v, want leased", i+1, r)
			}
		}
		slices.Sort(idle)
		if !slices.Equal(idle, []resource.State{resource.Idle, resource.Checking}) {
			t.Errorf("the idle ones are %v", idle)
		}
		w.delay(0)
		time.Sleep(time.Minute)
		h.lendN(2)
		var cs []*call
		for i := range 3 {
			cs = append(cs, h.acquireWith(resource.Request{Priority: i}))
			time.Sleep(time.Second)
		}
		for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 2: 2, 3: 3, 9: 3} {
			in = h.p.Inspect(limit)
			if len(in.Waiting) != want || len(in.Resources) != max(0, min(4, limit)) || in.OldestWait != 3*time.Second {
				t.Errorf("limit %d: %+v", limit, in)
			}
			for i, x := range in.Waiting {
				if x.Request.Priority != i || x.Waited != time.Duration(3-i)*time.Second {
					t.Errorf("limit %d: position %d is %+v", limit, i, x)
				}
			}
		}
		cs[0].cancel()
		h.settle()
		if in = h.p.Inspect(9); in.OldestWait != 2*time.Second || len(in.Waiting) != 2 {
			t.Errorf("after the first has left: %+v", in)
		}
	})
}

// A resource in a local slot is idle too, for as long as its word says.
func TestInspect_LocalSlot(t *testing.T) {
	script(t, 2, func(h *harness) { h.auto = func(m *makeCall) { m.finish() } }, func(h *harness) {
		h.stock(1)
		l := h.lend()
		l.Release()
		r := listed(t, h.p.Inspect(1), 1)
		if r.State != resource.Idle || r.Idle != 0 || r.Leases != 2 {
			t.Errorf("it is %+v", r)
		}
		h.lend()
		if r = listed(t, h.p.Inspect(1), 1); r.State != resource.Leased || r.Held != 0 || r.Leases != 3 {
			t.Errorf("it is %+v", r)
		}
	})
}

// The policies that there are, and what they say of themselves.
func TestInspect_Policies(t *testing.T) {
	s := &stateful{state: func() string { return "fine" }}
	edit := func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota, h.cfg.Eviction, h.cfg.Queue = s, s, s, s, s
		h.cfg.Health = s
	}
	script(t, 1, edit, func(h *harness) {
		in := h.p.Inspect(0)
		var moments []string
		for _, p := range in.Policies {
			if moments = append(moments, p.Moment); p.State != "fine" || p.Type != "*resource_test.stateful" {
				t.Errorf("it is %+v", p)
			}
		}
		if got := strings.Join(moments, " "); got != "Admission MakeGate Quota Eviction Health Queue" {
			t.Errorf("the policies are those at %s", got)
		}
	})
	edit = func(h *harness) { h.cfg.Eviction = &keeping{} }
	script(t, 1, edit, func(h *harness) {
		want := resource.PolicyState{Moment: "Eviction", Type: "*resource_test.keeping"}
		if in := h.p.Inspect(1); len(in.Policies) != 1 || in.Policies[0] != want {
			t.Errorf("the policies are %+v", in.Policies)
		}
	})
}

// A lease is shown with its true age, although the tick has turned over, and though
// no inspection ran in between; so is one that begins in a local slot.
func TestInspect_HeldUnseen(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		for _, hits := range []int{0, 1, 2, 5} {
			edit := func(h *harness) {
				h.auto = func(m *makeCall) { m.finish() }
				h.cfg.Order = order
			}
			script(t, 2, edit, func(h *harness) {
				for range hits {
					h.lend().Release()
				}
				h.lend()
				const long = 47*time.Hour + 20*time.Minute
				time.Sleep(long)
				if got := listed(t, h.p.Inspect(1), 1).Held; !near(got, long) {
					t.Errorf("order %d, lease %d: held for %v, want %v", order, hits+1, got, long)
				}
			})
		}
	}
}

// The same with an inspection now and then.
func TestInspect_HeldForDays(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		edit := func(h *harness) {
			h.auto = func(m *makeCall) { m.finish() }
			if sampled {
				newLeaseLog().in(1)(h)
			}
		}
		script(t, 2, edit, func(h *harness) {
			h.lend()
			for day := range 5 {
				time.Sleep(24 * time.Hour)
				if got, want := listed(t, h.p.Inspect(1), 1).Held, time.Duration(day+1)*24*time.Hour; !near(got, want) || sampled && got != want {
					t.Errorf("held for %v, want %v", got, want)
				}
			}
		})
	}
}

// A lease is still shown after Close, which waits for it.
func TestInspect_Closed(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		h.close(time.Second)
		in := h.p.Inspect(5)
		if len(in.Resources) != 1 || in.Leased != 1 {
			t.Fatalf("%+v", in)
		}
		if r := in.Resources[0]; r.State != resource.Leased || r.Invalidated != resource.ErrClosed {
			t.Errorf("it is %+v, want leased and to end with the pool", r)
		}
		l.Release()
		h.settle()
		if in := h.p.Inspect(5); len(in.Resources) != 0 || in.Destroyed != 1 {
			t.Errorf("%+v", in)
		}
	})
}

// More than fit under one hold of the lock.
func TestInspect_Many(t *testing.T) {
	const n = 300
	edit := func(h *harness) { h.auto = func(m *makeCall) { m.finish() } }
	script(t, n, edit, func(h *harness) {
		ls, _ := h.lendN(n)
		for i := range n {
			h.acquireWith(resource.Request{Priority: i})
		}
		for _, limit := range []int{1, 63, 64, 65, 200, n, 2 * n} {
			in := h.p.Inspect(limit)
			ids := map[uint64]bool{}
			for _, r := range in.Resources {
				ids[r.ID] = true
			}
			if want := min(n, limit); len(ids) != want || len(in.Resources) != want || len(in.Waiting) != want {
				t.Errorf("limit %d: %d resources, %d different, %d waiting", limit, len(in.Resources), len(ids), len(in.Waiting))
			}
			for i, w := range in.Waiting {
				if w.Request.Priority != i {
					t.Fatalf("position %d is %+v", i, w)
				}
			}
		}
		for _, l := range ls {
			l.Release()
		}
	})
}

// Inspections, several at once, while everything moves: what exists all the time is
// listed once, waiters in their order, and nothing twice.
func TestInspect_WhileItMoves(t *testing.T) {
	const still, most = 150, 300
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := newPlain(t, most, func(cfg *resource.Config[*token]) {
		cfg.Describe = func(*token) string { return "x" }
		cfg.Trace, cfg.SampleLeases = newLeaseLog().trace(), 2
	})
	kept := map[uint64]bool{}
	var mine []resource.Lease[*token]
	for range still {
		l := p.must(context.Background())
		mine, kept[l.Info().ID] = append(mine, l), true
	}
	var over atomic.Bool
	var churn, look sync.WaitGroup
	for g := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(g)))
		churn.Go(func() {
			for !over.Load() {
				var ls []resource.Lease[*token]
				for range 1 + rng.IntN(70) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(300))*time.Microsecond)
					if l, err := p.Acquire(ctx); err == nil {
						ls = append(ls, l)
					}
					cancel()
				}
				for _, l := range ls {
					if rng.IntN(3) == 0 {
						l.Discard(nil)
					}
					l.Release()
				}
			}
		})
	}
	for range 3 {
		look.Go(func() {
			for range 100 {
				in := p.Inspect(2 * most)
				found, seen := 0, map[uint64]bool{}
				for _, r := range in.Resources {
					if seen[r.ID] {
						t.Errorf("resource %d is listed twice", r.ID)
					}
					if seen[r.ID] = true; kept[r.ID] {
						found++
					}
					if r.Held < 0 || r.Held > time.Hour || r.Idle < 0 || r.Idle > r.Age {
						t.Errorf("it is %+v", r)
					}
				}
				if found != still {
					t.Errorf("%d of the %d are listed that are there all the time", found, still)
				}
				if err := unbalanced(in.Stats); err != nil {
					t.Error(err)
				}
			}
		})
	}
	look.Wait()
	over.Store(true)
	churn.Wait()
	for _, l := range mine {
		l.Release()
	}
}

// Callers come and leave while the waiters are listed: no waiter is listed twice.
func TestInspect_WhileTheLineMoves(t *testing.T) {
	p := newPlain(t, 1, nil)
	l := p.must(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	var next atomic.Int64
	for range 300 {
		callers.Go(func() {
			for ctx.Err() == nil {
				one, leave := context.WithTimeout(ctx, time.Duration(1+next.Add(1)%7)*time.Millisecond)
				if _, err := p.AcquireWith(one, resource.Request{Cost: int(next.Add(1))}); err == nil {
					t.Error("lent twice")
				}
				leave()
			}
		})
	}
	long := 0 // how often more waited than are listed in one go
	for end := time.Now().Add(20 * time.Second); long < 100 && time.Now().Before(end); {
		in := p.Inspect(1000)
		seen := map[int]bool{}
		for _, w := range in.Waiting {
			if seen[w.Request.Cost] {
				t.Errorf("%d is listed twice", w.Request.Cost)
			}
			seen[w.Request.Cost] = true
		}
		if len(in.Waiting) > 100 {
			long++
		}
	}
	cancel()
	callers.Wait()
	l.Release()
	if long < 100 {
		t.Errorf("a long line was seen %d times in 20 s", long)
	}
}

// I5: Describe and State may call back.
func TestI5_InspectCallsBack(t *testing.T) {
	calls := 0
	var h *harness
	back := func() string {
		calls++
		h.p.Stats()
		h.p.Inspect(0)
		if l, ok := h.p.TryAcquire(); ok {
			l.Discard(nil)
		}
		return "back"
	}
	inside := false
	edit := func(it *harness) {
		h = it
		h.cfg.Describe = func(*item) string { return back() }
		h.cfg.Admission = &stateful{state: func() string {
			if inside {
				return "inside"
			}
			inside = true
			defer func() { inside = false }()
			return back()
		}}
	}
	script(t, 2, edit, func(h *harness) {
		h.stock(2)
		in := h.p.Inspect(5)
		if len(in.Resources) != 2 || in.Resources[0].Detail != "back" || in.Policies[0].State != "back" || calls != 5 { // each Describe asks State too
			t.Errorf("%d calls, %+v", calls, in)
		}
	})
}

// I9: a panic in one policy's State costs no more than its own text.
func TestI9_InspectPanics(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Describe = func(it *item) string {
			if it.n == 1 {
				panic(errFault)
			}
			return "fine"
		}
		h.cfg.Admission = &stateful{state: func() string { panic(errFault) }}
		h.cfg.MakeGate = &stateful{state: func() string { return "fine" }}
	}
	script(t, 2, edit, func(h *harness) {
		h.stock(2)
		in := h.p.Inspect(5)
		if a, b := listed(t, in, 1).Detail, listed(t, in, 2).Detail; a != "" || b != "fine" {
			t.Errorf("details %q and %q", a, b)
		}
		if in.Policies[0].State != "" || in.Policies[1].State != "fine" || h.p.Stats().Panics != 2 {
			t.Errorf("%+v, %d panics", in.Policies, h.p.Stats().Panics)
		}
	})
}

// Of a Keyed, all keys together and one by one; none is made by looking.
func TestInspect_Keyed(t *testing.T) { synctest.Test(t, inspectKeyed) }

func inspectKeyed(t *testing.T) {
	ctx := context.Background()
	gate := &stateful{state: func() string { return "open" }}
	k := newKeyed(t, resource.KeyedConfig[string, int]{
		MaxTotal: 4,
		Config: func(key string) (resource.Config[int], error) {
			return resource.Config[int]{
				MaxSize: 2, Admission: gate,
				Make:     func(context.Context) (int, error) { return len(key), nil },
				Describe: func(int) string { return "of " + key },
			}, nil
		},
	})
	view := k.View("a")
	if in := view.Inspect(5); in.Max != 0 || in.Resources != nil || in.Policies != nil {
		t.Errorf("a key that is not in use is %+v", in)
	}
	if _, ok := k.InspectKey("a", 5); ok || k.Len() != 0 {
		t.Errorf("%d keys by looking", k.Len())
	}
	var ls []resource.Lease[int]
	for _, key := range []string{"a", "a", "b"} {
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	one, ok := k.InspectKey("a", 5)
	if !ok || len(one.Resources) != 2 || one.Resources[0].Detail != "of a" || one.Leased != 2 || len(one.Policies) != 1 {
		t.Errorf("of one key: %+v", one)
	}
	if in := view.Inspect(1); len(in.Resources) != 1 || in.Max != 2 {
		t.Errorf("the view: %+v", in)
	}
	all := k.Inspect(10)
	ids := map[uint64]bool{}
	for _, r := range all.Resources {
		ids[r.ID] = true
	}
	if len(ids) != 3 || all.Max != 4 || all.Leased != 3 || len(all.Policies) != 1 || all.Policies[0].State != "open" {
		t.Errorf("of all keys: %+v", all)
	}
	waits, cancel := context.WithCancel(ctx)
	var callers sync.WaitGroup
	for _, key := range []string{"a", "a"} { // as many as one key may have
		callers.Go(func() {
			if l, err := k.Acquire(waits, key); err == nil {
				l.Release()
			}
		})
	}
	time.Sleep(time.Second)
	all = k.Inspect(2)
	if len(all.Resources) != 2 || len(all.Waiting) != 2 || all.Waiting[0].Waited != time.Second || all.OldestWait != time.Second {
		t.Errorf("with limit 2: %+v", all)
	}
	cancel()
	callers.Wait()
	for _, l := range ls {
		l.Release()
	}
	if err := k.Close(ctx); err != nil {
		t.Error(err)
	}
}

// MinIdle is reported as it was configured, and as the sum for many keys.
func TestInspect_MinIdle(t *testing.T) {
	cfg := resource.Config[int]{Make: makeOne, MaxSize: 4, MinIdle: 3}
	p := newPool(t, cfg)
	if n := p.Inspect(0).MinIdle; n != 3 {
		t.Errorf("%d, not 3", n)
	}
	k := newKeyed(t, resource.KeyedConfig[string, int]{
		Config: func(string) (resource.Config[int], error) { return cfg, nil }, MaxTotal: 8,
	})
	for _, key := range []string{"a", "b"} {
		l, err := k.Acquire(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	if n := k.Inspect(0).MinIdle; n != 6 {
		t.Errorf("%d of two keys, not 6", n)
	}
	if err := errors.Join(p.Close(t.Context()), k.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// How long Inspect holds the lock while it lists many resources.

// The room for a long queue is made before the lock is taken: to grow it under the
// lock would be to copy the waiters there, again and again.
func TestInspect_QueueIsNotCopiedUnderTheLock(t *testing.T) {
	edit := func(h *harness) { h.auto = func(m *makeCall) { m.finish() } }
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		allocs := func(line int) float64 {
			for range line {
				h.acquire()
			}
			h.settle()
			return testing.AllocsPerRun(10, func() { h.p.Inspect(1 << 30) })
		}
		few, many := allocs(1), allocs(1000)
		if many > few+2 {
			t.Errorf("%v allocations to list one caller, %v to list 1000", few, many)
		}
		l.Release()
	})
}

// A long listing yields now and then to goroutines that may wait for the lock: else
// they would get it only at the end of the listing.
func TestInspect_MakesWay(t *testing.T) {
	const n = 10_000
	p := newPlain(t, n, nil)
	if err := p.Warm(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var turns atomic.Int64
	var over atomic.Bool
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for !over.Load() {
			turns.Add(1)
			runtime.Gosched()
		}
	}()
	for turns.Load() == 0 {
		runtime.Gosched()
	}
	before := turns.Load()
	in := p.Inspect(n)
	if got := turns.Load() - before; got < 10 || len(in.Resources) != n {
		t.Errorf("another goroutine ran %d times while %d were listed, want 10 times", got, len(in.Resources))
	}
	over.Store(true)
	<-gone
}

// The longest waiters of all keys are listed, in that order, whatever the limit and
// whatever key is visited first.
func TestInspect_KeyedLongestWaits(t *testing.T) { synctest.Test(t, keyedLongestWaits) }

func keyedLongestWaits(t *testing.T) {
	const keys, callers = 10, 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(context.Background())
	k := newKeyed(t, resource.KeyedConfig[int, int]{
		MaxTotal: keys,
		Config: func(int) (resource.Config[int], error) {
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 0, nil }}, nil
		},
	})
	var ls []resource.Lease[int]
	for key := range keys {
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	var line sync.WaitGroup
	for i := range callers {
		key := rng.IntN(keys)
		line.Go(func() {
			if l, err := k.AcquireWith(ctx, key, resource.Request{Cost: i}); err == nil {
				l.Release()
			}
		})
		time.Sleep(time.Second)
	}
	for _, limit := range []int{-1, 0, 1, 3, 20, callers - 1, callers, 1 << 30} {
		in := k.Inspect(limit)
		if want := max(0, min(limit, callers)); len(in.Waiting) != want || in.OldestWait != callers*time.Second {
			t.Fatalf("limit %d: %d wait, the first for %v; want %d", limit, len(in.Waiting), in.OldestWait, want)
		}
		for i, w := range in.Waiting {
			if w.Request.Cost != i || w.Waited != time.Duration(callers-i)*time.Second {
				t.Errorf("limit %d: position %d is %+v", limit, i, w)
			}
		}
	}
	cancel()
	line.Wait()
	for _, l := range ls {
		l.Release()
	}
	closeAll(t, k)
}
