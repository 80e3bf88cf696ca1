package random_test

import (
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/internal/random"
)

// draw returns what all functions return.
func draw() (all []float64) {
	for range 100 {
		all = append(all, float64(random.Uint64()), random.Float64(), float64(random.Int64N(10)), float64(random.IntN(3)), float64(random.N(time.Second)))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

func TestSeed(t *testing.T) {
	seeded := func(seed uint64) []float64 {
		defer random.Seed(seed)()
		return draw()
	}
	first := seeded(1)
	if !slices.Equal(first, seeded(1)) {
		t.Error("the same seed gives other numbers")
	}
	if slices.Equal(first, seeded(2)) {
		t.Error("another seed gives the same numbers")
	}
	if slices.Equal(draw(), draw()) {
		t.Error("without a seed the numbers repeat")
	}
}

// restore restores the seed that was in effect before, at its place.
func TestSeed_Nested(t *testing.T) {
	restore := random.Seed(1)
	want := []uint64{random.Uint64(), random.Uint64()}
	restore()
	restore = random.Seed(1)
	got := []uint64{random.Uint64()}
	random.Seed(2)()
	got = append(got, random.Uint64())
	restore()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRanges(t *testing.T) {
	for _, seed := range []bool{false, true} {
		restore := func() {}
		if seed {
			restore = random.Seed(3)
		}
		for range 1000 {
			if f := random.Float64(); f < 0 || f >= 1 {
				t.Fatalf("Float64 returned %v", f)
			}
			if n := random.Int64N(7); n < 0 || n >= 7 {
				t.Fatalf("Int64N(7) returned %d", n)
			}
			if n := random.IntN(1); n != 0 {
				t.Fatalf("IntN(1) returned %d", n)
			}
		}
		restore()
	}
}

// Every order of the elements is as likely as any other, with a seed and without.
func TestShuffle(t *testing.T) {
	const rounds = 6000
	for _, seed := range []bool{false, true} {
		restore := func() {}
		if seed {
			restore = random.Seed(4)
		}
		got := make(map[[3]int]int)
		for range rounds {
			a := [3]int{1, 2, 3}
			random.Shuffle(len(a), func(i, j int) { a[i], a[j] = a[j], a[i] })
			got[a]++
		}
		restore()
		if len(got) != 6 {
			t.Errorf("got %v", got)
		}
		for order, n := range got { // 1000 with a standard deviation of 29
			if n < 750 || n > 1250 {
				t.Errorf("%v comes %d times of %d", order, n, rounds)
			}
		}
		random.Shuffle(0, nil)
		random.Shuffle(1, nil)
	}
}

func TestInt64N_Bad(t *testing.T) {
	for _, seed := range []bool{false, true} {
		restore := func() {}
		if seed {
			restore = random.Seed(5)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("Int64N(0) does not panic")
				}
			}()
			random.Int64N(0)
		}()
		random.Int64N(1) // no lock is held
		restore()
	}
}

func TestAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { draw1() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var sink uint64

func draw1() { sink += random.Uint64() + uint64(random.IntN(9)) }

func BenchmarkInt64N(b *testing.B) {
	for b.Loop() {
		sink += uint64(random.Int64N(1000))
	}
}

func BenchmarkUint64(b *testing.B) {
	for b.Loop() {
		sink += random.Uint64()
	}
}
