package policy_test

import (
	"cmp"
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The queues beside models that keep a plain slice and sort it.

// queueScript runs the steps of a fuzzer on a Queue and a model. Three bytes
// are a step: an operation, a priority or which waiter, and how time passes.
type queueScript struct {
	t     *testing.T
	q     resource.Queue
	now   time.Duration
	seen  []*resource.Waiter // all ever pushed, and some never
	in    []*resource.Waiter // pushed and not yet out, in the order of pushing
	out   map[*resource.Waiter]bool
	check func(w *resource.Waiter, refuse error) // a Pop, before in is changed
	left  func()                                 // a Remove of one that was in
}

// prio spreads a byte over small and huge priorities.
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
		case op < 3: // one more waits, since now
			s.push(&resource.Waiter{Request: resource.Request{Priority: prio(b)}, Since: s.now})
		case op == 3: // one waits again, since some time ago
			s.push(&resource.Waiter{Request: resource.Request{Priority: prio(b)}, Since: s.now - min(s.now, time.Duration(b)*time.Millisecond)})
		case op == 4 && len(s.seen) > 0: // one leaves, who may have left, or have been popped
			s.remove(s.seen[int(b)%len(s.seen)])
		case op == 4: // one leaves who never was there
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
			s.t.Fatalf("Pop gives nobody and %v; %d wait", refuse, len(s.in))
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

// bySince are the waiters, those first who began to wait first.
func (s *queueScript) bySince() []*resource.Waiter {
	sorted := slices.Clone(s.in)
	slices.SortStableFunc(sorted, func(a, b *resource.Waiter) int { return cmp.Compare(a.Since, b.Since) })
	return sorted
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
		// The model keeps every look of the interval, instead of the least.
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
