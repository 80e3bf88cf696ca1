package metrics_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// call is one use of a pool, in seconds.
type call struct{ at, hold float64 }

const tenMinutes = 590.0 // nearly

// waitsOf returns the waits of those calls in a pool of that size, sorted.
func waitsOf(calls []call, size int) (waits []float64) {
	free := make([]float64, size)
	for _, c := range calls {
		first := 0
		for i := range free {
			if free[i] < free[first] {
				first = i
			}
		}
		start := max(c.at, free[first])
		waits = append(waits, start-c.at)
		free[first] = start + c.hold
	}
	slices.Sort(waits)
	return waits
}

func quantileOf(sorted []float64, q float64) time.Duration {
	return time.Duration(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)] * float64(time.Second))
}

// neededFor is the smallest size that meets the goal.
func neededFor(calls []call, g metrics.Goal) int {
	for size := 1; ; size++ {
		if quantileOf(waitsOf(calls, size), g.Quantile) <= g.Wait {
			return size
		}
	}
}

// callsAt are calls at random instants, rate(t) of them in a second, at most 200. They hold for 50 ms on average.
func callsAt(rate func(t float64) float64) func(r *rand.Rand) []call {
	return func(r *rand.Rand) (calls []call) {
		const most = 200.0
		for t := 0.0; t < tenMinutes; t += r.ExpFloat64() / most {
			if r.Float64() < rate(t)/most {
				calls = append(calls, call{t, r.ExpFloat64() * 0.05})
			}
		}
		return calls
	}
}

// user is a client that waits for its answer and then pauses.
type user struct{ next, pause float64 }

type users []user

func (u users) Len() int           { return len(u) }
func (u users) Less(i, j int) bool { return u[i].next < u[j].next }
func (u users) Swap(i, j int)      { u[i], u[j] = u[j], u[i] }
func (u *users) Push(x any)        { *u = append(*u, x.(user)) }
func (u *users) Pop() any {
	last := (*u)[len(*u)-1]
	*u = (*u)[:len(*u)-1]
	return last
}

// answered are the calls of three users who come all the time, and of forty more who come every 45 s and make
// 20 calls each, in a pool in which none waits. These calls depend on each other: a user has one at a time.
func answered(r *rand.Rand) (calls []call) {
	var all users
	for range 3 {
		all = append(all, user{0, 0.3})
	}
	left := map[float64]int{} // calls, by the pause, which is each user's own
	for wave := 10.0; wave < tenMinutes; wave += 45 {
		for range 40 {
			u := user{wave + r.ExpFloat64(), 0.1 + 1e-9*r.Float64()}
			left[u.pause] = 20
			all = append(all, u)
		}
	}
	for heap.Init(&all); len(all) > 0; {
		u := heap.Pop(&all).(user)
		if u.next >= tenMinutes {
			continue
		}
		c := call{u.next, 0.03 * (0.5 + r.ExpFloat64())}
		calls = append(calls, c)
		if n, ends := left[u.pause]; ends {
			if left[u.pause] = n - 1; n == 1 {
				continue
			}
		}
		u.next += c.hold + u.pause*r.ExpFloat64()
		heap.Push(&all, u)
	}
	return calls
}

// seenBy is what a meter has seen of the calls, of which it measured one hold in sampled.
func seenBy(t *testing.T, calls []call, sampled int) (metrics.Snapshot, metrics.History) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	for i, c := range calls {
		if i%sampled == 0 {
			trace.Ended(resource.EndEvent{ID: uint64(i), Lease: 1, Held: time.Duration(c.hold * float64(time.Second)), Sampled: int64(sampled)})
		}
	}
	h := metrics.History{Every: 2 * time.Second, Since: time.Unix(0, 0)}
	for at, n := 0.0, 0; at <= tenMinutes; at += 2 {
		for n < len(calls) && calls[n].at < at {
			n++
		}
		h.Points = append(h.Points, metrics.Point{Time: h.Since.Add(time.Duration(at) * time.Second), Acquired: int64(n)})
	}
	s := m.Snapshot(0)
	s.Max = 60
	return s, h
}

