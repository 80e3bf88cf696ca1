package metrics_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// replayed is the history of a pool whose interval i had rate(i) acquires a second, in
// Poisson's distribution.
func replayed(r *rand.Rand, intervals int, rate func(i int) float64) metrics.History {
	h := metrics.History{Every: 2 * time.Second, Since: time.Unix(0, 0)}
	p := metrics.Point{Time: h.Since}
	for i := range intervals {
		h.Points = append(h.Points, p)
		p.Time = p.Time.Add(h.Every)
		for at := r.ExpFloat64() / rate(i); at < h.Every.Seconds(); at += r.ExpFloat64() / rate(i) {
			p.Acquired++
		}
	}
	h.Points = append(h.Points, p)
	return h
}

// held is a Histogram of n hold times.
func held(n int, draw func() time.Duration) (h metrics.Histogram) {
	for range n {
		d := draw()
		one := metrics.Histogram{Count: 1, Sum: d, First: int(math.Ceil(4*math.Log2(float64(d)))) - 1, Buckets: []int64{1}}
		h = h.Merge(one)
	}
	return h
}

// erlangC is the probability that a caller waits in M/M/c with an offered load of a.
func erlangC(c int, a float64) float64 {
	b := 1.0 // Erlang B, by its recurrence
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	rho := a / float64(c)
	return b / (1 - rho + rho*b)
}

