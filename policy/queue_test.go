package policy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The queues in a pool.

// throng is a group of callers of one pool, which hold their leases for some time.
type throng struct {
	l    *lender
	hold time.Duration
	wg   sync.WaitGroup

	mu      sync.Mutex
	served  []string        // in the order of service
	waits   []time.Duration // of served callers
	refused []time.Duration // waits of callers refused with ErrOverloaded
	left    int             // callers whose deadline passed
}

// come starts one caller, which waits up to patience.
func (c *throng) come(name string, r resource.Request, patience time.Duration) {
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		began := time.Now()
		lease, err := c.l.AcquireWith(ctx, r)
		waited := time.Since(began)
		c.mu.Lock()
		switch {
		case err == nil:
			c.served = append(c.served, name)
			c.waits = append(c.waits, waited)
		case errors.Is(err, policy.ErrOverloaded):
			c.refused = append(c.refused, waited)
			var a *resource.AcquireError
			if !errors.Is(err, resource.ErrRejected) || !errors.As(err, &a) || a.RetryAfter != interval {
				c.l.t.Errorf("refused with %v, which should say to retry after %v", err, interval)
			}
		case errors.Is(err, context.DeadlineExceeded):
			c.left++
		default:
			c.l.t.Errorf("%s: %v", name, err)
		}
		c.mu.Unlock()
		if err == nil {
			time.Sleep(c.hold)
			lease.Release()
		}
	})
	synctest.Wait() // the next one arrives after it
}

// Higher priorities are served first, but one level is worth only step of waiting.
func TestPriority_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.Priority(time.Second)})
		c := &throng{l: l, hold: 10 * time.Millisecond}
		at := func(p int) resource.Request { return resource.Request{Priority: p} }
		held := l.get()
		c.come("batch", at(-1), time.Hour)
		c.come("plain 1", at(0), time.Hour)
		time.Sleep(900 * time.Millisecond)
		c.come("urgent 1", at(1), time.Hour) // 0.9 s after plain 1: before it
		time.Sleep(200 * time.Millisecond)
		c.come("urgent 2", at(1), time.Hour) // 1.1 s: after it
		c.come("plain 2", at(0), time.Hour)  // 1.1 s after batch: after it
		c.come("pressing", at(9), time.Hour)
		held.Release()
		c.wg.Wait()
		got := strings.Join(c.served, ", ")
		if want := "pressing, urgent 1, plain 1, urgent 2, batch, plain 2"; got != want {
			t.Errorf("served %s; want %s", got, want)
		}
	})
}

// Under constant urgent load a caller with low priority is served once its wait outweighs
// the priority; in strict order it is not.
func TestPriority_Starves(t *testing.T) {
	for _, c := range []struct {
		name     string
		step     time.Duration
		from, to time.Duration // when it is served
	}{
		{"in time", time.Second, 3 * time.Second, 3100 * time.Millisecond},
		{"strict", math.MaxInt64, 10 * time.Second, 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.Priority(c.step)})
				urgent := &throng{l: l, hold: 10 * time.Millisecond}
				low := &throng{l: l}
				for n := range 1000 { // for 10 s, slightly more than can be served
					if n < 2 {
						urgent.come("urgent", resource.Request{Priority: 3}, time.Hour)
					}
					urgent.come("urgent", resource.Request{Priority: 3}, time.Hour)
					if n == 0 {
						low.come("low", resource.Request{}, time.Hour)
					}
					time.Sleep(10 * time.Millisecond)
				}
				urgent.wg.Wait()
				low.wg.Wait()
				if len(low.waits) != 1 || low.waits[0] < c.from || low.waits[0] > c.to {
					t.Errorf("served after %v, want from %v to %v", low.waits, c.from, c.to)
				}
			})
		})
	}
}

const target, interval = 5 * time.Millisecond, 100 * time.Millisecond

