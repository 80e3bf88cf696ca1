package seconds_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/seconds"
)

// add records d as the doc of metrics.Histogram says.
func add(h *metrics.Histogram, d time.Duration) {
	h.Count++
	h.Sum += d
	if d < time.Microsecond {
		h.Zero++
		return
	}
	i := int(math.Ceil(4*math.Log2(float64(d)))) - 1
	if len(h.Buckets) == 0 {
		h.First = i
	}
	for ; h.First > i; h.First-- {
		h.Buckets = slices.Insert(h.Buckets, 0, 0)
	}
	for h.First+len(h.Buckets) <= i {
		h.Buckets = append(h.Buckets, 0)
	}
	h.Buckets[i-h.First]++
}

func sum(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestEmpty(t *testing.T) {
	if _, counts := seconds.Buckets(metrics.Histogram{Count: 3, Zero: 3}); len(counts) != 0 {
		t.Errorf("buckets of nothing but zeros: %v", counts)
	}
	if got := seconds.UpTo(metrics.Histogram{Zero: 3}, []float64{1e-9, 1}); !slices.Equal(got, []int64{3, 3}) {
		t.Errorf("zeros up to a bound: %v", got)
	}
	if got := seconds.UpTo(metrics.Histogram{}, nil); len(got) != 0 {
		t.Errorf("no bounds: %v", got)
	}
}

// One bucket, over 2^(119/4) ns and up to 2^30 ns, lies across 1 s: 2^30 ns are
// 1.0737 s.
func TestAcrossASecond(t *testing.T) {
	h := metrics.Histogram{Count: 1000, First: 119, Buckets: []int64{1000}}
	first, counts := seconds.Buckets(h)
	if first != -1 || len(counts) != 2 || sum(counts) != 1000 {
		t.Fatalf("got first %d, %v; want the bucket below 1 s and that above", first, counts)
	}
	if want := int64(568); counts[0] != want { // (1e9 - 2^(119/4)) / (2^30 - 2^(119/4))
		t.Errorf("%d are up to 1 s, want %d", counts[0], want)
	}
	if got := seconds.UpTo(h, []float64{0.9, 1, 1.0737418241}); !slices.Equal(got, []int64{0, counts[0], 1000}) {
		t.Errorf("up to 0.9, 1 and 1.07 s: %v", got)
	}
}

// Each value moves by less than the width of a bucket, and none is lost.
func TestNear(t *testing.T) {
	for d := time.Microsecond; d < 100*365*24*time.Hour; d += d/3 + 1 {
		var h metrics.Histogram
		add(&h, d)
		first, counts := seconds.Buckets(h)
		if sum(counts) != 1 {
			t.Fatalf("%v: %d values in %v", d, sum(counts), counts)
		}
		i := first + slices.Index(counts, 1)
		low, high := math.Exp2(float64(i)/4), math.Exp2(float64(i+1)/4)
		width := math.Exp2(1. / 4)
		if s := d.Seconds(); s <= low/width || s > high*width {
			t.Errorf("%v in the bucket (%g s, %g s]", d, low, high)
		}
	}
}

// When a histogram grows, no bucket and no cumulative count falls: collectors take a
// fall for a restart.
func TestGrows(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	bounds := []float64{1e-7, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 1, 10}
	var h metrics.Histogram
	was := make(map[int]int64)
	wasUpTo := make([]int64, len(bounds))
	for range 1500 {
		add(&h, time.Duration(math.Exp2(r.Float64()*36)))
		first, counts := seconds.Buckets(h)
		for i, n := range counts {
			if n < was[first+i] {
				t.Fatalf("bucket %d fell from %d to %d", first+i, was[first+i], n)
			}
			was[first+i] = n
		}
		if sum(counts)+h.Zero != h.Count || seconds.Count(h) != h.Count {
			t.Fatalf("%d in buckets and %d zeros of %d", sum(counts), h.Zero, h.Count)
		}
		upTo := seconds.UpTo(h, bounds)
		for i, n := range upTo {
			if n < wasUpTo[i] || i > 0 && n < upTo[i-1] {
				t.Fatalf("up to %v: %v after %v", bounds, upTo, wasUpTo)
			}
		}
		wasUpTo = upTo
	}
}

// The quantiles that a reader finds in the buckets are near the exact ones.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h metrics.Histogram
	var exact []float64
	for range 20000 {
		d := time.Duration(math.Exp(r.NormFloat64()*1.5) * float64(3*time.Millisecond))
		add(&h, d)
		exact = append(exact, d.Seconds())
	}
	slices.Sort(exact)
	first, counts := seconds.Buckets(h)
	for _, q := range []float64{0.5, 0.9, 0.99} {
		rank := q * float64(len(exact))
		want := exact[int(rank)]
		var below float64
		var got float64
		for i, n := range counts {
			if below+float64(n) >= rank {
				got = math.Exp2((float64(first+i) + (rank-below)/float64(n)) / 4)
				break
			}
			below += float64(n)
		}
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("quantile %v is %v, exactly %v", q, got, want)
		}
	}
}
