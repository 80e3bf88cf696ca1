package metrics_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// recorded returns values as the meter's histogram of makes has them.
func recorded(t *testing.T, values []time.Duration) metrics.Histogram {
	t.Helper()
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	for i, v := range values {
		trace.Made(context.Background(), resource.MakeEvent{ID: uint64(i + 1), Took: v})
	}
	return m.Snapshot(0).Make
}

// distributions are such as pools have, and such as are hard for buckets.
var distributions = map[string]func(*rand.Rand) float64{
	"uniform":     func(r *rand.Rand) float64 { return 1e3 + r.Float64()*1e9 },
	"exponential": func(r *rand.Rand) float64 { return 1e3 + r.ExpFloat64()*5e6 },
	"lognormal":   func(r *rand.Rand) float64 { return 1e6 * math.Exp(2*r.NormFloat64()) },
	"pareto":      func(r *rand.Rand) float64 { return 1e4 * math.Pow(1-r.Float64(), -1/1.2) },
	"two modes": func(r *rand.Rand) float64 {
		if r.IntN(10) == 0 {
			return 3e8 + 1e7*r.NormFloat64()
		}
		return 5e4 + 5e3*r.NormFloat64()
	},
	"constant":   func(*rand.Rand) float64 { return 123456789 },
	"few values": func(r *rand.Rand) float64 { return []float64{1e3, 1.1e3, 2.6e6, 2.7e6, 2.9e6, 1e12}[r.IntN(6)] },
}

func TestHistogram_QuantilesWithin5Percent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for name, draw := range distributions {
		for _, n := range []int{1, 2, 10, 1000, 20_000} {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			values := make([]time.Duration, n)
			for i := range values {
				values[i] = time.Duration(min(max(draw(rnd), 1e3), 8e14))
			}
			h := recorded(t, values)
			slices.Sort(values)
			if h.Count != int64(n) {
				t.Fatalf("%s: %d values, not %d", name, h.Count, n)
			}
			for _, q := range []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1} {
				exact := float64(values[max(0, int(math.Ceil(q*float64(n)))-1)])
				if got := float64(h.Quantile(q)); math.Abs(got-exact) > 0.05*exact {
					t.Errorf("%s: quantile %v of %d is %v, not %v", name, q, n, h.Quantile(q), time.Duration(exact))
				}
			}
		}
	}
}

// Where all values are one, at the edge of their bucket, a quantile is furthest
// off: by what the doc says at most.
func TestHistogram_QuantileOfOneValue(t *testing.T) {
	for v := 1000.0; v < 1e15; v *= 1.0371 {
		values := slices.Repeat([]time.Duration{time.Duration(v)}, 100)
		h := recorded(t, values)
		for _, q := range []float64{0, 0.5, 0.99, 1} {
			if off := float64(h.Quantile(q))/math.Floor(v) - 1; math.Abs(off) > 0.045 {
				t.Errorf("quantile %v of %v is %v", q, values[0], h.Quantile(q))
			}
		}
	}
}

func TestHistogram_QuantileOfNothingAndOfZero(t *testing.T) {
	var none metrics.Histogram
	if none.Quantile(0.5) != 0 || none.Mean() != 0 {
		t.Error("nothing has a quantile or a mean")
	}
	h := recorded(t, []time.Duration{0, 10, 20, time.Second})
	for q, want := range map[float64]time.Duration{math.NaN(): 0, -1: 0, 0.5: 0, 0.75: 0} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, not %v", q, got, want)
		}
	}
	if got := h.Quantile(7); got < 950*time.Millisecond || got > 1050*time.Millisecond {
		t.Errorf("the largest is %v, not about 1s", got)
	}
	if h.Zero != 3 || h.Mean() != (time.Second+30)/4 {
		t.Errorf("zero %d, mean %v", h.Zero, h.Mean())
	}
}

// A Histogram made by hand, or whose buckets were changed, has no quarters to trust.
func TestHistogram_ByHand(t *testing.T) {
	h := metrics.Histogram{Count: 30, Zero: 10, First: 80, Buckets: []int64{10, 0, 10}} // 2^20 to 2^20.25, 2^20.5 to 2^20.75
	for q, octaves := range map[float64][2]float64{0.5: {20, 20.25}, 0.9: {20.5, 20.75}, 1: {20.5, 20.75}} {
		if got := math.Log2(float64(h.Quantile(q))); got < octaves[0]-1e-6 || got > octaves[1]+1e-6 {
			t.Errorf("quantile %v is 2^%v, not between 2^%v", q, got, octaves)
		}
	}
	if h.Quantile(0.3) != 0 {
		t.Errorf("quantile 0.3 is %v, not 0", h.Quantile(0.3))
	}
	h.Count = 1000 // more than it has
	if got := math.Log2(float64(h.Quantile(1))); math.Abs(got-20.75) > 1e-6 {
		t.Errorf("beyond all it is 2^%v", got)
	}
	for _, first := range []int{251, 252, math.MaxInt} { // the last bucket ends at 2^63 ns, or beyond
		h := metrics.Histogram{Count: 2, First: first, Buckets: []int64{1}}
		if got := h.Quantile(1); got < math.MaxInt64-1e10 {
			t.Errorf("with bucket %d the largest is %v", first, got)
		}
	}

	h = recorded(t, []time.Duration{1 << 20, 1 << 30})
	h.Buckets[len(h.Buckets)-1] = 0
	h.Count = 1
	if got := h.Quantile(1); got > 1<<21 {
		t.Errorf("with a bucket emptied the largest is %v", got)
	}
}

