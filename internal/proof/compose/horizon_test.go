package compose_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// TestHorizon compares two pools that get the same calls at the same virtual times: one with
// an Eviction that is Predictable, and one with the same Eviction without its Horizon. Every
// caller must get the resource of the same number from both, and every resource must end at
// the same time and of the same cause.
func TestHorizon(t *testing.T) {
	var asked [2]int64
	leases := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := drawHorizonScript(rt)
		run := func(e resource.Eviction, asked *int64) (steps []string) {
			synctest.Test(t, func(*testing.T) {
				w := newTwin(s, e)
				for i, o := range s.ops {
					time.Sleep(o.gap + time.Duration(i+1)*1009) // see Make in newTwin
					got := w.do(o)
					synctest.Wait()
					steps = append(steps, got+w.state())
				}
				*asked += w.asked.Load()
				leases += w.leases
				w.close(rt)
			})
			return steps
		}
		with := run(s.eviction, &asked[0])
		without := run(policy.EvictionFunc(s.eviction.Evict), &asked[1])
		for i, got := range with {
			if got != without[i] {
				rt.Fatalf("step %d, %+v: %s; without the Horizon %s", i, s.ops[i], got, without[i])
			}
		}
	})
	t.Logf("%d leases; Evict was called %d times, without the Horizon %d times", leases, asked[0], asked[1])
	if leases == 0 || asked[0] >= asked[1] {
		t.Errorf("%d leases; Evict was called %d times, without the Horizon %d times: the scripts do not use the Horizon", leases, asked[0], asked[1])
	}
}

// horizonScript is what both pools are made of, and what is done with them.
type horizonScript struct {
	eviction resource.Eviction
	max      int
	minIdle  int
	sweep    time.Duration
	order    resource.Order
	ops      []horizonOp
}

type horizonOp struct {
	kind string
	n    int
	gap  time.Duration // before it
}

func drawHorizonScript(t *rapid.T) (s horizonScript) {
	s = horizonScript{
		eviction: rapid.Custom(func(t *rapid.T) resource.Eviction { return byID{drawEviction(t, 2)} }).Filter(keepsNew).Draw(t, "policy"),
		max:      rapid.IntRange(1, 4).Draw(t, "max"),
		sweep:    rapid.SampledFrom([]time.Duration{301717 * time.Microsecond, 5001717 * time.Microsecond}).Draw(t, "sweep"),
		order:    rapid.SampledFrom([]resource.Order{resource.NewestFirst, resource.NewestFirst, resource.OldestFirst}).Draw(t, "order"),
	}
	s.minIdle = rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "min idle")
	s.ops = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) horizonOp {
		return horizonOp{
			kind: rapid.SampledFrom([]string{"acquire", "acquire", "lasting", "try", "release", "release", "release", "fail", "burst", "burst", "reset", "resize"}).Draw(t, "kind"),
			n:    rapid.IntRange(0, 5).Draw(t, "n"),
			gap:  rapid.SampledFrom([]time.Duration{0, 0, 30 * time.Millisecond, 70 * time.Millisecond, 70 * time.Millisecond, 95 * time.Millisecond, 150 * time.Millisecond, 1100 * time.Millisecond}).Draw(t, "gap"),
		}
	}), 5, 60).Draw(t, "ops")
	return s
}

// keepsNew reports whether e keeps each new resource until the clock has ticked. Otherwise
// creation counts as failing, and is tried again after random delays.
func keepsNew(e resource.Eviction) bool {
	const d = 150 * time.Millisecond
	for id := range uint64(10) {
		if e.Evict(resource.Info{ID: id, Age: d, Idle: d}) != nil {
			return false
		}
	}
	return true
}

func drawEviction(t *rapid.T, depth int) resource.Eviction {
	kinds := []string{"age", "age", "idle", "soft", "leases", "leases", "custom"}
	if depth > 0 {
		kinds = append(kinds, "any", "any", "all", "protect", "remaining")
	}
	d := rapid.SampledFrom([]time.Duration{time.Nanosecond, 100 * time.Millisecond, 250 * time.Millisecond, 800 * time.Millisecond, 2 * time.Second, 5 * time.Second})
	jitter := rapid.SampledFrom([]float64{0, 0.3, 1})
	some := func() (es []resource.Eviction) {
		for range rapid.IntRange(1, 3).Draw(t, "members") {
			es = append(es, drawEviction(t, depth-1))
		}
		return es
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "eviction"); kind {
	case "age":
		return policy.MaxAge(d.Draw(t, "age"), jitter.Draw(t, "jitter"))
	case "idle":
		return policy.MaxIdle(d.Draw(t, "idle"))
	case "soft":
		return policy.SoftIdle(d.Draw(t, "idle"), rapid.IntRange(0, 2).Draw(t, "floor"))
	case "leases":
		return policy.MaxLeases(rapid.Int64Range(1, 40).Draw(t, "leases"), jitter.Draw(t, "jitter"))
	case "any":
		return policy.AnyOf(some()...)
	case "all":
		return policy.AllOf(some()...)
	case "protect":
		return policy.Protect(rapid.IntRange(0, 2).Draw(t, "floor"), drawEviction(t, depth-1))
	case "remaining":
		return policy.MinRemaining(d.Draw(t, "remaining"), drawEviction(t, depth-1))
	default:
		return policy.EvictionFunc(func(i resource.Info) error {
			if i.Age > 3*time.Second && i.Leases%2 == 1 {
				return errProbe
			}
			return nil
		})
	}
}