// overload is a pool of 10 with leases of 10 ms: a capacity of 1000 per second. For 2 s
// load times as many callers arrive.
func overload(t *testing.T, q resource.Queue, load float64) *throng {
	l := lend(t, resource.Config[int]{MaxSize: 10, Queue: q})
	if err := l.Warm(context.Background(), 10); err != nil {
		t.Fatal(err)
	}
	c := &throng{l: l, hold: 10 * time.Millisecond}
	n := int(2000 * load)
	for range n {
		c.come("", resource.Request{}, 200*time.Millisecond)
		time.Sleep(2 * time.Second / time.Duration(n))
	}
	c.wg.Wait()
	slices.Sort(c.waits)
	t.Logf("%d came: %d served, half within %v, 99 of 100 within %v; %d refused, %d left",
		n, len(c.waits), c.waits[len(c.waits)/2], c.waits[len(c.waits)*99/100], len(c.refused), c.left)
	return c
}

// Under overload CoDel serves the full capacity with short waits; in order of arrival every
// caller waits almost until its deadline.
func TestCoDel_Overload(t *testing.T) {
	for _, load := range []float64{1.2, 2, 3} {
		t.Run(fmt.Sprintf("load=%v", load), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fifo, codel := overload(t, nil, load), overload(t, policy.CoDel(target, interval), load)
				if median := fifo.waits[len(fifo.waits)/2]; median < 100*time.Millisecond {
					t.Errorf("without CoDel half were served within %v: no overload", median)
				}
				if n := len(codel.waits); n < 1980 {
					t.Errorf("%d were served; 2000 could be", n)
				}
				if median := codel.waits[len(codel.waits)/2]; median > 4*target {
					t.Errorf("half were served within %v, want %v", median, 4*target)
				}
				if len(codel.refused) == 0 || slices.Min(codel.refused) <= 2*target {
					t.Errorf("%d refused, after %v at least; want more than %v", len(codel.refused), slices.Min(codel.refused), 2*target)
				}
			})
		})
	}
}

// Without overload, and during a burst shorter than the interval, no caller is refused and
// all are served in order of arrival.
func TestCoDel_Burst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.CoDel(target, interval)})
		l.get().Release()
		c := &throng{l: l, hold: time.Millisecond}
		var want []string
		for round := range 20 {
			for n := range 90 { // work for 90 ms
				name := fmt.Sprint(round, n)
				want = append(want, name)
				c.come(name, resource.Request{}, time.Hour)
			}
			time.Sleep(interval)
		}
		c.wg.Wait()
		if len(c.refused) > 0 || !slices.Equal(c.served, want) {
			t.Errorf("%d refused, served %v; want all in order", len(c.refused), c.served)
		}
	})
}

// The queues compared with models that sort a slice.

// queueScript runs the steps of a fuzzer on a Queue and a model. A step is three bytes: an
// operation, a priority or the index of a waiter, and the passage of time.
type queueScript struct {
	t     *testing.T
	q     resource.Queue
	now   time.Duration
	seen  []*resource.Waiter // all waiters, including some that were never pushed
	in    []*resource.Waiter // in the queue, in order of Push
	out   map[*resource.Waiter]bool
	check func(w *resource.Waiter, refuse error) // called for a Pop before in is changed
	left  func()                                 // called for a Remove of a waiter in the queue
}

// prio maps a byte to small and extreme priorities.
func prio(b byte) int {
	switch p := int(int8(b)); {
	case p > 120:
		return math.MaxInt - (127 - p)
	case p < -120:
		return math.MinInt + (128 + p)
	default:
		return p / 20
	}
}