// The curve is that of Erlang's formula where that applies: Poisson arrivals and
// exponential hold times.
func TestAdvise_Erlang(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	const rate, mean = 200.0, 50 * time.Millisecond // ten resources are in use
	r := rand.New(rand.NewPCG(1, 2))
	s := metrics.Snapshot{Hold: held(20_000, func() time.Duration { return max(1, time.Duration(r.ExpFloat64()*float64(mean))) })}
	s.Max = 13
	h := replayed(r, 300, func(int) float64 { return rate })
	a, err := metrics.Advise(s, h, metrics.Goal{Wait: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// The load that was really recorded differs a little from the one drawn from.
	load := a.Rate * a.Hold.Seconds()
	if math.Abs(a.Load/load-1) > 0.02 || math.Abs(load/10-1) > 0.03 {
		t.Errorf("a load of %.2f, not %.2f", a.Load, load)
	}
	seen, best := 0, 0
	for c := int(load) + 1; best == 0; c++ {
		if wait(c, load, a.Hold, 0.99) <= a.Goal.Wait {
			best = c
		}
	}
	for _, p := range a.Curve {
		if p.Size < 12 || p.Size > 16 { // below, ten minutes are too short for the limit; above, few wait
			continue
		}
		seen++
		waits := erlangC(p.Size, load)
		if math.Abs(p.Waited/waits-1) > 0.1 {
			t.Errorf("size %d: %.4f of the callers wait, not %.4f", p.Size, p.Waited, waits)
		}
		want := wait(p.Size, load, a.Hold, 0.99)
		if diff := (p.Wait - want).Abs(); float64(diff) > 0.1*float64(max(want, 5*time.Millisecond)) {
			t.Errorf("size %d: 99 %% wait at most %v, not %v", p.Size, p.Wait, want)
		}
		if want := load / float64(p.Size); math.Abs(p.Busy/want-1) > 0.03 {
			t.Errorf("size %d: busy %.3f, not %.3f", p.Size, p.Busy, want)
		}
	}
	if seen < 4 {
		t.Errorf("the curve has %d of the sizes: %v", seen, a.Curve)
	}
	if a.MaxSize != best || a.Low > best || a.High < best || a.High-a.Low > 2 {
		t.Errorf("advises %d (%d to %d), not %d", a.MaxSize, a.Low, a.High, best)
	}
	if len(a.Doubts) > 1 || len(a.Doubts) == 1 && !strings.Contains(a.Doubts[0], "more than 13 resources") {
		t.Errorf("doubts of a steady load: %q", a.Doubts)
	}
}

// wait is the quantile q of the waits in M/M/c.
func wait(c int, load float64, hold time.Duration, q float64) time.Duration {
	waits := erlangC(c, load)
	if waits <= 1-q {
		return 0
	}
	return time.Duration(math.Log(waits/(1-q)) / (float64(c) - load) * float64(hold))
}

// Hold times that are all alike make no caller wait if they never overlap, and Growth is
// the load that will be.
func TestAdvise_Growth(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	r := rand.New(rand.NewPCG(3, 4))
	s := metrics.Snapshot{Hold: held(2000, func() time.Duration { return 100 * time.Millisecond })}
	h := replayed(r, 60, func(int) float64 { return 50 })
	before := 0
	for _, growth := range []float64{0.5, 1, 2, 4} {
		a, err := metrics.Advise(s, h, metrics.Goal{Wait: time.Millisecond, Growth: growth})
		if err != nil {
			t.Fatal(err)
		}
		if want := 5 * growth; math.Abs(a.Load/want-1) > 0.1 || float64(a.MaxSize) < a.Load || a.MaxSize > a.Peak || a.MaxSize <= before {
			t.Errorf("growth %v: a load of %.2f, not %.2f, and a size of %d after %d", growth, a.Load, want, a.MaxSize, before)
		}
		before = a.MaxSize
		if math.Abs(a.Rate/50-1) > 0.1 {
			t.Errorf("growth %v changes the rate to %v", growth, a.Rate)
		}
	}
}

// Bursts decide, not the mean, and MinIdle is what a burst needs while one resource is
// created.
func TestAdvise_Bursts(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	r := rand.New(rand.NewPCG(5, 6))
	tenMillis := func() time.Duration { return 10 * time.Millisecond }
	s := metrics.Snapshot{Hold: held(2000, tenMillis), Make: held(100, tenMillis)}
	calm, err := metrics.Advise(s, replayed(r, 100, func(int) float64 { return 200 }), metrics.Goal{})
	if err != nil {
		t.Fatal(err)
	}
	bursts, err := metrics.Advise(s, replayed(r, 100, func(i int) float64 {
		if i%20 == 0 {
			return 2000
		}
		return 110
	}), metrics.Goal{})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(calm.Load/bursts.Load-1) > 0.1 || bursts.MaxSize < 4*calm.MaxSize || bursts.MinIdle < 2*calm.MinIdle {
		t.Errorf("the same load of %.1f and %.1f: %d and %d idle calm, %d and %d idle with bursts",
			calm.Load, bursts.Load, calm.MaxSize, calm.MinIdle, bursts.MaxSize, bursts.MinIdle)
	}
}

// MaxWaiting is how many the pool serves within the goal.
func TestAdvise_MaxWaiting(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	r := rand.New(rand.NewPCG(7, 8))
	s := metrics.Snapshot{Hold: held(2000, func() time.Duration { return 10 * time.Millisecond })}
	a, err := metrics.Advise(s, replayed(r, 60, func(int) float64 { return 300 }), metrics.Goal{Wait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if want := 10 * a.MaxSize; a.MaxWaiting < want-1 || a.MaxWaiting > want+1 {
		t.Errorf("%d may wait for a pool of %d, not %d", a.MaxWaiting, a.MaxSize, want)
	}
}

// The same input gives the same advice, and a history longer than a replay is compressed.
func TestAdvise_Repeatable(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	r := rand.New(rand.NewPCG(9, 10))
	s := metrics.Snapshot{Hold: held(2000, func() time.Duration { return time.Millisecond })}
	h := replayed(r, 20, func(int) float64 { return 10_000 })
	a, err := metrics.Advise(s, h, metrics.Goal{Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b, err := metrics.Advise(s, h, metrics.Goal{Wait: time.Millisecond})
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%+v, then %+v, %v", a, b, err)
	}
	if !slices.ContainsFunc(a.Doubts, func(d string) bool { return strings.Contains(d, "shortened every interval by a factor of 2") }) {
		t.Errorf("doubts: %q", a.Doubts)
	}
}

// Every reason to doubt is named, and a pool that began anew is no negative load.
func TestAdvise_Doubts(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	s := metrics.Snapshot{Hold: held(100, func() time.Duration { return 50 * time.Millisecond })}
	s.Max = 2
	h := replayed(r, 20, func(i int) float64 { return 20 + float64(i)*10 })
	for i := range h.Points {
		h.Points[i].Load.Waiting = 3
		h.Points[i].Failures.Canceled = int64(10 * i)
		h.Points[i].Failures.NoneIdle = int64(1000 * i) // TryAcquire does not wait
	}
	a, err := metrics.Advise(s, h, metrics.Goal{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Acquires > 10*20*60 {
		t.Errorf("%d acquires count those of TryAcquire", a.Acquires)
	}
	for _, want := range []string{"history is only 40s long", "Only 100 leases", "of the acquires failed", "was full at 21 of 21", "load changes", "more than 2 resources"} {
		if !slices.ContainsFunc(a.Doubts, func(d string) bool { return strings.Contains(d, want) }) {
			t.Errorf("no doubt that %q: %q", want, a.Doubts)
		}
	}
	rates := a.Rate
	h.Points[10].Acquired, h.Points[10].Failures = 0, resource.AcquireFailures{}
	if a, err = metrics.Advise(s, h, metrics.Goal{}); err != nil || a.Rate < 0 || a.Rate > 4*rates || a.Span != 38*time.Second {
		t.Errorf("after a fresh start: %v a second in %v, %v", a.Rate, a.Span, err)
	}
}

// How many waited in the present pool is compared with what the replay says of its size.
func TestAdvise_SeenInThePresentPool(t *testing.T) {
	if testing.Short() {
		t.Skip("replays for long")
	}
	r := rand.New(rand.NewPCG(31, 32))
	s := metrics.Snapshot{Hold: held(2000, func() time.Duration { return max(1, time.Duration(r.ExpFloat64()*float64(50*time.Millisecond))) })}
	s.Max = 7
	h := replayed(r, 40, func(int) float64 { return 100 })
	for part, want := range map[float64]string{0.03: "callers come more evenly", 0.32: "", 0.8: "come in bursts shorter than 2s"} {
		for i := range h.Points {
			h.Points[i].Load.Max = 7
			h.Points[i].Waited = int64(part * float64(h.Points[i].Acquired))
		}
		for _, changed := range []bool{false, true} {
			if changed {
				if want == "" {
					continue
				}
				h.Points[9].Load.Max = 8
			}
			a, err := metrics.Advise(s, h, metrics.Goal{})
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(slices.DeleteFunc(slices.Clone(a.Doubts), func(d string) bool { return !strings.Contains(d, "In the present pool of 7") }), " ")
			if changed && said != "" || !changed && (want == "") != (said == "") || !changed && !strings.Contains(said, want) {
				t.Errorf("%.0f %% waited, the maximum changed: %t: %q", 100*part, changed, said)
			}
		}
	}
}

// Every Growth that a Goal may have is answered, however few points and acquires the history has:
// with figures, or with ErrTooLittle if the replay would have fewer than ten acquires.
func TestAdvise_LittleLeft(t *testing.T) {
	s := metrics.Snapshot{Hold: held(100, func() time.Duration { return 30 * time.Millisecond })}
	s.Max = 4
	advised, refused := 0, 0
	for _, growth := range []float64{0.01, 0.03, 0.1, 0.3, 1, 3} {
		for intervals := 1; intervals <= 40; intervals += 13 {
			for _, rate := range []float64{0.6, 5, 50} {
				h := replayed(rand.New(rand.NewPCG(21, uint64(intervals))), intervals, func(int) float64 { return rate })
				a, err := metrics.Advise(s, h, metrics.Goal{Growth: growth})
				if err != nil {
					if refused++; !errors.Is(err, metrics.ErrTooLittle) {
						t.Errorf("growth %v, %d intervals at %v: %v", growth, intervals, rate, err)
					}
					continue
				}
				advised++
				if a.Low < 1 || a.Low > a.MaxSize || a.High < a.MaxSize || a.MaxSize > a.Peak || len(a.Curve) == 0 || math.IsNaN(a.Load) {
					t.Errorf("growth %v, %d intervals at %v: %+v", growth, intervals, rate, a)
				}
				for _, c := range a.Curve {
					if math.IsNaN(c.Waited) || math.IsNaN(c.Busy) || c.Wait < 0 {
						t.Errorf("growth %v, %d intervals at %v: %+v", growth, intervals, rate, c)
					}
				}
			}
		}
	}
	if advised < 15 || refused < 15 {
		t.Errorf("%d were advised, %d refused", advised, refused)
	}
	h := replayed(rand.New(rand.NewPCG(21, 22)), 10, func(int) float64 { return 5 })
	if _, err := metrics.Advise(s, h, metrics.Goal{Growth: 0.01}); err == nil || !strings.Contains(err.Error(), "to replay with a Growth of 0.01") {
		t.Errorf("%v", err)
	}
}

func TestAdvise_BadInput(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	s := metrics.Snapshot{Hold: held(100, func() time.Duration { return time.Millisecond })}
	h := replayed(r, 10, func(int) float64 { return 10 })
	_, err := metrics.Advise(s, h, metrics.Goal{Wait: -1, Quantile: 1, Growth: math.NaN()})
	if err == nil || err.Error() != "metrics: bad Goal: Wait must be from 0 to 1h, got -1ns\nQuantile must be above 0 and below 1, got 1\nGrowth must be from 0.01 to 100, got NaN" {
		t.Errorf("a bad goal: %v", err)
	}
	for name, in := range map[string]struct {
		s metrics.Snapshot
		h metrics.History
	}{"nothing": {}, "no history": {s: s}, "one point": {s, metrics.History{Points: h.Points[:1]}}, "no leases": {h: h}} {
		if _, err := metrics.Advise(in.s, in.h, metrics.Goal{}); !errors.Is(err, metrics.ErrTooLittle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Leases that all took less than a microsecond need one resource.
	s.Hold = metrics.Histogram{Count: 1000, Zero: 1000}
	if a, err := metrics.Advise(s, h, metrics.Goal{}); err != nil || a.MaxSize != 1 || a.Load != 0 {
		t.Errorf("no hold times: %+v, %v", a, err)
	}
}

// A meter that keeps no history has nothing to advise from.
func TestMeter_Advise(t *testing.T) {
	if _, err := newMeter(t, metrics.Config{}).Advise(metrics.Goal{}); !errors.Is(err, metrics.ErrTooLittle) {
		t.Error(err)
	}
}
