package endpoint

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func near2(a, b float64) bool { return math.Abs(a-b) < 0.021 }

func TestSlowStartGrowsFromTheFirstGoodConnection(t *testing.T) {
	for _, aggression := range []float64{1, 2, 0.5} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, SetConfig{
				SlowStart: 100 * time.Second, Aggression: aggression, ProbeTimeout: time.Hour,
				Probe: func(c ctx, _ string) error { <-c.Done(); return c.Err() }, // it cannot be reached yet
			}, listOf("a", "b")...)
			defer st.close()
			if s := st.state("a"); s.Status != Healthy || s.Share != 1 {
				t.Errorf("the endpoints of the first answer: %+v", s)
			}
			st.answer(Endpoint{Addr: "a"}, Endpoint{Addr: "b"}, Endpoint{Addr: "c", Weight: 4})
			// The naive clock runs from the join: an endpoint that is first reached after the
			// window begins with its whole share.
			pass(1000 * time.Second)
			if s := st.state("c"); s.Status != SlowStart || !near2(s.Share/4, 0.1) {
				t.Errorf("before its first connection: %+v", s)
			}
			st.Observe("c", Evidence{Kind: Connected})
			for _, at := range []float64{0, 0.05, 0.25, 0.5, 0.75, 0.99} {
				want := max(0.1, math.Pow(at, 1/aggression))
				// What balancers see, which the clock changes in steps.
				c := st.view.Load().ranked[2]
				if got := c.Share() / 4; !near2(got, want) && math.Abs(got-want) > math.Pow(at, 1/aggression)-math.Pow(max(0, at-0.02), 1/aggression)+0.001 {
					t.Errorf("aggression %v: at %v of the window the share is %v, want %v", aggression, at, got, want)
				}
				next := map[float64]float64{0: 5, 0.05: 20, 0.25: 25, 0.5: 25, 0.75: 24, 0.99: 1}[at]
				pass(time.Duration(next * float64(time.Second)))
			}
			if s := st.state("c"); s.Status != Healthy || s.Share != 4 {
				t.Errorf("after the window: %+v", s)
			}
		})
	}
}

// Envoy #29008: slow start ended, or began again, when other endpoints joined.
func TestSlowStartIsNotDisturbedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{SlowStart: 100 * time.Second}, listOf("a", "b")...)
		defer st.close()
		list := listOf("a", "b", "c")
		st.answer(list...)
		st.Observe("c", Evidence{Kind: Success})
		for i := range 9 {
			pass(10 * time.Second)
			list = append(list, Endpoint{Addr: fmt.Sprint("new", i)})
			st.answer(list...)
			// More connections do not restart the clock.
			st.Observe("c", Evidence{Kind: Connected})
			if s := st.state("c"); s.Status != SlowStart || !near2(s.Share, float64(i+1)/10) {
				t.Errorf("after %d s: %+v", 10*(i+1), s)
			}
			if s := st.state(fmt.Sprint("new", i)); s.Status != SlowStart || s.Share != 0.1 {
				t.Errorf("the one that joined: %+v", s)
			}
		}
		pass(10 * time.Second)
		st.want("c", Healthy)
	})
}

func TestSlowStartAfterReadmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{SlowStart: 100 * time.Second}, five()...)
		defer st.close()
		st.fail("b", 5)
		pass(1300 * time.Millisecond)
		if s := st.state("b"); s.Status != SlowStart || s.Share > 0.2 {
			t.Errorf("after its probe: %+v", s)
		}
		// The probe was the first good connection.
		pass(100 * time.Second)
		st.want("b", Healthy)
	})
}

func TestSlowStartLetsAnIdleSetTryTheNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []Balancer{P2C(), LeastLoaded(), RoundRobin(), PeakEWMA(PeakEWMAConfig{})} {
			st := newStage(t, SetConfig{SlowStart: time.Hour, Balancer: b}, listOf("a", "b")...)
			st.answer(listOf("a", "b", "c")...)
			const n = 20000
			got := 0
			for range n {
				if st.Pick("") == "c" {
					got++
				}
			}
			// By its share it gets 0.1 / 2.1; two choices deviate a little.
			if p := float64(got) / n; p < 0.02 || p > 0.12 {
				t.Errorf("%T: the newcomer got %v", b, p)
			}
			st.close()
		}
	})
}

// Callers that choose by load do not come to an endpoint with a tenth of the share while the
// others have a few uses each. The naive slow start waits for the first of them for ever.
func TestSlowStartBeginsInABusySet(t *testing.T) {
	for _, probes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cfg := SetConfig{SlowStart: 10 * time.Second}
			if !probes {
				cfg.Ejector = Never()
			}
			st := newStage(t, cfg, listOf("a", "b")...)
			defer st.close()
			var uses []Use
			for _, a := range []string{"a", "b"} {
				for range 4 {
					uses = append(uses, st.Begin(a))
				}
			}
			st.answer(listOf("a", "b", "c")...)
			for range 1000 {
				if st.Pick("") == "c" {
					t.Fatal("the scene is to show that the newcomer gets no callers")
				}
			}
			pass(1300 * time.Millisecond)
			if s := st.state("c"); s.Status != SlowStart || s.Probes != map[bool]int64{true: 1}[probes] {
				t.Errorf("after its first probe: %+v", s)
			}
			pass(10 * time.Second)
			st.want("c", Healthy)
			if got := st.Pick(""); got == "" {
				t.Error("nothing is picked")
			}
			for _, u := range uses {
				u.End(Evidence{Kind: Success})
			}
		})
	}
}
