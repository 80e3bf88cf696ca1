package spread

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

func TestLabeled(t *testing.T) {
	if got := new(Labels).Of("p", nil); got != nil {
		t.Errorf("of none: %v", got)
	}
	got := new(Labels).Of("p", &resource.Endpoints{All: []resource.EndpointInfo{
		{Addr: "a:1", Begun: 1, Share: math.NaN()}, {Addr: "a:1", Begun: 2}, {Addr: "\xff", Begun: 3}, {Addr: "wss://me:secret@b/"}, {Addr: "other"},
	}})
	want := []string{"a:1", "a:1#2", " ", "wss://…@b/", "other#2"}
	if len(got) != len(want) || got[0].Share != 0 || got[1].Begun != 2 {
		t.Fatalf("%+v", got)
	}
	for i, e := range got {
		if e.Addr != want[i] {
			t.Errorf("label %d is %q, want %q", i, e.Addr, want[i])
		}
	}
}

// Beyond Most there is one more label, and nothing is lost from the sums.
func TestLabeled_Many(t *testing.T) {
	var e resource.Endpoints
	for i := range 1000 {
		e.All = append(e.All, resource.EndpointInfo{
			Addr: fmt.Sprintf("10.0.0.%d:80", i), Share: 0.001, Load: 1, Latency: time.Duration(i), Idle: 1, Leased: 1, Shared: 1, Making: 1,
			Begun: 1, Good: 1, Bad: 1, Refused: 1, Ejections: 1, Probes: 1, Moved: 1, Ejected: true, Status: "ejected",
		})
	}
	e.All[3].Addr = Other
	got := new(Labels).Of("p", &e)
	if len(got) != Most+1 || got[3].Addr != Other+"#2" || got[Most].Addr != Other || got[Most].Latency != 999 {
		t.Fatalf("%d labels, the last %+v", len(got), got[len(got)-1])
	}
	last := got[Most]
	const n = 1000 - Most
	for i, v := range []int64{int64(last.Load), int64(last.Idle), int64(last.Leased), int64(last.Shared), int64(last.Making), last.Begun, last.Good, last.Bad,
		last.Refused, last.Ejections, last.Probes, last.Moved, int64(math.Round(last.Share * 1000))} {
		if v != n {
			t.Errorf("figure %d is %d, want %d", i, v, n)
		}
	}
}

// While endpoints come and go no counter of a label falls, labels are reused, and Other has all that
// was ever counted under it.
func TestLabels_ComeAndGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ls Labels
	var e resource.Endpoints
	next := 0
	join := func() {
		e.All = append(e.All, resource.EndpointInfo{Addr: fmt.Sprintf("10.0.%d.%d:80", next/256, next%256)})
		next++
	}
	for range 70 {
		join()
	}
	under, before := make(map[string]string), make(map[string]int64) // the label of each endpoint; the counters
	counted := int64(0)                                              // under Other
	for range 300 {
		for i := range e.All {
			n := r.Int64N(100)
			e.All[i].Begun += n
			e.All[i].Probes += n
			if l := under[e.All[i].Addr]; l == Other {
				counted += n
			}
		}
		all := ls.Of("p", &e)
		after, own := make(map[string]int64), 0
		for _, one := range all {
			if _, twice := after[one.Addr]; twice {
				t.Fatalf("two have the label %s", one.Addr)
			}
			after[one.Addr] = one.Begun
			if one.Addr != Other {
				own++
			}
			if one.Begun != one.Probes || one.Begun < before[one.Addr] {
				t.Fatalf("%s falls from %d to %+v", one.Addr, before[one.Addr], one)
			}
		}
		for _, one := range e.All {
			l := one.Addr
			if _, labeled := after[l]; !labeled {
				l = Other
			}
			if was := under[one.Addr]; was != "" && was != l {
				t.Fatalf("%s was under %s and is under %s", one.Addr, was, l)
			} else if was == "" && l == Other {
				counted += one.Begun
			}
			under[one.Addr] = l
		}
		if after[Other] != counted {
			t.Fatalf("%s has %d, want %d", Other, after[Other], counted)
		}
		if own > Most || own < min(len(e.All), Most)-len(ls.pools["p"].last) || len(ls.pools["p"].last) > len(e.All) {
			t.Fatalf("%d of %d have a label", own, len(e.All))
		}
		before = after
		for range r.IntN(3) {
			i := r.IntN(len(e.All))
			e.All = slices.Delete(e.All, i, i+1)
		}
		for len(e.All) < 60+r.IntN(20) {
			join()
		}
	}
	if next < 200 {
		t.Errorf("only %d endpoints joined", next)
	}
	ls.Keep([]string{"q"})
	if len(ls.pools) != 0 {
		t.Error("the pool is not forgotten")
	}
}

// The endpoint that is the 65th once another has left stays under Other.
func TestLabels_OtherDoesNotFall(t *testing.T) {
	var ls Labels
	var e resource.Endpoints
	for i := range 70 {
		e.All = append(e.All, resource.EndpointInfo{Addr: fmt.Sprintf("10.0.0.%02d:80", i), Begun: 1000})
	}
	for _, step := range []struct {
		left        int
		begun, idle int64
		labels      int
	}{{0, 6000, 0, 65}, {1, 6000, 6, 64}, {64, 6000, 5, 1}} {
		e.All = e.All[step.left:]
		for i := range e.All {
			e.All[i].Idle = int(min(step.idle, 1))
		}
		all := ls.Of("p", &e)
		last := all[len(all)-1]
		if len(all) != step.labels || last.Addr != Other || last.Begun != step.begun || int64(last.Idle) != step.idle {
			t.Errorf("after %d left there are %d labels, the last %+v; want %+v", step.left, len(all), last, step)
		}
	}
}