func (s *queueScript) run(script []byte) {
	s.out = map[*resource.Waiter]bool{}
	for ; len(script) >= 3; script = script[3:] {
		s.now += time.Duration(script[2]) * time.Duration(script[2]) * 10 * time.Microsecond // to 650 ms
		switch op, b := script[0]%8, script[1]; {
		case op < 3: // push a new waiter
			s.push(&resource.Waiter{Request: resource.Request{Priority: prio(b)}, Since: s.now})
		case op == 3: // push a waiter with an earlier Since
			s.push(&resource.Waiter{Request: resource.Request{Priority: prio(b)}, Since: s.now - min(s.now, time.Duration(b)*time.Millisecond)})
		case op == 4 && len(s.seen) > 0: // remove a waiter, which may have been removed or popped before
			s.remove(s.seen[int(b)%len(s.seen)])
		case op == 4: // remove a waiter that was never pushed
			s.remove(&resource.Waiter{})
		default:
			s.pop()
		}
	}
	for range len(s.in) {
		s.pop()
	}
	if w, refuse := s.q.Pop(s.now); w != nil || refuse != nil || len(s.in) != 0 {
		s.t.Fatalf("at the end Pop gives %v and %v, and %d are left", w, refuse, len(s.in))
	}
}

func (s *queueScript) push(w *resource.Waiter) {
	s.q.Push(w, s.now)
	s.seen, s.in = append(s.seen, w), append(s.in, w)
}

func (s *queueScript) remove(w *resource.Waiter) {
	s.q.Remove(w)
	if i := slices.Index(s.in, w); i >= 0 {
		s.in = slices.Delete(s.in, i, i+1)
		s.left()
	}
}

func (s *queueScript) pop() {
	w, refuse := s.q.Pop(s.now)
	if w == nil {
		if len(s.in) > 0 || refuse != nil {
			s.t.Fatalf("Pop returns nil and %v; %d wait", refuse, len(s.in))
		}
		return
	}
	i := slices.Index(s.in, w)
	if i < 0 || s.out[w] {
		s.t.Fatalf("Pop gives one that does not wait")
	}
	s.check(w, refuse)
	s.out[w] = true
	s.in = slices.Delete(s.in, i, i+1)
	if len(s.in) == 0 {
		s.left()
	}
}

// bySince returns the waiters ordered by Since.
func (s *queueScript) bySince() []*resource.Waiter {
	sorted := slices.Clone(s.in)
	slices.SortStableFunc(sorted, func(a, b *resource.Waiter) int { return cmp.Compare(a.Since, b.Since) })
	return sorted
}

// A position in time beyond the range of a Duration is the end of the range.
func TestPriority_Clamped(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  time.Duration
		order []resource.Waiter // as they are served; the last is the first to arrive
	}{
		{"before the begin", math.MaxInt64, []resource.Waiter{
			{Since: -2, Request: resource.Request{Priority: 1}}, {Since: math.MinInt64 + 1}, {Since: 0},
		}},
		{"at the begin", math.MaxInt64, []resource.Waiter{
			{Since: -1, Request: resource.Request{Priority: 1}}, {Since: math.MinInt64 + 1}, {Since: 0},
		}},
		{"behind the end", math.MaxInt64, []resource.Waiter{
			{Since: 0}, {Since: math.MaxInt64 - 1}, {Since: 2, Request: resource.Request{Priority: -1}},
		}},
		{"far beyond both", math.MaxInt64, []resource.Waiter{
			{Since: 9, Request: resource.Request{Priority: 3}}, {Since: 0}, {Since: 5, Request: resource.Request{Priority: -3}},
		}},
	} {
		q := policy.Priority(c.step)
		for i := len(c.order) - 1; i >= 0; i-- {
			q.Push(&c.order[i], 0)
		}
		for i := range c.order {
			if w, err := q.Pop(0); w != &c.order[i] || err != nil {
				t.Errorf("%s: number %d is %+v, %v; want %+v", c.name, i, w, err, c.order[i])
			}
		}
	}
}

