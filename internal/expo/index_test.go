package expo

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// above reports whether v > 2^(k/16), by whole numbers: v^16 > 2^k.
func above(v uint64, k int) bool {
	p := new(big.Int).Exp(new(big.Int).SetUint64(v), big.NewInt(PerOctave), nil)
	return p.Cmp(new(big.Int).Lsh(big.NewInt(1), uint(k))) > 0
}

func checkIndex(t *testing.T, v uint64) {
	t.Helper()
	i := Index(v)
	if v == 1 {
		if i != -1 {
			t.Errorf("Index(1) is %d, not -1", i)
		}
		return
	}
	if !above(v, i) || above(v, i+1) {
		t.Errorf("Index(%d) is %d", v, i)
	}
}

func TestIndex_Edges(t *testing.T) {
	for e := range 64 {
		p := uint64(1) << e
		for _, v := range []uint64{p - 1, p, p + 1} {
			if v > 0 {
				checkIndex(t, v)
			}
		}
		for k := range roots { // on both sides of each edge
			edge := roots[k] >> (63 - e)
			for _, v := range []uint64{edge, edge + 1} {
				checkIndex(t, v)
			}
		}
	}
	checkIndex(t, ^uint64(0))
}

func TestIndex_Random(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		checkIndex(t, max(1, rnd.Uint64()>>rnd.IntN(64)))
	}
}

func TestIndex_Range(t *testing.T) {
	if i := Index(uint64(Least)); i < First || i > First+3 {
		t.Errorf("the least value has index %d, but the first bucket %d", i, First)
	}
	if First%4 != 0 || size%4 != 0 {
		t.Error("the range does not begin or end where a bucket of four does")
	}
	if i := Index(uint64(10 * 24 * time.Hour)); i >= First+size {
		t.Errorf("ten days have index %d, over the last", i)
	}
}
