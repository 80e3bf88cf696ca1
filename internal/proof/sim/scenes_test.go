package sim_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/respool/respool/internal/proof/sim"
	"github.com/respool/respool/internal/proof/testkit"
)

// documented is where the figures of all scenes stand.
const documented = "../../../docs/scenes.md"

// documentedSeed is the seed of the figures in the documents.
const documentedSeed = 1

// brief are the scenes that are played with -short: together they take about a second, and
// under the race detector several.
var brief = []string{"tenants", "hot-key", "cold-start", "rolling-restart", "black-hole", "quota"}

// Every scene keeps its promise, and the document has its figures. With RESPOOL_SEED the
// scenes are played with that seed, whose figures may differ from those in the document.
func TestScenes(t *testing.T) {
	seed := uint64(documentedSeed)
	if _, set := os.LookupEnv("RESPOOL_SEED"); set {
		seed = testkit.Seed(t)
	}
	text, err := os.ReadFile(documented)
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range sim.Scenes() {
		if testing.Short() && !slices.Contains(brief, sc.Name) {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			r := sim.Play(t, sc, sim.Config{Seed: seed})
			t.Log("\n" + r.Text())
			for _, goal := range r.Failed() {
				t.Error(goal)
			}
			if seed == documentedSeed && !scrambled && !strings.Contains(string(text), r.Summary()) {
				t.Errorf("%s does not have the row\n%s", documented, r.Summary())
			}
		})
	}
	if !strings.Contains(string(text), sim.SummaryHead) {
		t.Errorf("%s does not have the head %q", documented, sim.SummaryHead)
	}
}

// The same seed gives the same result, in every figure and curve; another seed gives another.
func TestScenes_Reproducible(t *testing.T) {
	if scrambled {
		t.Skip("the race detector has goroutines run in random order")
	}
	for _, name := range []string{"cold-start", "rolling-restart", "black-hole", "quota"} {
		t.Run(name, func(t *testing.T) {
			some, err := sim.Matching("^" + name + "$")
			if err != nil || len(some) != 1 {
				t.Fatalf("%d scenes, %v", len(some), err)
			}
			play := func(seed uint64) *sim.Result {
				r := sim.Play(t, some[0], sim.Config{Seed: seed})
				r.Scene = sim.Scene{} // has a function, which DeepEqual does not compare
				return r
			}
			first := play(7)
			if again := play(7); !reflect.DeepEqual(first, again) {
				t.Errorf("the same seed gives another result:\n%s\n%s", first.Text(), again.Text())
			}
			if other := play(8); reflect.DeepEqual(first.Curves, other.Curves) {
				t.Error("another seed gives the same result")
			}
		})
	}
}

func TestMatching(t *testing.T) {
	seen := make(map[string]bool)
	for _, sc := range sim.Scenes() {
		if seen[sc.Name] || sc.Promise == "" {
			t.Errorf("%q: there are two, or it has no promise", sc.Name)
		}
		seen[sc.Name] = true
	}
	if some, err := sim.Matching("^size-"); err != nil || len(some) != 3 {
		t.Errorf("%d scenes, %v", len(some), err)
	}
	for _, bad := range []string{"(", "no such scene"} {
		if some, err := sim.Matching(bad); err == nil || some != nil {
			t.Errorf("%q: %d scenes, no error", bad, len(some))
		}
	}
}

func TestConfig_Check(t *testing.T) {
	for clients, ok := range map[int]bool{0: true, 1_000: true, 100_000: true, 999: false, 100_001: false, -1: false} {
		if err := (&sim.Config{Clients: clients}).Check(); (err == nil) != ok {
			t.Errorf("%d clients: %v", clients, err)
		}
	}
}
