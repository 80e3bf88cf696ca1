package spread

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

func TestLabeled(t *testing.T) {
	if got := Labeled(nil); got != nil {
		t.Errorf("of none: %v", got)
	}
	got := Labeled(&resource.Endpoints{All: []resource.EndpointInfo{
		{Addr: "a:1", Begun: 1, Share: math.NaN()}, {Addr: "a:1", Begun: 2}, {Addr: "\xff", Begun: 3}, {Addr: "wss://me:secret@b/"}, {Addr: "other"},
	}})
	want := []string{"a:1", "a:1#2", " ", "wss://…@b/", "other"}
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
	got := Labeled(&e)
	if len(got) != Most+1 || got[Most].Addr != Other+"#2" || got[Most].Latency != 999 {
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