// byID replaces the Jitter, which the pool draws, by one that depends on the ID, so that
// resources of the same number have the same in both pools.
type byID struct{ resource.Eviction }

func jitterOf(i resource.Info) resource.Info {
	i.Jitter = float64(i.ID*7%10) / 10
	return i
}

func (e byID) Evict(i resource.Info) error { return e.Eviction.Evict(jitterOf(i)) }

func (e byID) Horizon(i resource.Info) resource.Horizon {
	if p, ok := e.Eviction.(resource.Predictable); ok {
		return p.Horizon(jitterOf(i))
	}
	return resource.Horizon{}
}

// twin is one of the two pools.
type twin struct {
	pool   *resource.Pool[uint64]
	held   []resource.Lease[uint64]
	asked  atomic.Int64
	leases int

	mu   sync.Mutex
	ends []string
}

// counting counts the calls of an Eviction.
type counting struct {
	resource.Eviction
	n *atomic.Int64
}

func (c counting) Evict(i resource.Info) error {
	c.n.Add(1)
	return c.Eviction.Evict(i)
}

// countingAhead is counting for one that is Predictable.
type countingAhead struct {
	counting
	resource.Predictable
}

func (c countingAhead) Evict(i resource.Info) error { return c.counting.Evict(i) }

func newTwin(s horizonScript, e resource.Eviction) *twin {
	w := &twin{}
	began := time.Now()
	var ev resource.Eviction = counting{e, &w.asked}
	if p, ok := e.(resource.Predictable); ok {
		ev = countingAhead{counting{e, &w.asked}, p}
	}
	p, err := resource.New(resource.Config[uint64]{
		Make: func(ctx context.Context) (uint64, error) {
			// No two events happen at the same instant, where their order would be
			// random: the times differ by multiples of two primes.
			id := resource.MakingID(ctx)
			time.Sleep(7*time.Millisecond + time.Duration(id)*10007)
			return id, nil
		},
		Destroy: func(id uint64, cause error) {
			w.mu.Lock()
			w.ends = append(w.ends, fmt.Sprintf("%d at %v: %v", id, time.Since(began), cause))
			w.mu.Unlock()
			// The slot is not free within the instant in which the resource ends: whether the
			// caller or this goroutine ran first would decide if there is room for a creation.
			time.Sleep(3*time.Millisecond + time.Duration(id)*10009)
		},
		// A pool made for one has one local slot. Of several, which one a call uses depends on
		// the address of the stack, and with it whether the call is a hit.
		MaxSize: 1, MinIdle: s.minIdle, SweepInterval: s.sweep, Order: s.order, Eviction: ev,
	})
	if err != nil {
		panic(err)
	}
	if err := p.Resize(s.max); err != nil {
		panic(err)
	}
	w.pool = p
	return w
}

// do does one step and describes its result.
func (w *twin) do(o horizonOp) string {
	got := func(l resource.Lease[uint64], err error) string {
		if err != nil {
			return fmt.Sprintf("not leased: %v", err)
		}
		w.leases++
		w.held = append(w.held, l)
		i := l.Info()
		return fmt.Sprintf("leased %d, age %v, idle %v, lease %d", l.Value(), i.Age, i.Idle, i.Leases)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	switch o.kind {
	case "acquire":
		return got(w.pool.AcquireWith(ctx, resource.Request{NoWait: o.n > 2}))
	case "lasting":
		return got(w.pool.AcquireWith(ctx, resource.Request{NoWait: true, MinRemaining: time.Duration(o.n) * 200 * time.Millisecond}))
	case "try":
		l, ok := w.pool.TryAcquire()
		if !ok {
			return "none idle"
		}
		return got(l, nil)
	case "burst": // mostly hits
		var ids []uint64
		for range 3 * o.n {
			l, ok := w.pool.TryAcquire()
			if !ok {
				break
			}
			w.leases++
			ids = append(ids, l.Value())
			l.Release()
		}
		return fmt.Sprintf("leased %v", ids)
	case "reset":
		if o.n == 0 {
			w.pool.Reset(nil)
		}
	case "resize":
		if o.n > 0 {
			_ = w.pool.Resize(o.n)
		}
	default:
		if len(w.held) == 0 {
			return ""
		}
		k := o.n % len(w.held)
		l := w.held[k]
		w.held = slices.Delete(w.held, k, k+1)
		if o.kind == "fail" {
			l.Fail(errProbe)
		} else {
			l.Release()
		}
	}
	return ""
}

// state is what can be seen of the pool.
func (w *twin) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.ends) // several that end at one instant do so in a random order
	s := w.pool.Stats()
	return fmt.Sprintf("; %v, acquired %d; ends %q", s.Load, s.Acquired, w.ends)
}

func (w *twin) close(t *rapid.T) {
	for _, l := range w.held {
		l.Release()
	}
	if err := w.pool.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
