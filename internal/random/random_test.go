package random_test

import (
	"slices"
	"testing"

	"github.com/respool/respool/internal/random"
)

// draw returns what all functions return.
func draw() (all []float64) {
	for range 100 {
		all = append(all, float64(random.Uint64()), random.Float64(), float64(random.Int64N(10)), float64(random.IntN(3)))
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

func TestAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { draw1() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var sink uint64

func draw1() { sink += random.Uint64() + uint64(random.IntN(9)) }

func BenchmarkUint64(b *testing.B) {
	for b.Loop() {
		sink += random.Uint64()
	}
}