func TestHistogram_Cumulative(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	values := make([]time.Duration, 5000)
	for i := range values {
		values[i] = time.Duration(rnd.ExpFloat64() * 1e6)
	}
	h := recorded(t, values)
	bounds := []time.Duration{-1, 0, 1000, 50_000, 1 << 20, 5e6, time.Hour}
	got := h.Cumulative(bounds)
	if got[0] != 0 || got[1] != h.Zero || got[2] < h.Zero || got[6] != 5000 || !slices.IsSorted(got) {
		t.Errorf("it is %v, zero %d", got, h.Zero)
	}
	for i, b := range bounds[3:] {
		exact := 0
		for _, v := range values {
			if v <= b {
				exact++
			}
		}
		if d := float64(got[i+3]) - float64(exact); math.Abs(d) > 5000*0.02 {
			t.Errorf("up to %v there are %d, not %d", b, got[i+3], exact)
		}
	}
	// On an edge it is exact: 2^20 ns ends a bucket.
	edge := 0
	for _, v := range values {
		if v <= 1<<20 {
			edge++
		}
	}
	if got[4] != int64(edge) {
		t.Errorf("up to 2^20 ns there are %d, not %d", got[4], edge)
	}
	if len(h.Cumulative(nil)) != 0 {
		t.Error("without bounds there are counts")
	}
}

func TestHistogram_Merge(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int, scale float64) []time.Duration {
		v := make([]time.Duration, n)
		for i := range v {
			v[i] = time.Duration(rnd.ExpFloat64() * scale)
		}
		return v
	}
	for _, c := range [][2][]time.Duration{
		{nil, nil},
		{nil, draw(50, 1e6)},
		{draw(50, 1e6), nil},
		{draw(500, 1e4), draw(500, 1e10)},
		{draw(500, 1e7), draw(500, 1e6)},
		{draw(50, 100), draw(50, 1e6)},
	} {
		a, b := recorded(t, c[0]), recorded(t, c[1])
		want := recorded(t, append(slices.Clone(c[0]), c[1]...))
		got := a.Merge(b)
		if got.Count != want.Count || got.Sum != want.Sum || got.Zero != want.Zero || !slices.Equal(trim(got), trim(want)) {
			t.Errorf("together %+v, not %+v", got, want)
		}
		for _, q := range []float64{0.1, 0.5, 0.99} {
			if got.Quantile(q) != want.Quantile(q) {
				t.Errorf("quantile %v is %v, not %v", q, got.Quantile(q), want.Quantile(q))
			}
		}
		if len(got.Buckets) > 0 {
			got.Buckets[0] += 1000 // the reader's own
			if again := recorded(t, c[0]); !slices.Equal(a.Buckets, again.Buckets) {
				t.Error("changing the sum changed its part")
			}
		}
	}
	hand := metrics.Histogram{Count: 3, Sum: math.MaxInt64, First: 80, Buckets: []int64{3}}
	both := hand.Merge(recorded(t, []time.Duration{1 << 30}))
	if both.Count != 4 || both.Sum != math.MaxInt64 || both.Buckets[0] != 3 {
		t.Errorf("with one made by hand: %+v", both)
	}
	if got := math.Log2(float64(both.Quantile(0.5))); got < 20 || got > 20.25 {
		t.Errorf("its median is 2^%v", got)
	}
}

// trim is the buckets with where they begin, without empty ones at the ends.
func trim(h metrics.Histogram) []int64 {
	b, first := h.Buckets, int64(h.First)
	for len(b) > 0 && b[0] == 0 {
		b, first = b[1:], first+1
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return append([]int64{first * min(1, int64(len(b)))}, b...)
}

// Durations become a Histogram with the same quantiles, wherever their first bucket is.
func TestHistogramOf(t *testing.T) {
	if h := metrics.HistogramOf(resource.Durations{}); h.Count != 0 || h.Quantile(0.5) != 0 {
		t.Errorf("of nothing: %+v", h)
	}
	for _, first := range []int{320, 321, 323, 0, -1, -5} {
		d := resource.Durations{Sum: time.Second, Zero: 1, First: first, Buckets: []int64{4, 0, 0, 0, 0, 5}}
		h := metrics.HistogramOf(d)
		var sum int64
		for _, n := range h.Buckets {
			sum += n
		}
		if h.Count != 10 || sum != 9 || h.Sum != time.Second || h.Zero != 1 {
			t.Errorf("%d: %+v", first, h)
		}
		for q, i := range map[float64]int{0.2: first, 0.5: first, 0.99: first + 5} {
			from, to := math.Exp2(float64(i)/16), math.Exp2(float64(i+1)/16)
			if v := float64(h.Quantile(q)); v < math.Floor(from) || v > to {
				t.Errorf("%d: the quantile %v is %v, not from %v to %v", first, q, v, from, to)
			}
		}
	}
}