func FuzzPriority(f *testing.F) {
	f.Add(int64(time.Second), []byte{0, 0, 1, 0, 40, 1, 0, 200, 1, 3, 9, 5, 4, 1, 0, 5, 0, 0, 0, 127, 1, 0, 128, 1, 5, 0, 9, 5, 0, 0})
	f.Add(int64(math.MaxInt64), []byte{0, 127, 9, 0, 126, 9, 0, 128, 9, 0, 129, 9, 0, 0, 9, 0, 20, 9, 0, 40, 9, 4, 3, 1, 4, 3, 1, 5, 0, 0})
	f.Add(int64(math.MaxInt64), []byte{0, 126, 9, 0, 127, 9, 0, 129, 9, 0, 128, 9, 0, 40, 9, 0, 60, 9, 0, 255, 9})
	f.Add(int64(time.Second), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(int64(1), []byte{4, 0, 0, 5, 0, 0, 3, 255, 255, 3, 1, 255, 3, 255, 0})
	f.Fuzz(func(t *testing.T, step int64, script []byte) {
		step = max(1, step)
		key := func(w *resource.Waiter) int64 {
			k := new(big.Int).Mul(big.NewInt(int64(w.Request.Priority)), big.NewInt(step))
			k.Sub(big.NewInt(int64(w.Since)), k)
			switch {
			case k.IsInt64():
				return k.Int64()
			case k.Sign() > 0:
				return math.MaxInt64
			}
			return math.MinInt64
		}
		before := func(a, b *resource.Waiter) bool {
			switch ka, kb := key(a), key(b); {
			case ka != kb:
				return ka < kb
			case a.Request.Priority != b.Request.Priority:
				return a.Request.Priority > b.Request.Priority
			}
			return a.Since < b.Since
		}
		s := &queueScript{t: t, q: policy.Priority(time.Duration(step)), left: func() {}}
		s.check = func(w *resource.Waiter, refuse error) {
			best := s.in[0]
			for _, x := range s.in {
				if before(x, best) {
					best = x
				}
			}
			if w != best || refuse != nil {
				t.Fatalf("step %v: Pop gives %+v and %v, want %+v", time.Duration(step), *w, refuse, *best)
			}
		}
		s.run(script)
	})
}

func FuzzCoDel(f *testing.F) {
	f.Add(uint8(5), uint8(100), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 40, 0, 0, 0, 5, 0, 101, 0, 0, 1, 5, 0, 20, 5, 0, 1, 5, 0, 1})
	f.Add(uint8(1), uint8(1), []byte{0, 0, 10, 0, 0, 10, 0, 0, 10, 5, 0, 10, 5, 0, 30, 3, 255, 0, 0, 0, 9, 5, 0, 30, 4, 1, 0, 4, 0, 0, 5, 0, 0})
	f.Add(uint8(20), uint8(50), []byte{0, 0, 1, 5, 0, 99, 0, 0, 1, 4, 1, 99, 0, 0, 1, 0, 0, 1, 5, 0, 60, 0, 0, 1, 0, 0, 1, 5, 0, 99, 3, 200, 1, 5, 0, 1})
	f.Fuzz(func(t *testing.T, a, b uint8, script []byte) {
		target := time.Duration(a)*time.Millisecond + 1
		interval := target + time.Duration(b)*time.Millisecond + 1
		// The model keeps every sample of the interval instead of the minimum.
		looks, began, overloaded, recent := []time.Duration{0}, time.Duration(0), false, false
		s := &queueScript{t: t, q: policy.CoDel(target, interval)}
		s.left = func() {
			if len(s.in) == 0 {
				looks = append(looks, 0)
			}
		}
		s.check = func(w *resource.Waiter, refuse error) {
			waiting := s.bySince()
			longest := s.now - waiting[0].Since
			if s.now >= began+interval {
				recent, overloaded = overloaded && s.now-began < 2*interval, slices.Min(looks) > target
				looks, began = nil, s.now
			} else if recent && longest > 2*target {
				overloaded = true
			}
			looks = append(looks, longest)
			newest := waiting[len(waiting)-1]
			want, refused := waiting[0], false
			if overloaded && longest <= 2*target || len(waiting) == 1 {
				want = newest
			} else if overloaded {
				refused = true
			}
			if w != want || refused != (refuse != nil) {
				t.Fatalf("overloaded %v, waits from %v to %v: Pop gives one of %v and %v, refused should be %v",
					overloaded, s.now-newest.Since, longest, s.now-w.Since, refuse, refused)
			}
			var r *resource.Rejection
			if refuse != nil && (!errors.Is(refuse, policy.ErrOverloaded) || !errors.As(refuse, &r) || r.RetryAfter != interval) {
				t.Fatalf("refused with %v", refuse)
			}
		}
		s.run(script)
	})
}

