package expo

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func count(c Counts) (n int64) {
	n = c.Zero
	for _, b := range c.Buckets {
		n += b
	}
	return n
}

func TestRecorder_Empty(t *testing.T) {
	var r Recorder
	if c := r.Read(); count(c) != 0 || c.Sum != 0 {
		t.Errorf("it has %+v", c)
	}
}

func TestRecorder_Weights(t *testing.T) {
	var r Recorder
	r.Record(1, time.Millisecond, 128)
	r.Record(2, time.Second, 1)
	r.Record(3, time.Second, 0)
	r.Record(3, time.Second, -1)
	r.Record(4, 999*time.Nanosecond, 3)
	r.Record(5, -time.Second, 1)
	c := r.Read()
	if c.Zero != 4 || count(c) != 133 {
		t.Errorf("zero %d of %d, want 4 of 133", c.Zero, count(c))
	}
	if want := 128*time.Millisecond + time.Second + 3*999; c.Sum != want {
		t.Errorf("the sum is %v, not %v", c.Sum, want)
	}
	if n := c.Buckets[Index(uint64(time.Millisecond))-First]; n != 128 {
		t.Errorf("the bucket of 1 ms has %d", n)
	}
}

// What is beyond the range counts in the last bucket, and a sum that is too
// large stops instead of turning negative.
func TestRecorder_TooLong(t *testing.T) {
	var r Recorder
	r.Record(1, math.MaxInt64, 1)
	r.Record(1, time.Hour, math.MaxInt64/10)
	r.Record(1, math.MaxInt64, 1)
	r.Record(2, 100*365*24*time.Hour, 1)
	r.Record(2, 100*365*24*time.Hour, 1)
	c := r.Read()
	if c.Sum != most {
		t.Errorf("the sum is %v, not %v", c.Sum, time.Duration(most))
	}
	if n := c.Buckets[len(c.Buckets)-1]; n != 4 {
		t.Errorf("the last bucket has %d, not 4", n)
	}
}

func TestRecorder_Concurrent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var r Recorder
	var want [8]time.Duration
	var wg sync.WaitGroup
	const each = 5000
	for g := range want {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			for range each {
				d := time.Duration(rnd.Int64N(int64(time.Second)))
				want[g] += d
				r.Record(rnd.Uint64(), d, 1)
			}
		})
	}
	wg.Wait()
	var sum time.Duration
	for _, d := range want {
		sum += d
	}
	if c := r.Read(); count(c) != each*int64(len(want)) || c.Sum != sum {
		t.Errorf("%d values of %v together, want %d of %v", count(c), c.Sum, each*len(want), sum)
	}
}

func TestRecorder_AllocatesOnce(t *testing.T) {
	var r Recorder
	r.Record(1, time.Second, 1)
	if n := testing.AllocsPerRun(100, func() { r.Record(1, time.Minute, 2) }); n != 0 {
		t.Errorf("Record allocates %v", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var r Recorder
	for i := 0; b.Loop(); i++ {
		r.Record(1, time.Duration(i)*time.Microsecond, 1)
	}
}