// Low and High are what they say: the same callers, and the next ten minutes, need a size between them, and see
// waits between them, in 95 of 100 cases. Of bursts shorter than the interval of the history only the size is. RESPOOL_SIZING says how many histories are tried of each load.
func TestAdvise_HowSure(t *testing.T) {
	histories, long := 1, false
	if s := os.Getenv("RESPOOL_SIZING"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("RESPOOL_SIZING must be a number from 1, got %q", s)
		}
		histories, long = n, true
	} else if testing.Short() {
		t.Skip("replays for long")
	}
	goal := metrics.Goal{Wait: 10 * time.Millisecond, Quantile: 0.95}
	steady := callsAt(func(float64) float64 { return 100 })
	for _, load := range []struct {
		name    string
		calls   func(r *rand.Rand) []call
		sampled int
		short   bool // bursts are shorter than the interval of the history
	}{
		{"a steady load", steady, 1, false},
		{"one hold in 512 measured", steady, 512, false},
		{"bursts", callsAt(func(t float64) float64 {
			if math.Mod(t, 60) < 10 {
				return 200
			}
			return 40
		}), 1, false},
		{"callers that wait for answers", answered, 1, true},
	} {
		if !long && load.name != "bursts" && !load.short {
			continue // two loads are enough each time
		}
		var same, next, waits, nextWaits, of, width int // cases in which the truth was between Low and High
		var low, high, off, offNext float64             // of the waits: Low and High as parts of Wait, and squares of differences
		for seed := range histories {
			r := rand.New(rand.NewPCG(uint64(seed), 77))
			now, then := load.calls(r), load.calls(r)
			s, h := seenBy(t, now, load.sampled)
			a, err := metrics.Advise(s, h, goal)
			if err != nil {
				t.Fatal(err)
			}
			if doubted := slices.ContainsFunc(a.Doubts, func(d string) bool { return strings.Contains(d, "in bursts of a few seconds") }); doubted != load.short {
				t.Errorf("%s: doubts %q", load.name, a.Doubts)
			}
			same += between(a.Low, neededFor(now, goal), a.High)
			next += between(a.Low, neededFor(then, goal), a.High)
			width += a.High - a.Low
			compared := 0
			for i := len(a.Curve) - 1; i >= 0 && compared < 2; i-- { // the two largest sizes at which callers wait for a while
				p := a.Curve[i]
				if p.Wait < 15*time.Millisecond {
					continue
				}
				compared++
				seen, later := quantileOf(waitsOf(now, p.Size), goal.Quantile), quantileOf(waitsOf(then, p.Size), goal.Quantile)
				waits += between(p.Low, seen, p.High)
				nextWaits += between(p.Low, later, p.High)
				of++
				wait := float64(p.Wait)
				low, high = low+float64(p.Low)/wait, high+float64(p.High)/wait
				off, offNext = off+math.Pow(wait/float64(max(seen, 1))-1, 2), offNext+math.Pow(float64(seen)/float64(max(later, 1))-1, 2)
			}
		}
		n := float64(of)
		t.Logf("%s: the size is between Low and High for %d of %d histories, and for %d of the next ones; High-Low is %.1f; of %d waits %d and %d are, from %.2f to %.2f of what is said; what is said differs from what was seen by %.3f (rms), and what was seen from the next ten minutes by %.3f",
			load.name, same, histories, next, float64(width)/float64(histories), of, waits, nextWaits, low/n, high/n, math.Sqrt(off/n), math.Sqrt(offNext/n))
		parts := map[string][2]int{"the size": {same, histories}, "the size of the next": {next, histories}}
		if !load.short { // else a doubt says that the waits may be longer
			parts["a wait"], parts["a wait of the next"] = [2]int{waits, of}, [2]int{nextWaits, of}
		}
		for what, part := range parts {
			cases := float64(part[1])
			if missed, most := float64(part[1]-part[0]), 0.05*cases+2*math.Sqrt(0.05*0.95*cases); of == 0 || missed > most {
				t.Errorf("%s: %s was not between Low and High in %.0f of %.0f cases, at most %.1f", load.name, what, missed, cases, most)
			}
		}
	}
}

// between is 1 if x is at least low and at most high.
func between[T int | time.Duration](low, x, high T) int {
	if low <= x && x <= high {
		return 1
	}
	return 0
}
