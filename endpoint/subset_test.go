package endpoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// manyEndpoints returns n endpoints.
func manyEndpoints(n int) (all []Endpoint) {
	for i := range n {
		all = append(all, Endpoint{Addr: fmt.Sprintf("10.0.%d.%d:443", i/256, i%256)})
	}
	return all
}

// TestSubsetEven measures how many clients choose each endpoint.
func TestSubsetEven(t *testing.T) {
	for _, test := range []struct {
		clients, endpoints, size int
		limit                    float64 // of max / mean
	}{
		// The numbers are binomially distributed, with a standard deviation of
		// sqrt(mean × (1 − size/endpoints)); the limits are its mean and 4 of these deviations.
		{1_000, 100, 10, 1.38},
		{5_000, 100, 10, 1.17},
		{200, 10, 3, 1.43},
	} {
		all := manyEndpoints(test.endpoints)
		load := make(map[string]int)
		for c := range test.clients {
			chosen := SubsetConfig{Client: fmt.Sprintf("pod-%d", c), Size: test.size}.Choose(all)
			if len(chosen) != test.size {
				t.Fatalf("%d endpoints were chosen, want %d", len(chosen), test.size)
			}
			for _, e := range chosen {
				load[e.Addr]++
			}
		}
		most, least := 0, test.clients
		for i := range all {
			most, least = max(most, load[all[i].Addr]), min(least, load[all[i].Addr])
		}
		mean := float64(test.clients*test.size) / float64(test.endpoints)
		t.Logf("%d clients choose %d of %d: max/mean %.3f, min/mean %.3f", test.clients, test.size, test.endpoints, float64(most)/mean, float64(least)/mean)
		if float64(most)/mean > test.limit || float64(least)/mean < 2-test.limit {
			t.Errorf("max/mean is %.3f and min/mean %.3f, want between %.2f and %.2f", float64(most)/mean, float64(least)/mean, 2-test.limit, test.limit)
		}
	}
}

// TestSubsetMoves measures which choices change when an endpoint joins or leaves.
func TestSubsetMoves(t *testing.T) {
	const clients, size = 3_000, 10
	all := manyEndpoints(100)
	joined := append(slices.Clone(all), Endpoint{Addr: "new:443"})
	changed := 0
	for c := range clients {
		cfg := SubsetConfig{Client: fmt.Sprintf("pod-%d", c), Size: size}
		before, after := cfg.Choose(all), cfg.Choose(joined)
		gone, come := unlisted(before, after), unlisted(after, before)
		switch {
		case len(gone) == 0 && len(come) == 0:
		case len(gone) == 1 && len(come) == 1 && come[0].Addr == "new:443":
			changed++
		default:
			t.Fatalf("client %d: %v left and %v came", c, gone, come)
		}
	}
	// Expected are clients × size / 101 = 297, with a standard deviation of 16. A choice by the
	// position in a list (modulo) would change nearly all.
	t.Logf("an endpoint joins 100: %d of %d clients replace one of %d", changed, clients, size)
	if changed < 297-5*16 || changed > 297+5*16 {
		t.Errorf("%d clients changed their subset, want about 297", changed)
	}
}

// TestSubsetGroups checks the rule of priorities and zones, and that the order is kept.
func TestSubsetGroups(t *testing.T) {
	var all []Endpoint
	for i := range 60 {
		all = append(all, Endpoint{Addr: fmt.Sprint(i), Priority: i % 2, Zone: fmt.Sprint("z", i%3)})
	}
	all = append(all, Endpoint{Addr: "alone", Priority: 7})
	count := func(cfg SubsetConfig) (counts map[string]int, chosen []Endpoint) {
		counts = make(map[string]int)
		chosen = cfg.Choose(all)
		for _, e := range chosen {
			counts[fmt.Sprint(e.Priority)]++
			counts[fmt.Sprint(e.Priority)+" "+e.Zone]++
		}
		return counts, chosen
	}
	counts, chosen := count(SubsetConfig{Client: "c", Size: 4})
	if counts["0"] != 4 || counts["1"] != 4 || counts["7"] != 1 || len(chosen) != 9 {
		t.Errorf("chosen of each priority: %v", counts)
	}
	if !slices.IsSortedFunc(chosen, func(a, b Endpoint) int {
		return slices.Index(all, a) - slices.Index(all, b)
	}) {
		t.Errorf("the order has changed: %v", chosen)
	}
	counts, chosen = count(SubsetConfig{Client: "c", Size: 4, PerZone: true})
	for _, zone := range []string{"0 z0", "0 z1", "0 z2", "1 z0", "1 z1", "1 z2"} {
		if counts[zone] != 4 {
			t.Errorf("chosen of each priority and zone: %v", counts)
		}
	}
	if len(chosen) != 25 {
		t.Errorf("%d endpoints were chosen, want 25", len(chosen))
	}
	shuffled := slices.Clone(all)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if again := (SubsetConfig{Client: "c", Size: 4, PerZone: true}).Choose(shuffled); !same(again, chosen) {
		t.Error("the order of the endpoints has changed the choice")
	}
}

// TestSubset checks the resolver.
func TestSubset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := make(resolverScript)
		cfg := SubsetConfig{Client: "c", Size: 2}
		r, err := Subset(of, cfg)
		if err != nil {
			t.Fatal(err)
		}
		w := watchResolver(t, r)
		addrs := func(all string) (text string) {
			for _, e := range cfg.Choose(withAddrs(all)) {
				text += " " + e.Addr
			}
			return text
		}
		of.send("", errors.New("down"))
		w.want(t, "0s: down")
		of.send("a b c d", nil)
		w.want(t, "0s complete"+addrs("a b c d"))
		of.send("", errors.New("down"))
		w.want(t, "0s"+addrs("a b c d")+": down")
		of.send("", nil)
		w.want(t, "0s"+addrs("a b c d")+": endpoint: the answer has no endpoints")
		of.send("e f .", nil) // the others are known
		w.want(t, "0s complete"+addrs("e f a b c d"))
		of.send("e f", nil)
		w.want(t, "0s complete e f")
		if got := w.endpoints(); len(got) != 2 {
			t.Errorf("the endpoints are %v", got)
		}
	})
	if _, err := Subset(Static(Endpoint{Addr: "a"}), SubsetConfig{}); !errors.Is(err, ErrConfig) ||
		!strings.Contains(err.Error(), "Client") || !strings.Contains(err.Error(), "Size") {
		t.Errorf("got %v, want ErrConfig that names Client and Size", err)
	}
}