// meet starts 20 callers at the same instant for one resource, which each holds for 10 ms.
// The last caller has the earliest deadline, and each can be served in time if no caller
// with a later deadline is served before it. It returns the number served.
func meet(t *testing.T, q resource.Queue) (served int) {
	synctest.Test(t, func(t *testing.T) {
		const callers, hold = 20, 10 * time.Millisecond
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: q})
		held := l.get()
		var mu sync.Mutex
		var all sync.WaitGroup
		for k := range callers {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), (callers-time.Duration(k))*hold-hold/2)
				defer cancel()
				lease, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				time.Sleep(hold)
				lease.Release()
				mu.Lock()
				defer mu.Unlock()
				served++
			})
			synctest.Wait() // the next one arrives after it
		}
		held.Release()
		all.Wait()
	})
	return served
}

// If all callers can be served in time, all are; in order of arrival half are not.
func TestEarliestDeadline_AllInTime(t *testing.T) {
	if n := meet(t, policy.EarliestDeadline(time.Second)); n != 20 {
		t.Errorf("%d of 20 callers were served", n)
	}
	if n := meet(t, nil); n > 12 {
		t.Errorf("first come, first served: %d of 20 were served, which then says nothing of EarliestDeadline", n)
	}
}

// Waiters of every kind are ordered by deadline.
func TestEarliestDeadline_Order(t *testing.T) {
	const otherwise = time.Second
	due := func(w *resource.Waiter) time.Duration {
		if w.Deadline != 0 {
			return w.Deadline
		}
		if w.Since > math.MaxInt64-otherwise {
			return math.MaxInt64
		}
		return w.Since + otherwise
	}
	rnd := rand.New(rand.NewPCG(13, 7))
	q := policy.EarliestDeadline(otherwise)
	var in []*resource.Waiter
	for range 5000 {
		switch n := rnd.IntN(8); {
		case n < 4:
			w := &resource.Waiter{Since: time.Duration(rnd.Int64N(1e10)), Request: resource.Request{Priority: rnd.IntN(3)}}
			if rnd.IntN(3) > 0 {
				w.Deadline = time.Duration(1 + rnd.Int64N(1e10))
			}
			if rnd.IntN(50) == 0 {
				w.Since = math.MaxInt64
			}
			q.Push(w, 0)
			in = append(in, w)
		case n < 5 && len(in) > 0:
			i := rnd.IntN(len(in))
			q.Remove(in[i])
			in = slices.Delete(in, i, i+1)
		default:
			w, refuse := q.Pop(0)
			if refuse != nil || (w == nil) != (len(in) == 0) {
				t.Fatalf("Pop of %d: %v, %v", len(in), w, refuse)
			}
			if w == nil {
				continue
			}
			for _, x := range in {
				if due(x) < due(w) || due(x) == due(w) && x.Request.Priority > w.Request.Priority {
					t.Fatalf("%+v was served before %+v", w, x)
				}
			}
			i := slices.Index(in, w)
			in = slices.Delete(in, i, i+1)
		}
	}
}

// A caller without a deadline is served after defaultWait, although callers with deadlines
// keep arriving.
func TestEarliestDeadline_WithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.EarliestDeadline(time.Second)})
		held := l.get()
		waited := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			lease, err := l.Acquire(context.Background())
			waited <- time.Since(began)
			if err != nil {
				t.Error(err)
			}
			lease.Release()
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 300 { // one every 10 ms that holds for 10 ms, for 3 s
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				lease, err := l.Acquire(ctx)
				if err == nil {
					time.Sleep(10 * time.Millisecond)
					lease.Release()
				}
			})
			time.Sleep(10 * time.Millisecond)
			if held != (resource.Lease[int]{}) {
				held.Release()
				held = resource.Lease[int]{}
			}
		}
		all.Wait()
		if d := <-waited; d < 500*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("it waited for %v, want about a second", d)
		}
	})
}
