package prometheus

import (
	"math"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/respool/respool/metrics"
)

// native are the buckets of a native histogram by index, as Prometheus reads
// spans and deltas.
func native(h *dto.Histogram) map[int]int64 {
	all := make(map[int]int64)
	i, n, next := 0, int64(0), 0
	for _, span := range h.PositiveSpan {
		i += int(span.GetOffset())
		for range span.GetLength() {
			n += h.PositiveDelta[next]
			if next++; n != 0 {
				all[i] = n
			}
			i++
		}
	}
	return all
}

// client_golang's own histogram is asked where a value belongs. Buckets that
// begin where those of a metrics.Histogram do, in nanoseconds, lie across two
// of it; nine of ten values must be at home or next door, and none further.
func TestNativeIndex(t *testing.T) {
	for d := time.Microsecond + 1; d < 24*time.Hour; d += d / 5 {
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "h", NativeHistogramBucketFactor: 1.2, NativeHistogramZeroThreshold: zeroThreshold,
		})
		theirs.Observe(d.Seconds())
		var out dto.Metric
		if err := theirs.Write(&out); err != nil {
			t.Fatal(err)
		}
		if out.Histogram.GetSchema() != schema {
			t.Fatalf("theirs is of schema %d", out.Histogram.GetSchema())
		}
		home := 0
		for i := range native(out.Histogram) {
			home = i
		}

		const n = 1000
		of := int(math.Ceil(4*math.Log2(float64(d)))) - 1
		m := meter{Name: "db", Wait: metrics.Histogram{Count: n, Sum: n * d, First: of, Buckets: []int64{n}}}
		h := gather(t, Of(m))["wait_seconds"].Metric[0].Histogram
		var sum int64
		for i, k := range native(h) {
			if sum += k; i < home-1 || i > home+1 {
				t.Errorf("%v: %d values in bucket %d, at home in %d", d, k, i, home)
			}
		}
		if sum != n || native(h)[home] == 0 {
			t.Errorf("%v: %d values, %d of them in bucket %d", d, sum, native(h)[home], home)
		}
	}
}

func TestHistogram(t *testing.T) {
	h := gather(t, Of(meter(busy("db"))))["wait_seconds"].Metric[0].Histogram
	if h.GetSchema() != 2 || h.GetZeroCount() != 900 || h.GetZeroThreshold() != 1e-6 || h.GetSampleSum() != 0.15 {
		t.Errorf("got %v", h)
	}
	if h.CreatedTimestamp != nil {
		t.Errorf("created at %v, of which nothing is known", h.CreatedTimestamp)
	}
	at := make(map[float64]uint64)
	last := uint64(0)
	for _, b := range h.Bucket {
		if b.GetCumulativeCount() < last {
			t.Errorf("up to %v: %d after %d", b.GetUpperBound(), b.GetCumulativeCount(), last)
		}
		last = b.GetCumulativeCount()
		at[b.GetUpperBound()] = last
	}
	// All that waited did from 2^20 to 2^21 ns.
	if len(at) != len(defaultBuckets) || at[0.001] != 900 || at[0.0025] != 1000 || at[60] != 1000 {
		t.Errorf("classic buckets %v", at)
	}
	if h := gather(t, Of(meter(busy("db"))))["destroy_seconds"].Metric[0].Histogram; h.GetZeroCount() != 1 || at[60] != 1000 {
		t.Errorf("of one zero: %v", h)
	}
}

// Without classic buckets there are native ones still.
func TestOnlyNative(t *testing.T) {
	c, err := NewCollector(Config{Meters: []Meter{meter(busy("db"))}, Buckets: []float64{}})
	if err != nil {
		t.Fatal(err)
	}
	h := gather(t, c)["wait_seconds"].Metric[0].Histogram
	if len(h.Bucket) != 0 || len(native(h)) == 0 {
		t.Errorf("got %v", h)
	}
}

// A snapshot is not one instant: its count may be ahead of its buckets. The
// buckets count, or Prometheus would refuse the histogram.
func TestTornSnapshot(t *testing.T) {
	s := busy("db")
	s.Wait.Count++
	if h := gather(t, Of(meter(s)))["wait_seconds"].Metric[0].Histogram; h.GetSampleCount() != 1000 {
		t.Errorf("count is %d", h.GetSampleCount())
	}
}
